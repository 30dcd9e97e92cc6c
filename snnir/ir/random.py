"""Random numbers that depend on nothing but a seed and a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.op import Op, Operands, OpError, Results, analog, register_op


@register_op
@dataclass(frozen=True)
class Uniform(Op):
    """y = random numbers, evenly spread over the multiples of 2**-24 in (0, 1].

    The operand only says the shape. The number of element i of sample b at step t is
    ((w >> 8) + 1) * 2**-24, where w is the first word of Threefry-2x32 with 20 rounds (J. Salmon
    et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011) of the counter
    (t mod 2**32, (b * elements + i) mod 2**32) under the key (seed mod 2**32, seed >> 32). So it is
    the same on every target and however a run is cut into pieces, and a sample's numbers do not
    depend on how many others there are.

    Steps are counted by the lasting state `step`, so that the next run draws other numbers if it
    is given what lasts of this one.

    Attributes:
        seed: From 0 to 2**64 - 1. Two draws of one graph need different seeds to be independent.
        step: Number of the first step.
    """

    name: ClassVar[str] = "uniform"
    seed: int
    step: int = 0

    @property
    def is_stateless(self) -> bool:
        """It counts steps."""
        return False

    def infer(self, operands: Operands) -> Results:
        """Analog of the operand's shape."""
        if not 0 <= self.seed < 1 << 64:
            raise OpError("SNN105", f"seed {self.seed} is not from 0 to 2**64 - 1")
        if not 0 <= self.step < 1 << 32:
            raise OpError("SNN105", f"step {self.step} is not from 0 to 2**32 - 1")
        operand = operands[0]
        return (None if operand is None else analog(operand.shape),)
