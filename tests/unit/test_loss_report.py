"""Loss reports: what counts as exact, and why."""

from __future__ import annotations

import json

import numpy as np
import pytest

import snnir
from snnir.ir import BatchNorm, Graph, Input, Linear, Node, Op, SparseLinear, SumPool2d, Value
from snnir.loss_report import sums_exactly
from snnir.streams import Kind, Signal
from tests.helpers import feed_forward, lif_step


def weights(*values: float) -> snnir.Tensor:
    return snnir.tensor(np.array([values], np.float32))


@pytest.mark.parametrize(
    ("weight", "bias", "exact"),
    [
        (weights(0.5, -0.25, 3.0), None, True),
        (weights(1 / 256, 1.0), snnir.tensor(np.array([0.125], np.float32)), True),
        (weights(0.1, 0.25), None, False),  # 0.1 needs all 24 bits, its sum with 0.25 rounds
        (weights(1.0, 0.5), snnir.tensor(np.array([0.1], np.float32)), False),
        (weights(2.0**24, 1.0), None, False),
        (weights(2.0**23, 1.0), None, True),
        (weights(float("inf"), 1.0), None, False),
        (weights(0.0, 0.0), None, True),
        (weights(1e-30), None, False),
    ],
)
def test_sums_on_a_grid(weight: snnir.Tensor, bias: snnir.Tensor | None, exact: bool) -> None:
    assert sums_exactly(Linear(weight, bias)) is exact


def test_exact_sums_are_exact_in_every_order() -> None:
    """The claim itself: float32 sums in random orders, for a matrix that counts as exact."""
    rng = np.random.default_rng(0)
    matrix = (np.rint(rng.normal(size=(1, 400)) * 4096) / 4096).astype(np.float32)
    assert sums_exactly(Linear(snnir.tensor(matrix)))
    found = set()
    for _ in range(50):
        total = np.float32(0)
        for value in rng.permutation(matrix[0]):
            total = np.float32(total + value)
        found.add(float(total))
    assert len(found) == 1


def test_sums_of_sparse_matrices_are_those_of_their_rows() -> None:
    """No single weight is large, the sum of a row is."""
    matrix = np.zeros((4, 600), np.float32)
    matrix[1] = 2.0**15 + 0.5
    for block in (1, 2):
        assert sums_exactly(SparseLinear.of(matrix[:, :100], block))
        assert not sums_exactly(SparseLinear.of(matrix, block))
    assert sums_exactly(SparseLinear.of(np.zeros((3, 4), np.float32)))


def test_whole_weights_count_without_what_stands_for_zero() -> None:
    weight = snnir.Tensor(np.array([[100, 101]], np.int8))
    assert sums_exactly(Linear(weight, zero=snnir.Tensor(np.array([100], np.int8))))


def chain(*ops: Op, shape: tuple[int, ...], kind: Kind) -> Graph:
    nodes = {"in": Node("in", Input(Signal(kind, shape)))}
    last = "in"
    for number, op in enumerate(ops):
        nodes[f"n{number}"] = Node(f"n{number}", op, (Value(last),))
        last = f"n{number}"
    return Graph(nodes, {"y": Value(last)}).verify()


def test_levels() -> None:
    one = snnir.tensor(np.ones(1, np.float32))
    linear = Linear(weights(0.5, 0.25))
    levels = {
        kind: snnir.losses(chain(linear, shape=(2,), kind=kind), "numpy").level
        for kind in (Kind.SPIKES, Kind.ANALOG)
    }
    assert levels == {Kind.SPIKES: "exact", Kind.ANALOG: "exact in real arithmetic"}
    norm = chain(BatchNorm(one, one), shape=(1, 2, 2), kind=Kind.ANALOG)
    assert snnir.losses(norm, "numpy").level == "exact in real arithmetic"
    pool = SumPool2d((2, 2), (2, 2))
    assert snnir.losses(chain(pool, shape=(1, 2, 2), kind=Kind.SPIKES), "numpy").level == "exact"


def test_files_keep_everything() -> None:
    graph = feed_forward()
    for form in ("nir", "snnir"):
        report = snnir.losses(graph, form)
        assert report.level == "exact"
        assert [entry.node for entry in report.nodes] == list(graph.order)
    refused = snnir.losses(chain(SumPool2d((1, 1), (1, 1)), BatchNorm(
        *(snnir.tensor(np.ones(1, np.float32)),) * 2), shape=(1, 2, 2), kind=Kind.ANALOG), "nir")  # fmt: skip
    (loss,) = refused.losses
    assert (loss.node, loss.level) == ("n1", "refused")
    assert refused.diagnostics()[0].code == "SNN501"


def test_json() -> None:
    facts = snnir.losses(feed_forward(lif_step()), "snnir").to_json()
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) == {"target", "level", "losses", "nodes", "assumptions"}
