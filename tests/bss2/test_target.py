"""`--target bss2` as users reach it: compiled, run, saved, checked by a reader of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import snnir
from snnir.ir import Delay, Graph, Linear
from snnir.targets.bss2.schema import SCHEMA
from tests.bss2 import checker, nets
from tests.bss2.reference import simulate
from tests.helpers import CORPUS, cli, quiet_load


def clocks(facts: Any) -> dict[str, tuple[int, int]]:
    found = {}
    for execution in facts["executions"]:
        for neuron in execution["neurons"]:
            cycle = 2 ** execution["clocks"][neuron["refractory_clock"]]
            count = neuron["refractory_count"]
            found[neuron["population"]] = (
                (count - neuron["holdoff_count"]) * cycle, count * cycle,
            )  # fmt: skip
    return found


def biased(bias: float = 0.1) -> Graph:
    weight = np.random.default_rng(3).normal(0, 0.6, (10, 6)).astype(np.float32)
    fc = Linear(snnir.tensor(weight), snnir.tensor(np.full(10, bias, np.float32)))
    nodes = {"x": (nets.spikes(6), []), "fc": (fc, ["x"]), "n": (nets.neuron(), ["fc"])}
    return nets.graph(nodes, ["n"])


GRAPHS: dict[str, tuple[Graph, dict[str, Any]]] = {
    "feed-forward": (nets.feed_forward(12, 30, 3), {}),
    "deep": (nets.feed_forward(12, 20, 15, 4, readout="cubalif"), {}),
    "recurrent": (nets.recurrent(), {}),
    "other times": (nets.feed_forward(8, 20, 4, readout="cubalif", tau_mem=15e-3, tau_syn=2e-3), {}),
    "other potentials": (nets.feed_forward(8, 20, 4, readout="cubalif", v_reset=-0.5, v_leak=0.2), {}),
    "fires by itself": (nets.feed_forward(8, 20, 4, readout="cubalif", v_leak=1.2), {}),
    "slow": (nets.feed_forward(8, 20, 4, readout="cubalif"), {"speedup": 250.0}),
    "odd step": (nets.feed_forward(8, 20, 4, readout="cubalif"), {"speedup": 700.0}),
    "refractory": (nets.recurrent(), {"refractory": 3.0}),
    "one distance": (nets.recurrent(), {"scale": "population"}),
    "biases": (biased(), {}),
    "biases of a generator": (biased(), {"bias": "generator"}),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_spikes_are_those_of_the_integers(name: str) -> None:
    """Registers, labels and routes are read by one side, matrices by the other."""
    g, options = GRAPHS[name]
    chip = nets.compiled(g, **options)
    shape = next(iter(g.inputs.values())).shape
    x = nets.events(40, 2, shape[0], 0.25)
    record = list(snnir.populations(chip.graph))
    r = chip.run(x, record=record)
    spikes = 0
    for sample in range(2):
        wanted = simulate(chip.plan, {"x": x[:, sample]}, clocks(chip.facts))
        for population in record:
            size = chip.plan.network.cells[population].size
            counts = step_counts(wanted[population], chip, 40, size)
            np.testing.assert_array_equal(r.recorded[population][:, sample], counts)
            spikes += int(counts.sum())
    assert spikes > 20
    assert checker.check(chip.facts) == []
    text = chip.files["model.bss2.json"]
    assert isinstance(text, bytes)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))


@pytest.mark.parametrize("name", GRAPHS)
def test_an_independent_reader_finds_the_weights(name: str) -> None:
    g, options = GRAPHS[name]
    chip = nets.compiled(g, **options)
    found = checker.matrices(chip.facts)
    wanted = {(p.source, p.target): p.weights for p in chip.plan.network.projections}
    assert checker.differences(found, wanted) == []
    for population, own in chip.plan.targets.items():
        for source, weights in own.weights.items():
            if weights.any():
                np.testing.assert_array_equal(found[source, population], weights)


def test_membranes_are_in_the_models_units() -> None:
    """A readout below saturation follows the model's membrane to the converter's steps."""
    g = nets.feed_forward(10, 3)
    x = nets.events(60, 4, 10, 0.05)
    want = snnir.compile(g, "numpy").run(x).output
    got = nets.compiled(g)
    assert got.run(x).output.shape == want.shape
    factor = got.plan.targets["n0"].factor[0]
    ideal = got.run(x, cadc="ideal").output
    weights = 25 * factor  # rounded weights: half an LSB of 63, some 25 events
    assert np.abs(ideal - want).max() < weights
    within = np.abs(want) < 80 * factor
    assert np.abs(got.run(x).output - ideal)[within].max() < 10 * factor


def test_calibration_keeps_membranes_in_the_converter(tmp_path: Path) -> None:
    g = nets.feed_forward(40, 3)
    x = nets.events(60, 4, 40, 0.3)
    np.save(tmp_path / "x.npy", x)
    plain = nets.compiled(g)
    plain.run(x)
    fitted = nets.compiled(g, calibrate=str(tmp_path / "x.npy"))
    fitted.run(x)
    assert plain.model.stats["cadc_saturated"] > 0
    assert fitted.model.stats["cadc_saturated"] == 0


def test_folder_and_memory_agree(tmp_path: Path) -> None:
    g = nets.recurrent()
    chip = nets.compiled(g)
    x = nets.events(30, 3, 5, 0.2)
    folder = chip.save(tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {
        "manifest.json", "report.html", "model.bss2.json", "schema.json", "model.py", "run_pynn.py",
    }  # fmt: skip
    done = snnir.run(folder, x, ["lif"])
    mine = chip.run(x, ["lif"])
    np.testing.assert_array_equal(done.output, mine.output)
    np.testing.assert_array_equal(done.recorded["lif"], mine.recorded["lif"])
    assert done.stats == mine.stats
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "threshold distance" in page


def test_names_of_any_length_and_kind(tmp_path: Path) -> None:
    for number, name in enumerate(("n" * 5000, "<b>&", "../x", "a:v", "always on")):
        nodes: dict[str, Any] = {
            "x": (nets.spikes(4), []), "fc": (nets.dense(5, 4, 1), ["x"]),
            name: (nets.neuron(), ["fc"]),
        }  # fmt: skip
        chip = nets.compiled(nets.graph(nodes, [name]))
        x = nets.events(10, 1, 4, 0.5)
        mine = chip.run(x, [name, f"{name}:v"])
        folder = chip.save(tmp_path / str(number))
        done = snnir.run(folder, x, [name])
        np.testing.assert_array_equal(done.recorded[name], mine.recorded[name])
        assert "<b>&" not in (folder / "report.html").read_text()


def test_compiling_twice_gives_the_same_bytes() -> None:
    one, two = (nets.compiled(nets.recurrent()).files for _ in range(2))
    assert one == two


def test_conditions_of_a_run() -> None:
    chip = nets.compiled(nets.recurrent())
    x = nets.events(30, 3, 5, 0.2)
    ideal = chip.run(x, ["lif"]).recorded["lif"]
    one, again, other = (
        chip.run(x, ["lif"], mode="mismatch", seed=s).recorded["lif"] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != ideal).any()
    assert (one != other).any()
    calm = chip.run(x, ["lif"], mode="mismatch", seed=1, sigmas="scale=0").recorded["lif"]
    np.testing.assert_array_equal(calm, ideal)
    rates = chip.monte_carlo(x, 3, lambda r: r.stats["lif"]["spikes"], seed=1, progress=False)
    assert rates[0] == one.sum()
    assert rates[1] == other.sum()
    wrongs: list[dict[str, Any]] = [
        {"mode": "quantum"}, {"colour": 1}, {"sigmas": "depth=1"}, {"seed": -1}, {"seed": "a"},
        {"seed": 1.5}, {"sigmas": 3}, {"cadc_period": "x"},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(snnir.SnnirError) as caught:
            chip.run(x, **wrong)
        assert caught.value.diagnostics[0].code == "SNN601"


def test_wrong_inputs() -> None:
    chip = nets.compiled(nets.recurrent())
    x = nets.events(30, 3, 5, 0.2)
    for wrong in (x[..., :4], x + 0.5, -x, np.full_like(x, np.nan)):
        with pytest.raises(snnir.SnnirError) as caught:
            chip.run(wrong)
        assert caught.value.diagnostics[0].code == "SNN601"
    with pytest.raises(snnir.SnnirError):
        chip.run(x, resume=True)
    with pytest.raises(snnir.SnnirError) as caught:
        chip.run(x, ["nobody"])
    assert caught.value.diagnostics[0].code == "SNN602"
    slow = nets.compiled(nets.recurrent(), speedup=200.0)
    with pytest.raises(snnir.SnnirError) as caught:
        slow.run(np.broadcast_to(np.zeros((1, 1, 5), np.float32), (7_000_000, 1, 5)))
    assert "34" in caught.value.diagnostics[0].message


def test_larger_than_the_chip() -> None:
    """Layers run one after another; spikes are those of one chip that were large enough."""
    g = nets.feed_forward(20, 400, 300, 5, readout="cubalif")
    chip = nets.compiled(g)
    assert len(chip.plan.executions) > 1
    x = nets.events(20, 1, 20, 0.15)
    r = chip.run(x, ["n0", "n1", "n2"])
    wanted = simulate(chip.plan, {"x": x[:, 0]}, clocks(chip.facts))
    for name in ("n0", "n1", "n2"):
        counts = step_counts(wanted[name], chip, *r.recorded[name].shape[::2])
        np.testing.assert_array_equal(r.recorded[name][:, 0], counts)
    assert checker.check(chip.facts) == []
    found = checker.matrices(chip.facts)
    wanted_weights = {(p.source, p.target): p.weights for p in chip.plan.network.projections}
    assert checker.differences(found, wanted_weights) == []


def test_cli(tmp_path: Path) -> None:
    snnir.save(nets.recurrent(), tmp_path / "m.snnir")
    out = tmp_path / "out"
    done = cli("compile", str(tmp_path / "m.snnir"), "--target", "bss2", "-o", str(out), "--verify")
    assert done.returncode == 0, done.stderr
    assert "rounded to 6 bits" in done.stderr
    x = tmp_path / "x.npy"
    np.save(x, nets.events(30, 3, 5, 0.2))
    spikes = []
    for extra in ([], ["mode=mismatch", "seed=3"], ["chips=2", "seed=3"]):
        settings = [item for one in extra for item in ("--set", one)]
        done = cli("run", str(out), "--input", str(x), "--json", *settings)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        spikes.append(told["populations"]["lif"]["spikes"])
        chips = 2 if "chips=2" in extra else 1
        assert told["populations"]["lif"]["rate"] == spikes[-1] / (chips * 30 * 3 * 20)
        assert told["outputs"]["out0"]["shape"] == [2] * (chips - 1) + [30, 3, 3]
    assert spikes[0] != spikes[1] < spikes[2]
    done = cli("run", str(out), "--input", str(x), "--set", "mode=quantum")
    assert done.returncode == 1
    assert "quantum" in done.stderr
    (out / "model.bss2.json").write_text("{}")
    assert "SNN502" in cli("run", str(out), "--input", str(x)).stderr
    shutil.rmtree(out)
    done = cli(
        "check", str(tmp_path / "m.snnir"), "--target", "bss2", "--set", "speedup=1", "--json"
    )
    assert done.returncode == 1
    assert "speedup" in done.stdout


def step_counts(ticks: Any, chip: Any, steps: int, size: int) -> Any:
    """Return spikes [n, 2] (tick, index) as counts [steps, size]."""
    found = np.zeros((steps, size))
    np.add.at(found, ((ticks[:, 0] / chip.plan.step_ticks).astype(int), ticks[:, 1]), 1)
    return found


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the project")
def test_braille_on_its_recorded_sample() -> None:
    """Spike for spike its integers' on the chip; much as the float model where that is stepped."""
    g = quiet_load(CORPUS / "braille_zero.nir", semantics="snntorch", dt=1e-4)
    assert any(isinstance(node.op, Delay) for node in g.nodes.values())
    chip = nets.compiled(g, speedup=20.0)
    assert "act at once" in next(e.what for e in chip.losses.losses if e.node == "lif1.lif")
    x = np.load(CORPUS / "recordings" / "braille_input.npy").astype(np.float32)[:, None]
    names = ["lif1.lif", "lif2"]
    r, stepped = chip.run(x, names), snnir.compile(g, "numpy").run(x, names)
    wanted = simulate(chip.plan, {"input": x[:, 0]}, clocks(chip.facts))
    assert checker.check(chip.facts) == []
    for name, size in (("lif1.lif", 38), ("lif2", 7)):
        counts = step_counts(wanted[name], chip, len(x), size)
        np.testing.assert_array_equal(r.recorded[name][:, 0], counts)
        rates = [y[:, 0].sum(0) for y in (r.recorded[name], stepped.recorded[name])]
        assert np.corrcoef(*rates)[0, 1] > 0.9
        assert 0.7 < rates[0].sum() / rates[1].sum() < 1.3


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the project")
@pytest.mark.parametrize("name", ["lif_norse", "two_lif_neurons"])
def test_single_neurons_of_the_corpus(name: str) -> None:
    g = quiet_load(CORPUS / f"{name}.nir", semantics="exact", dt=1e-4)
    chip = nets.compiled(g, tau_syn=0.3)
    x = nets.events(600, 1, 1, 0.3)
    names = list(snnir.populations(chip.graph))
    r, stepped = chip.run(x, names), snnir.compile(g, "numpy").run(x, names)
    (input_name,) = chip.inputs
    wanted = simulate(chip.plan, {input_name: x[:, 0]}, clocks(chip.facts))
    for population in names:
        counts = step_counts(wanted[population], chip, len(x), 1)
        np.testing.assert_array_equal(r.recorded[population][:, 0], counts)
        ours, theirs = r.recorded[population].sum(), stepped.recorded[population].sum()
        assert abs(ours - theirs) <= 0.1 * theirs + 1
    assert r.stats[names[0]]["spikes"] > 3


def test_a_nir_file_for_hxtorch(tmp_path: Path) -> None:
    """Read as hxtorch steps it, the file spikes as the artefact stepped in hxtorch's way."""
    g = nets.feed_forward(6, 12, 3)
    problems = snnir.check(g, "bss2", hxtorch_nir=True)
    assert any("differs between neurons" in p.message for p in problems)
    assert all("scale=population" in str(p.hint) for p in problems)
    chip = nets.compiled(g, hxtorch_nir=True, hxtorch=True, scale="population")
    folder = chip.save(tmp_path / "out")
    assert (folder / "run_hxtorch.py").is_file()
    again = quiet_load(folder / "hxtorch.nir", semantics="hxtorch")
    x = nets.events(40, 2, 6, 0.2)
    a, b = snnir.compile(again, "numpy").run(x), chip.run(x, ["n0"], mode="euler")
    assert a.stats["n0"] == b.stats["n0"]
    assert a.stats["n0"]["spikes"] > 50
