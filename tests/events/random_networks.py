"""Random networks in continuous time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.events.adjoint_plan import Stimulus
from snnir.targets.events.network import RESETS, Block, EventNetwork, Neurons, Synapses

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """What is drawn.

    Attributes:
        ratio: tau_mem / tau_syn; None for random ones, 0 for neurons without synapse.
        layers: Neurons per layer.
        recurrent: Whether layers are also connected to themselves.
        delays: Whether synapses have delays.
        reset: Of `RESETS`.
        refractory, pulse, bias: See the network.
        leaky: Whether membranes leak.
        current: Whether there is also an input of currents.
    """

    ratio: float | None = None
    layers: tuple[int, ...] = (5,)
    recurrent: bool = False
    delays: bool = False
    reset: str = "to"
    refractory: float = 0.0
    pulse: float = 0.0
    bias: float = 0.0
    leaky: bool = True
    current: bool = False


TAU = 0.01


def network(kind: Kind, seed: int = 0, inputs: int = 4) -> EventNetwork:
    """Return a network whose neurons fire a few times on `stimulus`."""
    rng = np.random.default_rng(seed)
    currents = 2 if kind.current else 0
    sizes = [inputs, *([currents] if currents else []), *kind.layers]
    starts = np.cumsum([0, *sizes])
    names = ["input", *(["current"] if currents else [])]
    kinds = ["input", *(["current"] if currents else [])]
    names += [f"lif{k}" for k in range(len(kind.layers))]
    kinds += ["spiking"] * len(kind.layers)
    blocks = tuple(
        Block(name, int(start), (size,), what)
        for name, start, size, what in zip(names, starts, sizes, kinds, strict=False)
    )
    neurons = _neurons(kind, rng, sum(kind.layers))
    return EventNetwork(
        blocks, neurons, _synapses(kind, rng, blocks, neurons), ("w",), {}, kind.pulse, 1e-3
    )


def _neurons(kind: Kind, rng: Any, count: int) -> Neurons:
    mem = TAU * rng.uniform(0.8, 1.2, count)
    ratio = rng.uniform(0.4, 3, count) if kind.ratio is None else np.full(count, kind.ratio or 1.0)
    syn = mem / ratio
    has = np.full(count, kind.ratio != 0)
    rate = 1 / mem if kind.leaky else np.zeros(count)
    return Neurons(
        has_synapse=has,
        rate_mem=rate,
        rate_syn=np.where(has, 1 / syn, 0.0),
        push_mem=1 / mem,
        push_syn=np.where(has, rng.uniform(0.9, 1.1, count) / syn, 0.0),
        leak=rng.uniform(-0.1, 0.1, count),
        bias=kind.bias * rng.uniform(0.5, 1.5, count),
        kick=np.zeros(count) if kind.pulse else rng.uniform(0.9, 1.1, count),
        threshold=rng.uniform(0.5, 0.7, count),
        fires_at=np.zeros(count, bool),
        reset_kind=np.full(count, RESETS.index(kind.reset), np.int8),
        v_reset=rng.uniform(-0.2, 0.1, count),
        refractory=np.full(count, kind.refractory),
        v_start=rng.uniform(-0.1, 0.1, count),
        i_start=np.where(has, rng.uniform(-0.1, 0.1, count), 0.0),
    )


def _synapses(kind: Kind, rng: Any, blocks: tuple[Block, ...], neurons: Neurons) -> Synapses:
    spiking = [b for b in blocks if b.kind == "spiking"]
    inputs = sum(b.size for b in blocks if b.kind != "spiking")
    pairs = [(b, spiking[0], 1.0, 0.8) for b in blocks if b.kind != "spiking"]
    pairs += [(a, b, 0.2, 0.8) for a, b in pairwise(spiking)]
    if kind.recurrent:
        pairs += [(b, b, 0.3, 0.0) for b in spiking]
        pairs += [(b, a, 0.2, 0.0) for a, b in pairwise(spiking)]
    scale = 1.3 if neurons.has_synapse.any() else 0.35
    scale *= 6e-3 / kind.pulse if kind.pulse else 1.0
    source, target, weight = [], [], []
    for a, b, size, mean in pairs:
        s, t = np.indices((a.size, b.size)).reshape(2, -1)
        source.append(a.start + s)
        target.append(b.start + t - inputs)
        weight.append(scale * size * rng.normal(mean, 0.7, s.size))
    order = np.argsort(np.concatenate(source), kind="stable")
    count = len(order)
    units = sum(b.size for b in blocks)
    delay = rng.choice([0.0, 1e-3, 2.3e-3], count) if kind.delays else np.zeros(count)
    if not neurons.has_synapse.any() and not kind.pulse:  # else some fire at the same moment
        delay *= rng.uniform(0.5, 1, count)
    if kind.recurrent and not kind.delays:
        delay = np.where(np.concatenate(source)[order] < inputs, 0.0, 7e-4)
    return Synapses(
        np.searchsorted(np.concatenate(source)[order], np.arange(units + 1)).astype(np.int64),
        np.concatenate(target)[order].astype(np.int64),
        np.concatenate(weight)[order],
        delay,
        np.zeros(count, np.int32),
        np.arange(count),
        np.ones(count),
    )


def stimulus(net: EventNetwork, seed: int = 0, events: int = 12, until: float = 0.03) -> Stimulus:
    """Return random events and, for inputs of currents, changes every step."""
    rng = np.random.default_rng([seed, 1])
    time, unit, amount = [], [], []
    for block in net.blocks:
        if block.kind == "input":
            time.append(rng.uniform(0.001, until, events))
            unit.append(block.start + rng.integers(block.size, size=events))
            amount.append(np.ones(events))
        elif block.kind == "current":
            steps = np.repeat(np.arange(10) * 3 * net.dt, block.size)
            time.append(steps)
            unit.append(np.tile(block.start + np.arange(block.size), 10))
            amount.append(rng.normal(0, 0.4, len(steps)))
    order = np.argsort(np.concatenate(time), kind="stable")
    return Stimulus(*(np.concatenate(c)[order] for c in (time, unit, amount)))


def changed(net: EventNetwork, **values: Array) -> EventNetwork:
    """Return a network with other synapses, such as `weight=…`."""
    return replace(net, synapses=replace(net.synapses, **values))
