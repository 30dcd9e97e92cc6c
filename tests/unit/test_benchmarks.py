"""The benchmark of simulators compares what it says it compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from benchmarks import simulators
from benchmarks.engines.workloads import INFERENCE, QUICK, TRAINING, graph, make

NAMES = [*INFERENCE, *TRAINING]


@pytest.mark.parametrize("name", ["dense T25 B1 5%", "conv T100 B1 2%", "braille T256 B1 20%"])
def test_workloads_are_the_same_everywhere_and_spike(name: str) -> None:
    one, two = make(name), make(name)
    np.testing.assert_array_equal(one.x, two.x)
    assert set(QUICK) <= set(NAMES)
    first = next(iter(snnir.populations(graph(one))))
    result = snnir.compile(graph(one), "numpy").run(one.x, [first])
    assert 0.005 < result.recorded[first].mean() < 0.5
    for weight in one.weights:  # a grid: every order of summation gives the same float32
        scaled = weight * 2.0**20
        assert (scaled == np.rint(scaled)).all()
    plain = snnir.compile(graph(one), "numpy", precision="float32").run(one.x)
    np.testing.assert_array_equal(plain.output, result.output)


def test_ratios_are_to_the_best_peer_that_ran() -> None:
    rows: dict[str, dict[str, Any]] = {
        "snntorch": {"ms": 9.0}, "norse": {"ms": 6.0}, "sinabs": {"absent": "not installed"},
        "snnir-torch": {"ms": 2.0},
    }  # fmt: skip
    assert simulators.ratio(rows, "snnir-torch", simulators.TORCH_PEERS) == "3.00"
    assert simulators.ratio(rows, "snnir-xla", simulators.JAX_PEERS) == "–"


def test_other_spikes_are_marked() -> None:
    assert simulators.cell("norse", {"ms": 3.0, "differ": 0}) == "3"
    assert simulators.cell("norse", {"ms": 3.0, "differ": 7}) == "3 (7 differ)"
    assert simulators.cell("spyx", {"ms": 3.0, "differ": 7}) == "3°"
    assert simulators.cell("spyx", {"absent": "not installed"}) == "–"
