"""Writes down a packing with its addresses as an execution."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.targets.bss2.chips import (
    BUSES,
    HEMISPHERES,
    LINK_INPUTS,
    MOST_WEIGHT,
    NEURON_INPUTS,
    Chip,
)
from snnir.targets.bss2.execution import (
    EXCITATORY,
    INHIBITORY,
    Execution,
    Generator,
    Site,
    Synapses,
)
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.addressing import NOT_IN, Addressing
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.matching import mask_of
from snnir.targets.bss2.routing.packing import Packing, Sites


def emit(
    demand: Demand,
    sites: Sites,
    side: Array,
    packing: Packing,
    addressing: Addressing,
    chip: Chip,
    strategy: str,
) -> Execution:
    """Return the execution of items whose groups have drivers and addresses.

    Of the facts only the strategy is known yet, see `facts_of`.
    """
    rows, modes = _rows(packing, addressing)
    events = _events(demand, packing, addressing)
    generators = tuple(
        Generator(_output(packing, i), _label(addressing, i), *demand.owner(item.source))
        for i, item in enumerate(packing.items)
        if item.background
    )
    return Execution(
        network=demand.network,
        sites=_sites(demand, sites, packing, addressing, chip),
        labels=events,
        generators=generators,
        rows=modes,
        drivers={
            (h, driver * BUSES + g // packing.size): mask_of(driver, addressing.reached[h, g])
            for (h, g), drivers in sorted(addressing.drivers.items())
            for driver in drivers
        },
        synapses=_synapses(demand, sites, side, packing, addressing, rows, chip),
        crossbar=_crossbar(demand, sites, packing, addressing, events, chip),
        facts={"strategy": strategy},
    )


def _label(addressing: Addressing, item: int) -> int:
    return int(addressing.address[item]) << 6 | int(addressing.label[item])


def _output(packing: Packing, item: int) -> int:
    """Return the crossbar output of an item with one side."""
    return packing.items[item].sides[0] * BUSES + int(packing.group[item]) // packing.size


def _rows(
    packing: Packing, addressing: Addressing
) -> tuple[dict[tuple[int, int], list[int]], dict[tuple[int, int], int]]:
    """Return rows by (group, segment), and the mode of each by (hemisphere, row)."""
    needed = packing.rows()
    rows: dict[tuple[int, int], list[int]] = {}
    modes: dict[tuple[int, int], int] = {}
    for (h, g), drivers in sorted(addressing.drivers.items()):
        bus = g // packing.size
        there = [2 * (d * BUSES + bus) + lower for d in drivers for lower in (0, 1)]
        exc, inh = int(needed[g, 2 * h]), int(needed[g, 2 * h + 1])
        rows[g, 2 * h], rows[g, 2 * h + 1] = there[:exc], there[exc : exc + inh]
        modes.update({(h, row): EXCITATORY for row in there[:exc]})
        modes.update({(h, row): INHIBITORY for row in there[exc : exc + inh]})
    return rows, modes


def _events(
    demand: Demand, packing: Packing, addressing: Addressing
) -> dict[tuple[str, int], tuple[int, ...]]:
    """Return the labels that the host sends for an event of each channel."""
    found: dict[tuple[str, int], tuple[int, ...]] = {}
    for i, item in enumerate(packing.items):
        if item.neuron >= 0 or item.background:
            continue
        link = int(packing.group[i]) // packing.size
        kept = sum(NOT_IN[h] for h in range(HEMISPHERES) if h not in item.sides)
        key = demand.owner(item.source)
        found[key] = (*found.get(key, ()), link << 14 | kept | _label(addressing, i))
    return found


def _sites(
    demand: Demand, sites: Sites, packing: Packing, addressing: Addressing, chip: Chip
) -> tuple[Site, ...]:
    """Return sites of all neurons, in order."""
    found = []
    for i, item in enumerate(packing.items):
        if item.neuron >= 0:
            name, index = demand.owner(item.source)
            address = _label(addressing, i) & 255
            found.append(Site(name, index, sites.blocks[item.neuron], address))
    return tuple(found)


def _crossbar(
    demand: Demand,
    sites: Sites,
    packing: Packing,
    addressing: Addressing,
    events: dict[tuple[str, int], tuple[int, ...]],
    chip: Chip,
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return (mask, target) of the nodes that pass anything, by (input, output)."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for i, item in enumerate(packing.items):
        bus = int(packing.group[i]) // packing.size
        if item.background:
            output = _output(packing, i)
            found[NEURON_INPUTS + LINK_INPUTS + output, output] = (0, 0)
            continue
        if item.neuron < 0:
            for h in item.sides:
                found[NEURON_INPUTS + bus, h * BUSES + bus] = (NOT_IN[h], 0)
            continue
        output = chip.event_output(sites.blocks[item.neuron][0])
        if demand.network.cells[demand.owner(item.source)[0]].spiking:
            found[output, HEMISPHERES * BUSES + bus] = (0, 0)
        for h in item.sides:
            found[output, h * BUSES + bus] = addressing.codes[output].filter(h)
    return dict(sorted(found.items()))


def _synapses(
    demand: Demand,
    sites: Sites,
    side: Array,
    packing: Packing,
    addressing: Addressing,
    rows: dict[tuple[int, int], list[int]],
    chip: Chip,
) -> Synapses:
    """Return all synapses: those of a column, group and sign one below the other."""
    index = np.full((HEMISPHERES, demand.channels + demand.neurons), -1)
    for number, item in enumerate(packing.items):
        index[list(item.sides), item.source] = number
    entry = np.repeat(np.arange(len(demand.weight)), demand.count)
    sent = index[side, demand.pre][entry]
    h, post = side[entry], demand.post[entry]
    size = np.abs(demand.weight[entry])
    part = np.arange(len(entry)) - np.repeat(np.cumsum(demand.count) - demand.count, demand.count)
    weight = np.where(part + 1 < demand.count[entry], MOST_WEIGHT, size - part * MOST_WEIGHT)
    group = packing.group[sent]
    segment = 2 * h + (demand.weight[entry] < 0)
    order = np.lexsort((np.arange(len(entry)), segment, group, post))
    key = np.stack([post, group, segment])[:, order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (key[:, 1:] != key[:, :-1]).any(0)
    begin = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - begin
    width = sites.columns[h, post]
    table = np.zeros(
        (len(packing.sums), 4, max((len(r) for r in rows.values()), default=1)), np.int64
    )
    for (g, s), there in rows.items():
        table[g, s, : len(there)] = there
    most = max((len(b) for b in sites.blocks), default=1)
    columns = np.zeros((HEMISPHERES, demand.neurons, most), np.int64)
    for neuron, block in enumerate(sites.blocks):
        for k in range(HEMISPHERES):
            mine = [c % chip.columns for c in block if c // chip.columns == k]
            columns[k, neuron, : len(mine)] = mine
    row = table[group, segment, rank // width] if len(entry) else np.zeros(0, np.int64)
    column = columns[h, post, rank % width]
    sort = np.lexsort((column, row, h))
    return Synapses(h[sort], row[sort], column[sort], weight[sort], addressing.label[sent][sort])


def facts_of(found: Execution, chip: Chip) -> dict[str, Any]:
    """Return what the report says of an execution."""
    rows = [[0] * BUSES for _ in range(HEMISPHERES)]
    for h, row in found.rows:
        rows[h][row // 2 % BUSES] += 1
    drivers = [[0] * BUSES for _ in range(HEMISPHERES)]
    for h, driver in found.drivers:
        drivers[h][driver % BUSES] += 1
    outputs = [0] * NEURON_INPUTS
    for site in found.sites:
        outputs[chip.event_output(site.circuits[0])] += 1
    circuits = sum(len(site.circuits) for site in found.sites)
    events: dict[str, list[int]] = {}
    for (name, _), labels in found.labels.items():
        events.setdefault(name, []).append(len(labels))
    links = [0] * LINK_INPUTS
    for labels in found.labels.values():
        for label in labels:
            links[label >> 14] += 1
    used = len(found.synapses.weight)
    return {
        **found.facts,
        "circuits": circuits,
        "rows": rows,
        "rows_per_bus": 2 * chip.drivers,
        "drivers": drivers,
        "synapses": used,
        "utilisation": {
            "circuits": circuits / chip.circuits,
            "rows": len(found.rows) / (HEMISPHERES * chip.rows),
            "synapses": used / (chip.circuits * chip.rows),
        },
        "neurons_per_output": outputs,
        "events_per_spike": {name: sum(n) / len(n) for name, n in events.items()},
        "events_per_link": links,
    }
