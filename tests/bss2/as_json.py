"""Routed executions as the JSON of an artefact, with made-up calibration: what tests check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import HICANN_X, Chip
from snnir.targets.bss2.execution import MODES, Execution, Site
from snnir.targets.bss2.network import LogicalNetwork
from tests.bss2.checker import digest

Json = dict[str, Any]
PERIOD_TICKS, START_TICKS = 125, 7


def population_facts(network: LogicalNetwork) -> list[Json]:
    """Return the populations of an artefact."""
    found: list[Json] = []
    for source in network.sources.values():
        one = {"name": source.name, "size": source.size, "shape": [source.size]}
        if source.kind == "constant":
            found.append(
                {**one, "kind": "constant", "period_ticks": PERIOD_TICKS,
                 "start_ticks": START_TICKS}
            )  # fmt: skip
        else:
            found.append({**one, "kind": "input"})
    for cells in network.cells.values():
        found.append(
            {
                "name": cells.name,
                "size": cells.size,
                "shape": [cells.size],
                "kind": "neurons",
                "spiking": cells.spiking,
                "offset": [0.0] * cells.size,
                "factor": [1.0] * cells.size,
            }
        )
    return found


def neuron_facts(site: Site, spiking: bool) -> Json:
    """Return a neuron of an execution, with parameters that a calibration can reach."""
    return {
        "population": site.population,
        "index": int(site.index),
        "circuits": [int(circuit) for circuit in site.circuits],
        "address": int(site.address),
        "leak": 80.0,
        "reset": 70.0,
        "threshold": 150.0 if spiking else None,
        "tau_mem": 10.0,
        "tau_syn": [5.0, 5.0],
        "membrane_capacitance": 63,
        "refractory_time": 2.0,
        "refractory_clock": "fast",
        "refractory_count": 16,
        "holdoff_count": 1,
    }


def projection_facts(network: LogicalNetwork, execution: Execution) -> list[Json]:
    """Return the lists of what an execution must realise, from the network as it was given."""
    here: dict[str, list[int]] = {}
    for site in execution.sites:
        here.setdefault(site.population, []).append(site.index)
    found = []
    for one in network.projections:
        weights = np.asarray(one.weights)
        kept = np.zeros_like(weights)
        rows = here.get(one.target, [])
        kept[rows] = weights[rows]
        post, pre = np.nonzero(kept)
        if post.size:
            found.append(
                {
                    "source": one.source,
                    "target": one.target,
                    "pre": pre.tolist(),
                    "post": post.tolist(),
                    "weight": kept[post, pre].tolist(),
                }
            )
    return found


def execution_facts(network: LogicalNetwork, execution: Execution, number: int) -> Json:
    """Return the JSON of an execution that computes (a part of) a network."""
    synapses = execution.synapses
    facts: Json = {
        "id": number,
        "clocks": {"fast": 4, "slow": 8},
        "neurons": [
            neuron_facts(site, network.cells[site.population].spiking) for site in execution.sites
        ],
        "events": [
            {"population": name, "index": int(i), "labels": [int(label) for label in labels]}
            for (name, i), labels in execution.labels.items()
            if labels
        ],
        "background": [
            {
                "bus": int(one.bus),
                "label": int(one.label),
                "period_ticks": PERIOD_TICKS,
                "start_ticks": START_TICKS,
                "population": one.population,
                "index": int(one.index),
            }
            for one in execution.generators
        ],
        "rows": [[int(h), int(r), MODES[mode]] for (h, r), mode in execution.rows.items()],
        "drivers": [[int(h), int(d), int(mask)] for (h, d), mask in execution.drivers.items()],
        "synapses": {
            name: np.asarray(getattr(synapses, name)).tolist()
            for name in ("hemisphere", "row", "column", "weight", "label")
        },
        "crossbar": [
            [int(i), int(o), int(mask), int(target)]
            for (i, o), (mask, target) in execution.crossbar.items()
        ],
        "projections": projection_facts(network, execution),
    }
    facts["digest"] = digest(facts)
    return facts


def artefact(
    network: LogicalNetwork, executions: Sequence[Execution], chip: Chip = HICANN_X
) -> Json:
    """Return the artefact of a network that was routed in one or several executions."""
    return {
        "schema": "snnir.bss2/1",
        "meta": {
            "chip": chip.name,
            "model": "random",
            "source_sha256": None,
            "snnir": "0",
            "speedup": 1000.0,
            "step_ticks": 125.0,
            "latency_ticks": 10,
            "gain": 0.1,
            "gain_nominal": True,
        },
        "global": {"i_synin_gm": [500, 500], "synapse_dac_bias": 1000},
        "populations": population_facts(network),
        "inputs": [
            {"name": one.name, "population": one.name, "shape": [one.size]}
            for one in network.sources.values()
            if one.kind == "input"
        ],
        "outputs": [
            {
                "name": one.name,
                "population": one.name,
                "shape": [one.size],
                "kind": "spikes" if one.spiking else "membrane",
            }
            for one in network.cells.values()
        ],
        "executions": [
            execution_facts(network, execution, number)
            for number, execution in enumerate(executions)
        ],
        "report": {},
    }
