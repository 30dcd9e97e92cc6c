"""The stateless ops in JAX: the same functions as `snnir.kernels`, differentiable.

Arrays carry one leading axis of rows (time and batch merged): `[rows, *shape]`. `acc` is the dtype
in which sums are accumulated before they are rounded to the dtype of `x`; `low` is minus infinity,
unknown to the compiler, or None where products and sums may be rounded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnir.dynamics.fused import snn_fma
from snnir.targets.xla_sim.stages import precision

Array = Any
HIGHEST = lax.Precision.HIGHEST


def guard(value: Array, low: Array | None) -> Array:
    """Return a value as it is, behind a maximum that the compiler cannot see through.

    XLA on CPU turns a * b + c into one operation that rounds once. The maximum with minus infinity
    changes no value, but the compiler cannot know that.
    """
    return value if low is None else jnp.maximum(value, low.astype(value.dtype))


def mul(a: Array | float, b: Array | float, low: Array | None) -> Array:
    """Return a * b, rounded."""
    return guard(jnp.multiply(a, b), low)


def div(a: Array | float, b: Array | float, low: Array | None) -> Array:
    """Return a / b, rounded once.

    XLA turns a division by one number into a product with its rounded inverse. Here the divisor
    depends on the dividend as far as the compiler knows, so that there is one for each element.
    """
    if low is None or isinstance(a, float):
        return guard(jnp.divide(a, b), low)
    low = low.astype(a.dtype)
    return guard(a / jnp.maximum(b, jnp.minimum(a, low)), low)


def fma(a: Array, b: Array, c: Array) -> Array:
    """Return a * b + c rounded once, by way of float64, which need not be allowed outside."""
    with precision(True):
        return snn_fma(a, b, c, jnp)


def identity(x: Array, low: Array | None) -> Array:
    """Return x."""
    return x


def add(*xs: Array, low: Array | None) -> Array:
    """Return the left-to-right sum."""
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def concat(*xs: Array, axis: int, low: Array | None) -> Array:
    """Join along a feature axis."""
    return jnp.concatenate(xs, axis=axis + 1)


def slice_axis(x: Array, axis: int, start: int, stop: int, low: Array | None) -> Array:
    """Return x[..., start:stop, ...]."""
    return lax.slice_in_dim(x, start, stop, axis=axis + 1)


def reshape(x: Array, shape: Sequence[int], low: Array | None) -> Array:
    """Reshape the features."""
    return x.reshape(x.shape[0], *shape)


def permute(x: Array, axes: Sequence[int], low: Array | None) -> Array:
    """Reorder the feature axes."""
    return x.transpose(0, *(axis + 1 for axis in axes))


def pad(
    x: Array, widths: Sequence[Sequence[int]], value: float = 0.0, low: Array | None = None
) -> Array:
    """Surround the features with a value."""
    return jnp.pad(x, ((0, 0), *map(tuple, widths)), constant_values=value)


def scale(x: Array, factor: Array, low: Array | None) -> Array:
    """Return factor * x, both in x's dtype."""
    return mul(factor.astype(x.dtype), x, low)


def offset(x: Array, bias: Array, low: Array | None) -> Array:
    """Return x + bias, both in x's dtype."""
    return x + bias.astype(x.dtype)


def batch_norm(
    x: Array, mean: Array, var: Array, gamma: Array | None = None, beta: Array | None = None,
    eps: float = 1e-5, low: Array | None = None,
) -> Array:  # fmt: skip
    """Per-channel affine map; its two constants are computed in float64 and rounded once."""
    wide = jnp.float64
    gain = div(
        jnp.ones_like(var, wide) if gamma is None else gamma.astype(wide),
        jnp.sqrt(var.astype(wide) + eps), low,
    )  # fmt: skip
    shift = (0.0 if beta is None else beta.astype(wide)) - mul(mean.astype(wide), gain, low)
    channels = (-1,) + (1,) * (x.ndim - 2)
    gain, shift = (a.astype(x.dtype).reshape(channels) for a in (gain, shift))
    return mul(x, gain, low) + shift


def centred(weight: Array, zero: Array | None) -> Array:
    """Return whole weights less what stands for 0, one number or one per row."""
    if zero is None:
        return weight
    return weight.astype(jnp.int32) - zero.reshape(-1, *(1,) * (weight.ndim - 1))


def linear(
    x: Array, weight: Array, bias: Array | None = None, zero: Array | None = None,
    acc: str = "float64", low: Array | None = None,
) -> Array:  # fmt: skip
    """Return x (W - zero)^T + bias over the last axis; the bias is added after rounding."""
    weight = centred(weight, zero)
    axes = (((x.ndim - 1,), (1,)), ((), ()))
    y = lax.dot_general(x.astype(acc), weight.astype(acc), axes, precision=HIGHEST)
    return with_bias(y.astype(x.dtype), bias, low)


def sparse_linear(
    x: Array, values: Array, columns: Array, starts: Array, bias: Array | None = None,
    outputs: int = 0, acc: str = "float64", low: Array | None = None,
) -> Array:  # fmt: skip
    """Return x W^T + bias over the last axis; see `snnir.kernels.sparse_linear`.

    A matrix of up to 2**26 elements is laid out in full: XLA has no fast sparse product on CPU.
    """
    (count, block), groups, inputs = values.shape, starts.shape[0] - 1, x.shape[-1]
    group = jnp.repeat(jnp.arange(groups), jnp.diff(starts), total_repeat_length=count)
    if groups * block * inputs <= 2**26:
        weight = jnp.zeros((groups, inputs, block), values.dtype).at[group, columns].set(values)
        matrix = weight.transpose(0, 2, 1).reshape(groups * block, inputs)
        return linear(x, matrix[:outputs], bias, None, acc, low)
    rows = x.reshape(-1, inputs).astype(acc)
    wide = values.astype(acc)

    def sums(row: Array) -> Array:
        terms = mul(row[columns, None], wide, low)
        return jax.ops.segment_sum(terms, group, groups, indices_are_sorted=True)

    y = lax.map(sums, rows).reshape(*x.shape[:-1], groups * block)[..., :outputs]
    return with_bias(y.astype(x.dtype), bias, low)


def with_bias(y: Array, bias: Array | None, low: Array | None) -> Array:
    """Return y + bias; a sum of one product must not be fused with it."""
    return y if bias is None else guard(y, low) + bias.astype(y.dtype)


def convolution(
    x: Array, weight: Array, bias: Array | None = None, stride: Sequence[int] = (1,),
    padding: Sequence[Sequence[int]] = ((0, 0),), dilation: Sequence[int] = (1,), groups: int = 1,
    zero: Array | None = None, acc: str = "float64", low: Array | None = None,
) -> Array:  # fmt: skip
    """Cross-correlation over the axes after the channels; the bias is added after rounding.

    The channels go last: only so does XLA take its fast convolution inside a loop on CPU.
    """
    weight = centred(weight, zero)
    axes = range(2, x.ndim)
    y = lax.conv_general_dilated(
        x.astype(acc).transpose(0, *axes, 1), weight.astype(acc).transpose(*axes, 1, 0),
        tuple(stride), [tuple(p) for p in padding], rhs_dilation=tuple(dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC") if x.ndim == 4 else ("NWC", "WIO", "NWC"),
        feature_group_count=groups, precision=HIGHEST,
    ).astype(x.dtype)  # fmt: skip
    y = y.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    shaped = None if bias is None else bias.reshape((-1,) + (1,) * (x.ndim - 2))
    return with_bias(y, shaped, low)


def sum_pool(
    x: Array, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Sequence[int]],
    acc: str = "float64", low: Array | None = None,
) -> Array:  # fmt: skip
    """Sum over windows."""
    windows = (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *map(tuple, padding))
    return lax.reduce_window(x.astype(acc), 0.0, lax.add, *windows).astype(x.dtype)


def mean_pool(
    x: Array, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Sequence[int]],
    acc: str = "float64", low: Array | None = None,
) -> Array:  # fmt: skip
    """Mean over windows, padding counted; the sum is rounded before the division."""
    total = sum_pool(x, kernel, stride, padding, acc, low)
    return div(total, jnp.asarray(kernel[0] * kernel[1], x.dtype), low)


def max_pool(
    x: Array, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Sequence[int]],
    low: Array | None = None,
) -> Array:  # fmt: skip
    """Largest element of each window."""
    windows = (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *map(tuple, padding))
    return lax.reduce_window(x, -jnp.inf, lax.max, *windows)


def pick_max_pool(
    scores: Array, x: Array, kernel: Sequence[int], stride: Sequence[int],
    padding: Sequence[Sequence[int]], low: Array | None = None,
) -> Array:  # fmt: skip
    """The element of x where each window of the scores has its first largest."""
    around = ((0, 0), (0, 0), *map(tuple, padding))
    ranked = jnp.pad(scores, around, constant_values=-jnp.inf)
    given = jnp.pad(x, around)
    size = ranked.shape[2:]
    places = lax.broadcasted_iota(jnp.int32, ranked.shape, 2) * size[1]
    places = places + lax.broadcasted_iota(jnp.int32, ranked.shape, 3)

    def first_largest(a: Any, b: Any) -> Any:
        lost = jnp.isnan(a[0]) & ~jnp.isnan(b[0])  # a NaN is chosen, as in NumPy
        same = (a[0] == b[0]) | (jnp.isnan(a[0]) & jnp.isnan(b[0]))
        ahead = (a[0] > b[0]) | lost | (same & (a[1] < b[1]))
        return tuple(jnp.where(ahead, p, q) for p, q in zip(a, b, strict=True))

    nothing = (jnp.asarray(-jnp.inf, ranked.dtype), jnp.asarray(size[0] * size[1], jnp.int32))
    windows = (1, 1, *kernel), (1, 1, *stride), "VALID"
    pair = lax.stop_gradient(ranked), places
    best = lax.reduce_window(pair, nothing, first_largest, *windows)[1]
    flat = given.reshape(*given.shape[:2], -1)
    chosen = jnp.take_along_axis(flat, best.reshape(*best.shape[:2], -1), axis=2)
    return chosen.reshape(best.shape)


def kept_apart(values: list[Array]) -> list[Array]:
    """Return values as they are, as the result of a loop of one turn, or two of the same.

    XLA on CPU would else compute them again wherever they are used: for every synapse, in a form
    that LLVM does not turn into vectors (30 times as long at 400 x 784 synapses and 4 samples), or
    for every neuron of a maximum, unrolled (200 neurons take minutes to compile). It must not know
    the number of turns, or there is no loop; `lax.optimization_barrier` is gone before it fuses.
    """
    some = values[0].reshape(-1)[0]
    turns = 1 + (some > 1e30).astype(jnp.int32)
    empty = [jnp.zeros(x.shape, x.dtype) for x in values]
    kept: list[Array] = lax.fori_loop(0, turns, lambda _, before: values, empty)
    return kept


def winner(x: Array, low: Array | None = None) -> Array:
    """1 for the first largest element of each row if it is above 0, else 0."""
    x = kept_apart([lax.stop_gradient(x)])[0]
    best = jax.nn.one_hot(x.argmax(1), x.shape[1], dtype=x.dtype)
    return ((x > 0) & (best > 0)).astype(x.dtype)
