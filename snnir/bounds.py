"""Bounds of every value of a graph, proved from weights and types alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.dynamics.intervals import EVERYTHING, ROUNDING, Interval, invariant
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import PickMax2d
from snnir.ir.random import Uniform
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Input
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner
from snnir.streams import Kind, Signal

Array = npt.NDArray[Any]


def value_bounds(graph: Graph) -> dict[Value, Interval]:
    """Return bounds of every value of a discrete graph, one per element.

    Spikes are 0 or 1, counts are not negative, analog inputs are unbounded. A delay that closes a
    cycle is known by its type only. Sums are given room for rounding in any order.
    """
    found: dict[Value, Interval] = {}
    for name in graph.order:
        node = graph.nodes[name]
        operands = [found.get(v) or by_type(graph.signals[v]) for v in node.operands]
        if isinstance(node.op, Step):
            for index, bound in enumerate(_neuron(graph, node, node.op, operands)):
                found[Value(name, index)] = bound
        else:
            found[Value(name)] = _stateless(graph, node, operands)
    return found


def precision_for(graph: Graph, precision: str) -> str:
    """Return `float64` if streams of integers may go beyond what float32 counts, else `precision`.

    Sums of whole numbers below 2**24 are the same in float32, in every order.
    """
    whole = [value for value, signal in graph.signals.items() if signal.dtype.startswith("i")]
    if not whole or precision == "float64":
        return precision
    bounds = value_bounds(graph)
    ends = [np.maximum(-bounds[value].low, bounds[value].high) for value in whole]
    return precision if max(float(end.max(initial=0.0)) for end in ends) < 2**24 else "float64"


def by_type(signal: Signal) -> Interval:
    """Return what a stream's kind says of its values."""
    low, high = {Kind.SPIKES: (0, 1), Kind.COUNTS: (0, np.inf)}.get(signal.kind, (-np.inf, np.inf))
    shape = signal.shape
    return Interval(np.full(shape, low, np.float64), np.full(shape, high, np.float64))


def _neuron(graph: Graph, node: Node, op: Step, operands: list[Interval]) -> list[Interval]:
    program = op.program
    known = dict(zip(program.inputs, operands, strict=True))
    known |= {name: Interval.of(value.numpy()) for name, value in op.params.items()}
    values = invariant(program, known)
    shape = graph.signal(node.name).shape
    return [_spread(values[name], shape) for name, _ in program.outputs]


def _spread(bound: Interval, shape: tuple[int, ...]) -> Interval:
    return Interval(np.broadcast_to(bound.low, shape), np.broadcast_to(bound.high, shape))


def _stateless(graph: Graph, node: Node, operands: list[Interval]) -> Interval:
    op, signal = node.op, graph.signal(node.name)
    if isinstance(op, Input):
        return by_type(signal)
    if isinstance(op, Delay):
        return operands[0].hull(Interval.of(0.0))
    rule = _RULES.get(type(op))
    if rule is not None:
        with np.errstate(all="ignore"):
            found = rule(graph, node, op, operands[0])
    elif isinstance(op, Winner):
        found = by_type(signal)
    elif isinstance(op, Uniform):
        found = Interval.of(0.0, 1.0)
    elif isinstance(op, PickMax2d):
        found = _picked(op, operands[1])
    elif not op.tensors():
        found = _rising(graph, node, op, operands)
    else:
        found = EVERYTHING
    unknown = np.isnan(found.low) | np.isnan(found.high)
    found = Interval(np.where(unknown, -np.inf, found.low), np.where(unknown, np.inf, found.high))
    return _spread(found, signal.shape)


def _rising(graph: Graph, node: Node, op: Op, operands: list[Interval]) -> Interval:
    """Moves, sums and maxima without weights rise with each of their operands."""
    call = op.call([graph.signals[v] for v in node.operands])
    function: Callable[..., Array] = getattr(kernels, call.function)
    options: dict[str, Any] = {**call.options, **({"acc": np.float64} if call.sums else {})}
    with np.errstate(all="ignore"):
        low = function(*(o.low[None] for o in operands), **options)[0]
        high = function(*(o.high[None] for o in operands), **options)[0]
    terms = sum(o.low.size for o in operands) if call.sums else len(operands)
    return _rounded(Interval(low, high), np.maximum(np.abs(low), np.abs(high)), terms)


def _picked(op: PickMax2d, x: Interval) -> Interval:
    """Any element of a window may be where its scores are largest."""
    window = (op.kernel, op.stride, op.padding)
    low = -kernels.max_pool(-x.low[None], *window)[0]
    return Interval(low, kernels.max_pool(x.high[None], *window)[0])


def _rounded(bound: Interval, size: Array, terms: int) -> Interval:
    """Give room for a sum of so many terms, whose absolute values add up to `size`."""
    room = np.where(np.isfinite(size), size * ROUNDING * (terms + 1), 0.0)
    return Interval(bound.low - room, bound.high + room)


def _linear(graph: Graph, node: Node, op: Op, x: Interval) -> Interval:
    assert isinstance(op, (Linear, Conv1d, Conv2d))
    weight = without_zero(op).astype(np.float64)
    bias = None if op.bias is None else op.bias.numpy().astype(np.float64)
    up, down = np.maximum(weight, 0.0), np.minimum(weight, 0.0)

    def times(a: Array, w: Array) -> Array:
        """Return w a, where infinity times a weight of zero is zero."""
        finite = np.where(np.isfinite(a), a, 0.0)
        total = _applied(op, finite, w)
        for sign in (-1.0, 1.0):
            ends = (a == sign * np.inf).astype(np.float64)
            if ends.any():
                hit = _applied(op, ends, w)
                total = np.where(hit > 0, sign * np.inf, np.where(hit < 0, -sign * np.inf, total))
        return total

    low, high = times(x.low, up) + times(x.high, down), times(x.high, up) + times(x.low, down)
    size = np.abs(times(np.maximum(np.abs(x.low), np.abs(x.high)), np.abs(weight)))
    found = _rounded(Interval(low, high), size, weight[0].size)
    if bias is None:
        return found
    channels = bias if isinstance(op, Linear) else bias.reshape(-1, *(1,) * op.rank)
    return Interval(found.low + channels, found.high + channels).widened()


def _sparse(graph: Graph, node: Node, op: Op, x: Interval) -> Interval:
    """Bound a sparse product like a dense one, of its positive and of its negative weights."""
    assert isinstance(op, SparseLinear)
    values, layout = op.values.numpy().astype(np.float64), (op.columns.numpy(), op.starts.numpy())

    def times(a: Array, w: Array) -> Array:
        found: Array = kernels.sparse_linear(a, w, *layout, outputs=op.outputs)
        return np.where(np.isnan(found), np.inf, found)

    up, down = np.maximum(values, 0.0), np.minimum(values, 0.0)
    largest = np.maximum(np.abs(x.low), np.abs(x.high))
    if not np.isfinite(largest).all():
        return EVERYTHING
    low, high = times(x.low, up) + times(x.high, down), times(x.high, up) + times(x.low, down)
    found = _rounded(Interval(low, high), times(largest, np.abs(values)), op.inputs)
    bias = 0.0 if op.bias is None else op.bias.numpy().astype(np.float64)
    return Interval(found.low + bias, found.high + bias).widened()


def _applied(op: Linear | Conv1d | Conv2d, x: Array, weight: Array) -> Array:
    if isinstance(op, Linear):
        product: Array = x @ weight.T
        return product
    geometry = (op.stride, op.padding, op.dilation, op.groups)
    found: Array = kernels.convolution(x[None], weight, None, *geometry)[0]
    return found


def _affine(graph: Graph, node: Node, op: Op, x: Interval) -> Interval:
    if isinstance(op, Scale):
        factor = op.scale.numpy().astype(np.float64)
        ends = [np.where((a == 0) | (factor == 0), 0.0, a * factor) for a in (x.low, x.high)]
        return Interval(np.minimum(*ends), np.maximum(*ends)).widened()
    if isinstance(op, Bias):
        bias = op.bias.numpy().astype(np.float64)
        return Interval(x.low + bias, x.high + bias).widened()
    assert isinstance(op, BatchNorm)
    tensors = op.call([graph.signals[node.operands[0]]]).tensors
    given = {key: value.numpy().astype(np.float64) for key, value in tensors.items()}
    ends = [kernels.batch_norm(a[None], **given, eps=op.eps)[0] for a in (x.low, x.high)]
    found = Interval(np.minimum(*ends), np.maximum(*ends))
    size = np.abs(ends[0]) + np.abs(ends[1])
    shift = kernels.batch_norm(np.zeros_like(x.low)[None], **given, eps=op.eps)[0]
    return _rounded(found, size + np.abs(shift) * 2, 4)


_RULES: dict[type[Op], Callable[[Graph, Node, Op, Interval], Interval]] = {
    Linear: _linear,
    Conv1d: _linear,
    Conv2d: _linear,
    SparseLinear: _sparse,
    Scale: _affine,
    Bias: _affine,
    BatchNorm: _affine,
}
