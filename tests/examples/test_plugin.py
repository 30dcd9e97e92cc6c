"""The template package: installed, and used through every group of entry points."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import snnir
from tests.helpers import ROOT, cli, dyadic, recurrent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the package into a folder of its own; return the environment that has it."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(ROOT / "examples" / "plugin", folder / "source")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    command = [sys.executable, "-m", "pip", *words, str(folder / "site"), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return {"PYTHONPATH": f"{folder / 'site'}:{ROOT}"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    layers = [dyadic((4, 3)).tolist(), dyadic((2, 4), 1).tolist()]
    path = tmp_path / "net.mlp"
    path.write_text(json.dumps({"beta": 0.875, "threshold": 1.0, "layers": layers}))
    return path


def test_all_groups_are_listed(installed: dict[str, str]) -> None:
    lists = {
        "passes": "clip-weights",
        "targets": "parts-list",
        "frontends": "mlp",
        "neurons": "quadratic",
    }
    for what, name in lists.items():
        done = cli("list", what, env=installed)
        assert done.returncode == 0, done.stderr
        assert name in done.stdout
    assert "limit: float = 1.0" in cli("list", "passes", "-v", env=installed).stdout


def test_a_file_goes_through_frontend_pass_and_target(
    installed: dict[str, str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.snnir"
    done = cli("opt", model, "--passes", "clip-weights{limit=0.25}", "-o", out, env=installed)
    assert done.returncode == 0, done.stderr
    graph = snnir.load(out)
    assert np.abs(graph["fc1"].op.tensors()["weight"].numpy()).max() == 0.25
    words = [
        "compile",
        model,
        "--target",
        "parts-list",
        "--set",
        "separator=;",
        "-o",
        tmp_path / "parts",
    ]
    done = cli(*words, env=installed)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "parts" / "parts.csv").open() as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows[0] == ["node", "op", "neurons", "parameters"]
    assert ["fc1", "linear", "4", "12"] in rows


def test_the_target_refuses_what_it_cannot_do(installed: dict[str, str], tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "loop.snnir")
    done = cli("compile", tmp_path / "loop.snnir", "--target", "parts-list", env=installed)
    assert done.returncode == 1
    assert "node 'late': the machine has no delay lines" in done.stderr


def test_the_pass_is_found_guilty(installed: dict[str, str], model: Path) -> None:
    passes = "cse,clip-weights{limit=0.1},verify"
    done = cli("opt", model, "--passes", passes, "--bisect", env=installed)
    assert done.returncode == 1
    assert done.stdout.startswith("pass 2, 'clip-weights{limit=0.1}':")


def test_wrong_files_are_named(installed: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "bad.mlp"
    path.write_text('{"beta": 1}')
    done = cli("inspect", path, env=installed)
    assert done.returncode == 1
    assert "frontend 'mlp' failed: KeyError: 'threshold'" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli("inspect", tmp_path / "none.mlp", env=installed).returncode == 1


NEURON = """
import numpy as np, snnir
from snnir.ir import *
values = {"tau": 0.01, "v_rest": 0.0, "v_critical": 1.0, "v_threshold": 5.0, "v_reset": -1.0}
op = Neuron("quadratic", FrozenDict({k: snnir.tensor(v) for k, v in values.items()}), snnir.Stepping(integrator="euler"))
nodes = {"input": Node("input", Input(Signal(snnir.Kind.ANALOG, (2,)))), "n": Node("n", op, (Value("input"),))}
graph = snnir.Graph(nodes, {"y": Value("n")}, 1e-3).verify()
y = snnir.compile(graph).run(np.full((200, 1, 2), [0.1, 2.0], np.float32)).output
print(int(y[..., 0].sum()), int(y[..., 1].sum()))
"""


def test_the_neuron_model_runs(installed: dict[str, str]) -> None:
    import os

    command = [sys.executable, "-c", NEURON]
    env = {**os.environ, **installed}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    quiet, busy = map(int, done.stdout.split())
    assert quiet == 0
    assert busy > 3


FILE = '''
import json
import snnir
from snnir.ir import Input, Node, Signal, Value

@snnir.register_frontend("one")
def read(path, **options):
    """Read the number of spikes that go in and out again."""
    size = json.loads(path.read_text())
    if size == 0:
        return "no graph"
    nodes = {"x": Node("x", Input(Signal(snnir.Kind.SPIKES, (size,))))}
    return snnir.Graph(nodes, {"y": Value("x")}, 1e-3)
'''


def test_a_frontend_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(FILE)
    (tmp_path / "m.one").write_text("3")
    done = cli("inspect", tmp_path / "m.one", "--plugin", tmp_path / "reader.py")
    assert done.returncode == 0, done.stderr
    (tmp_path / "m.one").write_text("0")
    done = cli("inspect", tmp_path / "m.one", "--plugin", tmp_path / "reader.py")
    assert done.returncode == 1
    assert "frontend 'one' returned a str" in done.stderr
