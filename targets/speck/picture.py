"""A picture of a chip: cores, the layers on them, how full they are, and who sends to whom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.reporting.charts import drawing, element, label, number
from snnir.targets.speck import chips
from snnir.targets.speck.plan import Plan, shifts

#: Pixels: of a core, between two, beside them, of the whole.
_HIGH, _GAP, _SIDE, _WIDE = 64, 26, 110, 900
#: Where bars of memory begin and how long they are.
_BARS, _LONG = 480, 190
#: Arrows that pass by other cores lie side by side, so far apart.
_LANE = 16
_MEMORIES = (("kernel", "weights"), ("neuron", "states"), ("bias", "biases"))


def placement_picture(plan: Plan) -> str:
    """Return the chip as an SVG element: layers in order of flow, then cores that are not used."""
    return _Picture(plan).text()


class _Picture:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.chip = plan, plan.network.chip
        self.rows = {name: row for row, name in enumerate(plan.model.layers)}
        unused = set(range(len(self.chip.cores))) - set(plan.placement.cores.values())
        self.unused = sorted(unused)
        self.lanes = 0
        self.beside: dict[int, int] = {}

    def text(self) -> str:
        """Return the element."""
        parts = [*self._chip(), *self._edges(), *self._cores(), *self._spare(), *self._outside()]
        title = f"Layers on the cores of {self.chip.name}"
        return drawing(title, self.end + 10, "".join(parts), _WIDE)

    @property
    def top(self) -> float:
        """Where the chip begins, below its input."""
        return 66.0

    def y(self, row: int) -> float:
        """Return where a core begins."""
        return self.top + 30 + row * (_HIGH + _GAP)

    @property
    def bottom(self) -> float:
        """Where the chip ends."""
        return self.y(len(self.rows)) + (66 if self.unused else 0)

    @property
    def end(self) -> float:
        """Where the picture ends: below what reads the chip."""
        return self.bottom + 58

    # --- Cores -----------------------------------------------------------------------------------

    def _chip(self) -> Iterator[str]:
        high = self.bottom - self.top
        yield element("rect", x=10, y=self.top, width=_WIDE - 20, height=high, rx=10, class_="chip")
        yield label(24, self.top + 20, self.chip.name, "strong")

    def _cores(self) -> Iterator[str]:
        for name, row in self.rows.items():
            yield from self._core(name, self.y(row))

    def _core(self, name: str, y: float) -> Iterator[str]:
        core = self.plan.placement.cores[name]
        geometry = self.plan.network.cores[core].geometry
        wide = _WIDE - 2 * _SIDE
        yield element("rect", x=_SIDE, y=y, width=wide, height=_HIGH, rx=6, class_="core")
        yield label(_SIDE + 14, y + 22, f"core {core}", "faint")
        yield label(_SIDE + 70, y + 22, name, "strong", 36)
        kernel = f"kernel {geometry.kernel}x{geometry.kernel}"
        stride = "" if geometry.stride == (1, 1) else f", stride {_pair(geometry.stride)}"
        yield label(_SIDE + 70, y + 40, f"{geometry.source} \u2192 {geometry.target}")
        yield label(_SIDE + 70, y + 55, f"{kernel}{stride}", "faint")
        needed, there = geometry.words, self.chip.cores[core]
        for at, (memory, told) in enumerate(_MEMORIES):
            words, room = getattr(needed, memory), getattr(there, memory)
            yield from _bar(y + 10 + 17 * at, told, words, room)

    def _spare(self) -> Iterator[str]:
        """Yield the cores that are not used."""
        if not self.unused:
            return
        y, left = self.bottom - 60, _SIDE + 60
        wide = (_WIDE - 24 - left) / max(6, len(self.unused))
        yield label(24, y + 28, "not used", "faint")
        for at, core in enumerate(self.unused):
            x, there = left + at * wide, self.chip.cores[core]
            yield element("rect", x=x, y=y, width=wide - 6, height=48, rx=5, class_="spare")
            yield label(x + 6, y + 14, f"core {core}")
            yield label(x + 6, y + 28, f"{there.kernel // chips.KI} Ki weights", "faint")
            yield label(x + 6, y + 41, f"{there.neuron // chips.KI} Ki states", "faint")

    # --- Routes ----------------------------------------------------------------------------------

    def _edges(self) -> Iterator[str]:
        for name, layer in self.plan.model.layers.items():
            for term, shift in shifts(layer):
                pool = f"sums {term.pooling}x{term.pooling}, " if term.pooling > 1 else ""
                first = f", from channel {shift}" if shift else ""
                weights = int(np.count_nonzero(term.weights))
                told = f"{pool}{weights:,} weights{first}"
                yield from self._route(self.rows.get(term.source, -1), self.rows[name], told)
        outputs = dict.fromkeys(self.plan.model.outputs.values())
        for name in outputs:
            if name in self.rows:
                yield from self._route(self.rows[name], len(self.rows), "")

    def _route(self, source: int, target: int, told: str) -> Iterator[str]:
        """Yield an arrow to the next row straight down, to others past the cores between them."""
        start = self.y(source) + _HIGH if source >= 0 else self.top - 24
        end = self.y(target) if target < len(self.rows) else self.bottom + 18
        if target == source + 1:
            x = _SIDE + 34.0
            yield _arrow(f"M{number(x)} {number(start)}V{number(end)}", x, end)
            yield label(x + 10, end - 9, told, "faint")
            return
        lane = _WIDE - _SIDE + 14 + _LANE * (self.lanes % 5)
        self.lanes += 1
        edge = _WIDE - _SIDE
        begin = self.y(source) + 0.75 * _HIGH if source >= 0 else start - 10
        finish = end + 0.25 * _HIGH if target < len(self.rows) else end + 12
        data = f"M{number(edge)} {number(begin)}H{number(lane)}V{number(finish)}H{number(edge)}"
        yield _arrow(data, edge, finish, sideways=True)
        # Several that come from the side stand beside each other above the reader.
        before = self.beside.get(target, 0)
        self.beside[target] = before + 1
        yield label(edge - 10 - 190 * before, end - 9, told, "end faint")

    def _outside(self) -> Iterator[str]:
        """Yield what sends to the chip and what reads it."""
        given = "the chip's sensor" if self.plan.wishes.view is not None else "events of the host"
        names = ", ".join(self.plan.model.inputs)
        yield from _box(self.top - 58, f"{given}: {names}")
        read = "the readout block" if self.plan.network.readout else "the host (monitor)"
        outputs = ", ".join(self.plan.model.outputs)
        yield from _box(self.bottom + 18, f"{read}: {outputs}")


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _box(y: float, told: str) -> Iterator[str]:
    wide = _WIDE - 2 * _SIDE
    yield element("rect", x=_SIDE, y=y, width=wide, height=34, rx=6, class_="outside")
    yield label(_SIDE + 70, y + 21, told, "", 90)


def _bar(y: float, told: str, words: int, room: int) -> Iterator[str]:
    """Yield how full a memory is."""
    share = min(1.0, words / room)
    yield label(_BARS + 40, y + 9, told, "end")
    x = _BARS + 48
    yield element("rect", x=x, y=y, width=_LONG, height=11, rx=2, class_="room")
    yield element("rect", x=x, y=y, width=max(1.0, share * _LONG), height=11, rx=2, class_="used")
    yield label(x + _LONG - 4, y + 9, f"{words:,} of {room:,}", "end over")


def _arrow(data: str, x: float, y: float, *, sideways: bool = False) -> str:
    head = "l7-4v8Z" if sideways else "l-4-7h8Z"
    tip = element("path", d=f"M{number(x)} {number(y)}{head}", class_="head")
    return element("path", d=data, class_="route") + tip
