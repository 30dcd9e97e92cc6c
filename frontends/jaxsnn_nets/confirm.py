"""Comparing the neurons of a discrete topology with a run of jaxsnn.

The topology runs for some steps on made-up input, under jit, and every population's program runs on
what the population read: outputs and states must be equal in every bit. So a module whose code was
changed, or another XLA that rounds elsewhere, is found when a model is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.driver import run
from snnir.errors import error
from snnir.frontends.jaxsnn_nets.live import apply_discrete
from snnir.frontends.jaxsnn_nets.wiring import Wiring, size_of
from snnir.ir.graph import Editor, Graph
from snnir.ir.neuron import Step
from snnir.ir.structure import Input
from snnir.streams import Kind, Signal

Array = npt.NDArray[Any]
f32 = np.float32

_STEPS = 24


def confirm(wiring: Wiring, graph: Graph, params: Any) -> None:
    """Raise unless the populations of a graph do what jaxsnn's do.

    Args:
        wiring: The topology.
        graph: What was read from it, with jaxsnn's own output at the threshold.
        params: Its parameters.

    Raises:
        SnnirError: SNN808 naming the population that differs.
    """
    populations = [node for node in wiring.order if wiring.kinds[node] in ("lif", "li")]
    outputs, states = apply_discrete(wiring, params, _made_up(wiring))
    editor = Editor(Graph({}, {}))
    given = {}
    for node in populations:
        drive = f"{node}\0"
        op = graph.nodes[node].op
        assert isinstance(op, Step)
        given[drive] = _drive(wiring, node, outputs)
        editor.add(drive, Input(Signal(Kind.ANALOG, given[drive].shape[2:])))
        editor.outputs[node] = editor.add(node, op, [drive])
    record = [f"{node}:{state}" for node in populations for state in ("v", "i")]
    result = run(editor.graph(dt=graph.dt), given, record)
    for node in populations:
        _compare(node, "its output", outputs[node], result.outputs[node])
        for state in ("v", "i"):
            _compare(node, state, states[node][state], result.recorded[f"{node}:{state}"])


def _made_up(wiring: Wiring) -> dict[str, Array]:
    """Return input [T, 1, size] that makes some neurons fire."""
    rng = np.random.default_rng(0)
    inputs = (node for node in wiring.order if wiring.kinds[node] == "input")
    return {
        node: rng.normal(0.5, 2.0, (_STEPS, 1, size_of(wiring, node))).astype(f32)
        for node in inputs
    }


def _drive(wiring: Wiring, node: str, outputs: dict[str, Array]) -> Array:
    """Return what a population reads, added up as jaxsnn does."""
    total: Array | None = None
    for source in wiring.before(node):
        seen = outputs[source]
        if wiring.is_back(source, node):
            seen = np.concatenate([np.zeros_like(seen[:1]), seen[:-1]])
        total = seen if total is None else total + seen
    assert total is not None
    return total


def _compare(node: str, what: str, theirs: Array, ours: Array) -> None:
    if np.array_equal(theirs, ours, equal_nan=True):
        return
    wrong = ~((theirs == ours) | (np.isnan(theirs) & np.isnan(ours)))
    step, _, index = (int(i) for i in np.argwhere(wrong)[0])
    raise error(
        "SNN808",
        f"does not do what jaxsnn's source says: at step {step}, neuron {index}, {what} is "
        f"{theirs[step, 0, index]!s}, the program gives {ours[step, 0, index]!s}",
        node=node,
        hint="changed code, or an XLA that rounds elsewhere, may be the cause",
    )
