"""Rehearsals in real numbers, and decays chosen by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.targets.xylo.chips import CHIPS
from snnir.targets.xylo.plan import fits
from snnir.targets.xylo.rehearsal import assumed_events, rehearse, room_for
from snnir.targets.xylo.tuning import BESIDE, graph_spikes, tuned
from tests.xylo.nets import counts, cuba, gate, lif, recurrent, two_layers, whole


def layout_of(g: snnir.Graph, tails: str = "auto") -> Any:
    layout, problems = fits(g, CHIPS["xylo-audio-2"], tails)
    assert problems == []
    return layout


def test_a_rehearsal_is_the_chip_without_rounding() -> None:
    """On neurons that the chip has exactly, with memory: the graph, one step late per hop."""
    rng = np.random.default_rng(0)
    g = recurrent(
        whole(rng, 6, 3), whole(rng, 6, 6, 30), whole(rng, 4, 6), cuba(0.75, 0.875, 150.0),
        cuba(0.5, 0.75, 120.0, spikes="single", spike_cap=0),
    )  # fmt: skip
    events = counts(60, 3, 3).astype(float)
    seen = rehearse(layout_of(g), events)
    wanted = graph_spikes(g, events)
    assert wanted["hidden"].sum() > 100
    np.testing.assert_array_equal(seen["hidden"].spikes, wanted["hidden"])
    np.testing.assert_array_equal(seen["readout"].spikes[1:], wanted["readout"][:-1])


def test_without_a_synapse_too() -> None:
    rng = np.random.default_rng(1)
    g = two_layers(
        whole(rng, 6, 3), whole(rng, 4, 6), lif(0.875, 150.0), gate(90.0, spikes="single")
    )
    events = counts(60, 3, 3).astype(float)
    seen = rehearse(layout_of(g), events)
    wanted = graph_spikes(g, events)
    np.testing.assert_array_equal(seen["hidden"].spikes, wanted["hidden"])
    kept = rehearse(layout_of(g, "keep"), events)
    assert (kept["hidden"].spikes != wanted["hidden"]).any()


def test_room() -> None:
    rng = np.random.default_rng(2)
    g = two_layers(whole(rng, 6, 3), whole(rng, 4, 6), cuba(threshold=100.0), cuba(threshold=50.0))
    layout = layout_of(g)
    events = assumed_events(g.inputs)
    assert set(np.unique(events)) == {0.0, 1.0}
    seen = rehearse(layout, events)
    given, assumed = (room_for(layout, seen, given) for given in (True, False))
    for name, own in seen.items():
        assert (given[name] >= own.peak).all()
        np.testing.assert_allclose(assumed[name] / given[name], 1.6)
    # What is larger is in the report.
    deep = two_layers(-5 * np.abs(whole(rng, 6, 3)), whole(rng, 4, 6), cuba(0.5, 0.999), cuba())
    said = {entry.node: entry.what for entry in snnir.losses(deep, "xylo").losses}
    assert "thresholds below zero" in said["hidden"]


def test_the_nearest_decays_win_ties_and_stay_where_they_are_exact() -> None:
    assert BESIDE[0] == (0, 0)
    assert len(BESIDE) == 9
    rng = np.random.default_rng(3)
    g = recurrent(
        whole(rng, 6, 3), whole(rng, 6, 6, 30), whole(rng, 4, 6), cuba(0.75, 0.875, 150.0),
        cuba(0.5, 0.75, 120.0, spikes="single", spike_cap=0),
    )  # fmt: skip
    layout = layout_of(g)
    chosen = tuned(layout, counts(60, 3, 3).astype(float))
    for name, own in layout.synapses.items():
        np.testing.assert_array_equal(chosen.synapses[name].fit.dash_mem, own.fit.dash_mem)
        np.testing.assert_array_equal(chosen.synapses[name].fit.dash_syn, own.fit.dash_syn)


@pytest.mark.parametrize("seed", range(3))
def test_tuned_decays_do_at_least_as_well(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    g = recurrent(
        whole(rng, 12, 5), whole(rng, 12, 12, 60), whole(rng, 4, 12), cuba(0.62, 0.93, 400.0),
        cuba(0.4, 0.6, 200.0, spikes="single", spike_cap=0),
    )  # fmt: skip
    events = counts(150, 4, 5, seed=seed).astype(float)
    wanted = graph_spikes(g, events)["hidden"]
    layout = layout_of(g)
    before, after = (
        np.abs(rehearse(each, events)["hidden"].spikes - wanted).sum()
        for each in (layout, tuned(layout, events))
    )
    assert after <= before
