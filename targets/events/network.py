"""A network in continuous time as plain arrays: what the engine runs and differentiates.

A neuron has a membrane v and, if `has_synapse`, a synaptic current i:

    di/dt = -rate_syn * i + push_syn * x                      (with a synapse)
    dv/dt = -rate_mem * (v - leak) + push_mem * (i or x)

where x = bias + what is held at the moment. An arriving spike of weight w adds `kick * w` to i
(to v without a synapse) at once; where `kick` is 0, it adds w to x for `pulse` seconds. Between
events both are sums of exponentials, so that the next crossing of the threshold is found without
steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

#: What a spike does to the membrane: codes of `Neurons.reset_kind`.
RESETS = ("to", "subtract", "none")


@dataclass(frozen=True)
class Block:
    """Units that belong together: a population, or an input.

    Attributes:
        name: The node's name.
        start: Its first unit: inputs come before neurons; units of a block are in C order.
        shape: Of its stream.
        kind: `input` (events), `current` (an input of real numbers, each held for a step),
            `spiking` or `readout` (a population that never fires and gives its v).
    """

    name: str
    start: int
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        """Number of units."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Neurons:
    """One value per neuron, [neurons] float64 (or as stated); times in seconds.

    Attributes:
        has_synapse: bool.
        rate_mem, rate_syn: 1 / tau; 0 for a membrane without leak.
        push_mem, push_syn: See the module.
        leak: What v decays towards.
        bias: Constant part of x.
        kick: What a spike of weight 1 adds; 0 where it is held for `EventNetwork.pulse` instead.
        threshold: Infinity for what never fires. Crossing it from below fires; a kick that lifts
            v beyond it (or onto it, if `fires_at`) fires at once.
        fires_at: bool, whether v equal to the threshold fires.
        reset_kind: int8, index into `RESETS`.
        v_reset: Where a reset `to` leads.
        refractory: Seconds after a spike in which v is held and i goes on.
        v_start, i_start: At time 0.
    """

    has_synapse: Array
    rate_mem: Array
    rate_syn: Array
    push_mem: Array
    push_syn: Array
    leak: Array
    bias: Array
    kick: Array
    threshold: Array
    fires_at: Array
    reset_kind: Array
    v_reset: Array
    refractory: Array
    v_start: Array
    i_start: Array


@dataclass(frozen=True)
class Synapses:
    """All connections, sorted by source unit.

    Attributes:
        first: [units + 1] int64: those of unit u are first[u] … first[u + 1] - 1.
        target: [n] int64, number of the neuron (its unit minus the number of input units).
        weight: [n] float64.
        delay: [n] float64, seconds, 0 or more.
        tensor: [n] int32, which of `EventNetwork.tensors` the weight is from, -1 for none.
        element: [n] int64, position in that tensor.
        factor: [n] float64: weight = factor * element of the tensor.
    """

    first: Array
    target: Array
    weight: Array
    delay: Array
    tensor: Array
    element: Array
    factor: Array


@dataclass(frozen=True)
class EventNetwork:
    """A whole network.

    Attributes:
        blocks: Inputs, then populations, in order of their units.
        neurons: All neurons, in order.
        synapses: All connections.
        tensors: Paths of trainable tensors in the graph, such as `fc1.weight`, by number.
        outputs: Output name to block name.
        pulse: Seconds for which an arriving spike is held by neurons whose `kick` is 0; 0 if all
            are kicked.
        dt: Seconds per step of inputs and outputs on a grid.
        products: Paths of tensors whose elements are multiplied by those of another before they
            reach a neuron; such weights belong to no tensor.
    """

    blocks: tuple[Block, ...]
    neurons: Neurons
    synapses: Synapses
    tensors: tuple[str, ...]
    outputs: Mapping[str, str]
    pulse: float
    dt: float
    products: tuple[str, ...] = ()

    @property
    def input_units(self) -> int:
        """Number of units that are channels of inputs."""
        return sum(block.size for block in self.blocks if block.kind in ("input", "current"))


@dataclass(frozen=True)
class EventRecord:
    """What a run of one sample did: everything that fired, in order of time.

    Attributes:
        time: [n] float64, seconds.
        unit: [n] int64; events of inputs are not repeated here.
        current: [n] float64, i just before the spike (0 without a synapse).
        drive: [n] float64, x at that moment.
        v: [n] float64, membrane just before: the threshold, unless a kick went beyond it.
    """

    time: Array
    unit: Array
    current: Array
    drive: Array
    v: Array
