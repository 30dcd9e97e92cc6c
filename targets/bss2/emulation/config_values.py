"""Plain values of `model.bss2.json`, each in its range; copied into emitted folders.

All raise `BadFolder`, with the name that they are given for what the value is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snnir.targets.bss2.emulation.config_types import BadFolder

#: Channels of a population at most.
MOST_SIZE = 1 << 20


def demand(fine: Any, what: str) -> None:
    """Refuse a configuration of which something is not so."""
    if not fine:
        raise BadFolder(what)


def items_of(value: Any, what: str) -> list[Any]:
    """Return a list."""
    demand(type(value) is list, f"{what} is no list")
    return value  # type: ignore[no-any-return]


def name_of(value: Any, what: str) -> str:
    """Return a name."""
    demand(type(value) is str and value, f"{what} is no name")
    return value  # type: ignore[no-any-return]


def whole(value: Any, low: int, high: int, what: str) -> int:
    """Return a whole number."""
    demand(type(value) is int and low <= value <= high, f"{what} is not in {low} to {high}")
    return value  # type: ignore[no-any-return]


def real(value: Any, low: float, high: float, what: str) -> float:
    """Return a finite number."""
    fine = type(value) in (int, float) and low <= value <= high
    demand(fine, f"{what} is no number from {low:g} to {high:g}")
    return float(value)


def wholes(values: Any, low: int, high: int, what: str) -> Any:
    """Return an array of whole numbers."""
    values = items_of(values, what)
    fine = all(type(value) is int and low <= value <= high for value in values)
    demand(fine, f"{what}: not all are in {low} to {high}")
    return np.array(values, np.int64)


def same_lengths(arrays: Any, what: str) -> None:
    """Refuse lists that differ in length."""
    demand(len({len(array) for array in arrays}) == 1, f"lists of {what} differ in length")


def shape_of(value: Any, size: int, what: str) -> tuple[int, ...]:
    """Return a shape of a size."""
    shape = tuple(wholes(value, 1, MOST_SIZE, f"shape of {what}").tolist())
    demand(len(shape) <= 32 and math.prod(shape) == size, f"shape of {what} is not its size")
    return shape
