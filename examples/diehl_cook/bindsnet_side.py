"""The network of Diehl and Cook as BindsNET builds and runs it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.diehl_cook.data import PIXELS, STEPS
from snnir.kernels_learning import uniform

Array = npt.NDArray[Any]

#: Of how much a spike raises a neuron's threshold, per neuron of the network: where many neurons
#: compete, each fires rarely.
THETA_PLUS = 0.002


def bindsnet(module: str) -> Any:
    """Return one of BindsNET's modules, without the libraries for data sets and pictures.

    BindsNET's own `__init__` imports those; networks need torch alone.

    Raises:
        SystemExit: If BindsNET or torch is missing.
    """
    if "bindsnet" not in sys.modules:
        found = importlib.util.find_spec("bindsnet")
        if found is None or importlib.util.find_spec("torch") is None:
            raise SystemExit(
                "the network is built with BindsNET: "
                "pip install torch && pip install --no-deps bindsnet==0.3.4"
            )
        package = types.ModuleType("bindsnet")
        package.__path__ = list(found.submodule_search_locations or ())
        package.__spec__ = found
        sys.modules["bindsnet"] = package
    importlib.import_module("bindsnet.network")  # the others import each other in a circle
    return importlib.import_module(f"bindsnet.{module}")


def network(neurons: int, seed: int) -> Any:
    """Return BindsNET's network: inputs, excitatory neurons that learn, and an inhibitory one each.

    The parameters are those of BindsNET's `DiehlAndCook2015` but for a stronger inhibition, and
    `theta_plus`.

    Args:
        neurons: Excitatory neurons, and inhibitory ones.
        seed: Of the weights.
    """
    import torch

    nodes, topology = bindsnet("network.nodes"), bindsnet("network.topology")
    generator = torch.Generator().manual_seed(seed)
    net = bindsnet("network").Network(dt=1.0)
    pixels = nodes.Input(n=PIXELS, traces=True, tc_trace=20.0)
    excitatory = nodes.DiehlAndCookNodes(
        n=neurons, traces=True, tc_trace=20.0, rest=-65.0, reset=-60.0, thresh=-52.0, refrac=5,
        tc_decay=100.0, theta_plus=THETA_PLUS * neurons, tc_theta_decay=1e7, one_spike=True,
    )  # fmt: skip
    inhibitory = nodes.LIFNodes(
        n=neurons, rest=-60.0, reset=-45.0, thresh=-40.0, refrac=2, tc_decay=10.0
    )
    for name, layer in (("X", pixels), ("Ae", excitatory), ("Ai", inhibitory)):
        net.add_layer(layer, name)
    learned = topology.Connection(
        pixels, excitatory, w=0.3 * torch.rand(PIXELS, neurons, generator=generator),
        update_rule=bindsnet("learning").PostPre, nu=(1e-4, 1e-2), wmin=0.0, wmax=1.0, norm=78.4,
    )  # fmt: skip
    one_to_one = 22.5 * torch.eye(neurons)
    one_to_others = -120.0 * (1 - torch.eye(neurons))
    net.add_connection(learned, "X", "Ae")
    net.add_connection(topology.Connection(excitatory, inhibitory, w=one_to_one), "Ae", "Ai")
    net.add_connection(topology.Connection(inhibitory, excitatory, w=one_to_others), "Ai", "Ae")
    return net


class SharedDraws:
    """The random numbers of the graph, for BindsNET.

    Where several neurons fire in a step, BindsNET keeps one of them by `torch.multinomial`. This
    stands in for it with the numbers of the op `uniform`; it counts steps as one of the network's
    monitors.
    """

    def __init__(self, seed: int, neurons: int) -> None:
        self.seed, self.neurons, self.step = seed, neurons, 0

    def record(self) -> None:
        """Count a step."""
        self.step += 1

    def reset_state_variables(self) -> None:
        """Count on."""

    def choose(self, fired: Any, count: int) -> Any:
        """Return the neuron that keeps its spike, [1, 1], of those that `fired` [1, neurons]."""
        import torch

        draws = uniform(self.seed, self.step, 1, (self.neurons,), np.float32)
        return (fired * torch.from_numpy(draws)).argmax(1, keepdim=True)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Let BindsNET choose by these numbers."""
        import torch

        own = torch.multinomial
        torch.multinomial = self.choose
        try:
            yield
        finally:
            torch.multinomial = own


class BindsnetLearner:
    """BindsNET's own training, an image at a time.

    Args:
        net: The network.
        seed: Of the draws, as in the graph.
    """

    def __init__(self, net: Any, seed: int) -> None:
        self.net = net
        self.layer, self.connection = net.layers["Ae"], net.connections["X", "Ae"]
        self.draws = SharedDraws(seed, self.layer.n)
        self.monitor = bindsnet("network.monitors").Monitor(self.layer, ["s"], time=STEPS)
        net.add_monitor(self.monitor, "spikes")
        net.monitors["draws"] = self.draws

    def show(self, x: Array) -> Array:
        """Run one image [steps, 1, 784]; return the spikes [steps, neurons]."""
        import torch

        self.net.reset_state_variables()
        with self.draws.instead():
            # A copy: BindsNET's next reset clears the last step of what it was given.
            self.net.run({"X": torch.from_numpy(x.copy())}, time=len(x))
        spikes: Array = self.monitor.get("s").reshape(len(x), -1).numpy()
        return spikes.astype(np.float32)

    def freeze(self) -> None:
        """Learn no more."""
        self.net.train(False)
        self.connection.norm = None  # it would round weights anew after every run

    def weights(self) -> Array:
        """Return the weights from the pixels, [neurons, 784]."""
        found: Array = self.connection.w.detach().numpy().T.copy()
        return found

    def thresholds(self) -> Array:
        """Return by how much every neuron's threshold has risen, [neurons]."""
        found: Array = self.layer.theta.numpy().copy()
        return found
