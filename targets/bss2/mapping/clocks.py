"""Refractory times as counts of two clocks, as calix chooses them.

electronicvisions/calix, src/py/calix/spiking/refractory_period.py: neurons whose time is at most
the mean use the fast clock; a clock's scale is the one nearest to 4 with which counts lie between
30 and 255; the last cycle of a count is the holdoff, in which the membrane moves but does not
spike.
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


def choose_clocks(times: Array) -> Clocks:
    """Return clocks and counts for refractory times in microseconds."""
    if not len(times):
        return Clocks(FIRST_SCALE, FIRST_SCALE, np.zeros(0, bool), np.zeros(0, np.int64))
    fast = times <= times.mean() + 1e-9
    counts = np.zeros(len(times), np.int64)
    scales = []
    for chosen in (fast, ~fast):
        scale = _scale(times[chosen]) if chosen.any() else FIRST_SCALE
        cycle = 2.0**scale * TICK_NS * 1e-3
        counts[chosen] = np.minimum(np.floor(times[chosen] / cycle + 1e-9) + 1, MOST_COUNT)
        scales.append(scale)
    return Clocks(scales[0], scales[1], fast, counts)


def _scale(times: Array) -> int:
    least = times.max() / MOST_COUNT
    most = max(times.min() / LEAST_COUNT, 2 * least)
    scale = FIRST_SCALE
    while 2.0**scale * TICK_NS * 1e-3 < least and scale < MOST_SCALE:
        scale += 1
    while 2.0**scale * TICK_NS * 1e-3 > most and scale > 0:
        scale -= 1
    return scale
