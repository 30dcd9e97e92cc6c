"""Virtual chips, noise, and the program of a folder."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.embedding import module_body
from snnir.targets.bss2.emulation.conditions import Conditions, analogue_chip
from snnir.targets.bss2.emulation.config_reader import config_of
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.monte_carlo import monte_carlo
from snnir.targets.bss2.emulation.program import EMBEDDED, program_source
from snnir.targets.bss2.emulation.variation import BadInput, Sigmas, draw_chip, ideal_chip
from tests.bss2.hand import Layer, Net, folder

NONE = Sigmas(**{field.name: 0.0 for field in fields(Sigmas)})


def net() -> Net:
    rng = np.random.default_rng(4)
    weights = {
        ("x", "h"): rng.integers(-20, 60, (30, 8)),
        ("h", "o"): rng.integers(-63, 64, (3, 30)),
    }
    return Net({"x": 8}, {"h": Layer(30, count=50), "o": Layer(3, spiking=False)}, weights)


X = np.random.default_rng(0).poisson(0.1, (40, 3, 8))


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(config_of(folder(net())))


def run(model: Model, how: Conditions) -> tuple[bytes, bytes]:
    outputs, records, _ = model.run({"x": X}, ["h"], how)
    return outputs["out"].tobytes(), records["h"].tobytes()


def test_sizes_are_read_by_name() -> None:
    assert Sigmas.parse() == Sigmas()
    assert Sigmas.parse("threshold=2,tau_mem=0.1") == Sigmas(threshold=2, tau_mem=0.1)
    assert Sigmas.parse("leak=4", "scale=0.5").leak == 2.0
    assert Sigmas.parse("scale=0") == NONE
    for bad in ("treshold=1", "leak", "leak=x", "leak=-1", "leak=nan", "scale=inf"):
        with pytest.raises(BadInput, match="NAME=SIZE"):
            Sigmas.parse(bad)


def test_no_sizes_are_the_ideal_chip(model: Model) -> None:
    ideal = run(model, Conditions())
    assert run(model, Conditions("mismatch", 5, 7, NONE)) == ideal
    assert run(model, Conditions("mismatch", 5, 7)) != ideal


@pytest.mark.parametrize("name", [f.name for f in fields(Sigmas)])
def test_each_size_counts(model: Model, name: str) -> None:
    sigmas = replace(NONE, **{name: 5.0 if name.startswith("noise_jitter") else 0.9})
    how = Conditions("mismatch", 1, 1, sigmas)
    found = run(model, how)
    assert found != run(model, Conditions())
    assert found == run(model, how)
    # What the trial decides does not change with the chip, and the other way round.
    noise = name.startswith("noise")
    assert (found == run(model, replace(how, seed=2))) == noise
    assert (found == run(model, replace(how, noise_seed=2))) == (not noise)
    assert (run(model, Conditions("ideal", 1, 1, sigmas)) == found) == noise


def test_a_seed_is_a_chip() -> None:
    one, two, other = (
        draw_chip(3, Sigmas()),
        draw_chip(3, Sigmas(synapse=0)),
        draw_chip(4, Sigmas()),
    )
    assert (one.leak == two.leak).all()
    assert (one.gain_inh == two.gain_inh).all()
    assert (one.leak != other.leak).all()
    assert two.synapse is None
    assert one.synapse is not None
    assert one.synapse.shape == (2, 256, 256)
    sizes = {
        "leak": 1.5, "reset": 1.5, "threshold": 2.5, "tau_mem": 0.08, "tau_exc": 0.05,
        "tau_inh": 0.05, "gain_exc": 0.08, "gain_inh": 0.08, "cadc_offset": 1.0, "synapse": 0.04,
    }  # fmt: skip
    columns = []
    for name, size in sizes.items():
        value, aim = getattr(one, name), getattr(ideal_chip(), name)
        aim = 1.0 if name == "synapse" else aim[0]
        assert value.std() == pytest.approx(size, rel=0.12)
        assert value.mean() == pytest.approx(aim, abs=size / 5)
        columns += [value] if name != "synapse" else []
    together = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(together).max() < 0.15
    synapses = (one.synapse.reshape(-1)[: 9 * 512] - 1) / 0.04
    circuits = np.concatenate([one.leak / 1.5, one.reset / 1.5])
    assert abs(np.corrcoef(synapses[:1024], circuits)[0, 1]) < 0.15
    with pytest.raises(BadInput, match="seed"):
        draw_chip(-1, Sigmas())


def test_a_neuron_has_the_values_of_its_circuit(model: Model) -> None:
    setup, delivery = model.config.executions[0], model.deliveries[0]
    chip, how = draw_chip(1, Sigmas()), Conditions("mismatch", 1)
    real = analogue_chip(model.config, setup, delivery, chip, how)
    aim = analogue_chip(model.config, setup, delivery, ideal_chip(), Conditions())
    circuit = real.clocks[:, 2]
    moved = real.values[:, :3] - aim.values[:, :3]
    own = [chip.leak[circuit], chip.reset[circuit], chip.threshold[circuit]]
    np.testing.assert_allclose(moved[:30], np.stack(own, 1)[:30], atol=1e-12)
    slower = aim.values[:, 3:6] / real.values[:, 3:6]
    own = [chip.tau_mem[circuit], chip.tau_exc[circuit], chip.tau_inh[circuit]]
    np.testing.assert_allclose(slower, np.stack(own, 1))
    unit = delivery.unit
    hit = {int(entry): row for entry, *row in delivery.hit.tolist()}
    for entry, (at, sign, number) in hit.items():
        assert at == circuit[unit[entry]]
        hemisphere, row, column = setup.synapses[number, :3]
        gain = (chip.gain_exc if sign > 0 else chip.gain_inh)[at]
        weight = setup.synapses[number, 3] * gain * chip.synapse[hemisphere, row, column]
        assert (real.exc if sign > 0 else real.inh)[entry] == pytest.approx(weight)


def test_jitter_moves_single_spikes_about() -> None:
    layer = Layer(1, threshold=80.01, count=255)
    own = Model(config_of(folder(Net({"x": 1}, {"h": layer}, {("x", "h"): [[63]]}))))
    given = {"x": [[1000, k, 0] for k in range(3000)]}
    how = Conditions(noise_seed=3, sigmas=replace(NONE, noise_jitter=4.0))
    tick, sample, *_ = own.run_events(given, 2000, 3000, how)
    assert (sample == np.arange(3000)).all()
    assert np.mean(tick) == pytest.approx(1001, abs=0.25)
    assert np.std(tick) == pytest.approx(4, rel=0.05)


def test_threshold_noise_is_drawn_after_every_spike() -> None:
    layer = Layer(1, leak=140.0, reset=60.0, threshold=100.0)
    own = Model(config_of(folder(Net({"x": 1}, {"h": layer}, {("x", "h"): [[1]]}))))
    how = Conditions(noise_seed=3, sigmas=replace(NONE, noise_threshold=3.0))
    tick, *_ = own.run_events({}, 200000, how=how)
    reached = 140 - 80 * np.exp(-np.diff(tick) * 0.008 / 6)
    assert len(reached) > 300
    assert reached.mean() == pytest.approx(100, abs=0.6)
    assert reached.std() == pytest.approx(3, rel=0.15)
    assert abs(np.corrcoef(reached[1:], reached[:-1])[0, 1]) < 0.2


def test_many_chips(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    how = Conditions(seed=10, noise_seed=20)
    all_of = monte_carlo(model, {"x": X}, 3, how, record=["h"], progress=True)
    for k, (outputs, records, _) in enumerate(all_of):
        alone = run(model, Conditions("mismatch", 10 + k, 20 + k))
        assert (outputs["out"].tobytes(), records["h"].tobytes()) == alone
    assert monte_carlo(model, {"x": X}, 2, how, reduce=lambda y, r, s: s["h"]) == [
        found[2]["h"] for found in all_of[:2]
    ]
    assert capsys.readouterr().err == ""  # no terminal, no bar


# --- The program ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bss2")
    (place / "model.bss2.json").write_text(json.dumps(folder(net())))
    (place / "model.py").write_text(program_source())
    np.save(place / "x.npy", X)
    return place


def call(program: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(program / "model.py"), str(program / "x.npy"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def read(path: Path) -> dict[str, Any]:
    with np.load(path) as data:
        return {str(n): data[f"array_{i}"] for i, n in enumerate(data["names"].tolist())}


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        ([], Conditions()),
        (["--mode=mismatch", "--seed=3", "--noise"], Conditions("mismatch", 3, 0)),
        (
            ["--mode=mismatch", "--sigma=leak=3,gain=0.2", "--sigma=scale=0.5"],
            Conditions("mismatch", sigmas=Sigmas.parse("leak=3", "gain=0.2", "scale=0.5")),
        ),
        (["--noise-seed=9", "--cadc=ideal"], Conditions(noise_seed=9, cadc="ideal")),
        (["--arbitrate", "--serial", "--cadc-period=6"],
         Conditions(arbitrate=True, serial=True, cadc_period=6.0)),
        (["--mode=euler"], Conditions("euler")),
    ],
)  # fmt: skip
def test_the_program_does_what_the_model_does(
    program: Path, tmp_path: Path, model: Model, arguments: list[str], how: Conditions
) -> None:
    made = tmp_path / "y.npz"
    done = call(program, "-o", str(made), "--record=h", "--record=o:v", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    outputs, records, _ = model.run({"x": X}, ["h", "o:v"], how)
    found = read(made)
    assert list(found) == ["output/out", "record/h", "record/o:v"]
    assert found["output/out"].tobytes() == outputs["out"].tobytes()
    assert found["record/h"].tobytes() == records["h"].tobytes()
    assert found["record/o:v"].tobytes() == records["o:v"].tobytes()
    if how.mode != "euler":
        assert json.loads(done.stdout)["stats"] == model.stats


def test_the_program_runs_many_chips(program: Path, tmp_path: Path, model: Model) -> None:
    done = call(program, "-o", str(tmp_path / "y.npz"), "--record=h", "--chips=2", "--seed=4")
    assert (done.returncode, done.stderr) == (0, "")
    found = read(tmp_path / "y.npz")
    assert found["record/h"].shape == (2, 40, 3, 30)
    for k in (0, 1):
        alone = run(model, Conditions("mismatch", 4 + k))
        assert (found["output/out"][k].tobytes(), found["record/h"][k].tobytes()) == alone


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sigma=lea=3"], "'lea=3' is not NAME=SIZE"),
        (["--seed=-1"], "a seed is a whole number"),
        (["--chips=0"], "--chips is"),
        (["--chips=2", "--mode=ideal"], "--chips is"),
        (["--record=hh"], "did you mean 'h'"),
        (["--mode=real"], "invalid choice"),
        (["--cadc-period=0"], "cannot sample"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_wrong_calls_end_in_a_line(program: Path, arguments: list[str], said: str) -> None:
    done = call(program, *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_program_refuses_altered_files_and_runs_without_a_compiler(
    program: Path, tmp_path: Path
) -> None:
    place = tmp_path / "copy"
    place.mkdir()
    for name in ("model.py", "x.npy"):
        (place / name).write_bytes((program / name).read_bytes())
    text = (program / "model.bss2.json").read_text()
    (place / "model.bss2.json").write_text(text.replace('"threshold": 120.0', '"threshold": "no"'))
    done = call(place)
    assert done.returncode == 1
    assert "threshold of neuron 0 of 'h' is no number" in done.stderr
    assert "Traceback" not in done.stderr
    (place / "model.bss2.json").write_text(text)
    call(place, "-o", str(tmp_path / "fast.npz"))
    source = (place / "model.py").read_text()
    looks = 'wanted = os.environ.get(variable, "").split()'
    assert looks in source
    (place / "model.py").write_text(source.replace(looks, 'raise NoCompiler("none")'))
    slow = call(place, "-o", str(tmp_path / "slow.npz"))
    assert "none; running in Python, slowly" in slow.stderr
    for name, array in read(tmp_path / "fast.npz").items():
        assert array.tobytes() == read(tmp_path / "slow.npz")[name].tobytes()


def test_embedded_names_are_unique() -> None:
    """Modules stand one after the other in the program: no name may hide another's."""
    seen: dict[str, str] = {}
    for module in EMBEDDED:
        for node in ast.parse(module_body(module)).body:
            names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            for name in names:
                assert name not in seen, (name, seen.get(name), module.__name__)
                seen[name] = module.__name__
    assert "import snnir" not in program_source()
    assert "from snnir" not in program_source()
