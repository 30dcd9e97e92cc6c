"""What a PopTorch script cannot do: float64 and integers beyond what float32 counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnir.bounds import by_type, value_bounds
from snnir.dynamics.intervals import Interval, invariant
from snnir.dynamics.whole import as_float
from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.target import still_continuous
from snnir.targets.ipu.poptorch.ops import FORMS
from snnir.tensors import Tensor

#: Whole numbers below this are the same in float32, and their sums in every order.
COUNTED = 2.0**24
_FEWER = "quantise to fewer bits, for example quantize{bits=8,state-bits=16}"


def unsupported(graph: Graph, half: bool = False) -> list[Diagnostic]:
    """Return every node that has no form in a script, with the reason.

    Args:
        graph: A verified graph.
        half: Whether weights and biases are kept in float16.
    """
    found = [*still_continuous(graph)]
    if not graph.inputs:
        found.append(
            Diagnostic("SNN501", "it has no input that says how many steps and samples there are")
        )
    whole = any(_is_whole(graph, node) for node in graph.nodes.values())
    bounds = value_bounds(graph) if whole and not found else {}
    for node in graph.nodes.values():
        found.extend(
            Diagnostic("SNN501", message, node.name, hint=hint)
            for message, hint in _problems(graph, node, bounds, half)
        )
    return found


def _is_whole(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, Step) and node.op.program.is_whole:
        return True
    count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
    return any(graph.signal(node.name, k).dtype.startswith("i") for k in range(count))


def _problems(
    graph: Graph, node: Node, bounds: Mapping[Value, Interval], half: bool
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a node and what helps."""
    op = node.op
    if not isinstance(op, (Input, Delay, Step, Neuron)):
        signals = [graph.signals[value] for value in node.operands]
        if op.call(signals).function not in FORMS:
            yield f"{op.name} has no form in PopTorch", "replace it by ops of docs/support.md"
    for name, value in op.tensors().items():
        yield from _of_tensor(name, value, half)
    if isinstance(op, Step) and op.program.dtype == "f64":
        yield "its neurons compute in float64, the device does not", "use float32 semantics"
    elif isinstance(op, Step) and bounds and op.program.is_whole:
        yield from _of_integers(graph, node, op, bounds)
    for index in range(len(op.program.outputs) if isinstance(op, Step) else 1):
        bound = bounds.get(Value(node.name, index))
        is_whole = graph.signal(node.name, index).dtype.startswith("i") if bounds else False
        if bound is not None and is_whole and _largest(bound) >= COUNTED:
            yield "its integers may reach 2**24, beyond which float32 does not count", _FEWER


def _of_tensor(name: str, value: Tensor, half: bool) -> Iterator[tuple[str, str]]:
    if not value.is_resolved or name in ("starts", "columns", "steps", "unit", "zero"):
        return
    array = value.numpy()
    if array.dtype.kind in "iu" and array.size:
        with np.errstate(all="ignore"):
            kept = array.astype(np.float32)
        if np.any(kept.astype(np.float64) != array) or np.abs(array.astype(float)).max() > 2**53:
            yield f"{name} has integers that float32 does not hold", _FEWER
    elif half and name in ("weight", "values", "bias") and array.size:
        large = np.abs(array[np.isfinite(array)], dtype=np.float64).max(initial=0.0)
        if large >= 65520:
            yield f"{name} reaches {large:g}, float16 ends at 65504", "keep it in float32"


def _of_integers(
    graph: Graph, node: Node, op: Step, bounds: Mapping[Value, Interval]
) -> Iterator[tuple[str, str]]:
    """Look at every value inside a program of integers."""
    program = as_float(op.program)
    operands = [bounds.get(v) or by_type(graph.signals[v]) for v in node.operands]
    known = dict(zip(program.inputs, operands, strict=True))
    known |= {name: Interval.of(value.numpy()) for name, value in op.params.items()}
    values = invariant(program, known)
    worst = max(values, key=lambda name: _largest(values[name]), default="")
    if worst and _largest(values[worst]) >= COUNTED:
        what = f"its value '{worst}' may reach 2**24, beyond which float32 does not count"
        yield what, _FEWER


def _largest(bound: Interval) -> float:
    return float(np.maximum(-bound.low, bound.high).max(initial=0.0))
