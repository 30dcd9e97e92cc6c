"""The folder and the command line, as users run them: processes of their own."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from snnir.targets.xylo.configuration import ConfigError, read_config
from snnir.targets.xylo.emulator import TRACES
from tests.helpers import ROOT, cli, dyadic, nir_chain, nir_file
from tests.xylo.cases import case
from tests.xylo.nets import counts, cuba, gate, lif, recurrent, two_layers, whole


@pytest.fixture(scope="module")
def net() -> snnir.Graph:
    rng = np.random.default_rng(0)
    return recurrent(
        whole(rng, 7, 3), whole(rng, 7, 7, 30), whole(rng, 4, 7), cuba(threshold=150.0),
        lif(threshold=120.0),
    )  # fmt: skip


@pytest.fixture
def folder(net: snnir.Graph, tmp_path: Path) -> Path:
    return snnir.compile(net, "xylo", chip="xylo-audio-3").save(tmp_path / "out")


def alone(folder: Path, x: Any, tmp_path: Path, *more: str) -> Any:
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-I", str(folder / "model.py"), str(tmp_path / "x.npy")]
    command += ["-o", str(tmp_path / "y.npz"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_the_folder_does_what_memory_does(net: snnir.Graph, folder: Path, tmp_path: Path) -> None:
    names = ["hidden", "hidden:v", "hidden:i", "readout", "readout:v", "readout:i"]
    x = counts(60, 3, 3)
    made: Any = snnir.compile(net, "xylo", chip="xylo-audio-3")
    wanted = made.run(x, names)
    found = snnir.run(folder, x, names)
    assert list(found.recorded) == names
    for name, values in {**wanted.outputs, **wanted.recorded}.items():
        np.testing.assert_array_equal({**found.outputs, **found.recorded}[name], values, name)
    assert found.stats == wanted.stats
    assert wanted.stats["hidden"]["spikes"] == wanted.recorded["hidden"].sum() > 0
    # And in pieces.
    pieces = [made.run(part, names, resume=bool(n)) for n, part in enumerate(np.split(x, [7, 30]))]
    np.testing.assert_array_equal(
        np.concatenate([piece.recorded["hidden:v"] for piece in pieces]),
        wanted.recorded["hidden:v"],
    )


def test_files_explain_themselves(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "config.json", "quantization.json", "model.py", "report.html",
        "load_xylosim.py",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["chip"] == "xylo-audio-3"
    lines = (folder / "config.json").read_text("utf-8").splitlines()
    assert [line.split('"')[1] for line in lines[1:-1]] == list(config)  # a line per field
    assert config["part"] == "SYNS65302"
    report = json.loads((folder / "quantization.json").read_text("utf-8"))
    hidden = report["populations"]["hidden"]
    assert hidden["latency"] == 0
    assert report["populations"]["readout"]["latency"] == 1
    assert hidden["weights"]["input"]["connections"] == 21
    assert hidden["decays"]["membrane"]["dash"] == config["dash_mem"][hidden["first"] :][:7]
    assert hidden["decays"]["synapse"]["error"] == [0.0] * 7
    assert report["used"]["hidden neurons"] == [len(config["threshold"]), 992]
    facts = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert any(loss.startswith("readout: 1 step late") for loss in facts["losses"])


def test_without_snnir_and_numpy_alone(folder: Path, tmp_path: Path) -> None:
    x = counts(20, 2, 3)
    done = alone(folder, x, tmp_path, "--record", "hidden:v")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"output": [20, 2, 4]}
    source = (folder / "model.py").read_text("utf-8")
    assert "snnir." not in source.replace("written by snnir.", "")
    assert "import numpy" in source


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5 at step 3, sample 1"),
        (16, "16 at step 3"),
        (-2, "from 0 to 15"),
        (np.nan, "nan at"),
    ],
)
def test_wrong_inputs(folder: Path, tmp_path: Path, value: float, text: str) -> None:
    x = counts(20, 2, 3)
    x[3, 1, 2] = value
    done = alone(folder, x, tmp_path)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    done = alone(folder, x[:, :, :2], tmp_path)
    assert done.returncode == 1
    assert "must be [T, B, *(3,)]" in done.stderr
    done = alone(folder, counts(20, 2, 3), tmp_path, "--record", "hiden")
    assert "did you mean 'hidden'" in done.stderr


Change = Callable[[dict[str, Any]], Any]


def put(key: str, value: Any) -> Change:
    return lambda config: config.__setitem__(key, value)


def put_in(key: str, index: Any, value: Any) -> Change:
    return lambda config: config[key].__setitem__(index, value)


def drop(key: str) -> Change:
    return lambda config: config.pop(key)


WRONG: list[tuple[Change, str]] = [
    (put("format", 2), "has format 2, known is 1"),
    (put("chip", "loihi"), "is for chip 'loihi', known are xylo-audio-2"),
    (drop("threshold"), "threshold is missing or no list"),
    (put("threshold", 5), "threshold is missing or no list"),
    (put_in("threshold", 0, 0), "threshold has 0, must be whole numbers from 1 to 32767"),
    (put_in("threshold", 0, 32768), "threshold has 32768"),
    (put_in("threshold", 0, 1.0), "threshold has 1.0"),
    (put_in("threshold", 0, True), "threshold has True"),
    (put_in("threshold", 0, "1"), "threshold has '1'"),
    (put_in("bias", 0, -40000), "bias has -40000"),
    (put("bias", []), "bias has 0 entries"),
    (put("has_bias", 1), "has_bias must be true or false"),
    (put_in("dash_mem", 0, 16), "dash_mem has 16, must be whole numbers from 0 to 15"),
    (put_in("dash_mem", 0, -1), "dash_mem has -1"),
    (put_in("dash_syns", 0, []), "dash_syns must be"),
    (put_in("dash_syns", 0, [1, 1, 1]), "dash_syns must be"),
    (put_in("dash_syns", 0, 1), "dash_syns must be"),
    (put("weight_shift_inp", 9), "weight_shift_inp has 9, must be whole numbers from 0 to 8"),
    (put("weight_shift_rec", None), "weight_shift_rec has None"),
    (put_in("synapses_in", 0, [[0, 0, 128]]), "synapses_in[0] has a target, synapse or weight"),
    (put_in("synapses_in", 0, [[0, 0, -129]]), "synapses_in[0] has -129"),
    (put_in("synapses_in", 0, [[99, 0, 1]]), "synapses_in[0] has a target, synapse or weight"),
    (put_in("synapses_in", 0, [[-1, 0, 1]]), "synapses_in[0] has a target, synapse or weight"),
    (put_in("synapses_in", 0, [[0, 2, 1]]), "synapses_in[0] has a target, synapse or weight"),
    (put_in("synapses_in", 0, [[0, 0, 1], [0, 0, 1]]), "synapses_in[0] lists a connection twice"),
    (put_in("synapses_in", 0, [[0, 0]]), "synapses_in[0] must be a list of [target"),
    (put_in("synapses_in", 0, {}), "synapses_in[0] must be a list of [target"),
    (put_in("synapses_in", 0, [[0, 0, 1e99]]), "synapses_in[0] has 1e+99"),
    (put("synapses_rec", []), "synapses_rec has 0 sources"),
    (put_in("aliases", 0, [1]), "aliases must be"),
    (put_in("outputs", 0, {"name": "y"}), "outputs 'y' must have a shape"),
    (put("outputs", [5]), "outputs must be a list of objects"),
    (put("inputs", []), "inputs do not fill"),
    (put("threshold", [1] * 2000), "has 2000 hidden neurons, xylo-audio-2 has 1000"),
    (put("threshold_out", [1] * 9), "has 9 readout neurons, xylo-audio-2 has 8"),
    (put("synapses_in", [[]] * 17), "has 17 input channels, xylo-audio-2 has 16"),
]


@pytest.mark.parametrize(("change", "text"), WRONG, ids=[text for _, text in WRONG])
def test_wrong_configurations(change: Change, text: str) -> None:
    config = case(3)["config"]
    read_config(json.dumps(config))
    change(config)
    with pytest.raises(ConfigError) as failure:
        read_config(json.dumps(config))
    assert text in str(failure.value)


@pytest.mark.parametrize("changed", [
    {"first": 10**6}, {"first": -1}, {"shape": [2**15, 2**15]}, {"shape": []}, {"shape": [0]},
    {"shape": "4"}, {"block": "hidden"}, {"latency": 0.5}, {"read": "membrane"}, {"read": 3},
    {"unit": [1.0]}, {"unit": "x"},
])  # fmt: skip
def test_wrong_spans(changed: dict[str, Any]) -> None:
    config = case(3)["config"]
    config["outputs"][0] |= changed
    if changed == {"shape": []}:
        return  # one neuron without an axis, which is there
    with pytest.raises(ConfigError, match="outputs 'y'"):
        read_config(json.dumps(config))


@pytest.mark.parametrize("text", ["", "[]", "{", "nul", '{"format": NaN}', "[" * 100_000, "\x00"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        read_config(text)


def test_an_altered_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["threshold"][0] += 1
    path.write_text(json.dumps(config), "utf-8")
    np.save(tmp_path / "x.npy", counts(5, 1, 3))
    done = cli("run", folder, "--input", tmp_path / "x.npy")
    assert done.returncode == 1
    assert "SNN502" in done.stderr
    assert "'config.json' was altered" in done.stderr
    # The program of the folder does not see that, but it does see what no chip can be.
    assert alone(folder, counts(5, 1, 3), tmp_path).returncode == 0
    config["threshold"][0] = 0
    path.write_text(json.dumps(config), "utf-8")
    done = alone(folder, counts(5, 1, 3), tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("config.json threshold has 0")
    # Nor is a folder taken at its word whose manifest was altered with it.
    facts = json.loads((folder / "manifest.json").read_text("utf-8"))
    facts["files"]["config.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(facts), "utf-8")
    done = cli("run", folder, "--input", tmp_path / "x.npy")
    assert done.returncode == 1
    assert "SNN502" in done.stderr
    assert "config.json threshold has 0" in done.stderr
    path.unlink()
    assert "config.json cannot be read" in alone(folder, counts(5, 1, 3), tmp_path).stderr


@pytest.mark.framework
@pytest.mark.skipif(find_spec("xylosim") is None, reason="xylosim is not installed")
@pytest.mark.parametrize("chip", ["xylo-audio-2", "xylo-imu", "xylo-audio-3"])
def test_the_vendor_runs_the_folder(net: snnir.Graph, tmp_path: Path, chip: str) -> None:
    made: Any = snnir.compile(net, "xylo", chip=chip)
    out = made.save(tmp_path / "out")
    x = counts(80, 1, 3)
    np.save(tmp_path / "x.npy", x[:, 0])
    command = [sys.executable, str(out / "load_xylosim.py"), "x.npy", "y.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    core = made.network.core
    wanted = core.run(x.astype(int), core.start(1), list(TRACES))
    with np.load(tmp_path / "y.npz") as found:
        assert wanted["spikes"].any()
        for name in ("spikes", "v", "spikes_out", "v_out"):
            np.testing.assert_array_equal(found[name], wanted[name][:, 0], name)
        for name in ("i", "i_out"):
            np.testing.assert_array_equal(found[name], wanted[name][:, 0, :, 0], name)


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "xylo.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "xylo.md", "exec"), {"__name__": "__main__"})
    assert "{'lif1': 0, 'lif2': 1, 'output:output': 1}" in capsys.readouterr().out
    assert (tmp_path / "build" / "chip" / "config.json").is_file()
    # What the page lists is what there is.
    config = json.loads((tmp_path / "build" / "chip" / "config.json").read_text("utf-8"))
    assert all(f"`{key}`" in page for key in config)


# --- Command line --------------------------------------------------------------------------------


def test_compile_check_and_run(tmp_path: Path) -> None:
    model = nir_file(tmp_path / "m.nir")
    out = tmp_path / "out"
    same = ("--semantics", "snntorch", "--dt", "1e-3")
    done = cli("check", model, *same, "--target", "xylo")
    assert done.returncode == 0, done.stderr
    done = cli("compile", model, *same, "--target", "xylo", "--set", "chip=xylo-imu", "-o", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    np.save(tmp_path / "x.npy", counts(40, 2, 3))
    done = cli("run", out, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz",
               "--record", "n1", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["output"]["shape"] == [40, 2, 4]
    with np.load(tmp_path / "y.npz") as data:
        assert data["names"].tolist() == ["output/output", "record/n1"]
    done = cli("run", out, "--poisson", "0.3", "--steps", "20")
    assert done.returncode == 0, done.stderr


def test_check_says_what_is_too_much(tmp_path: Path) -> None:
    many = np.ones(600, np.float32)
    model = nir_chain(
        nir.Linear(dyadic((600, 20))), nir.LIF(many * 0.01, many, many * 0, many),
        nir.Linear(dyadic((40, 600))), nir.LIF(*(np.ones(40, np.float32) * v for v in (0.01, 1, 0, 1))),
        shape=[20], out=[40],
    )  # fmt: skip
    path = nir_file(tmp_path / "big.nir", model)
    arguments = ("check", path, "--semantics", "norse", "--target", "xylo", "--json")
    done = cli(*arguments)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {item["node"] for item in found} == {"input", "n3"}
    done = cli("compile", path, "--semantics", "norse", "--target", "xylo", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("error[SNN501]") == 2
    assert "20 input channels, xylo-audio-2 has 16: 4 too many" in done.stderr
    assert "40 output neurons, xylo-audio-2 has 8: 32 too many" in done.stderr
    assert not (tmp_path / "out").exists()


def test_convolutions_are_unrolled_or_too_large(tmp_path: Path) -> None:
    def picture(side: int) -> Path:
        plane = np.ones((3, side - 2, side - 2), np.float32)
        size = plane.size
        five = np.ones(5, np.float32)
        return nir_file(tmp_path / f"{side}.nir", nir_chain(
            nir.Conv2d((side, side), dyadic((3, 1, 3, 3)), 1, 0, 1, 1, np.zeros(3, np.float32)),
            nir.IF(r=plane, v_threshold=plane),
            nir.Flatten(input_type={"input": np.array(plane.shape)}, start_dim=0, end_dim=-1),
            nir.Linear(dyadic((5, size), 1)), nir.IF(r=five, v_threshold=five),
            shape=[1, side, side], out=[5],
        ))  # fmt: skip

    small = ("--semantics", "sinabs", "--target", "xylo", "-o", tmp_path / "out")
    done = cli("compile", picture(4), *small)
    assert done.returncode == 0, done.stderr
    done = cli("compile", picture(34), "--semantics", "sinabs", "--target", "xylo")
    assert done.returncode == 1
    assert "1156 input channels, xylo-audio-2 has 16: 1140 too many" in done.stderr
    assert "3072 hidden neurons, xylo-audio-2 has 1000: 2072 too many" in done.stderr


def test_wrong_options_and_inputs(tmp_path: Path, folder: Path) -> None:
    model = nir_file(tmp_path / "m.nir")
    same = ("--semantics", "snntorch", "--dt", "1e-3", "--target", "xylo")
    done = cli("compile", model, *same, "--set", "chip=xylo-video", "-o", tmp_path / "o")
    assert done.returncode == 1
    assert "error[SNN503]: target 'xylo': chip is 'xylo-video'; use one of" in done.stderr
    done = cli("compile", model, *same, "--verify", "-o", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert "ran; against the model, " in done.stderr
    x = counts(10, 1, 3)
    x[4] = 0.25
    np.save(tmp_path / "x.npy", x)
    done = cli("run", folder, "--input", tmp_path / "x.npy")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    np.save(tmp_path / "c.npy", x)
    done = cli("compile", model, *same, "--set", f"calibrate={tmp_path / 'c.npy'}")
    assert done.returncode == 1
    assert "SNN601" in done.stderr
    assert "0.25 at step 4" in done.stderr


def test_calibration_makes_room_for_what_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    g = two_layers(whole(rng, 6, 3), whole(rng, 4, 6), gate(150.0), gate(100.0))
    np.save(tmp_path / "quiet.npy", counts(60, 2, 3, rate=0.02))
    assumed: Any = snnir.compile(g, "xylo")
    seen: Any = snnir.compile(g, "xylo", calibrate=str(tmp_path / "quiet.npy"))
    at = assumed.plan.layout.groups["hidden"].span
    # Less is seen than was assumed, so that states may be finer.
    assert (seen.plan.hidden.scale[at] >= assumed.plan.hidden.scale[at]).all()
    report = json.loads(seen.files["quantization.json"])
    assert report["room for states"] == "measured on given events"
