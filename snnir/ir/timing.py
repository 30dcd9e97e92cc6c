"""Ops that remember earlier steps without being neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.op import Op, Operands, OpError, Results, broadcast, register_op
from snnir.tensors import Tensor


@register_op
@dataclass(frozen=True)
class Delay(Op):
    """y[t] = x[t - steps], and 0 while t < steps.

    Attributes:
        steps: Whole steps: one number, or an int64 tensor broadcastable to the operand with one
            delay per element.
    """

    name: ClassVar[str] = "delay"
    steps: int | Tensor = 1

    def infer(self, operands: Operands) -> Results:
        """The operand's type."""
        operand = operands[0]
        if isinstance(self.steps, Tensor):
            whole = self.steps.dtype.startswith(("i", "u"))
            if not whole or (self.steps.is_resolved and np.any(self.steps.numpy() < 0)):
                raise OpError("SNN105", "delays must be whole, non-negative numbers of steps")
            if operand is not None and broadcast(operand.shape, self.steps.shape) != operand.shape:
                raise OpError(
                    "SNN202",
                    f"delays {list(self.steps.shape)} do not fit shape {list(operand.shape)}",
                )
        elif self.steps < 0:
            raise OpError("SNN105", f"delay of {self.steps} steps is negative")
        return (operand,)

    @property
    def longest(self) -> int:
        """The largest delay in steps."""
        if isinstance(self.steps, Tensor):
            return int(self.steps.numpy().max(initial=0))
        return self.steps

    @property
    def shortest(self) -> int:
        """The smallest delay in steps; a cycle needs at least one."""
        if isinstance(self.steps, Tensor):
            return int(self.steps.numpy().min()) if self.steps.size else 0
        return self.steps

    @property
    def is_stateless(self) -> bool:
        """A delay remembers."""
        return False
