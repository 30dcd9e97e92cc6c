"""Printing a planned topology as a Python file, and making it live."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snnir import folder_program, folder_weights
from snnir.embedding import module_body, plain_text
from snnir.ir.graph import Graph
from snnir.targets.jaxsnn_nets.discrete import Plan

PROGRAM, WEIGHTS = "model.py", "weights.safetensors"

_HEAD = '''\
"""{title}: a {paradigm} topology of jaxsnn, written by snnir.

    from model import load
    topology, params = load()        # the weights are in {weights}, beside this file
    init, apply = topology.done()    # params is what init gives

    python model.py INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE]   # [T, B, size]

Needs jax, NumPy and jaxsnn; tested with jaxsnn 0.3.0. In a topology every node returns its output;
OUTPUTS names those of the network.
"""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf, nan
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
{imports}

Array = Any
WEIGHTS = "{weights}"
'''

_IMPORTS = {
    "discrete": """\
from jaxsnn.discrete.functional import LIFParameters, LIParameters
from jaxsnn.discrete.modules import LI, LIF, Input, Linear
from jaxsnn.discrete.topology import Topology
from jaxsnn.discrete.types import Population""",
    "event": """\
from jaxsnn.event.modules import LIF, LIFParameters, Linear, Source
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike""",
}

_LOAD = '''\
def load(path=None):
    """Return the topology, finished, and its parameters."""
    weights = read_weights(pathlib.Path(__file__).parent / WEIGHTS if path is None else path)
    net = topology(weights)
    init, _ = net.done()
    return net, init(jax.random.PRNGKey(0))
'''

_RUN = {
    "discrete": '''\
def run(net, params, inputs):
    """Return the output of every node, [T, B, size], for inputs of that form by name."""
    apply = net.generate_apply_fn(net.pre_process())
    axes = ({name: 1 for name in inputs}, None)
    given = {name: jnp.asarray(x, jnp.float32) for name, x in inputs.items()}
    _, found = jax.jit(jax.vmap(apply, in_axes=axes, out_axes=1))(given, params)
    return {name: np.asarray(y) for name, y in found.items()}
''',
    "event": '''\
def run(net, params, inputs):
    """Return the spikes of every population, [T, B, size], for spikes of that form by name."""
    try:
        return simulate(net, params, inputs, DT)
    except Full as node:
        raise SystemExit(f"{node}: its slots for events are full: make n_steps larger") from None
''',
}

_MAIN = """\
def main():
    arguments = command_line(__doc__).parse_args()
    check_record(arguments.record, NODES)
    given = read_inputs(arguments.input, INPUTS)
    found = run(*load(), given)
    outputs = {name: found[node] for name, node in OUTPUTS.items()}
    sums = {node: float(found[node].sum(dtype="float64")) for node in NODES}
    records = {node: found[node] for node in arguments.record}
    write_results(arguments.output, outputs, records, sums)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))


if __name__ == "__main__":
    main()
"""


def module_source(plan: Plan, graph: Graph, paradigm: str) -> str:
    """Return the Python file of a plan.

    Args:
        plan: The plan, without problems.
        graph: The graph it is of.
        paradigm: `discrete` or `event`.
    """
    head = _HEAD.format(
        title=plain_text(graph.name), paradigm=paradigm, weights=WEIGHTS,
        imports=_IMPORTS[paradigm],
    )  # fmt: skip
    inputs = {name: tuple(signal.shape) for name, signal in graph.inputs.items()}
    facts = [
        f"INPUTS = {inputs!a}", f"OUTPUTS = {plan.outputs!a}", f"NODES = {plan.populations!a}",
        f"DT = {graph.dt!r}  # seconds per step of inputs and outputs on a grid",
    ]  # fmt: skip
    parts = [
        head, *pieces(paradigm, plan.pieces), *plan.functions, _topology(plan),
        module_body(folder_weights), _LOAD, "\n".join(facts), _RUN[paradigm],
        module_body(folder_program), _MAIN,
    ]  # fmt: skip
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _topology(plan: Plan) -> str:
    """Return the function that builds the topology."""
    order = [] if plan.order is None else [f"{plan.order!a}"]
    given = ", ".join([*order, *(f"{key}={value!r}" for key, value in plan.settings.items())])
    cls = "Topology" if plan.order is None else "Ordered"
    edges = [(source, node) for node, reads in plan.edges.items() for source in reads]
    return "\n".join(
        [
            "def topology(weights):",
            '    """Return the topology, before done(), with these weights."""',
            f"    net = {cls}({given})",
            "    net.add(",
            "        {",
            *(f"            {name!a}: {code}," for name, code in plan.modules.items()),
            "        }",
            "    )",
            "    net.connect(",
            "        [",
            *(f"            ({source!a}, {node!a})," for source, node in edges),
            "        ]",
            "    )",
            "    return net",
        ]
    )


def pieces(paradigm: str, wanted: Iterable[str]) -> list[str]:
    """Return the source of pieces and of what they use, in the order of their file."""
    text = (Path(__file__).parent / f"{paradigm}_pieces.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {
        node.name: node
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    needed: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in found and name not in needed:
            needed.add(name)
            used = {n.id for n in ast.walk(found[name]) if isinstance(n, ast.Name)}
            pending += [*used, f"{name}_jvp"]
    return [_text(node, lines) for name, node in found.items() if name in needed]


def _text(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    taken = lines[first - 1 : node.end_lineno]
    return "\n".join(line.split("  # noqa")[0] for line in taken)


def live(source: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of a generated file, with `net` and `params` made from weights."""
    names: dict[str, Any] = {"__name__": "snnir_jaxsnn_net", "__file__": PROGRAM}
    exec(compile(source, "<jaxsnn topology>", "exec"), names)
    net = names["topology"](weights)
    init, _ = net.done()
    names["net"], names["params"] = net, init(names["jax"].random.PRNGKey(0))
    return names
