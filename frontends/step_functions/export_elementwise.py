"""Elementwise ATen operations in the vocabulary of traced steps, rounded as torch rounds them."""

from __future__ import annotations

from math import inf
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.frontends.step_functions.export_lowering import Lowering, rule
from snnir.frontends.step_functions.export_values import (
    Const,
    Refused,
    Stream,
    Value,
    dtype_of,
)

#: ATen's name and the vocabulary's, where they mean the same.
_SAME = {
    "mul": "mul", "multiply": "mul", "maximum": "max", "minimum": "min", "neg": "neg", "abs": "abs",
    "floor": "floor", "trunc": "trunc", "exp": "exp", "log": "log", "tanh": "tanh", "sqrt": "sqrt",
    "gt": "gt", "ge": "ge", "lt": "lt", "le": "le", "logical_and": "and", "logical_or": "or",
    "logical_not": "not", "bitwise_not": "not",
}  # fmt: skip
_ALIKE = ("clone", "alias", "detach", "contiguous", "lift_fresh_copy", "lift_fresh", "positive")


def typed_as(low: Lowering, result: Value, example: Any) -> Value:
    """Return a result as the type torch gives it."""
    wanted = dtype_of(example)
    if isinstance(result, Stream) and result.dtype == "float" and wanted == "int":
        return result.read_as("int")
    return result


def _same(op: str) -> Any:
    def lower(low: Lowering, example: Any, *args: Value, **_: Any) -> Value:
        if op == "mul" and dtype_of(example) == "bool":
            return low.op("and", *args)
        return typed_as(low, low.op(op, *args), example)

    return lower


for _aten, _op in _SAME.items():
    rule(_aten)(_same(_op))


@rule(*_ALIKE)
def _alike(low: Lowering, example: Any, x: Value, *_: Any, **__: Any) -> Value:
    return x


@rule("_to_copy", "to", "type_as")
def _to_copy(low: Lowering, example: Any, x: Stream, *_: Any, **__: Any) -> Value:
    wanted = dtype_of(example)
    if wanted == "bool":
        return low.typed(x, "bool")
    if x.dtype == "float" and wanted == "int":
        return low.op("trunc", x).read_as("int")
    value = low.typed(x, "float")
    assert isinstance(value, Stream)
    return value.read_as(wanted)


# --- Arithmetic ----------------------------------------------------------------------------------


def _sum(low: Lowering, example: Any, a: Value, b: Value, alpha: float) -> Value:
    """Return a + alpha * b; torch fuses the two unless alpha is 1 or -1."""
    if dtype_of(example) == "bool":
        return low.op("or", a, b)
    if alpha == 1:
        return typed_as(low, low.op("add", a, b), example)
    if alpha == -1:
        return typed_as(low, low.op("sub", a, b), example)
    return typed_as(low, low.fused(b, float(alpha), a), example)


@rule("add")
def _add(low: Lowering, example: Any, a: Value, b: Value, alpha: float = 1, **_: Any) -> Value:
    return _sum(low, example, a, b, alpha)


@rule("sub", "subtract")
def _sub(low: Lowering, example: Any, a: Value, b: Value, alpha: float = 1, **_: Any) -> Value:
    return _sum(low, example, a, b, -alpha)


@rule("rsub")
def _rsub(low: Lowering, example: Any, a: Value, b: Value, alpha: float = 1, **_: Any) -> Value:
    return _sum(low, example, b, a, -alpha)


@rule("addcmul")
def _addcmul(
    low: Lowering, example: Any, x: Value, a: Value, b: Value, value: float = 1, **_: Any
) -> Value:
    scaled = a if value == 1 else low.op("mul", a, float(value))
    return low.fused(scaled, b, x)


@rule("addcdiv")
def _addcdiv(
    low: Lowering, example: Any, x: Value, a: Value, b: Value, value: float = 1, **_: Any
) -> Value:
    scaled = a if value == 1 else low.op("mul", a, float(value))
    return low.op("add", x, low.op("div", scaled, b))


@rule("lerp")
def _lerp(low: Lowering, example: Any, start: Value, end: Value, weight: Value) -> Value:
    """Interpolate from the nearer end: start + w (end - start), or end - (1 - w) (end - start)."""
    apart = low.op("sub", end, start)
    if isinstance(weight, Stream):
        near = low.fused(weight, apart, start)
        far = low.fused(low.op("sub", weight, 1.0), apart, end)
        return low.op("select", low.op("lt", low.op("abs", weight), 0.5), near, far)
    fixed = weight.tensor if isinstance(weight, Const) else torch.tensor(float(weight))  # type: ignore[arg-type]
    near = low.fused(Const(fixed), apart, start)
    far = low.fused(Const(fixed - 1), apart, end)
    return _where(low, example, Const(fixed.abs() < 0.5), near, far)


@rule("pow")
def _pow(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    exponent = b if isinstance(b, (int, float)) else None
    if exponent == 2:
        return typed_as(low, low.op("mul", a, a), example)
    if exponent == 3:
        return typed_as(low, low.op("mul", low.op("mul", a, a), a), example)
    if exponent == 0.5:
        return low.op("sqrt", a)
    if exponent == -0.5:
        return low.op("div", 1.0, low.op("sqrt", a))
    if exponent == -1:
        return low.op("div", 1.0, a)
    if exponent == -2:
        return low.op("div", 1.0, low.op("mul", a, a))
    return typed_as(low, low.op("pow", a, b), example)


@rule("square")
def _square(low: Lowering, example: Any, x: Value) -> Value:
    return typed_as(low, low.op("mul", x, x), example)


@rule("reciprocal")
def _reciprocal(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("div", 1.0, x)


@rule("rsqrt")
def _rsqrt(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("div", 1.0, low.op("sqrt", x))


@rule("exp2")
def _exp2(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("pow", 2.0, x)


@rule("ceil")
def _ceil(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("neg", low.op("floor", low.op("neg", x)))


@rule("round")
def _round(low: Lowering, example: Any, x: Value, *, decimals: int = 0) -> Value:
    if decimals:
        raise Refused(f"rounds to {decimals} decimals", "scale, round, and scale back")
    return low.op("round", x)


@rule("frac")
def _frac(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("sub", x, low.op("trunc", x))


@rule("sign", "sgn")
def _sign(low: Lowering, example: Any, x: Value) -> Value:
    up = low.typed(low.op("gt", x, 0.0), "float")
    down = low.typed(low.op("lt", x, 0.0), "float")
    return typed_as(low, low.op("sub", up, down), example)


def _differs(low: Lowering, what: str) -> None:
    low.notes[f"{low.where}: {what} may differ from torch in the last bit"] = None


# --- Truth values --------------------------------------------------------------------------------


@rule("eq")
def _eq(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    return low.op("eq", a, b)


@rule("ne", "logical_xor", "bitwise_xor")
def _ne(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    if "bitwise" in low.what and dtype_of(example) != "bool":
        raise Refused("works on the bits of whole numbers")
    if "xor" in low.what:
        a, b = low.typed(a, "bool"), low.typed(b, "bool")
    return low.op("not", low.op("eq", a, b))


@rule("bitwise_and", "bitwise_or", "__and__", "__or__")
def _bitwise(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    if dtype_of(example) != "bool":
        raise Refused("works on the bits of whole numbers")
    return low.op("and" if "and" in low.what else "or", a, b)


@rule("isnan")
def _isnan(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("not", low.op("eq", x, x))


@rule("isinf")
def _isinf(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("eq", low.op("abs", x), inf)


@rule("where")
def _where(low: Lowering, example: Any, condition: Value, yes: Value, no: Value) -> Value:
    wanted = dtype_of(example)
    uniform = _uniform(condition)
    if uniform is not None:
        chosen = yes if uniform else no
        if isinstance(chosen, Stream) and chosen.shape == tuple(example.shape):
            value = low.typed(chosen, "bool" if wanted == "bool" else "float")
            assert isinstance(value, Stream)
            return value.read_as(wanted)
    if wanted == "bool":
        one = low.op("and", condition, yes)
        return low.op("or", one, low.op("and", low.op("not", condition), no))
    return typed_as(low, low.op("select", condition, yes, no), example)


def _uniform(condition: Value) -> bool | None:
    """Return the value of a condition that is the same everywhere."""
    if not isinstance(condition, Const):
        return None
    truth = condition.tensor.to(torch.bool)
    if bool(truth.all()):
        return True
    return None if bool(truth.any()) else False


@rule("masked_fill")
def _masked_fill(low: Lowering, example: Any, x: Value, mask: Value, value: Value) -> Value:
    return _where(low, example, mask, value, x)


@rule("index_put")
def _index_put(
    low: Lowering, example: Any, x: Stream, indices: Any, value: Value, accumulate: bool = False
) -> Value:
    """Take `x[mask] = value` for one mask of the shape of x."""
    mask = indices[0] if len(indices) == 1 else None
    is_mask = isinstance(mask, Stream) and mask.dtype == "bool" and mask.shape == x.shape
    if not is_mask or accumulate or not isinstance(value, Const) or value.tensor.numel() != 1:
        hint = "write torch.where(condition, value, x)"
        raise Refused("writes to places that depend on the data", hint)
    return _where(low, example, mask, value, x)


# --- Functions -----------------------------------------------------------------------------------


@rule("clamp", "clip", "hardtanh", "clamp_min", "clamp_max")
def _clamp(low: Lowering, example: Any, x: Value, *bounds: Value, **named: Value) -> Value:
    low_end, high_end = _bounds(low, list(bounds), named)
    if low_end is not None:
        x = low.op("max", x, low_end)
    if high_end is not None:
        x = low.op("min", x, high_end)
    return typed_as(low, x, example)


def _bounds(low: Lowering, given: list[Value], named: dict[str, Value]) -> tuple[Value, Value]:
    if "clamp_max" in low.what:
        return None, given[0] if given else named.get("max")
    default: list[Value] = [-1.0, 1.0] if "hardtanh" in low.what else [None, None]
    for at, names in enumerate((("min", "min_val"), ("max", "max_val"))):
        found = [named[name] for name in names if name in named]
        default[at] = given[at] if at < len(given) else found[0] if found else default[at]
    return default[0], default[1]


@rule("relu")
def _relu(low: Lowering, example: Any, x: Value) -> Value:
    return typed_as(low, low.op("max", x, 0.0), example)


@rule("leaky_relu")
def _leaky_relu(low: Lowering, example: Any, x: Value, slope: float = 0.01) -> Value:
    return low.op("select", low.op("gt", x, 0.0), x, low.op("mul", x, slope))


@rule("sigmoid")
def _sigmoid(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("div", 1.0, low.op("add", low.op("exp", low.op("neg", x)), 1.0))


@rule("silu")
def _silu(low: Lowering, example: Any, x: Value) -> Value:
    return low.op("div", x, low.op("add", low.op("exp", low.op("neg", x)), 1.0))


@rule("log1p")
def _log1p(low: Lowering, example: Any, x: Value) -> Value:
    _differs(low, "log1p as log(1 + x)")
    return low.op("log", low.op("add", x, 1.0))


@rule("expm1")
def _expm1(low: Lowering, example: Any, x: Value) -> Value:
    _differs(low, "expm1 as exp(x) - 1")
    return low.op("sub", low.op("exp", x), 1.0)


@rule("elu")
def _elu(
    low: Lowering, example: Any, x: Value, alpha: float = 1.0, scale: float = 1.0,
    input_scale: float = 1.0,
) -> Value:  # fmt: skip
    _differs(low, "elu by exp(x) - 1")
    inner = low.op("sub", low.op("exp", low.op("mul", x, input_scale)), 1.0)
    below = low.op("mul", inner, alpha * scale)
    above = x if scale == 1 else low.op("mul", x, scale)
    return low.op("select", low.op("gt", x, 0.0), above, below)


@rule("copy")
def _copy(low: Lowering, example: Any, place: Value, value: Value, *_: Any) -> Value:
    """Return a value in the shape and type of the place it is copied to."""
    if isinstance(value, Const):
        return Const(value.tensor.to(example.dtype).expand(tuple(example.shape)))
    assert isinstance(value, Stream)
    copied = _to_copy(low, example, value)
    assert isinstance(copied, Stream)
    return low.broadcast(copied, tuple(example.shape))


@rule("expand", "expand_as", "broadcast_to")
def _expand(low: Lowering, example: Any, x: Stream, *_: Any, **__: Any) -> Value:
    return low.broadcast(x, tuple(example.shape))
