"""The scripts of compiled networks against stand-ins for the vendor's layers.

What the scripts make is rebuilt from their calls and compared with the plan, not with the artefact;
the stand-in of PyNN answers with the emulator's spikes, so that the results must be the emulator's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Linear
from snnir.targets.bss2.compiled import Bss2Compiled
from snnir.targets.bss2.emulation.schedule import events_of_counts
from tests.bss2 import fake_pynn, nets

STEPS, BATCH = 30, 2


def biased(bias: float = 0.1) -> Graph:
    weight = np.random.default_rng(3).normal(0, 0.6, (10, 6)).astype(np.float32)
    fc = Linear(snnir.tensor(weight), snnir.tensor(np.full(10, bias, np.float32)))
    nodes: Any = {
        "x": (nets.spikes(6), []), "fc": (fc, ["x"]), "n": (nets.neuron(), ["fc"]),
        "out": (nets.dense(3, 10, 1), ["n"]), "li": (nets.neuron("cubali"), ["out"]),
    }  # fmt: skip
    return nets.graph(nodes, ["n", "li"])


def both(inputs: tuple[int, int] = (5, 4)) -> Graph:
    """Two inputs and two outputs, with names that are not identifiers."""
    nodes: Any = {
        "a/b'\"\n": (nets.spikes(inputs[0]), []), "ünï <b>": (nets.spikes(inputs[1]), []),
        "one": (nets.dense(12, inputs[0], 5), ["a/b'\"\n"]),
        "two": (nets.dense(12, inputs[1], 6), ["ünï <b>"]),
        "sum": (snnir.ir.Add(), ["one", "two"]), "n,'x'": (nets.neuron(), ["sum"]),
        "last": (nets.dense(3, 12, 7), ["n,'x'"]), "li": (nets.neuron("cubali"), ["last"]),
    }  # fmt: skip
    return nets.graph(nodes, ["n,'x'", "li"])


def in_parts() -> Graph:
    """A population that is too large for one execution, and readers with few of its spikes."""
    nodes: Any = {
        "x": (nets.spikes(10), []), "fc": (nets.dense(600, 10, 5, 1.0), ["x"]),
        "n": (nets.neuron(), ["fc"]), "some": (nets.dense(4, 600, 6, keep=0.05), ["n"]),
        "out": (nets.neuron(), ["some"]),
    }  # fmt: skip
    return nets.graph(nodes, ["out"])


GRAPHS: dict[str, tuple[Graph, dict[str, Any]]] = {
    "feed-forward": (nets.feed_forward(12, 30, 3), {}),
    "odd step": (nets.feed_forward(8, 20, 4), {"speedup": 1300.0}),
    "recurrent": (nets.recurrent(), {}),
    "biases of the host": (biased(), {"bias_every": 3, "speedup": 1300.0}),
    "biases of a generator": (biased(), {"bias": "generator"}),
    "inputs and outputs": (both(), {}),
    "partitioned": (nets.feed_forward(10, 200, 200, 150, 4, readout="cubalif", seed=4), {}),
    "a population in parts": (in_parts(), {}),
    "merged": (nets.feed_forward(300, 12, 5), {}),
}  # fmt: skip


def given(g: Graph) -> dict[str, Any]:
    return {
        name: nets.events(STEPS, BATCH, signal.shape[0], 0.25, seed)
        for seed, (name, signal) in enumerate(g.inputs.items())
    }


def emulated(chip: Bss2Compiled, x: dict[str, Any]) -> list[dict[str, list[list[int]]]]:
    """Return the ticks of spikes by sample, population and neuron."""
    ticks = int(np.ceil(STEPS * chip.plan.step_ticks))
    sent = {name: events_of_counts(name, y, chip.plan.step_ticks) for name, y in x.items()}
    found: list[dict[str, list[list[int]]]] = [
        {name: [[] for _ in range(cells.size)] for name, cells in chip.plan.network.cells.items()}
        for _ in range(BATCH)
    ]
    rows = zip(*(part.tolist() for part in chip.model.run_events(sent, ticks, BATCH)), strict=True)
    for tick, sample, name, index in rows:
        found[sample][name][index].append(tick)
    return found


class Played:
    """The chip of the stand-in: its neurons spike as the emulator's do."""

    def __init__(self, chip: Bss2Compiled, spikes: list[dict[str, list[list[int]]]]) -> None:
        self.chip, self.spikes = chip, spikes
        self.stand_in = fake_pynn.Chip(self.play)

    def play(self, net: fake_pynn.Net, run: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        sample, number = len(net.runs) - 1, len(self.stand_in.networks) - 1
        found: dict[str, Any] = {}
        for population in net.populations:
            if "spikes" in population.recorded:
                own = self.members(number, population.label)
                trains = self.spikes[sample][population.label]
                found[population.label] = {at: trains[j] for at, j in enumerate(own)}
        return found, {}

    def members(self, number: int, name: str) -> list[int]:
        sites = self.chip.plan.executions[number].sites
        return [site.index for site in sites if site.population == name]


def start(folder: Path, script: str, monkeypatch: Any, x: dict[str, Any], *options: str) -> Any:
    np.savez(folder / "given.npz", names=np.array(list(x)),
             **{f"array_{i}": y for i, y in enumerate(x.values())})  # fmt: skip
    path, made = folder / script, folder / "made.npz"
    arguments = [str(path), str(folder / "given.npz"), "-o", str(made), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    module: Any = ModuleType("script")
    module.__file__ = str(path)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    module.main()
    with np.load(made) as data:
        return {str(n): data[f"array_{i}"] for i, n in enumerate(data["names"])}


def pynn_matrices(played: Played) -> dict[tuple[str, str], Any]:
    """Return the weights [target, source] that all executions' calls make, over full sizes."""
    network = played.chip.plan.network
    sizes = {name: one.size for name, one in network.sources.items()}
    sizes |= {name: one.size for name, one in network.cells.items()}
    found: dict[tuple[str, str], Any] = {}
    for number, net in enumerate(played.stand_in.networks):
        for projection in net.projections:
            source, target = projection.pre.label, projection.post.label
            here = played.members(number, source)
            pre = here
            if projection.pre.is_source:
                pre = sorted(
                    {
                        one
                        for item in played.chip.facts["executions"][number]["projections"]
                        for one in (item["pre"] if item["source"] == source else [])
                    }
                    - set(here)
                )
            post = played.members(number, target)
            full = found.setdefault((source, target), np.zeros((sizes[target], sizes[source]), int))
            full[np.ix_(post, pre)] += projection.weights.T.astype(int)
    return found


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "merged"])
def test_pynn_makes_the_plan(tmp_path: Path, monkeypatch: Any, name: str) -> None:
    g, options = GRAPHS[name]
    chip = nets.compiled(g, **options)
    plan = chip.plan
    played, x, result = run_pynn(tmp_path, monkeypatch, chip)
    nets_made = played.stand_in.networks
    assert len(nets_made) == len(plan.executions)
    found = pynn_matrices(played)
    assert set(found) == {(p.source, p.target) for p in plan.network.projections}
    for projection in plan.network.projections:
        np.testing.assert_array_equal(
            found[projection.source, projection.target], projection.weights
        )
    for number, (net, execution) in enumerate(zip(nets_made, plan.executions, strict=True)):
        made, _ = fake_pynn.rebuilt(net)
        for label, cells in made.items():
            own = plan.targets[label]
            members = played.members(number, label)
            sites = {s.index: s for s in execution.sites if s.population == label}
            assert cells["circuits"] == [sites[j].circuits[0] for j in members]
            for key, values in (("v_rest", own.leak), ("cm", own.capacitance)):
                wanted = np.floor(np.asarray(values)[members] + 0.5)
                np.testing.assert_array_equal(cells[key], wanted)
            if own.threshold is not None:
                wanted = np.floor(np.asarray(own.threshold)[members] + 0.5)
                np.testing.assert_array_equal(cells["v_thresh"], wanted)
    outputs = chip.run(x)
    for key, population in ((o, v.node) for o, v in g.outputs.items()):
        if plan.network.cells[population].spiking:
            wanted = outputs.outputs[key]
            np.testing.assert_array_equal(result[f"output/{key}"], wanted)
    check_sent(played, x)


def check_sent(played: Played, x: dict[str, Any]) -> None:
    """Inputs and constants are sent in their ticks, recorded spikes later by the latency."""
    plan, facts = played.chip.plan, played.chip.facts
    end, late = int(np.ceil(STEPS * plan.step_ticks)), facts["meta"]["latency_ticks"]
    step_ticks = [int(np.floor(k * plan.step_ticks + 0.5)) for k in range(STEPS)]

    def wanted(label: str, index: int, sample: int) -> list[int]:
        if label in plan.network.cells:
            return [t + late for t in played.spikes[sample][label][index]]
        if label == plan.constant:
            first = plan.period if plan.generators else 0.0
            ticks = [int(np.floor(first + k * plan.period + 0.5)) for k in range(STEPS)]
            return ticks[: sum(t < end for t in ticks)]
        return list(np.repeat(step_ticks, x[label][:, sample, index].astype(int)).tolist())

    for number, net in enumerate(played.stand_in.networks):
        used: dict[str, set[int]] = {}
        for item in facts["executions"][number]["projections"]:
            used.setdefault(item["source"], set()).update(item["pre"])
        assert len(net.runs) == BATCH
        for sample, run in enumerate(net.runs):
            assert run["end"] == end
            for label, trains in run["sent"].items():
                indices = sorted(used[label] - set(played.members(number, label)))
                for index, train in zip(indices, trains, strict=True):
                    assert train == [t for t in wanted(label, index, sample) if t < end]


def run_pynn(
    tmp_path: Path, monkeypatch: Any, chip: Bss2Compiled
) -> tuple[Played, dict[str, Any], Any]:
    x = given(chip.graph)
    played = Played(chip, emulated(chip, x))
    played.stand_in.install(monkeypatch)
    folder = chip.save(tmp_path / "out")
    return played, x, start(folder, "run_pynn.py", monkeypatch, x)


def test_merged_circuits_are_refused_by_pynn(tmp_path: Path, monkeypatch: Any) -> None:
    g, options = GRAPHS["merged"]
    chip = nets.compiled(g, **options)
    assert any(len(site.circuits) > 1 for site in chip.plan.executions[0].sites)
    with pytest.raises(SystemExit, match="PyNN calibrates neurons of one circuit only"):
        run_pynn(tmp_path, monkeypatch, chip)


HXTORCH = ("feed-forward", "odd step", "biases of the host", "biases of a generator",
           "inputs and outputs", "partitioned", "merged")  # fmt: skip


@pytest.mark.parametrize("mock", [True, False])
@pytest.mark.parametrize("name", HXTORCH)
def test_hxtorch_makes_the_plan(tmp_path: Path, monkeypatch: Any, name: str, mock: bool) -> None:
    """Also in software: its steps are those of the emulator's mode `euler`."""
    pytest.importorskip("torch")
    from tests.bss2 import fake_hxtorch

    g, options = GRAPHS[name]
    chip = nets.compiled(g, hxtorch=True, **options)
    plan = chip.plan
    folder = chip.save(tmp_path / "out")
    experiments = fake_hxtorch.install(monkeypatch)
    x = given(g)
    result = start(folder, "run_hxtorch.py", monkeypatch, x, *["--mock"] * mock)
    (experiment,) = experiments
    layers, weights = fake_hxtorch.rebuilt(experiment)
    order = [item for execution in chip.facts["executions"] for item in execution["projections"]]
    assert len(order) == len(weights) == len(plan.network.projections)
    wanted = {(p.source, p.target): p.weights for p in plan.network.projections}
    for item, matrix in zip(order, weights, strict=True):
        np.testing.assert_array_equal(matrix, wanted[item["source"], item["target"]])
    homes = list(
        {(s.population, i): e for i, e in enumerate(plan.executions) for s in e.sites}.items()
    )
    assert len(homes) == len(layers)
    for layer, ((label, _), execution) in zip(layers, homes, strict=True):
        own = [s for s in execution.sites if s.population == label]
        own.sort(key=lambda site: site.index)
        assert layer["circuits"] == [list(s.circuits) for s in own]
        np.testing.assert_array_equal(
            layer["membrane_capacitance"], plan.targets[label].capacitance
        )
    stepped = chip.run(x, mode="euler")
    for key, value in g.outputs.items():
        found = result[f"output/{key}"]
        if plan.network.cells[value.node].spiking:
            assert (found != stepped.outputs[key]).mean() < 0.002
        else:
            np.testing.assert_allclose(found, stepped.outputs[key], rtol=1e-3, atol=1e-3)


def test_hxtorch_refuses_what_it_cannot_do(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("torch")
    from tests.bss2 import fake_hxtorch

    fake_hxtorch.install(monkeypatch)
    for name, told in (
        ("a population in parts", "spread over"),
        ("recurrent", "lif, li: recurrent"),
    ):
        g, options = GRAPHS[name]
        folder = nets.compiled(g, hxtorch=True, **options).save(tmp_path / name)
        with pytest.raises(SystemExit, match=told):
            start(folder, "run_hxtorch.py", monkeypatch, given(g))
