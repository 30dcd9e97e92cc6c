"""Moving y = gain * x + shift, element by element, into the ops before or after it.

Whatever is moved is computed in float64 and rounded once to the dtype of the weights it goes into.
All rules are exact in real arithmetic; a rule that is not is not here: a shift does not pass a zero
padding or a delay, a negative gain does not pass a maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import LifStep
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[np.float64]
Shape = tuple[int, ...]
#: New ops by the name of their node.
Edits = dict[str, Op]
Convolution = Conv1d | Conv2d

#: Units of what scales with the membrane of a member of the LIF family.
_SIGNALS = {"V", "A"}


@dataclass(frozen=True)
class Affine:
    """y = gain * x + shift; both of the stream's shape."""

    gain: Array
    shift: Array

    @classmethod
    def of(cls, shape: Shape, gain: Any = 1.0, shift: Any = 0.0) -> Affine:
        """Return the map of a stream; gain and shift broadcast."""
        wide = (np.broadcast_to(np.asarray(a, np.float64), shape) for a in (gain, shift))
        return cls(*wide)

    @property
    def shifts(self) -> bool:
        """Whether it is more than a factor."""
        return bool(np.any(self.shift))

    @property
    def scales(self) -> bool:
        """Whether it is more than a shift."""
        return bool(np.any(self.gain != 1.0))

    def through(self, change: Callable[[Array], Array]) -> Affine:
        """Return the map of a stream whose elements are elsewhere."""
        return Affine(change(self.gain), change(self.shift))

    def along(self, axis: int) -> tuple[Array, Array] | None:
        """Return gain and shift per index of an axis, if they depend on nothing else."""
        gain, shift = _along(self.gain, axis), _along(self.shift, axis)
        return None if gain is None or shift is None else (gain, shift)


def _along(array: Array, axis: int) -> Array | None:
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    first = rows[:, 0]
    return first if bool((rows == first[:, None]).all()) else None


def compact(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array with extent 1 along every axis on which it does not depend."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if bool((array == first).all()):
            array = first
    return array.reshape(()) if array.size == 1 else array


def as_affine(op: Op, shape: Shape) -> Affine | None:
    """Return what a stateless op does element by element, None if it does something else."""
    tensors = op.tensors().values()
    if any(not t.is_resolved or not t.dtype.startswith("f") for t in tensors):
        return None
    if isinstance(op, Scale):
        return Affine.of(shape, op.scale.numpy())
    if isinstance(op, Bias):
        return Affine.of(shape, 1.0, op.bias.numpy())
    if isinstance(op, BatchNorm):
        gain, shift = batch_norm_constants(op)
        channels = (-1,) + (1,) * (len(shape) - 1)
        return Affine.of(shape, gain.reshape(channels), shift.reshape(channels))
    return None


def batch_norm_constants(op: BatchNorm) -> tuple[Array, Array]:
    """Return gain and shift per channel, in float64."""
    gain = 1.0 / np.sqrt(_wide(op.var) + op.eps)
    if op.gamma is not None:
        gain = _wide(op.gamma) * gain
    shift = -_wide(op.mean) * gain
    return gain, shift if op.beta is None else shift + _wide(op.beta)


def _wide(tensor: Tensor) -> Array:
    return tensor.numpy().astype(np.float64)


def rounded(value: Array, like: Tensor) -> Tensor:
    """Return an array in the dtype of a tensor."""
    return Tensor(value.astype(like.numpy().dtype))


def with_bias(op: Linear | Convolution, weight: Array, bias: Array | None) -> Op:
    """Return a synapse with other weights; `bias` is [out] or None."""
    given = None if bias is None or not np.any(bias) else rounded(bias, op.weight)
    return replace(op, weight=rounded(weight, op.weight), bias=given)


def bias_of(op: Linear | Convolution) -> Array:
    """Return the bias of a synapse as [out]."""
    out = op.weight.shape[0]
    return np.zeros(out) if op.bias is None else np.broadcast_to(_wide(op.bias), (out,))


class Mover:
    """Finds what has to change for an affine map to go.

    Args:
        graph: The graph before the pass; types are taken from it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.editor = graph.edit()
        self._open: set[str] = set()
        self._added: dict[str, Signal] = {}

    # --- The graph as it is now ------------------------------------------------------------------

    def signal(self, value: Value) -> Signal:
        """Return the type of a value."""
        return self._added.get(value.node) or self.graph.signals[value]

    def shape(self, name: str) -> Shape:
        """Return the shape of a node's result."""
        return self.signal(Value(name)).shape

    def insert(self, before: Node, op: Op) -> Value:
        """Add a node between a node and its only operand."""
        (operand,) = before.operands
        value = self.editor.add(self.editor.fresh(f"{before.name}.{op.name}"), op, [operand])
        (signal,) = op.infer([self.signal(operand)])
        assert signal is not None
        self._added[value.node] = signal
        self.editor.put(replace(before, operands=(value,)))
        return value

    def uses(self, name: str) -> list[tuple[Node, int]]:
        """Return (user, operand index) of a node's results."""
        users = (self.editor.nodes[user] for user in self.editor.users(name))
        return [(u, i) for u in users for i, value in enumerate(u.operands) if value.node == name]

    def is_output(self, name: str) -> bool:
        """Whether the graph gives a node's result out."""
        return any(value.node == name for value in self.editor.outputs.values())

    def alone(self, name: str) -> bool:
        """Whether a node has one use, in the graph."""
        return not self.is_output(name) and len(self.uses(name)) == 1

    def apply(self, edits: Edits) -> None:
        """Put new ops in place."""
        for name, op in edits.items():
            self.editor.set_op(name, op)

    def drop(self, name: str) -> None:
        """Take a node out that does nothing any more."""
        source = self.editor.nodes[name].operands[0]
        if self.signal(source).kind is not self.signal(Value(name)).kind:
            self.editor.set_op(name, Current())
            return
        self.editor.rewire(Value(name), source)
        self.editor.remove(name)

    # --- Into what comes before ------------------------------------------------------------------

    def before(self, value: Value, affine: Affine) -> Edits | None:
        """Return the edits that make a value `affine` of what it is; None if there are none."""
        node = self.editor.nodes[value.node]
        rule = _BEFORE.get(type(node.op))
        if rule is None or node.name in self._open or not self.alone(node.name):
            return None
        if not all(t.is_resolved and t.dtype.startswith("f") for t in node.op.tensors().values()):
            return None
        self._open.add(node.name)
        try:
            return rule(self, node, affine)
        finally:
            self._open.discard(node.name)

    # --- Into what comes after -------------------------------------------------------------------

    def after(self, name: str, affine: Affine) -> Edits | None:
        """Return the edits by which all users take `affine` of a node's result into themselves."""
        uses = self.uses(name)
        if self.is_output(name) or name in self._open or not uses:
            return None
        found: Edits = {}
        self._open.add(name)
        try:
            for user, index in uses:
                rule = _AFTER.get(type(user.op))
                edits = None if rule is None else rule(self, user, index, affine)
                if edits is None or edits.keys() & found.keys():
                    return None
                found |= edits
        finally:
            self._open.discard(name)
        return found


def _operand_shape(mover: Mover, node: Node) -> Shape:
    return mover.signal(node.operands[0]).shape


# --- Before: the node's result shall be scaled and shifted ---------------------------------------


def _linear_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    op = node.op
    assert isinstance(op, (Linear, Conv1d, Conv2d))
    found = affine.along(-1 if isinstance(op, Linear) else 0)
    if found is None:
        return None
    gain, shift = found
    rows = gain.reshape(-1, *(1,) * (len(op.weight.shape) - 1))
    return {node.name: with_bias(op, _wide(op.weight) * rows, bias_of(op) * gain + shift)}


def _batch_norm_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    op = node.op
    assert isinstance(op, BatchNorm)
    found = affine.along(0)
    if found is None:
        return None
    gain, shift = found
    gamma = gain if op.gamma is None else _wide(op.gamma) * gain
    beta = shift if op.beta is None else _wide(op.beta) * gain + shift
    return {node.name: replace(op, gamma=rounded(gamma, op.mean), beta=rounded(beta, op.mean))}


def _scale_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    op = node.op
    assert isinstance(op, Scale)
    if affine.shifts:
        return None
    return {node.name: Scale(rounded(compact(_wide(op.scale) * affine.gain), op.scale))}


def _bias_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    op = node.op
    assert isinstance(op, Bias)
    shift = compact(_wide(op.bias) * affine.gain + affine.shift)
    own: Edits = {node.name: Bias(rounded(shift, op.bias))}
    if not affine.scales:
        return own
    rest = mover.before(node.operands[0], Affine.of(affine.gain.shape, affine.gain))
    return None if rest is None else rest | own


def _reshape_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    shape = _operand_shape(mover, node)
    return mover.before(node.operands[0], affine.through(lambda a: a.reshape(shape)))


def _permute_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    assert isinstance(node.op, Permute)
    back = tuple(int(axis) for axis in np.argsort(node.op.axes))
    return mover.before(node.operands[0], affine.through(lambda a: a.transpose(back)))


def _pool_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    op = node.op
    assert isinstance(op, (SumPool2d, AvgPool2d, MaxPool2d))
    inner = _unpooled(op, affine, _operand_shape(mover, node), after=False)
    return None if inner is None else mover.before(node.operands[0], inner)


def _unpooled(
    op: SumPool2d | AvgPool2d | MaxPool2d, affine: Affine, shape: Shape, after: bool
) -> Affine | None:
    """Return the map on the other side of a pool, on a stream of this shape."""
    found = affine.along(0)
    if found is None:
        return None
    gain, shift = found
    largest = isinstance(op, MaxPool2d)
    if (largest and gain.min() <= 0) or (affine.shifts and not largest and _pads(op.padding)):
        return None
    if isinstance(op, SumPool2d):
        shift = shift * prod(op.kernel) if after else shift / prod(op.kernel)
    return Affine.of(shape, gain.reshape(-1, 1, 1), shift.reshape(-1, 1, 1))


def _pads(padding: tuple[tuple[int, int], ...]) -> bool:
    return any(width for pair in padding for width in pair)


def _add_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    pure = Affine.of(affine.gain.shape, affine.gain)
    edits: list[Edits | None] = [{}] * len(node.operands)
    if affine.scales:
        edits = [mover.before(value, pure) for value in node.operands]
    if affine.shifts:
        for index, value in enumerate(node.operands):
            shifted = mover.before(value, affine)
            if shifted is not None:
                edits[index] = shifted
                break
        else:
            return None
    return _joined(edits)


def _joined(edits: list[Edits | None]) -> Edits | None:
    found: Edits = {}
    for some in edits:
        if some is None or some.keys() & found.keys():
            return None
        found |= some
    return found


def _concat_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    assert isinstance(node.op, Concat)
    axis, at, edits = node.op.axis, 0, []
    for value in node.operands:
        extent = mover.signal(value).shape[axis]
        part = affine.through(lambda a, lo=at, n=extent: a.take(range(lo, lo + n), axis))  # type: ignore[misc]
        edits.append(mover.before(value, part) if part.scales or part.shifts else {})
        at += extent
    return _joined(edits)


def _pad_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    assert isinstance(node.op, Pad)
    if affine.shifts:
        return None
    extents = zip(node.op.widths, affine.gain.shape, strict=True)
    inner = tuple(slice(before, n - after) for (before, after), n in extents)
    return mover.before(node.operands[0], affine.through(lambda a: a[inner]))


def _delay_before(mover: Mover, node: Node, affine: Affine) -> Edits | None:
    return None if affine.shifts else mover.before(node.operands[0], affine)


_BEFORE: dict[type[Op], Callable[[Mover, Node, Affine], Edits | None]] = {
    Linear: _linear_before,
    Conv1d: _linear_before,
    Conv2d: _linear_before,
    BatchNorm: _batch_norm_before,
    Scale: _scale_before,
    Bias: _bias_before,
    Reshape: _reshape_before,
    Flatten: _reshape_before,
    Permute: _permute_before,
    SumPool2d: _pool_before,
    AvgPool2d: _pool_before,
    MaxPool2d: _pool_before,
    Add: _add_before,
    Concat: _concat_before,
    Pad: _pad_before,
    Delay: _delay_before,
}


# --- After: the node's operand was scaled and shifted, which it shall do itself ------------------


def _linear_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    op = user.op
    assert isinstance(op, Linear)
    found = affine.along(-1) if _is_float(op) else None
    if found is None:
        return None
    gain, shift = found
    weight = _wide(op.weight)
    return {user.name: with_bias(op, weight * gain, bias_of(op) + weight @ shift)}


def _convolution_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    op = user.op
    assert isinstance(op, (Conv1d, Conv2d))
    found = affine.along(0) if _is_float(op) else None
    if found is None or (affine.shifts and _pads(op.padding)):
        return None
    weight = _wide(op.weight)
    per_out = [
        np.repeat(a.reshape(op.groups, -1), weight.shape[0] // op.groups, 0) for a in found
    ]  # [out, in / groups]: what each output channel sees
    gain, shift = (a.reshape(*a.shape, *(1,) * op.rank) for a in per_out)
    extra = (weight * shift).sum(axis=tuple(range(1, weight.ndim)))
    return {user.name: with_bias(op, weight * gain, bias_of(op) + extra)}


def _is_float(op: Op) -> bool:
    return all(t.is_resolved and t.dtype.startswith("f") for t in op.tensors().values())


def _scale_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    return None if not _is_float(user.op) else _scale_before(mover, user, affine)


def _reshape_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    shape = mover.shape(user.name)
    return mover.after(user.name, affine.through(lambda a: a.reshape(shape)))


def _permute_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    assert isinstance(user.op, Permute)
    axes = user.op.axes
    return mover.after(user.name, affine.through(lambda a: a.transpose(axes)))


def _pool_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    op = user.op
    assert isinstance(op, (SumPool2d, AvgPool2d, MaxPool2d))
    outer = _unpooled(op, affine, mover.shape(user.name), after=True)
    return None if outer is None else mover.after(user.name, outer)


def _concat_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    assert isinstance(user.op, Concat)
    shape, axis = mover.shape(user.name), user.op.axis
    first = sum(mover.signal(v).shape[axis] for v in user.operands[:index])
    gain, shift = np.ones(shape), np.zeros(shape)
    place = [slice(None)] * len(shape)
    place[axis] = slice(first, first + affine.gain.shape[axis])
    gain[tuple(place)], shift[tuple(place)] = affine.gain, affine.shift
    return mover.after(user.name, Affine(gain, shift))


def _pad_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    assert isinstance(user.op, Pad)
    if affine.shifts:
        return None
    widths = user.op.widths
    return mover.after(user.name, affine.through(lambda a: np.pad(a, widths, mode="edge")))


def _delay_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    return None if affine.shifts else mover.after(user.name, affine)


def _step_after(mover: Mover, user: Node, index: int, affine: Affine) -> Edits | None:
    """Divide what a spiking neuron compares and resets to by the gain of its input.

    A shift of the input moves where the membrane rests: into its leak target, or its bias.
    """
    op = user.op
    assert isinstance(op, Step)
    rules = op.dynamics
    if not isinstance(rules, LifStep) or rules.fixed or rules.inputs > 1 or not _is_float(op):
        return None
    if affine.shifts:
        shifted = _rest_moved(op, rules, affine.shift)
        if shifted is None or not affine.scales:
            return shifted if shifted is None else {user.name: shifted}
        op = shifted
    if affine.gain.min() <= 0 or any(kind is Kind.ANALOG for _, kind in rules.program.outputs):
        return None
    units = dict(op.program.params)
    gain = compact(affine.gain)
    params = {
        name: rounded(_wide(value) / gain, value) if units[name] in _SIGNALS else value
        for name, value in op.params.items()
    }
    return {user.name: replace(op, params=FrozenDict(params))}


#: Forms of the membrane that add their constant apart, and those that have a leak target.
_BIASED, _LEAKY = ("integrate", "factor"), ("difference", "pull", "quotient", "product")


def _rest_moved(op: Step, rules: LifStep, shift: Array) -> Step | None:
    """Return neurons that add a constant to their input themselves; None if they cannot."""
    form, _, after = rules.membrane.partition("-")
    if rules.synapse != "none" or rules.synapse_gain or form not in (*_BIASED, *_LEAKY):
        return None
    moved = shift * _wide(op.params["gain"]) if rules.gain else shift
    if after:  # the input is added to what is left of the membrane
        moved = (
            moved * _wide(op.params["tau"])
            if form == "quotient"
            else moved / _wide(op.params["k_mem"])
        )
    name = "bias" if form in _BIASED else "leak"
    if rules.leak:
        moved = moved + _wide(op.params[name])
    like = next(iter(op.params.values()), Tensor(np.zeros((), np.float32)))
    params = {**op.params, name: rounded(compact(moved), like)}
    return replace(op, dynamics=replace(rules, leak=True), params=FrozenDict(params))


_AFTER: dict[type[Op], Callable[[Mover, Node, int, Affine], Edits | None]] = {
    Linear: _linear_after,
    Conv1d: _convolution_after,
    Conv2d: _convolution_after,
    Scale: _scale_after,
    Reshape: _reshape_after,
    Flatten: _reshape_after,
    Permute: _permute_after,
    SumPool2d: _pool_after,
    AvgPool2d: _pool_after,
    MaxPool2d: _pool_after,
    Concat: _concat_after,
    Pad: _pad_after,
    Delay: _delay_after,
    Step: _step_after,
}
