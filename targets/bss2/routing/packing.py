"""Sources are put on buses and into groups that share synapse drivers.

A row has one sign, but each of its synapses has its own label: it may carry a different source in
each column. So a group needs as many rows of a sign as the column with most synapses of that sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES, LABELS, Chip
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.placement import Block

#: Rows of a group are counted by (hemisphere, sign): exc. and inh. of one, then of the other.
SEGMENTS = 2 * HEMISPHERES


@dataclass(frozen=True)
class Sites:
    """Where neurons are: their circuits, and how many columns of each hemisphere they have."""

    blocks: tuple[Block, ...]
    columns: Array

    @classmethod
    def of(cls, blocks: Sequence[Block], chip: Chip) -> Sites:
        """Return the sites with these circuits."""
        columns = np.zeros((HEMISPHERES, len(blocks)), np.int64)
        for neuron, block in enumerate(blocks):
            for circuit in block:
                columns[circuit // chip.columns, neuron] += 1
        return cls(tuple(blocks), columns)


def hemispheres(demand: Demand, sites: Sites, chip: Chip) -> Array:
    """Return the hemisphere in which each entry is realised.

    A neuron with circuits in both receives from some sources in one, from the others in the other:
    so that an event of the host has to go to one of them only.
    """
    rank = np.arange(demand.channels + demand.neurons)
    seen = [0] * BUSES
    for neuron, block in enumerate(sites.blocks):
        bus = chip.event_output(block[0]) % BUSES
        rank[demand.channels + neuron] = seen[bus]
        seen[bus] += 1
    there = sites.columns[1][demand.post]
    both = there + sites.columns[0][demand.post]
    at = rank[demand.pre]
    side: Array = (at + 1) * there // both > at * there // both
    return side.astype(np.int64)


@dataclass(frozen=True)
class Item:
    """Events of a source that go one way.

    Attributes:
        source: Its number.
        sides: Hemispheres where they reach synapses.
        neuron: Its number if it is a neuron's, else -1: its bus is that of its event output.
        background: Whether a generator makes them; one on a bus at most.
    """

    source: int
    sides: tuple[int, ...]
    neuron: int
    background: bool


class Packing:
    """Items in groups.

    Attributes:
        items: All of them.
        size: Greatest number of groups on a bus; group g is on bus g // size (of both hemispheres).
        vectors: Synapses of every item in each column, [item, place]; places are in SEGMENTS
            consecutive segments. Of neurons with several columns, the mean over these.
        group: Group of every item, -1 if it has none yet.
        sums: Of the vectors of a group, [group, place].
        tops: Their maxima, [group, segment].
        room: Labels left in every group, [group, hemisphere].
    """

    def __init__(self, items: Sequence[Item], vectors: Array, starts: Array, size: int):
        self.items = tuple(items)
        self.size = size
        self.vectors, self.starts = vectors, starts
        self.sides = np.array(
            [[h in item.sides for h in range(HEMISPHERES)] for item in items], bool
        ).reshape(-1, HEMISPHERES)
        self.group = np.full(len(items), -1)
        self.sums = np.zeros((BUSES * size, vectors.shape[1]), np.float32)
        self.tops = np.zeros((BUSES * size, SEGMENTS), np.float32)
        self.room = np.full((BUSES * size, HEMISPHERES), LABELS)

    def put(self, item: int, group: int) -> None:
        """Put an item into a group, out of the one it was in."""
        old = self.group[item]
        if old >= 0:
            self.sums[old] -= self.vectors[item]
            self.tops[old] = np.maximum.reduceat(self.sums[old], self.starts)
            self.room[old] += self.sides[item]
        self.group[item] = group
        self.sums[group] += self.vectors[item]
        self.tops[group] = np.maximum.reduceat(self.sums[group], self.starts)
        self.room[group] -= self.sides[item]

    @property
    def fits(self) -> bool:
        """Whether no label is needed twice."""
        return bool((self.room >= 0).all())

    def separated(self) -> Packing:
        """Return the same with an item for each hemisphere: an event of the host for each."""
        made = []
        for number, item in enumerate(self.items):
            if item.neuron >= 0:
                made.append((item, [number]))
            else:
                made += [(replace(item, sides=(h,)), [number]) for h in item.sides]
        return self._like(made)

    def joined(self) -> Packing:
        """Return the same with one item where those of both hemispheres are in one group."""
        together: dict[tuple[int, int, int], list[int]] = {}
        for number, item in enumerate(self.items):
            own = number if item.background else -1
            together.setdefault((item.source, int(self.group[number]), own), []).append(number)
        made = []
        for olds in together.values():
            sides = tuple(sorted(h for old in olds for h in self.items[old].sides))
            made.append((replace(self.items[olds[0]], sides=sides), olds))
        return self._like(made)

    def _like(self, made: Sequence[tuple[Item, list[int]]]) -> Packing:
        """Return a packing of other items, each in the group of those it is made of."""
        sizes = np.diff([*self.starts, self.vectors.shape[1]])
        of_side = np.repeat(np.arange(SEGMENTS) // 2, sizes) == np.arange(HEMISPHERES)[:, None]
        vectors = np.zeros((len(made), self.vectors.shape[1]), np.float32)
        for number, (item, olds) in enumerate(made):
            vectors[number] = self.vectors[olds].sum(0) * of_side[list(item.sides)].any(0)
        found = Packing([item for item, _ in made], vectors, self.starts, self.size)
        for number, (_, olds) in enumerate(made):
            found.put(number, int(self.group[olds[0]]))
        return found

    def tops_with(self, item: int) -> Array:
        """Return what `tops` would be of every group that had an item besides, [group, segment]."""
        used = np.flatnonzero(self.vectors[item])
        tops = self.tops.copy()
        if len(used):
            segments = np.searchsorted(self.starts, used, "right") - 1
            there, first = np.unique(segments, return_index=True)
            sums = self.sums[:, used] + self.vectors[item, used]
            tops[:, there] = np.maximum(tops[:, there], np.maximum.reduceat(sums, first, axis=1))
        return tops

    def rows(self, tops: Array | None = None) -> Array:
        """Return rows needed, [group, segment], with these maxima instead of those there are."""
        found: Array = np.ceil((self.tops if tops is None else tops) - 1e-3).astype(np.int64)
        return found

    def drivers(self, tops: Array | None = None) -> Array:
        """Return drivers needed, [group, hemisphere], with these maxima."""
        rows = self.rows(tops)
        found: Array = (rows[:, 0::2] + rows[:, 1::2] + 1) // 2
        return found

    def loads(self) -> Array:
        """Return drivers needed, [bus, hemisphere]."""
        found: Array = self.drivers().reshape(BUSES, self.size, HEMISPHERES).sum(1)
        return found


def measure(
    demand: Demand, sites: Sites, side: Array, items: Sequence[Item]
) -> tuple[Array, Array]:
    """Return vectors [item, place] of the synapses of items, and where their segments start."""
    index = np.full((HEMISPHERES, demand.channels + demand.neurons), -1)
    for number, item in enumerate(items):
        for hemisphere in item.sides:
            index[hemisphere, item.source] = number
    place = np.zeros((SEGMENTS, demand.neurons), np.int64)
    starts, total = [], 0
    for segment in range(SEGMENTS):
        starts.append(total)
        there = np.flatnonzero(sites.columns[segment // 2])
        place[segment, there] = total + np.arange(len(there))
        total += len(there) + 1  # one place more: a segment is never empty
    vectors = np.zeros((len(items), total), np.float32)
    at = 2 * side + (demand.weight < 0)
    share = demand.count / sites.columns[side, demand.post]
    np.add.at(vectors, (index[side, demand.pre], place[at, demand.post]), share)
    return vectors, np.array(starts)


def items_of(demand: Demand, side: Array) -> list[Item]:
    """Return what has to be put into groups: all neurons, and channels that reach synapses.

    Args:
        demand: What is to be realised.
        side: Hemisphere of every entry.
    """
    reach = np.zeros((demand.channels + demand.neurons, HEMISPHERES), bool)
    reach[demand.pre, side] = True
    background = {
        demand.first[s.name] + i
        for s in demand.network.sources.values()
        if s.kind == "constant" and s.background
        for i in range(s.size)
    }
    items = []
    active = np.flatnonzero(reach[: demand.channels].any(1))
    for source in [*active.tolist(), *range(demand.channels, demand.channels + demand.neurons)]:
        sides = tuple(int(h) for h in np.flatnonzero(reach[source]))
        if source >= demand.channels:
            items.append(Item(source, sides, source - demand.channels, False))
        elif source in background:
            items.extend(Item(source, (h,), -1, source in background) for h in sides)
        elif sides:
            items.append(Item(source, sides, -1, False))
    return items


def start(demand: Demand, sites: Sites, side: Array, chip: Chip) -> Packing | None:
    """Return a packing in which every item is in a group, or None where labels run out."""
    items = items_of(demand, side)
    vectors, starts = measure(demand, sites, side, items)
    reach = np.array([[h in item.sides for h in range(HEMISPHERES)] for item in items], bool)
    reach = reach.reshape(-1, HEMISPHERES)
    outputs = np.array(
        [chip.event_output(sites.blocks[i.neuron][0]) if i.neuron >= 0 else -1 for i in items],
        np.int64,
    )
    own = np.stack(
        [reach[(outputs >= 0) & (outputs % BUSES == bus)].sum(0) for bus in range(BUSES)]
    )
    merged = np.array([bool((there <= LABELS).all()) for there in own])
    free = np.flatnonzero(outputs < 0)
    least = int(np.ceil((own.sum(0) + reach[free].sum(0)).max(initial=0) / (BUSES * LABELS)))
    least = max(1, least, *(np.where(merged, 1, 2)))
    order = sorted(free, key=lambda i: (not items[i].background, -vectors[i].sum(), i))
    for size in range(least, min(least + 2, chip.drivers) + 1):
        packing = Packing(items, vectors, starts, size)
        for number in np.flatnonzero(outputs >= 0):
            bus, output = outputs[number] % BUSES, outputs[number]
            packing.put(int(number), int(bus * size + (output >= BUSES and not merged[bus])))
        if packing.fits and all(_put_best(packing, int(number)) for number in order):
            return packing
    return None


def _put_best(packing: Packing, number: int) -> bool:
    """Put an item where the fullest bus stays emptiest; whether there is a place."""
    item = packing.items[number]
    fits = np.asarray((packing.room[:, list(item.sides)] > 0).all(1))
    if item.background:
        for other, there in enumerate(packing.items):
            if there.background and packing.group[other] >= 0 and there.sides == item.sides:
                bus = packing.group[other] // packing.size
                fits[bus * packing.size : (bus + 1) * packing.size] = False
    if not fits.any():
        return False
    now = packing.drivers()
    more = packing.drivers(packing.tops_with(number)) - now
    loads = now.reshape(BUSES, packing.size, HEMISPHERES).sum(1).repeat(packing.size, axis=0) + more
    fullest = loads[:, list(item.sides)].max(1)
    used = packing.vectors[number] > 0
    # Of places that are as good, one where the columns of the item are the emptiest.
    crowd = np.exp(np.minimum(packing.sums[:, used] - packing.tops.max(), 0)).sum(1)
    # The last key counts most; what is equal in all stays in order.
    packing.put(number, int(np.lexsort((crowd, more.sum(1), fullest, ~fits))[0]))
    return True
