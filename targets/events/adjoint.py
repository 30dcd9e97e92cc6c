"""The backward run: exact derivatives of spike times by weights, delays and input times.

EventProp (Wunderlich and Pehl, Scientific Reports 11, 2021) for neurons of `network.py`; derived in
docs/eventprop.md. Every neuron has an adjoint state (dL/dv, dL/di, dL/dx), which is 0 after the
last event, flows backwards in closed form, and jumps where the neuron fires. This is the
definition, in NumPy; `adjoint_c.py` does the same in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.events.adjoint_plan import (
    CURRENT,
    END,
    SPIKE,
    Deliveries,
    Gradients,
    Plan,
    Sample,
)
from snnir.targets.events.flow import level_gain, mean_decay, membrane_gain
from snnir.targets.events.network import RESETS
from snnir.targets.events.plan import on_steps

Array = npt.NDArray[Any]


def gradients(plan: Plan, samples: Sequence[Sample], clip: float = np.inf) -> Gradients:
    """Return the gradients of a loss that is a function of spike times.

    Args:
        plan: The network.
        samples: Runs, with the derivative of the loss by every spike's time.
        clip: Largest |dt/dv| of a crossing, in seconds per unit of v; a membrane that just touches
            the threshold has an infinite one.
    """
    weight, delay = np.zeros(len(plan.weight)), np.zeros(len(plan.weight))
    inputs = []
    deliveries = Deliveries.of(plan, samples)
    for number, sample in enumerate(samples):
        run = Backward(plan, sample, clip)
        run.run(deliveries, *deliveries.first[number : number + 2].tolist())
        weight += run.weight
        delay += run.delay
        inputs.append(run.input_gradient)
    return Gradients(plan.in_network_order(weight), plan.in_network_order(delay), inputs)


@dataclass
class Backward:
    """The backward run of one sample.

    Attributes:
        plan, sample, clip: See `gradients`.
        weight, delay: [synapses] gradients, in the plan's order.
        input_gradient: [stimulus] gradients.
    """

    plan: Plan
    sample: Sample
    clip: float
    weight: Array = field(init=False)
    delay: Array = field(init=False)
    input_gradient: Array = field(init=False)

    def __post_init__(self) -> None:
        count, spikes = len(self.plan.network.neurons.leak), len(self.sample.record.time)
        self.weight, self.delay = np.zeros(len(self.plan.weight)), np.zeros(len(self.plan.weight))
        self.input_gradient = np.zeros(len(self.sample.stimulus.time))
        self._v, self._i, self._x = np.zeros(count), np.zeros(count), np.zeros(count)
        self._at = np.zeros(count)  # the time of the adjoint state
        self._by_time = self.sample.time_gradient.astype(np.float64).copy()
        self._last = np.full(count, -1)  # the neuron's latest spike that is still to be undone
        self._before = np.full(spikes, -1)
        #: Per neuron: derivative by the time of the event before, which may have made it fire.
        self._pending, self._pending_at = np.zeros(count), np.full(count, np.nan)
        self._slope = np.full(count, np.nan)
        neuron = self.sample.record.unit - self.plan.network.input_units
        for k, n in enumerate(neuron):
            self._before[k], self._last[n] = self._last[n], k

    def run(self, deliveries: Deliveries, begin: int, left: int) -> None:
        """Undo everything, the latest first; deliveries of this sample are begin … left - 1."""
        for k in reversed(range(len(self.sample.record.time))):
            while left > begin and deliveries.time[left - 1] > self.sample.record.time[k]:
                left -= 1
                self._arrive(deliveries, left)
            self._arrive_at_once(k)
            self._fire(k)
        for at in reversed(range(begin, left)):
            self._arrive(deliveries, at)

    # --- Flow ------------------------------------------------------------------------------------

    def _advance(self, neurons: Array, time: float) -> Array:
        """Bring adjoint states to an earlier time; return the end of their refractory periods."""
        own = self.plan.network.neurons
        last = self._last[neurons]
        fired = np.append(self.sample.record.time, -np.inf)[last]
        ends = on_steps(fired + own.refractory[neurons], self.plan.network.dt)
        until = np.where(own.refractory[neurons] > 0, ends, -np.inf)
        since = np.maximum(self._at[neurons], time)
        free = np.maximum(since - np.maximum(until, time), 0.0)
        held = np.maximum(since - time, 0.0) - free
        self._flow(neurons, free, is_free=True)
        if held.any():
            self._flow(neurons, held, is_free=False)
        self._at[neurons] = time
        return until

    def _flow(self, n: Array, h: Array, is_free: bool) -> None:
        own = self.plan.network.neurons
        synapse = own.has_synapse[n].astype(bool)
        mem, syn = own.rate_mem[n], own.rate_syn[n]
        push, feed = own.push_mem[n], own.push_syn[n]
        v, i = self._v[n], self._i[n]
        x = np.where(synapse, i * feed * h * mean_decay(syn * h), 0.0)
        i = np.where(synapse, i * np.exp(-syn * h), 0.0)
        if is_free:
            direct = v * push * h * mean_decay(mem * h)
            x = x + np.where(synapse, v * feed * push * level_gain(syn, mem, h), direct)
            i = i + np.where(synapse, v * push * membrane_gain(syn, mem, h), 0.0)
            self._v[n] = v * np.exp(-mem * h)
        self._i[n], self._x[n] = i, self._x[n] + x

    # --- Arrivals --------------------------------------------------------------------------------

    def _arrive(self, deliveries: Deliveries, at: int) -> None:
        source = int(deliveries.source[at])
        time, group = float(deliveries.time[at]), int(deliveries.group[at])
        amount, kind = float(deliveries.amount[at]), int(deliveries.kind[at])
        jump, shift = self._undo(group, time, amount, kind)
        if source >= 0:
            self._by_time[source] += shift
        elif kind == CURRENT:
            self.input_gradient[-1 - source] += jump
        else:
            self.input_gradient[-1 - source] += shift

    def _arrive_at_once(self, k: int) -> None:
        """Undo what a spike brought at the moment of the spike."""
        unit = self.sample.record.unit[k]
        for group in range(self.plan.groups_of[unit], self.plan.groups_of[unit + 1]):
            if self.plan.delay[group] == 0:
                _, shift = self._undo(group, float(self.sample.record.time[k]), 1.0, SPIKE)
                self._by_time[k] += shift

    def _undo(self, group: int, time: float, amount: float, kind: int) -> tuple[float, float]:
        """Undo an arrival at all synapses of a group.

        Returns:
            Derivatives by the amount and by the time.
        """
        own = self.plan.network.neurons
        which = slice(self.plan.first[group], self.plan.first[group + 1])
        n, weight = self.plan.target[which], amount * self.plan.weight[which]
        # A neuron may have several synapses here; all see the same state, as nothing flows between.
        for waiting in n[~np.isnan(self._pending_at[n]) & (self._pending_at[n] != time)]:
            self._settle(int(waiting))
        until = self._advance(n, time)
        held = time < until
        synapse = own.has_synapse[n].astype(bool)
        v, i = np.where(held, 0.0, self._v[n]), self._i[n]
        left = np.where(held, until - time, 0.0)
        kick = own.kick[n]
        # A kick of i, or of v ...
        slope = kick * np.where(synapse, i, v)
        moved = own.rate_syn[n] * i - own.push_mem[n] * v
        shift = weight * kick * np.where(synapse, moved, own.rate_mem[n] * v)
        seen = np.where(synapse, weight * kick * np.exp(-own.rate_syn[n] * left), 0.0)
        # ... or a change of x.
        level = self.plan.is_held[which] | (kind == CURRENT)
        slope = np.where(level, self._x[n], slope)
        direct = np.where(synapse, i * own.push_syn[n], v * own.push_mem[n])
        shift = np.where(level, -weight * direct, shift)
        current = own.push_syn[n] * left * mean_decay(own.rate_syn[n] * left)
        seen = np.where(level, np.where(synapse, current, 1.0) * weight, seen)
        if kind == END:
            slope, shift, seen = (np.where(level, part, 0.0) for part in (slope, shift, seen))
        # The current at the end of a refractory period says how fast v moves on from there.
        ending = np.where(held, -self._v[n] * own.push_mem[n] * seen, 0.0)
        np.add.at(self._by_time, self._last[n][held], ending[held])
        if kind == SPIKE:
            shift = shift + self._caused(n, time)
        self.weight[which] += amount * slope
        self.delay[which] += shift
        return float((self.plan.weight[which] * slope).sum()), float(shift.sum())

    def _caused(self, n: Array, time: float) -> Array:
        """Return what follows from spikes that these very arrivals made."""
        found = np.zeros(len(n))
        for place in np.flatnonzero(self._pending_at[n] == time):
            if self._pending_at[n[place]] == time:  # of two synapses, the first one
                found[place] = self._take(int(n[place]))
        return found

    def _take(self, n: int) -> float:
        self._pending_at[n] = np.nan
        return float(self._pending[n])

    # --- Spikes ----------------------------------------------------------------------------------

    def _fire(self, k: int) -> None:
        """Undo a spike: what depends on its time depends on v just before."""
        own, record = self.plan.network.neurons, self.sample.record
        n, time = int(record.unit[k]) - self.plan.network.input_units, float(record.time[k])
        if self._pending_at[n] == time:
            self._by_time[k] += self._take(n)
        self._settle(n)
        self._advance(np.array([n]), time)
        drive = float(record.current[k] if own.has_synapse[n] else record.drive[k])
        before = self._speed(n, float(record.v[k]), drive)
        kind = RESETS[int(own.reset_kind[n])]
        v = float(record.v[k])
        v = {"to": own.v_reset[n], "subtract": v - own.threshold[n], "none": v}[kind]
        if own.refractory[n] > 0:
            at_end = drive
            if own.has_synapse[n]:
                h = own.refractory[n]
                level = own.push_syn[n] * record.drive[k] * h * mean_decay(own.rate_syn[n] * h)
                at_end = drive * np.exp(-own.rate_syn[n] * h) + level
            self._by_time[k] -= self._v[n] * self._speed(n, v, at_end)
            after = 0.0
        else:
            after = self._speed(n, v, drive)
        kept = 0.0 if kind == "to" else 1.0
        by_time = self._by_time[k] + self._v[n] * (kept * before - after)
        self._v[n] *= kept
        self._last[n] = self._before[k]
        jumped = record.v[k] > own.threshold[n]
        crosses = before > 0 and not jumped
        if jumped or (own.kick[n] != 0 and not own.has_synapse[n]):
            self._pending[n], self._pending_at[n] = by_time, time
            self._slope[n] = before if crosses else np.inf
        elif crosses:
            self._v[n] -= by_time * min(1 / before, self.clip)

    def _settle(self, n: int) -> None:
        """Decide on a spike that no arrival made: the end of a refractory period, or a crossing."""
        time = self._pending_at[n]
        if np.isnan(time):
            return
        by_time, last = self._take(n), self._last[n]
        refractory = self.plan.network.neurons.refractory[n]
        ends = self.sample.record.time[last : last + 1] + refractory if last >= 0 else np.zeros(0)
        if (on_steps(ends, self.plan.network.dt) == time).any():
            self._by_time[last] += by_time
        else:
            self._v[n] -= by_time * min(1 / self._slope[n], self.clip)

    def _speed(self, n: int, v: float, drive: float) -> float:
        own = self.plan.network.neurons
        return float(-own.rate_mem[n] * (v - own.leak[n]) + own.push_mem[n] * drive)
