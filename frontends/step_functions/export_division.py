"""Quotients and remainders of ATen, rounded as torch rounds them."""

from __future__ import annotations

from typing import Any

from snnir.frontends.step_functions.export_elementwise import typed_as
from snnir.frontends.step_functions.export_lowering import Lowering, rule
from snnir.frontends.step_functions.export_values import Stream, Value, dtype_of


@rule("div", "true_divide")
def _div(
    low: Lowering, example: Any, a: Value, b: Value, rounding_mode: str | None = None, **_: Any
) -> Value:
    if rounding_mode == "floor" and dtype_of(example) == "float":
        return _floored(low, a, b)
    quotient = low.op("div", a, b)
    if rounding_mode is not None:
        quotient = low.op(rounding_mode, quotient)
    return typed_as(low, quotient, example)


@rule("floor_divide")
def _floor_divide(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    return _div(low, example, a, b, "floor")


@rule("remainder", "fmod")
def _remainder(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    rest = _rest(low, a, b)
    if "remainder" in low.what:
        rest = low.op("select", _opposite(low, rest, b), low.op("add", rest, b), rest)
    return typed_as(low, rest, example)


def _rest(low: Lowering, a: Value, b: Value) -> Stream:
    """Return a - n b for n = a / b without its fraction, exactly, as C's fmod.

    a / b may round up to the next whole number: then a - n b has another sign than a, and is too
    small by one b.
    """
    low.notes[f"{low.where}: equals torch's while the quotient is below 2^24"] = None
    rest = low.fused(low.op("neg", low.op("trunc", low.op("div", a, b))), b, a)
    size = low.op("abs", b)
    step = low.op("select", low.op("lt", a, 0.0), low.op("neg", size), size)
    return low.op("select", _opposite(low, rest, step), low.op("add", rest, step), rest)


def _opposite(low: Lowering, a: Value, b: Value) -> Stream:
    """Return whether one is above and the other below 0."""
    one = low.op("and", low.op("lt", a, 0.0), low.op("gt", b, 0.0))
    return low.op("or", one, low.op("and", low.op("gt", a, 0.0), low.op("lt", b, 0.0)))


def _floored(low: Lowering, a: Value, b: Value) -> Value:
    """Return a / b rounded down by its remainder, as torch does."""
    rest = _rest(low, a, b)
    quotient = low.op("div", low.op("sub", a, rest), b)
    less = low.op("sub", quotient, 1.0)
    quotient = low.op("select", _opposite(low, rest, b), less, quotient)
    below = low.op("floor", quotient)
    is_near = low.op("gt", low.op("sub", quotient, below), 0.5)
    return low.op("select", is_near, low.op("add", below, 1.0), below)
