"""Recovering graphs from the ways people write models, and refusing what has none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import snnir

for module in ("torch", "snntorch", "sinabs", "spikingjelly.activation_based", "norse.torch"):
    pytest.importorskip(module)

import norse.torch as norse
import sinabs.layers as sl
import snntorch as snn
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnir.ir import Delay, Step
from tests.helpers import dyadic

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::UserWarning")]


def grid(net: nn.Module, seed: int = 0) -> nn.Module:
    """Put weights on a grid, so that sums are exact in every order."""
    with torch.no_grad():
        for number, (name, p) in enumerate(net.named_parameters()):
            if name.endswith(("weight", "bias")):
                p.copy_(torch.from_numpy(dyadic(tuple(p.shape), seed + number)))
    return net


def noise(*shape: int) -> Any:
    rng = np.random.default_rng(1)
    return (np.rint(rng.normal(0.5, 0.7, shape) * 8) / 8).astype(np.float32)


def expect(graph: snnir.Graph, x: Any, *wanted: Any) -> None:
    for got, want in zip(snnir.run(graph, x).outputs.values(), wanted, strict=True):
        np.testing.assert_array_equal(got, want.detach().numpy())


class Loop(nn.Module):
    """Time loop in forward, states handed on."""

    def __init__(self, steps: int = 0) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.875)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.75, reset_mechanism="zero")
        self.steps = steps

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for t in range(self.steps or x.size(0)):
            spk, mem1 = self.lif1(self.fc1(x[t]), mem1)
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            spikes.append(spk)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


@pytest.mark.parametrize("steps", [0, 25, 100])
def test_loop_in_forward(steps: int) -> None:
    net = grid(Loop(steps))
    x = noise(steps or 30, 4, 6)
    graph = snnir.from_torch(net, (6,))
    with torch.no_grad():
        expect(graph, x, *net(torch.from_numpy(x)))
    assert list(graph.nodes) == ["input", "fc1", "lif1", "fc2", "lif2"]


class BatchFirst(Loop):
    def forward(self, x: Any) -> Any:
        return tuple(y.transpose(0, 1) for y in super().forward(x.transpose(0, 1)))


class BatchFirstLoop(nn.Module):
    """The loop runs over the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), snn.Leaky(beta=0.5)

    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif.reset_mem(), []
        for t in range(x.shape[1]):
            spk, mem = self.lif(self.fc(x[:, t]), mem)
            spikes.append(spk)
        return torch.stack(spikes, dim=1)


def test_batch_first() -> None:
    x = noise(30, 4, 6)
    loop, turned = grid(BatchFirstLoop()), grid(BatchFirst())
    with torch.no_grad():
        first = torch.from_numpy(x).transpose(0, 1)
        expect(snnir.from_torch(loop, (6,)), x, loop(first).transpose(0, 1))
        graph = snnir.from_torch(turned, (6,), layout="BT")
        expect(graph, x, *(y.transpose(0, 1) for y in turned(first)))
    assert snnir.diff(loop, snnir.from_torch(loop, (6,)), x).identical


class Merged(nn.Module):
    """Time and batch in one axis, split where it matters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 2, 3), neuron.LIFNode(step_mode="m")

    def forward(self, x: Any) -> Any:
        return self.lif(self.conv(x).view(-1, 2, 2, 4, 4)).flatten(0, 1)


def test_time_and_batch_merged() -> None:
    x = noise(20, 2, 1, 6, 6)
    net = grid(Merged())
    graph = snnir.from_torch(net, (1, 6, 6))
    assert graph == snnir.from_torch(net, (1, 6, 6), layout="T*B")
    functional.reset_net(net)
    with torch.no_grad():
        out = net(torch.from_numpy(x).flatten(0, 1))
    expect(graph, x, out.reshape(20, 2, 2, 4, 4))
    assert snnir.diff(net, graph, x).identical


def test_an_example_instead_of_a_shape() -> None:
    net = grid(Loop())
    assert snnir.from_torch(net, example=noise(4, 3, 6)) == snnir.from_torch(net, (6,))
    for wrong in (noise(2, 3, 6), noise(6), np.zeros((4, 0, 6)), "x"):
        with pytest.raises(snnir.SnnirError, match="SNN801.*example"):
            snnir.from_torch(net, example=wrong)


class Repeat(Loop):
    """The tutorials' style: one input, repeated in a loop of a constant number of steps."""

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for _ in range(25):
            spk, mem1 = self.lif1(self.fc1(x), mem1)
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            spikes.append(spk)
        return torch.stack(spikes, dim=0)


def test_repeated_input() -> None:
    net = grid(Repeat())
    x = noise(4, 6)
    graph = snnir.from_torch(net, (6,))
    with torch.no_grad():
        expect(graph, np.repeat(x[None], 25, 0), net(torch.from_numpy(x)))


def test_sequential_with_hidden_states() -> None:
    net = grid(nn.Sequential(
        nn.Conv2d(1, 2, 3), snn.Leaky(beta=0.5, init_hidden=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(), nn.Identity(), nn.Linear(18, 4),
        snn.Synaptic(alpha=0.5, beta=0.75, init_hidden=True, output=True),
    ).eval())  # fmt: skip
    graph = snnir.from_torch(net, (1, 8, 8))
    x = noise(20, 3, 1, 8, 8)
    net[1].reset_mem()
    net[7].reset_mem()
    with torch.no_grad():
        steps = [net(now) for now in torch.from_numpy(x)]
    expect(graph, x, *(torch.stack([s[i] for s in steps]) for i in (0, 1, 2)))
    assert list(graph.outputs) == ["output", "output_1", "output_2"]


class Recurrent(nn.Module):
    """Recurrence, a residual branch and concatenation by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.rec = nn.Linear(6, 8), nn.Linear(8, 8)
        self.lif, self.lif2 = snn.Leaky(beta=0.5), snn.Leaky(beta=0.5)
        self.mix, self.out = nn.Linear(16, 8), snn.Leaky(beta=0.75)

    def forward(self, x: Any) -> Any:
        spk = torch.zeros(x.shape[1], 8)
        mem, mem2, mem3 = (m.reset_mem() for m in (self.lif, self.lif2, self.out))
        outputs = torch.zeros(len(x), x.shape[1], 8)
        for t, now in enumerate(x):
            spk, mem = self.lif(self.fc(now) + self.rec(spk) * 0.5, mem)
            spk2, mem2 = self.lif2(spk - 0.25 * mem.detach(), mem2)
            joined = torch.cat([spk2 + spk, spk], dim=1)
            outputs[t], mem3 = self.out(self.mix(joined), mem3)
        return outputs


def test_recurrence_residual_and_concatenation() -> None:
    net = grid(Recurrent())
    with torch.no_grad():
        net.rec.bias.zero_()
    x = noise(30, 4, 6)
    graph = snnir.from_torch(net, (6,))
    with torch.no_grad():
        expect(graph, x, net(torch.from_numpy(x)))
    assert sum(isinstance(node.op, Delay) for node in graph.nodes.values()) == 1


class ByHand(nn.Module):
    """A neuron without any framework."""

    def forward(self, x: Any) -> Any:
        v = torch.zeros_like(x[0])
        spikes = []
        for now in x:
            v = 0.5 * v + now
            spike = (v >= 1.0).float()
            v = torch.where(spike > 0, v - 1.0, v).clamp(min=-0.5)
            spikes.append(spike)
        return torch.stack(spikes)


def test_a_neuron_written_by_hand() -> None:
    x = noise(40, 3, 5)
    graph = snnir.from_torch(ByHand(), (5,))
    expect(graph, x, ByHand()(torch.from_numpy(x)))


class Block(nn.Module):
    """A residual block that adds in place, as spiking residual networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.lif1 = layer.Conv2d(2, 2, 3, padding=1), neuron.IFNode()
        self.conv2, self.lif2 = layer.Conv2d(2, 2, 3, padding=1), neuron.IFNode()

    def forward(self, x: Any) -> Any:
        out = self.lif2(self.conv2(self.lif1(self.conv1(x))))
        out += x
        return out


@pytest.mark.parametrize("mode", ["m", "s"])
def test_residual_blocks_in_place(mode: str) -> None:
    net = grid(nn.Sequential(
        layer.Conv2d(1, 2, 3), neuron.IFNode(), Block(), Block(), layer.AdaptiveAvgPool2d((2, 2)),
        layer.Flatten(), layer.Linear(8, 4), neuron.LIFNode(),
    ))  # fmt: skip
    functional.set_step_mode(net, mode)
    x = noise(15, 3, 1, 8, 8)
    graph = snnir.from_torch(net, (1, 8, 8))
    found = snnir.diff(net, graph, x)
    assert found.identical
    assert found.nodes[1].spikes_a > 0
    names = [entry.node for entry in found.nodes]
    assert names[:5] == ["1", "2.lif1", "2.lif2", "3.lif1", "3.lif2"]


class Accumulate(nn.Module):
    """A count kept in the loop, returned after it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), snn.Leaky(beta=0.5)

    def forward(self, x: Any) -> Any:
        total, mem = 0, self.lif.reset_mem()
        for now in x:
            spk, mem = self.lif(self.fc(now), mem)
            total = total + spk
        return total


def test_an_accumulator_is_a_state() -> None:
    net = grid(Accumulate())
    x = noise(20, 2, 6)
    graph = snnir.from_torch(net, (6,))
    with torch.no_grad():
        np.testing.assert_array_equal(
            snnir.run(graph, x).output[-1], net(torch.from_numpy(x)).numpy()
        )
    assert "last step" in graph.provenance.notes[0]


@pytest.mark.parametrize("readout", ["sum", "mean"])
def test_a_readout_over_time_is_said(readout: str) -> None:
    class Rate(Loop):
        def forward(self, x: Any) -> Any:
            return getattr(super().forward(x)[0], readout)(0)

    graph = snnir.from_torch(grid(Rate()), (6,))
    assert graph.outputs["output"].node == "lif2"
    assert f"{readout} over time (test_capture.py:" in graph.provenance.notes[0]


def spikingjelly_net() -> nn.Module:
    return grid(nn.Sequential(
        layer.Conv2d(1, 2, 3, bias=False), layer.BatchNorm2d(2), neuron.IFNode(),
        layer.MaxPool2d(2), layer.Flatten(), layer.Linear(18, 4), neuron.LIFNode(tau=2.0),
    ).eval())  # fmt: skip


@pytest.mark.parametrize("mode", ["m", "s"])
def test_step_modes(mode: str) -> None:
    net = spikingjelly_net()
    functional.set_step_mode(net, mode)
    graph = snnir.from_torch(net, (1, 8, 8))
    names = ["input", "0", "1", "2", "3", "4", "5", "6"]
    assert [name for name in graph.nodes if "." not in name] == names


def test_containers() -> None:
    net = grid(nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2)),
        layer.MultiStepContainer(neuron.IFNode()), nn.Flatten(2),
        layer.LinearRecurrentContainer(neuron.IFNode(), 18, 18, bias=False), nn.Linear(18, 4),
        neuron.LIFNode(step_mode="m"),
    ))  # fmt: skip
    net[3].step_mode = "m"
    net[3].sub_module.step_mode = "s"
    x = noise(20, 3, 1, 8, 8)
    graph = snnir.from_torch(net, (1, 8, 8))
    functional.reset_net(net)
    with torch.no_grad():
        expect(graph, x, net(torch.from_numpy(x)))


def test_norse_styles() -> None:
    x = noise(25, 3, 6)
    lifted = norse.SequentialState(
        norse.Lift(nn.Linear(6, 5)), norse.LIF(), norse.LIFRecurrent(5, 4), norse.LI()
    )
    cells = norse.SequentialState(nn.Linear(6, 5), norse.LIFCell(), nn.Linear(5, 2), norse.LICell())
    for net in (lifted, cells):
        grid(net)
    lifted[2].recurrent_weights.data.copy_(torch.from_numpy(dyadic((4, 4), 3)))
    lifted[2].input_weights.data.copy_(torch.from_numpy(dyadic((4, 5), 4)))
    with torch.no_grad():
        expect(snnir.from_torch(lifted, (6,)), x, lifted(torch.from_numpy(x))[0])
        state, outputs = None, []
        for now in torch.from_numpy(x):
            out, state = cells(now, state)
            outputs.append(out)
    graph = snnir.from_torch(cells, (6,))
    expect(graph, x, torch.stack(outputs))
    assert graph.dt == 0.001


def test_sinabs_styles() -> None:
    x = noise(20, 4, 1, 8, 8)
    net = grid(nn.Sequential(
        nn.Conv2d(1, 2, 3), sl.IAFSqueeze(batch_size=4, min_v_mem=-1.0), sl.SumPool2d(2),
        nn.Flatten(), nn.Linear(18, 4), sl.LIFSqueeze(tau_mem=10.0, batch_size=4),
    ))  # fmt: skip
    graph = snnir.from_torch(net, (1, 8, 8))
    with torch.no_grad():
        out = net(torch.from_numpy(x).transpose(0, 1).reshape(80, 1, 8, 8))
    expect(graph, x, out.reshape(4, 20, 4).transpose(0, 1))
    plain = grid(
        nn.Sequential(nn.Linear(6, 5), sl.LIF(tau_mem=10.0), nn.Linear(5, 3), sl.ExpLeak(8.0))
    )
    graph = snnir.from_torch(plain, (6,))
    y = noise(20, 4, 6)
    with torch.no_grad():
        expect(graph, y, plain(torch.from_numpy(y).transpose(0, 1)).transpose(0, 1))


def test_the_model_is_left_as_it_was() -> None:
    """States, lists, buffers and random generators are put back, on failure too."""
    net = grid(nn.Sequential(
        nn.Linear(6, 4), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(4, 4), neuron.IFNode(),
        nn.Linear(4, 4), sl.IAF(),
    ))  # fmt: skip
    net[1](torch.rand(5, 4))
    net[3](torch.rand(5, 4))
    net[5](torch.rand(5, 2, 4))
    net.seen = [1, 2]
    net[0].register_forward_hook(lambda *_: net.seen.append(3))
    before = (net[1].mem.clone(), net[3].v.clone(), net[5].v_mem.clone())
    parameters = [p.detach().clone() for p in net.parameters()]
    keys = [sorted(vars(m)) for m in net.modules()]
    torch.manual_seed(3)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    for shape in ((6,), (7,)):
        with pytest.raises(snnir.SnnirError):
            snnir.from_torch(net, shape)  # styles of three frameworks at once have no layout
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # type: ignore[index]
    for old, new in zip(before, (net[1].mem, net[3].v, net[5].v_mem), strict=True):
        assert torch.equal(old, new)
    assert net.seen == [1, 2]
    assert keys == [sorted(vars(m)) for m in net.modules()]
    assert all(torch.equal(a, b) for a, b in zip(parameters, net.parameters(), strict=True))
    assert not net[1]._forward_hooks


def test_capture_starts_at_rest() -> None:
    """A model that has run before gives the same graph."""
    net = grid(nn.Sequential(nn.Linear(6, 4), snn.Leaky(beta=0.5, init_hidden=True)))
    fresh = snnir.from_torch(net, (6,))
    net(torch.ones(2, 6) * 5)
    assert snnir.from_torch(net, (6,)) == fresh


# --- What is refused, with the module and line ----------------------------------------------------


class Branch(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for now in x:
            current = self.fc1(now)
            if current.sum() > 0:
                current = current * 2
            spk, mem = self.lif1(current, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Alternating(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for t, now in enumerate(x):
            current = self.fc1(now) if t % 2 else self.fc1(now * 0.5)
            spk, mem = self.lif1(current, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class ScaledState(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem)
            mem = mem * 0.5
            spikes.append(spk)
        return torch.stack(spikes)


class SharedNeuron(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem)
            spk, mem = self.lif1(spk, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Noisy(Loop):
    def forward(self, x: Any) -> Any:
        return super().forward(x + torch.randn_like(x))


class LastIsOther(Loop):
    """The last step goes through another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(6, 8)

    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for t, now in enumerate(x):
            current = self.fc1(now) if t < len(x) - 1 else self.other(now)
            spk, mem = self.lif1(current, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class StartsHigh(nn.Module):
    """The recurrence reads ones before there are any spikes."""

    def __init__(self, start: float, bias: bool) -> None:
        super().__init__()
        self.fc, self.rec = nn.Linear(6, 8), nn.Linear(8, 8, bias=bias)
        self.lif, self.start = snn.Leaky(beta=0.5), start

    def forward(self, x: Any) -> Any:
        spk, mem = torch.full((x.shape[1], 8), self.start), self.lif.reset_mem()
        spikes = []
        for now in x:
            spk, mem = self.lif(self.fc(now) + self.rec(spk), mem)
            spikes.append(spk)
        return torch.stack(spikes)


def test_a_recurrence_with_a_bias() -> None:
    """The bias acts in the first step too, where there is no spike yet."""
    net, x = grid(StartsHigh(0.0, True)), noise(30, 4, 6)
    with torch.no_grad():
        expect(snnir.from_torch(net, (6,)), x, net(torch.from_numpy(x)))


class ChangesLater(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for t, now in enumerate(x):
            current = self.fc1(now) if t < 10 else self.fc1(now) * 0.5
            spk, mem = self.lif1(current, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class ResetLater(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for t, now in enumerate(x):
            mem = torch.zeros_like(mem) if t == 20 else mem
            spk, mem = self.lif1(self.fc1(now), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Reversed(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for t in reversed(range(len(x))):
            spk, mem = self.lif1(self.fc1(x[t]), mem)
            spikes.append(spk)
        return torch.stack(spikes[::-1])


class JoinsConstant(Loop):
    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem)
            spikes.append(torch.cat([spk, torch.ones(len(spk), 1)], 1))
        return torch.stack(spikes)


class TwoStepsAgo(nn.Module):
    """Spikes of two steps ago, kept in a Python list."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.5)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.75)

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        seen, spikes = [], []
        for t in range(len(x)):
            spk, mem1 = self.lif1(self.fc1(x[t]), mem1)
            seen.append(spk)
            before = seen[t - 2] if t >= 2 else torch.zeros_like(spk)
            out, mem2 = self.lif2(self.fc2(before), mem2)
            spikes.append(out)
        return torch.stack(spikes)


def test_a_delay_of_two_steps() -> None:
    net, x = grid(TwoStepsAgo()), noise(40, 3, 6)
    graph = snnir.from_torch(net, (6,))
    with torch.no_grad():
        expect(graph, x, net(torch.from_numpy(x)))
    assert [n.op.steps for n in graph.nodes.values() if isinstance(n.op, Delay)] == [2]


class Refractory(nn.Module):
    """A neuron by hand whose counter is read before it is set."""

    def forward(self, x: Any) -> Any:
        v, left = torch.zeros_like(x[0]), torch.zeros_like(x[0])
        spikes = []
        for now in x:
            v = v * 0.5 + torch.where(left > 0, torch.zeros_like(now), now)
            spike = (v >= 1).to(v.dtype)
            v, left = v * (1 - spike), torch.clamp(left - 1, min=0) + 2 * spike
            spikes.append(torch.cat([spike[:, 2:], v[..., :2] * 2], -1))
        return torch.stack(spikes)


@pytest.mark.parametrize("framework", ["snntorch", "sinabs", "spikingjelly", "norse"])
def test_what_was_written_by_hand_survives_every_framework(framework: str) -> None:
    x = noise(40, 3, 5)
    expected = Refractory()(torch.from_numpy(x))
    graph = snnir.from_torch(Refractory(), (5,))
    expect(graph, x, expected)
    expect(snnir.from_torch(snnir.export(graph, framework), (5,)), x, expected)


@pytest.mark.parametrize("framework", ["snntorch", "sinabs", "spikingjelly", "norse"])
def test_membranes_and_winners_survive_every_framework(framework: str) -> None:
    class Net(Loop):
        def __init__(self) -> None:
            super().__init__()
            self.lif2 = snn.Leaky(beta=0.75, inhibition=True)

        def forward(self, x: Any) -> Any:
            mem1, mem2, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for now in x:
                spk, mem1 = self.lif1(self.fc1(now), mem1)
                spk2, mem2 = self.lif2(self.fc2(torch.cat([spk[:, 4:], mem1[..., :4]], 1)), mem2)
                spikes.append(spk2)
            return torch.stack(spikes)

    net, x = grid(Net()), noise(30, 3, 6)
    with torch.no_grad():
        expected = net(torch.from_numpy(x))
    graph = snnir.from_torch(net, (6,))
    expect(graph, x, expected)
    expect(snnir.from_torch(snnir.export(graph, framework), (6,)), x, expected)


class PerSample(Loop):
    """Adds something else to each sample of the batch."""

    def forward(self, x: Any) -> Any:
        return super().forward(x + torch.arange(x.shape[1])[:, None])


class Keywords(Loop):
    """States by keyword, scaled on the way if asked to."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif1.reset_mem(), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem=mem)
            mem = mem if self.scale == 1 else mem * self.scale
            spikes.append(spk)
        return torch.stack(spikes)


def test_states_by_keyword() -> None:
    net, x = grid(Keywords()), noise(30, 4, 6)
    with torch.no_grad():
        expect(snnir.from_torch(net, (6,)), x, net(torch.from_numpy(x)))


class Forgetful(nn.Module):
    """A Norse cell that never gets its state back."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), norse.LIFCell()

    def forward(self, x: Any) -> Any:
        return torch.stack([self.lif(self.fc(now))[0] for now in x])


class Autocast(Loop):
    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


def test_a_layer_whose_forward_was_replaced() -> None:
    """What the instance does counts, not what its class would do."""
    net, x = grid(Loop()), noise(30, 4, 6)
    original = net.fc1.forward
    net.fc1.forward = lambda given: original(given) * 0.5
    with torch.no_grad():
        expect(snnir.from_torch(net, (6,)), x, *net(torch.from_numpy(x)))


class Unknown(Loop):
    def forward(self, x: Any) -> Any:
        return super().forward(torch.fft.fft(x).real)


class OnGpu(Loop):
    def forward(self, x: Any) -> Any:
        return super().forward(x.cuda())


class Changed(snn.Leaky):
    def forward(self, x: Any, mem: Any = None) -> Any:
        return super().forward(x * 2, mem)


def hooked() -> nn.Module:
    def fail(*_: Any) -> None:
        raise ValueError("the hook is broken")

    net = Loop()
    net.fc2.register_forward_hook(fail)
    return net


def hidden(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), *parts, snn.Leaky(beta=0.5, init_hidden=True))


def patched() -> nn.Module:
    """A change too small for a spike in three steps; the membrane shows it."""
    net = grid(hidden())
    original = net[1]._base_sub

    def changed(x: Any) -> Any:
        return original(x) + 1e-6

    changed.__name__ = "_base_sub"
    net[1].state_function = changed
    return net


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "branch": (Branch, (6,), r"SNN804.*test_capture.py:\d+.*__bool__"),
    "changes with time": (Alternating, (6,), r"SNN805.*test_capture.py:\d+"),
    "state altered": (ScaledState, (6,), r"SNN805.*node 'lif1'.*test_capture.py:\d+.*state v"),
    "shared neuron": (SharedNeuron, (6,), r"SNN805.*node 'lif1'"),
    "last step differs": (LastIsOther, (6,), r"SNN805.*test_capture.py:\d+"),
    "recurrence starts high": (lambda: grid(StartsHigh(1.0, False)), (6,), r"SNN808.*first steps"),
    "samples differ": (PerSample, (6,), r"SNN803.*samples"),
    "state altered, by keyword": (lambda: Keywords(0.5), (6,), r"SNN805.*node 'lif1'.*state v"),
    "state forgotten": (Forgetful, (6,), r"SNN805.*node 'lif'.*test_capture.py:\d+.*without the state"),
    "autocast": (Autocast, (6,), r"SNN807.*bfloat16"),
    "changes later": (ChangesLater, (6,), r"SNN80[58]"),
    "reset later": (ResetLater, (6,), r"SNN805.*node 'lif1'.*state v"),
    "reversed": (Reversed, (6,), r"SNN805.*node 'lif1'.*step by step from the first"),
    "joins a constant": (JoinsConstant, (6,), r"SNN803.*node 'cat'.*constant"),
    "unknown neuron": (lambda: hidden(snn.SLSTM(4, 4)), (6,), r"SNN802.*node '1'.*SLSTM.*Leaky"),
    "subclass": (lambda: hidden(Changed(beta=0.5)), (6,), r"SNN802.*node '1'.*Changed"),
    "unknown layer": (lambda: hidden(nn.GELU()), (6,), r"SNN802.*node '1'.*GELU"),
    "unknown function": (Unknown, (6,), r"SNN803.*test_capture.py:\d+"),
    "dropout": (lambda: hidden(nn.Dropout()), (6,), r"SNN806.*node '1'.*eval"),
    "batch statistics": (lambda: hidden(nn.BatchNorm1d(4)), (6,), r"SNN806.*node '1'.*eval"),
    "noise": (Noisy, (6,), r"SNN806.*test_capture.py:\d+.*randn_like"),
    "wrong shape": (hidden, (7,), r"SNN801.*node '0'.*input_shape"),
    "half precision": (lambda: hidden().half(), (6,), r"SNN807.*0\.weight.*float16.*float\(\)"),
    "bfloat16": (lambda: hidden().bfloat16(), (6,), r"SNN807.*bfloat16"),
    "double": (lambda: hidden().double(), (6,), r"SNN807.*float64"),
    "meta": (lambda: hidden().to("meta"), (6,), r"SNN807.*meta"),
    "hook raises": (hooked, (6,), r"SNN801.*node 'fc2'.*test_capture.py:\d+.*the hook is broken"),
    "patched neuron": (patched, (6,), r"SNN808.*node '1'"),
    "ceil mode": (
        lambda: nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), sl.IAFSqueeze(batch_size=2)),
        (1, 5, 5), r"SNN802.*node '0'.*ceil_mode",
    ),
    "batch broken": (
        lambda: nn.Sequential(nn.Flatten(0), nn.Linear(12, 4), snn.Leaky(0.5, init_hidden=True)),
        (6,), r"SNN80\d",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(name: str) -> None:
    make, shape, pattern = REFUSED[name]
    with pytest.raises(snnir.SnnirError, match=pattern):
        snnir.from_torch(make(), shape)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refused_without_gpu() -> None:
    with pytest.raises(snnir.SnnirError, match=r"SNN801.*test_capture.py:\d+.*CUDA"):
        snnir.from_torch(OnGpu(), (6,))


def test_wrong_arguments() -> None:
    with pytest.raises(snnir.SnnirError, match="SNN801.*Module"):
        snnir.from_torch("net", (6,))
    with pytest.raises(snnir.SnnirError, match="SNN801.*input_shape"):
        snnir.from_torch(Loop())
    with pytest.raises(snnir.SnnirError, match="SNN801.*layout"):
        snnir.from_torch(Loop(), (6,), layout="BTC")
    with pytest.raises(snnir.SnnirError, match="SNN801.*empty"):
        snnir.from_torch(Loop(), (0,))


def test_hooks_that_change_values_are_seen() -> None:
    """A hook's arithmetic is part of what the model does."""
    net = grid(hidden())
    plain = copy.deepcopy(net)
    net[0].register_forward_hook(lambda module, given, out: out * 2)
    x = noise(20, 2, 6)
    doubled = snnir.run(snnir.from_torch(net, (6,)), x).output
    with torch.no_grad():
        expected = torch.stack([net(now) for now in torch.from_numpy(x)])
    np.testing.assert_array_equal(doubled, expected.numpy())
    assert (doubled != snnir.run(snnir.from_torch(plain, (6,)), x).output).any()


def test_what_is_read_is_a_copy() -> None:
    """Training on does not change a graph that was read before."""
    net = grid(Loop())
    graph = snnir.from_torch(net, (6,))
    before = graph.nodes["fc1"].op.tensors()["weight"].numpy().copy()
    with torch.no_grad():
        net.fc1.weight.add_(1.0)
    assert (graph.nodes["fc1"].op.tensors()["weight"].numpy() == before).all()


def test_decay_constants_are_the_frameworks_own() -> None:
    net = nn.Sequential(sl.LIF(tau_mem=13.7))
    (step,) = (n.op for n in snnir.from_torch(net, (4,)).nodes.values() if isinstance(n.op, Step))
    assert step.params["beta"].numpy() == torch.exp(-1.0 / torch.tensor(13.7)).numpy()
