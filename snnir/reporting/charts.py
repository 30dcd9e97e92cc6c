"""Charts in SVG text: a frame with steps and seconds below it, and what is drawn inside.

Colours are classes of `runs.css`, so that a chart is readable on light and dark pages; what comes
from a model is escaped.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import shown

Array = npt.NDArray[Any]

#: Pixels of a chart, and of its margins beside the frame.
WIDTH, LEFT, RIGHT, TOP = 900, 64, 16, 8
#: Pixels inside the frame.
INNER = WIDTH - LEFT - RIGHT
#: Pixels below the frame: steps, and seconds if they are known.
_BELOW_STEPS, _BELOW_SECONDS = 20, 14
#: Values beyond are drawn at the edge.
_LARGEST = 1e307
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def number(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rounded(value: float) -> str:
    """Return a number for people: four digits, large ones whole with their thousands apart."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def element(tag: str, content: str = "", /, **attributes: Any) -> str:
    """Return an element; `_` in a name stands for `-`, a trailing one for nothing.

    Args:
        tag: Its name.
        content: Markup inside.
        attributes: Texts are escaped, numbers are rounded to hundredths.
    """
    listed = "".join(
        f" {name.rstrip('_').replace('_', '-')}='{_attribute(value)}'"
        for name, value in attributes.items()
    )
    return f"<{tag}{listed}>{content}</{tag}>" if content else f"<{tag}{listed}/>"


def _attribute(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else html.escape(str(value))


def label(x: float, y: float, content: Any, class_: str = "", limit: int = 60) -> str:
    """Return a text; see `runs.css` for classes such as `end` and `middle`."""
    return element("text", html.escape(shown(str(content), limit)), x=x, y=y, class_=class_)


def drawing(title: str, height: float, content: str, width: float = WIDTH) -> str:
    """Return a whole chart.

    Args:
        title: What a reader hears who does not see it.
        height: Pixels.
        content: Elements.
        width: Pixels.
    """
    spoken = html.escape(shown(title, 400), quote=True)
    box = f"0 0 {number(width)} {number(height)}"
    return (
        f"<svg class='chart' viewBox='{box}' width='{number(width)}' height='{number(height)}' "
        f"role='img' aria-label='{spoken}'>{content}</svg>"
    )


def nice(span: float, most: int) -> float:
    """Return a distance of ticks, 1, 2 or 5 times a power of ten, so that there are few."""
    if not span > 0 or not math.isfinite(span):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * m for m in (1, 2, 5, 10, 20) if span / (power * m) <= most)


@dataclass(frozen=True)
class Frame:
    """Where steps are in a chart.

    Attributes:
        first: The step at the left.
        count: Number of steps.
        top, height: Of what is drawn, in pixels.
        dt: Seconds per step, if known.
        left: Where it begins, in pixels.
    """

    first: int
    count: int
    top: float
    height: float
    dt: float | None = None
    left: float = LEFT

    @property
    def width(self) -> float:
        """Pixels inside."""
        return WIDTH - RIGHT - self.left

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    @property
    def below(self) -> float:
        """Pixels of the axis."""
        return _BELOW_STEPS + (_BELOW_SECONDS if self.dt else 0)

    def x(self, step: float) -> float:
        """Return where the middle of a step is."""
        return self.left + (step - self.first + 0.5) * self.width / max(1, self.count)

    def box(self) -> str:
        """Return the edges."""
        return element(
            "rect", x=self.left, y=self.top, width=self.width, height=self.height, class_="frame"
        )

    def axis(self) -> str:
        """Return ticks with steps, and seconds if they are known."""
        return "".join(self._ticks())

    def _ticks(self) -> Iterator[str]:
        every = max(1, int(nice(self.count, 8)))
        start = -(-self.first // every) * every
        base = self.bottom + 14
        steps = range(start, self.first + self.count, every)
        yield label(self.left - 8, base, "step", "end")
        for step in steps:
            edge = f"M{number(self.x(step))} {number(self.bottom)}v4"
            yield element("path", d=edge, class_="tick") + label(self.x(step), base, step, "middle")
        scale, unit = self._unit()
        if self.dt:
            yield label(self.left - 8, base + _BELOW_SECONDS, unit, "end faint")
            for step in steps:
                seconds = f"{step * self.dt / scale:.6g}"
                yield label(self.x(step), base + _BELOW_SECONDS, seconds, "middle faint")

    def _unit(self) -> tuple[float, str]:
        last = (self.first + self.count) * (self.dt or 1.0)
        return next((u for u in _UNITS if last >= u[0]), _UNITS[-1])

    def steps_and_rows(self, rows: int) -> str:
        """Return a transform to (step, row): steps begin at their left edge, row 0 is lowest."""
        across, up = self.width / max(1, self.count), self.height / max(1, rows)
        x = self.left - self.first * across
        return f"translate({number(x)} {number(self.bottom)}) scale({across:.6g} {-up:.6g})"


def value_axis(frame: Frame, low: float, high: float) -> str:
    """Return ticks with values at the left, from low at the bottom to high at the top."""
    every = nice(high - low, max(2, int(frame.height // 32)))
    parts: list[str] = []
    value = math.ceil(low / every) * every
    while value <= high + 1e-9 * every and len(parts) < 20:
        y = frame.bottom - (value - low) / (high - low) * frame.height
        told = f"{0.0 if abs(value) < 1e-9 * every else value:.6g}"
        edge = f"M{number(frame.left)} {number(y)}"
        grid = element("path", d=f"{edge}h{number(frame.width)}", class_="grid")
        tick = element("path", d=f"{edge}h-4", class_="tick")
        parts.append(grid + tick + label(frame.left - 8, y + 4, told, "end"))
        value += every
    return "".join(parts)


def row_axis(frame: Frame, rows: int) -> str:
    """Return the numbers of rows at the left, row 0 lowest."""
    every = max(1, int(nice(rows, max(1, int(frame.height // 16)))))
    parts = []
    for row in range(0, rows, every):
        y = frame.bottom - (row + 0.5) * frame.height / rows
        tick = element("path", d=f"M{LEFT} {number(y)}h-4", class_="tick")
        parts.append(tick + label(LEFT - 8, y + 4, row, "end"))
    return "".join(parts)


def marks(steps: Sequence[int] | Array, rows: Sequence[int] | Array) -> str:
    """Return spikes as path data in units of steps and rows: one `M step row v` for each."""
    pairs = zip(np.asarray(steps).tolist(), np.asarray(rows).tolist(), strict=True)
    return "".join(f"M{step}.5 {row}.1v.8" for step, row in pairs)


def line(frame: Frame, values: Array, low: float, high: float, columns: int = INNER) -> str:
    """Return a trace as path data; long ones go by the least and largest value of each column.

    Args:
        frame: Where it is drawn.
        values: One for every step of the frame; what is not finite interrupts the line.
        low: Value at the bottom edge.
        high: Value at the top edge.
        columns: Of a long one; by default one for each pixel.
    """
    steps, kept = _thinned(np.asarray(values, np.float64), columns)
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.clip((kept - low) / (high - low), 0.0, 1.0)
    text, pen = [], "M"
    for step, value, part in zip(steps.tolist(), kept.tolist(), share.tolist(), strict=True):
        if not math.isfinite(value):
            pen = "M"
            continue
        x, y = frame.x(frame.first + step), frame.bottom - part * frame.height
        # A point without neighbours has to be seen as well.
        text.append(f"{pen}{number(x)} {number(y)}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return "".join(text)


def _thinned(values: Array, columns: int) -> tuple[Array, Array]:
    """Return steps and values of a trace: the least and largest of each column, in order."""
    count = len(values)
    if count <= 2 * columns:
        return np.arange(count), values
    edges = np.arange(columns + 1) * count // columns
    chosen: set[int] = set()
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        good = np.flatnonzero(np.isfinite(part))
        if len(good) < len(part):
            chosen.add(start + int(np.flatnonzero(~np.isfinite(part))[0]))
        if len(good):
            chosen |= {
                start + int(good[part[good].argmin()]),
                start + int(good[part[good].argmax()]),
            }
    steps = np.array(sorted(chosen))
    return steps, values[steps]


def reach(*traces: Array) -> tuple[float, float]:
    """Return the least and largest finite values, a little apart."""
    found = [y[np.isfinite(y)] for y in (np.asarray(t, np.float64) for t in traces)]
    known = [y for y in found if y.size]
    if not known:
        return 0.0, 1.0
    low, high = float(min(y.min() for y in known)), float(max(y.max() for y in known))
    low, high = max(low, -_LARGEST), min(high, _LARGEST)
    room = 0.05 * (high - low) if high > low else 0.5 * abs(low) or 1.0
    return low - room, high + room
