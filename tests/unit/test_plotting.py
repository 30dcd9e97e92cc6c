"""Pictures of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

import snnir
import snnir.plotting
from tests.helpers import feed_forward, spikes

TRACES: dict[str, Any] = {
    "spikes": spikes((20, 2, 3)),
    "counts": spikes((20, 2, 3)) * 3,
    "negative": -np.ones((5, 1, 2, 3), np.float32),
    "signed": np.linspace(-1, 1, 20, dtype=np.float32).reshape(20, 1, 1),
    "silent": np.zeros((5, 1, 3), np.float32),
    "no neurons": np.zeros((5, 1, 0), np.float32),
    "no steps": np.zeros((0, 1, 3), np.float32),
    "one step": np.ones((1, 1, 3), bool),
    "$x_1 <b>\x1b": spikes((20, 1, 3)),
}


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("draw", [snnir.raster, snnir.membrane])
def test_any_trace_can_be_drawn(name: str, draw: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    assert draw({name: TRACES[name]}, path, dt=1e-3) == path
    picture = matplotlib.image.imread(path, format="png")
    assert picture.shape[0] > 200
    assert picture[..., :3].std() > 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_a_silent_population_shows_the_whole_run(tmp_path: Path) -> None:
    snnir.raster({"a": np.zeros((41, 1, 3))}, tmp_path / "p.svg")
    assert "<!-- 40 -->" in (tmp_path / "p.svg").read_text()


def test_results_are_drawn(tmp_path: Path) -> None:
    result = snnir.compile(feed_forward()).run(spikes((20, 1, 3)), ["lif:v"])
    snnir.membrane(result, tmp_path / "a.svg")
    assert "<!-- lif:v -->" in (tmp_path / "a.svg").read_text()
    plain = snnir.compile(feed_forward()).run(spikes((20, 1, 3)))
    snnir.raster(plain, tmp_path / "b.PDF")
    assert (tmp_path / "b.PDF").read_bytes().startswith(b"%PDF")


def test_many_panels_share_a_height(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snnir.plotting, "_MAX_INCHES", 4.0)
    snnir.raster({f"p{i}": spikes((5, 1, 2)) for i in range(5)}, tmp_path / "p.png")
    assert matplotlib.image.imread(tmp_path / "p.png").shape[0] == 4 * 130


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for traces, path, options, code in (
        ({"a": spikes((5, 1, 3))}, "p.bmp", {}, "SNN701"),
        ({"a": spikes((5, 1, 3))}, "p.png", {"sample": 1}, "SNN601"),
        ({}, "p.png", {}, "SNN601"),
    ):
        with pytest.raises(snnir.SnnirError) as caught:
            snnir.raster(traces, tmp_path / path, **options)
        assert caught.value.diagnostics[0].code == code
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(snnir.SnnirError, match=r"snnir\[plot\]"):
        snnir.check_picture(tmp_path / "p.png")
    assert not list(tmp_path.iterdir())
