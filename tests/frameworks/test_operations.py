"""Synaptic operations as the frameworks' own counters count them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
from torch import nn

import snnir
from tests.helpers import spikes


def test_sinabs_counts_the_same() -> None:
    sinabs = pytest.importorskip("sinabs", reason="needs sinabs")
    from sinabs import layers
    from sinabs.synopcounter import SNNAnalyzer

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), layers.IAFSqueeze(num_timesteps=12),
        nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=(1, 0), bias=False),
        layers.IAFSqueeze(num_timesteps=12), nn.Flatten(), nn.Linear(6 * 4 * 2, 5),
        layers.IAFSqueeze(num_timesteps=12),
    )  # fmt: skip
    x = spikes((12, 3, 2, 16, 16), 0.4)
    graph = snnir.from_torch(net, (2, 16, 16), layout="B*T")
    sinabs.reset_states(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyser = SNNAnalyzer(net)
        flat = torch.from_numpy(x).transpose(0, 1).reshape(-1, 2, 16, 16)
        with torch.no_grad():
            net(flat)
        facts: Any = analyser.get_layer_statistics()["parameter"]
    wanted = [float(each["synops"]) for each in facts.values()]
    found = [each.operations for each in snnir.activity(graph, x).synapses]
    assert len(found) == 3
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_spikingjelly_counts_the_same() -> None:
    sj = pytest.importorskip("spikingjelly.activation_based", reason="needs spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    assert sj is not None
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False), neuron.IFNode(), layer.Flatten(),
        layer.Linear(4 * 6 * 6, 5, bias=False), neuron.IFNode(),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    x = spikes((8, 2, 2, 6, 6), 0.3)
    graph = snnir.from_torch(net, (2, 6, 6))
    functional.reset_net(net)
    counter = SynOpCounter()
    with DispatchCounterMode([counter]), torch.no_grad():
        net(torch.from_numpy(x))
    found = snnir.activity(graph, x)
    assert counter.get_total() / 2 == pytest.approx(found.operations)
