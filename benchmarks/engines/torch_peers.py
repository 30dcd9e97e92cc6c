"""The torch frameworks on the workloads, as their documentation would have one write it."""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.engines.workloads import BETA, JUST_ABOVE, THRESHOLD, Workload

#: (network, input): calling network(input) gives [T, B, outputs].
Made = tuple[Callable[[Any], Any], Any, list[Any]]


def layers(work: Workload, gain: float = 1.0) -> list[nn.Module]:
    """Return the synapses; `gain` undoes a framework's scaling of its input."""
    made: list[nn.Module] = []
    for weight in work.weights:
        if weight.ndim == 4:
            layer: nn.Module = nn.Conv2d(weight.shape[1], weight.shape[0], 5, bias=False)
            value = weight
        else:
            layer = nn.Linear(*weight.shape, bias=False)
            value = np.ascontiguousarray(weight.T)
        layer.weight.data = torch.from_numpy(value * np.float32(gain))
        made.append(layer)
    return made


def stepping(work: Workload, synapses: list[nn.Module], neurons: list[Any]) -> Any:
    """Return a network with a loop over time; neurons take and return their state."""

    def recurrent(x: Any) -> Any:
        states: list[Any] = [None, None]
        spikes = torch.zeros(x.shape[1], work.weights[1].shape[0])
        outputs = []
        for now in x:
            current = synapses[0](now) + synapses[1](spikes)
            spikes, states[0] = neurons[0](current, states[0])
            out, states[1] = neurons[1](synapses[2](spikes), states[1])
            outputs.append(out)
        return torch.stack(outputs)

    def forward(x: Any) -> Any:
        states: list[Any] = [None] * len(neurons)
        outputs = []
        for now in x:
            h = now
            for index, (synapse, neuron) in enumerate(zip(synapses, neurons, strict=True)):
                h = synapse(h.flatten(1) if isinstance(synapse, nn.Linear) else h)
                if isinstance(synapse, nn.Conv2d):
                    h = functional.max_pool2d(h, 2)
                h, states[index] = neuron(h, states[index])
            outputs.append(h)
        return torch.stack(outputs)

    return recurrent if work.kind == "recurrent" else forward


def snntorch(work: Workload) -> Made:
    """snnTorch: a loop over time."""
    import snntorch as snn
    from snntorch import surrogate

    def neuron() -> Any:
        leaky = snn.Leaky(
            beta=BETA, threshold=THRESHOLD, reset_mechanism="zero",
            spike_grad=surrogate.fast_sigmoid(slope=25),
        )  # fmt: skip
        return lambda x, mem: leaky(x, leaky.init_leaky() if mem is None else mem)

    synapses = layers(work)
    count = len(synapses) - (work.kind == "recurrent")
    net = stepping(work, synapses, [neuron() for _ in range(count)])
    return net, torch.from_numpy(work.x), [layer.weight for layer in synapses]


def norse(work: Workload) -> Made:
    """Norse: LIFBox cells; dt / tau_mem = 1/16 scales the input, so weights are 16 times larger."""
    import norse.torch as no

    parameters = no.LIFBoxParameters(
        tau_mem_inv=torch.tensor(62.5), v_th=torch.tensor(THRESHOLD), alpha=torch.tensor(25.0)
    )
    synapses = layers(work, 16.0)
    count = len(synapses) - (work.kind == "recurrent")
    cells = [no.LIFBoxCell(p=parameters, dt=1e-3) for _ in range(count)]
    net = stepping(work, synapses, cells)
    return net, torch.from_numpy(work.x), [layer.weight for layer in synapses]


def spikingjelly(work: Workload) -> Made:
    """SpikingJelly: multi-step mode; recurrence by hand."""
    logging.disable(logging.WARNING)
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import layer, neuron, surrogate

    def lif(mode: str = "m") -> Any:
        return neuron.LIFNode(
            tau=1 / (1 - BETA), decay_input=False, v_threshold=JUST_ABOVE, v_reset=0.0,
            detach_reset=True, surrogate_function=surrogate.SoftSign(alpha=2.0), step_mode=mode,
        )  # fmt: skip

    synapses = layers(work)
    parameters = [item.weight for item in synapses]
    x = torch.from_numpy(work.x)
    if work.kind == "recurrent":
        first, second = lif("s"), lif()

        def recurrent(x: Any) -> Any:
            first.reset()
            second.reset()
            currents = synapses[0](x)
            spikes, hidden = torch.zeros(x.shape[1], len(work.weights[1])), []
            for current in currents:
                spikes = first(current + synapses[1](spikes))
                hidden.append(spikes)
            return second(synapses[2](torch.stack(hidden)))

        return recurrent, x, parameters
    parts: list[nn.Module] = []
    for synapse in synapses:
        if isinstance(synapse, nn.Conv2d):
            parts += [layer.SeqToANNContainer(synapse, nn.MaxPool2d(2)), lif()]
        else:
            flat = [layer.Flatten(step_mode="m")] if work.kind == "conv" else []
            parts += [*flat, layer.SeqToANNContainer(synapse), lif()]
    net = nn.Sequential(*parts)

    def run(x: Any) -> Any:
        sj.reset_net(net)
        return net(x)

    return run, x, parameters


class FastSigmoid:
    """snnTorch's surrogate for Sinabs."""

    def __call__(self, v: Any, threshold: Any) -> Any:
        return 1 / (1 + 25 * (v - threshold).abs()) ** 2


def sinabs(work: Workload) -> Made:
    """Sinabs: whole sequences [B, T, ...] layer by layer."""
    import sinabs.layers as sl
    from sinabs.activation import MembraneReset, SingleSpike

    options = {
        "tau_mem": -1 / np.log(BETA), "spike_threshold": torch.tensor(JUST_ABOVE),
        "spike_fn": SingleSpike, "reset_fn": MembraneReset(), "norm_input": False,
        "surrogate_grad_fn": FastSigmoid(), "train_alphas": True,
    }  # fmt: skip

    def exact(neuron: Any) -> Any:
        neuron.alpha_mem.data = torch.tensor(BETA)  # exp and log of tau do not give it back
        neuron.alpha_mem.requires_grad_(False)
        return neuron

    synapses = layers(work)
    parameters = [item.weight for item in synapses]
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(work.x, 0, 1)))
    if work.kind == "recurrent":
        first = exact(sl.LIFRecurrent(rec_connect=synapses[1], **options))
        last = exact(sl.LIF(**options))

        def recurrent(x: Any) -> Any:
            first.reset_states()
            last.reset_states()
            return last(synapses[2](first(synapses[0](x)))).transpose(0, 1)

        return recurrent, x, parameters
    neurons = [exact(sl.LIF(**options)) for _ in synapses]

    def run(x: Any) -> Any:
        h = x
        for synapse, neuron in zip(synapses, neurons, strict=True):
            neuron.reset_states()
            if isinstance(synapse, nn.Conv2d):
                pooled = functional.max_pool2d(synapse(h.flatten(0, 1)), 2)
                h = neuron(pooled.unflatten(0, x.shape[:2]))
            else:
                h = neuron(synapse(h.flatten(2)))
        return h.transpose(0, 1)

    return run, x, parameters


class _Lenient(type):
    """A class whose attributes are such classes too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything


class _Anything(metaclass=_Lenient):
    """Whatever is wanted of an absent package, never used."""


class _Absent(types.ModuleType):
    """Stands for a package that BindsNET imports for its data sets and pictures."""

    __path__: list[str] = []  # noqa: RUF012  (as its base declares it)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything


class _Pretender:
    """Finds packages that only BindsNET's data sets and pictures need, and that are not there."""

    NAMES = (
        "torchvision",
        "cv2",
        "gymnasium",
        "ale_py",
        "skimage",
        "tensorboardX",
        "pandas",
        "foolbox",
    )

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self.NAMES:
            return importlib.util.spec_from_loader(name, self)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> Any:
        return _Absent(spec.name)

    def exec_module(self, module: Any) -> None:
        pass


def bindsnet(work: Workload) -> Made:
    """BindsNET: its own loop over time; every connection takes a step, which is taken off."""
    sys.meta_path.append(_Pretender())
    from bindsnet.network import Network, monitors, nodes, topology

    if work.kind in ("conv", "recurrent") or work.train:
        raise NotImplementedError("dense networks only")
    time, batch = work.x.shape[:2]
    net = Network(dt=1.0, batch_size=batch, learning=False)
    net.add_layer(nodes.Input(n=work.x.shape[2]), "0")
    for index, weight in enumerate(work.weights, 1):
        layer = nodes.LIFNodes(
            n=weight.shape[1], rest=0.0, reset=0.0, thresh=JUST_ABOVE, refrac=0,
            tc_decay=-1 / np.log(BETA),
        )  # fmt: skip
        net.add_layer(layer, f"{index}")
        source = net.layers[f"{index - 1}"]
        connection = topology.Connection(source, layer, w=torch.from_numpy(weight.copy()))
        net.add_connection(connection, f"{index - 1}", f"{index}")
    last = f"{len(work.weights)}"
    net.add_monitor(monitors.Monitor(net.layers[last], ["s"], time=time), "out")
    for layer in net.layers.values():
        if hasattr(layer, "decay"):
            layer.decay = torch.tensor(BETA)

    def run(x: Any) -> Any:
        net.reset_state_variables()
        net.run({"0": x.clone()}, time=time, one_step=True)  # a reset clears the last step of x
        return net.monitors["out"].get("s").reshape(time, batch, -1).float()

    return run, torch.from_numpy(work.x), []
