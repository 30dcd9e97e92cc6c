"""The target as its users meet it: folders, the command line, published and trained models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Conv2d, Flatten, Graph, Input, Linear, Op, Signal, SumPool2d
from tests.helpers import ROOT, cli, graph, quiet_load, spikes
from tests.speck.test_layers import integrate, network, one_layer, whole

COUNTS = snnir.Kind.COUNTS
DIGITS = ROOT / "examples" / "speck" / "digits_conv.nir"
SAMPLES = ROOT / "examples" / "speck" / "samples.npz"
POPULATIONS = ["if1", "if2", "if3"]


@pytest.fixture(scope="module")
def digits() -> Any:
    return snnir.compile(snnir.load(DIGITS), "speck")


@pytest.fixture(scope="module")
def folder(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = digits.save(tmp_path_factory.mktemp("speck") / "digits")
    return made


def samples() -> tuple[Any, Any]:
    with np.load(SAMPLES) as data:
        return data["x"].astype(np.float32), data["labels"]


# --- Accuracy ------------------------------------------------------------------------------------


def test_the_trained_digits_keep_their_accuracy_on_the_chip(digits: Any) -> None:
    x, labels = samples()
    chip = (digits.run(x).output.sum(0).argmax(1) == labels).mean()
    stepped = (snnir.compile(snnir.load(DIGITS)).run(x).output.sum(0).argmax(1) == labels).mean()
    assert stepped >= 0.95
    assert chip >= stepped - 0.03
    assert all(rounding.worst < 1e-3 for rounding in digits.plan.roundings.values())


def test_the_published_model_runs_near_its_float_model(corpus: Path) -> None:
    """Layer by layer: from the same input each layer counts about the spikes of the model."""
    model = quiet_load(corpus / "nmnist_cnn_sinabs.nir", semantics="sinabs")
    built: Any = snnir.compile(model, "speck")
    names = list(built.ports["populations"])
    x = spikes((200, 6, 2, 34, 34), 0.004)
    chip, memory = built.run(x, names), built.run(x, names, form="memory")
    stepped = snnir.compile(model).run(x, names)
    shares = {}
    for name in names:
        assert np.array_equal(chip.recorded[name], memory.recorded[name])
        ours, theirs = chip.recorded[name].sum(0), stepped.recorded[name].sum(0)
        shares[name] = np.corrcoef(ours.reshape(-1), theirs.reshape(-1))[0, 1]
    assert shares[names[0]] > 0.97, shares
    assert min(shares.values()) > 0.85, shares


# --- Folders -------------------------------------------------------------------------------------


def test_the_folder_runs_by_itself_from_either_form(
    digits: Any, folder: Path, tmp_path: Path
) -> None:
    x = samples()[0][:, :5]
    expected = digits.run(x, POPULATIONS)
    np.save(tmp_path / "x.npy", x)
    for form in ("config", "memory"):
        out = tmp_path / f"{form}.npz"
        alone = tmp_path / form
        shutil.copytree(folder, alone)
        (alone / ("memory.bin" if form == "config" else "config.json")).unlink()
        command = [sys.executable, "-I", str(alone / "model.py"), str(tmp_path / "x.npy")]
        command += ["-o", str(out), "--from", form, *(f"--record={name}" for name in POPULATIONS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(out) as data:
            names = data["names"].tolist()
            found = {name: data[f"array_{index}"] for index, name in enumerate(names)}
        assert np.array_equal(found["output/output"], expected.output)
        for name in POPULATIONS:
            assert np.array_equal(found[f"record/{name}"], expected.recorded[name])


def test_the_folder_says_what_is_lost_and_where_all_is(folder: Path) -> None:
    facts = json.loads((folder / "manifest.json").read_text())
    assert len([loss for loss in facts["losses"] if "takes events one at a time" in loss]) == 3
    assert facts["outputs"][0]["kind"] == "counts"
    placed = json.loads((folder / "placement.json").read_text())
    assert [row["layer"] for row in placed] == POPULATIONS
    assert placed[1]["memory"]["kernel"] == {"needed": 8192, "there": 16384}
    assert "7" not in placed[1]["too_small"]
    told = json.loads((folder / "semantics.json").read_text())
    assert told["order_of_neurons"] == "row, column, channel"
    assert told["layers"]["if1"]["reset"] == "subtract threshold"
    page = (folder / "report.html").read_text()
    assert "Cores of speck2f" in page
    assert "Weights and thresholds" in page


def test_a_compilation_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    command = ["compile", DIGITS, "--target", "speck", "-o", tmp_path / "again"]
    for seed in ("1", "2"):
        assert cli(*command, env={"PYTHONHASHSEED": seed}).returncode == 0
        for file in folder.iterdir():
            if file.name not in ("manifest.json", "report.html"):
                assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file


def test_a_run_without_a_compiler_is_the_same(folder: Path, tmp_path: Path) -> None:
    x = samples()[0][:4, :1]
    np.save(tmp_path / "x.npy", x)
    text = (folder / "model.py").read_text().replace("raise NoCompiler", "raise NoCompiler  #")
    assert "compiled=False" in text
    script = tmp_path / "alone"
    shutil.copytree(folder, script)
    (script / "model.py").write_text(
        text.replace(
            "def c_engine() -> Any:", "def c_engine() -> Any:\n    raise NoCompiler('none')"
        )
    )
    outs = []
    for place in (folder, script):
        command = [sys.executable, str(place / "model.py"), str(tmp_path / "x.npy")]
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "o.npz")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "o.npz") as data:
            outs.append(data["array_0"])
    assert "running in Python" in done.stderr
    assert np.array_equal(*outs)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.json", lambda t: t[:-40], "config.json is not a configuration"),
        ("config.json", lambda t: t.replace('"stride": {"x": 1', '"stride": {"x": 0', 1), "impossible geometry"),
        ("config.json", lambda t: t.replace('"layer": ', '"layer": 1', 1), "what that cannot take"),
        ("config.json", lambda t: t.replace('"feature_count": 16', '"feature_count": 70000', 1), "not a configuration"),
        ("config.json", lambda t: t.replace('"pooling": 2', '"pooling": 0', 1), "impossible geometry"),
        ("config.json", lambda t: t.replace('"cnn_layers": [', '"cnn_layers": [' + "null, " * 9), "there are 9 cores"),
        ("ports.json", lambda t: t[:-9], "Expecting"),
        ("ports.json", lambda t: "{}", "ports.json does not fit the chip"),
        ("ports.json", lambda t: t.replace('"core": 0', '"core": 99'), "ports.json does not fit the chip"),
        ("ports.json", lambda t: t.replace('"ticks_per_step": 0.0', '"ticks_per_step": 1e9'), "does not fit the chip"),
        ("ports.json", lambda t: t.replace('"maps": [', '"maps": [7, ', 1), "ports.json does not fit the chip"),
    ],
)  # fmt: skip
def test_an_altered_folder_is_refused(
    folder: Path, tmp_path: Path, name: str, change: Any, said: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_text(change((copy / name).read_text()))
    np.save(tmp_path / "x.npy", samples()[0][:2, :1])
    done = cli("run", copy, "--input", tmp_path / "x.npy", "-o", tmp_path / "o.npz")
    assert done.returncode == 1
    assert "was altered" in done.stderr
    command = [sys.executable, str(copy / "model.py"), str(tmp_path / "x.npy")]
    alone = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert alone.returncode == 1
    assert said in alone.stderr
    assert "Traceback" not in alone.stderr


# --- The sensor and the readout ------------------------------------------------------------------


def seen(chip: str, **options: Any) -> Any:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(COUNTS, (2, 64, 64))), []),
        "p": (SumPool2d((4, 4), (4, 4)), ["input"]),
        "c": (Conv2d(whole((3, 2, 3, 3)), stride=(2, 2)), ["p"]),
        "if": (integrate(), ["c"]),
    }
    return snnir.compile(graph(nodes, "if", dt=1e-3), "speck", chip=chip, **options)


@pytest.mark.parametrize("chip", ["speck2b", "speck2e", "speck2f"])
def test_the_sensor_gives_what_the_host_would_send(chip: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((5, 2, 2, 64, 64)) < 0.02).astype(np.float32)
    expected = seen(chip).run(x).output
    assert expected.sum() > 20
    frame = np.zeros((5, 2, 2, 128, 128), np.float32)
    frame[..., 12:76, 40:104] = x
    frame[..., :10, :] = 1  # outside the window
    built = seen(chip, dvs=True, origin="40,12")
    for form in ("config", "memory"):
        assert np.array_equal(built.run(frame, form=form).output, expected)
    sensor = json.loads(built.files["config.json"])["dvs_layer"]
    window = {"origin": {"x": 10, "y": 3}, "cut": {"x": 25, "y": 18}}
    if chip == "speck2b":
        window = {"origin": {"x": 40, "y": 12}, "cut": {"x": 103, "y": 75}}
    assert {name: sensor[name] for name in window} == window
    assert built.inputs["input"].shape == (2, 128, 128)


def test_a_mirrored_sensor_is_a_mirrored_picture() -> None:
    frame = np.zeros((4, 1, 2, 128, 128), np.float32)
    frame[..., :64, :64] = np.random.default_rng(1).random((4, 1, 2, 64, 64)) < 0.03
    plain = seen("speck2f", dvs=True)
    turned = np.zeros_like(frame)
    turned[..., :64, :64] = frame[..., :64, :64][..., ::-1, ::-1]
    # Events come in another order, so sums of spikes are compared where each neuron sees few.
    built = seen("speck2f", dvs=True, mirror="xy")
    one = np.zeros_like(frame)
    one[0, 0, 1, 5, 9] = 3
    other = np.zeros_like(frame)
    other[0, 0, 1, 63 - 5, 63 - 9] = 3
    assert np.array_equal(built.run(one).output, plain.run(other).output)
    assert built.run(frame).output.shape == plain.run(turned).output.shape


def test_polarities_of_one_channel() -> None:
    source = one_layer((1, 8, 8), {"c": (Conv2d(whole((3, 1, 3, 3))), ["input"])}, "c")
    frame = np.zeros((1, 1, 2, 128, 128), np.float32)
    frame[0, 0, 0, 3, 3], frame[0, 0, 1, 3, 4] = 40, 30
    sums = {}
    for polarity in ("", "merge", "on", "off"):
        built = snnir.compile(source, "speck", dvs=True, polarity=polarity)
        sums[polarity] = built.run(frame).output.sum()
    assert sums[""] == sums["merge"] > max(sums["on"], sums["off"])
    assert sums["off"] > sums["on"] > 0  # 40 events and 30


def test_classes_are_spread_for_the_readout() -> None:
    source = network()
    x = np.random.default_rng(0).poisson(0.2, (20, 1, 2, 8, 8))
    plain: Any = snnir.compile(source, "speck")
    built: Any = snnir.compile(source, "speck", readout=True)
    core = built.ports["populations"]["if4"]["core"]
    facts = json.loads(built.files["config.json"])
    layer = facts["cnn_layers"][core]
    assert layer["dimensions"]["output_shape"]["feature_count"] == 5 * 4 + 1
    assert layer["destinations"] == [
        {"enable": True, "layer": 12, "pooling": 1, "feature_shift": 0}
    ]
    assert facts["readout"] == {"enable": True}
    row = next(row for row in json.loads(built.files["placement.json"]) if row["layer"] == "if4")
    # 5 channels of 2x2 windows to 21, of which every fourth is a class.
    assert (
        row["memory"]["kernel"]["needed"]
        == 5 << (2 + 5)
        == built.plan.network.cores[core].geometry.kernel_words
    )
    assert row["memory"]["bias"]["needed"] == 21
    assert np.array_equal(built.run(x).output, plain.run(x).output)
    assert np.array_equal(built.run(x, form="memory").output, plain.run(x).output)
    assert plain.run(x).output.sum() > 0


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"dvs": True}, (3, 8, 8), "has 3 channels; the sensor gives 1"),
        ({"dvs": True, "polarity": "both"}, (1, 8, 8), "has 1 channels; the sensor gives 2"),
        ({"dvs": True, "origin": "125,0"}, (2, 8, 8), "reaches pixel 133"),
        ({"readout": True}, (2, 8, 8), "has maps of 3x6x6; the readout takes one pixel"),
        ({"readout": True, "chip": "speck2b"}, (2, 8, 8), "readout of speck2b cannot be reached"),
    ],
)
def test_what_sensor_and_readout_cannot_do(options: Any, shape: Any, said: str) -> None:
    source = one_layer(shape, {"c": (Conv2d(whole((3, shape[0], 3, 3))), ["input"])}, "c")
    with pytest.raises(snnir.SnnirError, match=said):
        snnir.compile(source, "speck", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chip": "speck3"}, "chip is 'speck3'; use one of speck2b, speck2e, speck2f"),
        ({"origin": "5"}, "origin is '5'; write X,Y"),
        ({"origin": "1,1"}, "are the sensor's; add --set dvs=true"),
        ({"dvs": True, "mirror": "z"}, "mirror is 'z'; use one of x, y, xy"),
        ({"slow_clock": -1.0}, "slow-clock is -1.0"),
    ],
)
def test_options_that_are_none(options: Any, said: str) -> None:
    with pytest.raises(snnir.SnnirError, match=said):
        snnir.compile(network(), "speck", **options)


# --- The command line ----------------------------------------------------------------------------


def big(path: Path) -> Path:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(COUNTS, (2, 12, 12))), []),
        "f": (Flatten(), ["input"]),
        "fc": (Linear(whole((1000, 288))), ["f"]),
        "if": (integrate(), ["fc"]),
    }
    made: Graph = graph(nodes, "if", dt=1e-3)
    snnir.save(made, path)
    return path


def test_check_says_how_far_a_model_is_too_big(tmp_path: Path) -> None:
    done = cli("check", big(tmp_path / "big.snnir"), "--target", "speck", "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)
    assert found["node"] == "if"
    assert "kernel memory 524,288 of 65,536 words" in found["message"]
    assert "128 output channels instead of 1000" in found["hint"]
    plain = cli("check", tmp_path / "big.snnir", "--target", "speck", "--set", "chip=speck2b")
    assert plain.returncode == 1
    assert "error[SNN501]: node 'if': fits no core" in plain.stdout
    fine = cli("check", DIGITS, "--target", "speck")
    assert (fine.returncode, fine.stdout) == (0, "nothing found\n")


def test_compile_and_run_from_the_command_line(tmp_path: Path, digits: Any) -> None:
    out = tmp_path / "out"
    done = cli("compile", DIGITS, "--target", "speck", "--verify", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "if1: takes events one at a time" in done.stderr
    assert "ran; against the model, if1" in done.stderr
    np.save(tmp_path / "x.npy", samples()[0][:, :3])
    ran = cli("run", out, "--input", tmp_path / "x.npy", "-o", tmp_path / "o.npz", "--json")
    assert ran.returncode == 0, ran.stderr
    stats = json.loads(ran.stdout)
    assert "if3" in str(stats)
    options = ("run", out, "--input", tmp_path / "x.npy", "--json", "--set")
    for setting in ("from=memory", "reverse=true", "reverse=false"):
        again = cli(*options, setting)
        assert again.returncode == 0, again.stderr
        assert (json.loads(again.stdout) == stats) == (setting != "reverse=true")
    wrong = {
        "from=disk": "invalid choice: 'disk'",
        "frobnicate=1": "unrecognized arguments: --frobnicate=1",
        "reverse=1": "ignored explicit argument '1'",
        "from": "--set 'from' is not KEY=VALUE",
        "-o=x": "is not KEY=VALUE",
        "out=x": "--set cannot set 'out'",
        "help=true": "--set cannot set 'help'",
    }
    for setting, said in wrong.items():
        failed = cli(*options, setting)
        assert failed.returncode == 1
        assert said in failed.stderr
        assert "Traceback" not in failed.stderr
    model = cli("run", DIGITS, "--poisson", "0.1", "--set", "from=memory")
    assert (model.returncode, "this is a model" in model.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "chip=speck9"], "chip is 'speck9'"),
        (["--set", "colour=red"], "has no option 'colour'"),
        (["--set", "slow-clock=fast"], "slow-clock"),
    ],
)
def test_wrong_options_leave_nothing_behind(tmp_path: Path, arguments: Any, said: str) -> None:
    done = cli("compile", DIGITS, "--target", "speck", *arguments, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_inputs_must_be_events(digits: Any) -> None:
    for x in (np.full((3, 1, 1, 8, 8), 0.5), np.full((3, 1, 1, 8, 8), -1.0)):
        with pytest.raises(snnir.SnnirError, match="carries counts"):
            digits.run(x)
    with pytest.raises(snnir.SnnirError, match="is no population of the chip"):
        digits.run(np.zeros((3, 1, 1, 8, 8)), ["conv1"])


def test_a_run_resumes(digits: Any) -> None:
    x = samples()[0][:, :2]
    whole_run = digits.run(x).output
    parts = [digits.run(x[:10]).output, digits.run(x[10:], resume=True).output]
    assert np.array_equal(np.concatenate(parts), whole_run)
    with pytest.raises(snnir.SnnirError, match="batch"):
        digits.run(x[:, :1], resume=True)


@pytest.mark.parametrize("value", [-1.0, 0.5, float("nan"), 1e300])
def test_the_folder_takes_counts_alone(folder: Path, tmp_path: Path, value: float) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 1, 1, 8, 8), value))
    command = [sys.executable, str(folder / "model.py"), str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "whole numbers from 0 to 65535" in done.stderr
    assert "Traceback" not in done.stderr
