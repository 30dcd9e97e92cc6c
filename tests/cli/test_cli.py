"""The command line as users run it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.cli.arrays import write_result
from tests.helpers import cli, nir_file, quiet_load, spikes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nir_file(tmp_path / "m.nir")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    done = cli("compile", model, "--semantics", "norse", "--dt", "1e-3", "-o", out, "--verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    return out


def test_compile_writes_a_folder_that_explains_itself(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "model.py", "weights.npz", "report.html"}
    facts = json.loads((folder / "manifest.json").read_text())
    for key in ("format", "snnir", "target", "options", "source", "inputs", "outputs", "dt",
                "semantics", "losses", "files"):  # fmt: skip
        assert key in facts
    assert facts["dt"] == 1e-3
    assert facts["inputs"] == [{"name": "input", "kind": "analog", "shape": [3], "dtype": "f32"}]
    report = (folder / "report.html").read_text()
    assert "src=" not in report
    assert "http:" not in report
    assert "https:" not in report


def test_the_folder_runs_without_snnir(folder: Path, model: Path, tmp_path: Path) -> None:
    x = spikes((30, 2, 3))
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-I", folder / "model.py", tmp_path / "x.npy", "-o",
               tmp_path / "y.npz", "--record", "n1:v"]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    graph = quiet_load(model, semantics="norse", dt=1e-3)
    expected = snnir.compile(graph).run(x, ["n1:v"])
    with np.load(tmp_path / "y.npz", allow_pickle=False) as data:
        assert data["names"].tolist() == ["output/output", "record/n1:v"]
        np.testing.assert_array_equal(data["array_0"], expected.output)
        np.testing.assert_array_equal(data["array_1"], expected.recorded["n1:v"])


@pytest.mark.parametrize("name", ["n1:w", "n\n1"])
def test_an_unknown_record_ends_the_program_with_one_line(
    name: str, folder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", spikes((3, 1, 3)))
    command = [sys.executable, "-I", folder / "model.py", tmp_path / "x.npy", "-o",
               tmp_path / "y.npz", f"--record={name}"]  # fmt: skip
    own = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    ours = cli("run", folder, "--input", tmp_path / "x.npy", f"--record={name}")
    for done in (own, ours):
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"nothing called {name!r} to record; did you mean 'n1" in line
    assert not (tmp_path / "y.npz").exists()


def test_run_of_file_and_folder_agree(folder: Path, model: Path, tmp_path: Path) -> None:
    options = ["--poisson", "0.4", "--steps", "40", "--batch", "3", "--seed", "5", "--json"]
    one = cli("run", model, "--semantics", "norse", "--dt", "1e-3", *options)
    two = cli("run", folder, *options, "-o", tmp_path / "y.npz", "--record", "all")
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert json.loads(one.stdout) == json.loads(two.stdout)
    assert json.loads(one.stdout)["populations"]["n1"]["spikes"] > 0
    again = cli("diff", folder, tmp_path / "y.npz", *options)
    assert again.returncode == 0, again.stderr + again.stdout
    assert json.loads(again.stdout)["identical"]


def test_archives_hold_only_what_they_are_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy before 2.1 stores every keyword as an array, `allow_pickle` too."""
    given: list[str] = []

    def old_savez(file: Any, **arrays: Any) -> None:
        given.extend(arrays)
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as stream:
                    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)

    monkeypatch.setattr(np, "savez", old_savez)
    monkeypatch.setattr(np, "savez_compressed", old_savez)
    result = snnir.run(folder, spikes((3, 1, 3)))
    assert given == ["names", "array_0"]
    with (tmp_path / "y.npz").open("wb") as file:
        write_result(result, file)
    assert given[2:] == ["names", "spike_nodes", "spike_sums", "array_0"]


def test_diff_names_the_first_difference(model: Path) -> None:
    done = cli("diff", f"{model}", f"{model}", "--semantics", "norse", "--poisson", "0.4")
    assert done.returncode == 0
    assert "identical" in done.stdout
    other = model.with_name("other.nir")
    snnir.save(quiet_load(model, semantics="norse", dt=1e-3), model.with_name("a.nir"))
    snnir.save(quiet_load(model, semantics="norse", dt=1e-3, reset="subtract"), other)
    done = cli("diff", model.with_name("a.nir"), other, "--poisson", "0.6")
    assert done.returncode == 1
    assert "first difference: node 'n1', step" in done.stdout


def test_plots(model: Path, tmp_path: Path) -> None:
    for kind, suffix in (("raster", "png"), ("membrane", "svg")):
        picture = tmp_path / f"p.{suffix}"
        record = "n1:v" if kind == "membrane" else "all"
        done = cli("run", model, "--semantics", "norse", "--poisson", "0.5", "--record", record,
                   "--plot", picture, "--plot-kind", kind)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert picture.stat().st_size > 5000


@pytest.mark.parametrize("form", ["nir", "snnir", "snn"])
def test_convert(form: str, model: Path, tmp_path: Path) -> None:
    made, report = tmp_path / f"n.{form}", tmp_path / "loss.json"
    done = cli("convert", model, "--semantics", "sinabs", "--to", form, "-o", made,
               "--loss-report", report)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["losses"] == []
    graph = quiet_load(model, semantics="sinabs")
    assert str(snnir.load(made)) == str(graph) or form == "nir"
    if form != "snn":
        assert snnir.load(made) == graph


@pytest.mark.parametrize("form", ["table", "text", "json", "dot", "equations", "schedule"])
def test_inspect(form: str, model: Path) -> None:
    done = cli("inspect", model, "--semantics", "norse", "--format", form)
    assert done.returncode == 0, done.stderr
    expected = {
        "table": "neuron lif", "text": "%n1 = neuron(%n0)", "json": '"nodes"', "dot": "n0 -> n1",
        "equations": "tau * dv/dt = (v_leak - v) + r * x", "schedule": "unit    n0, n1",
    }  # fmt: skip
    assert expected[form] in done.stdout
    if form == "json":
        assert json.loads(done.stdout)["dt"] == 1e-3


def test_inspect_folder(folder: Path) -> None:
    assert json.loads(cli("inspect", folder).stdout)["target"] == "numpy"


def test_opt(model: Path, tmp_path: Path) -> None:
    done = cli("opt", model, "--semantics", "norse", "--passes", "discretize,verify",
               "-o", tmp_path / "d.snnir", "--timing", "--print-after", "discretize")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "// after discretize" in done.stderr
    assert "fidelity" in done.stderr
    assert "step" in cli("inspect", tmp_path / "d.snnir").stdout


def test_check(model: Path) -> None:
    done = cli("check", model, "--semantics", "norse", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    done = cli("check", model.with_name("absent.nir"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["code"] == "SNN101"


@pytest.mark.parametrize("what", ["frontends", "passes", "targets", "neurons", "semantics"])
def test_list(what: str) -> None:
    rows = json.loads(cli("list", what, "--json").stdout)
    plain = cli("list", what).stdout
    assert len(rows) > 1
    assert all(row["name"] in plain for row in rows)


def test_factories(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text("import sys; sys.path.insert(0, '.')\n"
                    "def good():\n    from tests.helpers import recurrent\n    return recurrent()\n"
                    "def bad():\n    return 3\ndef worse():\n    1 / 0\n")  # fmt: skip
    assert "delay" in cli("inspect", f"{path}:good").stdout
    assert "returned int" in cli("inspect", f"{path}:bad").stderr
    assert "ZeroDivisionError" in cli("inspect", f"{path}:worse").stderr


def test_warnings_go_to_stderr_and_can_be_hidden(model: Path) -> None:
    assert "warning[SNN301]" in cli("inspect", model).stderr
    assert cli("-q", "inspect", model).stderr == ""


WRONG: dict[str, tuple[list[Any], str]] = {
    "missing file": (["inspect", "absent.nir"], "SNN101"),
    "folder": (["inspect", "."], "SNN502"),
    "semantics": (["inspect", "{m}", "--semantics", "nors"], "did you mean norse"),
    "dt": (["inspect", "{m}", "--dt", "-1"], "SNN303"),
    "reset": (["inspect", "{m}", "--reset", "hard"], "SNN302"),
    "stepping": (["inspect", "{m}", "--stepping", "speed=3"], "no option 'speed'"),
    "stepping form": (["inspect", "{m}", "--stepping", "speed"], "KEY=VALUE"),
    "pass": (["opt", "{m}", "--passes", "discretise", "-o", "-"], "did you mean discretize"),
    "suffix": (["opt", "{m}", "--passes", "verify", "-o", "x.txt"], "names no format"),
    "target": (["compile", "{m}", "--target", "nump"], "did you mean numpy"),
    "target option": (["compile", "{m}", "--set", "speed=3"], "no option 'speed'"),
    "option value": (["compile", "{m}", "--set", "precision=f16"], "precision is 'f16'"),
    "no input": (["run", "{m}"], "either --input FILE or --poisson"),
    "input file": (["run", "{m}", "--input", "absent.npy"], "SNN601"),
    "input shape": (["run", "{m}", "--input", "{d}/wrong.npy"], "must be [T, B, 3]"),
    "pickle": (["run", "{m}", "--input", "{d}/pickle.npy"], "SNN601"),
    "NaN input": (["run", "{m}", "--input", "{d}/nan.npy"], "NaN"),
    "record": (["run", "{m}", "--poisson", "0.1", "--record", "n2"], "did you mean"),
    "state": (["run", "{m}", "--poisson", "0.1", "--record", "n1:w"], "no state 'w'"),
    "picture": (["run", "{m}", "--poisson", "0.1", "--plot", "x.bmp"], "no picture format"),
    "convert suffix": (["convert", "{m}", "--to", "nir", "-o", "x.h5"], "name it"),
    "destination": (["compile", "{m}", "-o", "{d}"], "not an artefact folder"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_inputs(kind: str, model: Path, tmp_path: Path) -> None:
    arguments, part = WRONG[kind]
    np.save(tmp_path / "wrong.npy", np.zeros((5, 2, 7)))
    np.save(tmp_path / "nan.npy", np.full((5, 2, 3), np.nan))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    filled = [a.replace("{m}", str(model)).replace("{d}", str(tmp_path)) for a in arguments]
    done = cli("-q", *filled, cwd=tmp_path)
    assert done.returncode == 1
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("error[") for line in done.stderr.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_usage_errors_exit_with_2() -> None:
    for arguments in (["frobnicate"], ["compile"], ["run", "x", "--steps", "0"], ["list", "x"]):
        done = cli(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_altered_artefacts_are_refused(folder: Path) -> None:
    source = (folder / "model.py").read_text()
    (folder / "model.py").write_text(source + "\n# changed\n")
    done = cli("run", folder, "--poisson", "0.1")
    assert done.returncode == 1
    assert "'model.py' was altered" in done.stderr
    facts = json.loads((folder / "manifest.json").read_text())
    facts["files"] = {"../../etc/passwd": "x"}
    (folder / "manifest.json").write_text(json.dumps(facts))
    assert "outside the folder" in cli("run", folder, "--poisson", "0.1").stderr


def test_hostile_names_stay_inside(tmp_path: Path) -> None:
    from tests.helpers import feed_forward

    text = str(feed_forward())
    hostile = 'a"; import os; os.system("touch owned") #'
    for old, new in (("%fc", '%"../../x"'), ("%lif", f"%{json.dumps(hostile)}")):
        text = text.replace(old, new)
    graph = snnir.parse(text)
    weights = {t.digest: t for t in feed_forward().tensors().values()}
    from snnir.ir.parser import parse_graph

    graph = parse_graph(text, weights)
    snnir.save(graph, tmp_path / "m.snnir")
    done = cli("compile", "m.snnir", "-o", "out", "--verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"m.snnir", "out"}
    done = cli("run", "out", "--poisson", "0.5", "--record", hostile, "--json", cwd=tmp_path)
    assert hostile in json.loads(done.stdout)["populations"]
    assert not (tmp_path / "owned").exists()
    for form in ("table", "json", "dot", "text"):
        assert cli("inspect", "m.snnir", "--format", form, cwd=tmp_path).returncode == 0


def test_recompiling_replaces_the_folder(folder: Path, model: Path) -> None:
    done = cli("compile", model, "--semantics", "exact", "--dt", "1e-3", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert cli("run", folder, "--poisson", "0.2").returncode == 0
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_debug_shows_the_traceback(model: Path) -> None:
    done = cli("inspect", "absent.nir", env={"SNNIR_DEBUG": "1"})
    assert "Traceback" in done.stderr
