"""What JAX's elementwise primitives mean.

Where JAX has one primitive and a graph several operations, the sequence here gives the same bits,
unless a note says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.frontends.step_functions.jax_lower import Known, Lowering, Refused, Stream, Value, rule

_SAME = {
    "add": "add", "add_any": "add", "sub": "sub", "mul": "mul", "max": "max", "min": "min",
    "neg": "neg", "abs": "abs", "floor": "floor", "sqrt": "sqrt",
}  # fmt: skip
_LIBRARY = {"exp": "exp", "log": "log", "tanh": "tanh"}
_COMPARE = {"gt": "gt", "ge": "ge", "lt": "lt", "le": "le"}


def _shape(outs: Sequence[Any]) -> tuple[int, ...]:
    return tuple(outs[0].shape)


def _same(name: str) -> Any:
    op = _SAME[name]

    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
        element = str(outs[0].dtype)
        if "int" in element and element != "int32":
            raise Refused("SNN807", f"computes with {element}", "compute in int32 or float32")
        given = [low.full(numeric(low, v), _shape(outs)) for v in values]
        dtype = "int" if all(v.dtype == "int" for v in given) else "float"
        return low.emit(op, *given, shape=_shape(outs), dtype=dtype)

    return apply


for _name in _SAME:
    rule(_name)(_same(_name))


def _library(name: str) -> Any:
    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
        if params.get("accuracy") is not None:
            raise Refused("SNN803", "asks for an accuracy")
        low.note(f"{name} is the library's of each platform: last bits differ from XLA's")
        return low.emit(_LIBRARY[name], *values)

    return apply


for _name in _LIBRARY:
    rule(_name)(_library(_name))


def _compare(name: str) -> Any:
    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
        given = [low.full(numeric(low, v), _shape(outs)) for v in values]
        return low.emit(_COMPARE[name], *given, shape=_shape(outs), dtype="bool")

    return apply


for _name in _COMPARE:
    rule(_name)(_compare(_name))


def numeric(low: Lowering, value: Value) -> Value:
    """Return a truth value as 0 or 1; numbers as they are."""
    if value.dtype != "bool":
        return value
    if isinstance(value, Known):
        return Known(value.array.astype(np.float32), value.label)
    return low.emit("cast", value)


@rule("div")
def _div(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    if all(value.dtype == "int" for value in values):
        raise Refused("SNN803", "divides whole numbers", "divide as float32 and use jnp.floor")
    return low.emit("div", *(low.full(v, _shape(outs)) for v in values), shape=_shape(outs))


@rule("square")
def _square(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    return low.emit("mul", values[0], values[0], dtype=values[0].dtype)


@rule("integer_pow")
def _integer_pow(
    low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]
) -> Value:  # fmt: skip
    """Square and multiply, in the order in which JAX does."""
    power, base = abs(params["y"]), values[0]
    total: Value | None = None
    while power:
        if power & 1:
            total = base if total is None else low.emit("mul", total, base, dtype=base.dtype)
        power >>= 1
        if power:
            base = low.emit("mul", base, base, dtype=base.dtype)
    if total is None:
        return Known(np.ones(_shape(outs), np.float32))
    return low.emit("div", 1.0, total) if params["y"] < 0 else total


@rule("pow")
def _pow(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    low.note("pow is the library's of each platform: last bits differ from XLA's")
    return low.emit("pow", *(low.full(v, _shape(outs)) for v in values), shape=_shape(outs))


@rule("rsqrt")
def _rsqrt(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    low.note("rsqrt(x) is 1 / sqrt(x), which rounds twice")
    return low.emit("div", 1.0, low.emit("sqrt", values[0]))


@rule("logistic")
def _logistic(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    low.note("logistic(x) is 1 / (1 + exp(-x)): last bits differ from XLA's")
    decayed = low.emit("exp", low.emit("neg", values[0]))
    return low.emit("div", 1.0, low.emit("add", 1.0, decayed))


@rule("ceil")
def _ceil(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    return low.emit("neg", low.emit("floor", low.emit("neg", values[0])))


@rule("round")
def _round(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    if "EVEN" not in str(params["rounding_method"]):
        raise Refused("SNN803", "rounds halves away from zero", "use jnp.round")
    return low.emit("round", values[0])


@rule("sign")
def _sign(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    x = values[0]
    below = low.emit("lt", x, 0.0, dtype="bool")
    above = low.emit("gt", x, 0.0, dtype="bool")
    rest = low.emit("select", below, -1.0, x, shape=x.shape, dtype=x.dtype)
    return low.emit("select", above, 1.0, rest, shape=x.shape, dtype=x.dtype)


@rule("clamp")
def _clamp(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    least, x, most = (low.full(numeric(low, v), _shape(outs)) for v in values)
    dtype = x.dtype
    raised = low.emit("max", x, least, shape=_shape(outs), dtype=dtype)
    return low.emit("min", raised, most, shape=_shape(outs), dtype=dtype)


def _equality(negated: bool) -> Any:
    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
        given = [low.full(numeric(low, v), _shape(outs)) for v in values]
        same = low.emit("eq", *given, shape=_shape(outs), dtype="bool")
        return low.emit("not", same, dtype="bool") if negated else same

    return apply


rule("eq")(_equality(negated=False))
rule("ne")(_equality(negated=True))


@rule("not")
def _not(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    _want_bool(values)
    return low.emit("not", values[0], dtype="bool")


def _logic(op: str) -> Any:
    def apply(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
        _want_bool(values)
        return logic(low, op, *(low.full(v, _shape(outs)) for v in values))

    return apply


for _name in ("and", "or"):
    rule(_name)(_logic(_name))


def logic(low: Lowering, op: str, a: Value, b: Value) -> Value:
    """Return `a and b` or `a or b`; a constant one is simplified away."""
    if isinstance(a, Known):
        a, b = b, a
    if isinstance(b, Known):
        if b.is_uniform:
            decides = bool(b.array.reshape(-1)[0]) == (op == "or")
            return b if decides else a
        b = _mask(low, b, a.shape)
    return low.emit(op, a, b, dtype="bool")


def _mask(low: Lowering, mask: Known, shape: tuple[int, ...]) -> Stream:
    """Return a constant array of truth values as a comparison of numbers."""
    numbers = Known(mask.array.astype(np.float32), mask.label)
    return low.emit("gt", numbers, 0.0, shape=shape, dtype="bool")


@rule("xor")
def _xor(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Stream:
    _want_bool(values)
    given = [low.full(numeric(low, v), _shape(outs)) for v in values]
    same = low.emit("eq", *given, shape=_shape(outs), dtype="bool")
    return low.emit("not", same, dtype="bool")


def _want_bool(values: Sequence[Value]) -> None:
    if any(value.dtype != "bool" for value in values):
        raise Refused("SNN803", "works on the bits of whole numbers")


@rule("select_n")
def _select(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    which, *cases = values
    if which.dtype == "bool":
        return select(low, which, cases[1], cases[0], _shape(outs))
    result = cases[0]
    for index, case in enumerate(cases[1:], start=1):
        hit = low.emit("eq", low.full(which, _shape(outs)), float(index), dtype="bool")
        result = select(low, hit, case, result, _shape(outs))
    return result


def select(low: Lowering, which: Value, yes: Value, no: Value, shape: tuple[int, ...]) -> Value:
    """Return `yes` where `which` holds and `no` elsewhere, numbers or truth values."""
    if isinstance(which, Known):
        if which.is_uniform:
            return yes if which.array.reshape(-1)[0] else no
        which = _mask(low, which, shape)
    which = low.full(which, shape)
    if yes.dtype == "bool":
        opposite = low.emit("not", which, dtype="bool")
        first, second = logic(low, "and", which, yes), logic(low, "and", opposite, no)
        return logic(low, "or", first, second)
    given = [low.full(value, shape) for value in (yes, no)]
    dtype = "int" if all(value.dtype == "int" for value in given) else "float"
    return low.emit("select", which, *given, shape=shape, dtype=dtype)


@rule("convert_element_type")
def _convert(low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]) -> Value:
    from snnir.frontends.step_functions.jax_lower import dtype_of

    x = values[0]
    assert isinstance(x, Stream)
    wanted = dtype_of(outs[0].dtype)
    if wanted == "bool" == x.dtype:
        return x
    if wanted == "bool":
        return low.emit("not", low.emit("eq", x, 0.0, dtype="bool"), dtype="bool")
    if wanted == "int" and x.dtype != "bool" and str(outs[0].dtype) != "int32":
        raise Refused("SNN807", f"makes {outs[0].dtype}, which wraps around", "use int32")
    if x.dtype == "bool":
        return low.emit("cast", x, dtype=wanted)
    if wanted == x.dtype:
        return x
    if wanted == "int":
        return low.emit("trunc", x, dtype="int")
    return Stream(x.name, x.shape, "float")


@rule("copy", "copy_p", "name", "device_put", "sharding_constraint", "optimization_barrier")
def _identity(
    low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]
) -> list[Value]:
    return list(values)


@rule("reduce_precision")
def _reduce_precision(
    low: Lowering, values: Sequence[Value], params: Any, outs: Sequence[Any]
) -> Value:
    if (params["exponent_bits"], params["mantissa_bits"]) != (8, 23):
        raise Refused("SNN803", "rounds to fewer bits than float32 has")
    return values[0]
