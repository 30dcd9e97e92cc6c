"""A plan as `model.bss2.json`; docs/bss2-format.md says what everything means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from snnir.ir.graph import Graph
from snnir.targets.bss2.chips import HICANN_X
from snnir.targets.bss2.execution import MODES, Execution, Site
from snnir.targets.bss2.mapping.calibration import NOMINAL_GAIN
from snnir.targets.bss2.mapping.clocks import HOLDOFF, Clocks, choose_clocks
from snnir.targets.bss2.plan import LATENCY, Plan

SCHEMA = "snnir.bss2/1"
FILE = "model.bss2.json"
#: CapMem settings shared by all neurons: defaults of hxtorch and of its Yin-Yang example, with
#: which the nominal gain goes.
GLOBAL = {"i_synin_gm": [500, 500], "synapse_dac_bias": 1000}
#: What the digest of an execution is of, and of its neurons.
_DIGITAL = ("clocks", "events", "background", "rows", "drivers", "synapses", "crossbar")
_DIGITAL_OF_NEURONS = (
    "population", "index", "circuits", "address", "refractory_clock", "refractory_count",
    "holdoff_count",
)  # fmt: skip
#: Of everything but numbers in lists.
_INDENT = 1


def artefact(plan: Plan, graph: Graph) -> dict[str, Any]:
    """Return the content of `model.bss2.json`."""
    from snnir import __version__

    wishes = plan.wishes
    return {
        "schema": SCHEMA,
        "meta": {
            "chip": HICANN_X.name,
            "model": graph.name,
            "source_sha256": graph.provenance.digest or None,
            "snnir": __version__,
            "speedup": wishes.speedup,
            "step_ticks": plan.step_ticks,
            "latency_ticks": LATENCY,
            "gain": wishes.gain,
            "gain_nominal": wishes.gain == NOMINAL_GAIN,
        },
        "global": GLOBAL,
        "populations": _populations(plan),
        "inputs": [
            {"name": name, "population": name, "shape": list(shape)}
            for name, shape in plan.model.inputs.items()
        ],
        "outputs": [
            {
                "name": output.name,
                "population": output.population,
                "kind": "spikes" if plan.network.cells[output.population].spiking else "membrane",
                "shape": list(output.shape),
            }
            for output in plan.model.outputs
        ],
        "executions": [
            execution_facts(execution, plan, index)
            for index, execution in enumerate(plan.executions)
        ],
        "report": {"executions": [dict(execution.facts) for execution in plan.executions]},
    }


def _populations(plan: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "kind": "input", "size": int(np.prod(shape)), "shape": list(shape)}
        for name, shape in plan.model.inputs.items()
    ]
    if plan.constant:
        found.append(
            {
                "name": plan.constant, "kind": "constant", "size": 1, "shape": [1],
                "period_ticks": plan.period,
                "start_ticks": plan.period if plan.generators else 0.0,
            }
        )  # fmt: skip
    for name, population in plan.model.populations.items():
        own = plan.targets[name]
        found.append(
            {
                "name": name, "kind": "neurons", "size": population.size,
                "shape": list(population.shape), "spiking": population.neurons.spiking,
                "offset": own.offset.tolist(), "factor": own.factor.tolist(),
            }
        )  # fmt: skip
    return found


def execution_facts(execution: Execution, plan: Plan, number: int) -> dict[str, Any]:
    """Return the JSON of one configuration."""
    times = np.array([plan.targets[site.population].refractory for site in execution.sites])
    spiking = np.array([plan.network.cells[s.population].spiking for s in execution.sites], bool)
    clocks = choose_clocks(times[spiking])
    counts = iter(range(int(spiking.sum())))
    neurons = [
        _neuron(site, plan, clocks, next(counts) if fires else None)
        for site, fires in zip(execution.sites, spiking, strict=True)
    ]
    synapses = execution.synapses
    found = {
        "id": number,
        "clocks": {"fast": clocks.fast, "slow": clocks.slow},
        "neurons": neurons,
        "events": [
            {"population": name, "index": index, "labels": list(labels)}
            for (name, index), labels in sorted(execution.labels.items())
        ],
        "background": [
            {
                "bus": made.bus, "label": made.label, "period_ticks": int(plan.period),
                "start_ticks": int(plan.period), "population": made.population,
                "index": made.index,
            }
            for made in execution.generators
        ],
        "rows": [[h, row, MODES[mode]] for (h, row), mode in sorted(execution.rows.items())],
        "drivers": [[h, driver, mask] for (h, driver), mask in sorted(execution.drivers.items())],
        "synapses": {
            name: np.asarray(getattr(synapses, name)).tolist()
            for name in ("hemisphere", "row", "column", "weight", "label")
        },
        "crossbar": [[*node, *passes] for node, passes in sorted(execution.crossbar.items())],
        "projections": [
            {
                "source": p.source, "target": p.target, "pre": pre.tolist(), "post": post.tolist(),
                "weight": p.weights[post, pre].tolist(),
            }
            for p in execution.network.projections
            for post, pre in [np.nonzero(p.weights)]
        ],
    }  # fmt: skip
    return {**found, "digest": digital_digest(found)}


def digital_digest(execution: dict[str, Any]) -> str:
    """Return the SHA-256 of all that registers of an execution come from."""
    parts = {name: execution[name] for name in _DIGITAL}
    parts["neurons"] = [
        {name: neuron[name] for name in _DIGITAL_OF_NEURONS} for neuron in execution["neurons"]
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _neuron(site: Site, plan: Plan, clocks: Clocks, at: int | None) -> dict[str, Any]:
    own, index = plan.targets[site.population], site.index
    threshold = None if own.threshold is None else int(own.threshold[index])
    fast = True if at is None else bool(clocks.is_fast[at])
    return {
        "population": site.population,
        "index": index,
        "circuits": list(site.circuits),
        "address": site.address,
        "leak": int(own.leak[index]),
        "reset": int(own.reset[index]),
        "threshold": threshold,
        "tau_mem": float(own.tau_mem[index]),
        "tau_syn": [float(own.tau_syn[index])] * 2,
        "membrane_capacitance": int(own.capacitance[index]),
        "refractory_time": own.refractory,
        "refractory_clock": "fast" if fast else "slow",
        "refractory_count": 1 if at is None else int(clocks.counts[at]),
        "holdoff_count": HOLDOFF,
    }


def artefact_text(facts: dict[str, Any]) -> str:
    """Return the JSON text: one line for each thing, long lists on one line."""
    return "".join(_lines(facts, 0)) + "\n"


def _lines(value: Any, depth: int) -> Iterable[str]:
    """Yield the parts of a JSON value; what holds no object is written on one line."""
    if not isinstance(value, (dict, list)) or not _holds_objects(value):
        yield json.dumps(value, allow_nan=False)
        return
    pad = " " * _INDENT * (depth + 1)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    yield opening
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for position, (key, item) in enumerate(items):
        yield ",\n" if position else "\n"
        yield pad
        if key is not None:
            yield f"{json.dumps(key)}: "
        yield from _lines(item, depth + 1)
    yield f"\n{' ' * _INDENT * depth}{closing}"


def _holds_objects(value: Any) -> bool:
    """Whether a list or object is too large for a line: it holds objects, or several lists."""
    if isinstance(value, dict):
        return any(isinstance(item, (dict, list)) and _is_long(item) for item in value.values())
    return any(isinstance(item, (dict, list)) for item in value)


def _is_long(value: Any) -> bool:
    return len(value) > 16 or any(isinstance(item, (dict, list)) for item in value)
