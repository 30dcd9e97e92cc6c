"""Printing a network as a NumPy program that needs neither snnir nor the graph."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from snnir import folder_program, kernels, kernels_learning
from snnir.bounds import precision_for
from snnir.dynamics.program import Dynamics
from snnir.dynamics.source import Expressions, renamed
from snnir.embedding import function_sources, module_body
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.lasting import lasting_table
from snnir.network_source import helper_sources
from snnir.scheduling import schedule
from snnir.target import Content
from snnir.targets.numpy_sim import runtime
from snnir.targets.numpy_sim.build import PRECISIONS, rule_dtype, step_dtype, value_name
from snnir.tensors import Tensor

WEIGHTS = "weights.npz"
PROGRAM = "model.py"

#: What step functions use besides the names of the program.
_WORDS = frozenset(
    (
        *("dtype", "full", "inf", "kind", "like", "nan", "np", "snn_fma", "snn_batch_sum"),
        *("state", *keyword.kwlist),
    )
)

_HEAD = '''\
"""A spiking network as a NumPy program, written by snnir.

    python {program} INPUT.npy|INPUT.npz [-o OUT.npz] [--record NODE[:STATE]]...{lasting}

Inputs are [time, batch, *shape]; so are outputs and records. The first part of this file is the
network, the second is the same for every network. Every operation rounds once, in the order
written; sums are accumulated in {acc} and rounded to {dtype}.
"""

from __future__ import annotations

import argparse
import difflib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

Array = np.ndarray
dtype = np.{dtype}
acc = np.{acc}
'''

_MAIN = '''

def full(value, like, kind):
    """Return a value in the shape of the population."""
    array = np.asarray(value).astype(kind, copy=False)
    return array if array.shape == like.shape else np.array(np.broadcast_to(array, like.shape))


def load() -> Model:
    """Return the network with the weights beside this file."""
    with np.load(pathlib.Path(__file__).parent / WEIGHTS, allow_pickle=False) as weights:
        return network(weights)


def run(inputs, record=(), state=None, lasting=None, model=None):
    """Run the network (by default of `load`) on {input: [time, batch, *shape]}; see `simulate`."""
    with np.errstate(all="ignore"):
        return simulate(model or load(), inputs, record, state, lasting)


def main() -> None:
    arguments = command_line(__doc__, bool(LASTING)).parse_args()
    given = read_inputs(arguments.input, network().inputs)
    lasting = read_lasting(arguments.lasting, LASTING) if LASTING else {}
    model = load()
    try:
        outputs, recorded, sums, state = run(given, arguments.record, None, lasting, model)
    except UnknownRecord as failure:
        raise SystemExit(str(failure)) from None
    write_results(arguments.output, outputs, recorded, sums, lasting=lasting_state(model, state))
    for name, y in outputs.items():
        print(f"{name}: {y.shape}, sum {y.sum(dtype=np.float64):g}")


if __name__ == "__main__":
    main()
'''


def emit_files(graph: Graph, precision: str) -> dict[str, Content]:
    """Return `model.py` and its weights."""
    writer = _Writer(graph, precision)
    source = writer.source()
    return {PROGRAM: source.encode("utf-8"), WEIGHTS: partial(_write_weights, writer.weights)}


def _write_weights(weights: dict[str, Tensor], file: BinaryIO) -> None:
    """Write an uncompressed .npz, array by array, with the same bytes every time."""
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, value in weights.items():
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, value.numpy(), allow_pickle=False)


def identifier(name: str) -> str:
    """Return a Python identifier that reminds of a name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:40].strip("_").lower() or "node"


@dataclass
class _Writer:
    graph: Graph
    precision: str

    def __post_init__(self) -> None:
        self.dtype, self.acc = PRECISIONS[precision_for(self.graph, self.precision)]
        self.weights: dict[str, Tensor] = {}
        self.keys: dict[Tensor, str] = {}
        self.steps: dict[str, str] = {}
        self.step_names: list[tuple[Dynamics, str]] = []
        self.functions: set[str] = set()
        self.learning: set[str] = set()

    def source(self) -> str:
        units = [self.unit(node) for node in self.graph.nodes.values()]
        network = self.network([line for line in units if line])
        lasting = lasting_table(self.graph)
        head = _HEAD.format(
            program=PROGRAM, acc=np.dtype(self.acc).name, dtype=np.dtype(self.dtype).name,
            lasting="\n        [--lasting OUT.npz of an earlier run]" if lasting else "",
        )  # fmt: skip
        constants = f"WEIGHTS = {WEIGHTS!r}\nLASTING = {_literal(lasting)}\n"
        parts = [head, constants, *self.steps.values(), network]
        parts.append("\n\n# ---- the same for every network " + "-" * 50 + "\n\n")
        helpers = helper_sources(program for program, _ in self.step_names)
        parts += ["\n\n\n".join([*helpers, ""])] if helpers else []
        parts.append("\n\n".join(kernel_sources(self.functions)))
        parts += ["\n\n\n".join(["", *learning_sources(self.learning)])] if self.learning else []
        wanted = {"command_line", "read_inputs", "read_lasting", "write_results"}
        files = function_sources(folder_program, wanted)
        parts.append("\n\n\n".join(["", runtime_source(), *files]) + _MAIN)
        return "\n".join(parts)

    def network(self, units: list[str]) -> str:
        stages = [(stage.kind, stage.nodes) for stage in schedule(self.graph).stages]
        inputs = {name: signal.shape for name, signal in self.graph.inputs.items()}
        outputs = {name: value_name(value) for name, value in self.graph.outputs.items()}
        lines = [
            "",
            "def network(w: Mapping[str, Array] | None = None) -> Model:",
            f'    """{_comment(self.graph.name)}; `w` holds its weights, None gives its ports."""',
            "    if w is None:",
            f"        return Model([], {{}}, {_literal(inputs)}, {{}}, dtype)",
            "    units = [",
            *(f"        {line}" for line in units),
            "    ]",
            "    stages = [",
            *(f"        {_literal(stage)}," for stage in stages),
            "    ]",
            "    return Model(",
            "        stages,",
            "        {unit.name: unit for unit in units},",
            f"        inputs={_literal(inputs)},",
            f"        outputs={_literal(outputs)},",
            "        dtype=dtype,",
            f"        offset={self.graph.record_offset},",
            "    )",
        ]
        return "\n".join(lines)

    def weight(self, path: str, value: Tensor) -> str:
        key = self.keys.get(value)
        if key is None:
            key = self.keys[value] = f"w{len(self.keys)}_{identifier(path)}"
            self.weights[key] = value
        return f"w[{key!r}]"

    def unit(self, node: Node) -> str:
        op = node.op
        if isinstance(op, Input):
            return ""
        operands = tuple(value_name(value) for value in node.operands)
        shape = self.graph.signal(node.name).shape
        if isinstance(op, Delay):
            steps = op.steps
            text = self.weight(f"{node.name}.steps", steps) if isinstance(steps, Tensor) else steps
            parts = ["'delay'", _literal(operands), "None", _literal((node.name,)), "{}"]
            return self.line(node, [*parts, _literal(shape), str(text)])
        if isinstance(op, Step):
            return self.neuron(node, op, operands, shape)
        if isinstance(op, Plastic):
            return self.plastic(node, op, operands)
        if isinstance(op, Uniform):
            return self.random(node, op, operands, shape)
        call = op.call([self.graph.signals[value] for value in node.operands])
        arguments = [f"{k}={self.weight(f'{node.name}.{k}', v)}" for k, v in call.tensors.items()]
        arguments += [f"{key}={_literal(value)}" for key, value in call.options.items()]
        arguments += ["acc=acc"] if call.sums else []
        self.functions.add(call.function)
        function = (
            f"partial({call.function}, {', '.join(arguments)})" if arguments else call.function
        )
        results = _literal((node.name,))
        return self.line(
            node, ["'op'", _literal(operands), function, results, "{}", _literal(shape)]
        )

    def neuron(
        self, node: Node, op: Step, operands: tuple[str, ...], shape: tuple[int, ...]
    ) -> str:
        program = op.program
        inner = f"np.{np.dtype(step_dtype(op, self.dtype)).name}"
        function, initial = self.program(node.name, program, op.params, inner)
        results = tuple(value_name(Value(node.name, i)) for i in range(len(program.outputs)))
        parts = ["'neuron'", _literal(operands), function, _literal(results), initial]
        lasting = _literal(dict.fromkeys(program.lasting, shape))
        rest = [lasting] if program.lasting else []
        return self.line(node, [*parts, _literal(shape), "None", inner, *rest])

    def program(
        self, name: str, program: Dynamics, tensors: Mapping[str, Tensor], inner: str
    ) -> tuple[str, str]:
        """Return the source of a step function with its parameters, and of its first states."""
        params = {k: self.weight(f"{name}.{k}", v) for k, v in tensors.items()}
        words = zip(program.params, safe_names(program).params, strict=True)
        named = {own: params[given] for (given, _), (own, _) in words}
        arguments = ", ".join(f"{k}={inner_cast(v, inner)}" for k, v in named.items())
        function = f"partial({self.step(program, inner)}{', ' if arguments else ''}{arguments})"
        initial = ", ".join(
            f"{state.name!r}: {params.get(str(state.initial), state.initial)}"
            for state in program.states
        )
        return function, f"{{{initial}}}"

    def plastic(self, node: Node, op: Plastic, operands: tuple[str, ...]) -> str:
        """Return the source of synapses that learn."""
        inner = f"np.{rule_dtype(op, self.dtype).__name__}"
        function, initial = self.program(node.name, op.rule, op.params, inner)
        self.learning.add("plastic_sum")
        normalise = "None"
        if op.total is not None:
            self.learning.add("normalised")
            total = self.weight(f"{node.name}.total", op.total)
            normalise = f"partial(normalised, total={total}, sums={op.sums!r})"
        weight = op.weight_state.name
        rule = f"Rule(plastic_sum, {function}, {_literal(op.reads)}, {weight!r}, {normalise})"
        lasting = _literal(dict.fromkeys(op.rule.lasting, op.shape))
        parts = ["'plastic'", _literal(operands), "None", _literal((node.name,)), initial]
        return self.line(node, [*parts, _literal(op.shape), "None", inner, lasting, rule])

    def random(
        self, node: Node, op: Uniform, operands: tuple[str, ...], shape: tuple[int, ...]
    ) -> str:
        """Return the source of random numbers."""
        self.learning.add("uniform")
        draw = f"partial(uniform, {op.seed}, dtype=dtype)"
        parts = ["'random'", _literal(operands), draw, _literal((node.name,))]
        parts += [f"{{'step': {op.step}}}", _literal(shape), "None", "np.int64", "{'step': ()}"]
        return self.line(node, parts)

    @staticmethod
    def line(node: Node, parts: Iterable[Any]) -> str:
        return f"Unit({_literal(node.name)}, {', '.join(map(str, parts))}),"

    def step(self, program: Dynamics, inner: str) -> str:
        for known, name in self.step_names:
            if known == program and f"# {inner}" in self.steps[name]:
                return name
        name = f"step_{identifier(program.name)}_{len(self.step_names) + 1}"
        self.step_names.append((program, name))
        self.steps[name] = step_source(program, name, inner)
        return name


def inner_cast(text: str, inner: str) -> str:
    """Return the source of a parameter in the dtype of the arithmetic."""
    return f"{text}.astype({inner})"


def _literal(value: Any) -> str:
    """Return Python source for plain data, in ASCII."""
    return ascii(value)


def _comment(name: str) -> str:
    return ascii(name)[:80].replace("\\", "/").replace('"', "'")


def safe_names(program: Dynamics) -> Dynamics:
    """Return the program with the names that Python or its function uses changed."""
    return renamed(program, lambda name: f"{name}_" if name in _WORDS else name)


def step_source(program: Dynamics, name: str, inner: str) -> str:
    """Print a step program as a Python function of the inputs and the states."""
    keys = [state.name for state in program.states]
    program = safe_names(program)
    params = "".join(f", {param}" for param, _ in program.params)
    printer = Expressions(program, "python", "kind({!r})")
    given = ", ".join((*program.inputs, "state"))
    lines = [f"\ndef {name}({given}{params}, like=None):"]
    outputs = ", ".join(output for output, _ in program.outputs)
    lines.append(f'    """One step of {identifier(program.name)}; yields {outputs}."""  # {inner}')
    if inner != "np.float32":
        lines += [f"    {x} = {x}.astype({inner}, copy=False)" for x in program.inputs]
    lines.append(f"    kind = {inner}")
    if program.inputs:
        lines += [f"    like = {program.inputs[0]} if like is None else like"]
    key_of = dict(zip((state.name for state in program.states), keys, strict=True))
    lines += [f'    {name} = state["{key}"]' for name, key in key_of.items()]
    lines += [f"    {line}" for line in printer.statements()]
    lines += [
        f'    state["{key_of[state]}"] = full({printer.value(value)}, '
        f"like{'[:1]' if state in program.lasting else ''}, kind)"
        for state, value in program.updates
    ]
    results = ", ".join(f"full({o}, like, dtype)" for o, _ in program.outputs)
    lines.append(f"    return [{results}]")
    return "\n".join(lines)


def kernel_sources(names: set[str]) -> list[str]:
    """Return the source of kernels and of whatever they call, as they stand in the module."""
    sources = function_sources(kernels, names)
    return [f"BLOCK = {kernels.BLOCK}", *(f"\n{source}" for source in sources)]


def learning_sources(names: set[str]) -> list[str]:
    """Return the source of what learning and random numbers need."""
    constants = f"ROTATIONS = {kernels_learning.ROTATIONS}\nPARITY = 0x{kernels_learning.PARITY:X}"
    return [constants, *function_sources(kernels_learning, names)]


def runtime_source() -> str:
    """Return the runtime module without its docstring and imports."""
    source = module_body(runtime)
    return source[source.index("#: Rows (time steps") :]
