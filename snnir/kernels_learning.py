"""What synapses that learn and random numbers are computed by, with NumPy alone.

These functions are the meaning of `plastic` and `uniform`, and are copied into emitted folders.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any

#: Rotations of Threefry-2x32, and the constant that its third key word is made with.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def plastic_sum(x: Array, weight: Array) -> Array:
    """Return x W^T, added up in the order of the inputs; zeros of x add nothing.

    Args:
        x: [batch, pre].
        weight: [post, pre], in the dtype of the sum.
    """
    y = np.zeros((len(x), len(weight)), weight.dtype)
    for sample, row in enumerate(x.astype(weight.dtype, copy=False)):
        for source in np.flatnonzero(row):
            y[sample] += weight[:, source] * row[source]
    return y


def normalised(weight: Array, total: Array, sums: str) -> Array:
    """Return weights [post, pre] with sizes that add up to `total` (one, or one per row).

    With `cascade`, the factor is total * (1 / sum): so torch divides a number by a tensor.
    """
    found = row_sums(np.abs(weight), sums)
    found[found == 0] = 1
    wanted = np.asarray(total, weight.dtype).reshape(-1)
    factor = (1 / found) * wanted if sums == "cascade" else wanted / found
    return weight * factor[:, None]


def row_sums(x: Array, sums: str) -> Array:
    """Return the sum of every row of x [rows, terms], rounded in a stated order.

    Args:
        x: The terms.
        sums: `order`: one after the other; `cascade`: as torch adds up the rows of the transposed
            matrix on processors of every kind, if it has more than one column. It takes 32 columns
            (4 if there are less than 8) at a time; those that are left are added up in four
            interleaved parts each (aten/src/ATen/native/cpu/SumKernel.cpp of pytorch/pytorch).
    """
    terms = x.T
    if sums == "order":
        return _in_order(terms)
    wide = 32 if len(x) >= 8 else 4
    whole = len(x) - len(x) % wide
    parts = [_cascade(terms[:, :whole])] if whole else []
    if whole < len(x):
        parts.append(_interleaved(terms[:, whole:]))
    return np.concatenate(parts)


def _in_order(terms: Array) -> Array:
    total = np.zeros(terms.shape[1], terms.dtype)
    for row in terms:
        total += row
    return total


def _cascade(terms: Array) -> Array:
    """Sum over the first axis with partial sums of 16, 256, ... terms."""
    levels = 4
    power = max(4, -(-max(len(terms) - 1, 1).bit_length() // levels))
    held = np.zeros((levels, *terms.shape[1:]), terms.dtype)
    count = 0
    while count + (1 << power) <= len(terms):
        for _ in range(1 << power):
            held[0] += terms[count]
            count += 1
        for level in range(1, levels):
            held[level] += held[level - 1]
            held[level - 1] = 0
            if count & (((1 << power) - 1) << (level * power)):
                break
    for row in terms[count:]:
        held[0] += row
    for level in range(1, levels):
        held[0] += held[level]
    return held[0]


def _interleaved(terms: Array) -> Array:
    """Sum over the first axis in four parts: every fourth term from 0, 1, 2 and 3."""
    whole = len(terms) // 4
    parts = _cascade(terms[: 4 * whole].reshape(whole, 4, terms.shape[1]))
    total = parts[0]
    for row in terms[4 * whole :]:
        total = total + row
    for part in parts[1:]:
        total = total + part
    return total


def uniform(seed: int, step: int, batch: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return random numbers in (0, 1], [batch, *shape]; see the op `uniform`."""
    size = batch * int(np.prod(shape))
    places = np.arange(size, dtype=np.uint64).astype(np.uint32)
    word = threefry((seed & 0xFFFFFFFF, seed >> 32), (step & 0xFFFFFFFF, places))
    return ((word >> np.uint32(8)) + 1).astype(dtype).reshape(batch, *shape) * dtype(2.0**-24)


def threefry(key: tuple[int, int], counter: tuple[int, Array]) -> Array:
    """Return the first word of Threefry-2x32 with 20 rounds for many second counter words."""
    keys = [np.uint32(word) for word in (*key, key[0] ^ key[1] ^ PARITY)]
    with np.errstate(over="ignore"):
        second = counter[1] + keys[1]
        first = np.full_like(second, counter[0]) + keys[0]
        for group in range(5):
            for turn in ROTATIONS[group % 2]:
                first = first + second
                second = (second << np.uint32(turn)) | (second >> np.uint32(32 - turn))
                second = second ^ first
            first = first + keys[(group + 1) % 3]
            second = second + keys[(group + 2) % 3] + np.uint32(group + 1)
    return first
