"""A second simulator of the same equations: Runge and Kutta's steps, and bisection of steps.

It shares nothing with the engines but the arrays of a network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.targets.events.network import EventNetwork


class Slow:
    """Steps of h seconds; times are as exact as the fourth order makes them."""

    def __init__(self, network: EventNetwork, h: float) -> None:
        self.network, self.h = network, h
        n, count = network.neurons, len(network.neurons.bias)
        self.v, self.i = n.v_start.copy(), n.i_start.copy()
        self.until = np.full(count, -1.0)
        self.arrivals: list[tuple[float, int]] = []
        self.spikes: list[tuple[float, int]] = []

    def slope(self, v: Any, i: Any) -> tuple[Any, Any]:
        """Return the derivatives."""
        n = self.network.neurons
        drive = np.where(n.has_synapse, i, n.bias)
        di = np.where(n.has_synapse, -n.rate_syn * i + n.push_syn * n.bias, 0.0)
        return -n.rate_mem * (v - n.leak) + n.push_mem * drive, di

    def moved(self, t: float, h: float) -> tuple[Any, Any]:
        """Return v and i after h seconds; v of refractory neurons stays."""
        free = self.until <= t + 1e-15

        def slope(v: Any, i: Any) -> tuple[Any, Any]:
            dv, di = self.slope(v, i)
            return np.where(free, dv, 0.0), di

        v, i = self.v, self.i
        a, p = slope(v, i)
        b, q = slope(v + h / 2 * a, i + h / 2 * p)
        c, r = slope(v + h / 2 * b, i + h / 2 * q)
        d, s = slope(v + h * c, i + h * r)
        return v + h / 6 * (a + 2 * b + 2 * c + d), i + h / 6 * (p + 2 * q + 2 * r + s)

    def send(self, t: float, unit: int) -> None:
        """Put what a spike causes into the list of arrivals."""
        s = self.network.synapses
        for k in range(int(s.first[unit]), int(s.first[unit + 1])):
            self.arrivals.append((t + float(s.delay[k]), k))

    def run(self, given: list[tuple[float, int]], duration: float) -> list[tuple[float, int]]:
        """Return (time, neuron) of every spike."""
        for t, unit in given:
            self.send(t, unit)
        t = 0.0
        while t < duration:
            marks = [self.h * (np.floor(t / self.h + 1e-9) + 1), duration]
            marks += [u for u in self.until if u > t] + [u for u, _ in self.arrivals if u > t]
            end = float(min(marks))
            t = self.step(t, end)
            self.arrive(t)
        return self.spikes

    def arrive(self, t: float) -> None:
        """Apply what arrives now."""
        s, n = self.network.synapses, self.network.neurons
        for at, k in [item for item in self.arrivals if item[0] <= t]:
            self.arrivals.remove((at, k))
            target = int(s.target[k])
            if n.has_synapse[target]:
                self.i[target] += n.kick[target] * s.weight[k]
            elif self.until[target] <= t:
                self.v[target] += n.kick[target] * s.weight[k]
        self.fire(t)

    def step(self, t: float, end: float) -> float:
        """Go to the end of a step, or to the first crossing in it."""
        v, i = self.moved(t, end - t)
        free = self.until <= t + 1e-15
        over = free & (v > self.network.neurons.threshold)
        if not over.any():
            self.v, self.i = v, i
            return end
        low, high = 0.0, end - t
        for _ in range(40):
            middle = (low + high) / 2
            found = free & (self.moved(t, middle)[0] > self.network.neurons.threshold)
            low, high = (low, middle) if found.any() else (middle, high)
        self.v, self.i = self.moved(t, high)
        self.fire(t + high)
        return t + high

    def fire(self, t: float) -> None:
        """Let those above the threshold fire, reset them, and send."""
        n = self.network.neurons
        who = np.flatnonzero((self.until <= t + 1e-15) & (self.v > n.threshold))
        for target in who.tolist():
            self.spikes.append((t, target))
            kind = n.reset_kind[target]
            self.v[target] = (
                n.v_reset[target] if kind == 0 else self.v[target] - n.threshold[target]
            )
            self.until[target] = t + n.refractory[target]
            self.send(t, target + self.network.input_units)
