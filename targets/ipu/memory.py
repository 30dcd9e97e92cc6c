"""What lies on tiles: values in parts, the forms in which they travel, and fields of vertices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Forms of a stream. Spikes travel as lists of the neurons that fired, or as bits; all else, and
#: what is read at random by an op that needs numbers, as values.
LISTS, BITS, VALUES = "lists", "bits", "values"

#: Bytes of an element of each type that fields and variables have.
ITEM_BYTES = {
    "float": 4, "half": 2, "int": 4, "unsigned": 4, "short": 2, "unsigned short": 2,
    "signed char": 1, "unsigned char": 1,
}  # fmt: skip
#: The same types in NumPy's terms.
DTYPES = {
    "float": "<f4", "half": "<f2", "int": "<i4", "unsigned": "<u4", "short": "<i2",
    "unsigned short": "<u2", "signed char": "i1", "unsigned char": "u1",
}  # fmt: skip
#: Bytes of the least that a tile stores or that the host sends.
WORD = 4
#: Every region on a tile begins at a multiple of this many bytes.
GRAIN = 8


def rounded(size: Any) -> Any:
    """Return bytes with what is lost to the next multiple of `GRAIN`."""
    return -(-size // GRAIN) * GRAIN


@dataclass(frozen=True)
class Cut:
    """How the elements of a value are dealt to parts, in order; a worker computes one part.

    Attributes:
        size: Elements in all.
        per: Elements of every part but the last, which may have fewer.
    """

    size: int
    per: int

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.size // self.per)

    def firsts(self) -> Array:
        """Return the first element of each part, [parts]."""
        return np.arange(self.parts, dtype=np.int64) * self.per

    def lengths(self) -> Array:
        """Return the number of elements of each part, [parts]."""
        found: Array = np.minimum(self.per, self.size - self.firsts())
        return found


@dataclass(frozen=True)
class Stream:
    """A value as it is kept from step to step: one region for each part, on the part's tile.

    Attributes:
        name: Of the value: the node's, or `NODE#RESULT`.
        ident: The same as a C++ identifier.
        form: `LISTS`, `BITS` or `VALUES`.
        ctype: C++ type of a number of it, `float` or `int`.
        cut: Its parts.
        batch: Samples.
    """

    name: str
    ident: str
    form: str
    ctype: str
    cut: Cut
    batch: int = 1

    @property
    def item(self) -> str:
        """C++ type of an item of its regions."""
        return {LISTS: "unsigned short", BITS: "unsigned", VALUES: self.ctype}[self.form]

    @property
    def unit(self) -> int:
        """Items that a sample of one part takes.

        Lists begin with the number of entries; an even number of items keeps every list aligned to
        32 bits, the least that tiles send each other.
        """
        if self.form == LISTS:
            return 2 + self.cut.per - self.cut.per % 2
        return -(-self.cut.per // 32) if self.form == BITS else self.cut.per

    @property
    def width(self) -> int:
        """Items of one sample of the whole value; the last part of values is cut to its length."""
        return self.cut.size if self.form == VALUES else self.cut.parts * self.unit

    @property
    def part_bytes(self) -> int:
        """Bytes of the region of one part."""
        return int(self.batch * self.unit * ITEM_BYTES[self.item])

    def span(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Return the items of a sample that hold elements low to high - 1."""
        if self.form == VALUES:
            return low, high
        last = -(-high // self.cut.per)
        return low // self.cut.per * self.unit, last * self.unit

    def with_form(self, form: str, per: int) -> Stream:
        """Return it in another form and other parts."""
        return replace(self, form=form, cut=Cut(self.cut.size, per))


#: What becomes of a field: constants, states that every run sets anew, memory that keeps nothing.
CONSTANT, STATE, SCRATCH = "constant", "state", "scratch"


@dataclass(frozen=True)
class Field:
    """Memory of a vertex beside the streams it reads and writes.

    Attributes:
        name: In the codelet.
        ctype: Type of its elements, a key of `ITEM_BYTES`.
        role: `CONSTANT`, `STATE` or `SCRATCH`.
        sizes: Elements for each part, [parts].
        data: Gives the elements of all parts one after the other (of states: at rest); none for
            zeros.
        label: Names it for people: `NODE.weight`, `NODE:v`.
    """

    name: str
    ctype: str
    role: str
    sizes: Array
    data: Callable[[], Array] | None = None
    label: str = ""

    @property
    def room(self) -> Array:
        """Elements that each part's region has, [parts].

        At least one, and whole words of 32 bits: workers write no less, and what the host sends is
        a multiple of a word (graphcore/poplibs, tools/random_generator.cpp, pads what is not).
        """
        word = max(1, WORD // ITEM_BYTES[self.ctype])
        words: Array = -(-np.maximum(self.sizes, 1) // word) * word
        return words

    @property
    def bytes(self) -> Array:
        """Bytes that each part's region takes, [parts]."""
        found: Array = rounded(self.room * ITEM_BYTES[self.ctype])
        return found

    def content(self) -> Array:
        """Return the elements of all regions, in the type that tiles keep them in."""
        assert self.data is not None
        data = np.asarray(self.data()).astype(DTYPES[self.ctype], copy=False)
        if np.array_equal(self.room, self.sizes):
            return data
        found = np.zeros(int(self.room.sum()), data.dtype)
        shift = np.concatenate([[0], np.cumsum(self.room - self.sizes)[:-1]])
        found[np.arange(len(data)) + np.repeat(shift, self.sizes)] = data
        return found
