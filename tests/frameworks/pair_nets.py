"""Twelve small networks, written in four frameworks the way their users write them.

Each framework has a dense, a convolutional and a recurrent network with its own default neuron,
reset and time axis, so that what one framework gets from another can be measured. Weights are
multiples of 1/16, inputs of 1/2, and decays 1/2, 3/4 or 7/8: sums are exact in any order, and the
grid is so coarse that some membranes meet their threshold exactly, where `>` and `>=` part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

FRAMEWORKS = ("snntorch", "sinabs", "spikingjelly", "norse")
KINDS = ("dense", "conv", "recurrent")


@dataclass(frozen=True)
class PairNet:
    """A network and how its framework runs it.

    Attributes:
        module: What a user of the framework has: takes one sequence, keeps nothing but its state.
        input_shape: Of one sample at one step.
        largest: Largest input, a multiple of 1/2.
        density: Share of inputs that are not zero.
        rest: Brings the module back to its initial state.
        batch_first: Whether the module wants [B, T, ...] instead of [T, B, ...].
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    largest: float
    density: float
    rest: Callable[[nn.Module], None]
    batch_first: bool = False

    def inputs(self, steps: int, batch: int, seed: int = 0) -> Any:
        """Return inputs [T, B, *input_shape] at which the network fires moderately."""
        rng = np.random.default_rng(seed)
        shape = (steps, batch, *self.input_shape)
        values = rng.integers(1, int(2 * self.largest) + 1, shape) / 2
        return (values * (rng.random(shape) < self.density)).astype(np.float32)

    def run(self, x: Any) -> Any:
        """Run [T, B, *input_shape] from rest; return the output spikes [T, B, 10]."""
        self.rest(self.module)
        data = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        with torch.no_grad():
            out = self.module(data.transpose(0, 1) if self.batch_first else data)
        out = out[0] if isinstance(out, tuple) else out  # Norse returns its state as well
        return (out.transpose(0, 1) if self.batch_first else out).contiguous().numpy()


def nets(framework: str) -> dict[str, PairNet]:
    """Return the three networks of a framework, new but equal at every call."""
    builders: dict[str, Callable[[], dict[str, PairNet]]] = {
        "snntorch": _snntorch_nets,
        "sinabs": _sinabs_nets,
        "spikingjelly": _spikingjelly_nets,
        "norse": _norse_nets,
    }
    return builders[framework]()


def _grid(rng: np.random.Generator, like: Any, low: int, high: int) -> Any:
    """Return multiples of 1/16 from low/16 to high/16 in the shape of a tensor."""
    values = rng.integers(low, high + 1, tuple(like.shape)) / 16
    return torch.from_numpy(values.astype(np.float32))


def _fill(module: nn.Module, seed: int, ranges: dict[str, tuple[int, int]]) -> nn.Module:
    """Set weights to random multiples of 1/16 in {path of the layer: (low, high)}, and biases."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for path, (low, high) in ranges.items():
            layer = module.get_submodule(path)
            layer.weight.copy_(_grid(rng, layer.weight, low, high))
            layer.bias.copy_(_grid(rng, layer.bias, -1, 1))
    return module


def _at_rest(_: nn.Module) -> None:
    """Do nothing: the module starts every sequence at rest by itself."""


# --- snnTorch: one step per call, the loop over time is the user's --------------------------------


class _LeakyLoop(nn.Module):
    """Dense, with the membranes passed by hand."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.fc1 = nn.Linear(32, 24)
        self.lif1 = snn.Leaky(beta=0.5)
        self.fc2 = nn.Linear(24, 10)
        self.lif2 = snn.Leaky(beta=0.75)

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class _HiddenLoop(nn.Module):
    """Convolutional, with the membranes kept inside the neurons."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            snn.Leaky(beta=0.75, init_hidden=True),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 10),
            snn.Leaky(beta=0.875, init_hidden=True, output=True),
        )

    def forward(self, x: Any) -> Any:
        from snntorch import utils

        utils.reset(self.net)
        spikes = []
        for step in range(x.size(0)):
            spk, _ = self.net(x[step])
            spikes.append(spk)
        return torch.stack(spikes)


class _RLeakyLoop(nn.Module):
    """Recurrent from all to all."""

    def __init__(self) -> None:
        import snntorch as snn

        super().__init__()
        self.fc1 = nn.Linear(16, 20)
        self.rlif = snn.RLeaky(beta=0.5, linear_features=20)
        self.fc2 = nn.Linear(20, 10)
        self.lif2 = snn.Leaky(beta=0.5)

    def forward(self, x: Any) -> Any:
        spk1, mem1 = self.rlif.reset_mem()
        mem2 = self.lif2.reset_mem()
        spikes = []
        for step in range(x.size(0)):
            spk1, mem1 = self.rlif(self.fc1(x[step]), spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def _snntorch_nets() -> dict[str, PairNet]:
    dense = _fill(_LeakyLoop(), 0, {"fc1": (-6, 8), "fc2": (-5, 7)})
    conv = _fill(_HiddenLoop(), 1, {"net.0": (-7, 9), "net.4": (-7, 8)})
    ranges = {"fc1": (-6, 9), "rlif.recurrent": (-6, 6), "fc2": (-4, 7)}
    recurrent = _fill(_RLeakyLoop(), 2, ranges)
    return {
        "dense": PairNet(dense, (32,), 1.0, 0.3, _at_rest),
        "conv": PairNet(conv, (2, 8, 8), 1.0, 0.3, _at_rest),
        "recurrent": PairNet(recurrent, (16,), 1.0, 0.3, _at_rest),
    }


# --- Sinabs: whole sequences, batch first, the state stays in the layers --------------------------


def _tau(decay: float) -> float:
    """Return the time constant in steps of a decay; float32 exp gives the decay back exactly."""
    return float(-1 / np.log(decay))


def _sinabs_rest(module: nn.Module) -> None:
    from sinabs.layers import StatefulLayer

    for layer in module.modules():  # sinabs.reset_states passes over layers that have children
        if isinstance(layer, StatefulLayer):
            layer.reset_states()


def _sinabs_nets() -> dict[str, PairNet]:
    import sinabs.layers as sl

    dense = nn.Sequential(
        nn.Linear(32, 24), sl.LIF(tau_mem=_tau(0.5)),
        nn.Linear(24, 10), sl.LIF(tau_mem=_tau(0.75)),
    )  # fmt: skip
    conv = nn.Sequential(
        sl.Repeat(nn.Conv2d(2, 4, 3)), sl.IAF(), sl.Repeat(sl.SumPool2d(2)),
        nn.Flatten(2), nn.Linear(36, 10), sl.IAF(),
    )  # fmt: skip
    recurrent = nn.Sequential(
        nn.Linear(16, 20), sl.LIFRecurrent(tau_mem=_tau(0.5), rec_connect=nn.Linear(20, 20)),
        nn.Linear(20, 10), sl.LIF(tau_mem=_tau(0.5)),
    )  # fmt: skip
    _fill(dense, 12, {"0": (-8, 13), "2": (-8, 16)})
    _fill(conv, 14, {"0.module": (-6, 6), "4": (-3, 4)})
    _fill(recurrent, 5, {"0": (-8, 16), "1.rec_connect": (-8, 8), "2": (-8, 16)})
    return {
        "dense": PairNet(dense, (32,), 1.0, 0.3, _sinabs_rest, batch_first=True),
        "conv": PairNet(conv, (2, 8, 8), 1.0, 0.3, _sinabs_rest, batch_first=True),
        "recurrent": PairNet(recurrent, (16,), 1.0, 0.3, _sinabs_rest, batch_first=True),
    }


# --- SpikingJelly: multi-step layers, or a loop over single steps ---------------------------------


class _FeedbackLoop(nn.Module):
    """Recurrent by hand: the spikes of the last step come back through a linear layer."""

    def __init__(self) -> None:
        from spikingjelly.activation_based import neuron

        super().__init__()
        self.fc1 = nn.Linear(16, 20)
        self.rec = nn.Linear(20, 20)
        self.lif1 = neuron.LIFNode()
        self.fc2 = nn.Linear(20, 10)
        self.lif2 = neuron.LIFNode()

    def forward(self, x: Any) -> Any:
        spikes = torch.zeros(x.shape[1], 20)
        out = []
        for step in range(x.shape[0]):
            spikes = self.lif1(self.fc1(x[step]) + self.rec(spikes))
            out.append(self.lif2(self.fc2(spikes)))
        return torch.stack(out)


def _spikingjelly_rest(module: nn.Module) -> None:
    from spikingjelly.activation_based import functional

    functional.reset_net(module)


def _spikingjelly_nets() -> dict[str, PairNet]:
    from spikingjelly.activation_based import functional, layer, neuron

    dense = nn.Sequential(
        layer.Linear(32, 24), neuron.LIFNode(), layer.Linear(24, 10), neuron.LIFNode(tau=4.0)
    )
    conv = nn.Sequential(
        layer.Conv2d(2, 4, 3), neuron.IFNode(), layer.AvgPool2d(2),
        layer.Flatten(), layer.Linear(36, 10), neuron.IFNode(),
    )  # fmt: skip
    for module in (dense, conv):
        functional.set_step_mode(module, "m")
    _fill(dense, 6, {"0": (-8, 12), "2": (-8, 16)})
    _fill(conv, 7, {"0": (-6, 7), "4": (-6, 7)})
    ranges = {"fc1": (-8, 16), "rec": (-8, 8), "fc2": (-8, 16)}
    recurrent = _fill(_FeedbackLoop(), 8, ranges)
    return {
        "dense": PairNet(dense, (32,), 1.0, 0.3, _spikingjelly_rest),
        "conv": PairNet(conv, (2, 8, 8), 1.0, 0.3, _spikingjelly_rest),
        "recurrent": PairNet(recurrent, (16,), 1.0, 0.3, _spikingjelly_rest),
    }


# --- Norse: cells return (output, state), Lift applies them over time -----------------------------


def _norse_recurrent(seed: int) -> nn.Module:
    import norse.torch as norse

    rng = np.random.default_rng(seed)
    return norse.LIFRecurrentCell(
        16, 20, _norse_lif(),
        input_weights=nn.Parameter(_grid(rng, torch.empty(20, 16), -8, 12)),
        recurrent_weights=nn.Parameter(_grid(rng, torch.empty(20, 20), -8, 8)),
    )  # fmt: skip


def _norse_lif() -> Any:
    """Return decays of 1/2 for current and membrane at the default step of 1 ms."""
    import norse.torch as norse

    return norse.LIFParameters(tau_syn_inv=torch.tensor(500.0), tau_mem_inv=torch.tensor(500.0))


def _norse_nets() -> dict[str, PairNet]:
    import norse.torch as norse

    box = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0))
    dense = norse.Lift(
        norse.SequentialState(
            nn.Linear(32, 24), norse.LIFBoxCell(box), nn.Linear(24, 10), norse.LIFBoxCell(box)
        )
    )
    conv = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 4, 3)), norse.LIF(_norse_lif()), norse.Lift(nn.MaxPool2d(2)),
        nn.Flatten(2), nn.Linear(36, 10), norse.LIF(_norse_lif()),
    )  # fmt: skip
    recurrent = norse.Lift(
        norse.SequentialState(_norse_recurrent(11), nn.Linear(20, 10), norse.LIFCell(_norse_lif()))
    )
    _fill(dense, 9, {"lifted_module.0": (-8, 12), "lifted_module.2": (-8, 14)})
    _fill(conv, 10, {"0.lifted_module": (-6, 7), "4": (-6, 8)})
    _fill(recurrent, 11, {"lifted_module.1": (-8, 10)})
    return {
        "dense": PairNet(dense, (32,), 1.0, 0.3, _at_rest),
        "conv": PairNet(conv, (2, 8, 8), 1.0, 0.3, _at_rest),
        "recurrent": PairNet(recurrent, (16,), 1.0, 0.3, _at_rest),
    }
