"""What the registers of an execution do to events: from the artefact's JSON and its format alone.

Every event that can occur is sent once: a spike of each neuron, each label the host sends for each
channel, each background generator. What comes of it is kept as lists of pairs, which the checks
and the matrices are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.bss2.chips import Chip

Ints = npt.NDArray[np.int64]
Json = dict[str, Any]
Unit = tuple[str, int]  # population and index


@dataclass(frozen=True)
class Events:
    """Events that can occur.

    Attributes:
        units: Whose event it is; an element for each event.
        origins: `neuron`, `host` or `background`, for each event.
        entry, label: [event], the crossbar input and the label of 14 bits.
    """

    units: list[Unit]
    origins: list[str]
    entry: Ints
    label: Ints


@dataclass(frozen=True)
class Traffic:
    """Where events go.

    Attributes:
        events: See there.
        nodes: [node, 4], the crossbar entries: input, output, mask, target.
        passed: [pass, 2], pairs of an event and a node that passes it.
        hits: [hit, 2], pairs of an element of `passed` and a synapse that it drives.
        signs: [synapse], +1, -1, or 0 where the row is disabled.
        synapses: [5, synapse]: hemisphere, row, column, weight, label.
    """

    events: Events
    nodes: Ints
    passed: Ints
    hits: Ints
    signs: Ints
    synapses: Ints

    def hit_events(self) -> Ints:
        """Return [hit], the event of each hit."""
        return np.asarray(self.passed[self.hits[:, 0], 0])


def _table(rows: list[Any], width: int) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def events_of(execution: Json, chip: Chip) -> Events:
    """Return all events of an execution."""
    units: list[Unit] = []
    origins: list[str] = []
    entry: list[int] = []
    label: list[int] = []

    def add(unit: Unit, origin: str, at: int, bits: int) -> None:
        units.append(unit)
        origins.append(origin)
        entry.append(at)
        label.append(bits)

    for neuron in execution["neurons"]:
        if neuron["threshold"] is not None:
            output = neuron["circuits"][0] % chip.columns // chip.per_output
            unit = (neuron["population"], neuron["index"])
            add(unit, "neuron", output, neuron["address"] | output << 8)
    for event in execution["events"]:
        for bits in event["labels"]:
            add((event["population"], event["index"]), "host", 8 + (bits >> 14), bits & 0x3FFF)
    for generator in execution["background"]:
        unit = (generator["population"], generator["index"])
        add(unit, "background", 12 + generator["bus"], generator["label"])
    return Events(units, origins, np.array(entry, np.int64), np.array(label, np.int64))


def synapse_table(execution: Json) -> Ints:
    """Return [5, synapse]: hemisphere, row, column, weight and label."""
    names = ("hemisphere", "row", "column", "weight", "label")
    return np.array([execution["synapses"][name] for name in names], dtype=np.int64)


def _passed(events: Events, nodes: Ints) -> Ints:
    found = [
        np.stack([which, np.full(which.size, number)], axis=1)
        for number, (entry, _, mask, target) in enumerate(nodes)
        if (which := np.nonzero((events.entry == entry) & (events.label & mask == target))[0]).size
    ]
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def _accepts(execution: Json, chip: Chip) -> npt.NDArray[np.bool_]:
    """Return [hemisphere, driver, address]: whether the driver takes the event."""
    accepts = np.zeros((2, 4 * chip.drivers, 32), bool)
    for hemisphere, driver, mask in execution["drivers"]:
        accepts[hemisphere, driver] = (np.arange(32) & mask) == (driver // 4 & mask)
    return accepts


def traffic_of(execution: Json, chip: Chip) -> Traffic:
    """Send every event of an execution once, and see what it reaches."""
    events = events_of(execution, chip)
    nodes = _table(execution["crossbar"], 4)
    passed = _passed(events, nodes)
    synapses = synapse_table(execution)
    hemisphere, row, _, _, label = synapses
    modes = np.zeros((2, chip.rows), np.int64)
    for half, number, mode in execution["rows"]:
        modes[half, number] = {"excitatory": 1, "inhibitory": -1}[mode]
    signs = modes[hemisphere, row]

    # Synapses in order of the bus and the label they wait for, so that an event finds its own.
    key = (hemisphere * 4 + row // 2 % 4) * 64 + label
    order = np.argsort(key, kind="stable")
    outputs = nodes[passed[:, 1], 1]
    labels = events.label[passed[:, 0]]
    wanted = np.where(outputs < 8, outputs * 64 + (labels & 63), -1)
    first = np.searchsorted(key[order], wanted, "left")
    counts = np.searchsorted(key[order], wanted, "right") - first
    which = np.repeat(np.arange(len(passed)), counts)
    inside = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
    synapse = order[np.repeat(first, counts) + inside]
    address = labels[which] >> 6 & 31
    taken = _accepts(execution, chip)[hemisphere[synapse], row[synapse] // 2, address]
    taken &= signs[synapse] != 0
    hits = np.stack([which[taken], synapse[taken]], axis=1)
    return Traffic(events, nodes, passed, hits, signs, synapses)
