"""Whole weights: the grid they lie on, and the unit that calibration picks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: Parts of their range that the weights of a row may be cut to for least squared error.
_SHARES = np.linspace(0.2, 1.0, 41)


@dataclass(frozen=True)
class Grid:
    """The whole numbers that weights of some bits can be.

    Attributes:
        bits: Sign included.
        shifted: Whether each row has a number of its own that stands for 0, so that its weights
            use all bits even where they are not balanced.
    """

    bits: int
    shifted: bool = False

    @property
    def high(self) -> int:
        """The largest."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def low(self) -> int:
        """The smallest; without a shift, the grid is symmetric."""
        return -self.high - int(self.shifted)

    @property
    def kind(self) -> Any:
        """The smallest dtype they fit."""
        return np.int8 if self.bits <= 8 else np.int16

    def unit(self, low: Array, high: Array) -> Array:
        """Return the unit with which weights between two numbers, and 0, fit."""
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        if self.shifted:
            return (high - low) / (self.high - self.low)
        return np.maximum(-low, high) / self.high

    def zero(self, rows: Array, unit: Array) -> Array:
        """Return what stands for 0 in each row, [rows], given their units."""
        if not self.shifted:
            return np.zeros(len(rows))
        low, high = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
        middle: Array = np.rint((self.high + self.low - (high + low) / unit) / 2)
        return middle.clip(self.low, self.high)

    def whole(self, weights: Array, unit: Array, zero: Array | float = 0.0) -> Array:
        """Return weights as whole numbers of a unit."""
        nearest = np.rint(weights / unit) + zero
        return np.clip(nearest, self.low, self.high).astype(self.kind)

    def symmetric(self) -> Grid:
        """Return the grid without a shift."""
        return Grid(self.bits)


#: Rows of weights and their grid to the unit of each row.
Calibration = Callable[[Array, Grid], Array]


def calibration(name: str, percentile: float) -> Calibration:
    """Return how the unit of a row follows from its weights.

    Args:
        name: `minmax` (all fit), `percentile` (so many percent fit) or `mse` (least squares).
        percentile: See there; without a shift it is that of absolute values.
    """

    def from_percentile(rows: Array, grid: Grid) -> Array:
        if not grid.shifted:
            limit = np.percentile(np.abs(rows), percentile, axis=1)
            return grid.unit(-limit, limit)
        ends = np.percentile(rows, [(100 - percentile) / 2, (100 + percentile) / 2], axis=1)
        return grid.unit(*ends)

    return {"minmax": _minmax, "percentile": from_percentile, "mse": _least_squares}[name]


def _minmax(rows: Array, grid: Grid) -> Array:
    return grid.unit(rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0))


def _least_squares(rows: Array, grid: Grid) -> Array:
    most = _minmax(rows, grid)
    best, least = most, np.full(len(rows), np.inf)
    for share in _SHARES:
        unit = np.where(most > 0, most * share, 1.0)[:, None]
        zero = grid.zero(rows, unit[:, 0])[:, None]
        kept = (grid.whole(rows, unit, zero).astype(np.float64) - zero) * unit
        wrong = ((kept - rows) ** 2).sum(axis=1)
        best = np.where(wrong < least, most * share, best)
        least = np.minimum(wrong, least)
    return best
