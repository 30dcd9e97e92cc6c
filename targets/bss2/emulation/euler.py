"""Networks as the vendor's training software simulates them; copied into emitted folders.

`hxtorch.spiking` with `mock=True` steps forward in time without anything of the hardware: the
membrane by the current of the step before, the current by decay and new events, then threshold,
reset and refractory counter. Here with the integer weights and the parameters of the chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import TICK_NS
from snnir.targets.bss2.emulation.config_types import Config, ProjectionFacts, Setup
from snnir.targets.bss2.emulation.schedule import duration, regular, sent_counts

_FULL_CAPACITANCE = 63


@dataclass
class _Group:
    """A population's neurons in one execution: where they are in it, parameters and state."""

    index: Any
    leak: Any
    reset: Any
    threshold: Any
    conductance: Any
    capacitance: Any
    tau_syn: Any
    refractory: Any
    inputs: list[tuple[str, bool, Any]]
    v: Any = None
    current: Any = None
    left: Any = None

    def begin(self, batch: int, kind: Any) -> None:
        """Go to rest."""
        size = batch, len(self.index)
        self.v = np.zeros(size, kind) + self.leak
        self.current = np.zeros((self.tau_syn.shape[0], *size), kind)
        self.left = np.zeros(size, kind)

    def step(self, x: Any, dt: Any) -> Any:
        """Go one step, with the weights [1 or 2, B, n] that come in; return spikes."""
        total = self.current[0]
        if len(self.current) == 2:
            total = total + self.current[1]
        dv = dt / self.capacitance * (total + self.conductance * (self.leak - self.v))
        self.current = self.current * (1 - dt / self.tau_syn)[:, None] + x
        self.v = self.v + dv
        spikes = (self.v - self.threshold > 0).astype(self.v.dtype)
        self.v = np.where(spikes > 0, self.reset, self.v)
        resting = self.left > 0
        self.v = np.where(resting, self.reset, self.v)
        spikes = np.where(resting, 0, spikes).astype(self.v.dtype)
        left = np.maximum(self.left - resting, 0)
        self.left = np.where(spikes > 0, self.refractory / dt, left).astype(self.v.dtype)
        return spikes


def euler_run(
    config: Config, events: Mapping[str, Any], steps: int, batch: int, kind: Any = np.float32
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run counts in steps.

    Within an execution, populations go in the order of the file; spikes of a population reach
    those behind it in their step, itself and those before it in the next.

    Args:
        config: The network; projections and parameters of its neurons are used, no registers.
        events: [n, 3] (tick, sample, index) by input population.
        steps: How many.
        batch: Samples.
        kind: `float32` (as the vendor's) or `float64`.

    Returns:
        Spikes and membranes (LSB) by population, [steps, batch, size].
    """
    ticks = duration(steps, config.step_ticks)
    signals: dict[str, Any] = {}
    membranes: dict[str, Any] = {}
    for name, population in config.populations.items():
        if population.kind == "neurons":
            signals[name] = np.zeros((steps, batch, population.size), kind)
            membranes[name] = np.zeros((steps, batch, population.size), kind)
            continue
        found = events.get(name, np.zeros((0, 3), np.int64))
        if population.kind == "constant":
            tick = np.tile(regular(population, ticks), batch)
            sample = np.repeat(np.arange(batch), len(tick) // batch)
            found = np.stack([tick, sample, np.zeros_like(tick)], 1)
        counts = sent_counts(found, steps, config.step_ticks, batch, population.size)
        signals[name] = counts.astype(kind)
    dt = kind(config.step_ticks * TICK_NS / 1000)
    for setup in config.executions:
        groups = _groups(config, setup, kind)
        for group in groups.values():
            group.begin(batch, kind)
        for t in range(steps):
            for name, group in groups.items():
                signals[name][t][:, group.index] = group.step(_incoming(group, signals, t), dt)
                membranes[name][t][:, group.index] = group.v
    return signals, membranes


def _incoming(group: _Group, signals: Mapping[str, Any], t: int) -> Any:
    total = np.zeros_like(group.current)
    for source, earlier, weights in group.inputs:
        if earlier and t == 0:
            continue
        spikes = signals[source][t - 1 if earlier else t]
        for sign in range(len(total)):
            total[sign] = total[sign] + spikes @ weights[sign]
    return total


def _groups(config: Config, setup: Setup, kind: Any) -> dict[str, _Group]:
    neurons = setup.neurons
    order = [name for name in config.populations if name in set(neurons.population)]
    groups = {}
    for name in order:
        own = np.array([name == population for population in neurons.population])
        same = bool((neurons.tau_syn[own, 0] == neurons.tau_syn[own, 1]).all())
        tau_syn = neurons.tau_syn[own, :1] if same else neurons.tau_syn[own]
        capacitance = neurons.capacitance[own] / (_FULL_CAPACITANCE * config.gain or 1.0)
        threshold = neurons.threshold[own]
        leak, reset, time = (
            table[own].astype(kind)
            for table in (neurons.leak, neurons.reset, neurons.refractory_time)
        )
        inputs = []
        for projection in setup.projections:
            if projection.target == name:
                dense = _matrix(config, projection, neurons.index[own]).astype(kind)
                parts = [dense] if same else [np.maximum(dense, 0), np.minimum(dense, 0)]
                earlier = projection.source in order[order.index(name) :]
                inputs.append((projection.source, earlier, parts))
        groups[name] = _Group(
            neurons.index[own], leak, reset,
            np.where(np.isnan(threshold), np.inf, threshold).astype(kind),
            (capacitance / neurons.tau_mem[own]).astype(kind), capacitance.astype(kind),
            tau_syn.T.astype(kind), time, inputs,
        )  # fmt: skip
    return groups


def _matrix(config: Config, projection: ProjectionFacts, index: Any) -> Any:
    """Return the weights [source, target] of some neurons of the target."""
    place = np.full(config.populations[projection.target].size, -1)
    place[index] = np.arange(len(index))
    post = place[projection.post]
    here = post >= 0
    dense = np.zeros((config.populations[projection.source].size, len(index)))
    np.add.at(dense, (projection.pre[here], post[here]), projection.weight[here])
    return dense
