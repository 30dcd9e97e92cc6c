"""ATen operations that move elements, in the vocabulary of traced steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.frontends.step_functions.export_lowering import Lowering, rule
from snnir.frontends.step_functions.export_values import Const, Refused, Stream, Value


@rule("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten")
def _view(low: Lowering, example: Any, x: Stream, *_: Any) -> Value:
    return low.reshape(x, tuple(example.shape))


@rule("permute", "t", "transpose", "numpy_T")
def _permute(low: Lowering, example: Any, x: Stream, *args: Any) -> Value:
    order = list(range(len(x.shape)))
    if len(args) == 1:
        order = list(args[0])
    elif len(args) == 2:
        one, two = (a % len(order) for a in args)
        order[one], order[two] = order[two], order[one]
    else:
        order.reverse()
    return low.permute(x, order)


@rule("slice")
def _slice(
    low: Lowering, example: Any, x: Stream, dim: int = 0, start: int | None = None,
    stop: int | None = None, step: int = 1,
) -> Value:  # fmt: skip
    return _take(low, x, dim, range(*slice(start, stop, step).indices(x.shape[dim])))


def _take(low: Lowering, x: Stream, dim: int, chosen: Sequence[int]) -> Stream:
    axis = dim % len(x.shape)
    shape = (*x.shape[:axis], len(chosen), *x.shape[axis + 1 :])
    first = chosen[0]
    if list(chosen) == list(range(x.shape[axis])):
        return x
    if list(chosen) == list(range(first, first + len(chosen))):
        return low.keep(x, "slice", shape, axis=axis, start=first, stop=first + len(chosen))
    return low.keep(x, "take", shape, axis=axis, indices=tuple(int(n) for n in chosen))


@rule("select")
def _select(low: Lowering, example: Any, x: Stream, dim: int, index: int) -> Value:
    taken = _take(low, x, dim, [index % x.shape[dim]])
    return low.reshape(taken, tuple(example.shape))


@rule("index_select")
def _index_select(low: Lowering, example: Any, x: Stream, dim: int, index: Value) -> Value:
    if not isinstance(index, Const):
        raise Refused("reads places that depend on the data")
    return _take(low, x, dim, [int(n) for n in index.tensor.reshape(-1)])


@rule("index")
def _index(low: Lowering, example: Any, x: Stream, indices: Sequence[Value]) -> Value:
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    dim, index = given[0]
    if len(given) > 1 or not isinstance(index, Const) or index.tensor.ndim != 1:
        raise Refused("reads places that depend on the data, or along several axes")
    tensor = index.tensor
    places = tensor.nonzero().reshape(-1) if tensor.dtype == torch.bool else tensor
    return _take(low, x, dim, [int(n) % x.shape[dim] for n in places])


@rule("flip")
def _flip(low: Lowering, example: Any, x: Stream, dims: Sequence[int]) -> Value:
    for dim in dims:
        x = _take(low, x, dim, list(reversed(range(x.shape[dim]))))
    return x


@rule("split_with_sizes", "split", "unbind", "chunk")
def _split(low: Lowering, example: Any, x: Stream, *args: Any, **named: Any) -> Value:
    unbound = "unbind" in low.what
    given = args if unbound else args[1:]
    dim = int(given[0]) if given else int(named.get("dim", 0))
    parts: list[Value] = []
    start = 0
    for part in example:
        extent = 1 if unbound else int(part.shape[dim])
        taken = _take(low, x, dim, range(start, start + extent))
        parts.append(low.reshape(taken, tuple(part.shape)) if unbound else taken)
        start += extent
    return parts


@rule("cat", "concat")
def _cat(low: Lowering, example: Any, items: Sequence[Value], dim: int = 0) -> Value:
    filled = [i for i in items if not isinstance(i, Const) or i.tensor.numel()]
    if len(filled) == 1:
        return filled[0]
    numbers = [low.typed(item, "float") for item in filled]
    names = [
        low.constant(item.tensor.detach().to(torch.float32), item.label)
        if isinstance(item, Const)
        else item.name  # type: ignore[union-attr]
        for item in numbers
    ]
    return low.emit("concat", names, tuple(example.shape), axis=dim % len(example.shape))


@rule("slice_scatter")
def _slice_scatter(
    low: Lowering, example: Any, x: Value, new: Value, dim: int = 0, start: int | None = None,
    stop: int | None = None, step: int = 1,
) -> Value:  # fmt: skip
    """Take `x[:, start:stop] = new`."""
    if step != 1:
        raise Refused("writes to every so-manieth place", "write torch.where with a constant mask")
    first, last, _ = slice(start, stop).indices(example.shape[dim])
    return _written(low, example, x, new, dim, first, last)


@rule("select_scatter")
def _select_scatter(
    low: Lowering, example: Any, x: Value, new: Value, dim: int, index: int
) -> Value:
    """Take `x[:, index] = new`."""
    index = index % int(example.shape[dim])
    shape = list(example.shape)
    shape[dim] = 1
    if isinstance(new, Stream):
        new = low.reshape(new, tuple(shape))
    elif isinstance(new, Const):
        new = Const(new.tensor.reshape(shape))
    return _written(low, example, x, new, dim, index, index + 1)


def _written(
    low: Lowering, example: Any, x: Value, new: Value, dim: int, start: int, stop: int
) -> Value:
    """Return x with a part replaced."""
    parts = [_part(low, x, dim, 0, start), new, _part(low, x, dim, stop, int(example.shape[dim]))]
    return _cat(low, example, [part for part in parts if part is not None], dim)


def _part(low: Lowering, x: Value, dim: int, start: int, stop: int) -> Value:
    if start == stop:
        return None
    if isinstance(x, Const):
        return Const(x.tensor.narrow(dim, start, stop - start))
    assert isinstance(x, Stream)
    return _take(low, x, dim, range(start, stop))


@rule("constant_pad_nd", "pad")
def _pad(low: Lowering, example: Any, x: Stream, pads: Sequence[int], value: float = 0) -> Value:
    if value or min(pads, default=0) < 0:
        raise Refused("pads with values other than 0, or cuts off")
    rank = len(x.shape)
    widths = [(0, 0)] * rank
    for at in range(len(pads) // 2):
        widths[rank - 1 - at] = (int(pads[2 * at]), int(pads[2 * at + 1]))
    return low.keep(x, "pad", example.shape, widths=tuple(widths))


@rule("repeat")
def _repeat(low: Lowering, example: Any, x: Stream, counts: Sequence[int]) -> Value:
    x = low.reshape(x, (*[1] * (len(counts) - len(x.shape)), *x.shape))
    for dim, count in enumerate(counts):
        if count > 1:
            x = _take(low, x, dim, list(range(x.shape[dim])) * count)
    return x
