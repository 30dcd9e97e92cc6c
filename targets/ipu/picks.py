"""Leaves that pick elements of a value by their place, and the winner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from snnir import kernels
from snnir.ir.graph import Graph, Node
from snnir.ir.structure import Concat
from snnir.targets.ipu.leaf import READ, TURN, Leaf
from snnir.targets.ipu.memory import CONSTANT, Array, Field


@dataclass(frozen=True)
class Pick(Leaf):
    """The element that a table names for each element; a negative one stands for none.

    Attributes:
        table: Elements of the source by element of the stage, [size].
    """

    table: Any = None

    @cached_property
    def shift(self) -> int | None:
        """Where element 0 lies, if all lie one after the other; then no table is kept."""
        first = int(self.table[0])
        in_order = np.array_equal(self.table, first + np.arange(len(self.table)))
        return first if in_order and first >= 0 else None

    @property
    def index_type(self) -> str:
        """Type of the table."""
        return "short" if self.stream.cut.size <= 2**15 else "int"

    def reach(self) -> tuple[Array, Array]:
        """Return the range of what each part picks."""
        firsts, none = self.cut.firsts(), self.table < 0
        low = np.where(none, self.stream.cut.size, self.table)
        lows = np.minimum.reduceat(low, firsts)
        highs = np.maximum.reduceat(self.table, firsts) + 1
        return np.where(highs > 0, lows, 0), highs

    def fields(self) -> list[Field]:
        """Return the table."""
        if self.shift is not None:
            return []
        name, sizes = f"pick{self.number}", self.cut.lengths()
        return [Field(name, self.index_type, CONSTANT, sizes, lambda: self.table)]

    @property
    def condition(self) -> str:
        """C++ of whether there is an element; empty if there always is one."""
        return f"pick{self.number}[j] >= 0" if np.any(self.table < 0) else ""

    def element(self) -> str:
        """Return the element, if there is one."""
        at = f"(unsigned)pick{self.number}[j]" if self.shift is None else f"i + {self.shift}u"
        return self.item(at)

    def work(self, activity: float) -> Array:
        """Two reads."""
        return self.cut.lengths() * (2 * READ + TURN + self.lookup)


def tables(graph: Graph, node: Node) -> list[Array]:
    """Return for each operand of an op that moves elements the table of what it picks."""
    shapes = [graph.signals[value].shape for value in node.operands]
    shape = graph.signal(node.name).shape
    call = node.op.call([graph.signals[value] for value in node.operands])
    move: Callable[..., Array] = getattr(kernels, call.function)
    found = []
    for index, own in enumerate(shapes):
        # Places are counted from 1, so that what is padded is told from element 0.
        places = [np.zeros((1, *other), np.int64) for other in shapes]
        places[index] = np.arange(1, prod(own) + 1).reshape(1, *own)
        picked = move(*places, **call.options) if isinstance(node.op, Concat) else move(
            places[index], **call.options
        )  # fmt: skip
        found.append(picked.reshape(prod(shape)) - 1)
    return found


def spread(small: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return the table of an operand that broadcasts to a shape."""
    return np.broadcast_to(np.arange(prod(small)).reshape(small), shape).reshape(-1)


@dataclass(frozen=True)
class Best(Leaf):
    """Whether an element is the first largest one, and above 0; every part looks for itself."""

    def before(self) -> list[str]:
        """Find it; the first that is not a number counts as the largest."""
        n, size = self.number, self.stream.cut.size
        return [
            f"unsigned best{n} = 0;",
            f"{self.total} most{n} = ({self.total}){self.item('0u')};",
            f"for (unsigned k = 1; k < {size}u && most{n} == most{n}; ++k) {{",
            f"    const {self.total} x = ({self.total}){self.item('k')};",
            f"    if (x > most{n} || x != x) {{ most{n} = x; best{n} = k; }}",
            "}",
        ]

    def element(self) -> str:
        """Return 1 or 0."""
        n = self.number
        return f"({self.total})(i == best{n} && most{n} > 0)"

    def work(self, activity: float) -> Array:
        """A look at every element."""
        each = (self.lookup + TURN + 2) * self.stream.cut.size
        return each + self.cut.lengths() * (TURN + 4)
