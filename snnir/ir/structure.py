"""Ops that move, join or relabel streams without arithmetic on their values (but for sums)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from snnir.ir.op import KernelCall, Op, Operands, OpError, Results, analog, register_op
from snnir.streams import Kind, Signal


@register_op
@dataclass(frozen=True)
class Input(Op):
    """A stream that enters the graph.

    Attributes:
        signal: Its type.
    """

    name: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0
    signal: Signal

    def infer(self, operands: Operands) -> Results:
        """The declared type."""
        if any(extent < 1 for extent in self.signal.shape):
            raise OpError("SNN202", f"input shape {list(self.signal.shape)} has an empty axis")
        return (self.signal,)


@register_op
@dataclass(frozen=True)
class Current(Op):
    """y = x: reads each spike or count as one unit of current."""

    name: ClassVar[str] = "current"

    def infer(self, operands: Operands) -> Results:
        """Same shape, analog."""
        return (None if operands[0] is None else analog(operands[0].shape),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Identity on values."""
        return KernelCall("identity")


@register_op
@dataclass(frozen=True)
class Add(Op):
    """y = ((x0 + x1) + x2) + …, in operand order; spikes and counts add up to counts."""

    name: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None

    def infer(self, operands: Operands) -> Results:
        """The common shape; analog if the operands are, else counts."""
        known = [operand for operand in operands if operand is not None]
        if not known:
            return (None,)
        shapes = {operand.shape for operand in known}
        if len(shapes) > 1:
            listed = " and ".join(str(list(shape)) for shape in sorted(shapes))
            raise OpError("SNN202", f"adds streams of different shapes {listed}")
        are_analog = {operand.kind is Kind.ANALOG for operand in known}
        if len(are_analog) > 1:
            raise OpError(
                "SNN203",
                "adds spikes to an analog stream",
                "make the step explicit with the op `current`",
            )
        first = known[0]
        if first.kind is Kind.ANALOG or len(operands) == 1:
            return (first,)
        return (Signal(Kind.COUNTS, first.shape, first.dtype),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Left-to-right sum."""
        return KernelCall("add")


@register_op
@dataclass(frozen=True)
class Concat(Op):
    """y = the operands joined along `axis` (0 is the channel axis)."""

    name: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None
    axis: int = 0

    def infer(self, operands: Operands) -> Results:
        """Extents add up along the axis; all else must agree."""
        known = [operand for operand in operands if operand is not None]
        if len(known) < len(operands):
            return (None,)
        if len({operand.kind for operand in known}) > 1:
            hint = "make the step explicit with the op `current`"
            raise OpError("SNN203", "joins streams of different kinds", hint)
        first = known[0]
        if not 0 <= self.axis < len(first.shape):
            raise OpError("SNN202", f"axis {self.axis} is not in shape {list(first.shape)}")
        rests = {op.shape[: self.axis] + op.shape[self.axis + 1 :] for op in known}
        if len(rests) > 1 or len({len(op.shape) for op in known}) > 1:
            listed = ", ".join(str(list(op.shape)) for op in known)
            raise OpError("SNN202", f"cannot join shapes {listed} along axis {self.axis}")
        extent = sum(op.shape[self.axis] for op in known)
        return (first.reshaped((*first.shape[: self.axis], extent, *first.shape[self.axis + 1 :])),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Concatenation."""
        return KernelCall("concat", options={"axis": self.axis})


@register_op
@dataclass(frozen=True)
class Slice(Op):
    """y = `x[..., start:stop, ...]` along `axis`."""

    name: ClassVar[str] = "slice"
    axis: int
    start: int
    stop: int

    def infer(self, operands: Operands) -> Results:
        """The extent along the axis becomes stop - start."""
        operand = operands[0]
        if operand is None:
            return (None,)
        shape = operand.shape
        if not 0 <= self.axis < len(shape) or not 0 <= self.start < self.stop <= shape[self.axis]:
            raise OpError(
                "SNN202",
                f"slice {self.start}:{self.stop} of axis {self.axis} is not in {list(shape)}",
            )
        return (
            operand.reshaped(
                (*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :])
            ),
        )

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """A view."""
        return KernelCall(
            "slice_axis", options={"axis": self.axis, "start": self.start, "stop": self.stop}
        )


@register_op
@dataclass(frozen=True)
class Flatten(Op):
    """y = x with axes `start` … `end` (both included, negative from the end) merged."""

    name: ClassVar[str] = "flatten"
    start: int = 0
    end: int = -1

    def infer(self, operands: Operands) -> Results:
        """Merged extents."""
        operand = operands[0]
        if operand is None:
            return (None,)
        rank = len(operand.shape)
        if rank == 0:
            return (operand.reshaped((1,)),)
        start = self.start + rank if self.start < 0 else self.start
        end = self.end + rank if self.end < 0 else self.end
        if not 0 <= start <= end < rank:
            raise OpError(
                "SNN202",
                f"cannot flatten axes {self.start}..{self.end} of shape {list(operand.shape)}",
            )
        merged = prod(operand.shape[start : end + 1])
        return (operand.reshaped((*operand.shape[:start], merged, *operand.shape[end + 1 :])),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Reshape."""
        result = self.infer(operands)[0]
        assert result is not None
        return KernelCall("reshape", options={"shape": result.shape})


@register_op
@dataclass(frozen=True)
class Reshape(Op):
    """y = x with another `shape` of the same size, C order."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, operands: Operands) -> Results:
        """The stated shape."""
        operand = operands[0]
        if operand is None:
            return (None,)
        if prod(self.shape) != operand.size or any(extent < 0 for extent in self.shape):
            raise OpError("SNN202", f"cannot reshape {list(operand.shape)} to {list(self.shape)}")
        return (operand.reshaped(self.shape),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Reshape."""
        return KernelCall("reshape", options={"shape": self.shape})


@register_op
@dataclass(frozen=True)
class Permute(Op):
    """y = x with its axes reordered: `y.shape[i] = x.shape[axes[i]]`."""

    name: ClassVar[str] = "permute"
    axes: tuple[int, ...]

    def infer(self, operands: Operands) -> Results:
        """Reordered extents."""
        operand = operands[0]
        if operand is None:
            return (None,)
        if sorted(self.axes) != list(range(len(operand.shape))):
            raise OpError(
                "SNN202",
                f"axes {list(self.axes)} do not permute shape {list(operand.shape)}",
            )
        return (operand.reshaped(tuple(operand.shape[axis] for axis in self.axes)),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Transpose."""
        return KernelCall("permute", options={"axes": self.axes})


@register_op
@dataclass(frozen=True)
class Pad(Op):
    """y = x with zeros around it: `widths[axis] = (before, after)`."""

    name: ClassVar[str] = "pad"
    widths: tuple[tuple[int, int], ...]

    def infer(self, operands: Operands) -> Results:
        """Extents grow by before + after."""
        operand = operands[0]
        if operand is None:
            return (None,)
        if len(self.widths) != len(operand.shape) or any(
            w < 0 for pair in self.widths for w in pair
        ):
            raise OpError("SNN202", f"pads {self.widths} do not fit {list(operand.shape)}")
        extents = zip(operand.shape, self.widths, strict=True)
        return (operand.reshaped(tuple(n + before + after for n, (before, after) in extents)),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Zero padding."""
        return KernelCall("pad", options={"widths": self.widths})
