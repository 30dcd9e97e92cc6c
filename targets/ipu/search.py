"""How fine each group of stages is cut, and in which form its values travel.

Groups are settled one after the other, twice: each takes the cut that makes its own stages and
those that read its values fastest, and of the cuts that are about as fast the one with the fewest
tiles. Where memory is short, tiles are limited to fewer bytes of each group.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from snnir.ir.graph import Value
from snnir.targets.ipu.cost import EXCHANGE_BYTES
from snnir.targets.ipu.forms import AUTO, cuts, forms_of, grain_of, stream_of
from snnir.targets.ipu.machine import WORKERS
from snnir.targets.ipu.memory import BITS, Stream
from snnir.targets.ipu.plan import Sent
from snnir.targets.ipu.sizes import Sizer
from snnir.targets.ipu.structure import COMPUTE, INPUT, Stage, Structure

#: A cut may be so much slower than the fastest, if it takes fewer tiles.
SLACK = 0.05
#: Each number of tiles that is tried is so much larger than the one before.
STEP = 1.3
#: Parts that a tile may have of what is hardly computed; few large ones are sent in less room.
FEW_WORKERS = (WORKERS, 3, 2, 1)
#: Values of a group whose forms are tried in all combinations; others keep their first form.
MOST_TOGETHER = 3


@dataclass(frozen=True)
class Choice:
    """How a group of stages is cut.

    Attributes:
        per: Elements of a part.
        workers: Parts of a tile.
        tiles: Tiles it takes.
        forms: Of the values it gives.
    """

    per: int
    workers: int
    tiles: int
    forms: tuple[tuple[Value, str], ...]


@dataclass(frozen=True)
class Load:
    """What a choice takes.

    Attributes:
        cycles: Of a step: its stages, what they receive, and the stages that read its values.
        own: Of these, the group's.
        bytes: Most bytes of a tile, with all that it receives.
        whole: Bytes of all tiles, likewise.
    """

    cycles: int
    own: int
    bytes: int
    whole: int


@dataclass(frozen=True)
class Wish:
    """What a search is for.

    Attributes:
        most: Bytes of a tile that a group may take, if it can be cut so fine.
        fewest: Whether tiles count before time.
        events: `AUTO`, or the form that spikes shall have where they can.
    """

    most: int
    fewest: bool = False
    events: str = AUTO


@dataclass
class Search:
    """Finds a choice for each group.

    Attributes:
        structure: The stages.
        sizer: Measures them.
        limits: Tiles that each group may take, by number of the group.
    """

    structure: Structure
    sizer: Sizer
    limits: list[int]
    _readers: dict[int, list[Stage]] = field(default_factory=dict, repr=False)
    _near: dict[int, list[int]] = field(default_factory=dict, repr=False)
    _loads: dict[Any, list[tuple[Choice, Load]]] = field(default_factory=dict, repr=False)
    _finest: dict[tuple[int, str, int], Choice] = field(default_factory=dict, repr=False)

    @cached_property
    def groups(self) -> list[list[Stage]]:
        """The stages of each group."""
        stages = self.structure.stages
        return [[stages[name] for name in group] for group in self.structure.groups]

    @cached_property
    def group_of(self) -> dict[str, int]:
        """The number of the group of each stage."""
        return {stage.name: n for n, group in enumerate(self.groups) for stage in group}

    def readers(self, number: int) -> list[Stage]:
        """Return the stages of other groups that read values of one."""
        if number not in self._readers:
            own = {value for stage in self.groups[number] for value in stage.results}
            self._readers[number] = [
                stage
                for stage in self.structure.stages.values()
                if self.group_of[stage.name] != number
                and any(read.source in own for read in stage.reads)
            ]
        return self._readers[number]

    def near(self, number: int) -> list[int]:
        """Return the groups on whose choices the loads of one depend."""
        if number not in self._near:
            stages = [*self.groups[number], *self.readers(number)]
            read = {read.source.node for stage in stages for read in stage.reads}
            found = {self.group_of[name] for name in {*read, *(stage.name for stage in stages)}}
            self._near[number] = sorted(found - {number})
        return self._near[number]

    # --- Candidates ------------------------------------------------------------------------------

    def forms(self, number: int, events: str) -> Iterator[tuple[tuple[Value, str], ...]]:
        """Yield the forms that the values of a group may have together."""
        values = [value for stage in self.groups[number] for value in stage.results]
        known = {value: forms_of(self.structure, value, events) for value in values}
        free = [value for value in values if len(known[value]) > 1][:MOST_TOGETHER]
        for own in product(*(known[value] for value in free)):
            yield tuple(
                ({v: known[v][0] for v in values} | dict(zip(free, own, strict=True))).items()
            )

    def candidates(self, number: int, events: str, limit: int) -> Iterator[Choice]:
        """Yield the ways to cut a group, in every form of its values."""
        stages = self.groups[number]
        size = stages[0].size
        for forms in self.forms(number, events):
            grain = grain_of(self.structure, stages, dict(forms))
            computes = any(stage.kind == COMPUTE for stage in stages)
            seen = set()
            for tiles in _numbers(min(limit, size)):
                for workers in (WORKERS,) if computes else FEW_WORKERS:
                    seen.update(cuts(size, tiles, grain, workers))
            for per, workers in sorted(seen):
                parts = -(-size // per)
                used = -(-parts // workers)
                if used <= limit:
                    yield Choice(per, workers, used, forms)

    # --- One group -------------------------------------------------------------------------------

    def streams_of(self, choice: Choice) -> dict[Value, Stream]:
        """Return the values of a group as a choice keeps them."""
        batch = self.sizer.batch
        return {
            value: stream_of(self.structure, value, form, choice.per, batch)
            for value, form in choice.forms
        }

    def load(
        self,
        number: int,
        choice: Choice,
        choices: Mapping[int, Choice],
        streams: dict[Value, Stream],
    ) -> Load:
        """Return what a choice takes while the others are as they are."""
        own = self.streams_of(choice)
        known = ChainMap(own, streams)
        cycles = local = single = whole = 0
        images: dict[Sent, int] = {}
        for stage in self.groups[number]:
            found = self.sizer.summary(stage, known, choice.workers)
            local += found.cycles
            single += found.own
            whole += found.whole
            for key, size in found.images.items():
                images[key] = max(images.get(key, 0), size)
        local += sum(images.values()) // EXCHANGE_BYTES
        received: dict[Sent, int] = {}
        for stage in self.readers(number):
            workers = choices[self.group_of[stage.name]].workers
            found = self.sizer.summary(stage, known, workers)
            cycles += found.cycles
            for key, size in found.images.items():
                if key[0] in own:
                    received[key] = max(received.get(key, 0), size)
        for (value, _), size in received.items():
            cycles += max(size, choice.workers * own[value].part_bytes) // EXCHANGE_BYTES
        together = sum(images.values())
        return Load(cycles + local, local, single + together, whole + choice.tiles * together)

    def loads(
        self, number: int, events: str, choices: Mapping[int, Choice], streams: dict[Value, Stream]
    ) -> list[tuple[Choice, Load]]:
        """Return all ways to cut a group with what they take, while the others are as they are."""
        limit, others = self.limits[number], tuple(choices[n] for n in self.near(number))
        key = number, events, limit, others
        if key not in self._loads:
            self._loads[key] = [
                (choice, self.load(number, choice, choices, streams))
                for choice in self.candidates(number, events, limit)
            ]
        return self._loads[key]

    def settle(
        self, number: int, wish: Wish, choices: Mapping[int, Choice], streams: dict[Value, Stream]
    ) -> Choice:
        """Return the best choice of a group while the others are as they are."""
        found = self.loads(number, wish.events, choices, streams)
        allowed = [one for one in found if one[1].bytes <= wish.most]
        if not allowed:
            least = min(load.bytes for _, load in found)
            allowed = [one for one in found if one[1].bytes == least]
        if wish.fewest:
            return min(allowed, key=lambda one: (one[1].whole, one[0].tiles, one[1].cycles))[0]
        best = min(allowed, key=lambda one: one[1].cycles)[1]
        slow = best.cycles + SLACK * best.own
        near = [one for one in allowed if one[1].cycles <= slow]
        return min(near, key=lambda one: (one[0].tiles, one[1].cycles, one[1].bytes))[0]

    # --- All groups ------------------------------------------------------------------------------

    def run(self, wish: Wish) -> tuple[list[Choice], dict[Value, Stream]]:
        """Return a choice for each group, and the values as they are kept."""
        choices = {n: self.finest(n, wish.events) for n in range(len(self.groups))}
        streams: dict[Value, Stream] = {}
        for choice in choices.values():
            streams.update(self.streams_of(choice))
        for _ in range(2):
            before = dict(choices)
            for number in range(len(self.groups)):
                choices[number] = self.settle(number, wish, choices, streams)
                streams.update(self.streams_of(choices[number]))
            if choices == before:
                break
        return list(choices.values()), streams

    def finest(self, number: int, events: str) -> Choice:
        """Return the finest cut of a group, in the first form of its values."""
        key = number, events, self.limits[number]
        if key not in self._finest:
            forms = next(self.forms(number, events))
            found = [c for c in self.candidates(*key) if c.forms == forms]
            self._finest[key] = max(found, key=lambda choice: (choice.tiles, -choice.per))
        return self._finest[key]


def work_of(search: Search) -> list[int]:
    """Return the cycles of all workers for each group, cut as fine as can be."""
    choices = [search.finest(n, BITS) for n in range(len(search.groups))]
    streams: dict[Value, Stream] = {}
    for choice in choices:
        streams.update(search.streams_of(choice))
    return [
        sum(search.sizer.summary(stage, streams, choice.workers).work for stage in group)
        for group, choice in zip(search.groups, choices, strict=True)
    ]


def shares(search: Search, tiles: int) -> list[int]:
    """Return the tiles each group may take so that those of a level find room side by side."""
    work = work_of(search)
    levels: dict[int, int] = {}
    for group, own in zip(search.groups, work, strict=True):
        for level in {stage.level for stage in group if stage.kind != INPUT}:
            levels[level] = levels.get(level, 0) + own
    found = []
    for group, own in zip(search.groups, work, strict=True):
        busy = max((levels[s.level] for s in group if s.kind != INPUT), default=0)
        found.append(max(1, tiles * own // busy) if own and busy else tiles)
    return found


def _numbers(most: int) -> list[int]:
    """Return numbers of tiles from 1 to the most, each about `STEP` times the one before."""
    found, value = [], 1.0
    while value < most:
        found.append(int(value))
        value = max(value * STEP, int(value) + 1)
    return [*found, most]
