"""Which synapses an event reaches, from what the registers say; copied into emitted folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import (
    BUSES,
    HEMISPHERES,
    HICANN_X,
    LABELS,
    LINK_INPUTS,
    NEURON_INPUTS,
)
from snnir.targets.bss2.emulation.config_types import BadFolder, Setup

_BUS_OUTPUTS = HEMISPHERES * BUSES
#: Synapses that all packets together reach at most; each is reached by one where all is well.
_MOST_HITS = 1 << 23


@dataclass(frozen=True)
class Delivery:
    """What packets (labelled events) do.

    The first packets are those of neurons, then come the host's labels in the order of `events`,
    then generators.

    Attributes:
        units: Number of neurons.
        generators: Number of background generators, the last packets.
        legs: [packets + 1]: a packet p has the legs `legs[p]` to `legs[p + 1]`, one for each bus.
        bus: [legs], 0 to 7.
        entries: [legs + 1]: entries of a leg, likewise.
        unit: [entries]: which neuron an entry changes.
        hit: [hits, 4]: synapses that are reached: entry, circuit, sign, number of the synapse.
        weight: [hits], 1 to 63.
        recorded: [units]: whether the host sees a neuron's spikes.
    """

    units: int
    generators: int
    legs: Any
    bus: Any
    entries: Any
    unit: Any
    hit: Any
    weight: Any
    recorded: Any

    def sums(self, factor: Any = None) -> tuple[Any, Any]:
        """Return what entries add to excitation and inhibition, [entries] each.

        Args:
            factor: [hits], by which each synapse's weight is multiplied.
        """
        weight = self.weight if factor is None else self.weight * factor
        parts = []
        for sign in (1, -1):
            kept = self.hit[:, 2] == sign
            found = np.bincount(self.hit[kept, 0], weight[kept], minlength=len(self.unit))
            parts.append(np.asarray(found, np.float64))
        return parts[0], parts[1]


class _Array:
    """Synapses by bus and label."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        table = setup.synapses
        key = (table[:, 0] * HICANN_X.rows + table[:, 1]) * LABELS + table[:, 4]
        self.order = np.argsort(key, kind="stable")
        self.key = key[self.order]
        self.known: dict[tuple[int, int], tuple[Any, Any]] = {}

    def reached(self, bus: int, label: int) -> tuple[Any, Any]:
        """Return numbers and signs of the synapses that an event on a bus reaches."""
        label &= (1 << 11) - 1
        if (bus, label) not in self.known:
            self.known[bus, label] = self._search(bus, label)
        return self.known[bus, label]

    def _search(self, bus: int, label: int) -> tuple[Any, Any]:
        hemisphere, address = bus // BUSES, label >> 6 & 31
        numbers, signs = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for driver in range(bus % BUSES, HICANN_X.rows // 2, BUSES):
            mask = self.setup.drivers.get((hemisphere, driver))
            if mask is None or address & mask != driver // BUSES & mask:
                continue
            for row in (2 * driver, 2 * driver + 1):
                sign = self.setup.rows.get((hemisphere, row), 0)
                if sign:
                    key = (hemisphere * HICANN_X.rows + row) * LABELS + (label & LABELS - 1)
                    first, last = np.searchsorted(self.key, [key, key + 1])
                    numbers.append(self.order[first:last])
                    signs.append(np.full(last - first, sign))
        return np.concatenate(numbers), np.concatenate(signs)


def deliveries(setup: Setup) -> Delivery:
    """Follow every event of an execution from its label to neurons.

    Raises:
        BadFolder: If the host could not tell whose spikes it records, or events reach far too
            many synapses.
    """
    neurons, units = setup.neurons, len(setup.neurons.index)
    packets = []
    for own, address in zip(neurons.circuits, neurons.address.tolist(), strict=True):
        output = HICANN_X.event_output(own[0])
        packets.append((output, address | output << 8))
    for _, _, labels in setup.events:
        packets += [(NEURON_INPUTS + (label >> 14), label & 0x3FFF) for label in labels]
    first = NEURON_INPUTS + LINK_INPUTS
    packets += [(first + generator.bus, generator.label) for generator in setup.generators]

    array, unit_of = _Array(setup), np.full(HICANN_X.circuits, -1)
    for unit, own in enumerate(neurons.circuits):
        unit_of[list(own)] = unit
    legs, parts = [0], [np.zeros((0, 4), np.int64)]
    buses: list[int] = []
    hits = 0
    for source, label in packets:
        for bus in _passed(setup, source, label, 0, _BUS_OUTPUTS):
            number, sign = array.reached(bus, label)
            hits += len(number)
            if hits > _MOST_HITS:
                raise BadFolder(f"events reach more than {_MOST_HITS} synapses")
            _, _, column, _, _ = setup.synapses[number].T
            circuit = bus // BUSES * HICANN_X.columns + column
            parts.append(np.stack([np.full(len(number), len(buses)), circuit, sign, number], 1))
            buses.append(bus)
        legs.append(len(buses))
    hit = np.concatenate(parts)
    hit = hit[unit_of[hit[:, 1]] >= 0]  # a circuit without neuron takes nothing
    place = hit[:, 0] * units + unit_of[hit[:, 1]]
    entry, hit[:, 0] = np.unique(place, return_inverse=True)
    return Delivery(
        units, len(setup.generators), np.array(legs), np.array(buses, np.int64),
        np.searchsorted(entry, np.arange(len(buses) + 1) * units), entry % units,
        hit, setup.synapses[hit[:, 3], 3].astype(np.float64), _recorded(setup, packets, units),
    )  # fmt: skip


def _passed(setup: Setup, source: int, label: int, first: int, last: int) -> list[int]:
    """Return the crossbar outputs in a range that a label passes to."""
    nodes = ((output, setup.crossbar.get((source, output))) for output in range(first, last))
    return [output for output, node in nodes if node and label & node[0] == node[1]]


def _recorded(setup: Setup, packets: list[tuple[int, int]], units: int) -> Any:
    owners: dict[tuple[int, int], int] = {}
    recorded = np.zeros(units, bool)
    for packet, (source, label) in enumerate(packets):
        for link in _passed(setup, source, label, _BUS_OUTPUTS, _BUS_OUTPUTS + LINK_INPUTS):
            owner = owners.setdefault((link, label), packet)
            if owner != packet and min(owner, packet) < units:
                raise BadFolder(f"the host receives label {label} from two sources")
            if packet < units:
                recorded[packet] = True
    return recorded
