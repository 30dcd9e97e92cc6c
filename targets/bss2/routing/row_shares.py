"""Which of a bus's rows have to be excitatory, exactly, for placed neurons of a few synapses.

Without more than 64 sources and neurons each has a synapse label of its own, so any row of a bus
takes synapses of any of its sources: cells of a column and sign are alike, and counting is enough.
Events of sources can be sent to every bus, those of a neuron come on that of its event output.

Sets of pairs (excitatory rows in hemisphere 0, in hemisphere 1) are the bits of an integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from operator import and_

import numpy as np

from snnir.targets.bss2.chips import BUSES, Chip
from snnir.targets.bss2.routing.demand import Demand

#: Columns of a neuron in either hemisphere, and the bus of its spikes (-1 where nothing hears it).
Pattern = tuple[int, int, int]
#: Excitatory rows of a bus by hemisphere.
Split = tuple[int, int]


@lru_cache(maxsize=1 << 12)
def _enough(columns: Split, excitatory: int, inhibitory: int, rows: int, stride: int) -> int:
    """Return the splits of so many rows with which a neuron has cells for its synapses."""
    found = 0
    for first in range(rows + 1):
        for second in range(rows + 1):
            cells = columns[0] * first + columns[1] * second
            if excitatory <= cells <= sum(columns) * rows - inhibitory:
                found |= 1 << (first * stride + second)
    return found


def _members(splits: int) -> Iterator[int]:
    while splits:
        lowest = splits & -splits
        yield lowest.bit_length() - 1
        splits ^= lowest


def _sum(one: int, two: int) -> int:
    """Return every sum of a split of one set and a split of the other."""
    found = 0
    for shift in _members(two):
        found |= one << shift
    return found


class RowShares:
    """Finds splits of rows for patterns of some of the neurons.

    Attributes:
        senders: Whether a neuron's spikes reach synapses.
        work: Steps that the checks made so far have taken.
    """

    def __init__(self, demand: Demand, chip: Chip) -> None:
        self.rows = 2 * chip.drivers
        self.stride = BUSES * self.rows + 1
        sign = (demand.weight < 0).astype(np.int64)
        total = np.zeros((2, demand.neurons), np.int64)
        np.add.at(total, (sign, demand.post), demand.count)
        own = demand.pre >= demand.channels
        between = np.zeros((demand.neurons, 2, demand.neurons), np.int64)
        pre = demand.pre[own] - demand.channels
        np.add.at(between, (pre, sign[own], demand.post[own]), demand.count[own])
        self.total: list[list[int]] = total.tolist()
        self.between: list[list[list[int]]] = between.tolist()
        self.senders = [bool(one.any()) for one in between]
        self.known: dict[tuple[tuple[int, Pattern], ...], bool] = {}
        self.work = 0

    def possible(self, patterns: dict[int, Pattern]) -> bool:
        """Whether these neurons find their synapses, wherever the others are."""
        key = tuple(patterns.items())
        if key not in self.known:
            self.known[key] = self.splits(patterns) is not None
        return self.known[key]

    def splits(self, patterns: dict[int, Pattern]) -> list[Split] | None:
        """Return excitatory rows by bus and hemisphere that serve these neurons, or None."""
        heard: list[list[list[int]]] = [[self._nothing(), self._nothing()] for _ in range(BUSES)]
        for neuron, (_, _, bus) in patterns.items():
            for sign in (0, 1) if bus >= 0 else ():
                more = self.between[neuron][sign]
                heard[bus][sign] = [a + b for a, b in zip(heard[bus][sign], more, strict=True)]
        buses = []
        for exc, inh in heard:
            fine = reduce(
                and_,
                (
                    _enough((top, bottom), exc[n], inh[n], self.rows, self.stride)
                    for n, (top, bottom, _) in patterns.items()
                ),
            )
            if not fine:
                return None
            buses.append(fine)
        wanted = reduce(
            and_,
            (
                _enough((p[0], p[1]), *(t[n] for t in self.total), self.stride - 1, self.stride)
                for n, p in patterns.items()
            ),
        )
        return self._chosen(buses, wanted)

    def _nothing(self) -> list[int]:
        return [0] * len(self.senders)

    def _chosen(self, buses: Sequence[int], wanted: int) -> list[Split] | None:
        """Return a split of each bus such that their sum is one that is wanted."""
        sums = [1]
        for fine in buses:
            self.work += fine.bit_count()
            sums.append(_sum(sums[-1], fine))
        wanted &= sums[-1]
        if not wanted:
            return None
        left = next(_members(wanted))
        chosen: list[Split] = []
        for fine, before in zip(reversed(buses), reversed(sums[:-1]), strict=True):
            one = next(s for s in _members(fine) if s <= left and before >> (left - s) & 1)
            chosen.append(divmod(one, self.stride))
            left -= one
        return chosen[::-1]
