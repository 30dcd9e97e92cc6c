"""Matrices most of whose weights are zero."""

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
    product_of,
    register_op,
)
from snnir.ir.synapses import check_rows, optional, whole_weights
from snnir.streams import Signal
from snnir.tensors import Tensor

Array = npt.NDArray[Any]


@register_op
@dataclass(frozen=True)
class SparseLinear(Op):
    """y = W x + b, over the last axis; W is kept as its blocks that are not zero.

    A block is one column of `block` consecutive rows of W; blocks are sorted by their rows, then by
    column. With blocks of one element this is the compressed sparse row format (CSR).

    Attributes:
        values: [blocks, block].
        columns: Column of each block, i32 [blocks].
        starts: Where the blocks of each group of rows begin, and the end of the last, i64
            [ceil(outputs / block) + 1].
        inputs, outputs: Columns and rows of W. Rows beyond the last in a block are ignored.
        bias: [outputs] or a scalar, or None.
        unit, bits: Of whole weights, as those of `linear`.
    """

    name: ClassVar[str] = "sparse_linear"
    values: Tensor
    columns: Tensor
    starts: Tensor
    inputs: int
    outputs: int
    bias: Tensor | None = None
    unit: Tensor | None = None
    bits: int = 0

    @classmethod
    def of(cls, matrix: Array, block: int = 1, bias: Tensor | None = None) -> SparseLinear:
        """Return the product with a matrix [outputs, inputs]; all-zero blocks are left out."""
        outputs, inputs = matrix.shape
        groups = -(-outputs // block)
        room = np.zeros((groups * block, inputs), matrix.dtype)
        room[:outputs] = matrix
        grid = room.reshape(groups, block, inputs)
        used = grid.any(axis=1)
        group, column = np.nonzero(used)
        starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int64)
        values, columns = Tensor(grid[group, :, column]), Tensor(column.astype(np.int32))
        return cls(values, columns, Tensor(starts), inputs, outputs, bias)

    @property
    def block(self) -> int:
        """Consecutive rows that a block covers."""
        return self.values.shape[1]

    def infer(self, operands: Operands) -> Results:
        """[..., inputs] to analog [..., outputs]."""
        self._check()
        operand = operands[0]
        if operand is None:
            return (analog((self.outputs,)),)
        if not operand.shape or operand.shape[-1] != self.inputs:
            raise OpError(
                "SNN202", f"weights expect {self.inputs} inputs, got shape {list(operand.shape)}"
            )
        return (product_of(operand, self.values, (*operand.shape[:-1], self.outputs)),)

    def _check(self) -> None:
        if len(self.values.shape) != 2 or min(self.inputs, self.outputs, self.block) < 1:
            shape = list(self.values.shape)
            raise OpError("SNN202", f"values must be [blocks, rows of a block], got {shape}")
        count, groups = self.values.shape[0], -(-self.outputs // self.block)
        if self.columns.shape != (count,) or self.starts.shape != (groups + 1,):
            raise OpError(
                "SNN202",
                f"{count} blocks of {self.block} rows need columns [{count}] and starts "
                f"[{groups + 1}], got {list(self.columns.shape)} and {list(self.starts.shape)}",
            )
        if (self.columns.dtype, self.starts.dtype) != ("i32", "i64"):
            raise OpError("SNN202", "columns must be i32 and starts i64")
        check_rows(self.outputs, bias=self.bias, unit=self.unit)
        if self.columns.is_resolved and self.starts.is_resolved:
            check_layout(self.columns.numpy(), self.starts.numpy(), self.inputs)

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Sums over the blocks."""
        own = {"values": self.values, "columns": self.columns, "starts": self.starts}
        options = {"outputs": self.outputs}
        return KernelCall("sparse_linear", own | optional(bias=self.bias), options, sums=True)

    def whole(self) -> dict[str, Whole]:
        """Its weights, if they are and have one unit."""
        one = self.unit is not None and self.unit.size == 1
        return whole_weights("values", self) if one else {}

    def groups(self) -> Array:
        """Return the group of rows of each block."""
        starts = self.starts.numpy()
        return np.repeat(np.arange(len(starts) - 1), np.diff(starts))

    def dense(self) -> Array:
        """Return W, [outputs, inputs]."""
        matrix = np.zeros((len(self.starts.numpy()) - 1, self.block, self.inputs), self.values_type)
        matrix[self.groups(), :, self.columns.numpy()] = self.values.numpy()
        return matrix.reshape(-1, self.inputs)[: self.outputs]

    @property
    def values_type(self) -> Any:
        """The dtype of the weights in NumPy."""
        return self.values.numpy().dtype


def check_layout(columns: Array, starts: Array, inputs: int) -> None:
    """Raise `OpError` unless blocks are sorted, inside the matrix and each there once."""
    if starts[0] != 0 or starts[-1] != len(columns) or np.any(np.diff(starts) < 0):
        raise OpError("SNN202", f"starts do not rise from 0 to {len(columns)}, the blocks")
    if not len(columns):
        return
    if columns.min() < 0 or columns.max() >= inputs:
        raise OpError("SNN202", f"a column is not among the {inputs} inputs")
    rises = np.diff(columns) > 0
    rises[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(columns))] - 1] = True
    if not rises.all():
        raise OpError("SNN202", "the columns of a group of rows are not in order, or not unique")
