"""Writing dynamics as plain Python: a function is run once on symbols and recorded.

@dynamics(params={"beta": "1", "threshold": "V"}, states={"v": 0.0})
def leaky(x, v, beta, threshold):
    v = beta * v + x
    spike = v > threshold
    return {"v": v - spike * threshold}, spike
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.errors import error
from snnir.streams import Kind

Number = Union["Symbol", float, int, bool]


class Builder:
    """Records operations in the order they are made."""

    def __init__(self) -> None:
        self.body: list[Let] = []
        self._names: set[str] = set()

    def symbol(self, name: str) -> Symbol:
        """Return the symbol of an input, parameter or state."""
        self._names.add(name)
        return Symbol(self, name, "float")

    def apply(self, op: str, *args: Number, name: str | None = None) -> Symbol:
        """Record one operation; a boolean operand of arithmetic is cast to 0 or 1."""
        spec = SCALAR_OPS[op]
        operands: list[Operand] = []
        for index, arg in enumerate(args):
            wanted = "bool" if op == "select" and index == 0 else spec.takes
            operands.append(self._operand(arg, wanted))
        target = self.fresh(name or f"t{len(self.body)}")
        self.body.append(Let(target, op, tuple(operands)))
        return Symbol(self, target, spec.gives)

    def _operand(self, arg: Number, wanted: str) -> Operand:
        if not isinstance(arg, Symbol):
            return float(arg)
        if arg.kind == "bool" and wanted == "float":
            arg = self.apply("cast", arg)
        return arg.name

    def fresh(self, stem: str) -> str:
        """Reserve and return a name that is not taken, the stem if possible."""
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}{number}"
        self._names.add(name)
        return name


class Symbol:
    """A scalar under recording; Python's operators record."""

    def __init__(self, builder: Builder, name: str, kind: str) -> None:
        self.builder, self.name, self.kind = builder, name, kind

    def _binary(self, op: str, other: Number) -> Symbol:
        return self.builder.apply(op, self, other)

    def _reverse(self, op: str, other: Number) -> Symbol:
        return self.builder.apply(op, other, self)

    def __add__(self, other: Number) -> Symbol:
        return self._binary("add", other)

    def __radd__(self, other: Number) -> Symbol:
        return self._reverse("add", other)

    def __sub__(self, other: Number) -> Symbol:
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> Symbol:
        return self._reverse("sub", other)

    def __mul__(self, other: Number) -> Symbol:
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> Symbol:
        return self._reverse("mul", other)

    def __truediv__(self, other: Number) -> Symbol:
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> Symbol:
        return self._reverse("div", other)

    def __pow__(self, other: Number) -> Symbol:
        return self._binary("pow", other)

    def __neg__(self) -> Symbol:
        return self.builder.apply("neg", self)

    def __abs__(self) -> Symbol:
        return self.builder.apply("abs", self)

    def __gt__(self, other: Number) -> Symbol:
        return self._binary("gt", other)

    def __ge__(self, other: Number) -> Symbol:
        return self._binary("ge", other)

    def __lt__(self, other: Number) -> Symbol:
        return self._binary("lt", other)

    def __le__(self, other: Number) -> Symbol:
        return self._binary("le", other)

    def __and__(self, other: Number) -> Symbol:
        return self._binary("and", other)

    def __or__(self, other: Number) -> Symbol:
        return self._binary("or", other)

    def __invert__(self) -> Symbol:
        return self.builder.apply("not", self)

    def __bool__(self) -> bool:
        raise error(
            "SNN201",
            f"the dynamics branch on '{self.name}' with Python's if",
            hint="use snnir.dynamics.select(condition, yes, no)",
        )


def dynamics(
    params: Mapping[str, str],
    states: Mapping[str, Operand],
    outputs: Sequence[Kind] = (Kind.SPIKES,),
    name: str | None = None,
    lasting: Mapping[str, Operand] | None = None,
) -> Callable[[Callable[..., Any]], Dynamics]:
    """Decorator: trace a step function into a `Dynamics`.

    Args:
        params: Unit of each parameter.
        states: Initial value of each state, a number or a parameter's name.
        outputs: Kind of each result.
        name: Name of the model; the function's by default.
        lasting: The same of states that all samples share and that outlive a run.

    The function takes inputs, states and parameters by name (anything that is neither a state
    nor a parameter is an input) and returns `(new states, result)` or `(new states, (results))`;
    with no outputs, only the new states.

    Raises:
        SnnirError: SNN201 if the function branches in Python, or its program is not well formed.
    """
    shared = dict(lasting or {})

    def trace(function: Callable[..., Any]) -> Dynamics:
        builder = Builder()
        names = list(inspect.signature(function).parameters)
        symbols = {name: builder.symbol(name) for name in names}
        updates, results = function(**symbols) if outputs else (function(**symbols), ())
        if not isinstance(results, tuple):
            results = (results,)
        program = Dynamics(
            name=name or function.__name__,
            inputs=tuple(n for n in names if n not in {*params, *states, *shared}),
            params=tuple(params.items()),
            states=(
                *(State(state, initial) for state, initial in states.items()),
                *(State(state, initial, lasting=True) for state, initial in shared.items()),
            ),
            updates=tuple((state, builder._operand(v, "float")) for state, v in updates.items()),
            outputs=tuple(
                (str(builder._operand(result, "float")), kind)
                for result, kind in zip(results, outputs, strict=True)
            ),
            body=tuple(builder.body),
        )
        program.types()
        return program

    return trace
