"""A slow simulator of event networks, written for tests alone: bisection on exact flows."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from math import exp, inf
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.events.adjoint_plan import Stimulus
from snnir.targets.events.network import RESETS, EventNetwork, EventRecord

Array = npt.NDArray[Any]


@dataclass
class Cell:
    """One neuron, with its state at time `at`."""

    has_synapse: bool
    rate_mem: float
    rate_syn: float
    push_mem: float
    push_syn: float
    leak: float
    kick: float
    threshold: float
    fires_at: bool
    reset: str
    v_reset: float
    refractory: float
    v: float
    i: float
    x: float
    at: float = 0.0
    held_until: float = -inf

    def state(self, time: float) -> tuple[float, float, float]:
        """Return v, i and dv/dt at a later time before which nothing arrives."""
        begin = min(max(self.held_until, self.at), time)
        i = self._current(self.i, begin - self.at)
        h = time - begin
        later = self._current(i, h)
        steady, drive = self._steady(i)
        if self.rate_mem == 0:
            v = self.v + self._charge(i, h)
        else:
            v = steady + (self.v - steady) * exp(-self.rate_mem * h) + drive * self._shape(h)
        push = later if self.has_synapse else self.x
        speed = -self.rate_mem * (v - self.leak) + self.push_mem * push
        return v, later, 0.0 if time < self.held_until else speed

    def _current(self, i: float, h: float) -> float:
        if not self.has_synapse:
            return 0.0
        if self.rate_syn == 0:
            return i + self.push_syn * self.x * h
        rest = self.push_syn * self.x / self.rate_syn
        return rest + (i - rest) * exp(-self.rate_syn * h)

    def _steady(self, i: float) -> tuple[float, float]:
        """Return where v would go, and the part of the current that fades."""
        if self.rate_mem == 0:
            return 0.0, 0.0
        if not self.has_synapse:
            return self.leak + self.push_mem * self.x / self.rate_mem, 0.0
        rest = self.push_syn * self.x / self.rate_syn
        return self.leak + self.push_mem * rest / self.rate_mem, self.push_mem * (i - rest)

    def _shape(self, h: float) -> float:
        gap = self.rate_mem - self.rate_syn
        if abs(gap) < 1e-9 * self.rate_mem:
            return h * exp(-self.rate_mem * h)
        return (exp(-self.rate_syn * h) - exp(-self.rate_mem * h)) / gap

    def _charge(self, i: float, h: float) -> float:
        if not self.has_synapse:
            return self.push_mem * self.x * h
        rest = self.push_syn * self.x / self.rate_syn
        faded = (1 - exp(-self.rate_syn * h)) / self.rate_syn
        return self.push_mem * (rest * h + (i - rest) * faded)

    def move(self, time: float) -> None:
        """Go to a later time."""
        self.v, self.i, _ = self.state(time)
        self.at = time

    def crossing(self, until: float) -> float:
        """Return the first crossing from below up to a time, or infinity."""
        low = max(self.at, self.held_until)
        if low >= until or self.threshold == inf:
            return inf
        if self.state(low)[0] > self.threshold and self.at <= self.held_until == low:
            return low
        if self.state(low)[2] * self.state(until)[2] < 0:
            top = _bisect(lambda t: self.state(t)[2] * self.state(low)[2] <= 0, low, until)
            stops = [top, until]
        else:
            stops = [until]
        for high in stops:
            if self.state(low)[0] < self.threshold <= self.state(high)[0]:
                return _bisect(lambda t: self.state(t)[0] >= self.threshold, low, high)
            low = high
        return inf


def _bisect(holds: Any, low: float, high: float) -> float:
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def cells(network: EventNetwork) -> list[Cell]:
    """Return the neurons at rest."""
    n = network.neurons
    columns = (
        n.has_synapse, n.rate_mem, n.rate_syn, n.push_mem, n.push_syn, n.leak, n.kick,
        n.threshold, n.fires_at, n.reset_kind, n.v_reset, n.refractory, n.v_start, n.i_start,
        n.bias,
    )  # fmt: skip
    made = [Cell(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    for cell in made:
        cell.reset = RESETS[int(cell.reset)]
    return made


@dataclass
class Oracle:
    """A run of a network on one sample.

    Attributes:
        network: The network.
        until: Seconds.
    """

    network: EventNetwork
    until: float
    _queue: list[tuple[float, int, int, float, bool]] = field(default_factory=list)
    _spikes: list[tuple[float, int, float, float, float]] = field(default_factory=list)
    _sent: int = 0

    def run(self, stimulus: Stimulus) -> EventRecord:
        """Return what fired."""
        self.cells = cells(self.network)
        kinds = {
            unit: block.kind
            for block in self.network.blocks
            for unit in range(block.start, block.start + block.size)
        }
        for time, unit, amount in zip(
            stimulus.time.tolist(), stimulus.unit.tolist(), stimulus.amount.tolist(), strict=True
        ):
            self._send(time, unit, amount, kinds[unit] == "current")
        now = 0.0
        self._next = [cell.crossing(self.until) for cell in self.cells]
        while now < self.until:
            coming = min(self._queue[0][0], self.until) if self._queue else self.until
            first = int(np.argmin(self._next))
            time = self._next[first]
            if time <= coming and time < self.until:
                now = time
                self._fire(first, now)
                continue
            now = coming
            while self._queue and self._queue[0][0] == now < self.until:
                _, _, synapse, amount, is_level = heapq.heappop(self._queue)
                self._deliver(now, synapse, amount, is_level)
            for n, cell in enumerate(self.cells):
                self._fire_if_beyond(n, cell, now)
        columns = [np.array(c, np.float64) for c in zip(*self._spikes, strict=True)] or [
            np.zeros(0)
        ] * 5
        time, unit, current, drive, v = columns
        return EventRecord(time, unit.astype(np.int64), current, drive, v)

    def _send(self, time: float, unit: int, amount: float, is_current: bool) -> None:
        synapses = self.network.synapses
        for s in range(int(synapses.first[unit]), int(synapses.first[unit + 1])):
            at, pulse = time + float(synapses.delay[s]), self.network.pulse
            kick = self.network.neurons.kick[self.network.synapses.target[s]]
            held = not is_current and pulse > 0 and kick == 0
            self._put(at, s, amount, is_current or held)
            if held:
                self._put(at + pulse, s, -amount, True)

    def _put(self, time: float, synapse: int, amount: float, is_level: bool) -> None:
        self._sent += 1
        heapq.heappush(self._queue, (time, self._sent, synapse, amount, is_level))

    def _deliver(self, now: float, synapse: int, amount: float, is_level: bool) -> None:
        n = int(self.network.synapses.target[synapse])
        weight, cell = amount * float(self.network.synapses.weight[synapse]), self.cells[n]
        cell.move(now)
        if is_level:
            cell.x += weight
        elif cell.has_synapse:
            cell.i += cell.kick * weight
        elif now >= cell.held_until:
            cell.v += cell.kick * weight
        self._next[n] = cell.crossing(self.until)

    def _fire_if_beyond(self, n: int, cell: Cell, now: float) -> None:
        """Let a neuron fire that arrivals, all of this moment, lifted beyond its threshold."""
        while cell.at == now >= cell.held_until and (
            cell.v > cell.threshold or (cell.v == cell.threshold and cell.fires_at)
        ):
            if cell.has_synapse or cell.reset == "none":
                break
            self._fire(n, now)

    def _fire(self, n: int, now: float) -> None:
        cell = self.cells[n]
        cell.move(now)
        v = max(cell.v, cell.threshold) if cell.v > cell.threshold + 1e-9 else cell.threshold
        unit = n + self.network.input_units
        self._spikes.append((now, unit, cell.i if cell.has_synapse else 0.0, cell.x, v))
        if cell.reset != "none":
            cell.v = cell.v_reset if cell.reset == "to" else v - cell.threshold
        elif v == cell.threshold:
            cell.v = float(np.nextafter(v, inf))
        if cell.refractory > 0:
            cell.held_until = now + cell.refractory
        self._send(now, unit, 1.0, False)
        self._next[n] = cell.crossing(self.until)
