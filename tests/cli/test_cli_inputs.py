"""Wrong arguments and files end in one line and leave nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from tests.helpers import cli, dyadic, nir_file

HOSTILE = ("in\x1b[31m\nput", "fc\x1b]0;owned\x07", "a,b", "o\x07ut")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nir_file(tmp_path / "m.nir")


def hostile_file(path: Path) -> Path:
    source, fc, lif, out = HOSTILE
    four = np.ones(4, np.float32)
    nodes: dict[str, nir.NIRNode] = {
        source: nir.Input(input_type={"input": np.array([3])}),
        fc: nir.Affine(dyadic((4, 3)), dyadic((4,))),
        lif: nir.LIF(tau=four * 0.01, r=four * 10, v_leak=four * 0, v_threshold=four),
        out: nir.Output(output_type={"output": np.array([4])}),
    }
    edges = [(source, fc), (fc, lif), (lif, out)]
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


WRONG: dict[str, tuple[list[Any], str]] = {
    "nan rate": (["run", "{m}", "--poisson", "nan"], "SNN701"),
    "truncated archive": (["run", "{m}", "--input", "{d}/cut.npz"], "SNN601"),
    "damaged archive": (["run", "{m}", "--input", "{d}/flipped.npz"], "SNN601"),
    "objects in archive": (["run", "{m}", "--input", "{d}/objects.npz"], "SNN601"),
    "empty file": (["run", "{m}", "--input", "{d}/empty.npy"], "SNN601"),
    "truncated recording": (["diff", "{d}/cut.npz", "{d}/cut.npz"], "SNN101"),
    "incomplete recording": (["diff", "{d}/names.npz", "{d}/names.npz"], "SNN101"),
    "stepping path": (["inspect", "{m}", "--stepping", "path=x"], "--stepping cannot set 'path'"),
    "stepping repair": (["inspect", "{m}", "--stepping", "repair=1"], "cannot set 'repair'"),
    "set level": (["compile", "{m}", "--set", "level=2"], "no option 'level'"),
    "set target": (["compile", "{m}", "--set", "target=nir"], "no option 'target'"),
    "verify without program": (["compile", "{m}", "--target", "nir", "--verify", "-o", "{d}/o"],
                               "makes nothing that runs"),
    "print after": (["opt", "{m}", "--passes", "verify", "-o", "-", "--print-after", "verif"],
                    "did you mean verify"),
    "picture after output": (["run", "{m}", "--poisson", "0.1", "-o", "{d}/y.npz", "--plot",
                              "x.bmp"], "no picture format"),
    "report after model": (["convert", "{m}", "--to", "snn", "-o", "{d}/n.snn", "--loss-report",
                            "{m}/x.json"], "SNN702"),
    "manifest": (["run", "{d}/folder", "--poisson", "0.1"], "lacks target, inputs"),
    "plug-in": (["list", "passes", "--plugin", "{d}/absent.py"], "SNN402"),
    "factory file": (["inspect", "{d}/absent.py:make"], "SNN101"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_inputs(kind: str, model: Path, tmp_path: Path) -> None:
    arguments, part = WRONG[kind]
    np.savez(tmp_path / "whole.npz", names=np.arange(40))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:40])
    (tmp_path / "flipped.npz").write_bytes(whole[:200] + b"\xff" * 8 + whole[208:])
    np.savez(tmp_path / "names.npz", names=np.array(["output/output", "absent"]))
    np.savez(tmp_path / "objects.npz", input=np.array([{}], object))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").write_text('{"format": 1, "files": {}}')
    before = sorted(tmp_path.rglob("*"))
    filled = [a.replace("{m}", str(model)).replace("{d}", str(tmp_path)) for a in arguments]
    done = cli("-q", *filled, cwd=tmp_path)
    assert done.returncode == 1
    assert part in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error[SNN")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_negative_seed_is_wrong_usage(model: Path) -> None:
    assert cli("run", model, "--poisson", "0.1", "--seed", "-1").returncode == 2


@pytest.mark.slow
def test_names_never_reach_the_terminal_raw(tmp_path: Path) -> None:
    path = hostile_file(tmp_path / "h.nir")
    runs: list[tuple[Any, ...]] = [
        *(("inspect", path, "--format", form) for form in ("table", "text", "dot", "equations")),
        ("inspect", path, "--format", "json"),
        ("inspect", path, "--format", "schedule"),
        ("run", path, "--poisson", "0.5", "--record", "all"),
        ("run", path, "--poisson", "0.5", "--record", "inp"),
        ("diff", path, path, "--poisson", "0.5"),
        ("check", path),
    ]
    for arguments in runs:
        done = cli(*arguments, "--semantics", "norse")
        shown = set(done.stdout + done.stderr)
        assert all(c.isprintable() or c == "\n" for c in shown), arguments
        assert "Traceback" not in done.stderr
    assert len(cli("-q", *runs[-3]).stderr.splitlines()) == 1


def test_a_comma_may_be_part_of_a_name(tmp_path: Path) -> None:
    path = hostile_file(tmp_path / "h.nir")
    done = cli("-q", "run", path, "--poisson", "0.5", "--record", "a,b", "-o", tmp_path / "y.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "y.npz", allow_pickle=False) as data:
        assert "record/a,b" in data["names"].tolist()


def test_dot_keeps_letters_of_all_scripts(tmp_path: Path) -> None:
    four = np.ones(4, np.float32)
    lif = nir.LIF(tau=four, r=four, v_leak=four * 0, v_threshold=four)
    nodes: dict[str, nir.NIRNode] = {
        "input": nir.Input(input_type={"input": np.array([4])}),
        "é": lif,
        "output": nir.Output(output_type={"output": np.array([4])}),
    }
    nir.write(tmp_path / "u.nir", nir.NIRGraph(nodes, [("input", "é"), ("é", "output")]))
    assert 'label="é\\nneuron' in cli("inspect", tmp_path / "u.nir", "--format", "dot").stdout


def test_json_is_strict(tmp_path: Path, model: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    done = cli("-q", "inspect", model, "--format", "json")
    facts = json.loads(done.stdout, parse_constant=refuse)
    assert ["input", 0, "n0"] in facts["edges"]
    from snnir.cli.printing import to_json

    assert json.loads(to_json({"v_min": float("-inf"), "x": np.float32(1)}), parse_constant=refuse)
