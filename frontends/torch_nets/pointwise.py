"""Elementwise operations as step programs without states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snnir.dynamics.program import Dynamics
from snnir.dynamics.trace import Builder, Symbol
from snnir.ir.neuron import Step
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor

#: Operations whose result is a truth value.
TRUTHS = ("gt", "ge", "lt", "le", "not")


def elementwise(op: str, operands: Sequence[str | float | None]) -> Dynamics:
    """Return the program of one operation.

    Args:
        op: Key of `SCALAR_OPS`, or `relu`, `clamp`, `where`, `not`.
        operands: `input` or `param` for tensors, numbers, or None for an absent bound.
    """
    builder = Builder()
    inputs: list[str] = []
    params: list[str] = []
    symbols: list[Any] = []
    for item in operands:
        if isinstance(item, str):
            group = inputs if item == "input" else params
            group.append(f"{'x' if item == 'input' else 'p'}{len(group)}")
            symbols.append(builder.symbol(group[-1]))
        else:
            symbols.append(item)
    result = _apply(builder, op, symbols)
    kind = Kind.ANALOG
    if op in TRUTHS:
        result, kind = builder.apply("cast", result), Kind.SPIKES
    return Dynamics(
        name=op,
        inputs=tuple(inputs),
        params=tuple((name, "1") for name in params),
        states=(),
        body=tuple(builder.body),
        updates=(),
        outputs=((result.name, kind),),
    )


def _apply(builder: Builder, op: str, given: Sequence[Any]) -> Symbol:
    if op == "relu":
        return builder.apply("max", given[0], 0.0)
    if op == "not":
        return builder.apply("eq", given[0], 0.0)
    if op == "where":
        return builder.apply("select", builder.apply("gt", given[0], 0.0), given[1], given[2])
    if op == "clamp":
        value, low, high = given
        value = value if low is None else builder.apply("max", value, low)
        return value if high is None else builder.apply("min", value, high)
    return builder.apply(op, *given)


def pointwise_op(op: str, operands: Sequence[str | float | None], params: Sequence[Tensor]) -> Step:
    """Return the op of one elementwise operation; `params` are its constant tensors in order."""
    program = elementwise(op, operands)
    names = [name for name, _ in program.params]
    return Step(program, FrozenDict(dict(zip(names, params, strict=True))))


def relu_op() -> Step:
    """Return y = max(x, 0)."""
    return pointwise_op("relu", ["input"], [])
