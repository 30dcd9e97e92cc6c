"""Which tile has which parts: so that the fullest tile is as little full as possible.

Groups are placed one after the other, those with the largest pieces first, each on the tiles that
have most room; the largest piece goes where there is most.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.ir.graph import Value
from snnir.targets.ipu.machine import WORKERS, Machine
from snnir.targets.ipu.memory import ITEM_BYTES, Array, Stream, rounded
from snnir.targets.ipu.plan import Placement, Sent
from snnir.targets.ipu.search import Choice, Search
from snnir.targets.ipu.sizes import Bundles
from snnir.targets.ipu.structure import INPUT, Stage

#: Pieces of a group are dealt part by part if the largest is so much larger than their mean.
UNEVEN = 1.1
#: Pieces stay in order if the fullest tile is no more than this times fuller for it.
NEARLY = 1.02


@dataclass(frozen=True)
class Rules:
    """How groups are placed.

    Attributes:
        apart: Whether stages of a level shall not share tiles, before tiles are filled evenly.
        scattered: Whether groups of uneven pieces are dealt part by part.
    """

    apart: bool = True
    scattered: bool = False


@dataclass
class Tiles:
    """What lies on tiles so far.

    Attributes:
        machine: The tiles.
        streams: Every value as it is kept.
        bytes: Of each tile.
        busy: Cycles of each tile, by level.
        windows: What each tile receives of a value, low to high - 1.
    """

    machine: Machine
    streams: Mapping[Value, Stream]
    bytes: Array = field(init=False)
    busy: dict[int, Array] = field(default_factory=dict)
    windows: dict[Sent, tuple[Array, Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bytes = np.zeros(self.machine.all_tiles, np.int64)

    def work(self, levels: set[int]) -> Array:
        """Return the cycles of each tile in some levels."""
        found = np.zeros(self.machine.all_tiles, np.int64)
        for level in levels:
            found += self.busy.get(level, 0)
        return found

    def window(self, key: Sent) -> tuple[Array, Array]:
        """Return what each tile receives of a value; of nothing the end comes before the begin."""
        if key not in self.windows:
            count, width = self.machine.all_tiles, self.streams[key[0]].width
            self.windows[key] = np.full(count, width, np.int64), np.zeros(count, np.int64)
        return self.windows[key]

    def size(self, key: Sent, low: Array, high: Array) -> Array:
        """Return the bytes of items low to high - 1 of every sample."""
        stream = self.streams[key[0]]
        width = np.maximum(high - low, 0) * stream.batch * ITEM_BYTES[stream.item]
        found: Array = rounded(width)
        return found

    def extra(self, key: Sent, low: Array, high: Array) -> Array:
        """Return the bytes that each tile would need more to receive the same window."""
        if (low != low[0]).any() or (high != high[0]).any():
            return np.full(self.machine.all_tiles, int(self.size(key, low, high).max()))
        own, end = self.window(key)
        wider = self.size(key, np.minimum(own, low[0]), np.maximum(end, high[0]))
        more: Array = wider - self.size(key, own, end)
        return more

    def put(self, tiles: Array, bundles: Bundles, levels: Mapping[int, Array]) -> None:
        """Add bundles to tiles; a tile may be named more than once."""
        np.add.at(self.bytes, tiles, bundles.own)
        for level, cycles in levels.items():
            self.busy.setdefault(level, np.zeros(self.machine.all_tiles, np.int64))
            np.add.at(self.busy[level], tiles, cycles)
        for key, (low, high, _) in bundles.images.items():
            own, end = self.window(key)
            before = self.size(key, own, end)
            np.minimum.at(own, tiles, low)
            np.maximum.at(end, tiles, high)
            self.bytes += self.size(key, own, end) - before


def assign(
    search: Search,
    choices: Sequence[Choice],
    streams: Mapping[Value, Stream],
    machine: Machine,
    rooms: Sequence[range],
    rules: Rules,
) -> tuple[list[Placement], Array]:
    """Place all groups.

    Args:
        search: Has the groups.
        choices: How each group is cut.
        streams: Every value as it is kept.
        machine: The tiles.
        rooms: The tiles on which each group may lie.
        rules: How.

    Returns:
        The placement of each group, and the bytes of each tile.
    """
    state = Tiles(machine, streams)
    pieces = [
        _together(search, group, streams, choice.workers)
        for group, choice in zip(search.groups, choices, strict=True)
    ]
    found: dict[int, Placement] = {}
    heavy = [int(_weight(bundles).max()) for bundles, _ in pieces]
    for number in sorted(range(len(pieces)), key=lambda n: -heavy[n]):
        choice, group, room = choices[number], search.groups[number], rooms[number]
        names = tuple(stage.name for stage in group)
        bundles, levels = pieces[number]
        weight = _weight(bundles)
        if rules.scattered and choice.workers > 1 and weight.max() > UNEVEN * weight.mean():
            bundles, levels = _together(search, group, streams, 1)
            tiles = _dealt(state, bundles, levels, room, choice.tiles)
            found[number] = Placement(names, choice.per, 1, tuple(tiles.tolist()))
        else:
            tiles = _matched(state, bundles, levels, room, rules)
            found[number] = Placement(names, choice.per, choice.workers, tuple(tiles.tolist()))
        state.put(tiles, bundles, levels)
    return [found[number] for number in range(len(pieces))], state.bytes


def _together(
    search: Search, group: Sequence[Stage], streams: Mapping[Value, Stream], workers: int
) -> tuple[Bundles, dict[int, Array]]:
    """Return what each tile has of all stages of a group, and its cycles by level."""
    levels: dict[int, Array] = {}
    images: dict[Sent, tuple[Array, Array, Array]] = {}
    own = cycles = np.zeros(1, np.int64)
    for stage in group:
        bundles = search.sizer.bundles(stage, streams, workers)
        own = own + bundles.own
        if stage.kind != INPUT:
            cycles = cycles + bundles.cycles
            levels[stage.level] = levels.get(stage.level, 0) + bundles.cycles
        for key, window in bundles.images.items():
            images[key] = _joined(images.get(key, window), window)
    return Bundles(own, cycles, images), levels


def _joined(
    one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    low, high = np.minimum(one[0], other[0]), np.maximum(one[1], other[1])
    return low, high, np.maximum(one[2], other[2])


def _weight(bundles: Bundles) -> Array:
    total = bundles.own.copy()
    for _, _, size in bundles.images.values():
        total += size
    return total


def _by_room(
    state: Tiles, bundles: Bundles, levels: Mapping[int, Array], room: range, apart: bool
) -> tuple[Array, Array]:
    """Return the tiles of a room, best first, and the bytes of each with what it would receive."""
    tiles = np.arange(room.start, room.stop)
    filled = state.bytes.copy()
    for key, (low, high, _) in bundles.images.items():
        filled += state.extra(key, low, high)
    filled = filled[tiles]
    busy = state.work(set(levels))[tiles] if apart else np.zeros_like(filled)
    order = np.lexsort((filled, busy))
    return tiles[order], filled[order]


def _matched(
    state: Tiles, bundles: Bundles, levels: Mapping[int, Array], room: range, rules: Rules
) -> Array:
    """Return the tile of each bundle, no two on one."""
    count = len(bundles.own)
    tiles, filled = _by_room(state, bundles, levels, room, rules.apart)
    tiles, filled = tiles[:count], filled[:count]
    weight = _weight(bundles)
    order = np.empty(count, np.int64)
    order[np.argsort(-weight, kind="stable")] = np.lexsort((tiles, filled))
    # Neighbours stay neighbours, as those who read them want it, unless that fills a tile more.
    plain = np.argsort(tiles)
    if (filled[plain] + weight).max() <= NEARLY * (filled[order] + weight).max():
        order = plain
    found: Array = tiles[order]
    return found


def _dealt(
    state: Tiles, parts: Bundles, levels: Mapping[int, Array], room: range, count: int
) -> Array:
    """Return the tile of each part: the heaviest first, where there is most room.

    A tile gets no more parts than it has workers.
    """
    tiles, filled = _by_room(state, parts, levels, room, apart=False)
    free = list(
        zip(filled[:count].tolist(), tiles[:count].tolist(), [WORKERS] * count, strict=True)
    )
    heapq.heapify(free)
    found = np.empty(len(parts.own), np.int64)
    own = parts.own.tolist()
    for part in np.argsort(-parts.own, kind="stable").tolist():
        filled_tile, tile, workers = heapq.heappop(free)
        found[part] = tile
        if workers > 1:
            heapq.heappush(free, (filled_tile + own[part], tile, workers - 1))
    return found
