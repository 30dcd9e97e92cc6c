"""What a PopTorch script cannot do: float64 and integers beyond what float32 counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnir.bounds import by_type, value_bounds
from snnir.dynamics.intervals import Interval, invariant, step_bounds
from snnir.dynamics.program import Dynamics, Operand
from snnir.dynamics.whole import as_float
from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.op import Op
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.target import still_continuous
from snnir.targets.ipu.poptorch.ops import FORMS, numbers_of
from snnir.tensors import Tensor

#: Whole numbers below this are the same in float32, and their sums in every order.
COUNTED = 2.0**24
#: What int32 holds.
HELD = 2.0**31
#: Numbers of a matrix that a script may be given, as many as a stream may have elements.
MOST_NUMBERS = 2**28
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
    if isinstance(op, SparseLinear) and numbers_of(op) > MOST_NUMBERS:
        what = f"its longest row makes it a matrix of {numbers_of(op):,} numbers"
        yield what, "no row may have so many weights"
    for name, value in op.tensors().items():
        yield from _of_tensor(op, name, value, half)
    if isinstance(op, Step) and op.program.dtype == "f64":
        yield "its neurons compute in float64, the device does not", "use float32 semantics"
    elif isinstance(op, Step) and bounds and op.program.is_whole:
        yield from _of_integers(graph, node, op, bounds)
    if isinstance(op, Step) and op.program.is_fused:
        yield "PopTorch has no product and sum that are rounded once", "write a * b + c"
    for index in range(len(op.program.outputs) if isinstance(op, Step) else 1):
        bound = bounds.get(Value(node.name, index))
        is_whole = graph.signal(node.name, index).dtype.startswith("i") if bounds else False
        if bound is not None and is_whole and _largest(bound) >= COUNTED:
            yield "its integers may reach 2**24, beyond which float32 does not count", _FEWER


def _of_tensor(op: Op, name: str, value: Tensor, half: bool) -> Iterator[tuple[str, str]]:
    if not value.is_resolved or name in ("starts", "columns", "steps", "unit", "zero"):
        return
    array = value.numpy()
    if isinstance(op, Step) and op.program.is_whole:
        if array.size and np.abs(array.astype(np.float64)).max() >= HELD:
            yield f"{name} has integers that int32 does not hold", _FEWER
    elif array.dtype.kind in "iu" and np.any(np.abs(array.astype(np.float64)) > COUNTED):
        yield f"{name} has integers that float32 does not hold", _FEWER
    elif half and name in ("weight", "values", "bias") and array.dtype.kind == "f":
        large = np.abs(array[np.isfinite(array)]).max(initial=0.0)
        if large >= 65520:
            yield f"{name} reaches {large:g}, float16 ends at 65504", "keep it in float32"


def _of_integers(
    graph: Graph, node: Node, op: Step, bounds: Mapping[Value, Interval]
) -> Iterator[tuple[str, str]]:
    """Look at every value inside a program of integers: int32, quotients by way of float32."""
    program = as_float(op.program)
    operands = [bounds.get(v) or by_type(graph.signals[v]) for v in node.operands]
    known = dict(zip(program.inputs, operands, strict=True))
    known |= {name: Interval.of(value.numpy()) for name, value in op.params.items()}
    values = _narrowed(program, known)
    worst = max(values, key=lambda name: _largest(values[name]), default="")
    if worst and _largest(values[worst]) >= HELD:
        yield f"its value '{worst}' may reach 2**31, beyond which int32 does not count", _FEWER
        return
    for let in op.program.body:
        through = [let.target] if let.op == "shr" else []
        through += [arg for arg in let.args if isinstance(arg, str)] if let.op == "floordiv" else []
        if any(_largest(values[name]) >= COUNTED for name in through):
            what = f"its value '{let.target}' goes through float32 and may reach 2**24"
            yield what, _FEWER


def _narrowed(program: Dynamics, known: Mapping[str, Interval]) -> dict[str, Interval]:
    """Return bounds of every value: a state is its first value, or what a step left in it.

    An invariant that could not be found says nothing of a state that every step clips.
    """
    values = invariant(program, known)
    updates = dict(program.updates)
    for _ in range(2):
        states = {
            s.name: _of(s.initial, known).hull(_of(updates[s.name], values)) for s in program.states
        }
        values = step_bounds(program, {**known, **states})
    return values


def _of(value: Operand, values: Mapping[str, Interval]) -> Interval:
    return values[value] if isinstance(value, str) else Interval.of(value)


def _largest(bound: Interval) -> float:
    return float(np.maximum(-bound.low, bound.high).max(initial=0.0))
