"""What JAX's primitives that move values mean: shapes, slices, joins, repetitions, sums of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.frontends.step_functions.jax_elementwise import numeric
from snnir.frontends.step_functions.jax_lower import Known, Lowering, Refused, Stream, Value, rule
from snnir.frontends.step_functions.traced import Shape

_DYNAMIC = "takes elements at places that depend on input or state"


def reshape(low: Lowering, x: Value, shape: Shape) -> Value:
    """Return a stream in another shape."""
    if x.shape == shape:
        return x
    return low.emit("reshape", x, shape=shape, dtype=x.dtype)


def permute(low: Lowering, x: Value, axes: Sequence[int]) -> Value:
    """Return a stream with its axes reordered."""
    if list(axes) == list(range(len(axes))):
        return x
    shape = tuple(x.shape[axis] for axis in axes)
    return low.emit("permute", x, shape=shape, dtype=x.dtype, axes=tuple(axes))


def cut(low: Lowering, x: Value, axis: int, start: int, stop: int) -> Value:
    """Return a slice along one axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return low.emit("slice", x, shape=shape, dtype=x.dtype, axis=axis, start=start, stop=stop)


def take(low: Lowering, x: Value, axis: int, indices: Sequence[int]) -> Value:
    """Return chosen places along one axis; a slice where they are one."""
    first = int(indices[0]) if len(indices) else 0
    if list(indices) == list(range(first, first + len(indices))):
        return cut(low, x, axis, first, first + len(indices))
    shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
    places = tuple(int(index) for index in indices)
    return low.emit("take", x, shape=shape, dtype=x.dtype, axis=axis, indices=places)


def concat(low: Lowering, parts: Sequence[Value], axis: int, shape: Shape) -> Value:
    """Return parts joined along an axis; constant ones may be among them."""
    if len(parts) == 1:
        return parts[0]
    if len({part.dtype for part in parts}) > 1 or parts[0].dtype == "bool":
        raise Refused("SNN803", "joins truth values", "convert them to float32 first")
    names = [
        part if isinstance(part, Stream) else Known(np.array(part.array), part.label or "constant")
        for part in parts
    ]
    dtype = parts[0].dtype
    given = [low.constant(n) if isinstance(n, Known) else n.name for n in names]
    streams = [Stream(name, part.shape, dtype) for name, part in zip(given, parts, strict=True)]
    return low.emit("concat", *streams, shape=shape, dtype=dtype, axis=axis)


@rule("reshape", "squeeze", "expand_dims")
def _reshape(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    if params.get("dimensions") is not None and "new_sizes" in params:
        raise Refused("SNN803", "reorders axes while reshaping", "use jnp.transpose")
    return reshape(low, values[0], tuple(outs[0].shape))


@rule("transpose")
def _transpose(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    return permute(low, values[0], params["permutation"])


@rule("broadcast_in_dim")
def _broadcast(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    if len(values) > 1:
        raise Refused("SNN801", "has a shape that is not fixed")
    x, shape = values[0], tuple(outs[0].shape)
    if int(np.prod(x.shape)) == int(np.prod(shape)):
        return reshape(low, x, shape)
    axes = tuple(params["broadcast_dimensions"])
    return low.emit("broadcast", x, shape=shape, dtype=x.dtype, axes=axes)


@rule("rev")
def _rev(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    x = values[0]
    for axis in params["dimensions"]:
        x = take(low, x, axis, range(x.shape[axis])[::-1])
    return x


@rule("slice")
def _slice(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    x = values[0]
    strides = params["strides"] or (1,) * len(x.shape)
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    for axis, (start, stop, stride) in enumerate(bounds):
        x = take(low, x, axis, range(start, stop, stride))
    return x


@rule("split")
def _split(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> list[Value]:
    found, start = [], 0
    for size in params["sizes"]:
        found.append(cut(low, values[0], params["axis"], start, start + int(size)))
        start += int(size)
    return found


def _starts(values: Sequence[Value], extents: Shape, sizes: Shape) -> list[int]:
    """Return constant start indices, clamped as JAX does.

    Raises:
        Refused: If one depends on input or state.
    """
    starts = []
    for value, extent, size in zip(values, extents, sizes, strict=True):
        if not isinstance(value, Known):
            raise Refused("SNN804", _DYNAMIC, "multiply by a mask instead")
        starts.append(min(max(int(value.array), 0), extent - size))
    return starts


@rule("dynamic_slice")
def _dynamic_slice(
    low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]
) -> Value:  # fmt: skip
    x, sizes = values[0], tuple(params["slice_sizes"])
    for axis, start in enumerate(_starts(values[1:], x.shape, sizes)):
        x = cut(low, x, axis, start, start + sizes[axis])
    return x


@rule("gather")
def _gather(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    """Take constant places along one axis."""
    x, indices = values
    numbers, sizes = params["dimension_numbers"], tuple(params["slice_sizes"])
    if not isinstance(indices, Known) or not isinstance(x, Stream):
        raise Refused("SNN804", _DYNAMIC, "multiply by a mask instead")
    if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
        raise Refused("SNN803", "takes places along several axes at once")
    axis = numbers.start_index_map[0]
    whole = all(size == x.shape[i] for i, size in enumerate(sizes) if i != axis)
    if not whole or sizes[axis] != 1:
        raise Refused("SNN803", "takes windows")
    places = indices.array[..., 0]
    if places.size and (places.min() < 0 or places.max() >= x.shape[axis]):
        raise Refused("SNN803", f"takes places outside of {x.shape[axis]}")
    taken = take(low, x, axis, places.reshape(-1).tolist())
    # Axes of the places stand where the result has no axes of the operand.
    rank = len(outs[0].shape)
    own = [i for i in range(rank) if i not in numbers.offset_dims]
    rest = [i for i in range(len(x.shape)) if i != axis]
    if axis not in numbers.collapsed_slice_dims or len(numbers.offset_dims) != len(rest):
        raise Refused("SNN803", "keeps an axis of single elements")
    moved = permute(low, taken, [axis, *rest])
    spread = reshape(low, moved, (*places.shape, *(x.shape[i] for i in rest)))
    order = [*own, *numbers.offset_dims]
    return permute(low, spread, [order.index(i) for i in range(rank)])


@rule("concatenate")
def _concatenate(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    return concat(low, values, params["dimension"], tuple(outs[0].shape))


@rule("stack")
def _stack(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    axis, shape = params["axis"], tuple(outs[0].shape)
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    parts = [
        Known(np.reshape(v.array, single), v.label)
        if isinstance(v, Known)
        else reshape(low, v, single)
        for v in values
    ]
    return concat(low, parts, axis, shape)


@rule("dynamic_update_slice")
def _update(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    x, update, *given = values
    starts = _starts(given, x.shape, update.shape)
    axes = [i for i, n in enumerate(x.shape) if update.shape[i] != n]
    if len(axes) > 1 or isinstance(x, Known):
        raise Refused("SNN803", "writes into a part of several axes, or of a constant")
    if not axes:
        return update
    axis, start = axes[0], starts[axes[0]]
    stop, extent = start + update.shape[axis], x.shape[axis]
    parts = [
        *([cut(low, x, axis, 0, start)] if start else []),
        update,
        *([cut(low, x, axis, stop, extent)] if stop < extent else []),
    ]
    return concat(low, parts, axis, x.shape)


@rule("pad")
def _pad(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    x, filler = values
    config = params["padding_config"]
    if not isinstance(filler, Known) or filler.array.reshape(-1)[0] != 0:
        raise Refused("SNN803", "pads with something else than 0")
    if any(inner for _, _, inner in config):
        raise Refused("SNN803", "puts zeros between elements")
    for axis, (before, after, _) in enumerate(config):
        x = cut(low, x, axis, max(0, -before), x.shape[axis] - max(0, -after))
    widths = tuple((max(0, before), max(0, after)) for before, after, _ in config)
    if not any(sum(pair) for pair in widths):
        return x
    return low.emit("pad", x, shape=tuple(outs[0].shape), dtype=x.dtype, widths=widths)


def _reduced(low: Lowering, op: str, x: Value, params: Any, outs: Sequence[Any]) -> Value:
    shape = tuple(outs[0].shape)
    axes = tuple(params["axes"])
    if all(x.shape[axis] == 1 for axis in axes):
        return reshape(low, x, shape)
    return low.emit(op, x, shape=shape, dtype=x.dtype, axes=axes)


@rule("reduce_sum")
def _reduce_sum(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    return _reduced(low, "reduce_sum", numeric(low, values[0]), params, outs)


@rule("reduce_max")
def _reduce_max(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    return _reduced(low, "reduce_max", values[0], params, outs)


@rule("reduce_min")
def _reduce_min(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    x = low.emit("neg", values[0], dtype=values[0].dtype)
    least = _reduced(low, "reduce_max", x, params, outs)
    return low.emit("neg", least, dtype=least.dtype)


@rule("reduce_or")
def _reduce_or(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    most = _reduced(low, "reduce_max", numeric(low, values[0]), params, outs)
    return low.emit("gt", most, 0.0, dtype="bool")


@rule("reduce_and")
def _reduce_and(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    opposite = numeric(low, low.emit("not", values[0], dtype="bool"))
    most = _reduced(low, "reduce_max", opposite, params, outs)
    return low.emit("eq", most, 0.0, dtype="bool")
