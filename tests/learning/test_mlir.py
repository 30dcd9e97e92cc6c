"""What the target for MLIR takes of networks that learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("iree.compiler")
pytest.importorskip("iree.runtime")

import snnir
from snnir.ir import Graph, Input, Node, Signal, Value
from snnir.ir.pooling import PickMax2d
from snnir.streams import Kind
from tests.learning.networks import learning_graph, random_graph

pytestmark = pytest.mark.framework


def test_pick_max() -> None:
    """Of numbers and of spikes, with ties; calls are shorter and smaller than the run."""
    options: dict[str, Any] = {"kernel": (2, 3), "stride": (2, 1), "padding": ((1, 0), (1, 1))}
    signals = {"a": Kind.ANALOG, "b": Kind.ANALOG, "s": Kind.SPIKES}
    nodes = [
        *(Node(name, Input(Signal(kind, (2, 7, 6)))) for name, kind in signals.items()),
        Node("numbers", PickMax2d(**options), (Value("a"), Value("b"))),
        Node("spikes", PickMax2d(**options), (Value("a"), Value("s"))),
        Node("counts", PickMax2d((3, 2), (1, 3)), (Value("s"), Value("a"))),
    ]
    outputs = {node.name: Value(node.name) for node in nodes[3:]}
    graph = Graph({node.name: node for node in nodes}, outputs, dt=1e-3).verify()
    rng = np.random.default_rng(5)
    lead = (5, 3, 2, 7, 6)
    x = {
        "a": rng.integers(-2, 2, lead).astype(np.float32),
        "b": rng.normal(size=lead).astype(np.float32),
        "s": (rng.random(lead) < 0.4).astype(np.float32),
    }
    want = snnir.compile(graph, "numpy").run(x).outputs
    found = snnir.compile(graph, "mlir", steps=4, batch=2).run(x).outputs
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_what_lasts_is_refused() -> None:
    for graph, what in ((learning_graph(), "learns while it runs"), (random_graph(), "random")):
        with pytest.raises(snnir.SnnirError, match=rf"SNN501.*{what}.*target 'mlir' does not"):
            snnir.compile(graph, "mlir")
