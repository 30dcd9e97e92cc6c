"""How the adjoint state of a neuron flows between events, over arrays of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Rates times duration that differ by less are taken for equal: both formulas are as exact here.
_CLOSE = 2e-5


def mean_decay(z: Array) -> Array:
    """Return (1 - exp(-z)) / z, the mean of exp(-s) for s from 0 to z."""
    safe = np.where(z == 0, 1.0, z)
    return np.where(z == 0, 1.0, -np.expm1(-safe) / safe)


def membrane_gain(rate_syn: Array, rate_mem: Array, h: Array) -> Array:
    """Return v after h of a current that began as 1, per push: ∫ exp(-rm (h - s)) exp(-rs s) ds."""
    low, high = np.minimum(rate_syn, rate_mem), np.maximum(rate_syn, rate_mem)
    gain: Array = np.exp(-low * h) * h * mean_decay((high - low) * h)
    return gain


def level_gain(rate_syn: Array, rate_mem: Array, h: Array) -> Array:
    """Return v after h of a current driven by 1 from 0 on, per pushes: ∫ of `membrane_gain`.

    With a = rate_syn h and b = rate_mem h it is h² (m(a) - m(b)) / (b - a), m being `mean_decay`;
    close rates take the derivative of m halfway, whose error is of the order of (b - a)².
    """
    a, b = rate_syn * h, rate_mem * h
    gap = np.where(np.abs(b - a) < _CLOSE, 1.0, b - a)
    far = (mean_decay(a) - mean_decay(b)) / gap
    z = (a + b) / 2
    safe = np.where(z < 1e-2, 1.0, z)
    series = 0.5 - z / 3 + z * z / 8 - z**3 / 30 + z**4 / 144
    near = np.where(z < 1e-2, series, (mean_decay(safe) - np.exp(-safe)) / safe)
    return h * h * np.where(np.abs(b - a) < _CLOSE, near, far)
