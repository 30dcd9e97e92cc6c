"""Modules made by `snnir.to_torch` beside what they were made of."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from tests.helpers import feed_forward, recurrent, spikes

pytestmark = pytest.mark.framework


def test_a_module_is_compared_by_the_names_of_its_graph() -> None:
    graph = recurrent(2)
    net, x = snnir.to_torch(graph), spikes((30, 3, 3))
    found = snnir.diff(graph, net, x)
    assert found.identical
    assert {"lif", "output:output"} <= {node.node for node in found.nodes}
    assert not found.only_a
    assert not found.only_b


def test_another_weight_is_found() -> None:
    graph, x = feed_forward(), spikes((30, 3, 3), 0.5)
    net = snnir.to_torch(graph)
    with torch.no_grad():
        next(net.parameters()).mul_(2.0)
    found = snnir.diff(graph, net, x)
    back = snnir.diff(snnir.update(graph, net), net, x)
    assert found.first is not None
    assert found.first.node == next(iter(snnir.populations(graph)))
    assert back.identical


def test_wrong_inputs_and_readers() -> None:
    net = snnir.to_torch(feed_forward())
    with pytest.raises(snnir.SnnirError, match="SNN601"):
        snnir.diff(feed_forward(), net, np.zeros((5, 2, 7), np.float32))
    with pytest.raises(snnir.SnnirError, match=r"SNN801.*snnir\.update"):
        snnir.from_torch(net, (3,))
