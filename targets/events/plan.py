"""What both engines run: a network's arrays put in order; copied into emitted folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Columns of the table of laws, as the fields of `law` in the C engine.
LAW = (
    "synapse", "a", "b", "g", "ki", "kv", "leak", "threshold", "ge", "reset", "v_reset",
    "refractory", "highest", "gap", "form", "slow", "far",
)  # fmt: skip
#: How the time of a crossing is found, by the column `form`.
FORMS = (
    "bracketed Newton", "Lambert W (tau_mem = tau_syn)", "quadratic (tau_mem = 2 tau_syn)",
    "quadratic (tau_mem = tau_syn / 2)", "logarithm (no synapse)", "linear (no leak)",
)  # fmt: skip
#: Exponents beyond which nothing is left of an exponential.
GONE = 700.0
#: Times that differ by less than this part, a few units in the last place, from the start of a step
#: are that start; and the number of steps from which on there is no telling.
SAME = 1e-15
LONGEST = 2.0**51


@dataclass(frozen=True)
class Plan:
    """A network as an engine takes it.

    Attributes:
        inputs: Number of units that are channels of inputs.
        laws: [laws, 17] float64, distinct parameters of neurons; see `LAW`.
        law_of: [neurons] int32.
        bias, kick, v_start, i_start: [neurons] float64.
        group_first: [units + 1] int64: groups of synapses of one unit and delay.
        group_start: [groups + 1] int64; group_delay: [groups] float64.
        target: [synapses] int32; weight: [synapses] float64.
        pulse, dt: See `EventNetwork`.
    """

    inputs: int
    laws: Any
    law_of: Any
    bias: Any
    kick: Any
    v_start: Any
    i_start: Any
    group_first: Any
    group_start: Any
    group_delay: Any
    target: Any
    weight: Any
    pulse: float
    dt: float


@dataclass(frozen=True)
class Job:
    """One sample.

    Attributes:
        time: [n] float64, when something enters, ascending.
        unit: [n] int32, through which channel.
        value: [n] float64: 1 for a spike, the difference to before for a current.
        kind: [n] int8: 0 a spike, 2 a current.
        change: [n] int8: 1 for a spike; of a current, 1 if it was 0 before, -1 if it is 0 from now
            on, else 0.
        duration: Seconds; what happens at this time or later is not looked at.
        probe_time: [p] float64, ascending: when membranes are read, before what happens then.
        probe_neuron: [q] int32, whose.
        most: Spikes of neurons after which the run is given up.
    """

    time: Any
    unit: Any
    value: Any
    kind: Any
    change: Any
    duration: float
    probe_time: Any
    probe_neuron: Any
    most: int


@dataclass(frozen=True)
class Trace:
    """What a sample did.

    Attributes:
        time, unit, current, drive, v: As `EventRecord`.
        probe_v, probe_i: [p, q] float64.
        delivered: Synapses that spikes and currents went through.
        arrived: Groups of synapses that did.
        searched: How often the next crossing was looked for.
    """

    time: Any
    unit: Any
    current: Any
    drive: Any
    v: Any
    probe_v: Any
    probe_i: Any
    delivered: int
    arrived: int
    searched: int


class RunError(RuntimeError):
    """A run that was given up.

    Attributes:
        reason: One of `REASONS`.
        time, unit: When, and by whom.
    """

    def __init__(self, reason: str, time: float, unit: int) -> None:
        super().__init__(f"{reason} at {time:.9g} s")
        self.reason, self.time, self.unit = reason, time, unit


REASONS = (
    "", "there is not enough memory", "there are more spikes than max_events",
    "spikes without delay cause each other for ever", "a state is not finite any more",
)  # fmt: skip


def on_step(t: float, dt: float) -> float:
    """Return the start of a step that a time is but for rounding, else the time itself.

    Step 3 plus a delay of 4 steps is step 7, though 3 dt + 4 dt may not be 7 dt in floating point:
    what comes at one time is to come together.
    """
    number = t / dt
    if not number < LONGEST:
        return t
    start = math.floor(number + 0.5) * dt
    return start if abs(t - start) <= SAME * t else t


def on_steps(t: Any, dt: float) -> Any:
    """Return the same of an array of times."""
    known = np.abs(t) / dt < LONGEST
    near = np.where(known, t, 0.0)
    start = np.floor(near / dt + 0.5) * dt
    return np.where(known & (np.abs(near - start) <= SAME * near), start, t)


def plan_of(
    neurons: Mapping[str, Any], synapses: Mapping[str, Any], inputs: int, pulse: float, dt: float
) -> Plan:
    """Return the plan of a network.

    Args:
        neurons: Arrays as the fields of `Neurons`.
        synapses: Arrays `first`, `target`, `weight`, `delay`, as the fields of `Synapses`.
        inputs: Number of units that are channels of inputs.
        pulse: Seconds for which spikes are held by neurons without a kick.
        dt: Seconds per step.
    """
    own = ("has_synapse", "rate_mem", "rate_syn", "push_mem", "push_syn", "leak", "threshold",
           "fires_at", "reset_kind", "v_reset", "refractory")  # fmt: skip
    columns = np.stack([np.asarray(neurons[name], np.float64) for name in own], axis=1)
    rows, law_of = np.unique(columns, axis=0, return_inverse=True)
    laws = np.array([law_of_row(*map(float, row)) for row in rows]).reshape(-1, len(LAW))
    first = np.asarray(synapses["first"], np.int64)
    delay = np.asarray(synapses["delay"], np.float64)
    unit = np.repeat(np.arange(len(first) - 1), np.diff(first))
    order = np.lexsort((delay, unit))  # stable: the order in the list is that of sums
    unit, delay = unit[order], delay[order]
    new = np.ones(len(order), bool)
    new[1:] = (unit[1:] != unit[:-1]) | (delay[1:] != delay[:-1])
    start = np.flatnonzero(new)
    groups = np.bincount(unit[start], minlength=len(first) - 1)
    bias, kick, v_start, i_start = (
        np.ascontiguousarray(neurons[name], np.float64)
        for name in ("bias", "kick", "v_start", "i_start")
    )
    return Plan(
        inputs, laws, law_of.reshape(-1).astype(np.int32), bias, kick, v_start, i_start,
        np.concatenate([[0], np.cumsum(groups)]).astype(np.int64),
        np.append(start, len(order)).astype(np.int64), np.ascontiguousarray(delay[start]),
        np.asarray(synapses["target"])[order].astype(np.int32),
        np.ascontiguousarray(np.asarray(synapses["weight"], np.float64)[order]), float(pulse),
        float(dt),
    )  # fmt: skip


def law_of_row(  # noqa: PLR0913, PLR0917  (a neuron has this many)
    synapse: float, a: float, b: float, g: float, push: float, leak: float, threshold: float,
    ge: float, reset: float, v_reset: float, refractory: float,
) -> tuple[float, ...]:  # fmt: skip
    """Return a row of the table of laws from a neuron's parameters.

    `highest` is the largest value of phi(s) = (exp(-b s) - exp(-a s)) / (a - b), what a unit of
    current has made of the membrane s seconds later.
    """
    ki = push / b if synapse else 0.0
    kv = g / a if a > 0 else 0.0
    rates = [rate for rate in (a, b if synapse else 0.0) if rate > 0]
    slow = 1.0 / min(rates) if rates else 1.0
    far = GONE * slow
    if not synapse:
        return (0.0, a, 0.0, g, 0.0, kv, leak, threshold, ge, reset, v_reset, refractory,
                0.0, 0.0, 4.0 if a > 0 else 5.0, slow, far)  # fmt: skip
    gap = a - b
    if a == 0:
        highest = 1.0 / b
    else:
        ratio = gap / b  # log1p is exact where rates are close, and fails where they are far apart
        far_apart = not -0.5 < ratio < 1e9
        logarithm = math.log(a) - math.log(b) if far_apart else math.log1p(ratio)
        peak = logarithm / gap if gap else 1.0 / b
        highest = math.exp(-a * peak) / b  # where phi' is 0, a phi is exp(-b s)
        highest = max(highest, math.exp(-b * peak) / a)
    form = 1.0 if gap == 0 else 2.0 if b == 2 * a else 3.0 if a == 2 * b else 0.0
    form = 0.0 if a == 0 else form
    return (1.0, a, b, g, ki, kv, leak, threshold, ge, reset, v_reset, refractory,
            highest, gap, form, slow, far)  # fmt: skip
