"""From a step program in floating point to one of integers in fixed point.

Every value of a program is one of three things: a *signal*, which scales with the input
(membranes, currents, thresholds) and becomes a whole number of small units; a *number*, which is
whole already (spikes, counters); or a *factor* (decays, gains), which becomes a whole multiplier
and a shift. What is what follows from the units of parameters and from how values meet: only
signals are added to signals, and a signal times a factor is a signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.dynamics.whole import with_products

Array = npt.NDArray[Any]


class NoFixedPoint(Exception):
    """A program has no form in fixed point; the message says why."""


#: Unit of the parameters that are signals in a program of integers.
WHOLE_UNIT = "unit"
#: Name of a bias that was moved into a program.
BIAS = "bias_fixed"

SIGNAL, NUMBER, FACTOR, RATIO = "signal", "number", "factor", "ratio"

_ALIKE = ("add", "sub", "min", "max", "gt", "ge", "lt", "le", "eq")
_COMPARES = ("gt", "ge", "lt", "le", "eq")
_UNITS = {"V": SIGNAL, "A": SIGNAL}


@dataclass(frozen=True)
class Format:
    """How numbers are kept.

    Attributes:
        state_bits: Bits of states and thresholds, sign included.
        factor_bits: Bits after the point of a multiplier of at most 1.
        rounding: Of products: `nearest` (half up), `floor`, or `zero`.
        shifts: Multipliers are powers of two, or 1 less such a power: the hardware shifts.
    """

    state_bits: int = 16
    factor_bits: int = 15
    rounding: str = "nearest"
    shifts: bool = False

    @property
    def largest(self) -> int:
        """Largest value of a state; the smallest is one below its negative."""
        return int(2 ** (self.state_bits - 1) - 1)


@dataclass(frozen=True)
class Fixed:
    """A program of integers with its parameters.

    Attributes:
        program: The program.
        params: Its parameters, int64.
    """

    program: Dynamics
    params: dict[str, Array]


def classify(program: Dynamics) -> dict[str, str]:
    """Return what every input, parameter, state and value is.

    Raises:
        NoFixedPoint: Naming an operation that has no fixed-point form, or a value of which
            nothing tells what it is.
    """
    return _Classes(with_products(program)).solve()


class _Classes:
    def __init__(self, program: Dynamics) -> None:
        self.program = program
        self.known: dict[str, str] = dict.fromkeys(program.inputs, SIGNAL)
        self.known |= {name: _UNITS[unit] for name, unit in program.params if unit in _UNITS}
        self.params = {name for name, _ in program.params}
        self.changed = True

    def solve(self) -> dict[str, str]:
        self.propagate()
        for state in self.program.states:
            # What never meets a signal is a counter, such as the steps left of a refractory time.
            if not self.known.get(state.name) and not isinstance(state.initial, str):
                self.set(state.name, NUMBER)
                self.propagate()
        lost = [name for name in self.needed() if not self.known.get(name)]
        if lost:
            raise NoFixedPoint(
                f"nothing tells whether '{sorted(lost)[0]}' is a signal or a factor; signals have "
                "the unit V or A"
            )
        return self.known

    def propagate(self) -> None:
        self.changed = True
        while self.changed:
            self.changed = False
            for let in self.program.body:
                self.visit(let)
            for name, value in self.program.updates:
                self.alike(name, value)
            for state in self.program.states:
                self.alike(state.name, state.initial)

    def needed(self) -> set[str]:
        """Return the names that must be one or the other."""
        used = {arg for let in self.program.body for arg in let.args if isinstance(arg, str)}
        logic = (*_COMPARES, "and", "or", "not")
        bools = {let.target for let in self.program.body if let.op in logic}
        return (used | {state.name for state in self.program.states}) - bools

    def get(self, arg: Operand) -> str:
        return self.known.get(arg, "") if isinstance(arg, str) else ""

    def set(self, arg: Operand, kind: str) -> None:
        if not isinstance(arg, str) or not kind:
            return
        old = self.known.get(arg, "")
        if not old:
            self.known[arg] = kind
            self.changed = True
        elif old != kind:
            raise NoFixedPoint(f"'{arg}' is used as a {old} and as a {kind}")

    def alike(self, *args: Operand) -> None:
        kind = next((k for k in map(self.get, args) if k), "")
        for arg in args:
            self.set(arg, kind)

    def visit(self, let: Let) -> None:
        op, args = let.op, let.args
        if op == "cast":
            self.set(let.target, NUMBER)
        elif op in _ALIKE:
            self.alike(*args, *(() if op in _COMPARES else (let.target,)))
        elif op == "select":
            self.alike(args[1], args[2], let.target)
        elif op in ("neg", "abs"):
            self.alike(args[0], let.target)
        elif op in ("trunc", "floor"):
            self.set(let.target, NUMBER if self.get(args[0]) == RATIO else "")
        elif op == "mul":
            self.product(let)
        elif op == "div":
            self.quotient(let)
        elif op not in ("and", "or", "not"):
            raise NoFixedPoint(f"'{op}' has no fixed-point form")

    def product(self, let: Let) -> None:
        for a, b in (let.args, let.args[::-1]):
            one, other = self.get(a), self.get(b)
            if one == SIGNAL:
                self.set(let.target, SIGNAL)
                if not other and b in self.params:
                    self.set(b, FACTOR)
            elif one in (NUMBER, FACTOR) and self.get(let.target) == SIGNAL:
                self.set(b, SIGNAL)
            elif one == NUMBER and (other == NUMBER or not isinstance(b, str)):
                self.set(let.target, NUMBER)

    def quotient(self, let: Let) -> None:
        one, other = (self.get(arg) for arg in let.args)
        if one == SIGNAL and other == SIGNAL:
            self.set(let.target, RATIO)
        elif one == SIGNAL and other == FACTOR:
            self.set(let.target, SIGNAL)
        elif one == SIGNAL and not other and let.args[1] in self.params:
            self.set(let.args[1], FACTOR)


def fixed_point(
    program: Dynamics, params: Mapping[str, Array], unit: Array, form: Format,
    input_shift: int = 0, bias: Array | None = None,
) -> Fixed:  # fmt: skip
    """Return a program of integers that steps in units of `unit`.

    Args:
        program: The program in floating point.
        params: Its parameters.
        unit: One unit of signals, broadcastable to the population, float64.
        form: Bits and rounding.
        input_shift: Inputs come in units 2**input_shift times as large.
        bias: A constant added to the first input, in small units, int64.

    Raises:
        NoFixedPoint: For what has no fixed-point form.
    """
    return _Writer(with_products(program), params, unit, form).write(input_shift, bias)


class _Writer:
    def __init__(
        self, program: Dynamics, params: Mapping[str, Array], unit: Array, form: Format
    ) -> None:
        self.program, self.form, self.unit = program, form, unit
        self.given = {name: np.asarray(p, np.float64) for name, p in params.items()}
        self.kinds = classify(program)
        self.units = dict(program.params)
        self.params: dict[str, Array] = {}
        self.signals: set[str] = set()
        self.body: list[Let] = []
        self.names: dict[str, Operand] = {}
        self.taken = {*program.inputs, *self.given, *(s.name for s in program.states)}
        self.taken |= {let.target for let in program.body}
        self.ratios: dict[str, tuple[Operand, Operand]] = {}

    def write(self, input_shift: int, bias: Array | None) -> Fixed:
        for index, name in enumerate(self.program.inputs):
            self.names[name] = self.input(name, input_shift, bias if index == 0 else None)
        for let in self.program.body:
            self.visit(let)
        updates = {name: self.stored(name, value) for name, value in self.program.updates}
        outputs = tuple((str(self.value(name)), kind) for name, kind in self.program.outputs)
        states = tuple(self.start(state) for state in self.program.states)
        bits = self.form.state_bits + self.form.factor_bits
        program = Dynamics(
            name=f"{self.program.name}_fixed",
            inputs=self.program.inputs,
            params=tuple((n, WHOLE_UNIT if n in self.signals else "1") for n in self.params),
            states=states,
            body=tuple(self.body),
            updates=tuple(updates.items()),
            outputs=outputs,
            dtype="i32" if bits <= 30 else "i64",
        )
        program.types()
        return Fixed(program, self.params)

    # --- Parts -----------------------------------------------------------------------------------

    def let(self, op: str, *args: Operand, name: str = "") -> str:
        target = name or self.fresh(f"q{len(self.body)}")
        self.body.append(Let(target, op, args))
        return target

    def fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def param(self, name: str, value: Array) -> str:
        """Return a parameter of whole numbers."""
        self.params.setdefault(name, np.asarray(value, np.int64))
        return name

    def input(self, name: str, shift: int, bias: Array | None) -> str:
        now = self.let("mul", name, float(2**shift)) if shift else name
        if bias is not None and np.any(bias):
            name = self.fresh(BIAS)
            self.signals.add(name)
            now = self.let("add", now, self.param(name, bias))
        return now

    def start(self, state: State) -> State:
        initial = state.initial
        if isinstance(initial, str):
            return State(state.name, self.operand(initial))
        if self.kinds[state.name] == SIGNAL and initial:
            return State(state.name, self.signal(f"{state.name}_start", np.asarray(initial)))
        return State(state.name, initial)

    def stored(self, name: str, value: Operand) -> Operand:
        """Return a new state, saturated if it is a signal."""
        new = self.value(value)
        if self.kinds[name] != SIGNAL or not isinstance(new, str):
            return new
        top = self.let("min", new, float(self.form.largest))
        held = self.let("max", top, float(-self.form.largest - 1))
        for old, current in list(self.names.items()):
            if current == new:  # what is given out is what is kept
                self.names[old] = held
        return held

    def value(self, value: Operand) -> Operand:
        return self.operand(value) if isinstance(value, str) else value

    def signal(self, name: str, value: Array) -> str:
        low, high = -self.form.largest - 1, self.form.largest
        self.signals.add(name)
        return self.param(name, np.clip(np.rint(value / self.unit), low, high))

    def operand(self, arg: Operand, like: str = NUMBER) -> Operand:
        """Return an operand in the integer program; literals are of the kind they meet."""
        if not isinstance(arg, str):
            if like == SIGNAL and arg:
                return self.signal(self.fresh("constant"), np.asarray(arg))
            return float(arg)
        if arg in self.given and arg not in self.names:
            value = self.given[arg]
            if self.kinds.get(arg) == SIGNAL:
                self.names[arg] = self.signal(arg, value)
            elif np.all(value == np.rint(value)):
                self.names[arg] = self.param(arg, value)
            else:
                raise NoFixedPoint(f"the factor '{arg}' is used where a number is needed")
        return self.names.get(arg, arg)

    def visit(self, let: Let) -> None:
        kinds = [self.kinds.get(a, "") if isinstance(a, str) else "" for a in let.args]
        like = SIGNAL if SIGNAL in kinds else NUMBER
        if let.op == "mul" and like == SIGNAL:
            self.names[let.target] = self.product(let, kinds)
        elif let.op == "div":
            self.quotient(let, kinds)
        elif let.op in ("trunc", "floor"):
            self.names[let.target] = self.count(let)
        else:
            args = [self.operand(arg, like) for arg in let.args]
            self.names[let.target] = self.let(let.op, *args, name=let.target)

    def product(self, let: Let, kinds: list[str]) -> Operand:
        index = kinds.index(SIGNAL)
        signal, other = let.args[index], let.args[1 - index]
        if not isinstance(other, str):
            return self.scaled(self.operand(signal), f"{let.target}_factor", np.asarray(other))
        if self.kinds.get(other) == FACTOR:
            return self.scaled(self.operand(signal), other, self.given[other])
        if self.kinds.get(other) == NUMBER:
            return self.let("mul", self.operand(signal), self.operand(other), name=let.target)
        raise NoFixedPoint(f"the product '{let.target}' of two signals has no fixed-point form")

    def scaled(self, signal: Operand, name: str, factor: Array) -> Operand:
        """Return a signal times a factor."""
        if np.all(factor == 1.0):
            return signal
        bits = self.bits(factor)
        if self.form.shifts:
            return self.shifted(signal, name, factor, bits)
        multiplier = self.param(f"{name}_{bits}", np.rint(factor * 2.0**bits))
        return self.rounded(self.let("mul", signal, multiplier), bits)

    def bits(self, factor: Array) -> int:
        """Return the bits after the point with which a factor has `factor_bits` in all."""
        largest = float(np.abs(factor).max(initial=0.0))
        above = int(np.ceil(np.log2(largest))) if largest > 1.0 else 0
        return max(0, self.form.factor_bits - above)

    def shifted(self, signal: Operand, name: str, factor: Array, bits: int) -> Operand:
        """Return a signal times 2**-s, or times 1 - 2**-s, whichever comes closer."""
        rest = 1.0 - factor
        near_one = bool(np.all((factor > 0.5) & (rest > 0)))
        part = rest if near_one else factor
        if np.any(part <= 0):
            raise NoFixedPoint(f"the factor '{name}' is no sum of 1 and a power of two")
        power = np.clip(np.rint(np.log2(part)), -bits, 0)
        moved = self.rounded(
            self.let("mul", signal, self.param(f"{name}_{bits}", 2.0 ** (power + bits))), bits
        )
        return self.let("sub", signal, moved) if near_one else moved

    def rounded(self, product: str, bits: int) -> Operand:
        if not bits:
            return product
        if self.form.rounding == "nearest":
            product = self.let("add", product, float(2 ** (bits - 1)))
        if self.form.rounding != "zero":
            return self.let("shr", product, float(bits))
        down = self.let("shr", self.let("neg", product), float(bits))
        below = self.let("lt", product, 0.0)
        return self.let(
            "select", below, self.let("neg", down), self.let("shr", product, float(bits))
        )

    def quotient(self, let: Let, kinds: list[str]) -> None:
        if kinds[0] == SIGNAL and kinds[1] == FACTOR:
            name = str(let.args[1])
            self.names[let.target] = self.scaled(
                self.operand(let.args[0]), f"{name}_inverse", 1.0 / self.given[name]
            )
        elif kinds == [SIGNAL, SIGNAL]:
            self.ratios[let.target] = (self.operand(let.args[0]), self.operand(let.args[1]))
        else:
            raise NoFixedPoint(f"the quotient '{let.target}' has no fixed-point form")

    def count(self, let: Let) -> Operand:
        """Return how often one signal fits into another; towards zero, as a count of spikes is."""
        if let.args[0] not in self.ratios:
            raise NoFixedPoint(f"'{let.op}' of what is no quotient of signals")
        above, below = self.ratios[str(let.args[0])]
        if isinstance(below, str) and below in self.params:
            self.params[below] = np.maximum(self.params[below], 1)
        if let.op == "floor":
            return self.let("floordiv", above, below, name=let.target)
        down = self.let("neg", self.let("floordiv", self.let("neg", above), below))
        negative = self.let("lt", above, 0.0)
        up = self.let("floordiv", above, below)
        return self.let("select", negative, down, up, name=let.target)
