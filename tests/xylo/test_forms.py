"""Folded linear ops are what the ops do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Linear,
    Pad,
    Permute,
    Reshape,
    Scale,
    Slice,
    SparseLinear,
    Step,
    SumPool2d,
)
from snnir.targets.xylo.forms import Forms
from snnir.targets.xylo.structure import find_structure
from tests.helpers import dyadic, graph, params
from tests.targets import t
from tests.xylo.nets import Nodes, counts, gate, given, lif


def assert_folded(g: Graph, x: Any, neuron: str, current: str) -> None:
    """What a population reads at each step is events @ matrix + constant, for every source."""
    structure = find_structure(g)
    assert structure.problems == []
    population = structure.populations[neuron]
    matrices, constant = Forms(structure).of(population)
    names = [*matrices, current]
    run = snnir.compile(g, "numpy", level=0, precision="float64").run(x, names)
    total = constant
    for source, delay in population.reads:
        events = run.recorded[source].reshape(*x.shape[:2], -1)
        shifted = np.zeros_like(events)
        shifted[delay:] = events[: len(events) - delay]
        total = total + shifted @ matrices[source]
    wanted = run.recorded[current].reshape(*x.shape[:2], -1)
    longest = max(delay for _, delay in population.reads)  # constants begin late behind a delay
    np.testing.assert_allclose(total[longest:], wanted[longest:], rtol=1e-6, atol=1e-6)


OPS: dict[str, list[Any]] = {
    "linear": [Reshape((16,)), Linear(t(5, 16), t(5))],
    "conv2d": [Conv2d(t(3, 1, 3, 3), t(3), padding=((1, 1), (0, 1)), stride=(1, 2)), Flatten()],
    "conv1d": [Reshape((2, 8)), Conv1d(t(4, 1, 3), t(4), groups=2, dilation=(2,)), Flatten()],
    "batch norm": [BatchNorm(t(1), snnir.tensor(np.full(1, 0.5, np.float32)), t(1), t(1)), Flatten()],
    "pools": [SumPool2d((2, 2), (1, 1)), AvgPool2d((2, 2), (1, 1)), Flatten()],
    "elementwise": [Scale(t(4, 4)), Bias(t(4, 4)), Flatten()],
    "moves": [Permute((2, 0, 1)), Pad(((0, 0), (1, 0), (0, 2))), Slice(0, 1, 3), Flatten(), Current()],
    "sparse": [
        Reshape((16,)),
        SparseLinear.of(dyadic((6, 16), 2) * (dyadic((6, 16), 3) > 0), 1, t(6)),
    ],
    "biases in a row": [Bias(t(1)), Scale(t(1)), Flatten(), Linear(t(3, 16), t(3)), Bias(t(3))],
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_ops(name: str) -> None:
    nodes: Nodes = {"input": given(16), "picture": (Reshape((1, 4, 4)), ["input"])}
    last = "picture"
    for number, op in enumerate(OPS[name]):
        nodes[f"op{number}"] = (op, [last])
        last = f"op{number}"
    nodes["lif"] = (lif(), [last])
    assert_folded(graph(nodes, "lif", dt=1e-3).verify(), counts(9, 2, 16), "lif", last)


def test_sources_and_delays_meet() -> None:
    """Two populations and an input, summed, joined and delayed on the way."""
    nodes: Nodes = {
        "input": given(4),
        "a": (gate(0.5, spikes="single"), ["fa"]),
        "fa": (Linear(t(3, 4), t(3)), ["input"]),
        "b": (gate(0.5, spikes="single"), ["fb"]),
        "fb": (Linear(t(2, 4, seed=5)), ["input"]),
        "wait": (Delay(1), ["input"]),
        "more": (Delay(1), ["wait"]),
        "late": (Linear(t(5, 4, seed=6), t(5)), ["more"]),
        "both": (Concat(0), ["ca", "cb"]),
        "ca": (Bias(t(3)), ["a"]),
        "cb": (Scale(t(2)), ["b"]),
        "seen": (Delay(1), ["both"]),
        "sum": (Add(), ["seen", "late"]),
        "c": (gate(0.5), ["sum"]),
    }
    g = graph(nodes, "c", dt=1e-3)
    found = find_structure(g.verify())
    assert found.populations["c"].reads == {("a", 1), ("b", 1), ("input", 2)}
    assert [found.populations[n].latency for n in "abc"] == [0, 0, 0] or found.problems


def test_delayed_sources() -> None:
    nodes: Nodes = {
        "input": given(4),
        "wait": (Delay(1), ["input"]),
        "late": (Linear(t(5, 4, seed=6), t(5)), ["wait"]),
        "again": (Delay(1), ["late"]),
        "c": (lif(), ["again"]),
    }
    assert_folded(graph(nodes, "c", dt=1e-3).verify(), counts(9, 2, 4), "c", "again")


def test_a_second_input_has_no_gain_of_its_own() -> None:
    """`w_in` multiplies the first input only; the response includes it, so the second is divided."""
    rules = snnir.LifStep(
        inputs=2, synapse="factor", synapse_gain=True, reset="subtract", fire="ge"
    )
    op = Step(rules, params(alpha=0.5, beta=0.5, w_in=0.25, threshold=1.0), "lif")
    nodes: Nodes = {
        "input": given(3),
        "fc": (Linear(t(4, 3)), ["input"]),
        "late": (Delay(1), ["lif"]),
        "rec": (Linear(t(4, 4, seed=9)), ["late"]),
        "lif": (op, ["fc", "rec"]),
    }
    g = graph(nodes, "lif", dt=1e-3).verify()
    structure = find_structure(g)
    matrices, _ = Forms(structure).of(structure.populations["lif"])
    np.testing.assert_allclose(matrices["input"], t(4, 3).numpy().T)
    np.testing.assert_allclose(matrices["lif"], t(4, 4, seed=9).numpy().T / 0.25)
