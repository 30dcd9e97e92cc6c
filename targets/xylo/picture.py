"""A picture of a configured chip: its weights from events and hidden neurons to all neurons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.reporting.charts import drawing, element, label
from snnir.reporting.runs import image
from snnir.targets.xylo.layout import Group
from snnir.targets.xylo.plan import Plan

Array = npt.NDArray[Any]

_WIDE, _LEFT, _TOP, _RIGHT, _STRIP = 900, 180, 74, 20, 14
#: Pixels of a neuron at most and at least, and of a gap between blocks.
_MOST, _GAP, _COLOURS = 9.0, 10, 12
#: Most pixels of a side of a matrix.
_SIDE = 620
_RED, _BLUE, _MOST_WEIGHT = (214, 62, 40), (64, 118, 232), 127


def weights_picture(plan: Plan) -> str:
    """Return the weights of a chip as an SVG element: rows send, columns receive."""
    return _Picture(plan).text()


class _Picture:
    def __init__(self, plan: Plan) -> None:
        self.plan, layout = plan, plan.layout
        weights = {**plan.hidden.weights, **plan.readout.weights}
        self.events, self.hidden = weights["inp"], weights["rec"]
        self.out = weights["out"]
        sources, neurons = len(self.events) + len(self.out), self.hidden.shape[1]
        targets = neurons + self.out.shape[1]
        self.cell = min(_MOST, _SIDE / max(sources, targets, 1))
        names = [group.name for block in ("hidden", "readout") for group in layout.of_block(block)]
        self.colours = {name: f"fill k{at % _COLOURS}" for at, name in enumerate(names)}

    def text(self) -> str:
        """Return the element."""
        cell, down = self.cell, _TOP + len(self.events) * self.cell + _GAP
        right = _LEFT + self.hidden.shape[1] * cell + _GAP
        parts = [
            *self._matrix(self.events, _LEFT, _TOP), *self._matrix(self.hidden, _LEFT, down),
            *self._matrix(self.out, right, down),
            *self._columns("hidden", _LEFT), *self._columns("readout", right),
            *self._sources(down), *self._use(),
        ]  # fmt: skip
        rows = max(len(self.hidden), len(self.out))
        height = max(down + rows * cell + 16, _TOP + 40 + 16 * len(self.plan.layout.groups))
        return drawing(f"Weights on {self.plan.layout.chip.name}", height, "".join(parts), _WIDE)

    def _matrix(self, weights: Array, x: float, y: float) -> Iterator[str]:
        rows, columns = weights.shape
        if not rows or not columns:
            return
        pixels = np.zeros((rows, columns, 4), np.uint8)
        pixels[..., :3] = np.where((weights > 0)[..., None], _RED, _BLUE)
        strength = np.clip(np.abs(weights) / _MOST_WEIGHT, 0.0, 1.0)
        pixels[..., 3] = np.rint(255 * np.where(weights != 0, 0.3 + 0.7 * strength, 0.0))
        wide, high = columns * self.cell, rows * self.cell
        yield image(pixels, x, y, wide, high)
        yield element("rect", x=x, y=y, width=wide, height=high, class_="frame")

    def _columns(self, block: str, left: float) -> Iterator[str]:
        """Yield the neurons of a block above what they receive."""
        for group in self.plan.layout.of_block(block):
            x, wide = left + group.first * self.cell, group.size * self.cell
            y = _TOP - _STRIP - 4
            yield element(
                "rect", x=x, y=y, width=wide, height=_STRIP, class_=self.colours[group.name]
            )
            letters = int(wide / 7)
            if len(group.name) <= letters:
                yield label(x + wide / 2, y + 11, group.name, "middle")
        yield label(left, _TOP - _STRIP - 12, block, "strong")

    def _sources(self, down: float) -> Iterator[str]:
        """Yield what sends, at the left."""
        for name, first in self.plan.layout.channels.items():
            yield label(_LEFT - 24, _TOP + first * self.cell + 10, name, "end", 22)
        for group in self.plan.layout.of_block("hidden"):
            yield from self._row(group, down)

    def _row(self, group: Group, down: float) -> Iterator[str]:
        y, high = down + group.first * self.cell, group.size * self.cell
        x = _LEFT - _STRIP - 4
        yield element("rect", x=x, y=y, width=_STRIP, height=high, class_=self.colours[group.name])
        if high >= 11:
            yield label(x - 6, y + min(high / 2 + 4, 24), group.name, "end", 22)

    def _use(self) -> Iterator[str]:
        """Yield how much of the chip is in use."""
        layout, chip = self.plan.layout, self.plan.layout.chip
        recurrent = int(np.count_nonzero(self.hidden))
        told = (
            f"{len(self.events)} of {chip.inputs} inputs, "
            f"{layout.count('hidden')} of {chip.hidden} hidden neurons, "
            f"{layout.count('readout')} of {chip.outputs} readout neurons, "
            f"{recurrent:,} of {chip.connections:,} recurrent connections"
        )
        yield label(_LEFT, 14, f"{told}.", "", 200)
        yield label(
            _LEFT, 30, "Rows send, columns receive: red excites, blue inhibits.", "faint", 200
        )
