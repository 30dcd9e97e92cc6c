"""The benchmark of simulators compares what it says it compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from benchmarks import cost, simulators
from benchmarks.engines.workloads import INFERENCE, QUICK, TRAINING, graph, make
from snnir.ir import Conv2d, Linear

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


@pytest.mark.parametrize("name", ["dense T25 B1 5%", "conv T100 B1 2%", "braille T256 B1 20%"])
def test_whole_weights_are_the_same_network(name: str) -> None:
    pytest.importorskip("torch", reason="the benchmark's engines need torch")
    from benchmarks.engines.ours import whole_weights

    work = make(name)
    built = graph(work)
    whole = whole_weights(built)
    kinds = {n.op.weight.dtype for n in whole.nodes.values() if isinstance(n.op, (Conv2d, Linear))}
    assert kinds == {"i8"}
    x = work.x[:40]
    want, got = (snnir.compile(g, "numpy", level=0).run(x).output for g in (built, whole))
    np.testing.assert_array_equal(got, want)


def test_curves_go_from_the_cheapest_to_the_dearest(tmp_path: Path) -> None:
    results: dict[str, dict[str, Any]] = {
        "poisson1000 T1000 B1 5%": {"a": {"ms": 9.0}, "b": {"ms": 2.0}, "c": {"absent": "no"}},
        "poisson250 T1000 B1 5%": {"a": {"ms": 1.0}, "b": {"ms": 1.5}},
        "dense T25 B1 5%": {"a": {"ms": 5.0}},
    }
    found = cost.curves(results)
    assert found == {"b": [(250, 1.5), (1000, 2.0)], "a": [(250, 1.0), (1000, 9.0)]}
    assert list(found) == ["b", "a"]
    cost.draw(found, tmp_path / "cost.svg")
    assert "CPU time of 1,000 steps" in (tmp_path / "cost.svg").read_text()
