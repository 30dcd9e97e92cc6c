"""The published Braille model on the chip, against the float model on the recorded input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from tests.helpers import quiet_load


def model(corpus: Path, **options: Any) -> snnir.Graph:
    return quiet_load(corpus / "braille_zero.nir", semantics="snntorch", dt=1e-4, **options)


def compared(g: snnir.Graph, made: Any, x: Any, name: str) -> tuple[int, int, int, float]:
    """Return spikes in the graph, on the chip, differing, and the correlation of rates."""
    wanted = snnir.compile(g, "numpy").run(x, [name]).recorded[name]
    found = made.run(x, [name]).recorded[name]
    lag = made.latency[name]
    a, b = wanted[: len(wanted) - lag, 0], found[lag:, 0]
    correlation = float(np.corrcoef(a.sum(axis=0), b.sum(axis=0))[0, 1])
    return int(a.sum()), int(b.sum()), int((a != b).sum()), correlation


@pytest.fixture
def recorded(corpus: Path) -> Any:
    return np.load(corpus / "recordings" / "braille_input.npy")


@pytest.mark.parametrize("chip", ["xylo-audio-2", "xylo-imu", "xylo-audio-3"])
def test_braille(corpus: Path, recorded: Any, chip: str) -> None:
    g = model(corpus)
    made: Any = snnir.compile(g, "xylo", chip=chip)
    assert made.latency == {"lif1.lif": 0, "lif2": 1, "output:output": 1}
    core = made.network.core
    assert len(core.hidden.threshold) == 38
    assert len(core.readout.threshold) == 7
    spikes, found, differing, correlation = compared(g, made, recorded, "lif1.lif")
    # Measured: 119 spikes in the graph, 309 on the chip, 205 of 9728 differ, rates 0.602.
    assert spikes == 119
    assert 250 < found < 400
    assert differing < 240
    assert correlation > 0.55
    spikes, found, differing, correlation = compared(g, made, recorded, "lif2")
    # Measured: 685, 861, 612 of 1785 differ, rates 0.927.
    assert spikes == 685
    assert 780 < found < 930
    assert differing < 700
    assert correlation > 0.92


def test_braille_with_decays_chosen_on_other_events(
    corpus: Path, recorded: Any, tmp_path: Path
) -> None:
    """Random events of the recording's rate, not the recording itself."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", (rng.random((256, 4, 12)) < recorded.mean()).astype(np.uint8))
    g = model(corpus)
    made: Any = snnir.compile(g, "xylo", calibrate=str(tmp_path / "noise.npy"))
    _, found, differing, correlation = compared(g, made, recorded, "lif1.lif")
    # Measured: 119 spikes in the graph, 83 on the chip, 144 of 9728 differ, rates 0.926.
    assert 70 < found < 130
    assert differing < 160
    assert correlation > 0.9
    _, found, differing, correlation = compared(g, made, recorded, "lif2")
    # Measured: 685, 844, 669 of 1785 differ, rates 0.963.
    assert 780 < found < 900
    assert differing < 720
    assert correlation > 0.94
    answers = [run.output.sum(axis=(0, 1)).argmax() for run in (
        made.run(recorded), snnir.compile(g, "numpy").run(recorded)
    )]  # fmt: skip
    assert answers[0] == answers[1]


def test_most_of_it_is_the_reset(corpus: Path, recorded: Any) -> None:
    """The graph itself, with the chip's reset and counts of spikes, in float32."""
    plain, like = (
        snnir.compile(g, "numpy").run(recorded, ["lif2"]).recorded["lif2"]
        for g in (model(corpus), model(corpus, reset="subtract", spikes="multi"))
    )
    assert int((plain != like).sum()) == 700


def test_what_is_lost_is_said(corpus: Path) -> None:
    report = snnir.losses(model(corpus), "xylo")
    said = {entry.node: entry.what for entry in report.losses}
    assert set(said) == {"lif1.lif", "lif2"}
    for word in ("8 bits", "became 0", "answers to events", "subtracts the threshold"):
        assert word in said["lif1.lif"]
    assert "1 step late" in said["lif2"]
    assert "may fire up to 31 times" in said["lif1.lif"]
