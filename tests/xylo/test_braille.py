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


@pytest.mark.parametrize("chip", ["xylo-audio-2", "xylo-imu", "xylo-audio-3"])
def test_braille(corpus: Path, chip: str) -> None:
    x = np.load(corpus / "recordings" / "braille_input.npy")
    g = model(corpus)
    made: Any = snnir.compile(g, "xylo", chip=chip)
    assert made.latency == {"lif1.lif": 0, "lif2": 1, "output:output": 1}
    core = made.network.core
    assert len(core.hidden.threshold) == 38
    assert len(core.readout.threshold) == 7
    spikes, found, differing, correlation = compared(g, made, x, "lif1.lif")
    # Measured: HIDDEN
    assert spikes == 119
    assert abs(found - spikes) < 250
    assert differing < 260
    assert correlation > 0.5
    spikes, found, differing, correlation = compared(g, made, x, "lif2")
    # Measured: READOUT
    assert spikes == 685
    assert abs(found - spikes) < 260
    assert differing < 720
    assert correlation > 0.9
    winners = [snnir.compile(g, "numpy").run(x).output.sum(axis=(0, 1)).argmax()]
    winners.append(made.run(x).output.sum(axis=(0, 1)).argmax())
    assert winners[0] == 1


def test_what_is_lost_is_said(corpus: Path) -> None:
    report = snnir.losses(model(corpus), "xylo")
    said = {entry.node: entry.what for entry in report.losses}
    assert set(said) == {"lif1.lif", "lif2"}
    for word in ("8 bits", "became 0", "answers to events", "subtracts the threshold"):
        assert word in said["lif1.lif"]
    assert "1 step late" in said["lif2"]
    assert "may fire up to 31 times" in said["lif1.lif"]
