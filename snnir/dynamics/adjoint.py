"""Gradients of step programs: reverse-mode differentiation of one step, as a program.

The derivative of a step is a step program itself, so every target prints it as it prints the step.
It recomputes the forward values from the inputs, the states before the step and the parameters, so
these are all that a scan has to keep.

Where a function is not smooth:

- a comparison cast to a number (a spike) has the derivative of the surrogate at the difference of
  its sides; combined comparisons follow the product rule;
- the number of spikes, trunc(h / threshold), has the surrogate at the nearest multiple of the
  threshold, at least one;
- other floor, trunc and round count as the identity (straight through);
- in integers (lowered to float64) the difference is taken relative to its right side, the
  threshold, so that surrogates do not depend on the unit;
- a select passes gradients to the chosen side, and to its condition only where that says
  "a spike was there" (spike > 0), as resets do;
- lasting states and sums over the samples of a batch count as constants: what a network learns by
  its own rules is not learned by gradients;
- with `detach`, a spike passes gradients to nothing but the output it becomes: resets and what
  else the states take from it count as constants, as with `detach_reset` in SpikingJelly and the
  resets of snnTorch; `late` does so only for spikes found in the states before the step, as
  snnTorch does with `reset_delay=False`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from snnir.dynamics.program import Dynamics, Let, Operand, only
from snnir.dynamics.surrogate import Surrogate
from snnir.dynamics.trace import Builder, Number, Symbol
from snnir.dynamics.whole import Lowered
from snnir.streams import Kind

#: Operations through which a spike stays a spike on its way to an output.
_SHAPING = {"cast", "select", "min", "max", "mul"}


@dataclass(frozen=True)
class Adjoint:
    """The gradient of one step.

    Attributes:
        program: Its inputs are those of the step, its states before the step, and the gradients
            given by `outputs` and `updates`; its parameters are the step's; it has no states.
        outputs: Name of the given gradient of each output, in order.
        updates: Name of the given gradient of each new state, by state.
        inputs: Gradient of each input: a name in the program, or the literal 0.
        states: Gradient of each state before the step.
        params: Gradient of each parameter from this step.
    """

    program: Dynamics
    outputs: tuple[str, ...]
    updates: Mapping[str, str]
    inputs: Mapping[str, Operand]
    states: Mapping[str, Operand]
    params: Mapping[str, Operand]


@lru_cache(maxsize=1024)
def adjoint(program: Dynamics, surrogate: Surrogate, detach: bool | str = True) -> Adjoint:
    """Return the gradient of a step.

    Args:
        program: The step.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants: True, False, or `late`.
    """
    return _Differentiator(program, surrogate, detach).run()


class _Differentiator:
    """Writes the gradient of one program."""

    def __init__(self, program: Dynamics, surrogate: Surrogate, detach: bool | str) -> None:
        self.program, self.surrogate, self.detach = program, surrogate, detach
        self.lets = {let.target: let for let in program.body}
        self.chain, self.fired = _spikes(program)
        self.constant = set(self.fired) if detach else set()
        if detach == "late":
            self.constant = {name for name in self.fired if self.is_late(name)}
        self.builder = Builder()
        names = [*program.inputs, *(p for p, _ in program.params)]
        names += [state.name for state in program.states]
        self.env: dict[str, Symbol] = {name: self.builder.symbol(name) for name in names}
        for let in program.body:  # so that nothing made below takes one of their names
            self.builder.symbol(let.target)
        self.grads: dict[str, Symbol] = {}

    def run(self) -> Adjoint:
        program = self.program
        for let in program.body:
            self.builder.body.append(let)
            self.env[let.target] = Symbol(self.builder, let.target, "float")
        outputs = [self.given(f"g_out{index}") for index in range(len(program.outputs))]
        updates = {name: self.given(f"g_{name}") for name, _ in program.updates}
        for (name, _), given in zip(program.outputs, outputs, strict=True):
            self.give(name, given)
        for name, value in program.updates:
            learned = name in program.lasting
            if isinstance(value, str) and value not in self.constant and not learned:
                self.give(value, updates[name])
        for let in reversed(program.body):
            if let.target in self.grads:
                self.differentiate(let, self.grads[let.target])
        return self.finish([g.name for g in outputs], {k: g.name for k, g in updates.items()})

    def given(self, stem: str) -> Symbol:
        return self.builder.symbol(self.builder.fresh(stem))

    def give(self, name: Operand, amount: Number, user: str | None = None) -> None:
        """Add to the gradient of a value; what a detached spike gets from states is dropped."""
        if not isinstance(name, str):
            return
        if user is not None and name in self.constant and user not in self.chain:
            return
        if name in self.program.lasting:
            return
        before = self.grads.get(name)
        self.grads[name] = self.as_symbol(amount if before is None else before + amount)

    def as_symbol(self, value: Number) -> Symbol:
        return value if isinstance(value, Symbol) else self.builder.apply("add", value, 0.0)

    def value(self, arg: Operand) -> Number:
        return self.env[arg] if isinstance(arg, str) else arg

    def differentiate(self, let: Let, g: Symbol) -> None:
        if let.op == "batch_sum":
            return  # a constant
        if let.op == "cast":
            self.condition(str(let.args[0]), g, let.target)
        elif let.op == "select":
            self.select(let, g)
        elif let.op in ("floor", "trunc", "round"):
            self.give(let.args[0], self.stepped(let, g), let.target)
        else:
            args = [self.value(arg) for arg in let.args]
            gradients = _RULES[let.op](self, g, self.env[let.target], *args)
            for arg, amount in zip(let.args, gradients, strict=True):
                if isinstance(arg, str):
                    self.give(arg, amount(), let.target)

    def stepped(self, let: Let, g: Symbol) -> Symbol:
        """Return the gradient of a rounding: of a count of spikes, else straight through."""
        if let.target not in self.fired:
            return g
        u = self.env[str(let.args[0])]
        nearest = self.builder.apply("max", self.builder.apply("round", u), 1.0)
        return g * self.surrogate(u - nearest)

    def select(self, let: Let, g: Symbol) -> None:
        name, yes, no = let.args
        test = Symbol(self.builder, str(name), "bool")
        if isinstance(yes, str):
            self.give(yes, self.builder.apply("select", test, g, 0.0), let.target)
        if isinstance(no, str):
            self.give(no, self.builder.apply("select", test, 0.0, g), let.target)
        condition = self.lets[str(name)]
        if self.is_presence(condition) and condition.args[0] not in self.constant:
            self.give(condition.args[0], g * _minus(self.value(yes), self.value(no)), let.target)

    def is_late(self, name: str) -> bool:
        """Return whether a spike is one of the last step: a comparison of a stored state."""
        let = self.lets[name]
        stored = {state.name for state in self.program.states}
        return let.op == "cast" and any(arg in stored for arg in self.lets[str(let.args[0])].args)

    def is_presence(self, let: Let) -> bool:
        """Return whether a comparison asks if there was a spike."""
        return let.op == "gt" and let.args[0] in self.fired and let.args[1] == 0.0

    def condition(self, name: str, g: Symbol, user: str) -> None:
        """Spread the gradient of a boolean value that was cast to a number."""
        let = self.lets[name]
        if let.op in ("gt", "ge", "lt", "le"):
            self.comparison(let, g, user)
        elif let.op == "not":
            self.condition(str(let.args[0]), -g, user)
        elif let.op in ("and", "or"):
            for one, other in (let.args, let.args[::-1]):
                weight = self.builder.apply("cast", Symbol(self.builder, str(other), "bool"))
                self.condition(str(one), g * (weight if let.op == "and" else 1.0 - weight), user)

    def comparison(self, let: Let, g: Symbol, user: str) -> None:
        if self.is_presence(let):
            self.give(let.args[0], g, user)
            return
        left, right = let.args if let.op in ("gt", "ge") else let.args[::-1]
        distance = self.as_symbol(_minus(self.value(left), self.value(right)))
        if isinstance(self.program, Lowered) and isinstance(right, str):
            # Integers: thresholds stand for 1, the size that surrogates are made for.
            size = self.builder.apply("max", self.builder.apply("abs", self.value(right)), 1.0)
            slope = g * self.surrogate(distance / size) / size
        else:
            slope = g * self.surrogate(distance)
        self.give(left, slope, user)
        if isinstance(right, str):
            self.give(right, -slope, user)

    def finish(self, outputs: list[str], updates: dict[str, str]) -> Adjoint:
        program = self.program
        found: dict[str, Operand] = {name: g.name for name, g in self.grads.items()}
        states = [state.name for state in program.states]
        params = [name for name, _ in program.params]
        wanted = [found.get(name, 0.0) for name in (*program.inputs, *states, *params)]
        results = list(dict.fromkeys(name for name in wanted if isinstance(name, str)))
        whole = Dynamics(
            name=f"{program.name}_gradient",
            inputs=(*program.inputs, *states, *outputs, *updates.values()),
            params=program.params,
            states=(),
            body=tuple(self.builder.body),
            updates=(),
            outputs=tuple((name, Kind.ANALOG) for name in results),
            dtype=program.dtype,
        )
        return Adjoint(
            only(whole, results),
            tuple(outputs),
            updates,
            {name: found.get(name, 0.0) for name in program.inputs},
            {name: found.get(name, 0.0) for name in states},
            {name: found.get(name, 0.0) for name in params},
        )


def _spikes(program: Dynamics) -> tuple[set[str], set[str]]:
    """Return what lies on the way from spikes to outputs, and all values that are spikes."""
    stored = {value for _, value in program.updates}
    lets = {let.target: let for let in program.body}
    spiking = {name for name, kind in program.outputs if kind is not Kind.ANALOG}
    chain: set[str] = set()
    waiting = [name for name, _ in program.outputs if name in spiking or name not in stored]
    while waiting:
        name = waiting.pop()
        let = lets.get(name)
        if let is None or name in chain:
            continue
        if let.op in _SHAPING or (let.op == "trunc" and name not in stored):
            chain.add(name)
            if let.op not in ("cast", "trunc"):
                waiting += [arg for arg in let.args if isinstance(arg, str)]
    fired: set[str] = set()
    for let in program.body:
        counted = let.op == "trunc" and let.target in chain
        carried = let.target in chain and any(arg in fired for arg in let.args)
        if let.op == "cast" or counted or carried:
            fired.add(let.target)
    return chain, fired


def _minus(a: Number, b: Number) -> Number:
    """Return a - b of numbers, symbols or both."""
    return a - b


# --- Rules ---------------------------------------------------------------------------------------

#: One thunk per operand, so that nothing is recorded for literals.
Gradients = list[Callable[[], Number]]
_Rule = Callable[..., Gradients]


def _max(d: _Differentiator, g: Symbol, _: Symbol, a: Number, b: Number) -> Gradients:
    # At equality a clamp passes its value on; max(a, 0) counts as a rectifier, which does not.
    left = d.builder.apply("gt" if b == 0.0 else "ge", a, b)
    return _chosen(d, left, g)


def _min(d: _Differentiator, g: Symbol, _: Symbol, a: Number, b: Number) -> Gradients:
    return _chosen(d, d.builder.apply("le", a, b), g)


def _chosen(d: _Differentiator, left: Symbol, g: Symbol) -> Gradients:
    return [
        lambda: d.builder.apply("select", left, g, 0.0),
        lambda: d.builder.apply("select", left, 0.0, g),
    ]


def _abs(d: _Differentiator, g: Symbol, _: Symbol, a: Number) -> Gradients:
    apply = d.builder.apply
    below = apply("select", apply("lt", a, 0.0), -g, 0.0)
    return [lambda: apply("select", apply("gt", a, 0.0), g, below)]


def _pow(d: _Differentiator, g: Symbol, y: Symbol, a: Number, b: Number) -> Gradients:
    apply = d.builder.apply
    return [
        lambda: g * (b * apply("pow", a, _minus(b, 1.0))),
        lambda: g * (y * apply("log", a)),
    ]


#: (differentiator, gradient, result, *operands) to the gradient of each operand, when asked for.
_RULES: dict[str, _Rule] = {
    "add": lambda d, g, y, a, b: [lambda: g, lambda: g],
    "sub": lambda d, g, y, a, b: [lambda: g, lambda: -g],
    "mul": lambda d, g, y, a, b: [lambda: g * b, lambda: g * a],
    "div": lambda d, g, y, a, b: [lambda: g / b, lambda: -(g * y) / b],
    "fma": lambda d, g, y, a, b, c: [lambda: g * b, lambda: g * a, lambda: g],
    "neg": lambda d, g, y, a: [lambda: -g],
    "exp": lambda d, g, y, a: [lambda: g * y],
    "log": lambda d, g, y, a: [lambda: g / a],
    "tanh": lambda d, g, y, a: [lambda: g * (1.0 - y * y)],
    "sqrt": lambda d, g, y, a: [lambda: g * 0.5 / y],
    "abs": _abs,
    "pow": _pow,
    "max": _max,
    "min": _min,
}
