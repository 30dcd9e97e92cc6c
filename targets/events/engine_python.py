"""The engine in Python: one sample from event to event; copied into emitted folders.

It does the same as the C engine, operation by operation.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from snnir.targets.events.plan import LAW, REASONS, Job, Plan, RunError, Trace

INF = math.inf
SPIKE, END, CURRENT = 0, 1, 2
TO, SUBTRACT, NONE = 0, 1, 2


class Law:
    """Parameters that neurons share, and what a time does to their states."""

    def __init__(self, row: Any) -> None:
        for name, number in zip(LAW, row, strict=True):
            setattr(self, name, float(number))
        self.known = -1.0
        self.ea = self.eb = self.phi = 0.0

    synapse: float
    a: float
    b: float
    g: float
    ki: float
    kv: float
    leak: float
    threshold: float
    ge: float
    reset: float
    v_reset: float
    refractory: float
    highest: float
    gap: float
    form: float
    slow: float
    far: float

    def recall(self, s: float) -> None:
        """Put down what s seconds do."""
        if s == self.known:
            return
        self.known = s
        self.ea, self.eb, self.phi = self.factors(s)

    def factors(self, s: float) -> tuple[float, float, float]:
        """Return exp(-a s), exp(-b s) and phi(s)."""
        if self.form == 0:
            z = self.gap * s
            ea = math.exp(-self.a * s)
            if abs(z) < 0.5:
                u = math.expm1(z) * ea
                return ea, ea + u, u / self.gap
            eb = math.exp(-self.b * s)
            return ea, eb, (eb - ea) / self.gap
        if self.form == 1:
            ea = math.exp(-self.a * s)
            return ea, ea, s * ea
        if self.form >= 4:
            return math.exp(-self.a * s), 0.0, 0.0
        rate = self.a if self.form == 2 else self.b  # one is the square of the other
        z = rate * s
        if z < 0.5:
            u = -math.expm1(-z)
            slow = 1 - u
        else:
            slow = math.exp(-z)
            u = 1 - slow
        phi = slow * u / rate
        return (slow, slow * slow, phi) if self.form == 2 else (slow * slow, slow, phi)

    def flow(self, s: float, x: float, v: float, i: float, is_held: bool) -> tuple[float, float]:
        """Return v and i after s seconds."""
        if self.synapse:
            self.recall(s)
            level = self.ki * x
            over = i - level
            if not is_held and self.a > 0:
                base = self.leak + self.kv * level
                v = base + (v - base) * self.ea + self.g * over * self.phi
            elif not is_held:
                v += self.g * (level * s + over * self.phi)
            return v, level + over * self.eb
        if not is_held and self.a > 0:
            self.recall(s)
            base = self.leak + self.kv * x
            v = base + (v - base) * self.ea
        elif not is_held:
            v += self.g * x * s
        return v, i

    def is_beyond(self, v: float) -> bool:
        """Return whether v is where a neuron fires."""
        return v > self.threshold or (self.ge != 0 and v == self.threshold)

    # --- When the threshold is crossed -----------------------------------------------------------

    def value(self, w: tuple[float, float, float, float], s: float) -> tuple[float, float]:
        """Return base + c exp(-a s) + d phi(s) + slope s, and its derivative."""
        base, c, d, slope = w
        ea, eb, phi = self.factors(s)
        rate = slope - self.a * c * ea + d * (eb - self.a * phi)
        return base + c * ea + d * phi + slope * s, rate

    def guess(self, w: tuple[float, float, float, float], low: float, high: float) -> float:
        """Return the crossing by its closed form where there is one; any other number is none."""
        base, c, d, _ = w
        k = base - self.threshold
        if self.form == 2:
            return _root_of(-d / self.a, c + d / self.a, k, self.a, low, high)
        if self.form == 3:
            return _root_of(c - d / self.b, d / self.b, k, self.b, low, high)
        if self.form != 1 or d == 0:
            return -1.0
        exponent = -self.a * c / d
        z = self.a * k / d * (math.exp(exponent) if exponent < 709.0 else INF)
        if not math.isfinite(z) or z < -0.36787944117144233:
            return -1.0
        return -_lambert(z, d < 0) / self.a - c / d

    def root(self, w: tuple[float, float, float, float], low: float, high: float) -> float:
        """Return where the value rises through the threshold between low and high."""
        threshold, step = self.threshold, self.slow
        if not high < INF:
            while True:
                high = low + step
                if not high < 1e300:
                    return INF
                if self.value(w, high)[0] > threshold:
                    break
                low = high
                step = step + step
        s = self.guess(w, low, high)
        if not low < s < high:
            s = low
        for k in range(200):
            v, rate = self.value(w, s)
            f = v - threshold
            if f == 0:
                return s
            if f < 0:
                low = s
            else:
                high = s
            following = s - f / rate if rate else INF
            if abs(following - s) <= 4.5e-16 * s:
                return following
            if high - low <= 4.5e-16 * high:
                return high
            if not low < following < high or k > 60:
                following = 0.5 * (low + high)
            s = following
        return high

    def crossing(self, v: float, i: float, x: float) -> float:
        """Return the time until a spike if nothing comes in between; infinity for none."""
        threshold = self.threshold
        if not threshold < INF:
            return INF
        above = self.reset == NONE and v >= threshold
        if not above and (v > threshold or (v == threshold and self.ge != 0)):
            return 0.0
        if not self.synapse:
            return INF if above else self.simple(v, x)
        s = self.ki * x
        d = self.g * (i - s)
        if self.a > 0:
            base = self.leak + self.kv * s
            c, slope = v - base, 0.0
            rate = d - self.a * c
            limit = base
            bound = max(v, base)
        else:
            base, c, slope = v, 0.0, self.g * s
            rate = slope + d
            limit = INF if slope > 0 else -INF if slope < 0 else v + d * self.highest
            bound = INF if slope > 0 else v
        if d > 0:
            bound = bound + d * self.highest
        slack = 1e-15 * (abs(v) + abs(base) + abs(d) * self.highest + abs(threshold))
        if not bound + slack >= threshold:
            return INF
        rising = rate > 0 or (rate == 0 and d < 0)
        if above and rising:
            return INF
        if v == threshold and rising:
            return 0.0
        q = rate / (self.b * d) if self.b * d != 0 else -1.0
        turns = q > 0 and self.gap * q > -1
        s = (q if self.gap == 0 else math.log1p(self.gap * q) / self.gap) if turns else INF
        if not s <= self.far:
            turns = False
        w = (base, c, d, slope)
        if rising and turns:
            peak = self.value(w, s)[0]
            if peak > threshold:
                return self.root(w, 0.0, s)
            return s if self.ge != 0 and peak + slack >= threshold else INF
        if (not rising and not turns) or not limit > threshold:
            return INF
        if above and not self.value(w, s)[0] < threshold:
            return INF
        return self.root(w, 0.0 if rising else s, INF)

    def soonest(self, v: float, i: float, x: float) -> float:
        """Return a time before which a neuron with a synapse below its threshold cannot fire.

        Until it does, v has to rise from where it is, and never faster than it would there under
        the largest current.
        """
        level = self.ki * x
        d = self.g * (i - level)
        drive, end = self.g * i, self.g * level
        if not self.threshold < INF:
            return INF
        if self.a > 0:
            base = self.leak + self.kv * level
            bound = max(v, base)
        else:
            base = v
            bound = INF if end > 0 else v
        if d > 0:
            bound = bound + d * self.highest
        slack = 1e-15 * (abs(v) + abs(base) + abs(d) * self.highest + abs(self.threshold))
        if not bound + slack >= self.threshold:
            return INF
        rate = max(drive, end) - self.a * (v - self.leak)
        return (self.threshold - v) / rate * (1 - 1e-9) if rate > 0 else INF

    def simple(self, v: float, x: float) -> float:
        """Return the time until a spike of a neuron without a synapse."""
        if self.a > 0:
            base = self.leak + self.kv * x
            if not base > self.threshold:
                return INF
            return math.log1p((self.threshold - v) / (base - self.threshold)) / self.a
        rate = self.g * x
        return (self.threshold - v) / rate if rate > 0 else INF


def _lambert(z: float, lower: bool) -> float:
    """Return y with y exp(y) = z by Halley's method; a guess is enough."""
    if lower:
        y = math.log(-z) if z > -0.25 else -1 - math.sqrt(max(0.0, 2 * (1 + math.e * z)))
        if z > -0.25:
            y = y - math.log(-y)
    elif z < -0.25:
        y = -1 + math.sqrt(max(0.0, 2 * (1 + math.e * z)))
    elif z < 2:
        y = z / (1 + z)
    else:
        y = math.log(z) - math.log(math.log(z) + 1)
    for _ in range(4):
        e = math.exp(y)
        f = y * e - z
        slope = e * (y + 1) - (y + 2) * f / (2 * y + 2) if y != -1 else 0.0
        if slope == 0:
            return y
        y = y - f / slope
    return y


def _root_of(p: float, q: float, r: float, rate: float, low: float, high: float) -> float:
    """Return an s between low and high with p y² + q y + r = 0, y = exp(-rate s); or any other."""
    part = q * q - 4 * p * r
    if not part >= 0:
        return -1.0
    half = -0.5 * (q + (-math.sqrt(part) if q < 0 else math.sqrt(part)))
    s = -math.log(half / p) / rate if p != 0 and half / p > 0 else -1.0
    if low < s < high:
        return s
    return -math.log(r / half) / rate if half != 0 and r / half > 0 else -1.0


class Cell:
    """A neuron's state."""

    __slots__ = (
        "before", "held", "i", "is_exact", "law", "stamp", "t", "until", "v", "when", "x",
    )  # fmt: skip

    def __init__(self, law: Law, v: float, i: float, x: float) -> None:
        self.law, self.v, self.i, self.x = law, v, i, x
        self.t, self.until, self.when, self.before = 0.0, -INF, INF, 0.0
        self.held = self.stamp = 0
        self.is_exact = False  # whether it fires at `when`, or only not before

    def at(self, t: float) -> tuple[float, float]:
        """Return v and i at a time that is not before the present one."""
        v, i, since = self.v, self.i, self.t
        if self.until > since:
            stop = min(t, self.until)
            v, i = self.law.flow(stop - since, self.x, v, i, True)
            since = stop
        if t > since:
            v, i = self.law.flow(t - since, self.x, v, i, False)
        return v, i

    def advance(self, t: float) -> None:
        """Bring the state up to a time."""
        if t > self.t:
            self.v, self.i = self.at(t)
            self.t = t


#: time, order, origin, value, unit, group, kind, change
Arrival = tuple[float, int, float, float, int, int, int, int]


class Run:
    """One sample."""

    def __init__(self, plan: Plan, job: Job) -> None:
        self.plan, self.job = plan, job
        laws = [Law(row) for row in plan.laws]
        lists = (plan.law_of, plan.v_start, plan.i_start, plan.bias)
        self.cells = [Cell(laws[n], v, i, x) for n, v, i, x in zip(*map(_list, lists), strict=True)]
        self.first, self.start = _list(plan.group_first), _list(plan.group_start)
        self.delay, self.target = _list(plan.group_delay), _list(plan.target)
        self.weight, self.kick, self.bias = _list(plan.weight), _list(plan.kick), _list(plan.bias)
        self.waiting: list[Arrival] = []
        self.predicted: list[tuple[float, int]] = []
        self.touched: list[int] = []
        self.spikes: list[tuple[float, int, float, float, float]] = []
        self.order = self.delivered = self.arrived = self.searched = 0
        self.stamp = 1

    # --- Arrivals --------------------------------------------------------------------------------

    def touch(self, n: int, t: float) -> Cell:
        """Return a neuron brought up to now, to be judged when everything has arrived."""
        cell = self.cells[n]
        if cell.stamp != self.stamp:
            cell.stamp = self.stamp
            self.touched.append(n)
            cell.advance(t)
            cell.before = cell.v
        return cell

    def push(self, item: Arrival) -> None:
        """Put into the queue what arrives before the end."""
        if item[0] < self.job.duration:
            heapq.heappush(self.waiting, (item[0], self.order, *item[2:]))
            self.order += 1

    def launch(self, unit: int, t: float, value: float, kind: int, change: int) -> None:
        """Send a spike or a change of current on its way."""
        group = self.first[unit]
        if group == self.first[unit + 1]:
            return
        delay = self.delay[group]
        item = (t + delay if delay > 0 else t, 0, t, value, unit, group, kind, change)
        if delay > 0:
            self.push(item)
        else:
            self.arrive(item)

    def arrive(self, item: Arrival) -> None:
        """Let a group arrive, and put its unit's next group into the queue."""
        self.deliver(item)
        _, _, origin, value, unit, group, kind, change = item
        group += 1
        if kind != END and group < self.first[unit + 1]:
            time = origin + self.delay[group]
            self.push((time, 0, origin, value, unit, group, kind, change))

    def deliver(self, item: Arrival) -> None:
        """Apply a group to its targets."""
        t, _, origin, value, unit, group, kind, change = item
        pulse, holds = self.plan.pulse, False
        first, end = self.start[group], self.start[group + 1]
        for k in range(first, end):
            n = self.target[k]
            cell, w, kick = self.touch(n, t), self.weight[k], self.kick[n]
            if kind == SPIKE and (kick != 0 or pulse == 0):
                if cell.law.synapse:
                    cell.i += kick * w
                elif cell.until <= t:
                    cell.v += kick * w
                continue
            cell.x += w * value
            cell.held += change
            if cell.held == 0:
                cell.x = self.bias[n]
            holds = True
        self.delivered += end - first
        self.arrived += 1
        if kind == SPIKE and holds:
            self.push((t + pulse, 0, origin, -value, unit, group, END, -1))

    # --- Spikes ----------------------------------------------------------------------------------

    def predict(self, n: int, when: float) -> None:
        """Put down when a neuron fires if nothing comes in between."""
        cell = self.cells[n]
        if not when < self.job.duration:
            cell.when = INF
        else:
            cell.when = when
            heapq.heappush(self.predicted, (when, n))

    def next_predicted(self, most: float) -> float:
        """Return the time of the first spike before or at a time, infinity for none.

        What is no longer so is dropped, and what is not known exactly is found out.
        """
        while self.predicted and self.predicted[0][0] <= most:
            when, n = self.predicted[0]
            cell = self.cells[n]
            if cell.when != when:
                heapq.heappop(self.predicted)
            elif cell.is_exact:
                return when
            else:
                heapq.heappop(self.predicted)
                self.refine(n)
        return INF

    def judge(self, n: int, t: float) -> bool:
        """Return whether a touched neuron fires now; if not, put down when it will."""
        cell = self.cells[n]
        law = cell.law
        if not (math.isfinite(cell.v) and math.isfinite(cell.i) and math.isfinite(cell.x)):
            raise self.failure(4, n, t)
        start = max(cell.until, t)
        if start == t and law.reset == NONE:
            if not law.is_beyond(cell.before) and law.is_beyond(cell.v):
                return True
        if start == t and (not law.synapse or cell.v >= law.threshold):
            s = law.crossing(cell.v, cell.i, cell.x)
            self.searched += 1
            if s == 0:
                return True
            self.predict(n, t + s)
            cell.is_exact = True
            return False
        if start > t:
            s = 0.0 if law.threshold < INF else INF
        else:
            s = law.soonest(cell.v, cell.i, cell.x)
        cell.is_exact = False
        if s == INF or cell.when > start + s:
            self.predict(n, start + s)
        return False

    def refine(self, n: int) -> None:
        """Find when a neuron really fires of which it is only known that it does not before."""
        cell = self.cells[n]
        v, i, since = cell.v, cell.i, cell.t
        if cell.until > since:
            v, i = cell.law.flow(cell.until - since, cell.x, v, i, True)
            since = cell.until
        when = since + cell.law.crossing(v, i, cell.x)
        self.searched += 1
        cell.is_exact = True
        self.predict(n, max(when, cell.when))

    def failure(self, reason: int, n: int, t: float) -> RunError:
        """Return why the run is given up."""
        return RunError(REASONS[reason], t, n + self.plan.inputs)

    def fire(self, n: int, t: float) -> None:
        """Fire once; again at once while what was subtracted leaves v beyond the threshold."""
        cell = self.cells[n]
        law = cell.law
        while True:
            if len(self.spikes) >= self.job.most:
                raise self.failure(2, n, t)
            self.spikes.append((t, n + self.plan.inputs, cell.i, cell.x, cell.v))
            if law.reset == TO:
                cell.v = law.v_reset
            elif law.reset == SUBTRACT:
                cell.v -= law.threshold
            if law.refractory > 0:
                cell.until = t + law.refractory
            if law.reset != SUBTRACT or cell.until > t or not law.is_beyond(cell.v):
                return

    def settle(self, t: float) -> None:
        """Handle everything at a time after what arrived was applied."""
        generation = 0
        while True:
            firing = [n for n in self.touched if self.judge(n, t)]
            for n in firing:
                self.predict(n, INF)
            while self.next_predicted(t) <= t:
                _, n = heapq.heappop(self.predicted)
                cell = self.cells[n]
                cell.when = INF
                cell.advance(t)
                if cell.until != t or not cell.law.is_beyond(cell.v):
                    cell.v = cell.law.threshold
                firing.append(n)
            if not firing:
                return
            generation += 1
            firing.sort()
            if generation > 2 * len(self.cells) + 16:
                raise self.failure(3, firing[0], t)
            self.stamp += 1
            self.touched.clear()
            first = len(self.spikes)
            for n in firing:
                self.fire(n, t)
                self.touch(n, t).before = INF
            for _, unit, *_ in self.spikes[first:]:
                self.launch(unit, t, 1.0, SPIKE, 1)

    # --- Time ------------------------------------------------------------------------------------

    def trace(self) -> Trace:
        """Run to the end."""
        job = self.job
        given = list(
            zip(*map(_list, (job.time, job.unit, job.value, job.kind, job.change)), strict=True)
        )
        probes, read = _list(job.probe_time), 0
        states = np.zeros((2, len(probes), len(job.probe_neuron)))
        for n in range(len(self.cells)):
            self.touch(n, 0.0).before = -INF
        t, at, is_start = 0.0, 0, True
        while True:
            if not is_start:
                t = given[at][0] if at < len(given) else INF
                t = min(t, self.waiting[0][0] if self.waiting else INF)
                t = min(t, self.next_predicted(t))
                if not t < job.duration:
                    break
                self.stamp += 1
            while read < len(probes) and probes[read] <= t:
                self.probe(states[:, read], probes[read])
                read += 1
            if not is_start:
                self.touched.clear()
            is_start = False
            while at < len(given) and given[at][0] <= t:
                _, unit, value, kind, change = given[at]
                self.launch(unit, t, value, kind, change)
                at += 1
            while self.waiting and self.waiting[0][0] <= t:
                self.arrive(heapq.heappop(self.waiting))
            self.settle(t)
        for read in range(read, len(probes)):
            self.probe(states[:, read], probes[read])
        time, unit, current, drive, v = np.array(self.spikes, np.float64).reshape(-1, 5).T
        counts = self.delivered, self.arrived, self.searched
        return Trace(time, unit.astype(np.int64), current, drive, v, states[0], states[1], *counts)

    def probe(self, into: Any, t: float) -> None:
        """Read membranes and currents at a time."""
        for k, n in enumerate(_list(self.job.probe_neuron)):
            into[:, k] = self.cells[n].at(t)


def _list(array: Any) -> list[Any]:
    values: list[Any] = array.tolist()
    return values


def run_python(plan: Plan, job: Job) -> Trace:
    """Run one sample.

    Raises:
        RunError: If it was given up.
    """
    return Run(plan, job).trace()
