"""From real weights to the chip's integers.

Every neuron has a scale of its own: how many units of its 16-bit state one unit of the graph is.
Multiplying its weights, bias and threshold by one number changes nothing, so the scale is free; it
is chosen such that its weights fill 8 bits, its threshold is fine enough, and its state has room.
The left shifts, one per block of weights, are common to all neurons and are searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.xylo.emulator import HIGH, LOW
from snnir.targets.xylo.layout import Group, Layout

Array = npt.NDArray[Any]

#: Shifts that are tried; the chip's field may hold more, 16 bits do not.
SHIFTS = range(8)
#: Largest weight, and largest even one, whose half a copy takes away.
MOST, MOST_EVEN = 127, 126
#: Smallest whole number that the largest weight of a neuron may become.
LEAST = 64
#: Distance from a whole number that rounding of float32 weights explains.
TOLERANCE = 1e-4
#: Units that a threshold has at least where weights are kept on their grid.
COARSEST = 16


@dataclass(frozen=True)
class Side:
    """Weights [sources, neurons] of one block of memory, in real numbers."""

    weights: Array
    shift_key: str


@dataclass(frozen=True)
class Quantized:
    """One block of neurons in integers.

    Attributes:
        scale: [neurons], units of the state per unit of the graph.
        weights: Whole weights [sources, neurons], before the shift, by block of memory.
        shifts: By block of memory.
        threshold, bias: [neurons].
    """

    scale: Array
    weights: dict[str, Array]
    shifts: dict[str, int]
    threshold: Array
    bias: Array


@dataclass(frozen=True)
class Wanted:
    """What a block of neurons should be.

    Attributes:
        weights: [sources, neurons] by block of memory, in the graph's units.
        threshold: [neurons]; infinite for membranes that are read.
        strict: [neurons], whether it must be exceeded rather than reached.
        bias: [neurons].
        room: [neurons], the largest state that is expected, in the graph's units.
        direct: [neurons], whether copies cancel half of each weight.
    """

    weights: dict[str, Array]
    threshold: Array
    strict: Array
    bias: Array
    room: Array
    direct: Array


def wanted_of(layout: Layout, block: str, room: dict[str, Array]) -> Wanted:
    """Gather the populations of a block; copies stay empty.

    Args:
        layout: What goes where.
        block: `hidden` or `readout`.
        room: Largest states, by population.
    """
    size, neurons = layout.count(block), layout.count("hidden")
    channels = sum(signal.size for signal in layout.structure.graph.inputs.values())
    rows = {"inp": channels, "rec": neurons} if block == "hidden" else {"out": neurons}
    weights = {key: np.zeros((count, size)) for key, count in rows.items()}
    threshold, bias, space = np.full(size, np.inf), np.zeros(size), np.ones(size)
    strict, direct = np.zeros(size, bool), np.zeros(size, bool)
    for group in layout.of_block(block):
        if group.population is None:
            continue
        own, at = layout.synapses[group.name], group.span
        threshold[at], bias[at], space[at] = own.threshold, own.fit.bias, room[group.name]
        strict[at] = group.population.rules.fire == "gt"
        direct[at] = own.direct
        for source, matrix in own.matrices.items():
            key, lines = lines_of(layout, source, block)
            weights[key][lines, at] = matrix
    return Wanted(weights, threshold, strict, bias, space, direct)


def lines_of(layout: Layout, source: str, block: str) -> tuple[str, slice]:
    """Return the block of memory and the rows of a source's weights to a block of neurons."""
    if source in layout.channels:
        first = layout.channels[source]
        return "inp", slice(first, first + layout.structure.size(source))
    return ("rec" if block == "hidden" else "out"), layout.groups[source].span


def quantize(wanted: Wanted, same: bool) -> Quantized:
    """Return a block in integers.

    Args:
        wanted: The block in real numbers.
        same: Whether all its memory must have one shift, as copies need it.
    """
    found = _on_grids(wanted) or _searched(wanted, same)
    return _rounded(wanted, *found)


def _on_grids(wanted: Wanted) -> tuple[dict[str, int], Array] | None:
    """Return one shift and scales with which all weights are met, if every neuron has a grid.

    Weights that are whole numbers of some unit, as those of quantised networks are, lose nothing,
    even where a finer scale would make states finer.
    """
    largest = np.max([np.abs(w).max(axis=0, initial=0.0) for w in wanted.weights.values()], axis=0)
    fed = largest > 0
    finite = np.where(np.isinf(wanted.threshold), 0.0, wanted.threshold)
    number, least = np.zeros(len(largest)), np.full(len(largest), np.inf)
    for candidate in range(LEAST, MOST + 1):
        per_unit = np.divide(candidate, largest, out=np.zeros(len(largest)), where=fed)
        level = finite * per_unit
        error = np.where(_are_whole(wanted, per_unit), np.abs(level - np.rint(level)), np.inf)
        number = np.where(error <= least, candidate, number)
        least = np.minimum(error, least)
    if np.isinf(least[fed]).any() or not fed.any():
        return None
    scale = np.where(fed, number / np.where(fed, largest, 1.0), 1.0)
    highest = _highest(wanted)
    shift = min(int(np.floor(np.log2(highest / scale)[fed].min())), SHIFTS[-1])
    scale = np.where(fed, scale * 2.0**shift, highest)
    if shift < 0 or (scale * _unit(wanted) < COARSEST).any():
        return None
    return dict.fromkeys(wanted.weights, shift), scale


def _are_whole(wanted: Wanted, per_unit: Array) -> Array:
    """Return which neurons' weights are whole (even where copies halve them) in a unit."""
    found = np.ones(len(per_unit), bool)
    for weights in wanted.weights.values():
        level = weights * (per_unit / np.where(wanted.direct, 2.0, 1.0))
        found &= (np.abs(level - np.rint(level)) < TOLERANCE).all(axis=0)
    return found


def _searched(wanted: Wanted, same: bool) -> tuple[dict[str, int], Array]:
    """Return the shifts and scales of least error."""
    keys = list(wanted.weights)
    best: tuple[float, dict[str, int]] | None = None
    for combination in np.ndindex(*(len(SHIFTS),) * len(keys)):
        if same and len(set(combination)) > 1:
            continue
        shifts = dict(zip(keys, combination, strict=True))
        cost = float(_cost(wanted, shifts, _scale(wanted, shifts)).sum())
        if best is None or cost < best[0]:
            best = cost, shifts
    assert best is not None
    return best[1], _refined(wanted, best[1])


def _scale(wanted: Wanted, shifts: dict[str, int], number: int = MOST) -> Array:
    """Return the scale with which the largest weight becomes a whole number, or states just fit."""
    scale = _highest(wanted)
    most = np.where(wanted.direct, min(number, MOST_EVEN), number)
    for key, weights in wanted.weights.items():
        largest = np.abs(weights).max(axis=0, initial=0.0)
        fits = np.full(len(scale), np.inf)
        np.divide(most * 2.0 ** shifts[key], largest, out=fits, where=largest > 0)
        scale = np.minimum(scale, fits)
    return scale


def _highest(wanted: Wanted) -> Array:
    """Return the scale with which the largest state still fits 16 bits."""
    finite = np.where(np.isinf(wanted.threshold), 0.0, wanted.threshold)
    highest: Array = (HIGH - 1) / np.maximum(np.maximum(wanted.room, finite), 1e-30)
    return highest


def _unit(wanted: Wanted) -> Array:
    """Return what errors of a neuron are measured in."""
    unit: Array = np.where(np.isinf(wanted.threshold), wanted.room, wanted.threshold)
    return unit


def _cost(wanted: Wanted, shifts: dict[str, int], scale: Array) -> Array:
    """Return squared errors per neuron, in thresholds: of weights, threshold, and decay.

    A state decays by at least one unit per step, and by whole units: the coarser it is, the less
    it decays as it should.
    """
    unit = _unit(wanted)
    level = np.where(np.isinf(wanted.threshold), 0.0, wanted.threshold) * scale
    cost = (1.0 + (np.rint(level) - level) ** 2) / (scale * unit) ** 2
    for key, weights in wanted.weights.items():
        whole = _whole(weights, scale, shifts[key], wanted.direct)
        error = whole * (2.0 ** shifts[key] / scale) - weights
        cost = cost + (error**2).sum(axis=0) / unit**2
    result: Array = cost
    return result


def _whole(weights: Array, scale: Array, shift: int, direct: Array) -> Array:
    step = np.where(direct, 2.0, 1.0)
    nearest = np.rint(weights * (scale / (step * 2.0**shift))) * step
    result: Array = np.clip(nearest, -MOST - 1, np.where(direct, MOST_EVEN, MOST))
    return result


def _refined(wanted: Wanted, shifts: dict[str, int]) -> Array:
    """Return scales of least error, by the whole number that the largest weight becomes.

    Weights on a grid of their own, whole ones for instance, are met exactly by one of them.
    """
    best = _scale(wanted, shifts)
    least = _cost(wanted, shifts, best)
    for largest in range(LEAST, MOST):
        scale = _scale(wanted, shifts, largest)
        cost = _cost(wanted, shifts, scale)
        best = np.where(cost < least, scale, best)
        least = np.minimum(cost, least)
    return best


def _rounded(wanted: Wanted, shifts: dict[str, int], scale: Array) -> Quantized:
    weights = {
        key: _whole(real, scale, shifts[key], wanted.direct).astype(np.int64)
        for key, real in wanted.weights.items()
    }
    read = np.isinf(wanted.threshold)
    level = np.rint(np.where(read, 0.0, wanted.threshold) * scale) + wanted.strict
    # v > T is v >= T + 1 in whole numbers. What is read by its membrane should never fire.
    threshold = np.where(read, HIGH, np.clip(level, 1, HIGH)).astype(np.int64)
    bias = np.clip(np.rint(wanted.bias * scale), LOW, HIGH).astype(np.int64)
    return Quantized(scale, weights, shifts, threshold, bias)


# --- Copies --------------------------------------------------------------------------------------


def wire_copies(layout: Layout, hidden: Quantized, readout: Quantized) -> None:
    """Put the whole weights of copies in place; they repeat counts exactly.

    A copy reads 2 per event, of which its current keeps 1 in the step, and takes 1 from itself in
    the next: its current is the number of events, and its threshold one of them.
    """
    for group in layout.groups.values():
        if group.population is not None:
            continue
        block = hidden if group.block == "hidden" else readout
        key, lines = lines_of(layout, group.source, group.block)
        rows, columns = _ranges(lines, group)
        exact = group.block == "hidden" or layout.copy_of(group.source) is not None
        # Without a copy that cancels it, what is left of an event stays below a large threshold.
        weight = 2 if exact else MOST_EVEN
        block.weights[key][rows, columns] = weight
        block.threshold[columns] = (weight // 2) << block.shifts[key]
        if group.block == "hidden":
            block.weights["rec"][columns, columns] = -1
        elif exact:
            again, _ = _ranges(_copied(layout, group.source), group)
            block.weights[key][again, columns] = -1
    for group in layout.groups.values():
        if group.population is not None and layout.cancelled(group):
            _cancel(layout, group, hidden if group.block == "hidden" else readout)


def _cancel(layout: Layout, group: Group, block: Quantized) -> None:
    """Let copies take back the half of each weight that is left a step later."""
    for source in layout.synapses[group.name].matrices:
        key, lines = lines_of(layout, source, group.block)
        again = "rec" if group.block == "hidden" else "out"
        half = block.weights[key][lines, group.span] // 2
        block.weights[again][_copied(layout, source), group.span] -= half


def _copied(layout: Layout, source: str) -> slice:
    copy = layout.copy_of(source)
    assert copy is not None
    return copy.span


def _ranges(lines: slice, group: Group) -> tuple[Array, Array]:
    return np.arange(lines.start, lines.stop), np.arange(group.span.start, group.span.stop)
