"""Charts of two runs over each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.diffing import Diff
from snnir.reporting.charts import (
    TOP,
    Frame,
    drawing,
    element,
    label,
    line,
    number,
    reach,
    value_axis,
)
from snnir.reporting.markup import text
from snnir.reporting.runs import image, place
from snnir.windows import MOST_NEURONS, Window

Array = npt.NDArray[Any]

#: Pixels of a neuron's row, and of names at the left.
_ROW, _NAMES = 15, 150
#: Pixels above the frame for the first difference in words.
_ABOVE = 20
_COLUMNS = 340
#: Differences in the picture of all nodes: its colour.
_COLOUR = (214, 90, 20)


def place_of(found: Window, at: int) -> str:
    """Return which neuron one of a window's is."""
    return place(int(found.neurons[at]), found.shape)


def around(name: str, found: Window, dt: float | None) -> str:
    """Return both runs around a first difference: spikes over each other, or two traces."""
    values = np.concatenate([found.a, found.b])
    with np.errstate(invalid="ignore"):
        events = bool((np.isfinite(values) & (values >= 0) & (values == np.rint(values))).all())
    return _raster(name, found, dt) if events else _pair(name, found, dt)


def _raster(name: str, found: Window, dt: float | None) -> str:
    rows = len(found.neurons)
    frame = Frame(found.start, len(found.a), _ABOVE, max(rows, 2) * _ROW, dt, _NAMES)
    parts = [_first_step(frame, found), frame.box()]
    for row in range(rows):
        y = _middle(frame, row)
        mark = "\u25b6 " if row == 0 else ""
        told = f"{mark}{place_of(found, row)}"
        parts.append(label(_NAMES - 8, y + 4, told, "end first" if row == 0 else "end"))
    parts += _marks(frame, found)
    parts.append(
        element("circle", cx=frame.x(found.step), cy=_middle(frame, 0), r=9, class_="first")
    )
    whole = drawing(
        f"Spikes of {name} in both runs around step {found.step}",
        frame.bottom + frame.below + 2, "".join([*parts, frame.axis()]),
    )  # fmt: skip
    keys = (
        "<span class='both'>| in both</span><span class='only-a'>\u25cb more in a</span>"
        "<span class='only-b'>\u00d7 more in b</span>"
    )
    told = f"<b>{text(name)}</b>: {_how_many(rows)}"
    return _figure(told, whole, f"<p class='lines'>{keys}</p>")


def _how_many(rows: int) -> str:
    if rows == 1:
        return "the neuron that differs here."
    return f"the {rows} neurons that differ {'soonest' if rows == MOST_NEURONS else 'here'}."


def _middle(frame: Frame, row: int) -> float:
    return frame.top + (row + 0.5) * _ROW


def _marks(frame: Frame, found: Window) -> list[str]:
    """Return a tick for what both runs have, a ring for more in a, a cross for more in b."""
    a, b = found.a, found.b
    kinds = (
        ("both", (a == b) & (a > 0), "m0 -5v10"),
        ("only-a", a > b, "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0"),
        ("only-b", a < b, "m-3.5-3.5l7 7m-7 0l7-7"),
    )
    paths = []
    for class_, where, shape in kinds:
        steps, rows = np.nonzero(where)
        data = "".join(
            f"M{number(frame.x(found.start + step))} {number(_middle(frame, row))}{shape}"
            for step, row in zip(steps.tolist(), rows.tolist(), strict=True)
        )
        if data:
            paths.append(element("path", d=data, class_=class_))
    return paths


def _first_step(frame: Frame, found: Window) -> str:
    """Return a band at the step of the first difference."""
    wide = max(frame.width / frame.count, 3.0)
    x = frame.x(found.step)
    band = element(
        "rect", x=x - wide / 2, y=frame.top, width=wide, height=frame.height, class_="band"
    )
    return band + label(x, frame.top - 6, f"step {found.step}", "middle first")


def _pair(name: str, found: Window, dt: float | None) -> str:
    """Return the traces of the neuron that parts first."""
    a, b = found.a[:, 0], found.b[:, 0]
    low, high = reach(a, b)
    frame = Frame(found.start, len(a), _ABOVE, 170, dt, _NAMES)
    parts = [_first_step(frame, found), frame.box(), value_axis(frame, low, high)]
    for class_, y in (("side-a", a), ("side-b", b)):
        parts.append(element("path", d=line(frame, y, low, high), class_=f"trace {class_}"))
    whole = drawing(
        f"{name} of {place_of(found, 0)} in both runs around step {found.step}",
        frame.bottom + frame.below + 2, "".join([*parts, frame.axis()]),
    )  # fmt: skip
    keys = "<span class='only-a'>\u2014 a</span><span class='only-b'>- - b</span>"
    told = f"<b>{text(name)}</b> of {text(place_of(found, 0))}."
    return _figure(told, whole, f"<p class='lines'>{keys}</p>")


def _figure(told: str, whole: str, keys: str) -> str:
    return f"<figure class='run'><figcaption>{told}</figcaption>{whole}{keys}</figure>"


# --- All nodes -----------------------------------------------------------------------------------


def spread_chart(found: Diff) -> str:
    """Return all nodes that part over all steps: the darker, the more elements differ."""
    names = [node.node for node in found.nodes if node.node in found.spread]
    steps = len(next(iter(found.spread.values())))
    names = [name for name in names if len(found.spread[name]) == steps]
    frame = Frame(0, steps, TOP, len(names) * _ROW, found.dt, _NAMES)
    parts = [image(_shades(found, names, steps), _NAMES, frame.top, frame.width, frame.height)]
    first = found.first
    for row, name in enumerate(names):
        y, is_first = _middle(frame, row), first is not None and name == first.node
        mark = "\u25b6 " if is_first else ""
        parts.append(
            label(_NAMES - 8, y + 4, f"{mark}{name}", "end first" if is_first else "end", 30)
        )
        at = int(np.flatnonzero(found.spread[name])[0])
        data = f"M{number(frame.x(at - 0.5))} {number(y - _ROW / 2)}v{_ROW}"
        parts.append(element("path", d=data, class_="start" + (" first" if is_first else "")))
    whole = drawing(
        "Differing elements by node and step",
        frame.bottom + frame.below + 2, "".join([*parts, frame.box(), frame.axis()]),
    )  # fmt: skip
    told = (
        "Nodes that part, in order of flow: a line where each begins to differ, "
        "the darker, the more of its elements differ."
    )
    return _figure(told, whole, "")


def _shades(found: Diff, names: list[str], steps: int) -> Array:
    columns = min(_COLUMNS, steps)
    starts = np.arange(columns) * steps // columns
    pixels = np.empty((len(names), columns, 4), np.uint8)
    pixels[..., :3] = _COLOUR
    for row, name in enumerate(names):
        most = np.maximum.reduceat(found.spread[name], starts)
        share = np.sqrt(most / max(1, int(most.max())))
        pixels[row, :, 3] = np.rint(255 * np.where(most > 0, 0.15 + 0.85 * share, 0.0))
    return pixels
