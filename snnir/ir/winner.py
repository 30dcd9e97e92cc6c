"""Competition between the neurons of a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.op import KernelCall, Op, Operands, Results, register_op, want_rank
from snnir.streams import Kind, Signal


@register_op
@dataclass(frozen=True)
class Winner(Op):
    """y = 1 for the first largest element of a [neurons] stream if it is above 0, else 0."""

    name: ClassVar[str] = "winner"

    def infer(self, operands: Operands) -> Results:
        """Spikes of the operand's shape."""
        operand = operands[0]
        if operand is None:
            return (None,)
        want_rank(operand, 1, "1 axis (neurons)")
        return (Signal(Kind.SPIKES, operand.shape),)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Comparison with the largest."""
        return KernelCall("winner")
