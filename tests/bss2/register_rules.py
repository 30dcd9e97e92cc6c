"""What registers must hold, and what their events must and must not do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import Chip
from tests.bss2.traffic import Ints, Json, Traffic

#: Crossbar nodes, as halco's routing_crossbar.cpp lists them: outputs by input.
NODES = {
    **{o: {o % 4, 4 + o % 4, 8 + o % 4} for o in range(8)},
    **{8 + j: {*range(8), 8 + j} for j in range(4)},
    **{12 + k: {k, 8 + k % 4} for k in range(8)},
}


def whole(value: Any, least: int, most: int) -> bool:
    """Whether a value is an integer (not a boolean or a float) in a range."""
    return type(value) is int and least <= value <= most


def _outside(name: str, rows: Iterable[Any], bounds: list[tuple[int, int]]) -> list[str]:
    return [
        f"{name} {list(row)}: out of range"
        for row in rows
        if len(row) != len(bounds)
        or not all(whole(x, *bound) for x, bound in zip(row, bounds, strict=True))
    ]


def _twice(name: str, keys: Iterable[Any]) -> list[str]:
    return [f"{name} {key}: listed {n} times" for key, n in Counter(keys).items() if n > 1]


def ranges(execution: Json, chip: Chip) -> list[str]:
    """Complain of values that registers cannot hold, and of registers that are listed twice."""
    rows, drivers, crossbar = (execution[key] for key in ("rows", "drivers", "crossbar"))
    wrong = [
        f"row {row}: no such mode" for row in rows if row[2] not in ("excitatory", "inhibitory")
    ]
    wrong += _outside("row", [row[:2] for row in rows], [(0, 1), (0, chip.rows - 1)])
    wrong += _outside("driver", drivers, [(0, 1), (0, 4 * chip.drivers - 1), (0, 31)])
    most = (1 << 14) - 1
    wrong += _outside("node", crossbar, [(0, 19), (0, 11), (0, most), (0, most)])
    wrong += [
        f"node {node}: does not exist" for node in crossbar if node[1] not in NODES.get(node[0], ())
    ]
    wrong += _twice("row", [tuple(row[:2]) for row in rows])
    wrong += _twice("driver", [tuple(driver[:2]) for driver in drivers])
    wrong += _twice("node", [tuple(node[:2]) for node in crossbar])
    for event in execution["events"]:
        name = f"events {event['population']}[{event['index']}]"
        wrong += _outside(name, [[label] for label in event["labels"]], [(0, 0xFFFF)])
    for one in execution["background"]:
        values = [one[key] for key in ("bus", "label", "period_ticks", "start_ticks")]
        bounds = [(0, 7), (0, most), (1, 0xFFFF), (0, 2**32 - 1)]
        wrong += _outside("background", [values], bounds)
    for name in ("fast", "slow"):
        if not whole(execution["clocks"][name], 0, 15):
            wrong.append(f"clock {name}: scale {execution['clocks'][name]}")
    return wrong + _synapse_ranges(execution["synapses"], chip)


def _synapse_ranges(synapses: Json, chip: Chip) -> list[str]:
    bounds = {
        "hemisphere": (0, 1),
        "row": (0, chip.rows - 1),
        "column": (0, chip.columns - 1),
        "weight": (1, 63),
        "label": (0, 63),
    }
    columns = {name: np.array(synapses[name]) for name in bounds}
    count = len(synapses["row"])
    wrong = []
    for name, values in columns.items():
        low, high = bounds[name]
        if values.shape != (count,) or (count and values.dtype.kind != "i"):
            wrong.append(f"synapses: {name} is not a list of {count} integers")
        elif ((values < low) | (values > high)).any():
            wrong.append(f"synapses: {name} outside {low} to {high}")
    if wrong:
        return wrong
    cells = (columns["hemisphere"] * chip.rows + columns["row"]) * chip.columns + columns["column"]
    if np.bincount(cells).max(initial=0) > 1:
        wrong.append("synapses: one is listed twice")
    return wrong


def register_rules(execution: Json, traffic: Traffic, chip: Chip) -> list[str]:
    """Complain of synapses and events without use or with more than one."""
    wrong = _synapse_rules(execution, traffic, chip)
    wrong += _host_rules(execution)
    return wrong + _link_rules(traffic)


def _name(traffic: Traffic, synapse: Any) -> str:
    hemisphere, row, column = (int(x) for x in traffic.synapses[:3, synapse])
    return f"synapse of hemisphere {hemisphere}, row {row}, column {column}"


def _synapse_rules(execution: Json, traffic: Traffic, chip: Chip) -> list[str]:
    wrong = []
    count = traffic.synapses.shape[1]
    driven = np.bincount(traffic.hits[:, 1], minlength=count)
    owned = np.zeros(2 * chip.columns, bool)
    for neuron in execution["neurons"]:
        owned[neuron["circuits"]] = True
    circuits = traffic.synapses[0] * chip.columns + traffic.synapses[2]
    faults = {
        "its row is disabled": traffic.signs == 0,
        "no event drives it": driven == 0,
        "several events drive it": driven > 1,
        "its circuit is nobody's": ~owned[circuits],
    }
    for text, which in faults.items():
        if which.any():
            example = _name(traffic, np.nonzero(which)[0][0])
            wrong.append(f"{example}: {text} ({int(which.sum())} such)")
    return wrong


def _host_rules(execution: Json) -> list[str]:
    """Labels that the host sends, and generators."""
    wrong = []
    units = [(event["population"], event["index"]) for event in execution["events"]]
    wrong += _twice("events", units)
    labels = [label for event in execution["events"] for label in event["labels"]]
    wrong += _twice("label of the host", labels)
    wrong += _twice("background generator", [one["bus"] for one in execution["background"]])
    return wrong + [
        f"events {event['population']}[{event['index']}]: no labels"
        for event in execution["events"]
        if not event["labels"]
    ]


def _link_rules(traffic: Traffic) -> list[str]:
    """Every spiking neuron is recorded once, by a label of its own; nothing else is."""
    events, nodes, passed = traffic.events, traffic.nodes, traffic.passed
    wrong = []
    at_link = passed[nodes[passed[:, 1], 1] >= 8]
    recorded: Ints = np.bincount(at_link[:, 0], minlength=len(events.units))
    seen: dict[tuple[int, int], tuple[str, int]] = {}
    for event, node in at_link:
        unit = events.units[event]
        if events.origins[event] != "neuron":
            wrong.append(f"{events.origins[event]} event of {unit}: goes back to the host")
        key = (int(nodes[node, 1]), int(events.label[event]))
        if key in seen:
            wrong.append(f"link {key[0] - 8}: label {key[1]} is that of {seen[key]} and of {unit}")
        seen[key] = unit
    return wrong + [
        f"{unit}: its spikes reach {int(n)} links"
        for unit, origin, n in zip(events.units, events.origins, recorded, strict=True)
        if origin == "neuron" and n != 1
    ]
