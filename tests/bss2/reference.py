"""A network on an ideal chip, tick by tick, from a plan's integers; shares nothing with the emulator.

Every tick moves membranes and synaptic inputs by the exact solution over it. What is compared with
it has read the artefact's registers; this has read neither labels nor rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.targets.bss2.plan import Plan

TICK_US = 0.008


@dataclass
class _Whole:
    """All populations side by side."""

    names: list[str]
    span: dict[str, slice]
    size: int


def simulate(plan: Plan, x: dict[str, Any], clocks: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return spike ticks as [n, 2] (tick, index) by population, for one sample.

    Args:
        plan: The integers.
        x: Counts [T, n] by input.
        clocks: Ticks for which a population's neurons are held, and are refractory, after a spike.
    """
    whole = _whole(plan)
    steps = len(next(iter(x.values())))
    last = int(np.ceil(steps * plan.step_ticks))
    arriving = _inputs(plan, x, steps, last)
    p = _parameters(plan, whole, clocks)
    matrices = [
        (m.source, whole.span[m.target], m.weights.astype(float)) for m in plan.network.projections
    ]
    v, s, i = p["leak"].copy(), np.zeros(whole.size), np.zeros(whole.size)
    since = np.full(whole.size, 10**9)
    spiked = np.zeros(whole.size, bool)
    found: list[tuple[int, int]] = []
    for tick in range(last):
        if tick:
            free = since >= p["hold"]
            moved = p["leak"] + (v - p["leak"]) * p["decay"] + p["into_exc"] * s - p["into_inh"] * i
            v = np.where(free, moved, p["reset"])
            s, i = s * p["decay_exc"], i * p["decay_inh"]
        since += 1
        fires = (v > p["threshold"]) & (since >= p["refractory"])
        for source, targets, weights in matrices:
            if source in whole.span:
                events = spiked[whole.span[source]].astype(float)  # those of the last tick
            else:
                events = arriving[source].get(tick, 0.0)
            if np.any(events):
                s[targets] += np.maximum(weights, 0) @ events
                i[targets] += np.maximum(-weights, 0) @ events
        v = np.where(fires, p["reset"], v)
        since[fires] = 0
        found += [(tick, index) for index in np.flatnonzero(fires).tolist()]
        spiked = fires
    table = np.array(found, np.int64).reshape(-1, 2)
    result = {}
    for name in whole.names:
        own = whole.span[name]
        mine = table[(table[:, 1] >= own.start) & (table[:, 1] < own.stop)]
        result[name] = mine - [0, own.start]
    return result


def _whole(plan: Plan) -> _Whole:
    span, at = {}, 0
    for name, cells in plan.network.cells.items():
        span[name] = slice(at, at + cells.size)
        at += cells.size
    return _Whole(list(span), span, at)


def _inputs(plan: Plan, x: dict[str, Any], steps: int, last: int) -> dict[str, dict[int, Any]]:
    found: dict[str, dict[int, Any]] = {}
    for name, counts in x.items():
        ticks = np.floor(np.arange(steps) * plan.step_ticks + 0.5).astype(int)
        found[name] = {int(t): row.astype(float) for t, row in zip(ticks, counts, strict=True)}
    if plan.constant:
        start = plan.period if plan.generators else 0.0
        many = int(last / plan.period) + 2
        when = np.floor(start + np.arange(many) * plan.period + 0.5).astype(int)
        found[plan.constant] = {int(t): np.ones(1) for t in when if t < last}
    return found


def _parameters(plan: Plan, whole: _Whole, clocks: dict[str, tuple[int, int]]) -> dict[str, Any]:
    parts: dict[str, list[Any]] = {}

    def put(name: str, value: Any) -> None:
        parts.setdefault(name, []).append(np.asarray(value, float))

    for name in whole.names:
        own = plan.targets[name]
        size = plan.network.cells[name].size
        threshold = np.full(size, np.inf) if own.threshold is None else own.threshold
        slope = plan.wishes.gain * 63 / own.capacitance
        put("leak", own.leak)
        put("reset", own.reset)
        put("threshold", threshold)
        put("decay", np.exp(-TICK_US / own.tau_mem))
        for kind in ("exc", "inh"):
            put(f"decay_{kind}", np.exp(-TICK_US / own.tau_syn))
            put(f"into_{kind}", slope * _course(own.tau_mem, own.tau_syn))
        hold, refractory = clocks.get(name, (0, 0))
        put("hold", np.full(size, hold))
        put("refractory", np.full(size, refractory))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _course(tau_mem: Any, tau_syn: Any) -> Any:
    """Membrane a tick after a unit of synaptic input, in us."""
    gap = 1 / tau_mem - 1 / tau_syn
    close = np.abs(gap) < 1e-12
    safe = np.where(close, 1.0, gap)
    return np.where(
        close,
        TICK_US * np.exp(-TICK_US / tau_mem),
        np.exp(-TICK_US / tau_mem) * np.expm1(TICK_US * gap) / safe,
    )
