"""Ops without memory as torch modules and expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Concat, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.winner import Winner
from snnir.streams import Signal
from snnir.tensors import Tensor


@dataclass(frozen=True)
class Call:
    """How an op is computed.

    Attributes:
        code: An expression of the operands `{0}`, `{1}` … and of `{self}`, its module.
        module: Constructor of its module, or nothing.
        arrays: Entries of the module's state dict.
        helpers: Classes of `template.HELPERS` it needs.
    """

    code: str
    module: str = ""
    arrays: dict[str, Tensor] = field(default_factory=dict)
    helpers: frozenset[str] = frozenset()


def stateless_call(op: Op, operands: Sequence[Signal], framework: str) -> Call:
    """Return the code of an op.

    Raises:
        SnnirError: SNN501 for an op without a torch form.
    """
    maker = _MAKERS.get(type(op))
    if maker is None:
        raise error("SNN501", f"{framework} modules have nothing like '{op.name}'")
    return maker(op, operands)


def _full(value: Tensor, size: int) -> Tensor:
    return Tensor(np.ascontiguousarray(np.broadcast_to(value.numpy(), (size,))).astype(np.float32))


def _linear(op: Linear, operands: Sequence[Signal]) -> Call:
    out, fan_in = op.weight.shape
    arrays = {"weight": Tensor(without_zero(op))}
    if op.bias is not None:
        arrays["bias"] = _full(op.bias, out)
    extra = "" if op.bias is not None else ", bias=False"
    return Call("{self}({0})", f"nn.Linear({fan_in}, {out}{extra})", arrays)


def _sparse(op: SparseLinear, operands: Sequence[Signal]) -> Call:
    return _linear(Linear(Tensor(op.dense()), op.bias), operands)


def _convolution(op: Conv1d | Conv2d, operands: Sequence[Signal]) -> Call:
    out, inner, *kernel = op.weight.shape
    axes = len(kernel)
    options = [f"{inner * op.groups}, {out}, {tuple(kernel)!r}"]
    code = "{self}({0})"
    ones = ((1,) * axes, ())
    if op.stride not in ones:
        options.append(f"stride={op.stride!r}")
    if any(before or after for before, after in op.padding):
        if all(before == after for before, after in op.padding):
            options.append(f"padding={tuple(p for p, _ in op.padding)!r}")
        else:
            code = f"{{self}}({_padded(op.padding)})"
    if op.dilation not in ones:
        options.append(f"dilation={op.dilation!r}")
    if op.groups != 1:
        options.append(f"groups={op.groups}")
    arrays = {"weight": Tensor(without_zero(op))}
    if op.bias is not None:
        arrays["bias"] = _full(op.bias, out)
    else:
        options.append("bias=False")
    return Call(code, f"nn.Conv{axes}d({', '.join(options)})", arrays)


def _padded(widths: Sequence[tuple[int, int]]) -> str:
    flat = [n for pair in reversed(widths) for n in pair]
    return f"nn.functional.pad({{0}}, {flat!r})"


def _scale(op: Scale, operands: Sequence[Signal]) -> Call:
    shape = op.scale.shape
    return Call("{self}({0})", f"Scale({shape!r})", {"scale": op.scale}, frozenset({"Scale"}))


def _bias(op: Bias, operands: Sequence[Signal]) -> Call:
    shape = op.bias.shape
    return Call("{self}({0})", f"Bias({shape!r})", {"bias": op.bias}, frozenset({"Bias"}))


def _batch_norm(op: BatchNorm, operands: Sequence[Signal]) -> Call:
    channels = operands[0].shape[0]
    rank = 2 if len(operands[0].shape) == 3 else 1
    arrays = {"running_mean": _full(op.mean, channels), "running_var": _full(op.var, channels)}
    affine = op.gamma is not None or op.beta is not None
    if affine:
        one, zero = Tensor(np.float32(1)), Tensor(np.float32(0))
        arrays["weight"] = _full(op.gamma or one, channels)
        arrays["bias"] = _full(op.beta or zero, channels)
    options = "" if affine else ", affine=False"
    return Call("{self}({0})", f"nn.BatchNorm{rank}d({channels}, eps={op.eps!r}{options})", arrays)


def _pool(op: Any, operands: Sequence[Signal]) -> Call:
    even = all(before == after for before, after in op.padding)
    code = "{self}({0})"
    options = [f"{op.kernel!r}, {op.stride!r}"]
    if any(n for pair in op.padding for n in pair):
        if even:
            options.append(f"padding={tuple(p for p, _ in op.padding)!r}")
        elif isinstance(op, MaxPool2d):
            raise error("SNN501", f"torch pads a maximum evenly, not {op.padding}")
        else:
            code = f"{{self}}({_padded(op.padding)})"
    if isinstance(op, SumPool2d):
        options.append("divisor_override=1")
    name = "MaxPool2d" if isinstance(op, MaxPool2d) else "AvgPool2d"
    return Call(code, f"nn.{name}({', '.join(options)})")


def _reshape(op: Reshape, operands: Sequence[Signal]) -> Call:
    if len(op.shape) == 1:
        return Call("{0}.flatten(1)")
    return Call(f"{{0}}.reshape({{0}}.shape[0], {', '.join(map(str, op.shape))})")


def _flatten(op: Flatten, operands: Sequence[Signal]) -> Call:
    rank = len(operands[0].shape)
    start, end = op.start % rank + 1, op.end % rank + 1
    return Call(f"{{0}}.flatten({start}, {end})")


def _permute(op: Permute, operands: Sequence[Signal]) -> Call:
    return Call(f"{{0}}.permute(0, {', '.join(str(a + 1) for a in op.axes)})")


def _slice(op: Slice, operands: Sequence[Signal]) -> Call:
    return Call(f"{{0}}[{':, ' * (op.axis + 1)}{op.start}:{op.stop}]")


def _concat(op: Concat, operands: Sequence[Signal]) -> Call:
    items = ", ".join(f"{{{i}}}" for i in range(len(operands)))
    return Call(f"torch.cat([{items}], {op.axis + 1})")


def _winner(op: Winner, operands: Sequence[Signal]) -> Call:
    return Call("{self}({0})", "Winner()", helpers=frozenset({"Winner"}))


_MAKERS: dict[type[Op], Callable[[Any, Sequence[Signal]], Call]] = {
    Linear: _linear,
    SparseLinear: _sparse,
    Conv1d: _convolution,
    Conv2d: _convolution,
    Scale: _scale,
    Bias: _bias,
    BatchNorm: _batch_norm,
    SumPool2d: _pool,
    AvgPool2d: _pool,
    MaxPool2d: _pool,
    Reshape: _reshape,
    Flatten: _flatten,
    Permute: _permute,
    Pad: lambda op, operands: Call(_padded(op.widths)),
    Slice: _slice,
    Concat: _concat,
    Winner: _winner,
}
