"""What a comparison keeps of both runs: the steps around a first difference, and how it spreads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Steps kept before and after a first difference, and neurons kept of a population.
_STEPS, MOST_NEURONS = 48, 32
#: Nodes of which windows and spreads are kept, those that part first.
MOST_NODES = 64


@dataclass(frozen=True, eq=False)
class Window:
    """Both runs around a first difference.

    Attributes:
        step, sample: Of the difference.
        start: Step of the first row.
        neurons: Flat indices into the population, those that differ soonest first.
        shape: Of the population.
        a, b: Values [steps, neurons].
    """

    step: int
    sample: int
    start: int
    neurons: Array
    shape: tuple[int, ...]
    a: Array
    b: Array


def window(a: Array, b: Array, index: tuple[int, ...]) -> Window:
    """Return what is around the first difference of two traces.

    Args:
        a: [T, B, *shape].
        b: The same of the other run.
        index: (step, sample, *neuron) of the difference.
    """
    step, sample = index[:2]
    start, stop = _span(step, len(a))
    one, two = (y[start:stop, sample].reshape(stop - start, -1) for y in (a, b))
    wrong = one != two
    which = np.flatnonzero(wrong.any(axis=0))
    soonest = which[np.argsort(wrong[:, which].argmax(axis=0), kind="stable")[:MOST_NEURONS]]
    return Window(
        step, sample, start, soonest, a.shape[2:], one[:, soonest].copy(), two[:, soonest].copy()
    )


def states_around(found: Window, a: Array, b: Array) -> Window | None:
    """Return a state of the neuron that parts first, at the steps of a window of its spikes.

    Args:
        found: The window.
        a: The state, [T, B, *shape].
        b: The same of the other run.
    """
    stop = found.start + len(found.a)
    known = a.shape == b.shape and a.shape[2:] == found.shape
    if not known or len(a) < stop or not found.neurons.size or a.shape[1] <= found.sample:
        return None
    first = found.neurons[:1]
    one, two = (
        y[found.start : stop, found.sample].reshape(stop - found.start, -1)[:, first].copy()
        for y in (a, b)
    )
    return Window(found.step, found.sample, found.start, first, found.shape, one, two)


def until(x: Any, found: Window) -> Any:
    """Return an input up to the end of a window; whole where it has no steps to cut at."""
    stop = found.start + len(found.a)
    if isinstance(x, Mapping):
        if any("." in name or not hasattr(y, "shape") for name, y in x.items()):
            return x
        return {name: y[:stop] for name, y in x.items()}
    return x[:stop] if hasattr(x, "shape") else x


def _span(step: int, steps: int) -> tuple[int, int]:
    return max(0, step - _STEPS), min(steps, step + _STEPS + 1)
