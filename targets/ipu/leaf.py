"""How a vertex gets the numbers of one value that its stage reads.

A leaf says four things of a read: which elements of the value each part needs, which memory it
needs beside them, the C++ that computes with them, and how much work that is. In that C++ `b` is
the sample, `j` an element of the part and `i` the same element of the whole value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir.graph import Node
from snnir.targets.ipu.memory import BITS, LISTS, VALUES, Array, Cut, Field, Stream

#: Instructions of a turn of a loop beside what it does, of reading one element, and of dividing
#: integers by a constant.
TURN, READ, DIVIDE = 2, 2, 12


@dataclass(frozen=True)
class Leaf:
    """One read of a stage.

    Attributes:
        number: Its place among the stage's reads; names in the codelet end with it.
        node: The op that reads.
        stream: What is read.
        cut: How the stage is cut.
        total: C++ type of what it gives, `float` or `int`.
        half: Whether its real weights are kept in 16 bits.
    """

    number: int
    node: Node
    stream: Stream
    cut: Cut
    total: str
    half: bool = False

    @property
    def given(self) -> str:
        """Name of the field with the items of the stream."""
        return f"in{self.number}"

    @property
    def is_local(self) -> bool:
        """Whether it reads the part of the stream that lies on the same tile as its own part."""
        return False

    @property
    def base(self) -> str:
        """C++ of the offset of sample b; unsigned, so it may wrap around."""
        return f"at{self.number}"

    @property
    def samples(self) -> int:
        """Samples of a part that lie together in an image; values lie sample by sample.

        Lists and bits are sent in whole parts, each one piece of memory however many samples.
        """
        return 1 if self.stream.form == VALUES else self.stream.batch

    def start(self) -> list[str]:
        """Return the statements that begin a sample."""
        given, samples = self.given, self.samples
        if samples == 1:
            return [f"const unsigned {self.base} = b * {given}_width - {given}_first;"]
        own = f"b * {self.stream.unit}u - {given}_first * {samples}u"
        return [f"const unsigned {self.base} = {own};"]

    def place(self, item: str) -> str:
        """Return the C++ of where an item of sample b lies."""
        samples, unit = self.samples, self.stream.unit
        if samples == 1:
            return f"{self.base} + {item}"
        if unit == 1:
            return f"{self.base} + {item} * {samples}u"
        return f"{self.base} + {item} + {item} / {unit}u * {unit * (samples - 1)}u"

    def reach(self) -> tuple[Array, Array]:
        """Return the first element that each part needs and one more than the last, [parts] each.

        Where they are equal the part needs none.
        """
        return np.zeros(self.cut.parts, np.int64), np.full(self.cut.parts, self.stream.cut.size)

    def fields(self) -> list[Field]:
        """Return the memory it needs for each part."""
        return []

    def before(self) -> list[str]:
        """Return the statements before the elements of a sample."""
        return []

    def inside(self) -> list[str]:
        """Return the statements before element j."""
        return []

    def element(self) -> str:
        """Return element j."""
        raise NotImplementedError

    def work(self, activity: float) -> Array:
        """Return the instructions of each part for one sample, [parts].

        Args:
            activity: Share of spikes that are 1.
        """
        return (READ + TURN) * self.cut.lengths()

    # --- C++ -------------------------------------------------------------------------------------

    @property
    def lookup(self) -> int:
        """Instructions of `item`; where parts are no power of two, a word is found by dividing."""
        if self.stream.form == VALUES:
            return READ
        per = min(self.stream.cut.per, 32)
        return READ + 4 + (0 if per & (per - 1) == 0 else 2 * DIVIDE) + self.placing

    @property
    def placing(self) -> int:
        """Instructions of `place` beside an addition."""
        unit = self.stream.unit
        if self.samples == 1:
            return 0
        return 2 if unit & (unit - 1) == 0 else DIVIDE

    def item(self, at: str) -> str:
        """Return the number that element `at` of the stream is."""
        if self.stream.form == VALUES:
            return f"{self.given}[{self.place(at)}]"
        per = self.stream.cut.per
        word, bit = (f"({at}) / {min(per, 32)}u", f"({at}) % {min(per, 32)}u")
        return self.bit(word, bit)

    def bit(self, word: str, bit: str) -> str:
        """Return 0 or 1 for a bit of a word of the stream."""
        assert self.stream.form == BITS
        return f"({self.given}[{self.place(word)}] >> {bit} & 1u)"

    def each_event(self, body: list[str]) -> list[str]:
        """Return a loop over the elements k received that are not zero; of values over all."""
        given, base, per, unit = self.given, self.base, self.stream.cut.per, self.stream.unit
        end = f"const unsigned end{self.number} = {given}_first + {given}_width;"
        until = f"< end{self.number}"
        inner = [f"        {line}" for line in body]
        if self.stream.form == VALUES:
            return [
                end,
                f"for (unsigned k = {given}_first; k {until}; ++k) {{",
                f"    const {self.total} x = {given}[{base} + k];",
                *(line[4:] for line in inner), "}",
            ]  # fmt: skip
        if self.stream.form == LISTS:
            times = f" * {self.samples}u" if self.samples > 1 else ""
            return [
                end,
                f"for (unsigned list = {given}_first; list {until}; list += {unit}u) {{",
                f"    const unsigned own = {base} + list{times};",
                f"    const unsigned last = own + {given}[own];",
                "    for (unsigned e = own + 1; e <= last; ++e) {",
                f"        const unsigned k = {given}[e];",
                *inner, "    }", "}",
            ]  # fmt: skip
        lowest = "31u - __builtin_clz(bits & -bits)"
        return [
            end,
            f"for (unsigned word = {given}_first; word {until}; ++word) {{",
            f"    for (unsigned bits = {given}[{self.place('word')}]; bits; bits &= bits - 1) {{",
            f"        const unsigned k = word * {min(per, 32)}u + {lowest};",
            *inner, "    }", "}",
        ]  # fmt: skip

    def scanning(self, activity: float) -> float:
        """Return the instructions of `each_event` beside its body, and how often that runs."""
        stream = self.stream
        if stream.form == VALUES:
            return float((TURN + READ) * stream.cut.size)
        events = activity * stream.cut.size
        if stream.form == LISTS:
            return (2 * TURN + READ) * stream.cut.parts + (TURN + READ) * events
        words = stream.cut.parts * stream.unit
        return (TURN + READ + self.placing) * words + (TURN + 2 * READ) * events

    def events(self, activity: float) -> float:
        """Return how often the body of `each_event` runs."""
        return self.stream.cut.size * (1.0 if self.stream.form == VALUES else activity)


@dataclass(frozen=True)
class Same(Leaf):
    """Element i of a value whose parts lie where the stage's lie."""

    @property
    def is_local(self) -> bool:
        """It does."""
        return True

    @property
    def samples(self) -> int:
        """Its samples lie one after the other."""
        return 1

    def start(self) -> list[str]:
        """The part begins with its first element."""
        return [f"const unsigned {self.base} = b * {self.stream.unit}u;"]

    def reach(self) -> tuple[Array, Array]:
        """Return each part itself."""
        firsts = self.cut.firsts()
        return firsts, firsts + self.cut.lengths()

    def element(self) -> str:
        """Return it."""
        if self.stream.form == VALUES:
            return f"{self.given}[{self.base} + j]"
        return self.bit("j / 32u", "j % 32u")
