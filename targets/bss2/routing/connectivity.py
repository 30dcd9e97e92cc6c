"""The weights that a configured chip realises, found by following an event of every source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from snnir.targets.bss2.chips import (
    ADDRESSES,
    BUSES,
    HEMISPHERES,
    LABELS,
    LINK_INPUTS,
    NEURON_INPUTS,
    Chip,
)
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.demand import sizes_of

Key = tuple[str, int]


def connectivity(execution: Execution, chip: Chip) -> dict[tuple[str, str], Array]:
    """Return weights [target, source] by (source, target) of populations, where any is not 0.

    Raises:
        ValueError: If an event reaches a synapse of a circuit that is no neuron's.
    """
    events = events_of(execution, chip)
    senders = list(dict.fromkeys(sender for sender, _, _ in events))
    number = {sender: n for n, sender in enumerate(senders)}
    table = np.array([(number[s], entry, label) for s, entry, label in events], np.int64)
    total = np.zeros((len(senders), chip.circuits), np.int64)
    for output in range(HEMISPHERES * BUSES):
        arriving = _passed(execution, table.reshape(-1, 3), output)
        _deliver(execution, arriving, output, total, chip)
    neuron = np.full(chip.circuits, -1)
    for n, site in enumerate(execution.sites):
        neuron[list(site.circuits)] = n
    if total[:, neuron < 0].any():
        raise ValueError("an event reaches a synapse of a circuit that no neuron has")
    weights = np.zeros((len(execution.sites), len(senders)), np.int64)
    np.add.at(weights, neuron[neuron >= 0], total[:, neuron >= 0].T)
    sizes = sizes_of(execution.network)
    found: dict[tuple[str, str], Array] = {}
    for post, rows in _by_population((s.population, s.index) for s in execution.sites).items():
        for pre, columns in _by_population(senders).items():
            part = weights[np.ix_(rows[0], columns[0])]
            if part.any():
                found[pre, post] = np.zeros((sizes[post], sizes[pre]), np.int64)
                found[pre, post][np.ix_(rows[1], columns[1])] = part
    return found


def _by_population(members: Iterable[Key]) -> dict[str, tuple[list[int], list[int]]]:
    """Return places in a list and indices within the population, by population."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for place, (name, index) in enumerate(members):
        places, indices = found.setdefault(name, ([], []))
        places.append(place)
        indices.append(index)
    return found


def entry_of(label: int) -> tuple[int, int]:
    """Return the crossbar input at which an event of the host comes in, and its label there."""
    return NEURON_INPUTS + (label >> 14), label & 0x3FFF


def events_of(execution: Execution, chip: Chip) -> list[tuple[Key, int, int]]:
    """Return everything that is sent for an event: (sender, crossbar input, label)."""
    events = []
    for sender, labels in execution.labels.items():
        events += [(sender, *entry_of(label)) for label in labels]
    for g in execution.generators:
        sender = (g.population, g.index)
        events.append((sender, NEURON_INPUTS + LINK_INPUTS + g.bus, g.label))
    for site in execution.sites:
        if execution.network.cells[site.population].spiking:
            output = chip.event_output(site.circuits[0])
            sender = (site.population, site.index)
            events.append((sender, output, site.address | output << 8))
    return events


def _passed(execution: Execution, events: Array, output: int) -> Array:
    """Return events, with their numbers of times, that the crossbar passes to an output."""
    keep = np.zeros(len(events), bool)
    for (entry, to), (mask, target) in execution.crossbar.items():
        if to == output:
            keep |= (events[:, 1] == entry) & (events[:, 2] & mask == target)
    return events[keep]


def _deliver(execution: Execution, events: Array, output: int, total: Array, chip: Chip) -> None:
    """Add the weights of the synapses that events on a bus reach."""
    hemisphere, bus = divmod(output, BUSES)
    drivers = [
        (d, m)
        for (h, d), m in sorted(execution.drivers.items())
        if h == hemisphere and d % BUSES == bus
    ]
    if not drivers or not len(events):
        return
    number, mask = np.array(drivers).T
    address = events[:, 2] >> 6 & (ADDRESSES - 1)
    taken = (address[None] ^ (number // BUSES)[:, None]) & mask[:, None] == 0
    which, event = np.nonzero(taken)
    mode = np.zeros(chip.rows, np.int64)
    for (h, row), sign in execution.rows.items():
        if h == hemisphere:
            mode[row] = sign
    synapses = execution.synapses
    here = np.flatnonzero(
        (synapses.hemisphere == hemisphere)
        & (synapses.row // 2 % BUSES == bus)
        & (mode[synapses.row] != 0)
    )
    key = synapses.row[here] // 2 * LABELS + synapses.label[here]
    order = np.argsort(key, kind="stable")
    here, key = here[order], key[order]
    wanted = number[which] * LABELS + (events[event, 2] & (LABELS - 1))
    low, high = np.searchsorted(key, wanted), np.searchsorted(key, wanted, side="right")
    sizes = high - low
    ends = np.cumsum(sizes)
    hit = here[np.arange(ends[-1] if len(ends) else 0) + np.repeat(low - ends + sizes, sizes)]
    source = np.repeat(events[event, 0], sizes)
    column = hemisphere * chip.columns + synapses.column[hit]
    np.add.at(total, (source, column), mode[synapses.row[hit]] * synapses.weight[hit])
