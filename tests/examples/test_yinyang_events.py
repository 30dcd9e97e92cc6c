"""The Yin-Yang example by spike times: its neurons, a short training, its committed network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from examples.yinyang_events.train import (
    DURATION,
    MODEL,
    encode,
    events,
    first_class,
    restepped,
    train,
    untrained,
)
from tests.helpers import ROOT


def right(graph: snnir.Graph, samples: int) -> float:
    """Return the share of points whose output fires first, in continuous time."""
    given, labels = events(samples)
    target: Any = snnir.compile(graph, "events")
    run = target.run(given, duration=DURATION, samples=samples)
    found = first_class(run.events["classes"], samples)
    return float((found == labels).mean())


def test_times_of_points() -> None:
    times = encode(np.array([[0.0, 1.0, 0.5, 0.25]]))
    np.testing.assert_allclose(times, [[0.0, 20e-3, 10e-3, 5e-3, 8e-3]])


def test_the_committed_network() -> None:
    graph = snnir.load(MODEL)
    assert right(graph, 300) >= 0.92
    given, labels = events(300)
    in_steps = first_class(restepped(graph, given, 300, 1e-4), 300)
    assert (in_steps == labels).mean() >= 0.9
    few, _ = events(10)
    coarse, fine = (
        snnir.diff(graph, few, against="events", dt=dt, duration=DURATION) for dt in (1e-3, 2e-4)
    )
    for one, two in zip(coarse.nodes, fine.nodes, strict=True):
        assert one.continuous == two.continuous > 0
        assert two.mean_error < one.mean_error


def test_the_check_runs_as_a_script(tmp_path: Path) -> None:
    script = ROOT / "examples" / "yinyang_events" / "train.py"
    line = [sys.executable, str(script), "--check"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = done.stdout.partition(": ")[2].partition("%")[0]
    assert 94.0 < float(accuracy) < 96.0
    assert "in steps of 0.0001 s" in done.stdout


def test_a_short_training() -> None:
    pytest.importorskip("jax", reason="training needs JAX")
    before = untrained()
    after = train(before, epochs=2, samples=1500, rate=4e-3)
    assert right(after, 200) > max(0.6, right(before, 200) + 0.1)
