"""NIR files for hxtorch: read and stepped as its importer and its software mode do."""

from __future__ import annotations

import copy
import itertools
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from snnir.targets.bss2.scripts.hxtorch_nir import hxtorch_nir
from tests.bss2.example import HIDDEN, IN, OUT, example, matrices

STEPS, BATCH = 80, 2


def uniform() -> dict[str, Any]:
    """An example that hxtorch can be given."""
    found = example()
    found["global"]["synapse_dac_bias"] = 600
    (execution,) = found["executions"]
    for item in execution["projections"]:
        item["weight"] = [max(-63, min(63, w)) for w in item["weight"]]
    for neuron in execution["neurons"]:
        neuron.update(leak=75, tau_mem=8.0, tau_syn=[6.0, 6.0], membrane_capacitance=63)
        if neuron["threshold"] is not None:
            neuron.update(threshold=145, reset=75, refractory_time=1.024)
    return found


def steps_of(artefact: dict[str, Any], x: Any) -> tuple[Any, Any]:
    """Spikes of the hidden neurons and membranes of the others in LSB, by Euler steps of 1 us."""
    gain, source = artefact["meta"]["gain"], x
    weights = matrices(artefact, 0)
    spikes: Any = None
    for pre, name in ((IN, HIDDEN), (HIDDEN, OUT)):
        n = next(n for n in artefact["executions"][0]["neurons"] if n["population"] == name)
        matrix = weights[pre, name]
        v, s = np.full((BATCH, len(matrix)), float(n["leak"])), np.zeros((BATCH, len(matrix)))
        held = np.zeros_like(v, bool)
        fired_at, membranes = [], []
        for now in source @ matrix.T:
            v, s = (
                v + (n["leak"] - v) / n["tau_mem"] + gain * 63 / n["membrane_capacitance"] * s,
                s * (1 - 1 / n["tau_syn"][0]) + now,
            )
            if n["threshold"] is not None:
                fired = (v > n["threshold"]) & ~held
                v = np.where(fired | held, n["reset"], v)
                held = fired
                fired_at.append(fired)
            membranes.append(v)
        if n["threshold"] is not None:
            source = spikes = np.array(fired_at, float)
    return spikes, np.array(membranes)


@pytest.mark.parametrize("gain", [0.0625, 0.2])
@pytest.mark.parametrize("capacitance", [63, 45])
def test_software_mode_steps_the_artefact(tmp_path: Path, gain: float, capacitance: int) -> None:
    artefact = uniform()
    artefact["meta"]["gain"] = gain
    for neuron in artefact["executions"][0]["neurons"]:
        if neuron["population"] == HIDDEN:
            neuron["membrane_capacitance"] = capacitance
    graph = hxtorch_nir(artefact, hardware=False)
    nir.write(tmp_path / "m.nir", graph)
    x = (np.random.default_rng(0).random((STEPS, BATCH, 5)) < 0.5).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        loaded = snnir.load(tmp_path / "m.nir", semantics="hxtorch")
    result = snnir.compile(loaded).run(x, [HIDDEN])
    spikes, membranes = steps_of(artefact, x)
    assert spikes.sum() > 20
    np.testing.assert_array_equal(result.recorded[HIDDEN], spikes)
    lsb = 10 * 64 * gain  # of a readout's unit
    np.testing.assert_allclose(result.output * lsb + 75, membranes, rtol=1e-4)


def test_what_the_importer_reads() -> None:
    """Its rules, one by one (hxtorch/spiking/utils/from_nir.py)."""
    artefact = uniform()
    graph = hxtorch_nir(artefact)
    assert [type(n).__name__ for n in graph.nodes.values()] == [
        "Input", "Linear", "CubaLIF", "Linear", "CubaLI", "Output",
    ]  # fmt: skip
    names = list(graph.nodes)
    assert graph.edges == list(itertools.pairwise(names))
    weights = matrices(artefact, 0)
    linear = [n for n in graph.nodes.values() if isinstance(n, nir.Linear)]
    for node, matrix in zip(linear, weights.values(), strict=True):
        scaled = np.clip(np.float32(64) * node.weight, -63, 63)
        rounded = np.trunc(scaled + np.copysign(0.5, scaled))
        np.testing.assert_array_equal(rounded, matrix)
    neuron = graph.nodes[HIDDEN]
    for name in ("tau_mem", "tau_syn", "v_leak", "v_reset", "v_threshold", "r"):
        assert len(set(getattr(neuron, name).tolist())) == 1
    assert neuron.tau_mem[0] * 1e-3 == pytest.approx(8e-6)
    assert neuron.tau_syn[0] * 1e-3 == pytest.approx(6e-6)
    assert (neuron.v_leak[0], neuron.v_reset[0], neuron.r[0]) == (0, 0, 1)


def changed(**by_key: Any) -> dict[str, Any]:
    found = uniform()
    found["executions"][0]["neurons"][0].update(by_key)
    return found


def everywhere(**by_key: Any) -> dict[str, Any]:
    found = uniform()
    for neuron in found["executions"][0]["neurons"]:
        if neuron["population"] == HIDDEN:
            neuron.update(by_key)
    return found


def heavy() -> dict[str, Any]:
    found = uniform()
    found["executions"][0]["projections"][0]["weight"][0] = -64
    return found


def spiking_output() -> dict[str, Any]:
    found = uniform()
    found["outputs"][0]["kind"] = "spikes"
    return found


def long_loop() -> dict[str, Any]:
    found = uniform()
    back = {"source": OUT, "target": HIDDEN, "pre": [0], "post": [0], "weight": [1]}
    found["executions"][0]["projections"].append(back)
    return found


def two_outputs() -> dict[str, Any]:
    found = uniform()
    found["outputs"] *= 2
    return found


def output_inside() -> dict[str, Any]:
    found = uniform()
    found["outputs"][0].update(population=HIDDEN, kind="spikes")
    return found


def shared(key: str, value: Any) -> dict[str, Any]:
    found = uniform()
    found["global"][key] = value
    return found


@pytest.mark.parametrize(
    ("artefact", "reason"),
    [
        (changed(threshold=150), "hidden: threshold differs between neurons (145 to 150)"),
        (changed(leak=76), "hidden: leak differs"),
        (changed(reset=70), "hidden: reset differs"),
        (changed(tau_mem=9.0), "hidden: tau_mem differs"),
        (changed(membrane_capacitance=62), "hidden: membrane_capacitance differs"),
        (changed(tau_syn=[5.0, 6.0]), "hidden: tau_syn differs"),
        (changed(circuits=[0, 1]), "hidden: neurons of several circuits"),
        (heavy(), "hidden: weights of up to 64"),
        (example(recurrent=True), "not a chain of layers"),
        (long_loop(), "not a chain of layers"),
        (example(constant="host"), "always: always on"),
        (example(split=True), "2 executions"),
        (two_outputs(), "2 outputs"),
        (spiking_output(), "out: hxtorch gives spikes of CubaLIF and membranes of CubaLI"),
        (output_inside(), "the output is not the last layer, out"),
    ],
)
def test_what_cannot_be_said(artefact: dict[str, Any], reason: str) -> None:
    for hardware in (True, False):
        found = hxtorch_nir(artefact, hardware=hardware)
        assert isinstance(found, list)
        assert any(one.startswith(reason) for one in found), found


@pytest.mark.parametrize(
    ("artefact", "reason"),
    [
        (everywhere(threshold=120), "hidden: thresholds 45 LSB above rest"),
        (everywhere(membrane_capacitance=50), "hidden: thresholds 55.5556 LSB above rest"),
        (everywhere(reset=60), "hidden: resets to 60, hxtorch to rest"),
        (everywhere(refractory_time=2.0), "hidden: refractory time 2 to 2 us: hxtorch takes 1"),
        (shared("synapse_dac_bias", 1000), "synapse_dac_bias is 1000: hxtorch takes 600"),
        (shared("i_synin_gm", [500, 400]), "i_synin_gm is [500, 400]: hxtorch takes 500"),
    ],
)
def test_what_its_hardware_mode_would_do_otherwise(artefact: dict[str, Any], reason: str) -> None:
    (found,) = hxtorch_nir(artefact)
    assert found.startswith(reason)
    assert isinstance(hxtorch_nir(artefact, hardware=False), nir.NIRGraph)


def test_the_artefact_is_left_alone() -> None:
    artefact = uniform()
    before = copy.deepcopy(artefact)
    hxtorch_nir(artefact)
    assert artefact == before
