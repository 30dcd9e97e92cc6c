"""The loop of `engine` in Python, bit for bit, where there is no C compiler; copied into folders.

The expressions are those of the C source, term by term: their order decides the last bits.
"""

from __future__ import annotations

import bisect
import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.targets.bss2.emulation.circuits import AnalogueChip, Job
from snnir.targets.bss2.emulation.engine import (
    FARTHEST,
    FOR_JITTER,
    FOR_THRESHOLD,
    HASH_ONE,
    HASH_STEP,
    HASH_TWO,
    LN2_HIGH,
    LN2_LOW,
    LOG2E,
    NEAR,
    NEVER,
    SAFE_LEVEL,
    SAFE_STEP,
    TERMS,
)

_MASK64 = (1 << 64) - 1


def decay(x: float) -> float:
    """Return exp(-x), for x that is not negative."""
    if x > FARTHEST:
        return 0.0
    k = int(x * LOG2E + 0.5)
    r = k * LN2_HIGH - x + k * LN2_LOW
    p = TERMS[14]
    for n in range(13, -1, -1):
        p = p * r + TERMS[n]
    return p * math.ldexp(1.0, -k)


def response(dt: float, mem: float, syn: float, rate_mem: float, rate_syn: float) -> float:
    """Return what a decaying current of 1 has added to a leaking membrane, given both decays."""
    gap, slow, fast = rate_mem - rate_syn, syn, mem
    if gap < 0.0:
        gap, slow, fast = -gap, mem, syn
    y = gap * dt
    if y >= NEAR:
        return (slow - fast) / gap
    p = TERMS[14]
    for n in range(13, 0, -1):
        p = TERMS[n] - p * y
    return dt * slow * p


def _mix(x: int) -> int:
    x = (x ^ x >> 30) * HASH_ONE & _MASK64
    x = (x ^ x >> 27) * HASH_TWO & _MASK64
    return x ^ x >> 31


def hashed_normal(seed: int, sample: int, circuit: int, number: int, what: int) -> float:
    """Return a nearly normal number of variance 1, from its place alone."""
    h = _mix(seed + HASH_STEP & _MASK64)
    h = _mix(h + sample * HASH_STEP + 1 & _MASK64)
    h = _mix(h + circuit * HASH_STEP + 2 & _MASK64)
    h = _mix(h + (number * 4 + what) * HASH_STEP + 3 & _MASK64)
    total = 0
    for n in (1, 2, 3):
        part = _mix(h + n * HASH_STEP & _MASK64)
        total += sum(part >> k & 65535 for k in (0, 16, 32, 48))
    return (total - 6 * 65535) / 65536.0


@dataclass
class _Unit:
    """A neuron and its state; see `unit`, `clock_facts` and `state` of the C source."""

    leak: float
    reset: float
    own_threshold: float
    rate_mem: float
    rate_exc: float
    rate_inh: float
    gain_exc: float
    gain_inh: float
    hold: int
    refractory: int
    circuit: int
    fires: int
    v: float = 0.0
    exc: float = 0.0
    inh: float = 0.0
    threshold: float = 0.0
    time: int = 0
    free_at: int = 0
    allowed: int = 0
    next: int = 0
    sure: bool = False
    spikes: int = 0

    def move(self, tick: int) -> None:
        if self.time < self.free_at:
            until = min(tick, self.free_at)
            dt = float(until - self.time)
            self.exc = self.exc * decay(self.rate_exc * dt)
            self.inh = self.inh * decay(self.rate_inh * dt)
            self.time = until
        if self.time < tick:
            dt = float(tick - self.time)
            mem, exc = decay(self.rate_mem * dt), decay(self.rate_exc * dt)
            inh = exc if self.rate_inh == self.rate_exc else decay(self.rate_inh * dt)
            up = down = 0.0
            if self.exc != 0.0:
                reached = response(dt, mem, exc, self.rate_mem, self.rate_exc)
                up = self.gain_exc * self.exc * reached
            if self.inh != 0.0:
                reached = response(dt, mem, inh, self.rate_mem, self.rate_inh)
                down = self.gain_inh * self.inh * reached
            self.v = self.leak + (self.v - self.leak) * mem + up - down
            self.exc = self.exc * exc
            self.inh = self.inh * inh
            self.time = tick

    def ahead(self) -> int:
        drive, left = self.gain_exc * self.exc, self.threshold - self.v
        if left < 0.0:
            return 1
        if self.rate_inh <= self.rate_exc:
            drive = drive - self.gain_inh * self.inh
        drive = max(drive, 0.0)
        if drive < (self.threshold - self.leak - SAFE_LEVEL) * self.rate_mem:
            return NEVER
        slope = (self.leak - self.v) * self.rate_mem + drive
        if slope <= 0.0:
            return NEVER
        ticks = left / slope * SAFE_STEP
        return 1 + int(ticks) if ticks < 1e15 else NEVER

    def search(self, stop: int) -> None:
        while not self.sure and self.next <= stop:
            then = copy.copy(self)
            then.move(self.next)
            if then.v > self.threshold:
                self.sure = True
            else:
                far = then.ahead()
                self.next = NEVER if far == NEVER else self.next + far


class PythonLoop:
    """One sample on a chip; see the functions of the same names in the C source."""

    def __init__(self, chip: AnalogueChip, job: Job) -> None:
        self.chip, self.job = chip, job
        facts = zip(chip.values.tolist(), chip.clocks.tolist(), strict=True)
        self.units = [_Unit(*values, *clocks) for values, clocks in facts]
        self.queue: list[tuple[int, int]] = []
        self.spikes: list[tuple[int, int]] = []
        self.crowded = 0
        self.probes: list[list[float]] = []
        tables = (chip.legs, chip.bus, chip.entries, chip.entry_unit, chip.exc, chip.inh)
        self.legs, self.bus, self.entries, self.entry_unit, self.exc, self.inh = (
            table.tolist() for table in tables
        )
        for unit in self.units:
            unit.v, unit.next = unit.leak, 0 if unit.fires else NEVER
            self.draw_threshold(unit)

    def draw_threshold(self, unit: _Unit) -> None:
        """Give a neuron its next threshold."""
        unit.threshold = unit.own_threshold
        if self.chip.threshold_noise != 0.0:
            unit.threshold = unit.threshold + self.chip.threshold_noise * self.normal(
                unit, FOR_THRESHOLD
            )

    def normal(self, unit: _Unit, what: int) -> float:
        """Return a random number for a neuron's present spike."""
        seed = self.chip.seed
        return hashed_normal(seed, self.job.sample, unit.circuit, unit.spikes, what)

    def go(self) -> None:
        """Run the sample."""
        job = self.job
        ticks, packets = job.event_tick.tolist(), job.event_packet.tolist()
        probe_ticks = job.probe_tick.tolist()
        at, stop = 0, -1
        while stop < job.ticks - 1:
            load = [0] * 8
            stop = min([job.ticks - 1, *ticks[at : at + 1], *(t for t, _ in self.queue[:1])])
            stop = min([stop, *(t - 1 for t in probe_ticks[len(self.probes) :][:1])])
            while (n := self.first_spike(stop)) >= 0:
                self.spike(n)
                stop = min(stop, self.queue[0][0])
            while at < len(ticks) and ticks[at] == stop:
                self.deliver(stop, packets[at], load)
                at += 1
            while self.queue and self.queue[0][0] == stop:
                self.deliver(*self.queue.pop(0), load)
            while probe_ticks[len(self.probes) :][:1] == [stop + 1]:
                self.read_probe(stop + 1)

    def first_spike(self, stop: int) -> int:
        """Return which neuron spikes first, no later than `stop`; -1 if none does."""
        best = -1
        for n, unit in enumerate(self.units):
            if unit.next > stop:
                continue
            unit.search(stop)
            if unit.next <= stop and (best < 0 or unit.next < self.units[best].next):
                best = n
        return best

    def spike(self, n: int) -> None:
        """Let a neuron spike."""
        unit, tick, shift = self.units[n], self.units[n].next, 0
        unit.move(tick)
        unit.v, unit.sure = unit.reset, False
        unit.free_at, unit.allowed = tick + unit.hold, tick + unit.refractory
        unit.spikes += 1
        self.draw_threshold(unit)
        unit.next = max(tick + 1, unit.allowed)
        if self.chip.jitter != 0.0:
            shift = math.floor(self.chip.jitter * self.normal(unit, FOR_JITTER) + 0.5)
        self.spikes.append((max(tick + shift, 0), n))
        entry = tick + max(self.chip.latency + shift, 1), n
        self.queue.insert(bisect.bisect_right([t for t, _ in self.queue], entry[0]), entry)

    def deliver(self, tick: int, packet: int, load: list[int]) -> None:
        """Give a packet to the neurons it reaches."""
        for leg in range(self.legs[packet], self.legs[packet + 1]):
            load[self.bus[leg]] += 1
            if load[self.bus[leg]] > self.chip.bus_limit:
                self.crowded += 1
                if self.chip.arbitrate:
                    continue
            for k in range(self.entries[leg], self.entries[leg + 1]):
                unit = self.units[self.entry_unit[k]]
                unit.move(tick)
                unit.exc = unit.exc + self.exc[k]
                unit.inh = unit.inh + self.inh[k]
                if not unit.fires:
                    continue
                far = unit.ahead()
                unit.sure = False
                unit.next = max(NEVER if far == NEVER else tick + far, unit.allowed)

    def read_probe(self, tick: int) -> None:
        """Read the membranes that are asked for."""
        row = []
        for n in self.job.probe_unit.tolist():
            then = copy.copy(self.units[n])
            then.move(tick)
            row.append(then.v)
        self.probes.append(row)


def run_python(chip: AnalogueChip, job: Job) -> tuple[Any, Any, Any, int]:
    """Run a sample; see `circuits.CLoop.run`."""
    loop = PythonLoop(chip, job)
    loop.go()
    spikes = np.array(loop.spikes, np.int64).reshape(-1, 2)
    probes = np.array(loop.probes, np.float64).reshape(len(job.probe_tick), len(job.probe_unit))
    return spikes[:, 0], spikes[:, 1], probes, loop.crowded
