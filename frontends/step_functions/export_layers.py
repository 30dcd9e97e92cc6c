"""ATen operations that sum or pool, in the vocabulary of traced steps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.frontends.step_functions.export_lowering import Lowering, rule
from snnir.frontends.step_functions.export_values import (
    Const,
    Refused,
    Stream,
    Value,
)

# --- Synapses ------------------------------------------------------------------------------------


def _contract(low: Lowering, x: Stream, axis: int, weight: Const, bias: Value = None) -> Stream:
    """Return x with an axis replaced by `weight` [out, in] of it, plus a bias [out]."""
    axis = axis % len(x.shape)
    last = [*(a for a in range(len(x.shape)) if a != axis), axis]
    moved = low.permute(_number(low, x), last)
    named: dict[str, str] = {"weight": low.constant(_float(weight.tensor), weight.label)}
    added = bias if not isinstance(bias, Const) or bias.tensor.ndim == 1 else None
    if isinstance(added, Const):
        named["bias"] = low.constant(_float(added.tensor), added.label)
    shape = (*moved.shape[:-1], int(weight.tensor.shape[0]))
    made = low.emit("linear", [moved.name], shape, **named)
    back = [last.index(a) for a in range(len(x.shape))]
    result = low.permute(made, back)
    return result if bias is None or added is not None else low.op("add", result, bias)


def _number(low: Lowering, x: Stream) -> Stream:
    value = low.typed(x, "float")
    assert isinstance(value, Stream)
    return value


def _float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.float32)


@rule("linear")
def _linear(low: Lowering, example: Any, x: Value, weight: Value, bias: Value = None) -> Value:
    if not isinstance(x, Stream) or not isinstance(weight, Const):
        raise Refused("multiplies two values that both depend on the input")
    matrix = weight if weight.tensor.ndim == 2 else _reshaped(weight, weight.tensor[None])
    made = _contract(low, x, -1, matrix, bias)
    return made if weight.tensor.ndim == 2 else low.reshape(made, tuple(example.shape))


def _reshaped(const: Const, tensor: torch.Tensor) -> Const:
    return Const(tensor, const.label)


@rule("mm", "matmul", "mv", "bmm", "dot")
def _matmul(low: Lowering, example: Any, a: Value, b: Value) -> Value:
    if isinstance(a, Stream) and isinstance(b, Const):
        return _right(low, example, a, b)
    if isinstance(a, Const) and isinstance(b, Stream):
        return _left(low, example, a, b)
    raise Refused(
        "multiplies two values that both depend on the input",
        "synapses are products with a constant matrix",
    )


def _right(low: Lowering, example: Any, x: Stream, matrix: Const) -> Value:
    """X @ M: the last axis of x is summed over."""
    tensor = _plain(matrix.tensor)
    if tensor.ndim == 1:
        made = _contract(low, x, -1, _reshaped(matrix, tensor[None]))
        return low.reshape(made, tuple(example.shape))
    made = _contract(low, x, -1, _reshaped(matrix, tensor.t()))
    return made if made.shape == tuple(example.shape) else low.reshape(made, tuple(example.shape))


def _left(low: Lowering, example: Any, matrix: Const, x: Stream) -> Value:
    """M @ x: the axis before the last of x is summed over, or its only one."""
    tensor = _plain(matrix.tensor)
    axis = -1 if len(x.shape) == 1 else -2
    if tensor.ndim == 1:
        made = _contract(low, x, axis, _reshaped(matrix, tensor[None]))
        return low.reshape(made, tuple(example.shape))
    return low.reshape(
        _contract(low, x, axis, _reshaped(matrix, tensor)), tuple(example.shape)
    )  # fmt: skip


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a matrix or vector that may have leading axes of extent 1."""
    while tensor.ndim > 2 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim > 2:
        raise Refused("multiplies by another matrix along every index of an axis")
    return tensor


@rule("addmm", "addmv")
def _addmm(
    low: Lowering, example: Any, bias: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1
) -> Value:
    if beta != 1 or alpha != 1:
        raise Refused(f"with beta={beta} and alpha={alpha}", "write the scaling as products")
    if isinstance(a, Stream) and isinstance(b, Const) and b.tensor.ndim == 2:
        return _contract(low, a, -1, _reshaped(b, b.tensor.t()), bias)
    return low.op("add", _matmul(low, example, a, b), bias)


@rule("conv1d", "conv2d", "convolution")
def _convolution(
    low: Lowering, example: Any, x: Value, weight: Value, bias: Value = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, *rest: Any, **named: Any,
) -> Value:  # fmt: skip
    if not isinstance(x, Stream) or not isinstance(weight, Const):
        raise Refused("convolves two values that both depend on the input")
    transposed, groups = _conv_rest(rest, named)
    if transposed:
        raise Refused("is a transposed convolution")
    space = weight.tensor.ndim - 2
    if space not in (1, 2):
        raise Refused(f"is over {space} axes", "graphs have convolutions over 1 and 2 axes")
    named_tensors = {"weight": low.constant(_float(weight.tensor), weight.label)}
    if isinstance(bias, Const):
        named_tensors["bias"] = low.constant(_float(bias.tensor), bias.label)
    kernel = [int(n) for n in weight.tensor.shape[2:]]
    steps = _per_axis(dilation, space)
    return low.emit(
        f"conv{space}d", [_number(low, x).name], tuple(example.shape),
        stride=_per_axis(stride, space), dilation=steps, groups=groups,
        padding=_padding(padding, kernel, steps), **named_tensors,
    )  # fmt: skip


def _conv_rest(rest: Sequence[Any], named: dict[str, Any]) -> tuple[bool, int]:
    """Return (transposed, groups) of `convolution` or `convNd`."""
    if len(rest) >= 3:
        return bool(rest[0]), int(rest[2])
    return False, int(rest[0] if rest else named.get("groups", 1))


def _per_axis(value: Any, count: int) -> tuple[int, ...]:
    items = [value] if isinstance(value, int) else list(value)
    return tuple(int(n) for n in (items * count if len(items) == 1 else items))


def _padding(
    padding: Any, kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((n // 2, n - n // 2) for n in total)
    return tuple((n, n) for n in _per_axis(padding, len(kernel)))


@rule("_native_batch_norm_legit_no_training", "batch_norm")
def _batch_norm(low: Lowering, example: Any, x: Stream, *args: Any) -> Value:
    """Return x * g + (b - mean * g), g = gamma / sqrt(var + eps), each rounded as torch rounds."""
    gamma, beta, mean, var = args[:4]
    if len(args) > 7 and args[4]:
        raise Refused("is in training mode", "call .eval() on the module", "SNN804")
    eps = args[6] if len(args) > 6 else args[5]
    if any(isinstance(item, Stream) for item in (gamma, beta, mean, var)):
        raise Refused("normalises by values that depend on the input")
    shape = (-1, *[1] * (len(x.shape) - 2))
    factor = torch.rsqrt(var.tensor + eps)
    if gamma is not None:
        factor = factor * gamma.tensor
    offset = torch.zeros_like(mean.tensor) if beta is None else beta.tensor
    offset = torch.addcmul(offset, mean.tensor, factor, value=-1)
    stem = gamma.label.rpartition(".")[0] if gamma is not None else ""
    g = Const(factor.reshape(shape), f"{stem}.gain" if stem else "")
    b = Const(offset.reshape(shape), f"{stem}.shift" if stem else "")
    made = low.fused(x, g, b)
    return made if isinstance(example, torch.Tensor) else (made, None, None)


# --- Pools and sums ------------------------------------------------------------------------------


@rule("max_pool2d", "max_pool2d_with_indices", "avg_pool2d")
def _pool(
    low: Lowering, example: Any, x: Stream, kernel: Any, stride: Any = (), padding: Any = 0,
    *rest: Any, **named: Any,
) -> Value:  # fmt: skip
    average = "avg" in low.what
    _check_pool(average, padding, rest, named)
    result = example if isinstance(example, torch.Tensor) else example[0]
    size = _per_axis(kernel, 2)
    made = low.emit(
        "avg_pool2d" if average else "max_pool2d", [_number(low, x).name],
        tuple(result.shape), kernel=size, stride=_per_axis(stride or kernel, 2),
        padding=tuple((n, n) for n in _per_axis(padding, 2)),
    )  # fmt: skip
    return made if isinstance(example, torch.Tensor) else (made, None)


def _check_pool(average: bool, padding: Any, rest: Sequence[Any], named: dict[str, Any]) -> None:
    order: tuple[str, ...] = ("ceil_mode", "count_include_pad", "divisor_override")
    if not average:
        order = ("dilation", "ceil_mode")
    given = {**dict(zip(order, rest, strict=False)), **named}
    left_out = any(_per_axis(padding, 2)) and not given.get("count_include_pad", True)
    spread = any(n != 1 for n in _per_axis(given.get("dilation", 1), 2))
    if given.get("ceil_mode") or given.get("divisor_override") or left_out or spread:
        raise Refused("pools with ceil_mode, dilation, a divisor, or padding that does not count")


@rule("_adaptive_avg_pool2d", "adaptive_avg_pool2d")
def _adaptive(low: Lowering, example: Any, x: Stream, size: Any) -> Value:
    extents = [n // m for n, m in zip(x.shape[-2:], example.shape[-2:], strict=True)]
    if any(n % m for n, m in zip(x.shape[-2:], example.shape[-2:], strict=True)):
        raise Refused("pools windows of different sizes")
    return low.emit(
        "avg_pool2d", [_number(low, x).name], tuple(example.shape),
        kernel=tuple(extents), stride=tuple(extents), padding=((0, 0), (0, 0)),
    )  # fmt: skip


def _reduced(low: Lowering, x: Stream, op: str, dims: Any, keep: bool) -> Stream:
    rank = len(x.shape)
    dims = [dims] if isinstance(dims, int) else dims
    over = tuple(sorted({d % rank for d in dims} if dims else range(rank)))
    left = tuple(n for d, n in enumerate(x.shape) if d not in over)
    made = low.emit(op, [_number(low, x).name], left, axes=over)
    return (
        low.reshape(made, tuple(1 if d in over else n for d, n in enumerate(x.shape)))
        if keep
        else made
    )


@rule("sum")
def _sum(
    low: Lowering, example: Any, x: Stream, dims: Any = None, keepdim: bool = False, **_: Any
) -> Value:
    return _reduced(low, x, "reduce_sum", dims, keepdim)


@rule("mean")
def _mean(
    low: Lowering, example: Any, x: Stream, dims: Any = None, keepdim: bool = False, **_: Any
) -> Value:
    total = _reduced(low, x, "reduce_sum", dims, keepdim)
    return low.op("div", total, float(prod(x.shape) // prod(total.shape)))


@rule("amax", "max")
def _amax(low: Lowering, example: Any, x: Stream, dims: Any = None, keepdim: bool = False) -> Value:
    made = _reduced(low, x, "reduce_max", dims, keepdim)
    return made if isinstance(example, torch.Tensor) else (made, None)


@rule("amin")
def _amin(low: Lowering, example: Any, x: Stream, dims: Any = None, keepdim: bool = False) -> Value:
    below = low.op("neg", x)
    return low.op("neg", _reduced(low, below, "reduce_max", dims, keepdim))


@rule("any", "all")
def _any(low: Lowering, example: Any, x: Stream, dims: Any = None, keepdim: bool = False) -> Value:
    truth = low.typed(x, "bool")
    every = "aten.all" in low.what
    inner = low.op("not", truth) if every else truth
    assert isinstance(inner, Stream)
    found = low.op("gt", _reduced(low, inner, "reduce_max", dims, keepdim), 0.0)
    return low.op("not", found) if every else found
