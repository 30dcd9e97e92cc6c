"""The emitted PyNN script against a stand-in for the vendor's layer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.scripts.files import pynn_source
from tests.bss2.example import HIDDEN, IN, OUT, example, matrices
from tests.bss2.fake_pynn import Chip, Net, rebuilt

STEPS = 20


def folder(tmp_path: Path, artefact: dict[str, Any]) -> Path:
    (tmp_path / "run_pynn.py").write_text(pynn_source(), "utf-8")
    (tmp_path / "model.bss2.json").write_text(json.dumps(artefact), "utf-8")
    return tmp_path


def script(path: Path) -> Any:
    module = ModuleType("run_pynn")
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    return module


def start(tmp_path: Path, monkeypatch: Any, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["run_pynn.py", *map(str, arguments)])
    script(tmp_path / "run_pynn.py").main()


def spikes_of(net: Net, run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Neuron j answers the events of the first source, shifted; readout j rises by j per us."""
    (_, trains) = next(iter(run["sent"].items()))
    found: dict[str, Any] = {}
    traces: dict[str, Any] = {}
    times = np.arange(0.0, run["end"] / 125 + 2, 2.0)
    for population in net.populations:
        if "spikes" in population.recorded:
            found[population.label] = {
                j: [tick + 7 + j for tick in trains[j % len(trains)]]
                for j in range(population.size)
            }
        if "v" in population.recorded:
            traces[population.label] = {j: (times, 80 + j * times) for j in range(population.size)}
    return found, traces


def events(seed: int = 0, batch: int = 2) -> Any:
    return np.random.default_rng(seed).integers(0, 2, (STEPS, batch, 5)).astype(np.float32)


VARIANTS: list[dict[str, Any]] = [
    {}, {"recurrent": True}, {"split": True}, {"constant": "background"},
    {"recurrent": True, "split": True, "constant": "host", "seed": 5},
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_is_that_of_the_artefact(
    tmp_path: Path, monkeypatch: Any, variant: dict[str, Any]
) -> None:
    artefact = example(**variant)
    chip = Chip(spikes_of)
    chip.install(monkeypatch)
    np.save(tmp_path / "x.npy", events())
    start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert len(chip.networks) == len(artefact["executions"])
    for number, (net, execution) in enumerate(
        zip(chip.networks, artefact["executions"], strict=True)
    ):
        assert net.ended
        neurons, found = rebuilt(net)
        here = set(neurons)
        expected = matrices(artefact, number)
        assert len(found) == len(expected)
        for (source, target), matrix in expected.items():
            key = (source if source in here else f"{source}*", target)
            used = matrix.any(axis=0) | (source in here)
            np.testing.assert_array_equal(found[key], matrix[:, used])
        for neuron in execution["neurons"]:
            at = neuron["index"]
            made = {name: values[at] for name, values in neurons[neuron["population"]].items()}
            assert made == {
                "circuits": neuron["circuits"][0], "v_rest": neuron["leak"],
                "v_reset": neuron["reset"], "v_thresh": neuron["threshold"] or 220,
                "tau_m": neuron["tau_mem"], "tau_syn_E": neuron["tau_syn"][0],
                "tau_syn_I": neuron["tau_syn"][1], "cm": neuron["membrane_capacitance"],
                "tau_refrac": max(0.04, neuron["refractory_time"]),
                "i_synin_gm_E": 500, "i_synin_gm_I": 500, "synapse_dac_bias": 1000,
            }  # fmt: skip


def test_events_spikes_and_membranes(tmp_path: Path, monkeypatch: Any) -> None:
    """One execution's spikes are the next one's events, later by the latency; samples stay apart."""
    artefact = example(split=True, constant="host")
    artefact["meta"]["step_ticks"] = 62.72
    chip = Chip(spikes_of)
    chip.install(monkeypatch)
    x = events(1)
    x[3, 0, 2] = 2  # two events in a step
    np.savez(tmp_path / "x.npz", **{IN: x})
    start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    hidden, out = chip.networks
    assert [len(net.runs) for net in chip.networks] == [2, 2]
    assert [run["silent"] for run in out.runs] == [[OUT], [OUT]]
    assert [run["silent"] for run in hidden.runs] == [[], []]
    end = int(np.ceil(STEPS * 62.72))
    for sample in range(2):
        expected = [
            [
                int(np.floor(k * 62.72 + 0.5))
                for k in range(STEPS)
                for _ in range(int(x[k, sample, c]))
            ]
            for c in range(5)
        ]
        run = hidden.runs[sample]
        assert run["end"] == end
        used = sorted(set(artefact["executions"][0]["projections"][0]["pre"]))
        assert run["sent"][IN] == [expected[c] for c in used]
        assert run["sent"]["always"] == [list(range(40, end, 250))]
        spikes = spikes_of(hidden, run)[0][HIDDEN]
        wanted = sorted(set(artefact["executions"][1]["projections"][0]["pre"]))
        late = artefact["meta"]["latency_ticks"]
        sent = [[t + late for t in spikes[j] if t + late < end] for j in wanted]
        assert out.runs[sample]["sent"][HIDDEN] == sent
    with np.load(tmp_path / "y.npz") as data:
        arrays = {str(n): data[f"array_{i}"] for i, n in enumerate(data["names"])}
    rows = arrays[f"record/ticks:{HIDDEN}"]
    for sample in range(2):
        spikes = spikes_of(hidden, hidden.runs[sample])[0][HIDDEN]
        for j, ticks in spikes.items():
            mine = rows[(rows[:, 0] == sample) & (rows[:, 1] == j), 2]
            assert mine.tolist() == sorted(ticks)
    ends = np.arange(1, STEPS + 1) * 62.72 / 125
    for j in range(3):
        np.testing.assert_allclose(
            arrays[f"output/{OUT}"][:, 0, j], -1 + 0.0125 * (80 + j * ends), rtol=1e-6
        )


def test_spikes_are_counted_by_step(tmp_path: Path, monkeypatch: Any) -> None:
    artefact = example()
    artefact["outputs"] = [{"name": "y", "population": HIDDEN, "shape": [2, 3], "kind": "spikes"}]
    artefact["meta"]["step_ticks"] = 0.1 * 125  # not exact in binary
    ticks = {0: [0, 12, 13], 1: [37, 38, 249], 4: [12, 12, 250]}
    chip = Chip(lambda net, run: ({HIDDEN: ticks}, {}))
    chip.install(monkeypatch)
    np.save(tmp_path / "x.npy", events()[:, 0])
    start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as data:
        found = data["array_0"].reshape(STEPS, 6)
    expected = np.zeros((STEPS, 6))
    for j, times in ticks.items():
        for tick in times:
            step = next(k for k in range(99) if (k + 1) * 12.5 > tick)
            if step < STEPS:
                expected[step, j] += 1
    np.testing.assert_array_equal(found, expected)


def test_a_population_in_two_executions(tmp_path: Path, monkeypatch: Any) -> None:
    """Each computes its part; what reads both has one source."""
    artefact = example(split=True)
    first, last = artefact["executions"]
    second = json.loads(json.dumps(first))
    for execution, keep in ((first, range(3)), (second, range(3, 6))):
        execution["neurons"] = [n for n in execution["neurons"] if n["index"] in keep]
        (item,) = execution["projections"]
        at = [i for i, post in enumerate(item["post"]) if post in keep]
        for name in ("pre", "post", "weight"):
            item[name] = [item[name][i] for i in at]
    artefact["executions"] = [first, {**second, "id": 1}, {**last, "id": 2}]
    chip = Chip(spikes_of)
    chip.install(monkeypatch)
    np.save(tmp_path / "x.npy", events())
    start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert [net.permutation for net in chip.networks] == [[0, 1, 2], [3, 4, 5], [32, 33, 34]]
    full = matrices(example(split=True), 0)[IN, HIDDEN]
    for net, rows in zip(chip.networks, (slice(0, 3), slice(3, 6)), strict=False):
        _, found = rebuilt(net)
        matrix = full[rows][:, full[rows].any(axis=0)]
        np.testing.assert_array_equal(found[f"{IN}*", HIDDEN], matrix)
    spikes = [spikes_of(net, net.runs[0])[0][HIDDEN] for net in chip.networks[:2]]
    together = [spikes[j // 3][j % 3] for j in range(6)]
    end, late = STEPS * 125, artefact["meta"]["latency_ticks"]
    used = sorted(set(last["projections"][0]["pre"]))
    assert chip.networks[2].runs[0]["sent"][HIDDEN] == [
        [t + late for t in together[j] if t + late < end] for j in used
    ]


def test_potentials_are_rounded_and_that_is_said(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    artefact = example()
    artefact["executions"][0]["neurons"][0]["threshold"] = 120.6
    chip = Chip(spikes_of)
    chip.install(monkeypatch)
    np.save(tmp_path / "x.npy", events())
    start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert rebuilt(chip.networks[0])[0][HIDDEN]["v_thresh"][0] == 121
    assert "rounded to whole LSB, by up to 0.4" in capsys.readouterr().err


def test_the_gain_is_measured(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    artefact = example()
    true = 0.08

    def play(net: Net, run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        (population,) = (p for p in net.populations if not p.is_source)
        assert run["silent"] == [population.label]
        (projection,) = net.projections
        ((event,),) = next(iter(run["sent"].values()))
        times = np.arange(0, run["end"] / 125, 1.7)
        traces = {}
        for j in range(population.size):
            p = {name: values[j] for name, values in population.cell.parameters.items()}
            t = np.maximum(times - event / 125, 0)
            tau_m, tau_s = p["tau_m"], p["tau_syn_E"]
            shape = (np.exp(-t / tau_m) - np.exp(-t / tau_s)) * tau_m * tau_s / (tau_m - tau_s)
            rise = true * 63 / p["cm"] * projection.weights[0, j]
            traces[j] = (times, p["v_rest"] + rise * shape)
        return {}, {population.label: traces}

    chip = Chip(play)
    chip.install(monkeypatch)
    start(folder(tmp_path, artefact), monkeypatch, "--measure-gain")
    told = capsys.readouterr().out
    assert told.endswith("--set gain=0.08\n")
    assert "compiled for 0.0625" in told
    phases = {next(iter(run["sent"].values()))[0][0] for run in chip.networks[0].runs}
    assert len(phases) == len(chip.networks[0].runs) > 8


def refusal(tmp_path: Path, monkeypatch: Any, artefact: Any, x: Any = None) -> str:
    np.save(tmp_path / "x.npy", events() if x is None else x)
    with pytest.raises(SystemExit) as problem:
        start(folder(tmp_path, artefact), monkeypatch, tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    return str(problem.value)


def test_refusals(tmp_path: Path, monkeypatch: Any) -> None:
    assert "vendor's software is missing" in refusal(tmp_path, monkeypatch, example())
    Chip(spikes_of).install(monkeypatch)
    told = refusal(tmp_path, monkeypatch, example(merged=True))
    assert "neuron 0 of 'hidden' has 2 circuits" in told
    assert "run_hxtorch.py" in told
    assert "whole, 0 to 65535" in refusal(tmp_path, monkeypatch, example(), events() / 2)
    assert "must be [T, B, *(5,)]" in refusal(tmp_path, monkeypatch, example(), events()[:, :, :4])
    assert "not of the format" in refusal(tmp_path, monkeypatch, {**example(), "schema": "x"})
    for arguments in ([], ["x.npy", "--measure-gain"]):
        with pytest.raises(SystemExit):
            start(tmp_path, monkeypatch, *arguments)
