"""Small artefacts, placed and routed by a rule plain enough to be checked by eye.

The neurons of the first population are in columns 0 to 31 of row 0 (event output 0, bus 0), those of
the second in columns 32 to 63 (bus 1). The host sends inputs and recorded spikes by link 2 to bus 2,
constants come by bus 3. All events have the row-select address 0, and drivers compare the bits in
which their own is 0. Every source of a bus has a synapse label of its own, and the rows of a bus
are filled column by column, excitatory rows first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.targets.bss2.schema import NAME

HIDDEN, OUT, IN, ALWAYS = "hidden", "out", "in", "always"
SIZES = {IN: 5, HIDDEN: 6, OUT: 3, ALWAYS: 1}
HOST_BUS, CONSTANT_BUS = 2, 3
#: First columns of the two populations; merged circuits take two columns each.
FIRST = {HIDDEN: 0, OUT: 32}


def example(
    *, recurrent: bool = False, split: bool = False, constant: str = "", merged: bool = False,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return an artefact of 5 inputs, 6 spiking neurons and 3 readout membranes.

    Args:
        recurrent: The spiking neurons are connected among each other.
        split: The readout is computed in an execution of its own.
        constant: `host` or `background`: a source that is always on, and who sends its events.
        merged: Spiking neurons have two circuits each.
        seed: Of the weights.
    """
    rng = np.random.default_rng(seed)
    wanted = [(IN, HIDDEN), (HIDDEN, OUT)]
    wanted += [(HIDDEN, HIDDEN)] * recurrent + [(ALWAYS, HIDDEN)] * bool(constant)
    matrices = {pair: _matrix(rng, *pair) for pair in wanted}
    groups = [[HIDDEN], [OUT]] if split else [[HIDDEN, OUT]]
    return {
        "schema": NAME,
        "meta": {
            "chip": "hicann-x-v3", "model": "example", "source_sha256": None, "snnir": "0",
            "speedup": 1000.0, "step_ticks": 125.0, "latency_ticks": 12, "gain": 0.0625,
            "gain_nominal": True,
        },
        "global": {"i_synin_gm": [500, 500], "synapse_dac_bias": 1000},
        "populations": _populations(bool(constant)),
        "inputs": [{"name": IN, "population": IN, "shape": [5]}],
        "outputs": [{"name": OUT, "population": OUT, "shape": [3], "kind": "membrane"}],
        "executions": [
            _execution(number, group, matrices, constant, merged)
            for number, group in enumerate(groups)
        ],
        "report": {},
    }  # fmt: skip


def _matrix(rng: np.random.Generator, source: str, target: str) -> Any:
    weights = rng.integers(-50, 64, (SIZES[target], SIZES[source]))
    weights[rng.random(weights.shape) < 0.3] = 0
    if source == ALWAYS:
        weights[:2, 0] = 20, -30
    if source == IN:
        weights[0, :2] = 100, -90  # more than a synapse has
    return weights


def _populations(constant: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": IN, "size": 5, "shape": [5], "kind": "input"}]
    if constant:
        always = {"name": ALWAYS, "size": 1, "shape": [1], "kind": "constant"}
        found.append({**always, "start_ticks": 40.0, "period_ticks": 250.0})
    for name in (HIDDEN, OUT):
        size = SIZES[name]
        found.append(
            {
                "name": name, "size": size, "shape": [size], "kind": "neurons",
                "spiking": name == HIDDEN, "offset": [-1.0] * size, "factor": [0.0125] * size,
            }
        )  # fmt: skip
    return found


def _neuron(population: str, index: int, merged: bool) -> dict[str, Any]:
    spikes = population == HIDDEN
    wide = merged and spikes
    column = FIRST[population] + (2 * index if wide else index)
    return {
        "population": population, "index": index,
        "circuits": [column, column + 1] if wide else [column],
        "address": index, "leak": 80.0, "reset": 70.0 if spikes else 80.0,
        "threshold": 120.0 + index if spikes else None,
        "tau_mem": 10.0 + index, "tau_syn": [5.0, 6.0], "membrane_capacitance": 63 - index,
        "refractory_time": (16 + index) * 0.128 if spikes else 0.0, "refractory_clock": "fast",
        "refractory_count": 16 + index if spikes else 0, "holdoff_count": 0,
    }  # fmt: skip


def _execution(
    number: int, group: list[str], matrices: dict[tuple[str, str], Any], constant: str, merged: bool
) -> dict[str, Any]:
    neurons = [_neuron(name, index, merged) for name in group for index in range(SIZES[name])]
    found = {pair: matrix for pair, matrix in matrices.items() if pair[1] in group}
    hosts = sorted({source for source, _ in found} - set(group) - {ALWAYS})
    always = any(source == ALWAYS for source, _ in found)
    assert len(hosts) == 1
    events = [
        {"population": hosts[0], "index": index, "labels": [index | HOST_BUS << 14]}
        for index in range(SIZES[hosts[0]])
    ]
    background = []
    if always and constant == "host":
        events.append({"population": ALWAYS, "index": 0, "labels": [CONSTANT_BUS << 14]})
    elif always:
        times = {"period_ticks": 250, "start_ticks": 40}
        background = [{"bus": 3, "label": 0, **times, "population": ALWAYS, "index": 0}]
    buses = {hosts[0]: HOST_BUS, ALWAYS: CONSTANT_BUS, HIDDEN: 0, OUT: 1}
    if hosts[0] == HIDDEN:
        buses[HIDDEN] = HOST_BUS
    inputs = {HOST_BUS: 8 + HOST_BUS, CONSTANT_BUS: 8 + 3 if constant == "host" else 12 + 3, 0: 0}
    crossbar = [
        [inputs[bus], bus, 0x3FFF if bus == CONSTANT_BUS else 0x3FF8, 0]
        for bus in sorted({buses[source] for source, target in found if target in group})
    ]
    crossbar += [[0, 8, 0x3FF8, 0]] * (HIDDEN in group)  # to the host, which records
    columns = {(n["population"], n["index"]): n["circuits"] for n in neurons}
    return {
        "id": number, "clocks": {"fast": 4, "slow": 8}, "neurons": neurons, "events": events,
        "background": background, **_synapses(found, buses, columns), "crossbar": crossbar,
        "projections": [_projection(*pair, matrix) for pair, matrix in found.items()],
    }  # fmt: skip


def _projection(source: str, target: str, matrix: Any) -> dict[str, Any]:
    post, pre = np.nonzero(matrix)
    lists = {"pre": pre, "post": post, "weight": matrix[post, pre]}
    return {"source": source, "target": target, **{k: v.tolist() for k, v in lists.items()}}


def _synapses(
    found: dict[tuple[str, str], Any], buses: dict[str, int],
    columns: dict[tuple[str, int], list[int]],
) -> dict[str, Any]:  # fmt: skip
    """Fill rows: for each column of a bus and sign, one synapse after the other."""
    waiting: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
    for (source, target), matrix in found.items():
        for post, pre in zip(*np.nonzero(matrix), strict=True):
            weight = int(matrix[post, pre])
            pieces = [63] * (abs(weight) // 63) + [abs(weight) % 63] * bool(abs(weight) % 63)
            key = buses[source], 1 if weight > 0 else -1
            for number, piece in enumerate(pieces):
                choice = columns[target, int(post)]
                column = choice[(int(pre) + number) % len(choice)]
                waiting.setdefault(key, {}).setdefault(column, []).append((int(pre), piece))
    rows, drivers = [], set()
    synapses: dict[str, list[int]] = {
        name: [] for name in ("hemisphere", "row", "column", "weight", "label")
    }
    used: dict[int, int] = {}
    for (bus, sign), per_column in sorted(
        waiting.items(), key=lambda item: (item[0][0], -item[0][1])
    ):
        for depth in range(max(map(len, per_column.values()))):
            place = used.get(bus, 0)
            used[bus] = place + 1
            driver = 4 * (place // 2) + bus
            row = 2 * driver + place % 2
            drivers.add(driver)
            rows.append([0, row, "excitatory" if sign > 0 else "inhibitory"])
            for column, items in sorted(per_column.items()):
                if depth < len(items):
                    label, weight = items[depth]
                    values = (0, row, column, weight, label)
                    for name, value in zip(synapses, values, strict=True):
                        synapses[name].append(value)
    masks = [[0, driver, ~(driver // 4) & 31] for driver in sorted(drivers)]
    return {"rows": sorted(rows), "drivers": masks, "synapses": synapses}


def matrices(artefact: dict[str, Any], execution: int) -> dict[tuple[str, str], Any]:
    """Return the weights [target, source] of an execution's projections."""
    sizes = {p["name"]: p["size"] for p in artefact["populations"]}
    found = {}
    for item in artefact["executions"][execution]["projections"]:
        matrix = np.zeros((sizes[item["target"]], sizes[item["source"]]), np.int64)
        matrix[item["post"], item["pre"]] = item["weight"]
        found[item["source"], item["target"]] = matrix
    return found
