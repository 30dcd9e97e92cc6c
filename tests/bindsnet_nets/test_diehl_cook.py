"""The network of Diehl and Cook learns what it learns in BindsNET, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

import snnir
from examples.diehl_cook.bindsnet_side import BindsnetLearner, network
from examples.diehl_cook.data import Images, digits, spikes
from examples.diehl_cook.train import SnnirLearner
from snnir.kernels_learning import normalised
from tests.learning.bindsnet_rules import bindsnet

pytestmark = pytest.mark.framework
Array = Any
SEED = 7


def images(count: int) -> Images:
    pytest.importorskip("sklearn", reason="the images come with scikit-learn")
    return digits()[0].first(count)


def assert_same_bits(ours: Array, theirs: Array) -> None:
    np.testing.assert_array_equal(ours.view(np.int32), theirs.view(np.int32))


def assert_same_learning(target: str, neurons: int, count: int) -> None:
    """Show images to both, one after the other, and compare all that comes of each."""
    net = network(neurons, SEED)
    mine = SnnirLearner(snnir.from_bindsnet(net, seed=SEED), target)
    theirs = BindsnetLearner(net, SEED)
    before, fired = theirs.weights(), 0
    for x in spikes(images(count), SEED):
        answer = theirs.show(x)
        np.testing.assert_array_equal(mine.show(x), answer)
        assert_same_bits(mine.weights(), theirs.weights())
        assert_same_bits(mine.lasting["Ae:theta"], theirs.thresholds())
        fired += int(answer.sum())
    assert fired > 10 * count
    assert (before != theirs.weights()).mean() > 0.99


@pytest.mark.slow
def test_twenty_images_on_the_native_target() -> None:
    bindsnet("network")
    assert_same_learning("native", 100, 20)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["numpy", "native"])
def test_networks_of_other_sizes(target: str) -> None:
    """Sizes that are no multiple of the width of a vector; fewer columns than one."""
    bindsnet("network")
    for neurons in (3, 37):
        assert_same_learning(target, neurons, 2)


@pytest.mark.slow
def test_draws_of_torch_itself() -> None:
    """BindsNET chooses by its own random numbers; the graph is given the same."""
    bindsnet("network")
    net = network(50, SEED)
    made = snnir.compile(snnir.from_bindsnet(net, draws="input"), "native")
    monitor = bindsnet("network.monitors").Monitor(net.layers["Ae"], ["s"], time=250)
    net.add_monitor(monitor, "spikes")
    torch.manual_seed(SEED)
    lasting: dict[str, Array] = {}
    for x in spikes(images(2), SEED):
        net.reset_state_variables()
        draws = snnir.bindsnet_draws(net, x)
        net.run({"X": torch.from_numpy(x.copy())}, time=250)
        result = made.run({"X": x, **draws}, lasting=lasting)
        lasting = result.lasting
        theirs = monitor.get("s").reshape(250, 1, -1).numpy()
        np.testing.assert_array_equal(result.outputs["Ae"], theirs)
        assert theirs.sum() > 10
        weights = net.connections["X", "Ae"].w.numpy().T
        assert_same_bits(lasting["X_to_Ae:w"], np.ascontiguousarray(weights))


def test_normalisation_as_torch_rounds_it() -> None:
    """BindsNET divides a number by a tensor, which torch does by way of the inverse."""
    topology, nodes = bindsnet("network.topology"), bindsnet("network.nodes")
    for post in (3, 8, 37, 100):
        w = torch.from_numpy(np.random.default_rng(post).random((784, post), dtype=np.float32))
        layers = nodes.Input(n=784), nodes.LIFNodes(n=post)
        connection = topology.Connection(*layers, w=w.clone(), norm=78.4)
        connection.normalize()
        ours = normalised(np.ascontiguousarray(w.numpy().T), np.float32(78.4), "cascade")
        assert_same_bits(ours, np.ascontiguousarray(connection.w.numpy().T))
