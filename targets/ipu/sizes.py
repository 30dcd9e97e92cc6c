"""What a stage takes for one way to cut it, without a plan of the tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.ir.graph import Value
from snnir.targets.ipu.machine import WORKERS
from snnir.targets.ipu.memory import ITEM_BYTES, Array, Stream, rounded
from snnir.targets.ipu.plan import Sent
from snnir.targets.ipu.structure import INPUT, Stage, Structure
from snnir.targets.ipu.vertices import Vertices

Streams = Mapping[Value, Stream]


@dataclass(frozen=True)
class Bundles:
    """What lies on a tile: of a stage, the parts of one tile after the other.

    Attributes:
        own: Bytes of fields, results and vertices, [bundles].
        cycles: Of the slowest worker, [bundles].
        images: Of each value that is received, the items of a sample: low to high - 1, and the
            bytes they take, [bundles] each.
    """

    own: Array
    cycles: Array
    images: Mapping[Sent, tuple[Array, Array, Array]]


@dataclass(frozen=True)
class Summary:
    """The most that a tile has of a stage, and all of it.

    Attributes:
        own, cycles: The largest of bundles.
        images: The largest, by value.
        whole: Bytes of all bundles, without images.
        work: Cycles of all workers.
    """

    own: int
    cycles: int
    images: Mapping[Sent, int]
    whole: int
    work: int


@dataclass
class Sizer:
    """Measures stages; keeps what it found.

    Attributes:
        structure: The stages.
        batch: Samples that are stepped together.
        half: Whether synaptic weights are kept in 16 bits.
        activity: Share of spikes that is assumed to be 1.
    """

    structure: Structure
    batch: int
    half: bool
    activity: float
    _known: dict[Any, Summary] = field(default_factory=dict, repr=False)

    def summary(self, stage: Stage, streams: Streams, workers: int) -> Summary:
        """Return the most that a tile has of a stage."""
        used = {*stage.results, *(read.source for read in stage.reads)}
        key = stage.name, workers, *(streams[value] for value in sorted(used, key=str))
        if key not in self._known:
            self._known[key] = self._summary(stage, streams, workers)
        return self._known[key]

    def _summary(self, stage: Stage, streams: Streams, workers: int) -> Summary:
        found = self.bundles(stage, streams, workers)
        images = {key: int(size.max()) for key, (_, _, size) in found.images.items()}
        own, cycles = int(found.own.max()), int(found.cycles.max())
        return Summary(own, cycles, images, int(found.own.sum()), int(found.cycles.sum()))

    def bundles(self, stage: Stage, streams: Streams, workers: int) -> Bundles:
        """Return what every tile has of a stage."""
        cut = streams[stage.results[0]].cut
        firsts = np.arange(0, cut.parts, workers)
        if stage.kind == INPUT:
            each = np.full(cut.parts, rounded(streams[stage.results[0]].part_bytes), np.int64)
            return Bundles(np.add.reduceat(each, firsts), np.zeros(len(firsts), np.int64), {})
        vertices = Vertices(self.structure, stage, streams, self.batch, self.half)
        cycles = np.ceil(vertices.work(self.activity) * WORKERS).astype(np.int64)
        return Bundles(
            np.add.reduceat(vertices.part_bytes(), firsts),
            np.maximum.reduceat(cycles, firsts),
            self._images(vertices, firsts),
        )

    def _images(
        self, vertices: Vertices, firsts: Array
    ) -> Mapping[Sent, tuple[Array, Array, Array]]:
        found: dict[Sent, tuple[Array, Array, Array]] = {}
        for read, leaf in zip(vertices.stage.reads, vertices.leaves, strict=True):
            if leaf.is_local:
                continue
            low, high = leaf.reach()
            low, high = leaf.stream.span(low, np.maximum(high, low + 1))
            low, high = np.minimum.reduceat(low, firsts), np.maximum.reduceat(high, firsts)
            key = read.source, read.late
            if key in found:
                before = found[key]
                low, high = np.minimum(low, before[0]), np.maximum(high, before[1])
            size = rounded((high - low) * self.batch * ITEM_BYTES[leaf.stream.item])
            found[key] = low, high, size
        return found
