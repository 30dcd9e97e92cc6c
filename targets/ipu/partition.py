"""The partitioner: how values are cut and sent, and which tile has which parts.

A model gets as few IPUs as hold it. On so many, plans are tried from the fastest on to those that
take the least memory, and the first that fits is taken: with several IPUs the faster of two, one
with the stages along the flow each on one IPU, one with all of them over all IPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from snnir.errors import Diagnostic
from snnir.targets.ipu.assignment import Rules, assign
from snnir.targets.ipu.cost import step_cycles
from snnir.targets.ipu.forms import AUTO
from snnir.targets.ipu.machine import Machine
from snnir.targets.ipu.memory import BITS
from snnir.targets.ipu.plan import Plan
from snnir.targets.ipu.search import Search, Wish, shares
from snnir.targets.ipu.sizes import Sizer
from snnir.targets.ipu.structure import Structure
from snnir.targets.ipu.totals import least_bytes, too_large

#: Shares of a tile that a group may take, in plans that are to be fast and in those to be small.
FAST, SMALL = (1.0, 0.5, 0.25), (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
#: What of the tiles' memory stages along the flow may take of an IPU.
FILLED = 0.9


@dataclass(frozen=True)
class Wishes:
    """What a plan is for.

    Attributes:
        batch: Samples that are stepped together.
        replicas: Copies of the model, each with a machine of its own.
        half: Whether synaptic weights are kept in 16 bits.
        events: `auto`, or the form in which spikes travel where they can.
        activity: Share of spikes that is assumed to be 1.
    """

    batch: int = 1
    replicas: int = 1
    half: bool = False
    events: str = AUTO
    activity: float = 0.1


def partition(
    structure: Structure, machine: Machine, wishes: Wishes
) -> tuple[Plan | None, list[Diagnostic]]:
    """Return a plan, or why there is none.

    Args:
        structure: The stages.
        machine: What a replica may use at most.
        wishes: What the plan is for.
    """
    sizer = Sizer(structure, wishes.batch, wishes.half, wishes.activity)
    closest = None
    for own in machines(machine):
        plan = Partitioner(structure, own, wishes, sizer).plan()
        if plan is not None and plan.fits:
            return plan, []
        closest = plan or closest
    assert closest is not None
    return None, too_large(closest, lambda other, half: _would_fit(structure, other, wishes, half))


def machines(machine: Machine) -> Iterator[Machine]:
    """Yield the machine with one IPU, two, four, up to all of them."""
    ipus = 1
    while ipus <= machine.ipus:
        yield replace(machine, ipus=ipus)
        ipus *= 2


def _would_fit(structure: Structure, machine: Machine, wishes: Wishes, half: bool) -> bool:
    """Return whether another machine, or weights of 16 bits, would do."""
    wishes = replace(wishes, half=half)
    sizer = Sizer(structure, wishes.batch, half, wishes.activity)
    plan = Partitioner(structure, machine, wishes, sizer).plan()
    return plan is not None and plan.fits


@dataclass
class Partitioner:
    """Plans a model on so many IPUs.

    Attributes:
        structure: The stages.
        machine: All of it is used.
        wishes: What the plan is for.
        sizer: Measures stages.
    """

    structure: Structure
    machine: Machine
    wishes: Wishes
    sizer: Sizer

    def plan(self) -> Plan | None:
        """Return the first plan that fits, or else the one whose fullest tile has least."""
        closest: Plan | None = None
        for search, wish in self.tries():
            plans = [plan for plan in self.made(search, wish) if plan is not None]
            fitting = [plan for plan in plans if plan.fits]
            if fitting:
                return min(fitting, key=step_cycles)
            closest = min([*plans, *([closest] if closest else [])], key=lambda plan: plan.fullest)
        return closest

    def tries(self) -> Iterator[tuple[Search, Wish]]:
        """Yield what to look for, the fastest first."""
        count, tiles = len(self.structure.groups), self.machine.all_tiles
        if least_bytes(self.structure, self.wishes.batch, self.wishes.half) > self.machine.capacity:
            widest = Search(self.structure, self.sizer, [tiles] * count)
            yield widest, Wish(self.machine.usable, fewest=True, events=BITS)
            return
        usable, events = self.machine.usable, self.wishes.events
        wide = Search(self.structure, self.sizer, [tiles] * count)
        narrow = replace(wide, limits=shares(wide, tiles))
        yield narrow, Wish(usable, events=events)
        kinds = (AUTO, BITS) if events == AUTO else (events,)
        for kind in kinds:
            for part in FAST:
                yield wide, Wish(int(part * usable), events=kind)
        for kind in kinds:
            for part in SMALL:
                yield wide, Wish(int(part * usable), fewest=True, events=kind)

    def made(self, search: Search, wish: Wish) -> Iterator[Plan | None]:
        """Yield plans for what is looked for."""
        anywhere = [range(self.machine.all_tiles)] * len(search.groups)
        yield self.placed(search, wish, anywhere)
        if self.machine.ipus > 1:
            rooms = self.along(search, wish)
            limits = [min(most, len(room)) for most, room in zip(search.limits, rooms, strict=True)]
            yield self.placed(replace(search, limits=limits), wish, rooms)

    def placed(self, search: Search, wish: Wish, rooms: list[range]) -> Plan:
        """Return the plan of a search, placed so that it fits if one of several ways does."""
        choices, streams = search.run(wish)
        ways = []
        for rules in (Rules(), Rules(apart=False), Rules(apart=False, scattered=True)):
            places, tile_bytes = assign(search, choices, streams, self.machine, rooms, rules)
            ways.append((int(tile_bytes.max()), places))
            if ways[-1][0] <= self.machine.usable:
                break
        places = min(ways, key=lambda way: way[0])[1]
        own = self.wishes
        return Plan(
            self.structure, self.machine, streams, tuple(places), own.batch, own.replicas, own.half,
            own.activity,
        )  # fmt: skip

    def along(self, search: Search, wish: Wish) -> list[range]:
        """Return the tiles of each group: along the flow, one IPU after the other is filled.

        What no IPU holds has the tiles of all.
        """
        tiles = self.machine.tiles
        one = replace(search, limits=[min(most, tiles) for most in search.limits])
        choices, streams = one.run(wish)
        loads = [
            one.load(number, choice, dict(enumerate(choices)), streams).whole
            for number, choice in enumerate(choices)
        ]
        wide = FILLED * self.machine.usable * tiles
        shared = sum(load for load in loads if load > wide) / self.machine.ipus
        found, ipu, filled = [], 0, shared
        for load in loads:
            if load > wide:
                found.append(range(self.machine.all_tiles))
                continue
            if filled + load > wide and ipu + 1 < self.machine.ipus:
                ipu, filled = ipu + 1, shared
            filled += load
            found.append(range(ipu * tiles, (ipu + 1) * tiles))
        return found
