"""What the report of a folder says about a plan: tables, and pictures of the tiles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from snnir.errors import shown
from snnir.pixels import png
from snnir.target import Table
from snnir.targets.ipu.cost import assumptions, level_costs
from snnir.targets.ipu.machine import CLOCK_HZ
from snnir.targets.ipu.memory import Array
from snnir.targets.ipu.plan import KINDS, Plan
from snnir.targets.ipu.structure import INPUT, Stage

#: Tiles in a row of a picture, pixels of a tile, and of what is between panels.
_COLUMNS, _PIXELS, _GAP = 46, 9, 12
#: Panels side by side.
_ACROSS = 4
#: Stages with an entry of their own in the picture of shares.
_MOST_STAGES = 12
_EMPTY, _LITTLE, _FULL = (235, 235, 235), (205, 225, 245), (150, 20, 40)


def tables(plan: Plan) -> dict[str, Table]:
    """Return the report's tables."""
    stages = (
        "stage", "level", "elements", "of a part", "parts", "tiles", "sent as", "bytes",
        "cycles (estimated)",
    )  # fmt: skip
    exchange = ("value", "sent as", "tiles that receive it", "bytes", "most bytes of a tile",
                "between IPUs")  # fmt: skip
    levels = ("level", "exchange", "links", "waiting", "compute", "cycles")
    return {
        "Stages on tiles": (stages, [_stage(plan, stage) for stage in plan.stages.values()]),
        "Bytes of tiles": (("", "all tiles", "fullest tile"), list(_memory(plan))),
        "Exchange of a step": (exchange, list(_exchange(plan))),
        "Estimated cycles of a step": (levels, list(_levels(plan))),
        "What the estimate assumes (sources: plan.json)": (
            ("", "value", "unit", "how well known"),
            [(a.name, f"{a.value:,.10g}", a.unit, a.strength) for a in assumptions(plan.activity)],
        ),
    }


def _stage(plan: Plan, stage: Stage) -> tuple[object, ...]:
    streams = [plan.streams[value] for value in stage.results]
    cut, computes = streams[0].cut, stage.kind != INPUT
    forms = ", ".join(dict.fromkeys(stream.form for stream in streams))
    cycles = int(plan.cycles(stage.name).max()) if computes else 0
    tiles = len(set(plan.placement[stage.name].tiles))
    size = int(plan.stage_bytes(stage.name).sum())
    return stage.name, stage.level, cut.size, cut.per, cut.parts, tiles, forms, size, cycles


def _memory(plan: Plan) -> Iterator[tuple[object, ...]]:
    worst = int(np.argmax(plan.tile_bytes))
    for kind in KINDS:
        each = plan.bytes_by_kind[kind]
        yield kind, int(each.sum()), int(each[worst])
    yield "all", int(plan.tile_bytes.sum()), plan.fullest
    yield "there is, less the reserve", plan.machine.capacity, plan.machine.usable


def _exchange(plan: Plan) -> Iterator[tuple[object, ...]]:
    for image in plan.images.values():
        stream, received = plan.streams[image.value], plan.received(image)
        name = f"{stream.name}, of the step before" if image.late else stream.name
        between = int(plan.link_bytes(image).sum())
        if image.value in plan.gatherings:
            one = plan.gatherings[image.value]
            got, far = plan.collected(one), int(plan.collected(one, plan.machine.tiles).sum())
            yield f"{name}: gathered", stream.form, len(got), int(got.sum()), int(got.max()), far
        yield name, stream.form, len(image.tiles), int(received.sum()), int(received.max()), between


def _levels(plan: Plan) -> Iterator[tuple[object, ...]]:
    costs = level_costs(plan)
    for cost in costs:
        yield cost.level, cost.exchange, cost.link, cost.sync, cost.compute, cost.total
    total = sum(cost.total for cost in costs)
    yield "all", "", "", "", "", total
    if total:
        yield "steps per second", "", "", "", "", f"{CLOCK_HZ / total:,.0f}"


# --- Pictures ------------------------------------------------------------------------------------


class Pictures(Mapping[str, bytes]):
    """How full tiles are, a panel for each IPU, and the stages' shares of memory.

    They are drawn when they are asked for. The shares are drawn with matplotlib; without it they
    are only in the tables.
    """

    def __init__(self, plan: Plan) -> None:
        self._drawn: dict[str, Callable[[], bytes]] = {
            "Bytes of tiles, from none (grey) to all that may be used (red)": lambda: _tiles(plan)
        }
        if find_spec("matplotlib") is not None:
            self._drawn["Shares of the bytes used"] = lambda: _shares(plan)

    def __getitem__(self, title: str) -> bytes:
        return self._drawn[title]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)


def _tiles(plan: Plan) -> bytes:
    tiles = plan.machine.tiles
    panels = [
        panel(plan.tile_bytes[first : first + tiles] / max(1, plan.machine.usable))
        for first in range(0, plan.machine.all_tiles, tiles)
    ]
    height, width, _ = panels[0].shape
    rows = -(-len(panels) // _ACROSS)
    across = min(len(panels), _ACROSS)
    page = np.full((rows * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, 3), 255)
    for number, pixels in enumerate(panels):
        top, left = number // _ACROSS * (height + _GAP), number % _ACROSS * (width + _GAP)
        page[top : top + height, left : left + width] = pixels
    return png(page)


def panel(filled: Array) -> Array:
    """Return the tiles of an IPU as pixels, row by row, [height, width, 3].

    Args:
        filled: Share of each tile that is used, [tiles].
    """
    columns = min(_COLUMNS, len(filled))
    rows = -(-len(filled) // columns)
    shades = np.full((rows * columns, 3), 255.0)
    part = np.clip(filled, 0, 1)[:, None]
    colours = np.asarray(_LITTLE) * (1 - part) + np.asarray(_FULL) * part
    shades[: len(filled)] = np.where(part > 0, colours, _EMPTY)
    grid = shades.reshape(rows, columns, 3).repeat(_PIXELS, 0).repeat(_PIXELS, 1)
    grid[_PIXELS - 1 :: _PIXELS] = grid[:, _PIXELS - 1 :: _PIXELS] = 255
    pixels: Array = np.rint(grid)
    return pixels


def _shares(plan: Plan) -> bytes:
    from matplotlib.figure import Figure

    sizes = {name: int(plan.stage_bytes(name).sum()) for name in plan.stages}
    images = sum(int(plan.image_bytes(image).sum()) for image in plan.images.values())
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_MOST_STAGES]
    # Fonts do not have every letter that a name may have.
    bars = [(shown(ascii(name)[1:-1], 30).replace("$", r"\$"), sizes[name]) for name in largest]
    if len(largest) < len(sizes):
        rest = sum(sizes.values()) - sum(sizes[name] for name in largest)
        bars.append(("other stages", rest))
    bars.append(("received values", images))
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(bars)), layout="constrained")
    axis: Any = figure.subplots()
    axis.barh(range(len(bars)), [size / 1e6 for _, size in bars], color="#4a7db5")
    axis.set_yticks(range(len(bars)), [name for name, _ in bars])
    axis.invert_yaxis()
    axis.set_xlabel("MB")
    axis.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()
