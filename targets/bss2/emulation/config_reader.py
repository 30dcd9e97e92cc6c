"""`model.bss2.json` as plain arrays, and nothing taken on trust; copied into emitted folders."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import (
    BACKGROUND_INPUTS,
    HEMISPHERES,
    HICANN_X,
    LABELS,
    LINK_INPUTS,
    MOST_COUNT,
    MOST_PERIOD,
    MOST_SCALE,
    MOST_TICKS,
    MOST_WEIGHT,
    NEURON_INPUTS,
    OUTPUTS,
    reaches,
)
from snnir.targets.bss2.emulation.config_types import (
    BadFolder,
    Config,
    GeneratorFacts,
    NeuronTable,
    PopulationFacts,
    PortFacts,
    ProjectionFacts,
    Setup,
)
from snnir.targets.bss2.emulation.config_values import (
    MOST_SIZE,
    demand,
    items_of,
    name_of,
    real,
    same_lengths,
    shape_of,
    whole,
    wholes,
)

SCHEMA = "snnir.bss2/1"
#: What nothing real exceeds: bytes of the file, executions, and numbers of potentials, time
#: constants and gains.
MOST_BYTES, MOST_EXECUTIONS, MOST_NUMBER = 1 << 29, 1 << 12, 1e6
_LEAST_TAU = 1e-3
_INPUTS = NEURON_INPUTS + LINK_INPUTS + BACKGROUND_INPUTS


def read_config(path: pathlib.Path) -> Config:
    """Read `model.bss2.json`.

    Raises:
        BadFolder: If it is not there or not what it should be.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadFolder(f"{path.name} is larger than any configuration")
        text = path.read_text("utf-8")
        return config_of(json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once))
    except (OSError, ValueError, RecursionError, MemoryError) as problem:
        if isinstance(problem, BadFolder):
            raise
        raise BadFolder(f"{path.name} cannot be read: {problem}") from None


def config_of(facts: Any) -> Config:
    """Return a configuration from the content of `model.bss2.json`.

    Raises:
        BadFolder: If it is not what `docs/bss2-format.md` says.
    """
    try:
        return _config(facts)
    except BadFolder:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as problem:
        raise BadFolder(f"the configuration is incomplete: {problem!r}") from None


def _no_constant(name: str) -> None:
    raise BadFolder(f"{name} is no number of a configuration")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    demand(len(found) == len(pairs), "a key comes twice in an object")
    return found


def _config(facts: Any) -> Config:
    demand(facts["schema"] == SCHEMA, f"schema is not {SCHEMA!r}")
    meta = facts["meta"]
    demand(meta["chip"] == HICANN_X.name, f"the chip is not {HICANN_X.name!r}")
    populations: dict[str, PopulationFacts] = {}
    for found in items_of(facts["populations"], "populations"):
        population = _population(found)
        demand(population.name not in populations, f"population {population.name!r} comes twice")
        populations[population.name] = population
    setups: list[Setup] = []
    done: set[tuple[str, int]] = set()
    executions = items_of(facts["executions"], "executions")
    demand(len(executions) <= MOST_EXECUTIONS, "there are too many executions")
    for number, found in enumerate(executions):
        demand(whole(found["id"], 0, MOST_EXECUTIONS, "id") == number, "ids are not 0, 1, …")
        setups.append(_setup(found, populations, done))
        table = setups[-1].neurons
        done |= set(zip(table.population, table.index.tolist(), strict=True))
    return Config(
        real(meta["step_ticks"], 1e-3, MOST_TICKS, "step_ticks"),
        whole(meta["latency_ticks"], 1, 1 << 20, "latency_ticks"),
        real(meta["gain"], 0.0, MOST_NUMBER, "gain"),
        populations,
        _ports(facts["inputs"], populations, "input"),
        _ports(facts["outputs"], populations, "output"),
        setups,
    )


# --- Populations and ports -----------------------------------------------------------------------


def _population(facts: Mapping[str, Any]) -> PopulationFacts:
    name, kind = name_of(facts["name"], "a population"), facts["kind"]
    what = f"population {name!r}"
    size = whole(facts["size"], 1, MOST_SIZE, f"size of {what}")
    shape = shape_of(facts["shape"], size, what)
    if kind == "input":
        return PopulationFacts(name, size, shape, "input")
    if kind == "constant":
        demand(size == 1, f"{what}: a constant has one channel")
        start = real(facts["start_ticks"], 0.0, MOST_TICKS, f"start of {what}")
        period = real(facts["period_ticks"], 1.0, MOST_TICKS, f"period of {what}")
        return PopulationFacts(
            name, size, shape, "constant", start_ticks=start, period_ticks=period
        )
    demand(kind == "neurons", f"{what} is of no kind")
    demand(type(facts["spiking"]) is bool, f"{what}: spiking is not true or false")
    scales = []
    for key in ("offset", "factor"):
        found = items_of(facts[key], f"{key} of {what}")
        demand(len(found) == size, f"{key} of {what} is not one for each neuron")
        scales.append(np.array([real(x, -1e30, 1e30, f"{key} of {what}") for x in found]))
    offset, factor = scales
    return PopulationFacts(name, size, shape, "neurons", facts["spiking"], offset, factor)


def _ports(
    facts: Any, populations: Mapping[str, PopulationFacts], what: str
) -> dict[str, PortFacts]:
    ports: dict[str, PortFacts] = {}
    for found in items_of(facts, f"{what}s"):
        name = name_of(found["name"], f"an {what}")
        demand(name not in ports, f"{what} {name!r} comes twice")
        population = populations[name_of(found["population"], f"{what} {name!r}")]
        shape = shape_of(found["shape"], population.size, f"{what} {name!r}")
        kind = found["kind"] if what == "output" else "spikes"
        demand(kind in ("spikes", "membrane"), f"{what} {name!r} is of no kind")
        fine = population.kind == ("input" if what == "input" else "neurons")
        fine &= kind == "membrane" or population.kind == "input" or population.spiking
        demand(fine, f"{what} {name!r} is not what population {population.name!r} has")
        ports[name] = PortFacts(name, population.name, shape, kind)
    return ports


# --- An execution --------------------------------------------------------------------------------


def _setup(
    facts: Mapping[str, Any], populations: Mapping[str, PopulationFacts],
    done: set[tuple[str, int]],
) -> Setup:  # fmt: skip
    generators = [
        _generator(found, populations) for found in items_of(facts["background"], "background")
    ]
    demand(len({one.bus for one in generators}) == len(generators), "a generator comes twice")
    projections = [
        _projection(found, populations) for found in items_of(facts["projections"], "projections")
    ]
    ends = {(one.source, one.target) for one in projections}
    demand(len(ends) == len(projections), "a projection comes twice")
    scales = [whole(facts["clocks"][name], 0, MOST_SCALE, name) for name in ("fast", "slow")]
    neurons = _neurons(facts["neurons"], scales, populations, done)
    return Setup(
        neurons,
        _events(facts["events"], populations, done),
        generators,
        _rows(facts["rows"]),
        _table(facts["drivers"], (HEMISPHERES, HICANN_X.rows // 2), ((0, 31),), "drivers"),
        _synapses(facts["synapses"]),
        _crossbar(facts["crossbar"]),
        projections,
    )


def _neurons(
    facts: Any, scales: list[int], populations: Mapping[str, PopulationFacts],
    done: set[tuple[str, int]],
) -> NeuronTable:  # fmt: skip
    names: list[str] = []
    circuits: list[tuple[int, ...]] = []
    columns: list[list[float]] = []
    taken: set[int] = set()
    known = set(done)
    for found in items_of(facts, "neurons"):
        population = populations[name_of(found["population"], "population of a neuron")]
        demand(population.kind == "neurons", f"population {population.name!r} has no neurons")
        index = whole(found["index"], 0, population.size - 1, "index of a neuron")
        what = f"neuron {index} of {population.name!r}"
        demand((population.name, index) not in known, f"{what} comes twice")
        known.add((population.name, index))
        own = wholes(found["circuits"], 0, HICANN_X.circuits - 1, f"circuits of {what}").tolist()
        demand(own and len({*own, *taken}) == len(own) + len(taken), f"{what} shares circuits")
        taken |= set(own)
        names.append(population.name)
        circuits.append(tuple(own))
        columns.append(
            [index, *_parameters(found, what, population.spiking), *_ticks(found, scales)]
        )
    demand(columns, "an execution computes nothing")
    index, address, leak, reset, threshold, mem, exc, inh, cap, time, hold, rest = np.array(
        columns, np.float64
    ).T
    return NeuronTable(
        names, index.astype(np.int64), circuits, address.astype(np.int64), leak, reset, threshold,
        mem, np.stack([exc, inh], 1), cap, time, hold.astype(np.int64), rest.astype(np.int64),
    )  # fmt: skip


def _parameters(found: Mapping[str, Any], what: str, spiking: bool) -> list[float]:
    potentials = {
        key: real(found[key], -MOST_NUMBER, MOST_NUMBER, f"{key} of {what}")
        for key in ("leak", "reset", "threshold")
        if found[key] is not None or key != "threshold"
    }
    demand(spiking or "threshold" not in potentials, f"{what} has a threshold but never spikes")
    exc, inh = items_of(found["tau_syn"], f"tau_syn of {what}")
    times = (
        real(tau, _LEAST_TAU, MOST_NUMBER, f"a time constant of {what}")
        for tau in (found["tau_mem"], exc, inh)
    )
    return [
        whole(found["address"], 0, 255, f"address of {what}"),
        potentials["leak"], potentials["reset"], potentials.get("threshold", math.nan), *times,
        whole(found["membrane_capacitance"], 1, 63, f"membrane_capacitance of {what}"),
        real(found["refractory_time"], 0.0, MOST_NUMBER, f"refractory_time of {what}"),
    ]  # fmt: skip


def _ticks(found: Mapping[str, Any], scales: list[int]) -> tuple[int, int]:
    """Return how long v is held and how long no spike can follow, in ticks."""
    scale = scales[("fast", "slow").index(found["refractory_clock"])]
    count = whole(found["refractory_count"], 0, MOST_COUNT, "refractory_count")
    holdoff = whole(found["holdoff_count"], 0, count, "holdoff_count")
    return (count - holdoff) << scale, count << scale


def _events(
    facts: Any, populations: Mapping[str, PopulationFacts], done: set[tuple[str, int]]
) -> list[tuple[str, int, tuple[int, ...]]]:
    events: dict[tuple[str, int], tuple[int, ...]] = {}
    for found in items_of(facts, "events"):
        population = populations[name_of(found["population"], "population of events")]
        index = whole(found["index"], 0, population.size - 1, "index of events")
        key, what = (population.name, index), f"events of {population.name!r}, {index},"
        demand(key not in events, f"{what} come twice")
        demand(population.kind != "neurons" or key in done, f"{what} are not known yet")
        events[key] = tuple(wholes(found["labels"], 0, 0xFFFF, f"labels of {what}").tolist())
    demand(sum(map(len, events.values())) <= 1 << 16, "there are more labels than a chip tells")
    return [(*key, labels) for key, labels in events.items()]


def _generator(
    facts: Mapping[str, Any], populations: Mapping[str, PopulationFacts]
) -> GeneratorFacts:
    population = populations[name_of(facts["population"], "population of a generator")]
    demand(population.kind == "constant", "a generator sends what is no constant")
    whole(facts["index"], 0, population.size - 1, "index of a generator")
    return GeneratorFacts(
        whole(facts["bus"], 0, BACKGROUND_INPUTS - 1, "bus of a generator"),
        whole(facts["label"], 0, 0x3FFF, "label of a generator"),
        whole(facts["period_ticks"], 1, MOST_PERIOD, "period of a generator"),
        whole(facts["start_ticks"], 0, MOST_TICKS, "start of a generator"),
    )


def _table(
    facts: Any, keys: tuple[int, int], values: tuple[tuple[int, int], ...], what: str
) -> dict[tuple[int, int], Any]:
    """Return values by pairs of keys from lists `[key, key, value …]`; one value alone is bare."""
    table: dict[tuple[int, int], Any] = {}
    for found in items_of(facts, what):
        demand(type(found) is list and len(found) == 2 + len(values), f"{what}: {found!r:.80}")
        one, two = (whole(found[k], 0, keys[k] - 1, what) for k in (0, 1))
        rest = tuple(whole(found[2 + k], *span, what) for k, span in enumerate(values))
        demand((one, two) not in table, f"{what}: [{one}, {two}] comes twice")
        table[one, two] = rest[0] if len(rest) == 1 else rest
    return table


def _rows(facts: Any) -> dict[tuple[int, int], int]:
    signs = {"excitatory": 1, "inhibitory": -1}
    numbered = []
    for found in items_of(facts, "rows"):
        demand(type(found) is list and len(found) == 3, "a row is not [hemisphere, row, mode]")
        demand(type(found[2]) is str and found[2] in signs, "a row has no mode")
        numbered.append([found[0], found[1], signs[found[2]]])
    return _table(numbered, (HEMISPHERES, HICANN_X.rows), ((-1, 1),), "rows")


def _crossbar(facts: Any) -> dict[tuple[int, int], tuple[int, int]]:
    nodes = _table(facts, (_INPUTS, OUTPUTS), ((0, 0x3FFF), (0, 0x3FFF)), "crossbar")
    for node in nodes:
        demand(reaches(*node), f"crossbar: there is no node {list(node)}")
    return nodes


def _synapses(facts: Mapping[str, Any]) -> Any:
    spans = {
        "hemisphere": (0, HEMISPHERES - 1), "row": (0, HICANN_X.rows - 1),
        "column": (0, HICANN_X.columns - 1), "weight": (1, MOST_WEIGHT), "label": (0, LABELS - 1),
    }  # fmt: skip
    columns = [wholes(facts[key], *span, f"{key} of synapses") for key, span in spans.items()]
    same_lengths(columns, "synapses")
    table = np.stack(columns, 1)
    place = (table[:, 0] * HICANN_X.rows + table[:, 1]) * HICANN_X.columns + table[:, 2]
    demand(len(np.unique(place)) == len(place), "a synapse comes twice")
    return table


def _projection(
    facts: Mapping[str, Any], populations: Mapping[str, PopulationFacts]
) -> ProjectionFacts:
    ends = [populations[name_of(facts[key], key)] for key in ("source", "target")]
    demand(ends[1].kind == "neurons", f"population {ends[1].name!r} has no neurons")
    spans = ((0, ends[0].size - 1), (0, ends[1].size - 1), (-(1 << 24), 1 << 24))
    lists = [
        wholes(facts[key], *span, f"{key} of a projection")
        for key, span in zip(("pre", "post", "weight"), spans, strict=True)
    ]
    same_lengths(lists, "a projection")
    return ProjectionFacts(ends[0].name, ends[1].name, *lists)
