"""What a run gave: rasters of spikes, traces of states, counts and rates."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.pixels import png
from snnir.reporting.charts import (
    INNER,
    LEFT,
    TOP,
    Frame,
    drawing,
    element,
    label,
    line,
    marks,
    number,
    reach,
    rounded,
    row_axis,
    value_axis,
)
from snnir.reporting.markup import Section, table, text
from snnir.running import Result

Array = npt.NDArray[Any]

#: Neurons of a panel of traces.
MOST_TRACES = 12
#: Panels of a section; what is beyond is in the table only.
MOST_PANELS = 30
#: Spikes of a population that are drawn one by one, and those of a page; more are a density.
MOST_SPIKES, MOST_SPIKES_OF_A_PAGE = 20_000, 50_000
#: Columns and rows of a density; where there are many panels, half as many columns.
_COLUMNS, _ROWS, _MANY = 410, 64, 12
#: Points of all traces of a page.
_POINTS = 60_000
#: Of a density: its colour and the number of its shades.
_COLOUR, _SHADES = (74, 144, 217), 24


def run_sections(
    result: Result, dt: float | None = None, *, sample: int = 0, counted: bool = False
) -> list[Section]:
    """Return the sections on a run.

    Args:
        result: What was recorded, and outputs that were not.
        dt: Seconds per step, if known.
        sample: Which of the batch is drawn; counts are of all.
        counted: Whether another section has the counts.

    Raises:
        SnnirError: SNN601 for a sample that is not there, or records that are not [T, B, *shape].
    """
    shown = _checked(_drawn(result), sample)
    spiking = {n: y for n, y in shown.items() if n in result.stats or _are_events(n, y)}
    others = {name: y for name, y in shown.items() if name not in spiking}
    found = []
    if spiking or result.stats:
        body = "" if counted else _counts(result, spiking, dt)
        body += _panels(_rasters(result, spiking, dt, sample), len(spiking))
        found.append(Section("spikes", "Spikes of a run", _of_sample(shown, sample) + body))
    if others:
        columns = _POINTS // (2 * MOST_TRACES * min(len(others), MOST_PANELS))
        drawn = (_traces(n, y, dt, sample, min(columns, INNER)) for n, y in others.items())
        body = _panels(drawn, len(others))
        found.append(Section("traces", "States and values of a run", body))
    return found


def _drawn(result: Result) -> dict[str, Array]:
    """Return what was recorded, and the outputs that are not the same."""
    found = dict(result.recorded)
    for name, y in result.outputs.items():
        same = (z for z in result.recorded.values() if z.shape == y.shape)
        if not any(np.array_equal(z, y, equal_nan=y.dtype.kind == "f") for z in same):
            found[f"output:{name}"] = y
    return found


def _checked(traces: Mapping[str, Array], sample: int) -> dict[str, Array]:
    for name, y in traces.items():
        if y.ndim < 2 or 0 in y.shape[:2]:
            message = f"a record must be [T, B, *shape], this is {list(y.shape)}"
            raise error("SNN601", message, node=name)
        if not 0 <= sample < y.shape[1]:
            raise error("SNN601", f"sample {sample} is not in a batch of {y.shape[1]}", node=name)
    return dict(traces)


def _are_events(name: str, y: Array) -> bool:
    """Whether a record looks like spikes: no state of a node, and nothing but 0 and 1."""
    return ":" not in name.removeprefix("output:") and bool(((y == 0) | (y == 1)).all())


def _of_sample(shown: Mapping[str, Array], sample: int) -> str:
    if not shown:
        return ""
    steps, batch = next(iter(shown.values())).shape[:2]
    which = "" if batch == 1 else f"; sample {sample} of {batch} is drawn"
    return f"<p>{steps} steps{which}.</p>"


def _panels(drawn: Iterator[str], count: int) -> str:
    panels = [panel for panel, _ in zip(drawn, range(MOST_PANELS), strict=False)]
    if count > MOST_PANELS:
        panels.append(f"<p>{count - MOST_PANELS} more are not drawn.</p>")
    return "".join(panels)


# --- Counts --------------------------------------------------------------------------------------


def _counts(result: Result, recorded: Mapping[str, Array], dt: float | None) -> str:
    """Return the table of all populations, over all samples."""
    rows = []
    for name, facts in result.stats.items():
        neurons, spikes, rate = (facts[key] for key in ("neurons", "spikes", "rate"))
        y = recorded.get(name)
        silent: Any = "-" if y is None else int((~y.any(axis=(0, 1))).sum())
        hertz = rounded(rate / dt) if dt else "-"
        rows.append((name, neurons, spikes, f"{rate:.4g}", hertz, silent))
    head = ("population", "neurons", "spikes", "per neuron and step", "Hz", "silent neurons")
    return table(head, rows) if rows else ""


# --- Rasters -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raster:
    """Spikes of one sample of a population.

    Attributes:
        steps, neurons: Where they are, by neuron and step.
        counts: How many there are at once.
        length, size: Steps of the run, neurons of the population.
    """

    steps: Array
    neurons: Array
    counts: Array
    length: int
    size: int

    @classmethod
    def of(cls, trace: Array) -> Raster:
        """Return what a trace [T, *shape] has."""
        flat = trace.reshape(len(trace), -1)
        neurons, steps = np.nonzero(flat.T)
        return cls(steps, neurons, flat[steps, neurons], len(flat), flat.shape[1])


def _rasters(
    result: Result, traces: Mapping[str, Array], dt: float | None, sample: int
) -> Iterator[str]:
    left = MOST_SPIKES_OF_A_PAGE
    for name, y in traces.items():
        raster = Raster.of(y[:, sample])
        alone = len(raster.steps) <= min(MOST_SPIKES, left)
        left -= len(raster.steps) if alone else 0
        columns = 0 if alone else _COLUMNS // (1 + (len(traces) > _MANY))
        unit = "neuron" if name in result.stats else "element"
        yield _raster(name, raster, dt, columns, unit)


def _raster(name: str, raster: Raster, dt: float | None, columns: int, unit: str) -> str:
    """Return the panel of a population: spikes, spikes per step, and a sentence.

    Args:
        name: Of the population.
        raster: Its spikes.
        dt: Seconds per step, if known.
        columns: Of a density; 0 to draw spikes one by one.
        unit: What its elements are.
    """
    height = min(max(5 * raster.size, 24), 160)
    frame = Frame(0, raster.length, TOP, height, dt)
    pace = Frame(0, raster.length, frame.bottom + 6, 26, dt)
    inner = _density(frame, raster, columns) if columns else _ticks(frame, raster)
    parts = [frame.box(), row_axis(frame, max(1, raster.size)), inner, _pace(pace, raster)]
    whole = drawing(
        f"Spikes of {name}", pace.bottom + pace.below + 2, "".join([*parts, pace.axis()])
    )
    how = "" if not columns else " Too many to draw one by one: the darker, the more."
    told = f"<b>{text(name)}</b> {_sentence(raster, dt, unit)}{how}"
    return f"<figure class='run'><figcaption>{told}</figcaption>{whole}</figure>"


def _sentence(raster: Raster, dt: float | None, unit: str) -> str:
    neurons = f"{raster.size:,} {unit}{'' if raster.size == 1 else 's'}"
    spikes = float(raster.counts.sum(dtype=np.float64))
    if not raster.size or not len(raster.steps):
        return f"{neurons}, silent."
    rate = spikes / (raster.size * raster.length)
    pace = f" ({rounded(rate / dt)} Hz)" if dt else ""
    silent = raster.size - len(np.unique(raster.neurons))
    quiet = f", {silent:,} silent" if silent else ""
    each = f"{rate:.4g} per {unit} and step"
    return f"{neurons}{quiet}; {spikes:,.10g} spikes, {each}{pace}."


def _ticks(frame: Frame, raster: Raster) -> str:
    """Return every spike; those that are more than one at once are thicker."""
    # Marks of neighbours shall not flow together.
    row = frame.height / max(1, raster.size)
    wide = min(max(0.7 * INNER / max(1, raster.length), 1.2), 3.0, max(1.2, row))
    many = np.abs(raster.counts) > 1
    where = frame.steps_and_rows(raster.size)
    paths = []
    for which, class_, width in ((~many, "spikes", wide), (many, "spikes many", 2 * wide)):
        data = marks(raster.steps[which], raster.neurons[which])
        if data:
            paths.append(
                element("path", d=data, class_=class_, transform=where, stroke_width=width)
            )
    return "".join(paths)


def _density(frame: Frame, raster: Raster, most: int) -> str:
    """Return spikes as shades."""
    columns, rows = min(most, raster.length), min(_ROWS, raster.size)
    x, y = raster.steps * columns // raster.length, raster.neurons * rows // raster.size
    cells = np.bincount(y * columns + x, np.abs(raster.counts), rows * columns)
    across = np.bincount(np.arange(raster.length) * columns // raster.length)
    down = np.bincount(np.arange(raster.size) * rows // raster.size)
    share = cells.reshape(rows, columns) / np.outer(down, across)
    # Few spikes have to be seen beside many.
    shade = np.ceil(np.sqrt(share / share.max()) * _SHADES) / _SHADES
    pixels = np.empty((rows, columns, 4), np.uint8)
    pixels[..., :3] = _COLOUR
    pixels[..., 3] = np.rint(255 * shade[::-1])
    return image(pixels, LEFT, frame.top, INNER, frame.height)


def image(pixels: Array, x: float, y: float, width: float, height: float) -> str:
    """Return pixels [height, width, 3 or 4] as a part of a drawing, not smoothed."""
    data = base64.b64encode(png(pixels)).decode()
    return element(
        "image", href=f"data:image/png;base64,{data}", x=x, y=y, width=width, height=height,
        preserveAspectRatio="none", class_="pixels",
    )  # fmt: skip


def _pace(frame: Frame, raster: Raster) -> str:
    """Return the number of spikes in every step as an area."""
    each = np.bincount(raster.steps, np.abs(raster.counts), raster.length)
    most = float(each.max(initial=0.0))
    told = label(LEFT - 8, frame.top + 10, f"{most:,.6g}", "end faint")
    if not most:
        return frame.box() + told
    columns = min(raster.length, INNER // 2)
    starts = np.arange(columns) * raster.length // columns
    tops = np.maximum.reduceat(each, starts)
    width = INNER / columns
    points = [f"M{LEFT} {number(frame.bottom)}"]
    for index, value in enumerate(tops.tolist()):
        y = frame.bottom - value / most * frame.height
        points.append(f"L{number(LEFT + index * width)} {number(y)}h{number(width)}")
    points.append(f"V{number(frame.bottom)}Z")
    area = element("path", d="".join(points), class_="pace")
    return frame.box() + area + told


# --- Traces --------------------------------------------------------------------------------------


def _traces(name: str, y: Array, dt: float | None, sample: int, columns: int) -> str:
    """Return the panel of a state: the neurons that move most."""
    flat = y[:, sample].reshape(len(y), -1)
    chosen = _moving(flat)
    shape = y.shape[2:]
    low, high = reach(flat[:, chosen]) if len(chosen) else (0.0, 1.0)
    frame = Frame(0, len(flat), TOP, 150, dt)
    lines = (
        element(
            "path", d=line(frame, flat[:, n], low, high, columns),
            class_=f"trace k{key % MOST_TRACES}",
        )
        for key, n in enumerate(chosen)
    )  # fmt: skip
    parts = [frame.box(), value_axis(frame, low, high), *lines, frame.axis()]
    whole = drawing(f"Traces of {name}", frame.bottom + frame.below + 2, "".join(parts))
    keys = [(k, place(int(n), shape)) for k, n in enumerate(chosen)]
    which = ""
    if flat.shape[1] > len(chosen):
        which = f" The {len(chosen)} of {flat.shape[1]:,} neurons that move most."
    lost = int((~np.isfinite(flat)).sum())
    if lost:
        which += f" {lost:,} values are not finite; lines stop there."
    told = f"<b>{text(name)}</b>{which}"
    return f"<figure class='run'><figcaption>{told}</figcaption>{whole}{legend(keys)}</figure>"


def _moving(flat: Array) -> list[int]:
    """Return the neurons whose traces reach furthest, in order."""
    with np.errstate(invalid="ignore", over="ignore"):
        good = np.where(np.isfinite(flat), flat, np.nan).astype(np.float64)
        low = np.fmin.reduce(good, axis=0)
        span = np.nan_to_num(np.fmax.reduce(good, axis=0) - low, nan=-1.0)
    return sorted(np.argsort(-span, kind="stable")[:MOST_TRACES].tolist())


def legend(keys: Iterable[tuple[int, str]]) -> str:
    """Return what lines are, each in its colour."""
    items = (f"<span class='k{key % MOST_TRACES}'>{text(told)}</span>" for key, told in keys)
    return f"<p class='lines'>{''.join(items)}</p>"


def place(neuron: int, shape: tuple[int, ...]) -> str:
    """Return which neuron this is: a number, or a place in a population of several axes."""
    if len(shape) < 2 or math.prod(shape) == 0:
        return f"neuron {neuron}"
    return f"neuron {[int(i) for i in np.unravel_index(neuron, shape)]}"
