"""The meaning of every stateless op, in NumPy.

Arrays carry one leading axis of rows (time and batch merged): `[rows, *shape]`. The functions
depend on NumPy alone and are copied verbatim into emitted artefacts, so that one definition
serves the in-process run and the folder. `acc` is the dtype in which sums are accumulated
before they are rounded to the dtype of `x`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Weights are widened to the accumulator's dtype in blocks of at most this many elements.
BLOCK = 1 << 20


def identity(x: Array) -> Array:
    """Return x."""
    return x


def add(*xs: Array) -> Array:
    """Return the left-to-right sum."""
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def concat(*xs: Array, axis: int) -> Array:
    """Join along a feature axis."""
    return np.concatenate(xs, axis=axis + 1)


def slice_axis(x: Array, axis: int, start: int, stop: int) -> Array:
    """Return x[..., start:stop, ...]."""
    return x[(slice(None),) * (axis + 1) + (slice(start, stop),)]


def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """Reshape the features."""
    return x.reshape(x.shape[0], *shape)


def permute(x: Array, axes: tuple[int, ...]) -> Array:
    """Reorder the feature axes."""
    return x.transpose(0, *(axis + 1 for axis in axes))


def pad(x: Array, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    """Surround the features with a value."""
    if not any(width for pair in widths for width in pair):
        return x
    return np.pad(x, ((0, 0), *widths), constant_values=value)


def scale(x: Array, factor: Array) -> Array:
    """Return factor * x, both in x's dtype."""
    return factor.astype(x.dtype) * x


def offset(x: Array, bias: Array) -> Array:
    """Return x + bias, both in x's dtype."""
    return x + bias.astype(x.dtype)


def batch_norm(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Per-channel affine map; its two constants are computed in float64 and rounded once."""
    wide = np.float64
    gain = (1.0 if gamma is None else gamma.astype(wide)) / np.sqrt(var.astype(wide) + eps)
    shift = (0.0 if beta is None else beta.astype(wide)) - mean.astype(wide) * gain
    channels = (-1,) + (1,) * (x.ndim - 2)
    return x * gain.astype(x.dtype).reshape(channels) + shift.astype(x.dtype).reshape(channels)


def centred(weight: Array, zero: Array | None) -> Array:
    """Return whole weights less what stands for 0, one number or one per row."""
    if zero is None:
        return weight
    return weight.astype(np.int32) - zero.reshape(-1, *(1,) * (weight.ndim - 1))


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    zero: Array | None = None,
    acc: Any = np.float64,
) -> Array:
    """Return x (W - zero)^T + bias over the last axis; the bias is added after rounding."""
    weight = centred(weight, zero)
    rows = x.reshape(-1, x.shape[-1]).astype(acc, copy=False)
    y = np.empty((rows.shape[0], weight.shape[0]), x.dtype)
    step = max(1, BLOCK // max(1, weight.shape[1]))
    for first in range(0, weight.shape[0], step):
        block = weight[first : first + step].astype(acc, copy=False)
        y[:, first : first + step] = rows @ block.T
    y = y.reshape(*x.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias.astype(x.dtype)


def sparse_linear(
    x: Array,
    values: Array,
    columns: Array,
    starts: Array,
    bias: Array | None = None,
    outputs: int = 0,
    acc: Any = np.float64,
) -> Array:
    """Return x W^T + bias over the last axis; W is given by its columns of `block` rows.

    `values` are [blocks, block]; those from starts[g] to starts[g + 1] belong to the g-th group of
    rows. The bias is added after the sum is rounded.
    """
    rows = x.reshape(-1, x.shape[-1]).astype(acc, copy=False)
    wide = values.astype(acc, copy=False)
    y = np.zeros((rows.shape[0], len(starts) - 1, values.shape[1]), x.dtype)
    filled = np.flatnonzero(np.diff(starts))  # the sum over nothing is no such sum in NumPy
    step = max(1, BLOCK // max(1, values.size))
    for first in range(0, rows.shape[0] if filled.size else 0, step):
        terms = rows[first : first + step][:, columns, None] * wide
        y[first : first + step, filled] = np.add.reduceat(terms, starts[filled], axis=1)
    y = y.reshape(*x.shape[:-1], -1)[..., :outputs]
    return y if bias is None else y + bias.astype(x.dtype)


def windows(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Array:
    """Return the view [rows, channels, *out, *kernel] of all windows of x."""
    axes = tuple(range(2, x.ndim))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    steps = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    return view[(slice(None), slice(None), *steps, *taps)]


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: tuple[int, ...] = (1,),
    padding: tuple[tuple[int, int], ...] = ((0, 0),),
    dilation: tuple[int, ...] = (1,),
    groups: int = 1,
    zero: Array | None = None,
    acc: Any = np.float64,
) -> Array:
    """Cross-correlation over the axes after the channels; the bias is added after rounding."""
    weight = centred(weight, zero)
    kernel = weight.shape[2:]
    space = x.ndim - 2
    patches = windows(pad(x, ((0, 0), *padding)), kernel, stride, dilation)
    inner = weight.shape[1]
    outer = weight.shape[0] // groups
    y = np.empty((x.shape[0], weight.shape[0], *patches.shape[2 : 2 + space]), x.dtype)
    for group in range(groups):
        part = patches[:, group * inner : (group + 1) * inner]
        # [rows, *out, channels, *kernel]: one row of the product per output position
        order = (0, *range(2, 2 + space), 1, *range(2 + space, 2 + 2 * space))
        columns = part.transpose(order).reshape(-1, inner * int(np.prod(kernel)))
        matrix = weight[group * outer : (group + 1) * outer].reshape(outer, -1)
        product = columns.astype(acc, copy=False) @ matrix.astype(acc, copy=False).T
        product = product.reshape(x.shape[0], *patches.shape[2 : 2 + space], outer)
        y[:, group * outer : (group + 1) * outer] = np.moveaxis(product, -1, 1)
    if bias is None:
        return y
    return y + bias.astype(x.dtype).reshape((-1,) + (1,) * space)


def sum_pool(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    acc: Any = np.float64,
) -> Array:
    """Sum over windows."""
    ones = (1,) * len(kernel)
    patches = windows(pad(x, ((0, 0), *padding)), kernel, stride, ones)
    return patches.sum(axis=tuple(range(-len(kernel), 0)), dtype=acc).astype(x.dtype)


def mean_pool(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    acc: Any = np.float64,
) -> Array:
    """Mean over windows, padding counted; the sum is rounded before the division."""
    total = sum_pool(x, kernel, stride, padding, acc)
    return total / x.dtype.type(np.prod(kernel))


def max_pool(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
) -> Array:
    """Largest element of each window."""
    ones = (1,) * len(kernel)
    patches = windows(pad(x, ((0, 0), *padding), -np.inf), kernel, stride, ones)
    return patches.max(axis=tuple(range(-len(kernel), 0)))


def pick_max_pool(
    scores: Array,
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
) -> Array:
    """The element of x where each window of the scores has its first largest."""
    ones = (1,) * len(kernel)
    ranked, given = (
        windows(pad(a, ((0, 0), *padding), fill), kernel, stride, ones)
        for a, fill in ((scores, -np.inf), (x, 0.0))
    )
    lead = given.shape[: -len(kernel)]
    best = ranked.reshape(*lead, -1).argmax(axis=-1)
    return np.take_along_axis(given.reshape(*lead, -1), best[..., None], axis=-1)[..., 0]


def winner(x: Array) -> Array:
    """1 for the first largest element of each row if it is above 0, else 0."""
    y = np.zeros_like(x)
    rows = np.arange(len(x))
    best = x.argmax(axis=1)
    y[rows, best] = x[rows, best] > 0
    return y
