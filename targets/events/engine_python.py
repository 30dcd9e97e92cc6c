"""The engine in Python: one sample from event to event; copied into emitted folders.

It does the same as the C engine, operation by operation.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from snnir.targets.events.crossing import INF, NONE, SUBTRACT, TO, Law
from snnir.targets.events.plan import REASONS, Job, Plan, RunError, Trace, on_step

SPIKE, END, CURRENT = 0, 1, 2


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
        item = (
            max(t, on_step(t + delay, self.plan.dt)) if delay > 0 else t,
            0,
            t,
            value,
            unit,
            group,
            kind,
            change,
        )
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
            time = max(origin, on_step(origin + self.delay[group], self.plan.dt))
            self.push((time, 0, origin, value, unit, group, kind, change))

    def deliver(self, item: Arrival) -> None:
        """Apply a group to its targets."""
        t, _, origin, value, unit, group, kind, change = item
        pulse, holds = self.plan.pulse, False
        first, end = self.start[group], self.start[group + 1]
        for k in range(first, end):
            n = self.target[k]
            cell, w, kick = self.touch(n, t), self.weight[k], self.kick[n]
            if kind != CURRENT and (kick != 0 or pulse == 0):
                if kind == END:  # of a pulse that others hold
                    continue
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
            end_of_pulse = max(t, on_step(t + pulse, self.plan.dt))
            self.push((end_of_pulse, 0, origin, -value, unit, group, END, -1))

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
        lifted = not law.is_beyond(cell.before) and law.is_beyond(cell.v)
        if start == t and law.reset == NONE and lifted:
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
                cell.until = on_step(t + law.refractory, self.plan.dt)
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
        for last in range(read, len(probes)):
            self.probe(states[:, last], probes[last])
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
