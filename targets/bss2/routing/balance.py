"""Exchanges of sources between buses until every bus has the drivers it needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.packing import SEGMENTS, Packing

#: How steeply a column counts more the fuller it is, and a bus the fuller it is.
STEEP, FULL = 1.5, 0.5
#: Synapses of an item in a column with which it is moved: exponentials have to be small enough.
MOST_MOVED = 25
#: Exchanges that may fail to save a driver before the search ends.
PATIENCE = 30
#: Items on the fullest bus that are tried in one step.
AT_ONCE = 32
#: What else is done with an element in a step, in multiplications.
MORE = 200


class Balance:
    """Local search: the best exchange of two items, one on the fullest bus, again and again.

    Rows are judged by a smooth maximum over columns (logarithm of a sum of exponentials), so that
    an exchange that empties some of many fullest columns counts as better.

    Args:
        packing: What is changed.
        kinds: Items may be exchanged if these are equal; -1 stays where it is. Items of kind 0 are
            also moved alone.
        drivers: Drivers of a bus.
    """

    def __init__(self, packing: Packing, kinds: Sequence[int], drivers: int):
        self.packing, self.drivers, self.turn = packing, drivers, 0
        self.work = 0.0
        groups = len(packing.sums)
        # An empty item of kind 0 in every group: what is exchanged with it is moved.
        places = packing.vectors.shape[1]
        self.kinds = np.array([*kinds, *([0] * groups)])
        self.vectors = np.vstack([packing.vectors, np.zeros((groups, places), np.float32)])
        self.sides = np.vstack([packing.sides, np.zeros((groups, HEMISPHERES), bool)])
        self.group = np.concatenate([packing.group, np.arange(groups)])
        large = self.vectors.max(1, initial=0) > MOST_MOVED
        self.kinds[large] = -1
        self.grown = np.exp(STEEP * np.where(large[:, None], 0, self.vectors)).astype(np.float32)
        bounds = [*packing.starts, places]
        self.parts = [slice(bounds[s], bounds[s + 1]) for s in range(SEGMENTS)]
        self.tops = np.zeros((groups, SEGMENTS))
        self.heights = np.zeros((groups, places), np.float32)
        self.smooth = np.zeros((groups, SEGMENTS))
        for group in range(groups):
            self._refresh(group)

    def _refresh(self, group: int) -> None:
        sums = self.packing.sums[group]
        for s, part in enumerate(self.parts):
            top = float(sums[part].max())
            self.tops[group, s] = top
            self.heights[group, part] = np.exp(STEEP * (sums[part] - top))
            self.smooth[group, s] = top + np.log(self.heights[group, part].sum()) / STEEP

    def run(self, work: float) -> float:
        """Exchange until all buses fit, nothing helps, or nothing has helped for long.

        Args:
            work: Multiplications that may be spent: not seconds, so that the result is the same on
                any machine.

        Returns:
            What is left of them.
        """
        self.work = work
        over, patience = np.inf, PATIENCE
        while self.work > 0 and patience:
            loads = self.packing.loads()
            lacking = np.maximum(loads - self.drivers, 0).sum()
            patience = PATIENCE if lacking < over else patience - 1
            over = min(over, lacking)
            before = self._level()
            if not lacking or not self._step(loads) or not self._level() < before:
                break
        return self.work

    def _level(self) -> float:
        """Return how full the buses are, the fullest above all."""
        rows = self._buses() - 2 * self.drivers
        return float(np.exp(np.minimum(FULL * rows, 300)).sum())

    def _buses(self) -> Array:
        """Return rows by the smooth maximum, [bus, hemisphere]."""
        found: Array = self.smooth.reshape(BUSES, -1, HEMISPHERES, 2).sum((1, 3))
        return found

    def _step(self, loads: Array) -> bool:
        """Make the best exchange; whether there is one that helps."""
        bus, side = divmod(int(loads.argmax()), HEMISPHERES)
        on = self.group // self.packing.size == bus
        one = np.flatnonzero(on & self.sides[:, side] & (self.kinds >= 0))
        two = np.flatnonzero(self.kinds >= 0)
        for _ in range(0, len(one), AT_ONCE):
            self.turn = self.turn % len(one)
            some = np.roll(one, -self.turn)[:AT_ONCE]
            self.turn += AT_ONCE
            self.work -= (2.0 * len(some) + MORE) * self.vectors.size
            if self.work < 0:
                return False
            # Rounded: what is equal shall not depend on how a library adds up.
            gain = np.round(self._gains(some, two), 4)
            a, b = divmod(int(gain.argmin()), len(two))
            if gain[a, b] < 0:
                self._exchange(int(some[a]), int(two[b]))
                return True
        return False

    def _gains(self, one: Array, two: Array) -> Array:
        """Return by how much each exchange changes the cost; infinite where it is not allowed."""
        group1, group2 = self.group[one], self.group[two]
        base1 = self.heights[group1] / self.grown[one]
        base2 = self.heights[group2] / self.grown[two]
        change1 = np.zeros((HEMISPHERES, len(one), len(two)))
        change2 = np.zeros_like(change1)
        for s, part in enumerate(self.parts):
            at1 = np.log(np.maximum(base1[:, part] @ self.grown[two, part].T, 1e-30)) / STEEP
            at2 = np.log(np.maximum(self.grown[one, part] @ base2[:, part].T, 1e-30)) / STEEP
            change1[s // 2] += at1 + (self.tops[group1, s] - self.smooth[group1, s])[:, None]
            change2[s // 2] += at2 + (self.tops[group2, s] - self.smooth[group2, s])[None]
        buses = self._buses()
        reference = buses.max()
        bus1, bus2 = group1 // self.packing.size, group2 // self.packing.size
        same = bus1[:, None] == bus2[None]
        gain = np.zeros((len(one), len(two)))
        for h in range(HEMISPHERES):
            level1 = np.broadcast_to((buses[bus1, h] - reference)[:, None], gain.shape)
            level2 = np.broadcast_to((buses[bus2, h] - reference)[None], gain.shape)
            both = _cost(level1, change1[h] + change2[h])
            gain += np.where(same, both, _cost(level1, change1[h]) + _cost(level2, change2[h]))
        gain[~self._allowed(one, two)] = np.inf
        return gain

    def _allowed(self, one: Array, two: Array) -> Array:
        """Whether kinds agree, groups differ and labels suffice."""
        fine: Array = self.kinds[one][:, None] == self.kinds[two][None]
        fine &= self.group[one][:, None] != self.group[two][None]
        for h in range(HEMISPHERES):
            more = self.sides[two, h].astype(int)[None] - self.sides[one, h].astype(int)[:, None]
            fine &= more <= self.packing.room[self.group[one], h][:, None]
            fine &= -more <= self.packing.room[self.group[two], h][None]
        return fine

    def _exchange(self, one: int, two: int) -> None:
        group1, group2 = int(self.group[one]), int(self.group[two])
        for item, group in ((one, group2), (two, group1)):
            if item < len(self.packing.items):
                self.packing.put(item, group)
                self.group[item] = group
        self._refresh(group1)
        self._refresh(group2)


def _cost(level: Array, change: Array) -> Array:
    """Return how much worse a bus becomes by a change of its rows."""
    found: Array = np.exp(FULL * level) * np.expm1(np.clip(FULL * change, -50, 50))
    return found
