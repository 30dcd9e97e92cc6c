"""Measuring the gain of synapses through the vendor's PyNN layer; copied into a script."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snnir.targets.bss2.scripts.pynn_network import (
    Json,
    cadc_samples,
    cell_parameters,
    check,
    members,
    switch_off,
)

#: Runs, each with its event at another phase of the CADC's sampling, and their times.
_RUNS, _BEFORE_US, _PERIOD_US = 16, 20.0, 2.0


def response(time: Any, tau_mem: float, tau_syn: float) -> Any:
    """Return how a membrane answers an event at time 0 after which it rises by 1 per time unit."""
    t = np.maximum(np.asarray(time, np.float64), 0.0)
    if math.isclose(tau_mem, tau_syn, rel_tol=1e-6):
        return t * np.exp(-t / tau_mem)
    scale = tau_mem * tau_syn / (tau_mem - tau_syn)
    return scale * (np.exp(-t / tau_mem) - np.exp(-t / tau_syn))


def fitted_gain(neuron: Json, weight: int, times: Any, values: Any) -> float:
    """Return the gain that fits samples best, in LSB per microsecond at full capacitance.

    Args:
        neuron: Its parameters.
        weight: Of the synapse.
        times: Of the samples, in microseconds after the event.
        values: Potentials in LSB.
    """
    shape = response(times, neuron["tau_mem"], neuron["tau_syn"][0])
    rest = np.median(values[times < 0])
    amplitude = float(shape @ (values - rest) / (shape @ shape))
    capacitance: int = neuron["membrane_capacitance"]
    return amplitude * capacitance / 63 / weight


def measure_gain(pynn: Any, artefact: Json, weight: int = 16) -> list[float]:
    """Return the gain of each neuron of the first execution, from events at one synapse of each.

    Thresholds are switched off. Runs are shorter than 0.15 ms, beyond which the layer loses
    samples of the CADC.
    """
    execution = artefact["executions"][0]
    check(execution)
    neurons = [n for found in members(artefact, execution).values() for n in found]
    longest = max(max(n["tau_mem"], n["tau_syn"][0]) for n in neurons)
    length = min(140.0, _BEFORE_US + _PERIOD_US + 6 * longest)
    pynn.setup(neuronPermutation=[n["circuits"][0] for n in neurons])
    try:
        cell = pynn.cells.CalibHXNeuronCuba(**cell_parameters(artefact, neurons, spiking=False))
        population = pynn.Population(len(neurons), cell)
        source = pynn.Population(1, pynn.cells.SpikeSourceArray(spike_times=[]))
        synapse = pynn.standardmodels.synapses.StaticSynapse(weight=weight)
        pynn.Projection(
            source,
            population,
            pynn.AllToAllConnector(),
            synapse_type=synapse,
            receptor_type="excitatory",
        )
        population.record(["v"], device="cadc")
        found: list[list[tuple[Any, Any]]] = [[] for _ in neurons]
        for run in range(_RUNS):
            if run:
                pynn.reset()
            event = _BEFORE_US + run * _PERIOD_US / _RUNS
            source.set(spike_times=[[event / 1000]])
            pynn.run(None, pynn.RunCommand.PREPARE)
            switch_off([population])
            pynn.run(length / 1000)
            for signal in population.get_data("v").segments[-1].irregularlysampledsignals:
                times, values = cadc_samples(signal)
                index = int(signal.array_annotations["channel_index"][0])
                found[index].append((times - event, values))
    finally:
        pynn.end()
    return [
        fitted_gain(
            neuron, weight, np.concatenate([t for t, _ in one]), np.concatenate([v for _, v in one])
        )
        for neuron, one in zip(neurons, found, strict=True)
    ]


def tell_gain(artefact: Json, gains: list[float]) -> str:
    """Return what to do with a measured gain."""
    middle = float(np.median(gains))
    low, high = np.percentile(gains, [10, 90])
    return (
        f"gain {middle:.4g} LSB/us (10 % of neurons below {low:.4g}, 10 % above {high:.4g}; "
        f"this folder was compiled for {artefact['meta']['gain']:.4g}): "
        f"compile again with --set gain={middle:.4g}"
    )
