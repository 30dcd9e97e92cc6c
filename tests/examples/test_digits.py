"""The committed example is what its script makes, and every spike of it is reproduced."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import snnir
from tests.helpers import ROOT

DIGITS = ROOT / "examples" / "digits"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"digits_{name}", DIGITS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    return made


def test_committed_model_on_the_whole_test_set() -> None:
    pytest.importorskip("sklearn")
    train: Any = module("train")
    _, _, images, labels = train.data()
    x = train.encode(images, np.random.default_rng(train.SEED + 1))
    result = snnir.compile(snnir.load(DIGITS / "digits.nir")).run(x, ["hidden", "digit"])
    own = train.forward(train.load_weights(), x)
    np.testing.assert_array_equal(result.recorded["hidden"], own["hidden"])
    np.testing.assert_array_equal(result.recorded["digit"], own["out"])
    accuracy = (result.output.sum(0).argmax(1) == labels).mean()
    assert accuracy == pytest.approx(0.975, abs=0.0005)  # as examples/digits/README.md says


def test_random_weights_step_the_same() -> None:
    train: Any = module("train")
    rng = np.random.default_rng(1)
    current = (rng.integers(-40, 80, (60, 3, 8)) / 64).astype(np.float32)
    spikes, membranes = train.layer(current)
    params = {"beta": snnir.tensor(np.float32(train.BETA)), "threshold": snnir.tensor(1.0)}
    from snnir.dynamics.evaluate import neuron_function

    values = {name: p.numpy() for name, p in params.items()}
    step = neuron_function(snnir.LifStep().program, values, np.float32, np.float32)
    state = {"v": np.zeros((3, 8), np.float32)}
    for t, now in enumerate(current):
        np.testing.assert_array_equal(step(now, state)[0], spikes[t])
    np.testing.assert_array_equal(state["v"], np.where(spikes[-1] > 0, 0, membranes[-1]))


def test_training_improves() -> None:
    pytest.importorskip("sklearn")
    train: Any = module("train")
    assert train.evaluate(train.train(6)) > 0.8


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    command = [sys.executable, str(DIGITS / "demo.py"), "--output", str(tmp_path / "digits")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accuracy 1" in done.stdout
    assert (tmp_path / "digits-raster.png").stat().st_size > 10_000
