"""One way of placing a network, packed and balanced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.targets.bss2.addressing import Addressing, assign
from snnir.targets.bss2.balance import Balance
from snnir.targets.bss2.chips import HEMISPHERES, Chip
from snnir.targets.bss2.demand import Demand
from snnir.targets.bss2.emission import emit
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.packing import Packing, Sites, hemispheres, start
from snnir.targets.bss2.placement import Block, Style, place

#: Exchanges that are tried to balance the buses.
ROUNDS = 400


@dataclass
class Attempt:
    """A placement with its packing, on the way to an execution.

    Attributes:
        demand: Of the network.
        style: How it was placed.
        sites: Where neurons are.
        side: Hemisphere of every entry of the demand.
        packing: Which group each source is in.
        chip: What there is.
    """

    demand: Demand
    style: Style
    sites: Sites
    side: Array
    packing: Packing
    chip: Chip

    @property
    def worst(self) -> int:
        """Drivers that the fullest bus needs."""
        return int(self.packing.loads().max())

    @property
    def fits(self) -> bool:
        """Whether no bus needs more drivers than it has."""
        return self.worst <= self.chip.drivers

    def balance(self) -> None:
        """Exchange channels, and neurons of alike circuits, to make the fullest bus emptier."""
        shapes: dict[tuple[int, ...], int] = {}
        kinds = []
        for item in self.packing.items:
            if item.neuron < 0:
                kinds.append(-1 if item.background else 0)
                continue
            block = self.sites.blocks[item.neuron]
            shape = (block[0] // self.chip.columns, *(circuit - block[0] for circuit in block))
            kinds.append(shapes.setdefault(shape, len(shapes) + 1))
        before = self.packing.group.copy()
        Balance(self.packing, kinds, self.chip.drivers).run(ROUNDS)
        self._move(kinds, before)

    def _move(self, kinds: list[int], before: Array) -> None:
        """Let neurons that changed their group take each other's circuits."""
        blocks = list(self.sites.blocks)
        left: dict[tuple[int, int], list[Block]] = {}
        changed = [
            number
            for number, item in enumerate(self.packing.items)
            if item.neuron >= 0 and before[number] != self.packing.group[number]
        ]
        for number in changed:
            key = (kinds[number], int(before[number]))
            left.setdefault(key, []).append(blocks[self.packing.items[number].neuron])
        for number in changed:
            key = (kinds[number], int(self.packing.group[number]))
            blocks[self.packing.items[number].neuron] = left[key].pop(0)
        self.sites = Sites(tuple(blocks), self.sites.columns)

    def separate(self) -> None:
        """Balance with an event of the host for each hemisphere, and join again what can be."""
        self.packing = self.packing.separated()
        self.balance()
        self.packing = self.packing.joined()

    def finish(self) -> Execution | int:
        """Return the execution, or the bus whose groups cannot be told apart."""
        outputs = [
            self.chip.event_output(self.sites.blocks[item.neuron][0]) if item.neuron >= 0 else -1
            for item in self.packing.items
        ]
        found = assign(self.packing, np.array(outputs, np.int64), self.chip.drivers)
        if not isinstance(found, Addressing):
            return found
        merged = any(len(block) > 1 for block in self.sites.blocks)
        shape = ("; circuits in columns" if self.style.tall else "; circuits in rows") * merged
        return emit(
            self.demand,
            self.sites,
            self.side,
            self.packing,
            found,
            self.chip,
            self.style.rows + shape,
        )


def attempt(
    demand: Demand, circuits: Mapping[str, int], style: Style, chip: Chip
) -> Attempt | int | None:
    """Return a placement with a first packing.

    Instead of one for which a hemisphere certainly lacks rows, their number is returned; None if
    circuits or labels do not suffice.
    """
    fans = np.bincount(demand.post, demand.count, demand.neurons)
    load = {
        c.name: int(fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0))
        for c in demand.network.cells.values()
    }
    blocks = place(demand.network, circuits, style, chip, load)
    if blocks is None:
        return None
    sites = Sites.of(blocks, chip)
    side = hemispheres(demand, sites, chip)
    rows = least_rows(demand, sites, side)
    if rows > chip.rows:
        return rows
    packing = start(demand, sites, side, chip)
    return None if packing is None else Attempt(demand, style, sites, side, packing, chip)


def least_rows(demand: Demand, sites: Sites, side: Array) -> int:
    """Return rows that a hemisphere needs at least: of the columns with most of each sign."""
    found = []
    for h in range(HEMISPHERES):
        rows = 0.0
        for inhibitory in (False, True):
            mine = (side == h) & ((demand.weight < 0) == inhibitory)
            fans = np.bincount(demand.post[mine], demand.count[mine], demand.neurons)
            rows += np.ceil((fans / np.maximum(sites.columns[h], 1)).max(initial=0) - 1e-6)
        found.append(int(rows))
    return max(found)
