"""Labels of sources, row-select addresses of groups, and drivers that tell them apart.

Lowest 8 bits of a neuron's label are free: 6 of them its synapse label, 2 of them a code that says
which hemispheres have no synapses for it. Nodes from event outputs to buses compare a bit of this
code each, so a bus gets no events that nothing there wants.

An event of the host enters by the link of the number of its bus. Its bits 12 and 13 keep it from
hemisphere 0 and 1: without them it reaches that bus of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.matching import Addresses, free_addresses, match
from snnir.targets.bss2.routing.packing import Packing

#: Bits of an event of the host that keep it from a hemisphere.
NOT_IN = (1 << 12, 1 << 13)
#: Tries of addresses for a bus.
MOST_TRIES = 800

Sides = tuple[int, ...]


@dataclass(frozen=True)
class Code:
    """What the two free bits of row-select of an event output's neurons are.

    Attributes:
        bits: Which bit says that a neuron has no synapses in hemisphere 0 (1).
        flip: Bits that mean this by being 0.
    """

    bits: tuple[int, int]
    flip: int

    def of(self, sides: Sides) -> int:
        """Return the code of neurons with synapses in these hemispheres."""
        return self.flip ^ sum(self.bits[h] for h in range(HEMISPHERES) if h not in sides)

    def filter(self, hemisphere: int) -> tuple[int, int]:
        """Return (mask, target) of a node that passes events for a hemisphere."""
        bit = self.bits[hemisphere]
        return bit << 6, (self.flip & bit) << 6


CODES = [Code(bits, flip) for flip in (0, 3, 1, 2) for bits in ((2, 1), (1, 2))]


@dataclass
class Addressing:
    """How events of items are told apart.

    Attributes:
        label, address: Synapse label and row-select address of every item.
        codes: By event output.
        drivers: Drivers (numbers on their bus) of a group by (hemisphere, group).
        reached: Addresses of a group's events by (hemisphere, group).
    """

    label: Array
    address: Array
    codes: dict[int, Code] = field(default_factory=dict)
    drivers: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    reached: dict[tuple[int, int], Addresses] = field(default_factory=dict)


def assign(packing: Packing, outputs: Array, drivers: int) -> Addressing | int:
    """Return labels, addresses and drivers, or the bus for which there are none.

    Args:
        packing: Items in groups.
        outputs: Event output of every item of a neuron, -1 of others.
        drivers: Drivers of a bus.
    """
    found = Addressing(_labels(packing, outputs), np.zeros(len(packing.items), np.int64))
    for bus in range(BUSES):
        if not _assign_bus(packing, outputs, drivers, bus, found):
            return bus
    return found


def _labels(packing: Packing, outputs: Array) -> Array:
    """Return labels: different ones within a group where items meet in a hemisphere."""
    labels = np.zeros(len(packing.items), np.int64)
    taken: dict[int, list[int]] = {}
    silent: dict[int, int] = {}
    order = sorted(range(len(packing.items)), key=lambda i: -len(packing.items[i].sides))
    for i in order:
        sides = packing.items[i].sides
        if not sides:
            output = int(outputs[i])
            labels[i] = silent.get(output, 0)
            silent[output] = int(labels[i]) + 1
            continue
        used = taken.setdefault(int(packing.group[i]), [0, 0])
        labels[i] = max(used[h] for h in sides)
        for h in sides:
            used[h] = int(labels[i]) + 1
    return labels


def _assign_bus(
    packing: Packing, outputs: Array, drivers: int, bus: int, found: Addressing
) -> bool:
    """Add what a bus needs; whether its groups can be told apart."""
    groups = range(bus * packing.size, (bus + 1) * packing.size)
    members = {g: np.flatnonzero((packing.group == g) & packing.sides.any(1)) for g in groups}
    members = {g: m for g, m in members.items() if len(m)}
    homes = {g: sorted({int(o) for o in outputs[m] if o >= 0}) for g, m in members.items()}
    alone = [g for g in members if not homes[g]]
    demands = packing.drivers()
    mine = list(range(bus, 2 * BUSES, BUSES))
    for codes, own in _choices(packing, outputs, members, homes, mine, len(alone)):
        address = {g: _addresses(packing, outputs, m, homes[g], codes) for g, m in members.items()}
        for g, free in zip(alone, own, strict=True):
            address[g] = np.full(len(members[g]), free)
        result: dict[tuple[int, int], list[int]] = {}
        reached: dict[tuple[int, int], Addresses] = {}
        for h in range(HEMISPHERES):
            here = [g for g in members if packing.sides[members[g], h].any()]
            sets = [
                frozenset(int(a) for a in address[g][packing.sides[members[g], h]]) for g in here
            ]
            matched = match([int(demands[g, h]) for g in here], sets, drivers)
            if matched is None:
                break
            result.update({(h, g): d for g, d in zip(here, matched, strict=True)})
            reached.update({(h, g): s for g, s in zip(here, sets, strict=True)})
        else:
            found.drivers.update(result)
            found.reached.update(reached)
            found.codes.update(codes)
            for g, m in members.items():
                found.address[m] = address[g]
            quiet = (packing.group // packing.size == bus) & ~packing.sides.any(1)
            for i in np.flatnonzero(quiet):
                found.address[i] = int(outputs[i]) << 2 | codes[int(outputs[i])].of(())
            return True
    return False


def _choices(
    packing: Packing,
    outputs: Array,
    members: Mapping[int, Array],
    homes: Mapping[int, Sequence[int]],
    mine: Sequence[int],
    alone: int,
) -> Iterator[tuple[dict[int, Code], tuple[int, ...]]]:
    """Yield codes of event outputs with addresses of groups that have no neurons."""
    apart = sorted(
        itertools.product(CODES, repeat=len(mine)),
        key=lambda codes: -(codes[0].flip ^ codes[-1].flip).bit_count(),
    )
    tries = 0
    for chosen in apart if homes else apart[:1]:
        codes = dict(zip(mine, chosen, strict=True))
        taken = frozenset(
            int(a)
            for g, m in members.items()
            if homes[g]
            for a in _addresses(packing, outputs, m, homes[g], codes)
        )
        for own in itertools.islice(free_addresses(taken, alone), 60 if taken else None):
            yield codes, own
            tries += 1
            if tries >= MOST_TRIES:
                return


def _addresses(
    packing: Packing,
    outputs: Array,
    members: Array,
    homes: Sequence[int],
    codes: Mapping[int, Code],
) -> Array:
    """Return row-select addresses of the members of a group with neurons.

    What the host sends takes an address that neurons of the group have, where there is one.
    """
    found = np.zeros(len(members), np.int64)
    if not homes:
        return found
    present = {(int(outputs[i]), packing.items[i].sides) for i in members if outputs[i] >= 0}
    both = tuple(range(HEMISPHERES))
    for k, i in enumerate(members):
        output, sides = int(outputs[i]), packing.items[i].sides
        if output < 0:
            wanted = [(o, s) for s in (both, sides) for o in homes if (o, s) in present]
            output, sides = wanted[0] if wanted else (homes[0], both)
        found[k] = output << 2 | codes[output].of(sides)
    return found
