"""What is left of a rule where nothing spikes: which synapses need no visit in a step.

A rule is evaluated in part: its spikes are put to 0, and it is followed what that makes of every
value. If each state is given back, or only held within fixed bounds, then a synapse without
spikes stays as it is to the last bit, and a back end may leave it out. The argument needs care
with zeros and infinities, so it is made from few facts that hold in IEEE 754 arithmetic rounded to
nearest, without flushing to zero:

* 0 * x is a zero, of either sign, if x is finite. So x has to be bounded: by interval arithmetic
  from inputs and states of at most `LIMIT`, which the back end checks while it runs.
* w + z and w - z with a zero z of unknown sign are w, unless w is -0. So no state may be -0 when a
  synapse is left out, and the rule must never make one: a sum is -0 only if both operands are, a
  difference only if its first operand is. `min`, `max` and `select` give one of their operands.
* `min` and `max` with what never changes, and `select` between the state and what never changes by
  what never changes, do nothing when done again: any sequence of them maps a number to itself
  within an interval, to the near end outside of it, or everything to one value. So after one visit
  they do nothing, if they are the last that the rule does to the state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.intervals import Interval, step_bounds
from snnir.dynamics.program import Dynamics, Let, Operand, only
from snnir.dynamics.scalar import SCALAR_OPS

Array = npt.NDArray[Any]

#: The largest size of inputs and states for which products with 0 are proved to be 0.
LIMIT = 2.0**24
#: A name no program has: how much a sum over a batch may be of one of its samples.
_SAMPLES, _MOST = "number of samples", 2.0**26


@dataclass(frozen=True)
class Known:
    """A number or truth that is known."""

    value: Any


@dataclass(frozen=True)
class Zero:
    """A zero whose sign is not known."""


@dataclass(frozen=True)
class Fixed:
    """What only depends on parameters: the same in every step."""


@dataclass(frozen=True)
class Held:
    """A state as it was, after `min`, `max` or `select` by what is fixed.

    Attributes:
        state: Its name.
        lets: Results of those operations, in order.
    """

    state: str
    lets: tuple[str, ...] = ()


#: What is known of a value in a step without spikes; None if nothing is.
Part = Known | Zero | Fixed | Held | None

_FOLDED = frozenset(
    (
        *("add", "sub", "mul", "div", "min", "max", "neg", "abs", "select"),
        *("gt", "ge", "lt", "le", "eq", "and", "or", "not"),
    )
)
_COMPARED = frozenset(("gt", "ge", "lt", "le", "eq"))
_KEEPS_ZERO = frozenset(("neg", "abs", "batch_sum", "floor", "trunc", "round", "sqrt"))


def resting(
    program: Dynamics, spikes: Collection[str], params: Mapping[str, Array], dtype: Any
) -> frozenset[str] | None:
    """Return under which conditions synapses without spikes keep their states; None if they do not.

    Args:
        program: A rule.
        spikes: Inputs that are 0 or 1, and 0 where nothing spikes.
        params: Values of its parameters.
        dtype: Element type of the arithmetic.

    Returns:
        Names of inputs and states. A step changes nothing where no spike input is 1 in any sample
        if the step before was done in full, all those are at most `LIMIT` in size, and no state
        is -0. Given that, no step makes a state that is -0 or larger than that, in a batch of
        less than 2**24 samples, and every step leaves what the next would leave.
    """
    given = {name: np.asarray(params[name]).astype(dtype) for name, _ in program.params}
    found = _Partial(program, frozenset(spikes), given, dtype)
    return found.conditions()


class _Partial:
    """Evaluates a rule with its spikes put to 0."""

    def __init__(
        self, program: Dynamics, spikes: frozenset[str], params: Mapping[str, Array], dtype: Any
    ) -> None:
        self.program, self.dtype = program, np.dtype(dtype)
        self.params = params
        self.states = frozenset(state.name for state in program.states)
        self.inputs = frozenset(program.inputs) - spikes
        self.lets = {let.target: let for let in program.body}
        self.bounds = self._bounds(spikes)
        self.small: set[str] = set()
        self.parts: dict[str, Part] = dict.fromkeys(spikes, Known(self.dtype.type(0)))
        self.parts |= {name: self._parameter(value) for name, value in params.items()}
        self.parts |= {name: Held(name) for name in self.states}

    def _parameter(self, value: Array) -> Part:
        return Known(value.reshape(-1)[0]) if value.size == 1 else Fixed()

    def _bounds(self, spikes: frozenset[str]) -> dict[str, Interval]:
        """Return bounds of every value in any step, given that inputs and states are small."""
        known = {name: Interval.of(0, 1) for name in spikes}
        known |= {name: Interval.of(-LIMIT, LIMIT) for name in self.inputs | self.states}
        for name, value in self.params.items():
            known[name] = Interval.of(value.min(initial=np.inf), value.max(initial=-np.inf))
        known[_SAMPLES] = Interval.of(0, _MOST)
        body = tuple(
            replace(let, op="mul", args=(*let.args, _SAMPLES)) if let.op == "batch_sum" else let
            for let in self.program.body
        )
        return step_bounds(replace(self.program, body=body), known)

    def conditions(self) -> frozenset[str] | None:
        """Return the names that have to be small, None if some state changes."""
        with np.errstate(all="ignore"):
            for let in self.program.body:
                self.parts[let.target] = self.part(let)
        updates = dict(self.program.updates)
        zeros = _Zeros(self.program, self.params, self.inputs, self.dtype)
        for state, value in updates.items():
            part = self.of(value)
            if not isinstance(part, Held) or part.state != state:
                return None
            if not self.is_last(value, part.lets) or not zeros.is_positive(value):
                return None
        return frozenset(self.small) if self.stay_small(updates) else None

    # --- Values ----------------------------------------------------------------------------------

    def of(self, value: Operand) -> Part:
        """Return what is known of an operand."""
        return self.parts.get(value) if isinstance(value, str) else Known(self.dtype.type(value))

    def part(self, let: Let) -> Part:
        """Return what is known of the result of an operation."""
        args = [self.of(arg) for arg in let.args]
        if let.op in _FOLDED and all(isinstance(arg, Known) for arg in args):
            return _known(SCALAR_OPS[let.op].numpy(*(a.value for a in args)))  # type: ignore[union-attr]
        if let.op == "cast" and isinstance(args[0], Known):
            return Known(self.dtype.type(args[0].value))
        if let.op != "batch_sum" and all(isinstance(arg, (Known, Fixed)) for arg in args):
            return Fixed()
        if let.op in _KEEPS_ZERO:
            return Zero() if _is_zero(args[0]) else None
        if let.op in _COMPARED:
            return self.compared(let, args)
        rule = {
            "add": self.sum, "sub": self.difference, "mul": self.product, "div": self.quotient,
            "min": self.bounded, "max": self.bounded, "select": self.chosen, "fma": self.fused,
            "and": self.both, "or": self.either,
        }.get(let.op)  # fmt: skip
        return None if rule is None else rule(let, args)

    def sum(self, let: Let, args: list[Part]) -> Part:
        """A state, or a zero, and a zero."""
        first, second = args
        return self.difference(let, [second, first] if _is_zero(first) else [first, second])

    def difference(self, let: Let, args: list[Part]) -> Part:
        """A state, or a zero, less a zero."""
        first, second = args
        if not _is_zero(second):
            return None
        return Zero() if _is_zero(first) else first if isinstance(first, Held) else None

    def product(self, let: Let, args: list[Part]) -> Part:
        """A zero times what is finite, or anything times one."""
        for (mine, other), arg in zip((args, args[::-1]), reversed(let.args), strict=True):
            if _is_zero(mine) and self.is_finite(arg):
                return Zero()
            if isinstance(mine, Known) and mine.value == 1:
                return other
        return None

    def quotient(self, let: Let, args: list[Part]) -> Part:
        """A zero by a finite number, or anything by one."""
        first, second = args
        if not isinstance(second, Known) or second.value == 0 or not np.isfinite(second.value):
            return None
        return Zero() if _is_zero(first) else first if second.value == 1 else None

    def bounded(self, let: Let, args: list[Part]) -> Part:
        """A state within what is fixed."""
        if all(map(_is_zero, args)):
            return Zero()
        held = [arg for arg in args if isinstance(arg, Held)]
        if len(held) != 1 or not all(isinstance(arg, (Held, Known, Fixed)) for arg in args):
            return None
        return Held(held[0].state, (*held[0].lets, let.target))

    def chosen(self, let: Let, args: list[Part]) -> Part:
        """One of two values."""
        test, yes, no = args
        if isinstance(test, Known):
            return yes if test.value else no
        if _is_zero(yes) and _is_zero(no):
            return Zero()
        return self.bounded(let, [yes, no]) if isinstance(test, Fixed) else None

    def fused(self, let: Let, args: list[Part]) -> Part:
        """A product that is 0, and a state or a zero."""
        made = self.product(Let("", "mul", let.args[:2]), args[:2])
        return self.difference(let, [args[2], made]) if isinstance(made, Zero) else None

    def compared(self, let: Let, args: list[Part]) -> Part:
        """Zeros of either sign compare as 0 does."""
        numbers = [self.dtype.type(0) if isinstance(arg, Zero) else arg for arg in args]
        if any(isinstance(arg, (Held, Fixed)) or arg is None for arg in numbers):
            return None
        values = [arg.value if isinstance(arg, Known) else arg for arg in numbers]
        return Known(SCALAR_OPS[let.op].numpy(*values))

    def both(self, let: Let, args: list[Part]) -> Part:
        """Not true if one is not."""
        found = any(isinstance(arg, Known) and not arg.value for arg in args)
        return Known(np.False_) if found else None

    def either(self, let: Let, args: list[Part]) -> Part:
        """True if one is."""
        found = any(isinstance(arg, Known) and arg.value for arg in args)
        return Known(np.True_) if found else None

    # --- Proofs ----------------------------------------------------------------------------------

    def is_finite(self, value: Operand) -> bool:
        """Whether a value is finite if what it depends on is small; which then must be."""
        if not isinstance(value, str):
            return bool(np.isfinite(self.dtype.type(value)))
        if not self.is_bounded(value):
            return False
        self.small |= self.sources(value)
        return True

    def is_bounded(self, name: str) -> bool:
        """Whether everything a value is computed from has finite bounds: then it is no NaN."""
        names = {name} | {let.target for let in only(self.program, [name]).body}
        names |= self.sources(name) | self.used_params(name)
        return all(
            bool(np.isfinite(self.bounds[n].low).all() and np.isfinite(self.bounds[n].high).all())
            for n in names
        )

    def reads(self, name: str) -> set[str]:
        """Return the names that a value is computed from."""
        body = only(self.program, [name]).body
        return {name} | {arg for let in body for arg in let.args if isinstance(arg, str)}

    def sources(self, name: str) -> set[str]:
        """Return the inputs and states that a value depends on."""
        return self.reads(name) & (self.inputs | self.states)

    def used_params(self, name: str) -> set[str]:
        """Return the parameters that a value depends on."""
        return self.reads(name) & set(self.params)

    def stay_small(self, updates: Mapping[str, Operand]) -> bool:
        """Whether no step makes a state large that has to be small."""
        done: set[str] = set()
        while pending := (self.small & self.states) - done:
            state = min(pending)
            done.add(state)
            value = updates[state]
            if not isinstance(value, str) or not self.is_finite(value):
                return False
            bound = self.bounds[value]
            if not bool(np.all((bound.low >= -LIMIT) & (bound.high <= LIMIT))):
                return False
        return True

    def is_last(self, value: Operand, lets: tuple[str, ...]) -> bool:
        """Whether a state is held by the last operations that it goes through."""
        for name in reversed(lets):
            if value != name:
                return False
            args = self.lets[name].args
            value = next(arg for arg in args if isinstance(self.of(arg), Held))
            if any(self.varies(arg) for arg in args if arg != value):
                return False
        return True

    def varies(self, value: Operand) -> bool:
        """Whether an operand may differ from step to step."""
        changing = {*self.program.inputs, *self.states}
        return isinstance(value, str) and bool(self.reads(value) & changing)


class _Zeros:
    """Which values of a rule are never -0, if no state is."""

    def __init__(
        self,
        program: Dynamics,
        params: Mapping[str, Array],
        inputs: Collection[str],
        dtype: np.dtype[Any],
    ) -> None:
        self.dtype = dtype
        self.positive = {*program.inputs, *(state.name for state in program.states)} - set(inputs)
        self.positive |= {name for name, value in params.items() if not _has_minus_zero(value)}
        for let in program.body:
            if self.makes_none(let):
                self.positive.add(let.target)

    def is_positive(self, value: Operand) -> bool:
        """Whether an operand is never -0."""
        if isinstance(value, str):
            return value in self.positive
        return not _has_minus_zero(np.asarray(value, self.dtype))

    def makes_none(self, let: Let) -> bool:
        """Whether the result of an operation is never -0."""
        found = [self.is_positive(arg) for arg in let.args]
        if let.op == "add":
            return any(found)
        if let.op in ("sub", "batch_sum"):
            return found[0]
        if let.op in ("min", "max"):
            return all(found)
        return found[1] and found[2] if let.op == "select" else let.op in ("abs", "cast")


def _has_minus_zero(value: Array) -> bool:
    return bool(np.any((value == 0) & np.signbit(value)))


def _known(value: Any) -> Part:
    return Known(value) if np.isfinite(value) else None


def _is_zero(part: Part) -> bool:
    if isinstance(part, Zero):
        return True
    return isinstance(part, Known) and not isinstance(part.value, np.bool_) and part.value == 0
