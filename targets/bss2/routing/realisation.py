"""The execution of an arrangement: every synapse gets a bus and a hemisphere.

Synapses of one channel may be on several buses; then the channel has a part for each, and the host
sends an event for each part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES, MOST_WEIGHT, Chip
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.addressing import Addressing, assign
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.emission import emit
from snnir.targets.bss2.routing.exhaustive import Arrangement
from snnir.targets.bss2.routing.packing import Item, Packing, Sites, measure

#: Synapses by (entry of the demand, bus, hemisphere).
_Shares = dict[tuple[int, int, int], int]


@dataclass(frozen=True)
class _Parts(Demand):
    """A demand whose channels are in parts.

    Attributes:
        origin: Number of every part, and neuron, in the whole demand.
    """

    origin: Array

    def owner(self, number: int) -> tuple[str, int]:
        """Return population and index of a part or neuron."""
        return super().owner(int(self.origin[number]))


def realise(demand: Demand, arrangement: Arrangement, chip: Chip) -> Execution | None:
    """Return the execution of an arrangement, or None where labels or generators do not suffice."""
    sites = Sites.of(arrangement.blocks, chip)
    shares = _shares(demand, arrangement, sites, chip)
    home = {n: chip.event_output(block[0]) % BUSES for n, block in enumerate(arrangement.blocks)}
    parts = sorted(
        {(int(demand.pre[e]), b) for e, b, _ in shares if demand.pre[e] < demand.channels}
    )
    divided, side = _divided(demand, shares, parts)
    items = _items(divided, side)
    if items is None:
        return None
    packing = Packing(items, *measure(divided, sites, side, items), size=1)
    for number, item in enumerate(items):
        packing.put(number, home[item.neuron] if item.neuron >= 0 else parts[item.source][1])
    outputs = [
        chip.event_output(arrangement.blocks[i.neuron][0]) if i.neuron >= 0 else -1 for i in items
    ]
    if not packing.fits:
        return None
    found = assign(packing, np.array(outputs, np.int64), chip.drivers)
    if not isinstance(found, Addressing):
        return None
    return emit(divided, sites, side, packing, found, chip, "every placement tried")


def _shares(demand: Demand, arrangement: Arrangement, sites: Sites, chip: Chip) -> _Shares:
    """Return how many synapses of each entry are where: those of neurons first, on their bus."""
    free: dict[tuple[int, bool], dict[tuple[int, int], int]] = defaultdict(dict)
    for neuron in range(demand.neurons):
        for bus, split in enumerate(arrangement.splits):
            for h in range(HEMISPHERES):
                width = int(sites.columns[h, neuron])
                free[neuron, False][bus, h] = width * split[h]
                free[neuron, True][bus, h] = width * (2 * chip.drivers - split[h])
    found: _Shares = {}
    used: dict[int, set[int]] = defaultdict(set)
    for entry in sorted(range(len(demand.pre)), key=lambda e: (demand.pre[e] < demand.channels, e)):
        source, left = int(demand.pre[entry]), int(demand.count[entry])
        cells = free[int(demand.post[entry]), bool(demand.weight[entry] < 0)]
        mine = list(cells)
        if source >= demand.channels:
            bus = chip.event_output(arrangement.blocks[source - demand.channels][0]) % BUSES
            mine = [at for at in mine if at[0] == bus]
        # Buses that the source has already, then those with most room: fewer events to send.
        for at in sorted(mine, key=lambda at: (at[0] not in used[source], -cells[at], at)):
            taken = min(left, cells[at])
            if taken:
                found[entry, at[0], at[1]] = taken
                used[source].add(at[0])
                cells[at] -= taken
                left -= taken
        if left:
            raise AssertionError("an arrangement without the cells it was found for")
    return found


def _divided(
    demand: Demand, shares: _Shares, parts: Sequence[tuple[int, int]]
) -> tuple[_Parts, Array]:
    """Return the demand with an entry for each share, and the hemisphere of each entry."""
    number = {part: n for n, part in enumerate(parts)}
    done: dict[int, int] = defaultdict(int)
    rows = []
    for (entry, bus, side), count in shares.items():
        source, weight = int(demand.pre[entry]), int(demand.weight[entry])
        if source < demand.channels:
            source = number[source, bus]
        else:
            source += len(parts) - demand.channels
        done[entry] += count
        # All synapses of a weight have the largest weight, but the last.
        size = MOST_WEIGHT * count
        if done[entry] == demand.count[entry]:
            size += abs(weight) - MOST_WEIGHT * int(demand.count[entry])
        rows.append((source, int(demand.post[entry]), size if weight > 0 else -size, count, side))
    pre, post, weights, counts, sides = np.array(rows, np.int64).reshape(-1, 5).T
    origin = [channel for channel, _ in parts]
    origin += range(demand.channels, demand.channels + demand.neurons)
    divided = _Parts(
        demand.network, demand.first, len(parts), demand.neurons,
        pre, post, weights, counts, np.array(origin, np.int64),
    )  # fmt: skip
    return divided, sides


def _items(divided: _Parts, side: Array) -> list[Item] | None:
    """Return items of parts and neurons; None for more than one source of generators.

    A bus has one generator, so parts of two might need the same.
    """
    reach: Mapping[int, set[int]] = defaultdict(set)
    for source, h in zip(divided.pre.tolist(), side.tolist(), strict=True):
        reach[source].add(h)
    found, generated = [], set()
    for source in range(divided.channels + divided.neurons):
        neuron = source - divided.channels
        sides = tuple(sorted(reach[source]))
        name, index = divided.owner(source)
        if neuron >= 0:
            found.append(Item(source, sides, neuron, False))
        elif divided.network.sources[name].background:
            generated.add((name, index))
            found += [Item(source, (h,), -1, True) for h in sides]
        else:
            found.append(Item(source, sides, -1, False))
    return found if len(generated) < 2 else None
