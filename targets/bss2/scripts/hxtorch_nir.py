"""The artefact's network as a NIR file of hxtorch's own subset, for training and its software mode.

hxtorch's importer (hxtorch/spiking/utils/from_nir.py) takes a chain of Linear, CubaLIF and CubaLI
between one Input and one Output, in the order of their edges, with the same parameters for all
neurons of a layer, times in milliseconds of the chip. It ignores w_in, and the r of CubaLI. On a
chip it multiplies weights by 64, rounds and clips them, and calibrates every layer to the same
potentials, capacitance and refractory time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: What it multiplies weights with, and where it clips them.
WEIGHT_SCALE, MOST_WEIGHT = 64.0, 63
#: What it aims at on a chip: threshold above rest in LSB, capacitance, refractory time in us.
SWING, CAPACITANCE, REFRACTORY_US = 70.0, 63, 1.0
#: Its defaults of what all neurons share.
I_SYNIN_GM, SYNAPSE_DAC_BIAS = 500, 600
#: Readouts have the capacitance of this time constant, in us, with r = 1.
READOUT_TAU_US = 10.0

Json = Mapping[str, Any]


def hxtorch_nir(artefact: Json, *, hardware: bool = True, tolerance: float = 0.05) -> Any:
    """Return the network as hxtorch imports it.

    Its software mode then steps what the artefact says, with the artefact's gain: potentials are
    0 at rest, a weight is the chip's divided by 64, and thresholds are scaled to match. Its
    hardware mode puts the same integers on a chip.

    Args:
        artefact: What `model.bss2.json` holds.
        hardware: Refuse what its hardware mode would do otherwise than the artefact.
        tolerance: Relative difference that does not count, of potentials and refractory times.

    Returns:
        A `nir.NIRGraph`, or a list of the reasons why there is none.
    """
    layers, reasons = _layers(artefact)
    for layer in layers:
        reasons += layer.reasons()
        if hardware:
            reasons += layer.hardware_reasons(tolerance)
    if hardware:
        shared = artefact["global"]
        if list(shared["i_synin_gm"]) != [I_SYNIN_GM] * 2:
            reasons.append(f"i_synin_gm is {shared['i_synin_gm']}: hxtorch takes {I_SYNIN_GM}")
        if shared["synapse_dac_bias"] != SYNAPSE_DAC_BIAS:
            found = shared["synapse_dac_bias"]
            reasons.append(f"synapse_dac_bias is {found}: hxtorch takes {SYNAPSE_DAC_BIAS}")
    return reasons or _graph(layers, artefact["meta"]["gain"])


class _Layer:
    """A population and the weights [neurons, channels] it gets."""

    def __init__(self, name: str, neurons: Sequence[Json], weights: Any) -> None:
        self.name, self.neurons, self.weights = name, neurons, weights
        self.spiking = neurons[0]["threshold"] is not None

    def reasons(self) -> list[str]:
        """Return what hxtorch cannot read."""
        found = []
        keys = ["leak", "tau_mem", "membrane_capacitance"]
        keys += ["threshold", "reset"] if self.spiking else []
        for key in keys:
            values = {n[key] for n in self.neurons}
            if len(values) > 1:
                low, high = min(values), max(values)
                found.append(
                    f"{self.name}: {key} differs between neurons ({low:g} to {high:g}): hxtorch "
                    "takes one value per layer"
                )
        pairs = {tuple(n["tau_syn"]) for n in self.neurons}
        if len({tau for pair in pairs for tau in pair}) > 1:
            found.append(f"{self.name}: tau_syn differs between neurons, or from sign to sign")
        most = int(np.abs(self.weights).max(initial=0))
        if most > MOST_WEIGHT:
            found.append(f"{self.name}: weights of up to {most}: hxtorch clips them at 63")
        if any(len(n["circuits"]) > 1 for n in self.neurons):
            found.append(f"{self.name}: neurons of several circuits: hxtorch takes one from NIR")
        return found

    def hardware_reasons(self, tolerance: float) -> list[str]:
        """Return what hxtorch would calibrate otherwise."""
        if not self.spiking:
            return []
        found, first = [], self.neurons[0]
        swing = (first["threshold"] - first["leak"]) * first["membrane_capacitance"] / CAPACITANCE
        if abs(swing - SWING) > tolerance * SWING:
            found.append(
                f"{self.name}: thresholds {swing:g} LSB above rest (at full capacitance): hxtorch "
                f"takes {SWING:g}"
            )
        if abs(first["reset"] - first["leak"]) > tolerance * SWING:
            found.append(f"{self.name}: resets to {first['reset']:g}, hxtorch to rest")
        times = [n["refractory_time"] for n in self.neurons]
        if any(abs(time - REFRACTORY_US) > tolerance * REFRACTORY_US for time in times):
            found.append(
                f"{self.name}: refractory time {min(times):g} to {max(times):g} us: hxtorch takes "
                f"{REFRACTORY_US:g}"
            )
        return found


def _layers(artefact: Json) -> tuple[list[_Layer], list[str]]:
    """Return the layers from the input on, and why they are no chain."""
    populations = {p["name"]: p for p in artefact["populations"]}
    reasons = []
    for kind in ("inputs", "outputs"):
        if len(artefact[kind]) != 1:
            reasons.append(f"{len(artefact[kind])} {kind}: hxtorch takes one")
    if len(artefact["executions"]) > 1:
        reasons.append(f"{len(artefact['executions'])} executions: hxtorch takes one from NIR")
    reasons += [
        f"{p['name']}: always on: hxtorch reads neither biases nor further inputs"
        for p in populations.values()
        if p["kind"] == "constant"
    ]
    projections = [item for e in artefact["executions"] for item in e["projections"]]
    neurons = [n for e in artefact["executions"] for n in e["neurons"]]
    at, layers, left = artefact["inputs"][0]["population"], [], list(projections)
    while True:
        following = [item for item in left if item["source"] == at]
        if len(following) != 1 or len([i for i in projections if i["target"] == at]) > 1:
            break
        (item,) = following
        left.remove(item)
        target = item["target"]
        weights = np.zeros((populations[target]["size"], populations[at]["size"]), np.float32)
        weights[item["post"], item["pre"]] = item["weight"]
        mine = sorted((n for n in neurons if n["population"] == target), key=lambda n: n["index"])
        layers.append(_Layer(target, mine, weights))
        at = target
    if left or not layers:
        reasons.append("not a chain of layers: hxtorch reads neither loops, branches nor sums")
    elif artefact["outputs"][0]["population"] != at:
        reasons.append(f"the output is not the last layer, {at}")
    elif (artefact["outputs"][0]["kind"] == "spikes") != layers[-1].spiking:
        reasons.append(f"{at}: hxtorch gives spikes of CubaLIF and membranes of CubaLI")
    return layers, reasons


def _graph(layers: Sequence[_Layer], gain: float) -> Any:
    import nir

    nodes: dict[str, Any] = {"input": nir.Input(np.array([layers[0].weights.shape[1]]))}
    for layer in layers:
        first, size = layer.neurons[0], len(layer.neurons)
        nodes[f"{layer.name}.weights"] = nir.Linear((layer.weights / WEIGHT_SCALE).astype("f4"))
        tau = first["tau_mem"]
        shared = {"tau_mem": tau * 1e-3, "tau_syn": first["tau_syn"][0] * 1e-3, "v_leak": 0.0}
        if not layer.spiking:
            values = {**shared, "r": tau / READOUT_TAU_US}
            nodes[layer.name] = nir.CubaLI(**{k: np.full(size, v) for k, v in values.items()})
            continue
        # An event of weight 1 / 64 makes a membrane with r = 1 rise by 1 / (64 tau).
        unit = tau * WEIGHT_SCALE * gain * CAPACITANCE / first["membrane_capacitance"]
        values = {
            **shared,
            "r": 1.0,
            "v_threshold": (first["threshold"] - first["leak"]) / unit,
            "v_reset": (first["reset"] - first["leak"]) / unit,
        }
        nodes[layer.name] = nir.CubaLIF(**{k: np.full(size, v) for k, v in values.items()})
    nodes["output"] = nir.Output(np.array([len(layers[-1].neurons)]))
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)))
