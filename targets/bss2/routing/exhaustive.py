"""Every placement of a few neurons: what no other way of placing was found for.

Neurons matter by the columns they have in each hemisphere and the bus of their spikes; buses are
all alike, and so are the hemispheres. Patterns of these are tried one neuron after another, those
of fewest circuits first, as long as rows suffice; then circuits are looked for. It ends without an
answer where that takes too much work, as it does for all but small networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES, LABELS, Chip
from snnir.targets.bss2.network import LogicalNetwork
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.placement import Block
from snnir.targets.bss2.routing.row_shares import Pattern, RowShares, Split

#: Most neurons of networks that are looked at.
MOST_NEURONS = 12
#: Steps of a search: half a second.
MOST_WORK = 300_000
#: Blocks that are tried to lay out neurons of given patterns.
MOST_BLOCKS = 20_000


@dataclass(frozen=True)
class Arrangement:
    """Where neurons are.

    Attributes:
        blocks: Circuits of each neuron.
        splits: Excitatory rows by bus and hemisphere; the others are inhibitory.
    """

    blocks: tuple[Block, ...]
    splits: tuple[Split, ...]


def few(network: LogicalNetwork) -> bool:
    """Whether a network has so few neurons that all placements may be tried."""
    return 0 < sum(cells.size for cells in network.cells.values()) <= MOST_NEURONS


def arrange(demand: Demand, chip: Chip) -> Arrangement | None:
    """Return a placement that serves a network, or None if none was found.

    None is certain only where the search ended in time. Networks of more sources and neurons than
    there are labels are not looked at.
    """
    sources = len(np.unique(demand.pre[demand.pre < demand.channels]))
    if not few(demand.network) or sources + demand.neurons > LABELS:
        return None
    return _Arranger(demand, chip).run()


class _OutOfWork(Exception):
    """The search took too long."""


class _Arranger:
    def __init__(self, demand: Demand, chip: Chip) -> None:
        self.chip = chip
        self.shares = RowShares(demand, chip)
        self.steps = 0
        fans = np.bincount(demand.post, demand.count, demand.neurons).astype(int).tolist()
        self.least = [
            max(demand.network.cells[demand.owner(demand.channels + n)[0]].circuits,
                -(-fan // chip.rows))
            for n, fan in enumerate(fans)
        ]  # fmt: skip
        # Neurons that are hard to serve first: what cannot be is seen early.
        self.order = sorted(range(demand.neurons), key=lambda n: (-fans[n], n))
        self.buses = len({chip.event_output(c) % BUSES for c in range(chip.columns)})

    def run(self) -> Arrangement | None:
        """Return the first arrangement, by the number of circuits."""
        try:
            for more in range(self.chip.circuits - sum(self.least) + 1):
                found = self._next({}, more)
                if found is not None:
                    return found
        except _OutOfWork:
            pass
        return None

    def _next(self, patterns: dict[int, Pattern], more: int) -> Arrangement | None:
        """Return the arrangement with some patterns and so many circuits beyond the least."""
        if len(patterns) == len(self.order):
            return self._laid(patterns) if not more else None
        neuron = self.order[len(patterns)]
        last = len(patterns) + 1 == len(self.order)
        for extra in (more,) if last else range(more + 1):
            for pattern in self._patterns(neuron, patterns, self.least[neuron] + extra):
                self._count()
                tried = {**patterns, neuron: pattern}
                if self._wide(tried) and self.shares.possible(tried):
                    found = self._next(tried, more - extra)
                    if found is not None:
                        return found
        return None

    def _patterns(
        self, neuron: int, patterns: dict[int, Pattern], circuits: int
    ) -> Iterator[Pattern]:
        """Yield patterns of a neuron that are not the same as others for the network."""
        half = self.chip.columns // 2
        used = len({bus for _, _, bus in patterns.values() if bus >= 0})
        buses = range(min(used + 1, self.buses)) if self.shares.senders[neuron] else (-1,)
        for bottom in range(max(0, circuits - half), min(circuits, half) + 1):
            top = circuits - bottom
            if patterns or top >= bottom:
                yield from ((top, bottom, bus) for bus in buses)

    def _wide(self, patterns: dict[int, Pattern]) -> bool:
        """Whether hemispheres have so many columns."""
        return all(
            sum(p[h] for p in patterns.values()) <= self.chip.columns for h in range(HEMISPHERES)
        )

    def _count(self) -> None:
        self.steps += 4
        if self.steps + self.shares.work > MOST_WORK:
            raise _OutOfWork

    def _laid(self, patterns: dict[int, Pattern]) -> Arrangement | None:
        """Return an arrangement with these patterns, if circuits can be laid out so."""
        found = lay(self.chip, tuple(patterns[n] for n in self.order))
        if found is None:
            return None
        blocks = dict(zip(self.order, found, strict=True))
        real = {}
        for n, (top, bottom, bus) in patterns.items():
            taken = self.chip.event_output(blocks[n][0]) % BUSES if bus >= 0 else -1
            real[n] = (top, bottom, taken)
        splits = self.shares.splits(real)
        if splits is None:
            raise AssertionError("rows suffice for one order of buses only")
        return Arrangement(tuple(blocks[n] for n in range(len(blocks))), tuple(splits))


@lru_cache(maxsize=1 << 14)
def lay(chip: Chip, patterns: tuple[Pattern, ...]) -> tuple[Block, ...] | None:
    """Return blocks of circuits of these patterns, whose buses have any order; None if none fit.

    The first circuit of a block is that whose spikes are on the bus.
    """
    left = MOST_BLOCKS

    def rest(
        chosen: tuple[Block, ...], used: int, order: tuple[int, ...]
    ) -> tuple[Block, ...] | None:
        nonlocal left
        if len(chosen) == len(patterns):
            return chosen
        top, bottom, bus = patterns[len(chosen)]
        for mask, block in _blocks(chip, top, bottom):
            left -= 1
            if left < 0:
                return None
            if mask & used:
                continue
            for first in _firsts(chip, block):
                real = chip.event_output(first) % BUSES
                fresh = 0 <= bus == len(order)
                if bus >= 0 and (real in order if fresh else order[bus] != real):
                    continue
                spiking = (first, *(c for c in block if c != first))
                found = rest((*chosen, spiking), mask | used, (*order, real) if fresh else order)
                if found is not None:
                    return found
                if bus < 0:
                    break
        return None

    return rest((), 0, ())


def _firsts(chip: Chip, block: Block) -> list[int]:
    """Return one circuit of a block of each bus."""
    found: dict[int, int] = {}
    for circuit in block:
        found.setdefault(chip.event_output(circuit) % BUSES, circuit)
    return list(found.values())


@lru_cache(maxsize=1 << 10)
def _blocks(chip: Chip, top: int, bottom: int) -> tuple[tuple[int, Block], ...]:
    """Return blocks of joined circuits, as bits and numbers: neighbours in each row."""
    half = chip.columns // 2
    found = []
    for side in (0, half):
        for a in range(half - top + 1 if top else 1):
            for b in range(half - bottom + 1 if bottom else 1):
                if top and bottom and not (a < b + bottom and b < a + top):
                    continue
                block = (
                    *(side + a + i for i in range(top)),
                    *(chip.columns + side + b + i for i in range(bottom)),
                )
                found.append((sum(1 << c for c in block), block))
    return tuple(found)
