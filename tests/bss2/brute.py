"""Whether any configuration of a tiny chip realises a network: by trying all that can matter.

What is searched: every place of every neuron (single circuits, and where asked joined ones), all
signs of the rows of each bus. What need not be, because it never binds on networks this small:

- Labels and addresses. With at most 64 sources and neurons in all, each has a synapse label of its
  own, and drivers may take every address of their bus: events find their synapses by label alone.
- Packing. A cell (row and column) holds one synapse of any source of the row's bus and sign, so
  the cells of a column are alike, and counting them is enough.
- Buses of external sources. An event of the host can be sent to all buses, so a synapse of such a
  source may be on any; which one is a matter of free cells only.
- Columns of neurons, but for the bus their spikes take and their hemisphere; see `patterns`.

A weight w is ceil(|w| / 63) synapses, and each synapse belongs to one source: both are the
contract's (`network.Projection`, and `checker.check`). Without that, one synapse could serve two
sources of equal weight, which no router here is asked to find. Sources made by background
generators are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.bss2.chips import Chip
from snnir.targets.bss2.network import LogicalNetwork, Projection

Unit = tuple[str, int]
#: A place as far as it matters: circuits in each hemisphere, and the bus of its spikes.
Pattern = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """A neuron's circuits, of which the first spikes."""

    circuits: tuple[int, ...]
    pattern: Pattern


@dataclass(frozen=True)
class Solution:
    """A configuration: the place of each neuron, and excitatory rows by hemisphere and bus."""

    places: dict[Unit, Place]
    excitatory: tuple[int, ...]


@dataclass(frozen=True)
class Demand:
    """Synapses that a neuron needs: {source: number}, by sign."""

    excitatory: dict[Unit, int]
    inhibitory: dict[Unit, int]

    @property
    def synapses(self) -> int:
        """Number of synapses in all."""
        return sum(self.excitatory.values()) + sum(self.inhibitory.values())


def demands(network: LogicalNetwork) -> dict[Unit, Demand]:
    """Return what each neuron needs."""
    found = {
        (cells.name, index): Demand({}, {})
        for cells in network.cells.values()
        for index in range(cells.size)
    }
    for one in network.projections:
        weights = np.asarray(one.weights)
        for post, pre in np.argwhere(weights).tolist():
            weight = int(weights[post, pre])
            need = found[one.target, post]
            kind = need.excitatory if weight > 0 else need.inhibitory
            kind[one.source, pre] = -(-abs(weight) // 63)
    return found


def _connected(circuits: tuple[int, ...], columns: int) -> bool:
    at = {(c // columns, c % columns) for c in circuits}
    reached = {next(iter(sorted(at)))}
    while True:
        near = {
            (row + dr, column + dc)
            for row, column in reached
            for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0))
        }
        grown = reached | (near & at)
        if grown == reached:
            return reached == at
        reached = grown


@lru_cache(maxsize=8)
def places(chip: Chip, most: int) -> tuple[Place, ...]:
    """Return every place of a neuron of up to `most` circuits."""
    found = []
    for half in range(2):
        width = chip.columns // 2
        circuits = [
            row * chip.columns + half * width + column
            for row in range(2)
            for column in range(width)
        ]
        for count in range(1, most + 1):
            for block in combinations(circuits, count):
                if not _connected(block, chip.columns):
                    continue
                top = sum(c < chip.columns for c in block)
                for first in block:
                    rest = tuple(c for c in block if c != first)
                    bus = chip.event_output(first) % 4
                    found.append(Place((first, *rest), (top, count - top, bus)))
    return tuple(found)


@lru_cache(maxsize=64)
def patterns(chip: Chip, most: int, count: int) -> dict[tuple[Pattern, ...], tuple[Place, ...]]:
    """Return every combination of patterns that `count` neurons can have, with an example."""
    found: dict[tuple[Pattern, ...], tuple[Place, ...]] = {}

    def place(chosen: tuple[Place, ...], used: frozenset[int]) -> None:
        if len(chosen) == count:
            found.setdefault(tuple(one.pattern for one in chosen), chosen)
            return
        for one in places(chip, most):
            if not used & set(one.circuits):
                place((*chosen, one), used | set(one.circuits))

    place((), frozenset())
    return found


@lru_cache(maxsize=8)
def _signs(chip: Chip) -> npt.NDArray[np.int64]:
    """Return [choice, bus]: numbers of excitatory rows of a hemisphere's buses."""
    return np.array(list(product(range(2 * chip.drivers + 1), repeat=4)))


@lru_cache(maxsize=8)
def _both_signs(chip: Chip) -> npt.NDArray[np.int64]:
    """Return [choice, hemisphere, bus]."""
    one = _signs(chip)
    first, second = np.divmod(np.arange(len(one) ** 2), len(one))
    return np.stack([one[first], one[second]], axis=1)


def _fits(
    need: dict[Unit, int], buses: dict[Unit, int], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether cells [choice, bus] hold the synapses that a neuron needs of one sign."""
    inside = np.zeros(4, np.int64)
    outside = 0
    for source, number in need.items():
        if source in buses:
            inside[buses[source]] += number
        else:
            outside += number
    left = cells - inside
    return np.asarray((left >= 0).all(axis=1) & (left.sum(axis=1) >= outside))


class Search:
    """Decides for a network and a combination of patterns which signs of rows serve."""

    def __init__(self, network: LogicalNetwork, chip: Chip) -> None:
        self.needs = demands(network)
        self.chip = chip
        self.memory: dict[Any, npt.NDArray[np.bool_]] = {}

    def fits(self, unit: Unit, pattern: Pattern, buses: dict[Unit, int], joint: bool) -> Any:
        """Return [choice]: whether a neuron's synapses find cells.

        With `joint` choices are those of both hemispheres, else those of the neuron's own.
        """
        need = self.needs[unit]
        senders = sorted({*need.excitatory, *need.inhibitory} & buses.keys())
        key = (unit, pattern[:2], joint, tuple((one, buses[one]) for one in senders))
        if key not in self.memory:
            rows = 2 * self.chip.drivers
            if joint:
                signs = _both_signs(self.chip)
                counts = np.array(pattern[:2])
                both = (np.einsum("h,chb->cb", counts, one) for one in (signs, rows - signs))
            else:
                both = (
                    sum(pattern[:2]) * one for one in (_signs(self.chip), rows - _signs(self.chip))
                )
            excitatory, inhibitory = both
            self.memory[key] = _fits(need.excitatory, buses, excitatory) & _fits(
                need.inhibitory, buses, inhibitory
            )
        return self.memory[key]

    def signs(self, patterns: dict[Unit, Pattern]) -> tuple[int, ...] | None:
        """Return excitatory rows by hemisphere and bus that serve all neurons, or None."""
        buses = {unit: pattern[2] for unit, pattern in patterns.items()}
        joint = any(pattern[0] and pattern[1] for pattern in patterns.values())
        if joint:
            possible = np.ones(len(_both_signs(self.chip)), bool)
            for unit, pattern in patterns.items():
                possible &= self.fits(unit, pattern, buses, joint)
            if not possible.any():
                return None
            return tuple(_both_signs(self.chip)[int(np.argmax(possible))].reshape(-1).tolist())
        chosen: list[int] = []
        for half in range(2):
            possible = np.ones(len(_signs(self.chip)), bool)
            for unit, pattern in patterns.items():
                if pattern[half]:
                    possible &= self.fits(unit, pattern, buses, joint)
            if not possible.any():
                return None
            chosen += _signs(self.chip)[int(np.argmax(possible))].tolist()
        return tuple(chosen)


def solve(network: LogicalNetwork, chip: Chip, most: int = 1) -> Solution | None:
    """Return a configuration that realises a network, or None if there is none.

    Args:
        network: Of few neurons; no background generators.
        chip: A tiny one: at most 4 columns, and 1 driver where circuits are joined.
        most: Circuits that may be joined to a neuron.
    """
    search = Search(network, chip)
    neurons = list(search.needs)
    least = [
        max(network.cells[name].circuits, -(-need.synapses // chip.rows))
        for (name, _), need in search.needs.items()
    ]
    for pattern, example in patterns(chip, most, len(neurons)).items():
        if any(p[0] + p[1] < n for p, n in zip(pattern, least, strict=True)):
            continue
        signs = search.signs(dict(zip(neurons, pattern, strict=True)))
        if signs is not None:
            return Solution(dict(zip(neurons, example, strict=True)), signs)
    return None


def _smaller(network: LogicalNetwork) -> Iterator[LogicalNetwork]:
    """Yield networks with a channel, a weight or a part of one less."""
    for number, one in enumerate(network.projections):
        weights = np.asarray(one.weights)
        columns = [
            np.where(np.arange(weights.shape[1]) == c, 0, weights) for c in range(weights.shape[1])
        ]
        rows = [
            np.where(np.arange(weights.shape[0])[:, None] == r, 0, weights)
            for r in range(weights.shape[0])
        ]
        entries = []
        for at in np.argwhere(weights).tolist():
            for value in (0, int(np.sign(weights[tuple(at)]))):
                entries.append(weights.copy())
                entries[-1][tuple(at)] = value
        for changed in columns + rows + entries:
            if (changed != weights).any():
                projections = list(network.projections)
                projections[number] = Projection(one.source, one.target, changed)
                yield LogicalNetwork(network.sources, network.cells, tuple(projections))


def smallest(network: LogicalNetwork, still: Callable[[LogicalNetwork], bool]) -> LogicalNetwork:
    """Return a network that `still` holds for, and for none with one thing less."""
    for found in _smaller(network):
        if still(found):
            return smallest(found, still)
    return network
