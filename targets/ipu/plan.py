"""The plan: which tile has which parts, what every tile receives, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.neuron import Step
from snnir.targets.ipu.machine import WORKERS, Machine
from snnir.targets.ipu.memory import (
    CONSTANT,
    ITEM_BYTES,
    SCRATCH,
    STATE,
    VALUES,
    Array,
    Field,
    Stream,
    rounded,
)
from snnir.targets.ipu.structure import COMPUTE, INPUT, Stage, Structure
from snnir.targets.ipu.vertices import Vertices

#: Kinds of what takes memory: weights and parameters, states, what vertices work with, values
#: where they are computed, what is received of them, vertices.
KINDS = ("constants", "states", "scratch", "values", "images", "gathered", "vertices")
_KIND_OF = {CONSTANT: "constants", STATE: "states", SCRATCH: "scratch"}


#: A value as it is sent: it, and whether what it was in the step before.
Sent = tuple[Value, bool]


@dataclass(frozen=True)
class Placement:
    """Where the parts of a group of stages lie.

    Attributes:
        stages: The stages; they are cut alike.
        per: Elements of a part.
        workers: Parts that a tile has at most, each for one worker.
        tiles: The tile of parts 0 to workers - 1, of the next so many, and so on.
    """

    stages: tuple[str, ...]
    per: int
    workers: int
    tiles: tuple[int, ...]

    def tile_of_parts(self, parts: int) -> Array:
        """Return the tile of each part, [parts]."""
        return np.repeat(np.asarray(self.tiles, np.int64), self.workers)[:parts]


@dataclass(frozen=True)
class Image:
    """What tiles receive of a value, once in every step, before the first stage that reads it.

    Attributes:
        value: The value.
        late: Whether it is what the value was in the step before: then it is sent first of all.
        level: The level before which it is sent otherwise.
        tiles: The tiles that receive it, rising.
        low, high: The items of a sample that each receives: low to high - 1.
    """

    value: Value
    late: bool
    level: int
    tiles: Array
    low: Array
    high: Array


#: Tiles that gather a value, and the parts from which on it is: who reads fewer gets them directly.
GATHERERS, MANY_PARTS = 16, 64


@dataclass(frozen=True)
class Gathering:
    """Tiles on which a value is put together before it is sent on.

    Where many tiles read many parts, sending each part to each tile takes as many pieces as there
    are pairs, and every piece is code on both tiles. So a few tiles collect some of the parts each,
    and send them on in one piece.

    Attributes:
        value: The value.
        each: Parts that each tile collects, in order; the last may have fewer.
        tiles: The tiles.
    """

    value: Value
    each: int
    tiles: Array

    def owners(self, parts: int) -> Array:
        """Return the tile that collects each part, [parts]."""
        return np.repeat(self.tiles, self.each)[:parts]


@dataclass
class Plan:
    """Everything that the program, its emulator and the report are made from.

    Attributes:
        structure: The stages.
        machine: What a replica may use.
        streams: How each value is kept.
        placements: Where every group of stages lies.
        batch: Samples that are stepped together.
        replicas: Copies of the model; each computes other samples.
        half: Whether synaptic weights are kept in 16 bits.
        activity: Share of spikes that is assumed to be 1 where time is estimated.
    """

    structure: Structure
    machine: Machine
    streams: Mapping[Value, Stream]
    placements: tuple[Placement, ...]
    batch: int = 1
    replicas: int = 1
    half: bool = False
    activity: float = 0.1
    _vertices: dict[str, Vertices] = field(default_factory=dict, repr=False)

    # --- Stages ----------------------------------------------------------------------------------

    @property
    def stages(self) -> Mapping[str, Stage]:
        """All stages by name, by level."""
        return self.structure.stages

    def vertices(self, name: str) -> Vertices:
        """Return a stage with its parts."""
        if name not in self._vertices:
            made = Vertices(self.structure, self.stages[name], self.streams, self.batch, self.half)
            self._vertices[name] = made
        return self._vertices[name]

    def levels(self) -> Iterator[tuple[int, list[Stage]]]:
        """Yield the stages that compute, level by level; delays are the last."""
        stages = [stage for stage in self.stages.values() if stage.kind != INPUT]
        for level in sorted({stage.level for stage in stages}):
            yield level, [stage for stage in stages if stage.level == level]

    @cached_property
    def placement(self) -> dict[str, Placement]:
        """The placement of each stage."""
        return {name: place for place in self.placements for name in place.stages}

    def tile_of_parts(self, stage: str) -> Array:
        """Return the tile of each part of a stage, [parts]."""
        parts = self.streams[self.stages[stage].results[0]].cut.parts
        return self.placement[stage].tile_of_parts(parts)

    # --- What is sent ----------------------------------------------------------------------------

    @cached_property
    def images(self) -> dict[Sent, Image]:
        """What tiles receive of each value that is not read where it lies; of some a step late."""
        needs: dict[Sent, list[tuple[int, Array, Array, Array]]] = {}
        for stage in self.stages.values():
            if stage.kind == INPUT:
                continue
            tiles = self.tile_of_parts(stage.name)
            leaves = self.vertices(stage.name).leaves
            for read, leaf in zip(stage.reads, leaves, strict=True):
                if not leaf.is_local:
                    need = (stage.level, tiles, *leaf.reach())
                    needs.setdefault((read.source, read.late), []).append(need)
        return {key: self._image(*key, found) for key, found in needs.items()}

    def _image(
        self, value: Value, late: bool, needs: list[tuple[int, Array, Array, Array]]
    ) -> Image:
        tiles, low, high = (np.concatenate([need[n] for need in needs]) for n in (1, 2, 3))
        stream = self.streams[value]
        high = np.maximum(high, low + 1)  # who needs nothing still has somewhere to look
        lows = np.full(self.machine.all_tiles, stream.cut.size)
        highs = np.zeros(self.machine.all_tiles, np.int64)
        np.minimum.at(lows, tiles, low)
        np.maximum.at(highs, tiles, high)
        own = np.unique(tiles)
        begin, end = stream.span(lows[own], highs[own])
        return Image(value, late, min(need[0] for need in needs), own, begin, end)

    @cached_property
    def gatherings(self) -> dict[Value, Gathering]:
        """How values that many tiles read in many parts are put together first."""
        free = self.machine.usable - np.sum(list(self._own_bytes.values()), axis=0)
        found: dict[Value, Gathering] = {}
        for value in dict.fromkeys(value for value, _ in self.images):
            if self._is_scattered(value):
                gathering = self._gathering(value, free)
                size = self._gathered_bytes(gathering)
                if np.all(size <= free[gathering.tiles]):
                    found[value] = gathering
                    free[gathering.tiles] -= size
        return found

    def _is_scattered(self, value: Value) -> bool:
        """Return whether gathering makes the pieces few of which a value is sent."""
        stream = self.streams[value]
        if stream.cut.parts < MANY_PARTS or (stream.form == VALUES and self.batch > 1):
            return False
        images = [self.images[key] for key in ((value, False), (value, True)) if key in self.images]
        pieces = sum(int((-(-i.high // stream.unit) - i.low // stream.unit).sum()) for i in images)
        after = sum(stream.cut.parts + GATHERERS * len(image.tiles) for image in images)
        return pieces > 2 * after

    def _gathering(self, value: Value, free: Array) -> Gathering:
        """Return the emptiest tiles, each of the IPU on which its first part lies."""
        parts = self.streams[value].cut.parts
        each = -(-parts // GATHERERS)
        ipus = self.tile_of_parts(value.node)[::each] // self.machine.tiles
        tiles = np.zeros(len(ipus), np.int64)
        for ipu in np.unique(ipus):
            own = np.arange(ipu * self.machine.tiles, (ipu + 1) * self.machine.tiles)
            emptiest = own[np.argsort(-free[own], kind="stable")]
            mine = np.flatnonzero(ipus == ipu)
            tiles[mine] = emptiest[: len(mine)]
        return Gathering(value, each, tiles)

    def _gathered_bytes(self, gathering: Gathering) -> Array:
        """Return the bytes that a gathering takes on each of its tiles."""
        stream = self.streams[gathering.value]
        first = np.arange(len(gathering.tiles)) * gathering.each
        parts = np.minimum(gathering.each, stream.cut.parts - first)
        found: Array = rounded(parts * stream.part_bytes)
        return found

    def owners(self, value: Value) -> Array:
        """Return the tile from which each part of a value is sent to who reads it, [parts]."""
        if value in self.gatherings:
            return self.gatherings[value].owners(self.streams[value].cut.parts)
        return self.tile_of_parts(value.node)

    # --- Memory ----------------------------------------------------------------------------------

    def stage_bytes(self, name: str) -> Array:
        """Return the bytes of each part of a stage but for images, [parts]."""
        stage = self.stages[name]
        if stage.kind != INPUT:
            return self.vertices(name).part_bytes()
        stream = self.streams[stage.results[0]]
        return np.full(stream.cut.parts, rounded(stream.part_bytes), np.int64)

    def image_bytes(self, image: Image) -> Array:
        """Return the bytes that an image takes on each of its tiles."""
        stream = self.streams[image.value]
        found: Array = rounded((image.high - image.low) * self.batch * ITEM_BYTES[stream.item])
        return found

    @cached_property
    def bytes_by_kind(self) -> dict[str, Array]:
        """The bytes that each tile of a replica needs, [tiles], by kind as in `KINDS`."""
        found = dict(self._own_bytes)
        found["gathered"] = found["gathered"].copy()
        for gathering in self.gatherings.values():
            np.add.at(found["gathered"], gathering.tiles, self._gathered_bytes(gathering))
        return found

    @cached_property
    def _own_bytes(self) -> dict[str, Array]:
        """The bytes by kind without those that gather."""
        found = {kind: np.zeros(self.machine.all_tiles, np.int64) for kind in KINDS}
        for name, stage in self.stages.items():
            tiles = self.tile_of_parts(name)
            for value in stage.results:
                np.add.at(found["values"], tiles, rounded(self.streams[value].part_bytes))
            if stage.kind == INPUT:
                continue
            vertices = self.vertices(name)
            np.add.at(found["vertices"], tiles, vertices.vertex_bytes())
            for item in vertices.fields:
                np.add.at(found[_KIND_OF[item.role]], tiles, item.bytes)
        for image in self.images.values():
            found["images"][image.tiles] += self.image_bytes(image)
        return found

    @cached_property
    def tile_bytes(self) -> Array:
        """The bytes that every tile of a replica needs, [tiles]."""
        total: Array = np.sum(list(self.bytes_by_kind.values()), axis=0)
        return total

    @property
    def fullest(self) -> int:
        """Bytes of the tile that needs most."""
        return int(self.tile_bytes.max())

    @property
    def fits(self) -> bool:
        """Whether every tile holds what it needs."""
        return self.fullest <= self.machine.usable

    # --- Exchange --------------------------------------------------------------------------------

    def received(self, image: Image) -> Array:
        """Return the bytes of an image that each of its tiles gets from other tiles."""
        return self._from_elsewhere(image, 1)

    def link_bytes(self, image: Image) -> Array:
        """Return the bytes that each IPU gets from others, [IPUs].

        What several of its tiles need counts once.
        """
        found = np.zeros(self.machine.ipus, np.int64)
        if self.machine.ipus == 1:
            return found
        stream = self.streams[image.value]
        owner = self.owners(image.value) // self.machine.tiles
        ipus = image.tiles // self.machine.tiles
        for ipu in np.unique(ipus):
            change = np.zeros(stream.width + 1, np.int64)
            np.add.at(change, image.low[ipus == ipu], 1)
            np.add.at(change, image.high[ipus == ipu], -1)
            needed = np.cumsum(change[:-1]) > 0
            away = np.repeat(owner != ipu, stream.unit)[: stream.width]
            found[ipu] = np.count_nonzero(needed & away)
        return found * self.batch * ITEM_BYTES[stream.item]

    @property
    def exchanged(self) -> int:
        """Bytes that tiles get from others in a step."""
        images = list(self.images.values())
        gathered = [self.gatherings[i.value] for i in images if i.value in self.gatherings]
        return sum(int(self.received(image).sum()) for image in images) + sum(
            int(self.collected(one).sum()) for one in gathered
        )

    def collected(self, gathering: Gathering, tiles: int = 1) -> Array:
        """Return the bytes that each tile of a gathering gets from other tiles, [tiles].

        Args:
            gathering: The gathering.
            tiles: What counts as one place: a tile, or as many as an IPU has.
        """
        stream = self.streams[gathering.value]
        homes = self.tile_of_parts(gathering.value.node) // tiles
        owners = gathering.owners(stream.cut.parts)
        away = np.zeros(self.machine.all_tiles, np.int64)
        np.add.at(away, owners, homes != owners // tiles)
        found: Array = away[gathering.tiles] * stream.part_bytes
        return found

    def _from_elsewhere(self, image: Image, tiles: int) -> Array:
        """Count the bytes whose owner is not among the same so many tiles."""
        stream = self.streams[image.value]
        owner = self.owners(image.value) // tiles
        first = np.arange(stream.cut.parts, dtype=np.int64) * stream.unit
        last = np.minimum(first + stream.unit, stream.width)
        order = np.argsort(owner, kind="stable")
        begin, end = (np.searchsorted(owner[order], image.tiles // tiles + n) for n in (0, 1))
        items: Array = image.high - image.low
        for index in np.flatnonzero(end > begin):
            parts = order[begin[index] : end[index]]
            inner = np.minimum(last[parts], image.high[index]) - np.maximum(
                first[parts], image.low[index]
            )
            items[index] -= np.maximum(inner, 0).sum()
        found: Array = items * self.batch * ITEM_BYTES[stream.item]
        return found

    # --- Time ------------------------------------------------------------------------------------

    def cycles(self, stage: str) -> Array:
        """Return the cycles that each part of a stage takes: a worker has every sixth one."""
        work = self.vertices(stage).work(self.activity)
        cycles: Array = np.ceil(work * WORKERS).astype(np.int64)
        return cycles

    # --- Records ---------------------------------------------------------------------------------

    def recordable_values(self) -> dict[str, Value]:
        """Return the kept value behind the name of every node that has one."""
        roots = {name: self.structure.root(Value(name)) for name in self.structure.graph.nodes}
        return {name: root for name, root in roots.items() if root in self.streams}

    def recordable_states(self) -> dict[str, tuple[str, Field]]:
        """Return stage and field of every state of a population, by `NODE:STATE`."""
        found = {}
        for stage in self.computed:
            if isinstance(self.structure.graph.nodes[stage.name].op, Step):
                for item in self.vertices(stage.name).fields:
                    if item.role == STATE:
                        found[item.label] = (stage.name, item)
        return found

    @property
    def computed(self) -> list[Stage]:
        """The stages that give values within a step."""
        return [stage for stage in self.stages.values() if stage.kind == COMPUTE]
