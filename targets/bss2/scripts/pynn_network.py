"""An execution of the artefact as a network of the vendor's PyNN layer; copied into a script."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.targets.bss2.scripts.script_io import PER_US, Sample, step_ends

#: What that layer can calibrate; beyond, its calibration only warns.
_HIGHEST_THRESHOLD = 220
_SHORTEST_REFRACTORY = 0.04

Json = dict[str, Any]


def members(artefact: Json, execution: Json) -> dict[str, list[Json]]:
    """Return the neurons of an execution by population, in the order in which they are made."""
    names = [p["name"] for p in artefact["populations"] if p["kind"] == "neurons"]
    found = {name: [n for n in execution["neurons"] if n["population"] == name] for name in names}
    return {name: neurons for name, neurons in found.items() if neurons}


def check(execution: Json) -> None:
    """Say what this layer cannot do.

    Raises:
        SystemExit: For neurons of several circuits.
    """
    for neuron in execution["neurons"]:
        if len(neuron["circuits"]) > 1:
            raise SystemExit(
                f"neuron {neuron['index']} of {neuron['population']!r} has "
                f"{len(neuron['circuits'])} circuits: PyNN calibrates neurons of one circuit only "
                "(those of pynn_brainscales.brainscales2.morphology take uncalibrated registers). "
                "run_hxtorch.py drives such neurons, where the network is feed-forward; without "
                "them compile with fewer inputs per neuron."
            )


def cell_parameters(artefact: Json, neurons: Sequence[Json], spiking: bool = True) -> Json:
    """Return the targets of calibration, one value per neuron.

    The layer truncates potentials to whole LSB, so they are rounded here. It cannot switch the
    threshold of a calibrated cell off; neurons that do not spike get the highest, and
    `switch_off` does the rest.
    """

    def potential(key: str) -> list[int]:
        return [int(np.floor(n[key] + 0.5)) for n in neurons]

    count = len(neurons)
    gm, bias = artefact["global"]["i_synin_gm"], artefact["global"]["synapse_dac_bias"]
    return {
        "v_rest": potential("leak"),
        "v_reset": potential("reset"),
        "v_thresh": potential("threshold") if spiking else [_HIGHEST_THRESHOLD] * count,
        "tau_m": [float(n["tau_mem"]) for n in neurons],
        "tau_syn_E": [float(n["tau_syn"][0]) for n in neurons],
        "tau_syn_I": [float(n["tau_syn"][1]) for n in neurons],
        "cm": [int(n["membrane_capacitance"]) for n in neurons],
        "tau_refrac": [max(_SHORTEST_REFRACTORY, float(n["refractory_time"])) for n in neurons],
        "i_synin_gm_E": [int(gm[0])] * count,
        "i_synin_gm_I": [int(gm[1])] * count,
        "synapse_dac_bias": [int(bias)] * count,
    }


def tell_rounding(neurons: Sequence[Json]) -> None:
    """Say by how much potentials had to be rounded."""
    keys = ("leak", "reset", "threshold")
    values = [n[key] for n in neurons for key in keys if n[key] is not None]
    worst = max((abs(value - np.floor(value + 0.5)) for value in values), default=0.0)
    if worst > 0:
        print(f"potentials are rounded to whole LSB, by up to {worst:.2g}", file=sys.stderr)


def milliseconds(tick: int) -> float:
    """Return a time that the layer, which truncates, takes as this tick."""
    return (tick + 0.5) / (1000 * PER_US)


def switch_off(populations: Sequence[Any]) -> None:
    """Switch the threshold comparators of calibrated populations off."""
    for population in populations:
        for circuit in population.actual_hwparams:
            circuit.threshold.enable = False


class Network:
    """One execution.

    Attributes:
        cells: Populations of neurons by name, made in the order of their circuits in
            `neuronPermutation`.
        sources: Populations of events by name.
        indices: Which channels or neurons each of them has, in order.
        membranes: Populations whose membranes are read.
    """

    def __init__(self, pynn: Any, artefact: Json, execution: Json) -> None:
        check(execution)
        tell_rounding(execution["neurons"])
        self.pynn, self.artefact, self.execution = pynn, artefact, execution
        self.members = members(artefact, execution)
        neurons = [p for p in artefact["populations"] if p["kind"] == "neurons"]
        self.spiking = {p["name"]: p["spiking"] for p in neurons}
        circuits = [n["circuits"][0] for found in self.members.values() for n in found]
        pynn.setup(neuronPermutation=circuits)
        self.cells: dict[str, Any] = {}
        self.sources: dict[str, Any] = {}
        self.indices: dict[tuple[str, str], list[int]] = {}
        for name, neurons in self.members.items():
            parameters = cell_parameters(artefact, neurons, self.spiking[name])
            cell = pynn.cells.CalibHXNeuronCuba(**parameters)
            self.cells[name] = pynn.Population(len(neurons), cell, label=name)
            self.indices["cells", name] = [n["index"] for n in neurons]
        for item in execution["projections"]:
            self.project(item)
        outputs = artefact["outputs"]
        self.membranes = {o["population"] for o in outputs if o["kind"] == "membrane"}
        for name, population in self.cells.items():
            if self.spiking[name]:
                population.record(["spikes"])
            if name in self.membranes:
                population.record(["v"], device="cadc")

    def project(self, item: Json) -> None:
        """Connect the synapses of one projection, by where their events come from and by sign."""
        name, target = item["source"], item["target"]
        here = set(self.indices.get(("cells", name), ()))
        outside = sorted({pre for pre in item["pre"] if pre not in here})
        if outside and name not in self.sources:
            later = [p for p in self.execution["projections"] if p["source"] == name]
            needed = sorted({pre for p in later for pre in p["pre"] if pre not in here})
            source = self.pynn.cells.SpikeSourceArray(spike_times=[])
            self.sources[name] = self.pynn.Population(len(needed), source, label=name)
            self.indices["sources", name] = needed
        columns = {index: at for at, index in enumerate(self.indices["cells", target])}
        for side, population in (("cells", self.cells), ("sources", self.sources)):
            if name not in population:
                continue
            rows = {index: at for at, index in enumerate(self.indices[side, name])}
            weights = np.zeros((len(rows), len(columns)))
            for pre, post, weight in zip(item["pre"], item["post"], item["weight"], strict=True):
                if pre in rows:
                    weights[rows[pre], columns[post]] = weight
            self.connect(population[name], self.cells[target], weights)

    def connect(self, source: Any, target: Any, weights: Any) -> None:
        """Make an excitatory and an inhibitory projection of what is not 0 in [source, target].

        The layer gives connections of a list wrong weights unless every neuron has all sources,
        so a mask says which there are, and their weights are set as a matrix after.
        """
        for sign, receptor in ((1, "excitatory"), (-1, "inhibitory")):
            mask = weights * sign > 0
            if mask.any():
                made = self.pynn.Projection(
                    source,
                    target,
                    self.pynn.ArrayConnector(mask),
                    synapse_type=self.pynn.standardmodels.synapses.StaticSynapse(weight=sign),
                    receptor_type=receptor,
                )
                made.set(weight=np.where(mask, weights, 0.0))

    def run(self, sample: Sample, first: bool = True) -> None:
        """Run a sample, and add the spikes and membranes of this execution's neurons to it.

        What earlier executions recorded is as late as spikes of the same chip would be.
        """
        pynn = self.pynn
        if not first:
            pynn.reset()
        for name, source in self.sources.items():
            late = self.artefact["meta"]["latency_ticks"] if name in self.spiking else 0
            own = [sample.trains[name][index] for index in self.indices["sources", name]]
            trains = [[tick + late for tick in train if tick + late < sample.end] for train in own]
            source.set(spike_times=[[milliseconds(tick) for tick in train] for train in trains])
        silent = [self.cells[name] for name in self.cells if not self.spiking[name]]
        if silent:
            pynn.run(None, pynn.RunCommand.PREPARE)
            switch_off(silent)
        pynn.run(milliseconds(sample.end))
        for name, population in self.cells.items():
            indices = self.indices["cells", name]
            if self.spiking[name]:
                self.add_spikes(sample.trains[name], population, indices)
            if name in self.membranes:
                self.add_membranes(sample.membranes[name], population, indices)

    def add_spikes(self, trains: list[list[int]], population: Any, indices: list[int]) -> None:
        """Add recorded spikes, in ticks."""
        for train in population.get_data("spikes").segments[-1].spiketrains:
            times = np.asarray(train.rescale("ms").magnitude, np.float64)
            ticks = np.floor(times * 1000 * PER_US + 0.5).astype(np.int64)
            trains[indices[train.annotations["source_index"]]] = sorted(ticks.tolist())

    def add_membranes(self, found: Any, population: Any, indices: list[int]) -> None:
        """Add membranes at the ends of steps, between the samples of the CADC."""
        ends = step_ends(self.artefact, len(found))
        for signal in population.get_data("v").segments[-1].irregularlysampledsignals:
            times, values = cadc_samples(signal)
            if len(times):
                index = indices[int(signal.array_annotations["channel_index"][0])]
                found[:, index] = np.interp(ends, times, values)


def cadc_samples(signal: Any) -> tuple[Any, Any]:
    """Return times in microseconds and values in LSB."""
    times = np.asarray(signal.times.rescale("us").magnitude, np.float64)
    return times, np.asarray(signal.magnitude, np.float64).reshape(-1)


def run_all(pynn: Any, artefact: Json, todo: Sequence[Sample]) -> None:
    """Run all executions, one after the other: what one records, those after it send."""
    for execution in artefact["executions"]:
        network = Network(pynn, artefact, execution)
        try:
            for number, sample in enumerate(todo):
                network.run(sample, first=number == 0)
        finally:
            pynn.end()
