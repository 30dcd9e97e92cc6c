"""Leaves that are matrices: dense ones, and sparse ones by event or by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from snnir.c_values import narrowed
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import Conv1d, Conv2d, Linear, without_zero
from snnir.targets.ipu.leaf import READ, TURN, Leaf
from snnir.targets.ipu.memory import BITS, CONSTANT, SCRATCH, VALUES, Array, Field

_WHOLE = {"i1": "signed char", "i2": "short", "i4": "int"}


def weight_type(weight: Array, half: bool = False) -> str:
    """Return the C++ type in which constants are kept; whole numbers take few bits."""
    if weight.dtype.kind == "f":
        return "half" if half else "float"
    ends = [int(weight.min(initial=0)), int(weight.max(initial=0))]
    return _WHOLE[narrowed(np.array(ends, np.int64)).dtype.str[1:]]


def centred_weights(op: Linear | SparseLinear | Conv1d | Conv2d) -> Array:
    """Return the weights of an op, less what stands for 0."""
    return op.values.numpy() if isinstance(op, SparseLinear) else without_zero(op)


@dataclass(frozen=True)
class Sum(Leaf):
    """A sum of weights.

    Attributes:
        kind: C++ type in which they are kept.
    """

    kind: str = "float"

    @property
    def zero(self) -> str:
        """Zero in the type of the sum."""
        return "0.0f" if self.total == "float" else "0"

    def weight(self, at: str) -> str:
        """Return a weight in the type of the sum."""
        return f"({self.total})w{self.number}[{at}]"

    def added(self, to: str, weight: str) -> str:
        """Return the statement that adds the weight of an event; of a number x, their product.

        Product and sum are two statements: compilers may round those of one only once.
        """
        if self.stream.form != VALUES:
            return f"{to} += {weight};"
        return f"{{ const {self.total} product = {weight} * x; {to} += product; }}"

    def element(self) -> str:
        """Return the sum."""
        return f"sum{self.number}[j]"

    def cleared(self) -> list[str]:
        """Return the loop that sets the sums of a sample to zero."""
        loop = "for (unsigned j = 0; j < count; ++j)"
        return [f"{loop} sum{self.number}[j] = {self.zero};"]

    def sums(self) -> Field:
        """Return the memory of the sums."""
        return Field(f"sum{self.number}", self.total, SCRATCH, self.cut.lengths())


@dataclass(frozen=True)
class Dense(Sum):
    """A matrix: every event adds a row of the part's weights to its sums.

    Attributes:
        matrix: The weights, [elements, inputs].
    """

    matrix: Any = None

    def fields(self) -> list[Field]:
        """Return the weights, input by input, and the sums."""
        number, sizes = self.number, self.cut.lengths() * self.matrix.shape[1]
        label = f"{self.node.name}.weight"
        return [Field(f"w{number}", self.kind, CONSTANT, sizes, self.laid, label), self.sums()]

    def laid(self) -> Array:
        """Return the weights of all parts, each [inputs, elements]."""
        ends = zip(self.cut.firsts(), self.cut.lengths(), strict=True)
        parts = [self.matrix[first : first + n].T.reshape(-1) for first, n in ends]
        return np.concatenate(parts)

    def before(self) -> list[str]:
        """Sum over the events."""
        add = self.added(f"sum{self.number}[j]", self.weight("row + j"))
        body = ["const unsigned row = k * count;", f"for (unsigned j = 0; j < count; ++j) {add}"]
        return [*self.cleared(), *self.each_event(body)]

    def work(self, activity: float) -> Array:
        """Events times elements."""
        lengths = self.cut.lengths()
        each = self.events(activity) * (1 + (TURN + 3) * lengths)
        total: Array = self.scanning(activity) + each + 2 * (TURN + 1) * lengths
        return total


@dataclass(frozen=True)
class Entries:
    """The entries of a matrix row by row.

    Attributes:
        starts: Where each row begins, and the end, [rows + 1].
        columns: [entries], rising in each row.
        values: [entries].
    """

    starts: Array
    columns: Array
    values: Array

    @cached_property
    def counts(self) -> Array:
        """Entries of each row, [rows]."""
        return np.diff(self.starts)

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """First column of each row and one more than the last, [rows]; of an empty row no column.

        Since columns rise, nothing else is looked at.
        """
        low: Array = np.full(len(self.counts), np.iinfo(np.int32).max, np.int64)
        high: Array = np.zeros(len(self.counts), np.int64)
        filled = np.flatnonzero(self.counts)
        low[filled] = self.columns[self.starts[filled]]
        high[filled] = self.columns[self.starts[filled + 1] - 1] + 1
        return low, high


def entries_of(op: Linear | SparseLinear) -> Entries:
    """Return the entries of a matrix; those of a sparse one that are zero are left out."""
    if isinstance(op, Linear):
        matrix = without_zero(op)
        rows, columns = matrix.shape
        starts = np.arange(rows + 1, dtype=np.int64) * columns
        return Entries(starts, np.tile(np.arange(columns), rows), matrix.reshape(-1))
    values, columns = op.values.numpy(), op.columns.numpy()
    if op.block == 1:
        return Entries(op.starts.numpy(), columns, values[:, 0])
    rows = (op.groups()[:, None] * op.block + np.arange(op.block)).reshape(-1)
    wide, flat = np.repeat(columns, op.block), values.reshape(-1)
    used = (flat != 0) & (rows < op.outputs)
    order = np.lexsort((wide[used], rows[used]))
    counts = np.bincount(rows[used], minlength=op.outputs)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Entries(starts, wide[used][order], flat[used][order])


@dataclass(frozen=True)
class Sparse(Sum):
    """A sparse matrix, or a matrix over the last of several axes."""

    entries: Any = None

    @property
    def held(self) -> Entries:
        """The matrix."""
        found: Entries = self.entries
        return found

    @property
    def rows(self) -> int:
        """Rows of the matrix; elements beyond them are further samples of the last axis."""
        return len(self.held.starts) - 1

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return self.stream.cut.size // (self.cut.size // self.rows)

    @cached_property
    def counts(self) -> Array:
        """Entries of each part, [parts]."""
        each = self.held.counts
        if self.cut.size != self.rows:
            each = np.tile(each, self.cut.size // self.rows)
        return np.add.reduceat(each, self.cut.firsts())

    def weights(self, data: Any) -> Field:
        """Return the weights as a field."""
        label = f"{self.node.name}.weight"
        return Field(f"w{self.number}", self.kind, CONSTANT, self.counts, data, label)


@dataclass(frozen=True)
class ByEvent(Sparse):
    """Every event adds the weights of its column."""

    @property
    def index_types(self) -> tuple[str, str]:
        """Types of the table of columns and of that of elements."""
        small = self.counts.max(initial=0) < 2**16
        begin = "unsigned short" if small else "unsigned"
        if self.cut.per <= 2**8:
            return begin, "unsigned char"
        return begin, "unsigned short" if self.cut.per <= 2**16 else "unsigned"

    def fields(self) -> list[Field]:
        """Return where columns begin, elements and weights of their entries, and the sums."""
        begin, element = self.index_types
        starts = np.full(self.cut.parts, self.columns + 1, np.int64)
        return [
            Field(f"starts{self.number}", begin, CONSTANT, starts, self.laid_starts),
            Field(f"target{self.number}", element, CONSTANT, self.counts, self.laid_targets),
            self.weights(self.laid_weights),
            self.sums(),
        ]

    @cached_property
    def order(self) -> tuple[Array, Array]:
        """The order of the entries by part and column, and the local row of each before it."""
        held = self.held
        rows = np.repeat(np.arange(self.rows, dtype=np.int64), np.diff(held.starts))
        key = rows // self.cut.per * (self.columns + 1) + held.columns
        return np.argsort(key, kind="stable"), rows % self.cut.per

    def laid_starts(self) -> Array:
        """Return where the columns of each part begin, all parts."""
        found = np.zeros((self.cut.parts, self.columns + 1), np.int64)
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        for part in range(self.cut.parts):
            columns = self.held.columns[ends[part] : ends[part + 1]]
            found[part, 1:] = np.cumsum(np.bincount(columns, minlength=self.columns))
        return found.reshape(-1)

    def laid_targets(self) -> Array:
        """Return the elements, all parts."""
        order, rows = self.order
        return rows[order]

    def laid_weights(self) -> Array:
        """Return the weights, all parts."""
        found: Array = self.held.values[self.order[0]]
        return found

    def before(self) -> list[str]:
        """Sum over the events."""
        n = self.number
        add = self.added(f"sum{n}[target{n}[e]]", self.weight("e"))
        body = [
            f"const unsigned until = starts{n}[k + 1];",
            f"for (unsigned e = starts{n}[k]; e < until; ++e) {add}",
        ]
        return [*self.cleared(), *self.each_event(body)]

    def work(self, activity: float) -> Array:
        """Events, and the entries of their columns."""
        share = self.events(activity) / self.columns
        looked = self.events(activity) * (2 * READ + 1)
        hits = share * self.counts * (TURN + 5)
        cleared = 2 * (TURN + 1) * self.cut.lengths()
        total: Array = self.scanning(activity) + looked + hits + cleared
        return total


@dataclass(frozen=True)
class ByRow(Sparse):
    """Every element adds the weights of its row whose inputs are not zero."""

    @property
    def is_placed(self) -> bool:
        """Whether columns are given as places of bits, so that nothing is divided to find them."""
        return self.stream.form == BITS and self.cut.size == self.rows

    def placed(self, columns: Array) -> Array:
        """Return where the bits of columns lie in the first sample."""
        per, bits = self.stream.cut.per, 32 * self.stream.unit * self.samples
        found: Array = columns // per * bits + columns % per
        return found

    @property
    def column_type(self) -> str:
        """Type of the table of columns."""
        last: Any = np.int64(self.columns - 1)
        if self.is_placed:
            last = self.placed(last)
        return "unsigned short" if last < 2**16 else "unsigned"

    def reach(self) -> tuple[Array, Array]:
        """Return the range of the columns of each part."""
        if self.cut.size != self.rows or not len(self.held.columns):
            last = self.stream.cut.size if len(self.held.columns) else 0
            return np.zeros(self.cut.parts, np.int64), np.full(self.cut.parts, last)
        low, high = self.held.ends
        low = np.minimum.reduceat(low, self.cut.firsts())
        high = np.maximum.reduceat(high, self.cut.firsts())
        return np.where(high > 0, low, 0), high

    def fields(self) -> list[Field]:
        """Return where rows begin, and columns and weights of their entries."""
        starts = self.cut.lengths() + 1
        return [
            Field(f"starts{self.number}", "unsigned", CONSTANT, starts, self.laid_starts),
            Field(
                f"column{self.number}", self.column_type, CONSTANT, self.counts, self.laid_columns
            ),
            self.weights(lambda: self.repeated(self.held.values)),
        ]

    def laid_starts(self) -> Array:
        """Return where the rows of each part begin, all parts."""
        each = np.diff(self.held.starts)
        each = np.tile(each, self.cut.size // self.rows)
        found = [
            np.concatenate([[0], np.cumsum(each[first : first + n])])
            for first, n in zip(self.cut.firsts(), self.cut.lengths(), strict=True)
        ]
        return np.concatenate(found)

    def laid_columns(self) -> Array:
        """Return the columns, or the places of their bits, all parts."""
        columns = self.held.columns
        return self.repeated(self.placed(columns) if self.is_placed else columns)

    def repeated(self, array: Array) -> Array:
        """Return something of the entries for all elements."""
        return array if self.cut.size == self.rows else np.tile(array, self.cut.size // self.rows)

    def inside(self) -> list[str]:
        """Sum over the row."""
        n = self.number
        add = self.added(f"sum{n}", self.weight("e"))
        column = f"column{n}[e]"
        if self.cut.size != self.rows:
            column = f"i / {self.rows}u * {self.columns}u + {column}"
        if self.stream.form == VALUES:
            line = f"{{ const {self.total} x = ({self.total}){self.item(column)}; {add} }}"
        elif self.is_placed:
            word = f"{self.given}[{self.base} + ({column} >> 5)]"
            line = f"if ({word} >> ({column} & 31u) & 1u) {add}"
        else:
            line = f"if ({self.item(column)}) {add}"
        return [
            f"{self.total} sum{n} = {self.zero};",
            f"for (unsigned e = starts{n}[j]; e < starts{n}[j + 1]; ++e) {line}",
        ]

    def element(self) -> str:
        """Return the sum."""
        return f"sum{self.number}"

    def work(self, activity: float) -> Array:
        """Entries, whether they are events or not."""
        found = READ if self.is_placed else self.lookup
        total: Array = self.counts * (TURN + 4 + found) + (2 * READ + TURN) * self.cut.lengths()
        return total
