"""Stateless ops with weights: what turns spikes into currents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.ir.op import (
    KernelCall,
    Op,
    Operands,
    OpError,
    Results,
    Whole,
    analog,
    broadcast,
    product_of,
    register_op,
    want_rank,
)
from snnir.streams import Signal
from snnir.tensors import Tensor


def optional(**tensors: Tensor | None) -> dict[str, Tensor]:
    """Drop the tensors that are absent."""
    return {name: value for name, value in tensors.items() if value is not None}


def check_rows(out: int, **tensors: Tensor | None) -> None:
    """Raise `OpError` unless each tensor has one element, or one per output."""
    for name, value in optional(**tensors).items():
        if value.shape not in ((), (1,), (out,)):
            raise OpError("SNN202", f"{name} {list(value.shape)} does not fit {out} outputs")


def without_zero(op: Linear | _Convolution) -> npt.NDArray[Any]:
    """Return the weights less what stands for 0."""
    weight = op.weight.numpy()
    if op.zero is None:
        return weight
    zero = op.zero.numpy().reshape(-1, *(1,) * (weight.ndim - 1))
    centred: npt.NDArray[Any] = weight.astype(np.int32) - zero
    return centred


def whole_weights(name: str, op: Any) -> dict[str, Whole]:
    """Return what whole weights stand for; with a zero point they use all that bits can hold."""
    if op.unit is None or not op.bits or not op.tensors()[name].dtype.startswith("i"):
        return {}
    most = 2 ** (op.bits - 1) - 1
    if getattr(op, "zero", None) is None:
        return {name: Whole("unit", -most, most)}
    return {name: Whole("unit", -most - 1, most, "zero")}


@register_op
@dataclass(frozen=True)
class Linear(Op):
    """y = W x + b, over the last axis.

    Attributes:
        weight: [out, in].
        bias: [out] or a scalar, or None.
        unit: Of whole weights: how much one of them is, [out] or a scalar; the result is in these
            units. Information: nothing is multiplied by it.
        bits: Of whole weights: how many bits they may use, sign included; 0 if unknown.
        zero: Of whole weights: what stands for 0, [out] or a scalar: y = (W - zero) x + b.
    """

    name: ClassVar[str] = "linear"
    weight: Tensor
    bias: Tensor | None = None
    unit: Tensor | None = None
    bits: int = 0
    zero: Tensor | None = None

    def infer(self, operands: Operands) -> Results:
        """[..., in] to analog [..., out]."""
        if len(self.weight.shape) != 2:
            raise OpError("SNN202", f"weight must be [out, in], got {list(self.weight.shape)}")
        out, fan_in = self.weight.shape
        if self.bias is not None and self.bias.shape not in ((), (1,), (out,)):
            raise OpError(
                "SNN202", f"bias {list(self.bias.shape)} does not fit {out} output neurons"
            )
        check_rows(out, unit=self.unit, zero=self.zero)
        operand = operands[0]
        if operand is None:
            return (analog((out,)),)
        if not operand.shape or operand.shape[-1] != fan_in:
            raise OpError(
                "SNN202", f"weight expects {fan_in} inputs, got shape {list(operand.shape)}"
            )
        return (product_of(operand, self.weight, (*operand.shape[:-1], out)),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Matrix product."""
        tensors = optional(weight=self.weight, bias=self.bias, zero=self.zero)
        return KernelCall("linear", tensors, sums=True)

    def whole(self) -> dict[str, Whole]:
        """Its weights, if they are."""
        return whole_weights("weight", self)


@register_op
@dataclass(frozen=True)
class Scale(Op):
    """y = s * x, element by element.

    Attributes:
        scale: Broadcastable to the operand.
        unit, bits: Of whole factors, as those of `linear`; broadcastable to the operand.
    """

    name: ClassVar[str] = "scale"
    scale: Tensor
    unit: Tensor | None = None
    bits: int = 0

    def infer(self, operands: Operands) -> Results:
        """Analog, common shape."""
        return elementwise(operands[0], self.scale)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """One multiplication."""
        return KernelCall("scale", {"factor": self.scale})

    def whole(self) -> dict[str, Whole]:
        """Its factors, if they are."""
        return whole_weights("scale", self)


@register_op
@dataclass(frozen=True)
class Bias(Op):
    """y = x + b, element by element.

    Attributes:
        bias: Broadcastable to the operand.
    """

    name: ClassVar[str] = "bias"
    bias: Tensor

    def infer(self, operands: Operands) -> Results:
        """Analog, common shape."""
        return elementwise(operands[0], self.bias)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """One addition."""
        return KernelCall("offset", {"bias": self.bias})


def elementwise(operand: Signal | None, parameter: Tensor) -> Results:
    """Type of an element-wise op with one broadcast parameter."""
    if operand is None:
        return (analog(parameter.shape) if parameter.size > 1 else None,)
    return (product_of(operand, parameter, broadcast(operand.shape, parameter.shape)),)


@register_op
@dataclass(frozen=True)
class BatchNorm(Op):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta per channel, with frozen statistics.

    Computed as x * g + (beta - mean * g) with g = gamma / sqrt(var + eps) rounded once.

    Attributes:
        mean, var: [channels].
        gamma, beta: [channels], or None for 1 and 0.
        eps: Added to the variance.
    """

    name: ClassVar[str] = "batch_norm"
    mean: Tensor
    var: Tensor
    gamma: Tensor | None = None
    beta: Tensor | None = None
    eps: float = 1e-5

    def infer(self, operands: Operands) -> Results:
        """Analog, the operand's shape."""
        operand = operands[0]
        if operand is None:
            return (None,)
        for label, value in self.tensors().items():
            if not operand.shape or value.shape != (operand.shape[0],):
                raise OpError(
                    "SNN202",
                    f"{label} {list(value.shape)} does not fit shape {list(operand.shape)}",
                )
        return (analog(operand.shape),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Per-channel affine map."""
        tensors = optional(mean=self.mean, var=self.var, gamma=self.gamma, beta=self.beta)
        return KernelCall("batch_norm", tensors, {"eps": self.eps})


@dataclass(frozen=True)
class _Convolution(Op):
    """Cross-correlation as in torch, channels first, zero padding.

    Attributes:
        weight: [out, in / groups, *kernel].
        bias: [out] or a scalar, or None.
        stride, dilation: Per spatial axis.
        padding: (before, after) per spatial axis.
        groups: Channel groups.
        unit, bits, zero: Of whole weights, as those of `linear`.
    """

    rank: ClassVar[int]
    weight: Tensor
    bias: Tensor | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    unit: Tensor | None = None
    bits: int = 0
    zero: Tensor | None = None

    def __post_init__(self) -> None:
        for name, default in (("stride", 1), ("padding", (0, 0)), ("dilation", 1)):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * self.rank)

    def infer(self, operands: Operands) -> Results:
        """[in, *size] to analog [out, *size']."""
        self._check()
        operand = operands[0]
        if operand is None:
            return (None,)
        want_rank(operand, 1 + self.rank, f"{1 + self.rank} axes (channels, then space)")
        out, per_group, *kernel = self.weight.shape
        if operand.shape[0] != per_group * self.groups:
            raise OpError(
                "SNN202",
                f"weight expects {per_group * self.groups} channels, got {operand.shape[0]}",
            )
        geometry = (self.stride, self.padding, self.dilation)
        size = window_extents(operand.shape[1:], tuple(kernel), *geometry)
        return (product_of(operand, self.weight, (out, *size)),)

    def _check(self) -> None:
        shape = self.weight.shape
        if len(shape) != 2 + self.rank:
            raise OpError("SNN202", f"weight needs {2 + self.rank} axes, got {list(shape)}")
        if self.groups < 1 or shape[0] % self.groups:
            raise OpError(
                "SNN202", f"{shape[0]} output channels do not split into {self.groups} groups"
            )
        if self.bias is not None and self.bias.shape not in ((), (1,), (shape[0],)):
            raise OpError(
                "SNN202", f"bias {list(self.bias.shape)} does not fit {shape[0]} channels"
            )
        check_rows(shape[0], unit=self.unit, zero=self.zero)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Sliding windows times weights."""
        return KernelCall(
            "convolution",
            optional(weight=self.weight, bias=self.bias, zero=self.zero),
            {
                "stride": self.stride,
                "padding": self.padding,
                "dilation": self.dilation,
                "groups": self.groups,
            },
            sums=True,
        )

    def whole(self) -> dict[str, Whole]:
        """Its weights, if they are."""
        return whole_weights("weight", self)


@register_op
@dataclass(frozen=True)
class Conv1d(_Convolution):
    """y[o, n] = b[o] + sum over c, k of W[o, c, k] x[c, n * stride + k * dilation - padding]."""

    name: ClassVar[str] = "conv1d"
    rank: ClassVar[int] = 1


@register_op
@dataclass(frozen=True)
class Conv2d(_Convolution):
    """y[o, h, w] = b[o] + sum over c, i, j of W[o, c, i, j] x[c, h', w'], as `torch.conv2d`."""

    name: ClassVar[str] = "conv2d"
    rank: ClassVar[int] = 2


def window_extents(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the output extents of a sliding window.

    Raises:
        OpError: SNN202 if the geometry is not one of positive extents.
    """
    if not len(size) == len(kernel) == len(stride) == len(padding) == len(dilation):
        raise OpError("SNN202", f"geometry does not fit the {len(size)} spatial axes")
    if min(*kernel, *stride, *dilation) < 1 or any(p < 0 for pair in padding for p in pair):
        raise OpError(
            "SNN202", "kernel, stride and dilation must be positive, padding not negative"
        )
    extents = []
    for n, k, s, (before, after), d in zip(size, kernel, stride, padding, dilation, strict=True):
        extent = (n + before + after - d * (k - 1) - 1) // s + 1
        if extent < 1:
            raise OpError("SNN202", f"a window of {k} (dilation {d}) does not fit an extent of {n}")
        extents.append(extent)
    return tuple(extents)
