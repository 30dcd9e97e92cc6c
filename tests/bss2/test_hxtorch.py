"""The emitted hxtorch script against a stand-in for the vendor's modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from snnir.targets.bss2.scripts.files import hxtorch_source
from tests.bss2.example import ALWAYS, HIDDEN, IN, OUT, example, matrices
from tests.bss2.fake_hxtorch import SparseSynapse, install, rebuilt

STEPS, BATCH = 60, 3


def artefact_of(**variant: Any) -> dict[str, Any]:
    """An example whose weights fit, strong enough to spike."""
    found = example(**variant)
    found["meta"]["gain"] = 0.25
    for execution in found["executions"]:
        for item in execution["projections"]:
            item["weight"] = [max(-63, min(63, w)) for w in item["weight"]]
        for neuron in execution["neurons"]:
            neuron["tau_syn"] = [neuron["tau_syn"][0]] * 2
            neuron["holdoff_count"] = 3 if neuron["threshold"] else 0
    return found


def start(tmp_path: Path, monkeypatch: Any, artefact: dict[str, Any], x: Any, *options: str) -> Any:
    path = tmp_path / "run_hxtorch.py"
    path.write_text(hxtorch_source(), "utf-8")
    (tmp_path / "model.bss2.json").write_text(json.dumps(artefact), "utf-8")
    np.save(tmp_path / "x.npy", x)
    arguments = [str(path), str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npz"), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    module: Any = ModuleType("run_hxtorch")
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    module.main()
    with np.load(tmp_path / "y.npz") as data:
        return {str(n): data[f"array_{i}"] for i, n in enumerate(data["names"])}


def events(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.random((STEPS, BATCH, 5)) < 0.3).astype(np.float32)


VARIANTS: list[dict[str, Any]] = [
    {}, {"split": True}, {"merged": True}, {"constant": "host"},
    {"split": True, "merged": True, "constant": "background", "seed": 4},
]  # fmt: skip


@pytest.mark.parametrize("mock", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_is_that_of_the_artefact(
    tmp_path: Path, monkeypatch: Any, variant: dict[str, Any], mock: bool
) -> None:
    artefact = artefact_of(**variant)
    (experiments) = install(monkeypatch)
    start(tmp_path, monkeypatch, artefact, events(), *["--mock"] * mock)
    (experiment,) = experiments
    assert (experiment.mock, experiment.dt, experiment.ran) == (mock, 1e-6, 1)
    neurons, weights = rebuilt(experiment)
    expected = [
        w
        for number in range(len(artefact["executions"]))
        for w in matrices(artefact, number).values()
    ]
    for found, matrix in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found, matrix)
    split = len(artefact["executions"]) > 1
    assert (
        all(isinstance(s, SparseSynapse) for s in experiment.synapses if not s.weight.all())
        != split
    )
    instances = [layer["instance"] for layer in neurons]
    assert (instances == [None, None]) == (mock or not split)
    assert len({id(i) for i in instances}) == (2 if split and not mock else 1)
    wanted = [n for execution in artefact["executions"] for n in execution["neurons"]]
    for layer, name in zip(neurons, (HIDDEN, OUT), strict=True):
        mine = [n for n in wanted if n["population"] == name]
        assert layer["circuits"] == [n["circuits"] for n in mine]
        assert layer["fire"] == (name == HIDDEN)
        keys = ["leak", "membrane_capacitance"] + ["reset", "threshold"] * (name == HIDDEN)
        for key in keys:
            assert layer[key].tolist() == [n[key] for n in mine]
        np.testing.assert_allclose(layer["tau_mem"], [n["tau_mem"] * 1e-6 for n in mine])
        np.testing.assert_allclose(
            layer["tau_syn"].T, [np.array(n["tau_syn"]) * 1e-6 for n in mine]
        )
        assert layer["i_synin_gm"].tolist() == [500, 500]
        assert layer["synapse_dac_bias"] == 1000
    hidden = [n for n in wanted if n["population"] == HIDDEN]
    times = [n["refractory_time"] * 1e-6 for n in hidden]
    np.testing.assert_allclose(neurons[0]["refractory_time"], times, rtol=1e-6)
    np.testing.assert_allclose(neurons[0]["holdoff_time"], 3 * 16 * 8e-9, rtol=1e-6)


def euler(artefact: dict[str, Any], x: Any) -> Any:
    """The artefact's equations by forward Euler, a membrane seeing the current of the step before."""
    found: dict[str, Any] = {IN: x}
    if any(p["name"] == ALWAYS for p in artefact["populations"]):
        ticks = np.arange(40, STEPS * 125, 250)
        train = np.bincount(ticks // 125, minlength=STEPS)
        found[ALWAYS] = np.broadcast_to(train[:, None, None], (STEPS, BATCH, 1))
    weights: dict[tuple[str, str], Any] = {}
    for number in range(len(artefact["executions"])):
        weights |= matrices(artefact, number)
    neurons = [n for e in artefact["executions"] for n in e["neurons"]]
    for name in (HIDDEN, OUT):
        mine = [n for n in neurons if n["population"] == name]
        leak, tau, tau_syn, c, reset, wait = (
            np.array([n[key] if key != "tau_syn" else n[key][0] for n in mine], np.float64)
            for key in (
                "leak",
                "tau_mem",
                "tau_syn",
                "membrane_capacitance",
                "reset",
                "refractory_time",
            )
        )
        threshold = np.array([np.inf if n["threshold"] is None else n["threshold"] for n in mine])
        drive = sum(
            found[source] @ w.T for (source, target), w in weights.items() if target == name
        )
        v, s, left = (
            leak + np.zeros((BATCH, 1)),
            np.zeros((BATCH, len(mine))),
            np.zeros((BATCH, len(mine))),
        )
        spikes, membranes = [], []
        for now in drive:
            v, s = (
                v + (leak - v) / tau + artefact["meta"]["gain"] * 63 / c * s,
                s * (1 - 1 / tau_syn) + now,
            )
            held = left > 0
            fired = (v > threshold) & ~held
            v = np.where(fired | held, reset, v)
            left = np.where(fired, wait, np.maximum(left - held, 0))
            spikes.append(fired)
            membranes.append(v)
        found[name] = np.array(spikes, np.float64)
        found[f"{name}:v"] = np.array(membranes)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_software_mode_steps_the_artefact(
    tmp_path: Path, monkeypatch: Any, variant: dict[str, Any]
) -> None:
    artefact = artefact_of(**variant)
    artefact["outputs"].append(
        {"name": "z", "population": HIDDEN, "shape": [6, 1], "kind": "spikes"}
    )
    install(monkeypatch)
    x = events(1)
    found = start(tmp_path, monkeypatch, artefact, x, "--mock")
    expected = euler(artefact, x)
    assert expected[HIDDEN].sum() > 20
    np.testing.assert_array_equal(found["output/z"][..., 0], expected[HIDDEN])
    v = -1 + 0.0125 * expected[f"{OUT}:v"]
    np.testing.assert_allclose(found[f"output/{OUT}"], v, rtol=1e-3, atol=1e-4)


def test_a_calibration_is_loaded(tmp_path: Path, monkeypatch: Any) -> None:
    for split in (False, True):
        experiments = install(monkeypatch)
        start(tmp_path, monkeypatch, artefact_of(split=split), events(), "--calibration", "c.pbin")
        instances = {layer.execution_instance for layer in experiments[0].neurons}
        if not split:
            instances = {experiments[0].default_execution_instance}
        assert [one.calib_path for one in instances if one] == ["c.pbin"] * (1 + split)


def test_older_releases(tmp_path: Path, monkeypatch: Any) -> None:
    experiments = install(monkeypatch, older=True)
    monkeypatch.setitem(sys.modules, "hxtorch.spiking", None)
    start(tmp_path, monkeypatch, artefact_of(), events(), "--mock")
    assert experiments[0].ran == 1


def test_circuits_column_by_column(tmp_path: Path, monkeypatch: Any) -> None:
    experiments = install(monkeypatch)
    artefact = artefact_of()
    for n in artefact["executions"][0]["neurons"]:
        first = n["circuits"][0]
        if n["population"] == HIDDEN:
            n["circuits"] = [2 * first, 2 * first + 256, 2 * first + 1]
    start(tmp_path, monkeypatch, artefact, events(), "--mock")
    wanted = [
        n["circuits"] for n in artefact["executions"][0]["neurons"] if n["population"] == HIDDEN
    ]
    assert rebuilt(experiments[0])[0][0]["circuits"] == wanted


def refusal(tmp_path: Path, monkeypatch: Any, artefact: Any, x: Any = None) -> str:
    with pytest.raises(SystemExit) as problem:
        start(tmp_path, monkeypatch, artefact, events() if x is None else x)
    return str(problem.value)


def test_refusals(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "hxtorch", None)
    assert "vendor's software is missing" in refusal(tmp_path, monkeypatch, artefact_of())
    install(monkeypatch)
    told = refusal(tmp_path, monkeypatch, example(recurrent=True))
    assert "hidden, out: recurrent, or fed by what is; run_pynn.py" in told
    assert "weights of up to 100: hxtorch clips weights at 63" in told
    artefact = artefact_of(split=True)
    artefact["executions"][1]["neurons"].append(artefact["executions"][0]["neurons"].pop())
    assert "hidden: spread over executions" in refusal(tmp_path, monkeypatch, artefact)
    for circuits in ([0, 1], [7, 5]):
        artefact = artefact_of()
        artefact["executions"][0]["neurons"][0]["circuits"] = circuits
        assert "not all of one shape" in refusal(tmp_path, monkeypatch, artefact)
    assert "at most one event" in refusal(tmp_path, monkeypatch, artefact_of(), 2 * events())
