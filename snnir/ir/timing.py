"""Ops that remember earlier steps without being neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.op import Op, Operands, OpError, Results, broadcast, register_op
from snnir.streams import Signal
from snnir.tensors import Tensor


@register_op
@dataclass(frozen=True)
class Delay(Op):
    """y[t] = x[t - steps], and 0 while t < steps.

    Attributes:
        steps: Whole steps: one number, or an int64 tensor broadcastable to the operand with one
            delay per element.
        seconds: How long the delay is in continuous time where its source says so, a float tensor
            broadcastable like `steps`; None: `steps` times the graph's dt. It holds for what has no
            steps (target `events`) and is information elsewhere. A recurrence without any delay in
            continuous time is one step that lasts 0 seconds.
    """

    name: ClassVar[str] = "delay"
    steps: int | Tensor = 1
    seconds: Tensor | None = None

    def infer(self, operands: Operands) -> Results:
        """The operand's type."""
        operand = operands[0]
        if self.seconds is not None:
            self._check_seconds(self.seconds, operand)
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

    @staticmethod
    def _check_seconds(seconds: Tensor, operand: Signal | None) -> None:
        if not seconds.dtype.startswith("f"):
            raise OpError("SNN105", f"seconds of a delay are {seconds.dtype}, must be floats")
        if seconds.is_resolved:
            values = seconds.numpy()
            if not np.all(np.isfinite(values)) or np.any(values < 0):
                raise OpError("SNN105", "seconds of a delay must be finite and not negative")
        if operand is not None and broadcast(operand.shape, seconds.shape) != operand.shape:
            raise OpError(
                "SNN202",
                f"seconds {list(seconds.shape)} do not fit shape {list(operand.shape)}",
            )

    def late_operands(self, count: int) -> range:
        """It gives what it holds before it takes in."""
        return range(count)

    @property
    def is_even(self) -> bool:
        """Whether it holds as one number for a stream of any shape."""
        return isinstance(self.steps, int) and (self.seconds is None or not self.seconds.shape)

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
