"""What JAX's products, convolutions, windows and control flow mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from snnir.frontends.step_functions.jax_elementwise import numeric
from snnir.frontends.step_functions.jax_lower import (
    LONGEST_LOOP,
    Known,
    Lowering,
    Refused,
    Stream,
    Value,
    rule,
)
from snnir.frontends.step_functions.jax_shapes import concat, cut, permute, reshape

_TWO_STREAMS = "multiplies two streams as matrices; one operand must be a constant"


def _weights(value: Value) -> Known:
    if not isinstance(value, Known):
        raise Refused("SNN803", _TWO_STREAMS)
    if value.dtype != "float":
        return Known(value.array.astype(np.float32), value.label)
    return value


@rule("dot_general")
def _dot(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    """A stream times a constant matrix, on either side: `linear` over the last axis."""
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    if isinstance(values[0], Stream) and isinstance(values[1], Stream):
        raise Refused("SNN803", _TWO_STREAMS)
    if left_batch or right_batch:
        raise Refused("SNN803", "has another matrix for every part of the stream")
    stream_first = isinstance(values[0], Stream)
    x, weight = values if stream_first else reversed(values)
    assert isinstance(x, Stream)
    x_sum, w_sum = (left_sum, right_sum) if stream_first else (right_sum, left_sum)
    weight = _weights(weight)
    x_free = [i for i in range(len(x.shape)) if i not in x_sum]
    w_free = [i for i in range(len(weight.shape)) if i not in w_sum]
    fan_in = prod(x.shape[i] for i in x_sum)
    kept, new = [x.shape[i] for i in x_free], [weight.shape[i] for i in w_free]
    rows = permute(low, numeric(low, x), [*x_free, *x_sum])
    rows = reshape(low, rows, (*kept, fan_in))
    matrix = np.transpose(weight.array, [*w_free, *w_sum]).reshape(prod(new), fan_in)
    name = low.constant(Known(np.ascontiguousarray(matrix), weight.label))
    found: Value = low.emit("linear", rows, shape=(*kept, prod(new)), weight=name)
    found = reshape(low, found, (*kept, *new))
    if stream_first:
        return found
    rank = len(kept)
    return permute(low, found, [*range(rank, rank + len(new)), *range(rank)])


@rule("conv_general_dilated")
def _conv(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    """A convolution in any layout: channels are brought to the front and back."""
    x, weight = values
    if not isinstance(x, Stream):
        raise Refused("SNN803", _TWO_STREAMS)
    weight = _weights(weight)
    numbers = params["dimension_numbers"]
    space = len(numbers.lhs_spec) - 2
    if space not in (1, 2):
        raise Refused("SNN803", f"convolves over {space} axes; graphs over 1 or 2")
    if any(n != 1 for n in params["lhs_dilation"]):
        raise Refused("SNN803", "is a transposed convolution", "use a convolution and a resize")
    if params["batch_group_count"] != 1:
        raise Refused("SNN803", "groups the batch")
    padding = tuple((int(a), int(b)) for a, b in params["padding"])
    if any(n < 0 for pair in padding for n in pair):
        raise Refused("SNN803", "crops its operand", "slice it first")
    kernel = np.ascontiguousarray(np.transpose(weight.array, numbers.rhs_spec))
    given = permute(low, numeric(low, x), numbers.lhs_spec)
    shape = tuple(outs[0].shape[i] for i in numbers.out_spec)
    found = low.emit(
        f"conv{space}d",
        given,
        shape=shape,
        weight=low.constant(Known(kernel, weight.label)),
        stride=tuple(int(n) for n in params["window_strides"]),
        padding=padding,
        dilation=tuple(int(n) for n in params["rhs_dilation"]),
        groups=int(params["feature_group_count"]),
    )
    back = [list(numbers.out_spec).index(i) for i in range(len(shape))]
    return permute(low, found, back)


def _window(kind: str) -> Any:
    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
        x = numeric(low, values[0])
        for key in ("base_dilation", "window_dilation"):
            if any(n != 1 for n in params[key]):
                raise Refused("SNN803", f"has a {key.replace('_', ' ')}")
        sizes, strides = params["window_dimensions"], params["window_strides"]
        pads = [(int(before), int(after)) for before, after in params["padding"]]
        if any(n < 0 for pair in pads for n in pair):
            raise Refused("SNN803", "crops its operand", "slice it first")
        return _pooled(low, kind, x, sizes, strides, pads, outs)

    return apply


def _pooled(
    low: Lowering, kind: str, x: Value, sizes: Any, strides: Any, pads: Any, outs: Sequence[Any]
) -> Value:
    shape = tuple(outs[0].shape)
    rank = len(shape)
    moves = [i for i in range(rank) if (sizes[i], strides[i], pads[i]) != (1, 1, (0, 0))]
    if not moves:
        return x
    if len(moves) > 2:
        raise Refused("SNN803", f"pools over {len(moves)} axes; graphs over 2")
    order = [*(i for i in range(rank) if i not in moves), *moves]
    given = permute(low, x, order)
    lead = tuple(shape[i] for i in order[: rank - len(moves)])
    inner, windows = list(given.shape[len(lead) :]), [(sizes[i], strides[i]) for i in moves]
    padding, out = [pads[i] for i in moves], [shape[i] for i in moves]
    if len(moves) == 1:
        inner, windows = [1, *inner], [(1, 1), *windows]
        padding, out = [(0, 0), *padding], [1, *out]
    given = reshape(low, given, (*lead, *inner))
    found: Value = low.emit(
        f"{kind}_pool2d",
        given,
        shape=(*lead, *out),
        dtype=x.dtype,
        kernel=tuple(int(size) for size, _ in windows),
        stride=tuple(int(stride) for _, stride in windows),
        padding=tuple(padding),
    )
    found = reshape(low, found, tuple(shape[i] for i in order))
    return permute(low, found, [order.index(i) for i in range(rank)])


rule("reduce_window_sum")(_window("sum"))
rule("reduce_window_max")(_window("max"))


@rule("cond")
def _cond(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> list[Value]:
    index, *rest = values
    if not isinstance(index, Known):
        raise Refused(
            "SNN804", "takes a branch that depends on input or state",
            "use jnp.where, which computes both",
        )  # fmt: skip
    branches = params["branches"]
    chosen = branches[min(max(int(index.array), 0), len(branches) - 1)]
    return low.closed(chosen, rest)


@rule("while")
def _while(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> list[Value]:
    raise Refused(
        "SNN804", "repeats as often as input or state say",
        "use a fixed number of rounds (jax.lax.fori_loop with constant bounds)",
    )  # fmt: skip


@rule("argmax", "argmin", "sort", "top_k")
def _order(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> list[Value]:
    raise Refused("SNN803", "orders values, which a graph does not", "compute it outside the step")


@rule("scan")
def _scan(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> list[Value]:
    """A short loop inside a step: written out."""
    length = int(params["length"])
    if length > LONGEST_LOOP:
        reason = f"repeats {length} times inside a step; up to {LONGEST_LOOP} are written out"
        raise Refused("SNN803", reason, "give the function that is scanned over time itself")
    consts = list(values[: params["num_consts"]])
    stop = params["num_consts"] + params["num_carry"]
    carry, xs = list(values[params["num_consts"] : stop]), values[stop:]
    rounds = range(length)[::-1] if params["reverse"] else range(length)
    rows: dict[int, list[Value]] = {}
    for at in rounds:
        given = [_row(low, x, at) for x in xs]
        results = low.closed(params["jaxpr"], [*consts, *carry, *given])
        carry, rows[at] = results[: len(carry)], results[len(carry) :]
    stacked = [
        _stacked(low, [rows[at][i] for at in range(length)], tuple(out.shape))
        for i, out in enumerate(outs[len(carry) :])
    ]
    return [*carry, *stacked]


def _row(low: Lowering, x: Value, at: int) -> Value:
    if isinstance(x, Known):
        return Known(x.array[at], x.label)
    return reshape(low, cut(low, x, 0, at, at + 1), x.shape[1:])


def _stacked(low: Lowering, rows: Sequence[Value], shape: tuple[int, ...]) -> Value:
    single = (1, *shape[1:])
    if all(isinstance(row, Known) for row in rows):
        arrays = [row.array for row in rows if isinstance(row, Known)]
        return Known(np.stack(arrays))
    parts = [
        Known(np.reshape(row.array, single), row.label)
        if isinstance(row, Known)
        else reshape(low, row, single)
        for row in rows
    ]
    return concat(low, parts, 0, shape)


@rule("scatter", "scatter-add", "scatter-mul", "scatter-min", "scatter-max")
def _scatter(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    raise Refused(
        "SNN803", "writes into a part of an array",
        "use jnp.where with a constant mask, or jnp.concatenate",
    )  # fmt: skip
