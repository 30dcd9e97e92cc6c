"""Refractory times as counts of two clocks.

A clock's scale is chosen as calix does (electronicvisions/calix,
src/py/calix/spiking/refractory_period.py): the one nearest to 4 with which counts lie between 30
and 255; the last cycle of a count is the holdoff, in which the membrane moves but does not spike.
Calix lets neurons up to the mean time use the fast clock; here they are divided where the counts
come out most precise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.bss2.chips import MOST_COUNT, MOST_SCALE, TICK_NS

Array = npt.NDArray[Any]

LEAST_COUNT, FIRST_SCALE = 30, 4
HOLDOFF = 1


@dataclass(frozen=True)
class Clocks:
    """How long neurons are refractory.

    Attributes:
        fast, slow: Scales; a cycle is 2 ** scale ticks.
        is_fast: [neurons], which clock each takes.
        counts: [neurons], in cycles of it, holdoff included.
    """

    fast: int
    slow: int
    is_fast: Array
    counts: Array

    def error(self, times: Array) -> float:
        """Return the largest share by which neurons are held longer or shorter than these times."""
        cycles = np.where(self.is_fast, _cycle(self.fast), _cycle(self.slow))
        held = (self.counts - HOLDOFF) * cycles
        return float(np.max(np.abs(held - times) / times, initial=0.0))


def choose_clocks(times: Array) -> Clocks:
    """Return clocks and counts for refractory times in microseconds."""
    known = np.unique(times)
    options = [_clocks(times, limit) for limit in known] or [_clocks(times, 0.0)]
    # Of divisions that are as precise, that with the most neurons on the fast clock.
    return min(reversed(options), key=lambda clocks: round(clocks.error(times), 6))


def _clocks(times: Array, limit: float) -> Clocks:
    """Return the clocks if times up to a limit use the fast one."""
    fast = times <= limit
    counts = np.zeros(len(times), np.int64)
    scales = []
    for chosen in (fast, ~fast):
        scale = _scale(times[chosen]) if chosen.any() else FIRST_SCALE
        counts[chosen] = np.minimum(np.floor(times[chosen] / _cycle(scale) + 1e-9) + 1, MOST_COUNT)
        scales.append(scale)
    return Clocks(scales[0], scales[1], fast, counts)


def _cycle(scale: int) -> float:
    return 2.0**scale * TICK_NS * 1e-3


def _scale(times: Array) -> int:
    least = times.max() / MOST_COUNT
    most = max(times.min() / LEAST_COUNT, 2 * least)
    scale = FIRST_SCALE
    while _cycle(scale) < least and scale < MOST_SCALE:
        scale += 1
    while _cycle(scale) > most and scale > 0:
        scale -= 1
    return scale
