"""Sums over the samples of a batch, on arrays of NumPy, torch or JAX.

Programs that are emitted carry these functions as text.
"""

from __future__ import annotations

from typing import Any

Array = Any


def snn_batch_sum(x: Array) -> Array:
    """Return the samples of x [batch, ...] added up in their order, as [1, ...]."""
    total = x[:1]
    for sample in range(1, x.shape[0]):
        total = total + x[sample : sample + 1]
    return total
