"""What is said of populations and neurons: that it is complete, consistent and can be calibrated."""

from __future__ import annotations

import math
from collections import Counter
from itertools import takewhile
from typing import Any

from snnir.targets.bss2.chips import Chip
from tests.bss2.register_rules import whole
from tests.bss2.traffic import Json, Unit

#: Ranges of calibration targets: calix, spiking/neuron.py.
TARGETS = {"leak": (50, 160), "reset": (50, 160), "threshold": (50, 220), "tau_mem": (0.5, 60)}
TAU_SYN, REFRACTORY = (0.3, 30), (0.04, 32)
GLOBALS = {"i_synin_gm": (30, 800), "synapse_dac_bias": (30, 1022)}
TICK_US = 0.008
KINDS = ("input", "constant", "neurons")


def real(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether a value is a finite number in a range (a rounding error is forgiven)."""
    if type(value) not in (int, float) or not math.isfinite(value):
        return False
    slack = 1e-9 * max(abs(least), abs(most)) if math.isfinite(max(abs(least), abs(most))) else 0
    return bool(least - slack <= value <= most + slack)


def _population(one: Json) -> list[str]:
    name, size = f"population {one['name']}", one["size"]
    wrong = []
    if one["kind"] not in KINDS:
        wrong.append(f"{name}: kind {one['kind']}")
    if not whole(size, 1, 2**31) or math.prod(one["shape"]) != size:
        wrong.append(f"{name}: size {size} and shape {one['shape']}")
    if one["kind"] == "neurons":
        wrong += [
            f"{name}: {key} is not a list of {size} numbers"
            for key in ("offset", "factor")
            if len(one[key]) != size or not all(map(real, one[key]))
        ]
        if type(one["spiking"]) is not bool:
            wrong.append(f"{name}: spiking is {one['spiking']}")
    if one["kind"] == "constant":
        if size != 1:
            wrong.append(f"{name}: constant of size {size}")
        if not real(one["period_ticks"], 1) or not real(one["start_ticks"], 0):
            wrong.append(f"{name}: period {one['period_ticks']}, start {one['start_ticks']}")
    return wrong


def _ends(artefact: Json) -> list[str]:
    """Inputs and outputs."""
    populations = {one["name"]: one for one in artefact["populations"]}
    wrong = []
    for end in artefact["inputs"] + artefact["outputs"]:
        found = populations.get(end["population"])
        if found is None:
            wrong.append(f"{end['name']}: no population {end['population']}")
            continue
        if math.prod(end["shape"]) != found["size"]:
            wrong.append(f"{end['name']}: shape {end['shape']} of {found['size']} channels")
        kind = end.get("kind")
        if (kind is None) != (found["kind"] == "input"):
            wrong.append(f"{end['name']}: population of kind {found['kind']}")
        elif kind not in (None, "spikes", "membrane") or (
            kind == "spikes" and not found["spiking"]
        ):
            wrong.append(f"{end['name']}: {kind} of {found['name']}")
    return wrong


def population_rules(artefact: Json, chip: Chip) -> list[str]:
    """Complain of what is said once for all executions, and of neurons not computed just once."""
    meta, shared = artefact["meta"], artefact["global"]
    wrong = [] if artefact["schema"] == "snnir.bss2/1" else [f"schema {artefact['schema']}"]
    if meta["chip"] != chip.name:
        wrong.append(f"chip {meta['chip']}")
    if not all(real(meta[key], 1e-12) for key in ("step_ticks", "gain", "speedup")):
        wrong.append("meta: step_ticks, gain and speedup are not all positive")
    if not whole(meta["latency_ticks"], 1, 2**32):
        wrong.append(f"meta: latency_ticks {meta['latency_ticks']}")
    values = [*shared["i_synin_gm"], shared["synapse_dac_bias"]]
    bounds = [GLOBALS["i_synin_gm"]] * 2 + [GLOBALS["synapse_dac_bias"]]
    if len(values) != 3 or not all(whole(v, *b) for v, b in zip(values, bounds, strict=True)):
        wrong.append(f"global: {values} out of range")
    populations = artefact["populations"]
    names = Counter(one["name"] for one in populations)
    wrong += [f"population {name}: {n} of that name" for name, n in names.items() if n > 1]
    for one in populations:
        wrong += _population(one)
    if wrong:
        return wrong
    wrong += _ends(artefact)
    wanted = {
        (one["name"], index)
        for one in populations
        if one["kind"] == "neurons"
        for index in range(one["size"])
    }
    found = Counter(
        (neuron["population"], neuron["index"])
        for execution in artefact["executions"]
        for neuron in execution["neurons"]
    )
    wrong += [f"{unit}: no such neuron" for unit in sorted(set(found) - wanted)]
    wrong += [f"{unit}: computed nowhere" for unit in sorted(wanted - set(found))]
    return wrong + [f"{unit}: computed {n} times" for unit, n in found.items() if n > 1]


def neuron_rules(artefact: Json, execution: Json, chip: Chip) -> list[str]:
    """Complain of places and parameters of an execution's neurons."""
    populations = {one["name"]: one for one in artefact["populations"]}
    wrong = []
    used: Counter[int] = Counter()
    for neuron in execution["neurons"]:
        unit = (neuron["population"], neuron["index"])
        faults = _place(neuron["circuits"], chip)
        used.update(neuron["circuits"])
        if not whole(neuron["address"], 0, 255):
            faults.append(f"address {neuron['address']}")
        if (neuron["threshold"] is not None) != populations[unit[0]]["spiking"]:
            faults.append("has a threshold and does not spike, or the other way round")
        faults += _targets(neuron)
        faults += _refractory(neuron, execution["clocks"])
        wrong += [f"{unit}: {text}" for text in faults]
    return wrong + [f"circuit {c}: used {n} times" for c, n in used.items() if n > 1]


def _place(circuits: list[int], chip: Chip) -> list[str]:
    """Circuits are neighbours, and on one side of the middle."""
    if not circuits or not all(whole(c, 0, 2 * chip.columns - 1) for c in circuits):
        return [f"circuits {circuits}"]
    if len({c % chip.columns // (chip.columns // 2) for c in circuits}) > 1:
        return [f"circuits {circuits} on both sides of the middle"]
    reached, pending = {circuits[0]}, [circuits[0]]
    while pending:
        here = pending.pop()
        # Within one half, the next number is the next column, never the other row's end.
        near = [(here + chip.columns) % (2 * chip.columns), here - 1, here + 1]
        fresh = [c for c in near if c in circuits and c not in reached]
        reached.update(fresh)
        pending += fresh
    return [] if len(reached) == len(set(circuits)) else [f"circuits {circuits} are not connected"]


def _targets(neuron: Json) -> list[str]:
    wrong = []
    for key, bounds in TARGETS.items():
        if neuron[key] is None and key in ("threshold", "reset") and neuron["threshold"] is None:
            continue
        if not real(neuron[key], *bounds):
            wrong.append(f"{key} {neuron[key]} outside {bounds}")
    if len(neuron["tau_syn"]) != 2 or not all(real(tau, *TAU_SYN) for tau in neuron["tau_syn"]):
        wrong.append(f"tau_syn {neuron['tau_syn']} outside {TAU_SYN}")
    if not whole(neuron["membrane_capacitance"], 1, 63):
        wrong.append(f"membrane_capacitance {neuron['membrane_capacitance']}")
    return wrong


def _refractory(neuron: Json, clocks: Json) -> list[str]:
    """The count is the time, to one cycle; calix rounds down and adds the cycle of the holdoff."""
    count, holdoff = neuron["refractory_count"], neuron["holdoff_count"]
    time, clock = neuron["refractory_time"], neuron["refractory_clock"]
    if clock not in ("fast", "slow") or not whole(count, 0, 255) or not whole(holdoff, 0, 31):
        return [f"refractory counters {clock, count, holdoff} out of range"]
    if neuron["threshold"] is None:
        return []
    wrong = []
    if holdoff > count:
        wrong.append(f"holdoff of {holdoff} cycles in a refractory time of {count}")
    if holdoff % 2 == 0 and holdoff:
        wrong.append(f"holdoff of {holdoff} cycles: the register makes odd numbers only")
    if time != 0 and not real(time, *REFRACTORY):
        wrong.append(f"refractory_time {time} outside {REFRACTORY}")
    cycle = 2 ** clocks[clock] * TICK_US if whole(clocks[clock], 0, 15) else math.nan
    if not abs(count * cycle - time) <= cycle * (1 + 1e-9):
        wrong.append(f"refractory_time {time} is not {count} cycles of {cycle:g}")
    return wrong


def order_rules(artefact: Json, execution: Json, here: set[Unit]) -> list[str]:
    """Complain of sources that do not exist (yet), and of generators unlike their constant."""
    populations = {one["name"]: one for one in artefact["populations"]}
    before = {
        (neuron["population"], neuron["index"])
        for one in takewhile(lambda one: one is not execution, artefact["executions"])
        for neuron in one["neurons"]
    }
    wrong = []
    for event in execution["events"] + execution["background"]:
        unit = (event["population"], event["index"])
        found = populations.get(unit[0])
        if found is None or not whole(unit[1], 0, found["size"] - 1):
            wrong.append(f"{unit}: events of a source that does not exist")
        elif found["kind"] == "neurons" and unit in here:
            wrong.append(f"{unit}: computed here, and its events are sent too")
        elif found["kind"] == "neurons" and unit not in before:
            wrong.append(f"{unit}: read before it is computed")
        elif found["kind"] == "neurons" and not found["spiking"]:
            wrong.append(f"{unit}: sends events and does not spike")
    for one in execution["background"]:
        wrong += _generator(one, populations.get(one["population"]))
    return wrong


def _generator(one: Json, constant: Json | None) -> list[str]:
    name = f"generator {one['bus']}"
    if constant is None or constant["kind"] != "constant":
        return [f"{name}: {one['population']} is not a constant"]
    if one["period_ticks"] != constant["period_ticks"]:
        return [f"{name}: period {one['period_ticks']}, not {constant['period_ticks']}"]
    if one["start_ticks"] != math.floor(constant["start_ticks"] + 0.5):
        return [f"{name}: starts at {one['start_ticks']}, not {constant['start_ticks']}"]
    return []
