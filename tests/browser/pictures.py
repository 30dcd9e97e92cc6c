"""Comparing what is seen with what was seen, coarsely: fonts differ from machine to machine."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

COLUMNS, ROWS = 32, 24
_LEVELS = "0123456789abcdef"


def coarse(png: bytes) -> Any:
    """Return how much ink there is in each of 24 x 32 cells, 0 to 15, the most inked cell 15."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(png), format="png")[..., :3].mean(axis=2)
    ink = np.abs(pixels - np.median(pixels))
    rows, columns = (np.linspace(0, size, parts + 1).astype(int) for size, parts in
                     zip(ink.shape, (ROWS, COLUMNS), strict=True))  # fmt: skip
    cells = np.array(
        [
            [ink[top:bottom, left:right].mean() for left, right in zip(columns, columns[1:])]  # noqa: B905, RUF007
            for top, bottom in zip(rows, rows[1:])  # noqa: B905, RUF007
        ]
    )
    most = cells.max()
    return np.round(15 * cells / most).astype(int) if most else cells.astype(int)


def as_text(cells: Any) -> str:
    """Return a line per row, a digit per cell."""
    return "".join("".join(_LEVELS[cell] for cell in row) + "\n" for row in cells)


def from_text(text: str) -> Any:
    """Return the cells a text was made from."""
    return np.array([[_LEVELS.index(digit) for digit in line] for line in text.split()])


def likeness(one: Any, other: Any) -> float:
    """Return how alike two coarse pictures are: the correlation after a blur by one cell."""
    a, b = _blurred(one), _blurred(other)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _blurred(cells: Any) -> Any:
    padded = np.pad(np.asarray(cells, float), 1, mode="edge")
    return sum(
        padded[down : down + ROWS, right : right + COLUMNS]
        for down in range(3)
        for right in range(3)
    )
