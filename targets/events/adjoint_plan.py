"""What the backward run needs of a network, arranged once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.events.network import EventNetwork, EventRecord
from snnir.targets.events.plan import on_steps

Array = npt.NDArray[Any]


#: What arrives, see `Deliveries`.
SPIKE, END, CURRENT = 0, 1, 2


@dataclass(frozen=True)
class Stimulus:
    """What the inputs of one sample do, in order of time.

    Attributes:
        time: [n] float64, seconds.
        unit: [n] int64, channel; units of inputs come first in a network.
        amount: [n] float64. Of a channel of events: how many spikes, 1 as a rule. Of a channel of
            currents: by how much its value changes.
    """

    time: Array
    unit: Array
    amount: Array


@dataclass(frozen=True)
class Sample:
    """One run and what its loss depends on.

    Attributes:
        stimulus: What went in.
        record: What fired.
        time_gradient: [record] float64, dL/dt of every spike, in 1/s.
    """

    stimulus: Stimulus
    record: EventRecord
    time_gradient: Array


@dataclass(frozen=True)
class Gradients:
    """Derivatives of a loss.

    Attributes:
        weight: [synapses] float64, by the weights, summed over samples.
        delay: [synapses] float64, by the delays, in 1/s, summed over samples.
        inputs: Per sample [stimulus] float64: by the time of each event, in 1/s, or by each change
            of a current.
    """

    weight: Array
    delay: Array
    inputs: Sequence[Array]


@dataclass(frozen=True)
class Plan:
    """A network with the synapses of a unit in groups of one delay, which deliver at once.

    Attributes:
        network: The network.
        order: [synapses] int64: those of the network in the order used here.
        groups_of: [units + 1] int64: groups of unit u are groups_of[u] … groups_of[u + 1] - 1.
        first: [groups + 1] int64: synapses of group g are first[g] … first[g + 1] - 1.
        delay: [groups] float64, seconds.
        target, weight: Of the synapses, in this order.
        is_current: [units] bool: inputs that set a value, which is held.
        is_held: [synapses] bool: whether what arrives is held for a pulse.
        holds: [groups] bool: whether a group has such synapses.
    """

    network: EventNetwork
    order: Array
    groups_of: Array
    first: Array
    delay: Array
    target: Array
    weight: Array
    is_current: Array
    is_held: Array
    holds: Array

    @classmethod
    def of(cls, network: EventNetwork) -> Plan:
        """Arrange a network."""
        synapses = network.synapses
        units = len(synapses.first) - 1
        source = np.repeat(np.arange(units), np.diff(synapses.first))
        order = np.lexsort((synapses.delay, source))
        source, delay = source[order], synapses.delay[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (np.diff(source) != 0) | (np.diff(delay) != 0)
        starts = np.flatnonzero(begins)
        is_current = np.zeros(units, bool)
        for block in network.blocks:
            if block.kind == "current":
                is_current[block.start : block.start + block.size] = True
        target = np.ascontiguousarray(synapses.target[order], np.int64)
        is_held = (network.neurons.kick[target] == 0) & (network.pulse > 0)
        return cls(
            network,
            order.astype(np.int64),
            np.searchsorted(source[starts], np.arange(units + 1)).astype(np.int64),
            np.append(starts, len(order)).astype(np.int64),
            np.ascontiguousarray(delay[starts], np.float64),
            target,
            np.ascontiguousarray(synapses.weight[order], np.float64),
            is_current,
            is_held,
            np.logical_or.reduceat(is_held, starts) if len(starts) else np.zeros(0, bool),
        )

    def in_network_order(self, values: Array) -> Array:
        """Return values of synapses in the order of the network."""
        result = np.empty_like(values)
        result[self.order] = values
        return result

    @cached_property
    def laws(self) -> tuple[Array, Array]:
        """The distinct parameters of neurons, [laws, 10] float64, and [neurons] int64: whose."""
        n = self.network.neurons
        columns = (
            n.has_synapse, n.rate_mem, n.rate_syn, n.push_mem, n.push_syn, n.leak, n.threshold,
            n.reset_kind, n.v_reset, n.refractory,
        )  # fmt: skip
        table = np.stack([np.asarray(c, np.float64) for c in columns], axis=1)
        rows, law_of = np.unique(table, axis=0, return_inverse=True)
        return np.ascontiguousarray(rows), np.ascontiguousarray(law_of.reshape(-1), np.int64)


@dataclass(frozen=True)
class Deliveries:
    """Arrivals at synapses, by sample and time; those that come with a spike itself are not here.

    Attributes:
        first: [samples + 1] int64: where samples begin.
        time: [n] float64, seconds.
        group: [n] int64, of the plan.
        source: [n] int64, the spike's number in the record, or -1 - the number of the input event.
        amount: [n] float64, factor of the weight.
        kind: [n] int64: `SPIKE`; `END` of a pulse, for synapses whose neurons hold what arrives;
            `CURRENT`, which changes the drive x.
    """

    first: Array
    time: Array
    group: Array
    source: Array
    amount: Array
    kind: Array

    @classmethod
    def of(cls, plan: Plan, samples: Sequence[Sample]) -> Deliveries:
        """List the deliveries of some samples."""
        time, unit, source, amount, sample = _events(samples)
        count = plan.groups_of[unit + 1] - plan.groups_of[unit]
        event = np.repeat(np.arange(len(unit)), count)
        within = np.arange(len(event)) - np.repeat(np.cumsum(count) - count, count)
        group = plan.groups_of[unit[event]] + within
        is_current = plan.is_current[unit[event]]
        late = (plan.delay[group] > 0) | (source[event] < 0)
        ends = ~is_current & plan.holds[group]
        dt = plan.network.dt
        sent, delay = time[event], plan.delay[group]
        at = np.where(delay > 0, np.maximum(sent, on_steps(sent + delay, dt)), sent)
        stopped = np.maximum(at[ends], on_steps(at[ends] + plan.network.pulse, dt))
        ended = np.concatenate([at[late], stopped])
        place = np.concatenate([np.flatnonzero(late), np.flatnonzero(ends)])
        kind = np.where(is_current, CURRENT, SPIKE)[place]
        amount = amount[event][place]
        kind[np.count_nonzero(late) :] = END
        amount[np.count_nonzero(late) :] *= -1
        whose = sample[event][place]
        order = np.lexsort((ended, whose))
        first = np.searchsorted(whose[order], np.arange(len(samples) + 1))
        place = place[order]
        return cls(
            first, ended[order], group[place], source[event][place], amount[order], kind[order]
        )


def _events(samples: Sequence[Sample]) -> tuple[Array, ...]:
    """Return times, units, sources, amounts and samples of all spikes and input events."""
    time, unit, source, amount, whose = [], [], [], [], []
    for number, sample in enumerate(samples):
        spikes, inputs = len(sample.record.time), len(sample.stimulus.time)
        time += [sample.record.time, sample.stimulus.time]
        unit += [sample.record.unit, sample.stimulus.unit]
        source += [np.arange(spikes), -1 - np.arange(inputs)]
        amount += [np.ones(spikes), sample.stimulus.amount]
        whose.append(np.full(spikes + inputs, number))
    joined = (time, unit, source, amount, whose)
    found = [np.concatenate(c) if c else np.zeros(0) for c in joined]
    return found[0], found[1].astype(np.int64), found[2].astype(np.int64), found[3], found[4]
