"""Pooling over windows of a [channels, height, width] stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.op import KernelCall, Op, Operands, OpError, Results, analog, register_op, want_rank
from snnir.ir.synapses import window_extents
from snnir.streams import Kind, Signal


@dataclass(frozen=True)
class _Pool(Op):
    """A reduction over windows.

    Attributes:
        kernel: Window (height, width).
        stride: Step (vertical, horizontal).
        padding: Zeros (before, after) per axis; they take part in sums and means.
    """

    reduction: ClassVar[str]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    def result_kind(self, operand: Signal) -> Signal:
        """Return the operand's type with the kind the reduction gives."""
        return operand

    def infer(self, operands: Operands) -> Results:
        """[channels, *size] to [channels, *size']."""
        operand = operands[0]
        if operand is None:
            return (None,)
        want_rank(operand, 3, "3 axes (channels, height, width)")
        size = window_extents(operand.shape[1:], self.kernel, self.stride, self.padding, (1, 1))
        return (self.result_kind(operand).reshaped((operand.shape[0], *size)),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Reduction of sliding windows."""
        options = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        return KernelCall(f"{self.reduction}_pool", options=options, sums=self.reduction != "max")


@register_op
@dataclass(frozen=True)
class SumPool2d(_Pool):
    """y = sum of x over each window; spikes become counts."""

    name: ClassVar[str] = "sum_pool2d"
    reduction: ClassVar[str] = "sum"

    def result_kind(self, operand: Signal) -> Signal:
        """Counts, unless analog."""
        if operand.kind is Kind.SPIKES:
            return Signal(Kind.COUNTS, operand.shape, operand.dtype)
        return operand


@register_op
@dataclass(frozen=True)
class AvgPool2d(_Pool):
    """y = mean of x over each window, padding counted, as `torch.nn.AvgPool2d`."""

    name: ClassVar[str] = "avg_pool2d"
    reduction: ClassVar[str] = "mean"

    def result_kind(self, operand: Signal) -> Signal:
        """Analog."""
        return analog(operand.shape)


@register_op
@dataclass(frozen=True)
class MaxPool2d(_Pool):
    """y = largest x in each window; padding never wins."""

    name: ClassVar[str] = "max_pool2d"
    reduction: ClassVar[str] = "max"


@register_op
@dataclass(frozen=True)
class PickMax2d(_Pool):
    """y = in each window, the second operand where the first is largest (first such place).

    Padding never wins.
    """

    name: ClassVar[str] = "pick_max2d"
    arity: ClassVar[int | None] = 2
    reduction: ClassVar[str] = "max"

    def infer(self, operands: Operands) -> Results:
        """The second operand's kind, with the extents of the windows."""
        scores, values = operands
        if scores is not None and values is not None and scores.shape != values.shape:
            listed = f"{list(scores.shape)} and {list(values.shape)}"
            raise OpError("SNN202", f"its operands have shapes {listed}")
        known = scores if values is None else values
        results = super().infer([known])
        return results if values is not None else (None,)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Choice in sliding windows."""
        options = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        return KernelCall("pick_max_pool", options=options)
