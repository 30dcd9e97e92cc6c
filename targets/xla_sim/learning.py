"""What synapses that learn and random numbers are computed by, in JAX.

The same functions as in `snnir.kernels_learning`, to the last bit; what a network uses of them is
copied into its folder. `low` is explained in `kernels`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnir.targets.xla_sim.kernels import div, mul

Array = Any

#: Up to so many samples are added up in one expression, which needs no array of all samples.
UNROLLED = 32


def snn_batch_sum(x: Array) -> Array:
    """Return the samples of x [batch, ...] added up in their order, as [1, ...]."""
    batch = x.shape[0]
    if isinstance(batch, int) and batch <= UNROLLED:
        total = x[:1]
        for sample in range(1, batch):
            total = total + x[sample : sample + 1]
        return total

    def add(sample: Array, total: Array) -> Array:
        return total + lax.dynamic_slice_in_dim(x, sample, 1)

    return lax.fori_loop(1, batch, add, x[:1])


def plastic_sum(x: Array, weight: Array, low: Array | None) -> Array:
    """Return x W^T, added up in the order of the inputs; zeros of x add nothing.

    Args:
        x: [batch, pre], in the dtype of the weights.
        weight: [post, pre]; what is learned counts as constant, it has no gradient.
        low: See `kernels.guard`.
    """

    @jax.custom_vjp
    def run(x: Array, weight: Array, low: Array | None) -> Array:
        return sum_of_filled(x, weight, low)

    def forward(x: Array, weight: Array, low: Array | None) -> tuple[Array, Any]:
        return run(x, weight, low), (weight, low)

    def backward(saved: Any, gradient: Array) -> tuple[Array, Array, Array | None]:
        weight, low = saved
        given = jnp.matmul(gradient, weight, precision=lax.Precision.HIGHEST)
        return given, jnp.zeros_like(weight), None if low is None else jnp.zeros_like(low)

    run.defvjp(forward, backward)
    return run(x, weight, low)


def sum_of_filled(x: Array, weight: Array, low: Array | None) -> Array:
    """Return x W^T by the columns of the weights where x is not 0, sample by sample."""
    sources = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    filled = x != 0
    places = lax.sort(jnp.where(filled, sources, x.shape[1]), is_stable=False)

    def one(given: tuple[Array, Array, Array]) -> Array:
        row, order, count = given

        def add(index: Array, total: Array) -> Array:
            source = order[index]
            column = lax.dynamic_index_in_dim(weight, source, 1, keepdims=False)
            return total + mul(column, row[source], low)

        return lax.fori_loop(0, count, add, jnp.zeros(weight.shape[0], weight.dtype))

    return lax.map(one, (x, places, filled.sum(1, dtype=jnp.int32)))


def normalised(weight: Array, total: Array, sums: str, low: Array | None) -> Array:
    """Return weights [post, pre] with sizes that add up to `total` (one, or one per row)."""
    found = row_sums(jnp.abs(weight), sums)
    found = jnp.where(found == 0, jnp.ones_like(found), found)
    wanted = jnp.broadcast_to(total.astype(weight.dtype).reshape(-1), found.shape)
    if sums == "cascade":
        factor = mul(div(jnp.ones_like(found), found, low), wanted, low)
    else:
        factor = div(wanted, found, low)
    return weight * factor[:, None]


def row_sums(x: Array, sums: str) -> Array:
    """Return the sum of every row of x [rows, terms] >= 0, rounded in a stated order.

    Args:
        x: The terms.
        sums: `order` or `cascade`; see `snnir.kernels_learning.row_sums`.
    """
    terms = x.T
    if sums == "order":
        return in_order(terms)
    wide = 32 if len(x) >= 8 else 4
    whole = len(x) - len(x) % wide
    parts = [cascade(terms[:, :whole])] if whole else []
    if whole < len(x):
        parts.append(interleaved(terms[:, whole:]))
    return jnp.concatenate(parts)


def in_order(terms: Array) -> Array:
    """Return the sum over the first axis, one after the other."""

    def add(index: Array, total: Array) -> Array:
        return total + terms[index]

    zeros = jnp.zeros(terms.shape[1:], terms.dtype)
    return lax.fori_loop(0, len(terms), add, zeros) if len(terms) else zeros


def cascade(terms: Array) -> Array:
    """Sum over the first axis with partial sums of 16, 256, ... terms."""
    levels = 4
    power = max(4, -(-max(len(terms) - 1, 1).bit_length() // levels))
    held = []
    for level in range(levels):
        count = len(terms) >> power if level < levels - 1 else 0
        whole = terms[: count << power].reshape(count, 1 << power, *terms.shape[1:])
        held.append(in_order(terms[count << power :]))
        terms = in_order(whole.swapaxes(0, 1)) if count else terms[:0]
    total = held[0]
    for part in held[1:]:
        total = total + part
    return total


def interleaved(terms: Array) -> Array:
    """Sum over the first axis in four parts: every fourth term from 0, 1, 2 and 3."""
    whole = len(terms) // 4
    parts = cascade(terms[: 4 * whole].reshape(whole, 4, terms.shape[1]))
    total = parts[0]
    for row in terms[4 * whole :]:
        total = total + row
    for part in parts[1:]:
        total = total + part
    return total


def uniform(seed: int, steps: Array, batch: Any, shape: tuple[int, ...], kind: Any) -> Array:
    """Return random numbers in (0, 1], [steps, batch, *shape]; see the op `uniform`.

    Args:
        seed: From 0 to 2**64 - 1.
        steps: Numbers of the steps, uint32.
        batch: Samples.
        shape: Shape of one sample.
        kind: Element type of the numbers.
    """
    size = int(np.prod(shape))
    samples, elements = (lax.broadcasted_iota(jnp.uint32, (batch, size), axis) for axis in (0, 1))
    places = (samples * np.uint32(size) + elements).reshape(1, batch, *shape)
    first = steps.reshape(-1, *(1,) * (places.ndim - 1))
    word = threefry((seed & 0xFFFFFFFF, seed >> 32), first, places)
    return ((word >> np.uint32(8)) + np.uint32(1)).astype(kind) * np.asarray(2.0**-24, kind)


def threefry(key: tuple[int, int], first: Array, second: Array) -> Array:
    """Return the first word of Threefry-2x32 with 20 rounds for counters (first, second)."""
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    keys = [np.uint32(word) for word in (*key, key[0] ^ key[1] ^ 0x1BD11BDA)]
    first, second = first + keys[0], second + keys[1]
    for group in range(5):
        for turn in rotations[group % 2]:
            first = first + second
            second = (second << np.uint32(turn)) | (second >> np.uint32(32 - turn))
            second = second ^ first
        first = first + keys[(group + 1) % 3]
        second = second + keys[(group + 2) % 3] + np.uint32(group + 1)
    return first
