"""Events and spikes of the scripts that drive a chip, in ticks of 8 ns; copied into them."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

#: Ticks of a microsecond.
PER_US = 125

#: Events of a channel in a step at most.
MOST_AT_ONCE = 65535

#: Ticks of events, by channel.
Trains = list[list[int]]


def read_artefact(folder: pathlib.Path) -> dict[str, Any]:
    """Return what `model.bss2.json` of a folder holds.

    Raises:
        SystemExit: If there is no such file, or one of another format.
    """
    path = folder / "model.bss2.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise SystemExit(f"cannot read {path}: {problem}") from None
    if not isinstance(found, dict) or found.get("schema") != "snnir.bss2/1":
        raise SystemExit(f"{path} is not of the format snnir.bss2/1")
    return found


def nearest(value: float) -> int:
    """Round half up."""
    return math.floor(value + 0.5)


def by_name(items: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return records by their names."""
    return {item["name"]: item for item in items}


def input_trains(name: str, values: Any, step_ticks: float) -> Trains:
    """Return the ticks of an input's events.

    Args:
        name: Of the input, for messages.
        values: Numbers of events, [T, channels].
        step_ticks: Ticks of a step.

    Raises:
        SystemExit: Unless the values are whole and not negative, and no more than can be.
    """
    fine = (values >= 0) & (values <= MOST_AT_ONCE)
    if not fine.all() or np.any(values != np.rint(values)):
        raise SystemExit(f"input {name!r} must be numbers of events: whole, 0 to {MOST_AT_ONCE}")
    counts = np.asarray(values).astype(np.int64)
    found: Trains = []
    for channel in range(counts.shape[1]):
        steps = np.repeat(np.arange(len(counts)), counts[:, channel])
        found.append([nearest(int(step) * step_ticks) for step in steps])
    return found


def constant_train(population: dict[str, Any], end: int) -> list[int]:
    """Return the ticks before `end` of a source that is always on."""
    start, period = population["start_ticks"], population["period_ticks"]
    most = math.ceil(max(0.0, end - start) / period) + 1
    ticks = (nearest(start + k * period) for k in range(most))
    return [tick for tick in ticks if tick < end]


def step_of(tick: int, step_ticks: float) -> int:
    """Return the step k with k * step_ticks <= tick < (k + 1) * step_ticks."""
    step = int(tick // step_ticks)
    while (step + 1) * step_ticks <= tick:
        step += 1
    while step * step_ticks > tick:
        step -= 1
    return step


def counts(trains: Trains, step_ticks: float, steps: int) -> Any:
    """Return the numbers of events by step, [T, channels]."""
    found = np.zeros((steps, len(trains)), np.float32)
    for channel, ticks in enumerate(trains):
        for tick in ticks:
            step = step_of(tick, step_ticks)
            if 0 <= step < steps:
                found[step, channel] += 1
    return found


def sent_counts(ticks: Sequence[int], step_ticks: float, steps: int) -> Any:
    """Return the numbers of events [T] of a source by whose step they are: ticks are rounded."""
    begin = [nearest(step * step_ticks) for step in range(steps + 1)]
    place = np.searchsorted(begin, np.asarray(ticks, np.int64), "right") - 1
    return np.bincount(place, minlength=steps)[:steps].astype(np.float32)


class Sample:
    """One sample as it is run: the events of every population so far, and membranes.

    Attributes:
        steps: Steps of the model.
        end: Ticks that its steps take.
        trains: Ticks of the events of each population.
        membranes: Potentials of populations in LSB at the ends of steps, [T, neurons].
    """

    def __init__(self, artefact: dict[str, Any], given: dict[str, Any]) -> None:
        step_ticks = artefact["meta"]["step_ticks"]
        self.steps = len(next(iter(given.values())))
        self.end = math.ceil(self.steps * step_ticks)
        self.trains: dict[str, Trains] = {}
        self.membranes: dict[str, Any] = {}
        for port in artefact["inputs"]:
            values = given[port["name"]].reshape(self.steps, -1)
            trains = input_trains(port["name"], values, step_ticks)
            self.trains[port["population"]] = trains
        for population in artefact["populations"]:
            if population["kind"] == "constant":
                self.trains[population["name"]] = [constant_train(population, self.end)]
            elif population["kind"] == "neurons":
                size = population["size"]
                self.trains[population["name"]] = [[] for _ in range(size)]
                self.membranes[population["name"]] = np.full((self.steps, size), np.nan)


def samples(artefact: dict[str, Any], given: dict[str, Any]) -> list[Sample]:
    """Return the samples of inputs [T, B, *shape]."""
    batch = next(iter(given.values())).shape[1]
    return [Sample(artefact, {n: x[:, b] for n, x in given.items()}) for b in range(batch)]


def step_ends(artefact: dict[str, Any], steps: int) -> Any:
    """Return the ends of steps in microseconds."""
    return np.arange(1, steps + 1) * artefact["meta"]["step_ticks"] / PER_US


def results(artefact: dict[str, Any], done: Sequence[Sample]) -> tuple[dict[str, Any], ...]:
    """Return outputs [T, B, *shape] by name, and the spikes of each population.

    Spikes are `ticks:NAME`: rows of sample, neuron and tick.
    """
    populations, outputs, records = by_name(artefact["populations"]), {}, {}
    for port in artefact["outputs"]:
        found, name = populations[port["population"]], port["population"]
        if port["kind"] == "spikes":
            step_ticks = artefact["meta"]["step_ticks"]
            arrays = [counts(one.trains[name], step_ticks, one.steps) for one in done]
        else:
            factor, offset = np.array(found["factor"]), np.array(found["offset"])
            arrays = [(offset + factor * one.membranes[name]).astype(np.float32) for one in done]
        stacked = np.stack(arrays, axis=1)
        outputs[port["name"]] = stacked.reshape(*stacked.shape[:2], *port["shape"])
    for name, population in populations.items():
        if population["kind"] == "neurons" and population["spiking"]:
            rows = [
                (number, neuron, tick)
                for number, one in enumerate(done)
                for neuron, ticks in enumerate(one.trains[name])
                for tick in ticks
            ]
            records[f"ticks:{name}"] = np.array(rows, np.int64).reshape(-1, 3)
    return outputs, records
