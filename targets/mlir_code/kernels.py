"""The stateless ops in linalg: the same functions as `snnir.kernels`.

Arrays carry one leading axis of rows (time and batch merged). Every function takes where the code
goes, the operands, and the element type of its result; tensors are arguments of the function that
is written. `acc` is the element type in which sums are made before they are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from snnir.targets.mlir_code.choices import least, picked, winner
from snnir.targets.mlir_code.code import (
    PARALLEL,
    REDUCTION,
    Array,
    Code,
    Scalar,
    axes,
    is_real,
)
from snnir.targets.mlir_code.weights import Held

__all__ = ["winner"]  # the other functions are defined here

Pairs = Sequence[Sequence[int]]
#: Operands of a sum that are read from where they are; more are put into one tensor before, as
#: IREE has 32 buffers for an operation.
MOST_OPERANDS = 16


def identity(code: Code, x: Array, *, element: str) -> Array:
    """Return x."""
    return code.converted(x, element)


def add(code: Code, *xs: Array, element: str) -> Array:
    """Return the left-to-right sum."""
    if len(xs) > MOST_OPERANDS:
        line = code.stacked([code.converted(x, element) for x in xs])
        xs = tuple(code.item(line, k) for k in range(len(xs)))
    dims = xs[0].dims

    def body(given: list[Scalar]) -> Scalar:
        first, *rest = (code.cast(each, element) for each in given)
        for term in rest:
            first = code.sum(first, term)
        return first

    return code.each([(x, axes(len(dims))) for x in xs], dims, element, body)


def concat(code: Code, *xs: Array, axis: int, element: str) -> Array:
    """Join along a feature axis."""
    return code.joined([code.converted(x, element) for x in xs], axis + 1)


def slice_axis(code: Code, x: Array, *, axis: int, start: int, stop: int, element: str) -> Array:
    """Return x[..., start:stop, ...]."""
    dims = (*x.dims[: axis + 1], stop - start, *x.dims[axis + 2 :])
    first = [start if place == axis + 1 else 0 for place in range(len(dims))]
    return code.converted(code.part(x, first, dims), element)


def reshape(code: Code, x: Array, *, shape: Sequence[int], element: str) -> Array:
    """Reshape the features."""
    rows, features = x.dims[0], x.dims[1:]
    if features:
        line = code.merged(x, (rows, prod(features)), (1, len(features)))
    else:
        line = code.reshaped(x, (rows, 1), (2,))
    if not shape:
        return code.converted(code.merged(line, (rows,), (2,)), element)
    return code.converted(code.reshaped(line, (rows, *shape), (1, len(shape))), element)


def permute(code: Code, x: Array, *, axes: Sequence[int], element: str) -> Array:
    """Reorder the feature axes."""
    dims = (x.dims[0], *(x.dims[axis + 1] for axis in axes))
    places = {axis + 1: f"d{place + 1}" for place, axis in enumerate(axes)}
    at = ["d0", *(places[axis] for axis in range(1, len(dims)))]
    return code.each([(x, at)], dims, element, lambda xs: code.cast(xs[0], element))


def pad(code: Code, x: Array, *, widths: Pairs, value: float = 0.0, element: str) -> Array:
    """Surround the features with a value."""
    return _padded(code, code.converted(x, element), widths, code.number(value, element))


def _padded(code: Code, x: Array, widths: Pairs, value: Scalar) -> Array:
    if not any(width for pair in widths for width in pair):
        return x
    low, high = ([0, *(pair[side] for pair in widths)] for side in (0, 1))
    inner = (extent + sum(pair) for extent, pair in zip(x.dims[1:], widths, strict=True))
    result = Array(code.fresh(), (x.dims[0], *inner), x.element)
    places = ", ".join(f"{code.fresh()}: index" for _ in x.dims)
    head = f"{result.name} = tensor.pad {x.name} low{low} high{high} {{"
    with code.region(head, f"}} : {x.type} to {result.type}"):
        code.line(f"^bb0({places}):")
        code.line(f"tensor.yield {value.name} : {value.element}")
    return result


def scale(code: Code, x: Array, *, factor: Held, element: str) -> Array:
    """Return factor * x, both in the type of the result."""
    return _with_parameter(code, x, factor, element, code.product)


def offset(code: Code, x: Array, *, bias: Held, element: str) -> Array:
    """Return x + bias, both in the type of the result."""
    return _with_parameter(code, x, bias, element, code.sum)


def _with_parameter(
    code: Code, x: Array, held: Held, element: str, rule: Callable[[Scalar, Scalar], Scalar]
) -> Array:
    reads, value = held.spread(code, x.dims[1:], element)

    def body(given: list[Scalar]) -> Scalar:
        return rule(code.cast(given[0], element), value(given[1:]))

    return code.each([(x, axes(len(x.dims))), *reads], x.dims, element, body)


def batch_norm(code: Code, x: Array, *, gain: Held, shift: Held, element: str) -> Array:
    """Return x * gain + shift per channel."""
    after = len(x.dims) - 2
    first, times = gain.per_channel(after).spread(code, x.dims[1:], element)
    second, plus = shift.per_channel(after).spread(code, x.dims[1:], element)

    def body(given: list[Scalar]) -> Scalar:
        own, rest = given[0], given[1:]
        made = code.product(code.cast(own, element), times(rest[: len(first)]))
        return code.sum(made, plus(rest[len(first) :]))

    return code.each([(x, axes(len(x.dims))), *first, *second], x.dims, element, body)


def _multiply_add(code: Code, acc: str) -> Callable[[list[Scalar]], list[Scalar]]:
    """Return the body of a sum of products; whether it rounds once or twice is left open."""
    times, plus = ("arith.mulf", "arith.addf") if is_real(acc) else ("arith.muli", "arith.addi")

    def body(given: list[Scalar]) -> list[Scalar]:
        a, b, total = (code.cast(each, acc) for each in given)
        made = code.scalar(f"{times} {a.name}, {b.name}", acc)
        return [code.scalar(f"{plus} {total.name}, {made.name}", acc)]

    return body


def _with_bias(code: Code, y: Array, bias: Held | None, axis: int, element: str) -> Array:
    """Round the sums to the type of the result, then add the bias of each index of an axis."""
    if bias is None:
        return code.converted(y, element)
    bias = bias.per_channel(len(y.dims) - axis - 1)
    # A sum of one product must not be merged with the bias.
    return _with_parameter(code, y, bias, element, lambda a, b: code.sum(code.guard(a), b))


def linear(
    code: Code, x: Array, *, weight: Held, bias: Held | None = None, acc: str, element: str
) -> Array:
    """Return x W^T + bias over the last axis."""
    rows = prod(x.dims[:-1])
    matrix = code.merged(x, (rows, x.dims[-1]), (len(x.dims) - 1, 1))
    matrix = code.converted(matrix, _factor(matrix.element, acc))
    held = weight.argument()
    out = held.dims[0]
    (y,) = code.loop(
        [PARALLEL, PARALLEL, REDUCTION],
        [(matrix, ("d0", "d2")), (held, ("d1", "d2"))],
        [(code.filled((rows, out), code.number(0, acc)), ("d0", "d1"))],
        _multiply_add(code, acc),
    )
    y = _with_bias(code, y, bias, 1, element)
    return code.reshaped(y, (*x.dims[:-1], out), (len(x.dims) - 1, 1))


def _factor(given: str, acc: str) -> str:
    """Return the type in which an operand of a sum of products is read: real ones are real."""
    return "f32" if is_real(acc) and not is_real(given) else given


def sparse_linear(
    code: Code, x: Array, *, values: Held, columns: Held, starts: Held,
    bias: Held | None = None, outputs: int, acc: str, element: str,
) -> Array:  # fmt: skip
    """Return x W^T + bias over the last axis; see `snnir.kernels.sparse_linear`.

    One loop over the blocks of a group of rows for every output.
    """
    held, places, begins = values.argument(), columns.argument(), starts.argument()
    block = held.dims[1]
    last = len(x.dims) - 1
    zero, one = code.number(0, acc), code.index(1)

    def body(given: list[Scalar]) -> Scalar:
        spots = [code.op(f"linalg.index {axis} : index") for axis in range(last + 1)]
        group = code.op(f"arith.floordivsi {spots[-1]}, {code.index(block)} : index")
        lane = code.op(f"arith.remsi {spots[-1]}, {code.index(block)} : index")
        after = code.op(f"arith.addi {group}, {one} : index")
        ends = [_index_at(code, begins, [place]) for place in (group, after)]
        total, at, so_far = code.fresh(), code.fresh(), code.fresh()
        head = f"{total} = scf.for {at} = {ends[0]} to {ends[1]} step {one}"
        with code.region(f"{head} iter_args({so_far} = {zero.name}) -> ({acc}) {{"):
            column = _index_at(code, places, [at])
            own = code.cast(element_at(code, x, [*spots[:-1], column]), acc)
            factor = code.cast(element_at(code, held, [at, lane]), acc)
            made = code.sum(Scalar(so_far, acc), code.product(own, factor))
            code.line(f"scf.yield {made.name} : {acc}")
        return Scalar(total, acc)

    y = code.each([], (*x.dims[:-1], outputs), acc, body)
    return _with_bias(code, y, bias, last, element)


def element_at(code: Code, x: Array, places: Sequence[str]) -> Scalar:
    """Return one element of a tensor, from anywhere."""
    return Scalar(code.op(f"tensor.extract {x.name}[{', '.join(places)}] : {x.type}"), x.element)


def _index_at(code: Code, x: Array, places: Sequence[str]) -> str:
    found = element_at(code, x, places)
    return code.op(f"arith.index_cast {found.name} : {found.element} to index")


def convolution(
    code: Code, x: Array, *, weight: Held, bias: Held | None = None, stride: Sequence[int],
    padding: Pairs, dilation: Sequence[int], groups: int, acc: str, element: str,
) -> Array:  # fmt: skip
    """Cross-correlation over the axes after the channels.

    One column more is computed where their number is odd: IREE takes blocks of a divisor of it.
    """
    x = code.converted(x, _factor(x.element, acc))
    x = _padded(code, x, ((0, 0), *padding), code.number(0, x.element))
    out, inner, *kernel = weight.shape
    extents = _extents(x.dims[2:], kernel, stride, dilation)
    odd = extents[-1] % 2 if extents[-1] > 1 else 0
    if odd:
        more = [*((0, 0) for _ in x.dims[1:-1]), (0, stride[-1])]
        x = _padded(code, x, more, code.number(0, x.element))
    held = weight.reshaped(groups, out // groups, inner, *kernel).argument()
    x = code.reshaped(x, (x.dims[0], groups, inner, *x.dims[2:]), (1, 2, *(1 for _ in kernel)))
    room = (*extents[:-1], extents[-1] + odd)
    y = _correlated(code, x, held, room, stride, dilation, acc)
    y = code.merged(y, (x.dims[0], out, *room), (1, 2, *(1 for _ in kernel)))
    if odd:
        y = code.part(y, [0] * len(y.dims), (x.dims[0], out, *extents))
    return _with_bias(code, y, bias, 1, element)


def _correlated(
    code: Code, x: Array, weight: Array, extents: Sequence[int], stride: Sequence[int],
    dilation: Sequence[int], acc: str,
) -> Array:  # fmt: skip
    """Return the sums of [rows, groups, channels, *size] over all windows."""
    space = len(extents)
    # Axes: row, group, output channel, place; then channel and place in the kernel.
    channel, places, taps = f"d{3 + space}", axes(space, 3), axes(space, 4 + space)
    reach = [
        f"{p} * {s} + {k} * {d}" for p, s, k, d in zip(places, stride, taps, dilation, strict=True)
    ]
    start = code.filled((*x.dims[:2], weight.dims[1], *extents), code.number(0, acc))
    (y,) = code.loop(
        [PARALLEL] * (3 + space) + [REDUCTION] * (1 + space),
        [(x, ("d0", "d1", channel, *reach)), (weight, ("d1", "d2", channel, *taps))],
        [(start, axes(3 + space))],
        _multiply_add(code, acc),
    )
    return y


def _extents(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    found = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        found.append((size - d * (k - 1) - 1) // s + 1)
    return found


def _pooled(
    code: Code, x: Array, kernel: Sequence[int], stride: Sequence[int], start: Scalar,
    rule: Callable[[Scalar, Scalar], Scalar],
) -> Array:  # fmt: skip
    """Reduce every window of x, from a first value, by a rule."""
    extents = _extents(x.dims[2:], kernel, stride, (1, 1))
    reach = [f"d{2 + k} * {stride[k]} + d{4 + k}" for k in range(2)]
    window = code.empty(kernel, start.element)
    room = code.filled((*x.dims[:2], *extents), start)

    def body(given: list[Scalar]) -> list[Scalar]:
        return [rule(given[2], code.cast(given[0], start.element))]

    (y,) = code.loop(
        [PARALLEL] * 4 + [REDUCTION] * 2,
        [(x, ("d0", "d1", *reach)), (window, ("d4", "d5"))],
        [(room, axes(4))],
        body,
    )
    return y


def sum_pool(
    code: Code, x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    acc: str, element: str,
) -> Array:  # fmt: skip
    """Sum over windows."""
    x = _padded(code, x, ((0, 0), *padding), code.number(0, x.element))
    y = _pooled(code, x, kernel, stride, code.number(0, acc), code.sum)
    return code.converted(y, element)


def mean_pool(
    code: Code, x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    acc: str, element: str,
) -> Array:  # fmt: skip
    """Mean over windows, padding counted; the sum is rounded before the division."""
    y = sum_pool(code, x, kernel=kernel, stride=stride, padding=padding, acc=acc, element=element)
    count = code.number(prod(kernel), element)

    def body(xs: list[Scalar]) -> Scalar:
        return code.scalar(f"arith.divf {xs[0].name}, {count.name}", element)

    return code.each([(y, axes(4))], y.dims, element, body)


def max_pool(
    code: Code, x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    element: str,
) -> Array:  # fmt: skip
    """Largest element of each window."""
    x = code.converted(x, element)
    word = "arith.maximumf" if is_real(element) else "arith.maxsi"
    start = least(code, element)
    x = _padded(code, x, ((0, 0), *padding), start)

    def rule(best: Scalar, value: Scalar) -> Scalar:
        return code.scalar(f"{word} {best.name}, {value.name}", element)

    return _pooled(code, x, kernel, stride, start, rule)


def pick_max_pool(
    code: Code, scores: Array, x: Array, *, kernel: Sequence[int], stride: Sequence[int],
    padding: Pairs, element: str,
) -> Array:  # fmt: skip
    """The element of x where each window of the scores has its first largest."""
    around = ((0, 0), *padding)
    ranked = _padded(code, scores, around, least(code, scores.element))
    given = _padded(code, code.converted(x, element), around, code.number(0, element))
    extents = _extents(ranked.dims[2:], kernel, stride, (1, 1))
    return picked(code, ranked, given, kernel, stride, extents)
