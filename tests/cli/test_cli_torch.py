"""The command line with torch models: factories, conversion to frameworks, live comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import cli, cli_here

for module in ("torch", "snntorch", "sinabs", "spikingjelly.activation_based", "norse.torch"):
    pytest.importorskip(module)

pytestmark = pytest.mark.framework

MODELS = """
import numpy as np
import torch
import snntorch as snn
from torch import nn

class Net(nn.Module):
    def __init__(self, beta):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 5), snn.Leaky(beta=0.5)
        self.out, self.last = nn.Linear(5, 3), snn.Leaky(beta=beta, reset_mechanism="zero")
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.from_numpy((np.rint(rng.normal(size=p.shape) * 64) / 64)))

    def forward(self, x):
        mem, mem2 = self.lif.reset_mem(), self.last.reset_mem()
        spikes = []
        for now in x:
            spk, mem = self.lif(self.fc(now), mem)
            spk, mem2 = self.last(self.out(spk), mem2)
            spikes.append(spk)
        return torch.stack(spikes)

def net():
    return Net(0.75)

def with_shape():
    return Net(0.75), (6,)

def other():
    return Net(0.5), (6,)

def wrong():
    return {"net": 1}

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        with torch.no_grad():
            self.fc.weight.copy_(torch.arange(30.0).reshape(5, 6) / 64)
            self.fc.bias.fill_(0.125)

    def forward(self, x, v):
        v = 0.5 * v + self.fc(x)
        z = (v > 1.0).float()
        return z, v - z

def step():
    return Own().eval(), torch.zeros(2, 5), torch.zeros(2, 6)

def first_state():
    inner = Own().eval()
    return lambda v, x: inner(x, v)[::-1], torch.zeros(5), torch.zeros(6), {
        "order": "state-x", "batched": False
    }
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    (tmp_path / "models.py").write_text(MODELS)
    return str(tmp_path / "models.py")


NOISE = ("--poisson", "0.4", "--steps", "60", "--batch", "3")


@pytest.mark.parametrize("to", ["snntorch", "sinabs", "spikingjelly", "norse"])
def test_convert_and_compare(models: str, to: str, tmp_path: Path) -> None:
    folder, report = tmp_path / to, tmp_path / "loss.json"
    done = cli_here(
        "convert", f"{models}:with_shape", "--to", to, "-o", folder, "--loss-report", report
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.py", "model.safetensors", "manifest.json", "report.html"}
    facts = json.loads(report.read_text())
    assert facts["losses"] == []
    assert {entry["node"] for entry in facts["nodes"]} == {"input", "fc", "lif", "out", "last"}
    assert "no sum of its weights rounds" in str(facts["nodes"])
    done = cli_here("diff", f"{models}:with_shape", folder, *NOISE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout
    x = tmp_path / "x.npy"
    np.save(x, np.ones((5, 2, 6), np.float32))
    done = cli_here("run", folder, "--input", x, "--record", "lif", "-o", tmp_path / "o.npz")
    assert done.returncode == 0, done.stderr
    done = cli_here("run", folder, "--input", x, "--record", "nothing")
    assert done.returncode == 1
    assert "there is nothing called 'nothing'" in done.stderr


def test_diff_shows_where_two_models_part(models: str) -> None:
    done = cli("diff", f"{models}:with_shape", f"{models}:other", *NOISE)
    assert done.returncode == 1
    assert "first difference: node 'last', step" in done.stdout
    done = cli("diff", f"{models}:with_shape", f"{models}:other", *NOISE, "--json")
    first = json.loads(done.stdout)["first"]
    steps = first["around"]["steps"]
    assert first["first_step"] in steps
    at = steps.index(first["first_step"])
    assert first["around"]["a"][:at] == first["around"]["b"][:at]
    assert first["around"]["a"][at] != first["around"]["b"][at]


def test_a_live_model_against_a_recording(models: str, tmp_path: Path) -> None:
    x, recorded = tmp_path / "x.npy", tmp_path / "run.npz"
    rng = np.random.default_rng(0)
    np.save(x, (rng.random((40, 2, 6)) < 0.5).astype(np.float32))
    model = f"{models}:with_shape"
    done = cli_here("run", model, "--input", x, "--record", "all", "-o", recorded)
    assert done.returncode == 0, done.stderr
    done = cli_here("diff", model, recorded, "--input", x)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lif" in done.stdout
    assert "output:output" in done.stdout


def test_the_shape_may_be_an_option(models: str, tmp_path: Path) -> None:
    done = cli_here(
        "inspect", f"{models}:net", "--input-shape", "6", "--layout", "TB", "--dt", "1e-3"
    )
    assert done.returncode == 0, done.stderr
    assert "0.001 s" in done.stdout
    done = cli_here("convert", f"{models}:net", "--input-shape", "6", "--to", "nir",
               "-o", tmp_path / "n.nir")  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = cli_here("diff", f"{models}:with_shape", tmp_path / "n.nir", *NOISE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_native_layers_and_consent(models: str, tmp_path: Path) -> None:
    folder, report = tmp_path / "out", tmp_path / "loss.json"
    arguments = ("convert", f"{models}:with_shape", "--to", "sinabs", "-o", folder,
                 "--set", "cells=native", "--loss-report", report)  # fmt: skip
    done = cli_here(*arguments)
    assert done.returncode == 1
    assert "error[SNN501]: node 'lif': no layer of Sinabs equals this step" in done.stderr
    assert "the reset acts in the step of the spike" in done.stderr
    assert "--allow-lossy" in done.stderr
    assert not folder.exists()
    assert json.loads(report.read_text())["level"] == "approximate"
    done = cli_here(*arguments, "--allow-lossy")
    assert done.returncode == 0, done.stderr
    (loss,) = json.loads(report.read_text())["losses"]
    assert (loss["node"], loss["level"]) == ("lif", "approximate")
    assert 0 < loss["amount"] < 1
    assert (
        "lif: no layer of Sinabs" in json.loads((folder / "manifest.json").read_text())["losses"][0]
    )
    source = (folder / "model.py").read_text()
    assert "StatefulLayer" not in source
    assert cli_here("diff", f"{models}:with_shape", folder, *NOISE).returncode == 1


WRONG = {
    "no shape": (("inspect", "{m}:net"), "SNN701.*--input-shape"),
    "shape in words": (("inspect", "{m}:net", "--input-shape", "six"), "SNN701.*whole numbers"),
    "wrong shape": (("inspect", "{m}:net", "--input-shape", "7"), "SNN801.*node 'fc'"),
    "no such layout": (("inspect", "{m}:with_shape", "--layout", "XY"), "SNN801.*layout"),
    "no model": (("inspect", "{m}:wrong"), "SNN101.*dict"),
    "no factory": (("inspect", "{m}:nothing"), "SNN101.*nothing"),
    "semantics of a live model": (
        ("inspect", "{m}:with_shape", "--semantics", "norse"), "warning.*not applied.*semantics"
    ),
    "shape of a file": (("inspect", "x.nir", "--input-shape", "3"), "SNN701.*torch models"),
    "options of a file": (
        ("convert", "{m}:with_shape", "--to", "nir", "-o", "x.nir", "--set", "cells=native"),
        "SNN503.*no options",
    ),
    "no such cells": (
        ("convert", "{m}:with_shape", "--to", "norse", "-o", "x", "--set", "cells=some"),
        "SNN503.*cells is 'some'",
    ),
    "no such option": (
        ("convert", "{m}:with_shape", "--to", "norse", "-o", "x", "--set", "speed=2"),
        "SNN503.*no option 'speed'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_arguments(models: str, name: str) -> None:
    import re

    arguments, pattern = WRONG[name]
    done = cli_here(*(a.replace("{m}", models) for a in arguments))
    assert re.search(pattern, done.stderr), done.stderr
    assert done.returncode == (0 if pattern.startswith("warning") else 1)
    assert "Traceback" not in done.stderr


def test_lists() -> None:
    rows = json.loads(cli_here("list", "layers", "--json").stdout)
    found = {(row["framework"], row["class"]): row["supported"] for row in rows}
    assert found["snntorch", "Leaky"]
    assert not found["spikingjelly", "GatedLIFNode"]
    assert sum(found.values()) >= 45
    assert "torch" in cli_here("list", "frontends").stdout


def test_step_functions_of_torch(models: str, tmp_path: Path) -> None:
    saved = str(tmp_path / "step.snnir")
    done = cli_here("convert", f"{models}:step", "--to", "snnir", "--dt", "0.001", "-o", saved)
    assert done.returncode == 0, done.stderr
    noise = ["--poisson", "0.6", "--steps", "50", "--batch", "3"]
    done = cli_here("diff", f"{models}:first_state", saved, *noise, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["identical"]
