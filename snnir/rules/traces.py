"""Traces: what is left of the spikes of a population. And a clock."""

from __future__ import annotations

import math

from snnir.dynamics import dynamics, select
from snnir.dynamics.trace import Symbol
from snnir.errors import error
from snnir.ir import Step
from snnir.rules.rule import as_float32
from snnir.streams import Kind
from snnir.tensors import FrozenDict, TensorLike

Stepped = tuple[dict[str, Symbol], Symbol]

_PARAMS = {"decay": "1", "scale": "1"}


@dynamics(params=_PARAMS, states={"x": 0.0}, outputs=(Kind.ANALOG,))
def nearest_trace(s: Symbol, x: Symbol, decay: Symbol, scale: Symbol) -> Stepped:
    """The last spike counts."""
    new = select(abs(s) > 0.0, scale, x * decay)
    return {"x": new}, new


@dynamics(params=_PARAMS, states={"x": 0.0}, outputs=(Kind.ANALOG,))
def additive_trace(s: Symbol, x: Symbol, decay: Symbol, scale: Symbol) -> Stepped:
    """Every spike adds."""
    new = x * decay + scale * s
    return {"x": new}, new


@dynamics(params={"period": "1"}, states={"steps": 0.0}, outputs=(Kind.ANALOG,))
def clock(like: Symbol, steps: Symbol, period: Symbol) -> Stepped:
    """1 in every so manieth step, 0 in the others."""
    now = steps + 1.0
    due = now >= period
    return {"steps": select(due, 0.0, now)}, select(due, 1.0, 0.0)


def trace(decay: TensorLike, scale: TensorLike = 1.0, additive: bool = False) -> Step:
    """Return a population that keeps a trace: x = x decay, and then x = scale where it spikes.

    Args:
        decay: What a step leaves of it: exp(-dt / tau), one number or one per element.
        scale: What a spike makes of it, or adds to it.
        additive: Spikes add: x = x decay + scale s.

    Its operand is analog: spikes go through `current` first.
    """
    params = {"decay": as_float32(decay, "decay"), "scale": as_float32(scale, "scale")}
    return Step(additive_trace if additive else nearest_trace, FrozenDict(params))


def every(period: int) -> Step:
    """Return what is 1 in the last of every `period` steps of a run and 0 in the others.

    Its operand is analog and only says the shape: [1] for the input `tick` of a rule.

    Raises:
        SnnirError: SNN105 if the period is not from 1 to 2**24.
    """
    if not 1 <= period <= 1 << 24:
        raise error("SNN105", f"a period must be from 1 to 2**24 steps, got {period}")
    return Step(clock, FrozenDict({"period": as_float32(period)}))


def decay_factor(tau: float, dt: float = 1.0) -> float:
    """Return exp(-dt / tau), computed in double precision.

    A float32 function of a framework may give a neighbouring number; take the framework's own
    where every bit matters.
    """
    return math.exp(-dt / tau)
