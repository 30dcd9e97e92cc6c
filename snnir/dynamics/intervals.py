"""What a step program can never exceed: interval arithmetic, and invariants of its states.

Bounds hold for the rounded arithmetic too: every result is widened by more than one rounding to
float32. Infinite bounds say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics, Let, Operand

Array = npt.NDArray[Any]

#: More than the relative error of one rounding to float32, its smallest normal number, and what
#: may overflow.
ROUNDING, TINY, HUGE = 2.0**-23, 2.0**-126, 2.0**127


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, element by element, in float64."""

    low: Array
    high: Array

    @classmethod
    def of(cls, low: Any, high: Any | None = None) -> Interval:
        """Return an interval, of one number if no other is given."""
        one = np.asarray(low, np.float64)
        return cls(one, one if high is None else np.asarray(high, np.float64))

    def widened(self) -> Interval:
        """Return the interval with room for one rounding at each end."""
        with np.errstate(all="ignore"):
            low, high = (np.maximum(np.abs(a) * ROUNDING, TINY) for a in (self.low, self.high))
            return Interval(
                np.where(np.abs(self.low) < HUGE, self.low - low, -np.inf),
                np.where(np.abs(self.high) < HUGE, self.high + high, np.inf),
            )

    def hull(self, other: Interval) -> Interval:
        """Return the smallest interval that holds both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def holds(self, other: Interval) -> Array:
        """Return where the other interval lies in this one."""
        inside: Array = (self.low <= other.low) & (other.high <= self.high)
        return inside


EVERYTHING = Interval.of(-np.inf, np.inf)


def _corners(function: Callable[..., Array], a: Interval, b: Interval) -> Interval:
    """Return the range of a function that is monotone in each of its operands."""
    with np.errstate(all="ignore"):
        ends = [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = ends[0], ends[0]
    for end in ends[1:]:
        low, high = np.minimum(low, end), np.maximum(high, end)
    return Interval(low, high)


def _product(x: Array, y: Array) -> Array:
    return np.where((x == 0) | (y == 0), 0.0, x * y)  # a bound of infinity is never reached


def _quotient(a: Interval, b: Interval) -> Interval:
    found = _corners(lambda x, y: np.where(x == 0, 0.0, x / y), a, b)
    around_zero = (b.low <= 0) & (b.high >= 0)
    unknown = around_zero | np.isnan(found.low) | np.isnan(found.high)
    return Interval(np.where(unknown, -np.inf, found.low), np.where(unknown, np.inf, found.high))


def _compared(less: Array, more: Array) -> Interval:
    """Return an interval of truth: certainly not where `less`, certainly where `more`."""
    return Interval(np.where(more, 1.0, 0.0), np.where(less, 0.0, 1.0))


def _same(a: Interval, b: Interval) -> Array:
    same: Array = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
    return same


def _select(test: Interval, yes: Interval, no: Interval) -> Interval:
    both = yes.hull(no)
    sure, never = test.low == 1.0, test.high == 0.0
    return Interval(
        np.where(sure, yes.low, np.where(never, no.low, both.low)),
        np.where(sure, yes.high, np.where(never, no.high, both.high)),
    )


def _abs(a: Interval) -> Interval:
    ends = np.maximum(np.abs(a.low), np.abs(a.high))
    inside = (a.low <= 0) & (a.high >= 0)
    return Interval(np.where(inside, 0.0, np.minimum(np.abs(a.low), np.abs(a.high))), ends)


def _rising(function: Callable[[Array], Array]) -> Callable[[Interval], Interval]:
    def apply(a: Interval) -> Interval:
        with np.errstate(all="ignore"):
            return Interval(function(a.low), function(a.high))

    return apply


def _pair(function: Callable[[Array, Array], Array]) -> Callable[[Interval, Interval], Interval]:
    return lambda a, b: Interval(function(a.low, b.low), function(a.high, b.high))


def _fused(a: Interval, b: Interval, c: Interval) -> Interval:
    # The bounds are computed with two roundings: that of the product may matter in a small sum.
    return _pair(np.add)(_corners(_product, a, b).widened(), c)


_EXACT: dict[str, Callable[..., Interval]] = {
    "neg": lambda a: Interval(-a.high, -a.low),
    "abs": _abs,
    "min": _pair(np.minimum),
    "max": _pair(np.maximum),
    "floor": _rising(np.floor),
    "trunc": _rising(np.trunc),
    "round": _rising(np.rint),
    "gt": lambda a, b: _compared(a.high <= b.low, a.low > b.high),
    "ge": lambda a, b: _compared(a.high < b.low, a.low >= b.high),
    "lt": lambda a, b: _compared(a.low >= b.high, a.high < b.low),
    "le": lambda a, b: _compared(a.low > b.high, a.high <= b.low),
    "eq": lambda a, b: _compared((a.high < b.low) | (a.low > b.high), _same(a, b)),
    "and": _pair(np.minimum),
    "or": _pair(np.maximum),
    "not": lambda a: Interval(1.0 - a.high, 1.0 - a.low),
    "cast": lambda a: a,
    "select": _select,
    # However many samples there are: their sum has the sign that they all have.
    "batch_sum": lambda a: Interval(
        np.where(a.low >= 0, 0.0, -np.inf), np.where(a.high <= 0, 0.0, np.inf)
    ),
}
_ROUNDED: dict[str, Callable[..., Interval]] = {
    "add": _pair(np.add),
    "sub": lambda a, b: Interval(a.low - b.high, a.high - b.low),
    "mul": lambda a, b: _corners(_product, a, b),
    "div": _quotient,
    "fma": _fused,
    "exp": _rising(np.exp),
    "tanh": _rising(np.tanh),
}


def _apply(let: Let, values: Mapping[str, Interval]) -> Interval:
    args = [values[a] if isinstance(a, str) else Interval.of(a) for a in let.args]
    if let.op in _EXACT:
        return _EXACT[let.op](*args)
    if let.op not in _ROUNDED:
        return EVERYTHING
    with np.errstate(all="ignore"):
        found = _ROUNDED[let.op](*args)
    low, high = np.nan_to_num(found.low, nan=-np.inf), np.nan_to_num(found.high, nan=np.inf)
    return Interval(
        np.where(np.isnan(found.low), -np.inf, low), np.where(np.isnan(found.high), np.inf, high)
    ).widened()


def step_bounds(program: Dynamics, known: Mapping[str, Interval]) -> dict[str, Interval]:
    """Return bounds of every value of one step, given those of inputs, parameters and states."""
    values = dict(known)
    for let in program.body:
        values[let.target] = _apply(let, values)
    return values


def invariant(
    program: Dynamics, known: Mapping[str, Interval], rounds: int = 24
) -> dict[str, Interval]:
    """Return bounds of every value that hold at every step from the start.

    Args:
        program: The step program.
        known: Bounds of its inputs and parameters.
        rounds: Steps that are followed before a limit is guessed from the last two changes. A
            guess counts only if one step does not leave it; else the state is unbounded.

    Returns:
        Bounds by name in the program; a state has those of its value before the step. A run may
        take up what lasts of any other, so nothing is known of a lasting state.
    """
    states = {s.name: _initial(s.initial, known) for s in program.states if not s.lasting}
    known = {**known, **dict.fromkeys(program.lasting, EVERYTHING)}
    before, last = states, states
    for _ in range(rounds):
        before, last, states = last, states, _advanced(program, known, states)
    for slack in (1.0, 1.01, 1.5):
        guess = {n: _limit(before[n], last[n], states[n], slack) for n in states}
        for _ in range(4):
            reached = _advanced(program, known, guess)
            if all(bool(np.all(guess[n].holds(reached[n]))) for n in guess):
                return step_bounds(program, {**known, **guess})
            guess = {n: _opened(guess[n], reached[n]) for n in guess}
    unknown = dict.fromkeys(states, EVERYTHING)
    return step_bounds(program, {**known, **unknown})


def _initial(value: Operand, known: Mapping[str, Interval]) -> Interval:
    return known[value] if isinstance(value, str) else Interval.of(value)


def _advanced(
    program: Dynamics, known: Mapping[str, Interval], states: Mapping[str, Interval]
) -> dict[str, Interval]:
    values = step_bounds(program, {**known, **states})
    return {
        name: states[name].hull(values[v] if isinstance(v, str) else Interval.of(v))
        for name, v in program.updates
        if name in states
    }


def _limit(before: Interval, last: Interval, now: Interval, slack: float) -> Interval:
    """Return where a state goes whose bounds keep changing by the same factor."""
    with np.errstate(all="ignore"):
        low = _series(before.low, last.low, now.low, slack)
        high = _series(before.high, last.high, now.high, slack)
    return Interval(low, high).widened().widened()


def _series(before: Array, last: Array, now: Array, slack: float) -> Array:
    first, second = last - before, now - last
    ratio = np.where(first == 0, 0.0, second / np.where(first == 0, 1.0, first))
    rest = second * ratio / (1.0 - ratio)
    unbounded = np.where(second > 0, np.inf, -np.inf)
    settles = (ratio >= 0) & (ratio < 1) & np.isfinite(rest)
    moved = np.where(settles, now + rest * slack + (slack - 1.0) * second, unbounded)
    limit: Array = np.where(second == 0, now, moved)
    return limit


def _opened(guess: Interval, reached: Interval) -> Interval:
    """Give up the ends that a step went beyond."""
    return Interval(
        np.where(reached.low < guess.low, -np.inf, guess.low),
        np.where(reached.high > guess.high, np.inf, guess.high),
    )
