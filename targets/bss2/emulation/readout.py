"""The converter of membranes (CADC); copied into emitted folders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import TICK_NS

#: Largest value of the converter.
MOST_CADC = 255


def sample_ticks(ticks: int, period_us: float) -> Any:
    """Return the ticks at which the converter samples in a run, from 0."""
    period = period_us * 1000 / TICK_NS
    found = np.floor(np.arange(math.floor(ticks / period) + 1) * period + 0.5).astype(np.int64)
    return found[found <= ticks]


def converted(v: Any) -> tuple[Any, int]:
    """Return what the converter reads of v in LSB, and how often that was out of its range."""
    rounded = np.floor(v + 0.5)
    clamped = np.clip(rounded, 0, MOST_CADC)
    return clamped, int(np.count_nonzero(rounded != clamped))


def interpolated(ticks: Any, values: Any, wanted: Any) -> Any:
    """Return values [n, ...] that are known at ascending ticks [n], at wanted times.

    Between two samples it is on the line through them, as the vendor's software has it; after the
    last sample it stays.
    """
    before = np.searchsorted(ticks, wanted, "right") - 1
    after = np.minimum(before + 1, len(ticks) - 1)
    width = np.maximum(ticks[after] - ticks[before], 1)
    share = np.where(after > before, (wanted - ticks[before]) / width, 0.0)
    share = share.reshape(-1, *(1,) * (values.ndim - 1))
    return values[before] + (values[after] - values[before]) * share
