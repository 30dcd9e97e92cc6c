"""One way of placing a network, packed and balanced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.targets.bss2.chips import HEMISPHERES, Chip
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.addressing import Addressing, assign
from snnir.targets.bss2.routing.balance import Balance
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.emission import emit
from snnir.targets.bss2.routing.packing import Packing, Sites
from snnir.targets.bss2.routing.placement import Block, Style


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

    @property
    def crowded(self) -> str:
        """Population of the neuron with most synapses on the fullest bus."""
        packing = self.packing
        bus, side = divmod(int(packing.loads().argmax()), HEMISPHERES)
        sums = packing.sums[bus * packing.size : (bus + 1) * packing.size].sum(0)
        there = np.flatnonzero(self.sites.columns[side])
        first, second = (packing.starts[2 * side + sign] for sign in (0, 1))
        fans = sums[first : first + len(there)] + sums[second : second + len(there)]
        return self.demand.owner(self.demand.channels + int(there[fans.argmax()]))[0]

    def balance(self, work: float) -> float:
        """Exchange channels, and neurons of alike circuits, to make the fullest bus emptier.

        Returns:
            What is left of the work.
        """
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
        work = Balance(self.packing, kinds, self.chip.drivers).run(work)
        self._move(kinds, before)
        return work

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

    def separate(self, work: float) -> float:
        """Balance with an event of the host for each hemisphere, and join again what can be."""
        self.packing = self.packing.separated()
        work = self.balance(work)
        self.packing = self.packing.joined()
        return work

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
