"""Collecting the parts of a C program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.c_layout import Layout
from snnir.ir.graph import Value
from snnir.targets.native.kernels_c import DENSE, PARTS, dense, gather, gather_name, lister

Array = npt.NDArray[Any]
#: C types of arrays in NumPy's terms.
KINDS = {
    "f2": "float", "f4": "float", "f8": "double", "i1": "int8_t", "i2": "int16_t",
    "i4": "int32_t", "i8": "int64_t",
}  # fmt: skip


#: Types that are stored as others, which hold all of their values.
_WIDER = {"f2": "f4", "b1": "i1", "u1": "i2", "u2": "i4", "u4": "i8", "u8": "i8"}


def padded(size: int) -> int:
    """Return the room that so many bytes of weights take: each array begins at a multiple of 64."""
    return -(-size // 64) * 64


def settled(array: Array) -> Array:
    """Return an array in a type that C has."""
    wider = _WIDER.get(array.dtype.str[1:])
    return array if wider is None else array.astype(wider)


@dataclass(frozen=True)
class Record:
    """Something that can be recorded.

    Attributes:
        number: Under which the program knows it.
        shape: Of a sample.
        dtype: What NumPy calls its type, if not that of streams.
        lasts: Whether all samples share it.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str = ""
    lasts: bool = False


@dataclass(frozen=True)
class Exchange:
    """A state that outlives a run.

    Attributes:
        kind: C type of its elements.
        shape: As callers see it.
        get, put: Statements that copy it to `to`, and from `from`.
    """

    kind: str
    shape: tuple[int, ...]
    get: tuple[str, ...]
    put: tuple[str, ...]


@dataclass
class Writer:
    """What the functions of nodes add to.

    Attributes:
        layout: How the graph lies in C.
        embedded: Whether it is for a small device: no vectors, weights in the program.
        scratch, by_row: Memory of each thread: type and number of elements, in all or per row.
        lasting, starts, ends: What outlives a run: members, and statements that put them as the
            graph has them, and that end a run.
        exchanged: How each lasting state is taken out and put in, by `node:state`.
        owners: The node that each array of weights belongs to.
        tables: Name and type of the matrices that are packed, by node and lanes.
    """

    layout: Layout
    embedded: bool = False
    weights: dict[str, Array] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    helpers: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    buffers: dict[str, tuple[str, int]] = field(default_factory=dict)
    events: dict[str, tuple[str, int]] = field(default_factory=dict)
    scratch: dict[str, tuple[str, int]] = field(default_factory=dict)
    by_row: dict[str, tuple[str, int]] = field(default_factory=dict)
    lasting: list[str] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    exchanged: dict[str, Exchange] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    tables: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    _known: dict[tuple[str, bytes], str] = field(default_factory=dict)

    # --- Weights ---------------------------------------------------------------------------------

    def weight(self, label: str, array: Array) -> str:
        """Return the C name of an array of weights; equal arrays are stored once."""
        array = np.ascontiguousarray(settled(array))
        key = (array.dtype.str, array.tobytes())
        if key not in self._known:
            name = f"w{len(self.weights)}_{label}"
            self._known[key], self.weights[name] = name, array
            self.owners[name] = label
        return self._known[key]

    @staticmethod
    def kind(array: Array) -> str:
        """Return the C type of an array's elements."""
        return KINDS[settled(array).dtype.str[1:]]

    # --- Kernels ---------------------------------------------------------------------------------

    def lister(self, kind: str) -> str:
        """Return the name of the function that lists events."""
        name = f"snn_list_{kind}"
        self.kernels.setdefault(name, lister(kind, not self.embedded))
        return name

    def gather(
        self,
        weight: str,
        total: str,
        lanes: int,
        source: str,
        more: bool = False,
        few: bool = False,
    ) -> str:
        """Return the name of a sum over events."""
        name, vectors = gather_name(weight, total, lanes, source, more, few), not self.embedded
        self.kernels.setdefault(name, gather(weight, total, lanes, source, vectors, more, few))
        return name

    def parts(self) -> None:
        """Add what sums over parts of the inputs need."""
        self.kernels.setdefault("snn_cut", PARTS)

    def dense(self, lanes: int, source: str, more: bool) -> str:
        """Return the name of a sum over all elements of several rows."""
        self.kernels.setdefault("snn_is_dense", DENSE)
        name, text = dense(lanes, source, more)
        self.kernels.setdefault(name, text)
        return name

    # --- Memory ----------------------------------------------------------------------------------

    def buffer(self, value: Value) -> str:
        """Return the member that points to a value, given one element per row and sample."""
        root = self.layout.root(value)
        name = self.layout.ident(root)
        self.buffers.setdefault(name, (self.layout.ctype(root), self.layout.size(root)))
        return name

    def record(
        self,
        name: str,
        node: str,
        kind: str = "",
        shape: tuple[int, ...] | None = None,
        lasts: bool = False,
    ) -> int:
        """Return the number under which something of a node is recorded.

        Args:
            name: Its name.
            node: The node.
            kind: What NumPy calls the type in which it is given out, if not that of streams.
            shape: Of a sample; by default that of the node's result.
            lasts: Whether all samples share it.
        """
        if name not in self.records:
            shape = tuple(self.layout.graph.signal(node).shape) if shape is None else shape
            self.records[name] = Record(len(self.records), shape, kind, lasts)
        return self.records[name].number

    def function(self, name: str, body: Sequence[str], comment: str = "") -> None:
        """Add a stage function."""
        lines = [f"/* {comment} */"] if comment else []
        lines += [f"static void {name}(const snn_net *r, snn_range g)", "{"]
        self.functions.append("\n".join([*lines, *indented(body), "}", ""]))


def indented(lines: Sequence[str], by: int = 1) -> Iterator[str]:
    """Yield lines further to the right; empty ones and directives stay where they are."""
    for line in lines:
        yield line if not line or line.startswith("#") else "    " * by + line


class Body(list[str]):
    """Lines of a function with blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self.extend(indented(lines, self._depth))

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a head and its braces around what is added inside."""
        self.add(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}")


@contextmanager
def rows(body: Body) -> Iterator[None]:
    """Go through the rows of the range."""
    with (
        body.block("for (long t = g.t0; t < g.t1; t++)"),
        body.block("for (long b = g.b0; b < g.b1; b++)"),
    ):
        body.add("const long row = t * r->batch + b;")
        yield
