"""Layers and connections beside BindsNET's own run: spikes, states and weights in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Linear, Plastic
from tests.bindsnet_nets.nets import (
    RNG,
    Network,
    connect,
    nodes,
    run_both,
    spikes,
    torch,
    weights,
)

pytestmark = pytest.mark.framework

STEPS = 500
N = 6


def per_neuron(rng: Any, low: float, high: float) -> Any:
    """Return one value per neuron."""
    return rng.uniform(low, high, N).astype(np.float32)


def every_layer(seed: int, batch: int) -> Any:
    """Return a network with a layer of every class and edges between them."""
    rng = RNG(seed)
    torch.manual_seed(seed)
    dyadic = batch > 1
    net = Network(dt=(1.0, 0.5, 0.25)[seed % 3], batch_size=batch)
    add = net.add_layer
    add(nodes.Input(12, traces=True, traces_additive=True, sum_input=True), "X")
    add(nodes.IFNodes(N, thresh=per_neuron(rng, -54, -48), refrac=3, lbound=-70.0), "if")
    add(nodes.LIFNodes(N, traces=True, tc_decay=per_neuron(rng, 20, 90), sum_input=True), "lif")
    add(nodes.LIFNodes(N, lbound=-66.0, refrac=0, reset=-68.0), "low")
    add(nodes.BoostedLIFNodes(N, traces=True, traces_additive=True, sum_input=True), "boosted")
    add(nodes.CurrentLIFNodes(N, refrac=2, traces=True, trace_scale=0.7, lbound=-80.0), "current")
    add(nodes.AdaptiveLIFNodes(N, tc_theta_decay=300.0, theta_plus=0.3, traces=True), "adaptive")
    add(nodes.DiehlAndCookNodes(N, one_spike=False, refrac=1, sum_input=True), "many")
    add(nodes.IzhikevichNodes(N, excitatory=0.5, traces=True, sum_input=True, lbound=-90.0), "izh")
    net.layers["izh"].S = weights(rng, N, N, 2.0, dyadic=True)
    add(nodes.McCullochPitts(N, thresh=9.0, traces=True), "mcp")
    names = [name for name in net.layers if name != "X"]
    for name in names:
        connect(net, "X", name, w=weights(rng, 12, N, 6.0, dyadic))
    for source, target in zip(names[::3], names[2::3], strict=False):
        connect(net, source, target, w=weights(rng, N, N, 2.0, dyadic, sign=True))
    connect(net, "many", "many", w=weights(rng, N, N, 3.0, dyadic, sign=True), b=torch.ones(N))
    return net


def drawing(seed: int, batch: int) -> Any:
    """Return a network with the layers that draw random numbers."""
    rng = RNG(seed)
    net = Network(dt=1.0, batch_size=batch)
    net.add_layer(nodes.Input(12), "X")
    layer = nodes.DiehlAndCookNodes(N, theta_plus=per_neuron(rng, 0, 1), traces=True)
    net.add_layer(layer, "one")
    net.add_layer(nodes.SRM0Nodes(N, traces=True, traces_additive=True, tc_trace=9.0), "srm")
    for name in ("one", "srm"):
        connect(net, "X", name, w=weights(rng, 12, N, 6.0, batch > 1))
    connect(net, "one", "srm", w=weights(rng, N, N, 2.0, batch > 1))
    return net


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_every_layer(seed: int, batch: int) -> None:
    net = every_layer(seed, batch)
    rng = RNG(seed)
    x = {"X": spikes(rng, STEPS, batch, (12,))}
    x["low.input"] = np.rint(rng.normal(0, 256, (STEPS, batch, N))).astype(np.float32) / 64
    graph, _ = run_both(net, x, seed, inputs=["low"])
    assert "equal in every bit" in graph.provenance.notes[-1]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_layers_that_draw(seed: int, batch: int) -> None:
    """Given torch's own numbers, all is the same but the last bit of the probability."""
    run_both(drawing(seed, batch), {"X": spikes(RNG(seed), STEPS, batch, (12,))}, seed)


@pytest.mark.parametrize(("seed", "batch"), [(0, 1), (1, 4), (2, 1)])
def test_convolutions_pools_and_sparse(seed: int, batch: int) -> None:
    rng = RNG(seed)
    net = Network(dt=1.0, batch_size=batch)
    net.add_layer(nodes.Input(shape=[2, 8, 8], traces=True), "X")
    net.add_layer(nodes.LIFNodes(shape=[3, 4, 4], traces=True, refrac=1, thresh=-62.0), "C")
    net.add_layer(nodes.IFNodes(shape=[3, 3, 3], refrac=0, thresh=-63.5), "P")
    net.add_layer(nodes.DiehlAndCookNodes(shape=[2, 3], traces=True, thresh=-60.0), "D")
    kernel = torch.tensor(np.rint(rng.normal(0.3, 1, (3, 2, 3, 3)) * 16) / 16, dtype=torch.float32)
    connect(
        net, "X", "C", "Conv2dConnection", kernel_size=3, stride=2, padding=1, w=kernel,
        b=torch.tensor([0.5, 0.0, -0.25]),
    )  # fmt: skip
    connect(net, "C", "P", "MaxPool2dConnection", kernel_size=2, stride=2, padding=1, decay=0.1)
    few = weights(rng, 27, 6, 4.0, dyadic=True)
    few[few < 2] = 0
    connect(net, "P", "D", "SparseConnection", w=few)
    connect(net, "D", "P", w=weights(rng, 6, 27, 0.5, dyadic=True))
    net.reset_state_variables()
    run_both(net, {"X": spikes(rng, STEPS, batch, (2, 8, 8))}, seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_local_connection(seed: int) -> None:
    rng = RNG(seed)
    np.random.seed(seed)
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(25), "X")
    net.add_layer(nodes.LIFNodes(8, thresh=-63.0), "A")
    made = connect(
        net, "X", "A", "LocalConnection", kernel_size=3, stride=2, n_filters=2,
        wmin=0.0, wmax=1.0, norm=0.5,
    )  # fmt: skip
    graph, found = run_both(net, {"X": spikes(rng, STEPS, 1, (25,))}, seed)
    np.testing.assert_allclose(found["X_to_A"].sum(axis=1), made.norm, rtol=1e-5)
    assert graph.nodes["X_to_A"].op.shape == (8, 25)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_step(seed: int) -> None:
    """Spikes go through all layers in one step; back, they take a step."""
    rng = RNG(seed)
    net = Network(dt=1.0)
    for name, layer in (("X", nodes.Input(8)), ("A", nodes.LIFNodes(N)), ("B", nodes.IFNodes(N))):
        net.add_layer(layer, name)
    connect(net, "X", "A", w=weights(rng, 8, N, 9.0, dyadic=False))
    connect(net, "B", "A", w=weights(rng, N, N, 3.0, dyadic=False, sign=True))
    connect(net, "A", "B", w=weights(rng, N, N, 9.0, dyadic=False))
    graph, _ = run_both(net, {"X": spikes(rng, STEPS, 1, (8,))}, seed, one_step=True)
    assert "A.before" not in graph.nodes
    assert "B.before" in graph.nodes


def test_counted_draws_and_text() -> None:
    """Random numbers of the op `uniform`: BindsNET is given the same; the graph has a text."""
    net = drawing(0, 1)
    graph = snnir.from_bindsnet(net, seed=7)
    assert [graph.nodes[f"{name}.draw"].op.seed for name in ("one", "srm")] == [7, 8]  # type: ignore[attr-defined]
    x = spikes(RNG(5), 100, 2, (12,))
    found = snnir.diff((net, {"seed": 7}), graph, x)
    assert found.identical
    assert found.nodes[-1].spikes_a > 20
    assert not snnir.diff((net, {"seed": 8}), graph, x).identical
    again = snnir.parse(str(graph))
    assert list(again.nodes) == list(graph.nodes)


def test_sums_that_round_are_added_up_in_order() -> None:
    """Static weights are `linear` where sums are exact, and stay `plastic` where they are not."""
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(9), "X")
    net.add_layer(nodes.LIFNodes(N), "A")
    net.add_layer(nodes.LIFNodes(N), "B")
    connect(net, "X", "A", w=weights(RNG(0), 9, N, 5.0, dyadic=True))
    connect(net, "X", "B", w=weights(RNG(0), 9, N, 5.0, dyadic=False))
    graph = snnir.from_bindsnet(net)
    assert isinstance(graph.nodes["X_to_A"].op, Linear)
    assert isinstance(graph.nodes["X_to_B"].op, Plastic)
    assert isinstance(graph.apply("freeze").nodes["X_to_B"].op, Linear)
