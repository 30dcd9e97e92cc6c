"""Step programs of the encoders. `x` is the datum, the same in every step of a presentation."""

from __future__ import annotations

from collections.abc import Mapping

from snnir.dynamics import dynamics, floor, rounded, select
from snnir.dynamics.trace import Number, Symbol
from snnir.streams import Kind

Stepped = tuple[Mapping[str, Number], Symbol]


@dynamics(params={"scale": "1"}, states={})
def draw(x: Symbol, u: Symbol, scale: Symbol) -> Stepped:
    """A spike with probability scale x; u is random in (0, 1]."""
    return {}, u <= x * scale


@dynamics(params={}, states={}, outputs=(Kind.ANALOG,))
def normalise(x: Symbol, largest: Symbol) -> Stepped:
    """Divide by the largest element where that is above 1."""
    return {}, select(largest > 1.0, x / largest, x)


@dynamics(params={}, states={}, outputs=(Kind.ANALOG,))
def inverse(x: Symbol, largest: Symbol) -> Stepped:
    """How late an element is in rank order, in no unit; 0 for never."""
    part = x / largest
    return {}, select(part > 0.0, 1.0 / part, 0.0)


@dynamics(params={"time": "1"}, states={"step": 0.0})
def rank(late: Symbol, latest: Symbol, step: Symbol, time: Symbol) -> Stepped:
    """One spike per window, in the order of `late`; the latest is silent."""
    now = step + 1.0
    due = -floor(-(late * ((1.0 / latest) * time)))
    spike = (due <= now) & (due >= now) & (due < time)
    return {"step": select(now >= time, 0.0, now)}, spike


@dynamics(params={"time": "1"}, states={"step": 0.0})
def linear_latency(x: Symbol, step: Symbol, time: Symbol) -> Stepped:
    """One spike per window: the first step for 1, the last for 0."""
    due = rounded((time - 1.0) * (1.0 - x))
    now = step + 1.0
    return {"step": select(now >= time, 0.0, now)}, (due <= step) & (due >= step)


@dynamics(
    params={"time": "1", "threshold": "1", "half": "1", "decay": "1"},
    states={"step": 0.0, "left": "half", "done": 0.0},
)
def charging_latency(
    x: Symbol,
    step: Symbol,
    left: Symbol,
    done: Symbol,
    time: Symbol,
    threshold: Symbol,
    half: Symbol,
    decay: Symbol,
) -> Stepped:
    """One spike per window, when x (1 - left) reaches the threshold."""
    reached = x * (1.0 - left) >= threshold
    spike = reached & (done < 0.5)
    now = step + 1.0
    over = now >= time
    states = {
        "step": select(over, 0.0, now),
        "left": select(over, half, left * decay),
        "done": select(over, 0.0, select(reached, 1.0, done)),
    }
    return states, spike


@dynamics(params={"threshold": "1"}, states={"before": 0.0})
def rise(x: Symbol, before: Symbol, threshold: Symbol) -> Stepped:
    """A spike where the signal rose by the threshold since the step before."""
    return {"before": x}, x - before >= threshold


@dynamics(params={"threshold": "1"}, states={"before": 0.0, "begun": 0.0})
def rise_from_first(x: Symbol, before: Symbol, begun: Symbol, threshold: Symbol) -> Stepped:
    """The same, from what the signal is in the first step."""
    last = select(begun > 0.5, before, x)
    return {"before": x, "begun": 1.0}, x - last >= threshold
