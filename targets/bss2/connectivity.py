"""The weights that a configured chip realises, found by following an event of every source."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Sources:
    """Channels and neurons by number, and the events they send: (source, input, label)."""

    first: dict[str, int]
    total: int
    events: Array


def connectivity(execution: Execution, chip: Chip) -> dict[tuple[str, str], Array]:
    """Return weights [target, source] by (source, target), of all pairs of populations.

    Raises:
        ValueError: If an event reaches a synapse of a circuit that is no neuron's.
    """
    network = execution.network
    sources = _sources(execution, chip)
    total = np.zeros((sources.total, chip.circuits), np.int64)
    for output in range(HEMISPHERES * BUSES):
        arriving = _passed(execution, sources.events, output)
        _deliver(execution, arriving, output, total, chip)
    neuron = np.full(chip.circuits, -1)
    receivers = 0
    start = {}
    for site in execution.sites:
        start.setdefault(site.population, receivers)
        neuron[list(site.circuits)] = receivers
        receivers += 1
    if total[:, neuron < 0].any():
        raise ValueError("an event reaches a synapse of a circuit that no neuron has")
    weights = np.zeros((receivers, sources.total), np.int64)
    np.add.at(weights, neuron[neuron >= 0], total[:, neuron >= 0].T)
    sizes = {s.name: s.size for s in (*network.sources.values(), *network.cells.values())}
    return {
        (pre, post): weights[
            start[post] : start[post] + sizes[post],
            sources.first[pre] : sources.first[pre] + sizes[pre],
        ]
        for post in network.cells
        if sizes[post]
        for pre in sizes
    }


def _sources(execution: Execution, chip: Chip) -> _Sources:
    """Return everything that sends, with the crossbar inputs and labels of its events."""
    network = execution.network
    first, total = {}, 0
    for population in (*network.sources.values(), *network.cells.values()):
        first[population.name] = total
        total += population.size
    events = []
    for (name, index), labels in execution.labels.items():
        number = first[name] + index
        events += [(number, NEURON_INPUTS + (label >> 14), label & 0x3FFF) for label in labels]
    for g in execution.generators:
        events.append((first[g.population] + g.index, NEURON_INPUTS + LINK_INPUTS + g.bus, g.label))
    for site in execution.sites:
        if network.cells[site.population].spiking:
            output = chip.event_output(site.circuits[0])
            events.append((first[site.population] + site.index, output, site.address | output << 8))
    return _Sources(first, total, np.array(events, np.int64).reshape(-1, 3))


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
