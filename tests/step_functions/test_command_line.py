"""Step functions on the command line, and the page about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp

import snnir
from snnir.cli import main
from snnir.cli.reading import load_live, load_model
from tests.helpers import cli

SOURCE = """
import jax.numpy as jnp

def lif(decay, v, x):
    print("traced")
    h = decay * v + x
    s = (h > 1.0).astype(jnp.float32)
    return h - s, s

def model():
    print("made")
    return lif, jnp.zeros(5), jnp.ones(5), {"params": jnp.float32(0.9)}

def other():
    return lif, jnp.zeros(5), jnp.ones(5), {"params": jnp.float32(0.7)}

def nothing():
    return 1, 2, 3
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    path = tmp_path / "cell.py"
    path.write_text(SOURCE)
    return str(path)


def test_a_step_function_is_a_model(module: str, tmp_path: Path) -> None:
    out = str(tmp_path / "net.snnir")
    with pytest.raises(SystemExit) as ended:
        main(["convert", f"{module}:model", "--to", "snnir", "-o", out])
    assert ended.value.code == 0
    found = cli("diff", f"{module}:model", out, "--poisson", "0.5", "--batch", "2", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["identical"], "what the model prints is not on stdout"
    assert "made" in found.stderr
    assert "traced" in found.stderr


def test_models_are_read_by_factory(module: str) -> None:
    one, other = (load_model(f"{module}:{name}", {"dt": 1e-3}) for name in ("model", "other"))
    assert one.dt == 1e-3
    x = np.full((9, 1, 5), 0.375, np.float32)
    assert not snnir.diff(one, other, x).identical
    live = load_live(f"{module}:other", {})
    assert live is not None
    assert live[1] == {"input": (5,)}
    assert snnir.diff(live[0], other, x).identical
    with pytest.raises(snnir.SnnirError, match=r"\(step function, state, example\)"):
        load_model(f"{module}:nothing", {})


def test_a_live_side_says_what_fits_it() -> None:
    def step(v: Any, x: Any) -> Any:
        return v * 0.5 + x, v > 1.0

    live = (step, jnp.zeros((2, 3)), jnp.ones((2, 3)), {"batched": True})
    graph = snnir.from_jax(*live[:3], batched=True)
    x = np.ones((5, 2, 3), np.float32)
    assert snnir.diff(live, graph, x).identical
    for wrong in (x[:, :1], x[:, :, :2], {"other": x}):
        with pytest.raises(snnir.SnnirError, match="SNN601"):
            snnir.diff(live, graph, wrong)
