"""Pictures of a plan: how full tiles are, and what takes the memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.reporting.charts import drawing, element, label, number
from snnir.reporting.pictures import Pictures
from snnir.reporting.runs import image
from snnir.targets.ipu.memory import Array
from snnir.targets.ipu.plan import Plan

#: Tiles in a row of a panel, panels side by side, pixels of the drawing and beside panels.
_COLUMNS, _ACROSS, _WIDE, _LEFT, _GAP = 46, 4, 900, 50, 22
#: Most pixels of a tile, and pixels above a panel.
_TILE, _ABOVE = 12.0, 24
#: Colours and opacity of a tile without a byte, with few, and with as many as the fullest.
_EMPTY, _LITTLE, _FULL = (128, 128, 128, 56), (118, 176, 232, 255), (176, 24, 48, 255)
#: Stages with a bar of their own, pixels of a bar, where bars begin and how long they are.
_MOST_STAGES, _BAR, _BARS, _LONG = 12, 22, 260, 470


def pictures(plan: Plan) -> Pictures:
    """Return how full tiles are, a panel for each IPU, and the stages' shares of memory."""
    return Pictures(
        {
            "How full the tiles are": lambda: tiles_picture(plan),
            "Shares of the bytes used": lambda: shares_picture(plan),
        }
    )


def tiles_picture(plan: Plan) -> str:
    """Return the tiles of every IPU as an SVG element."""
    tiles, most = plan.machine.tiles, max(1, plan.fullest)
    firsts = range(0, plan.machine.all_tiles, tiles)
    across = min(len(firsts), _ACROSS)
    columns = min(_COLUMNS, tiles)
    rows = -(-tiles // columns)
    tile = min(_TILE, (_WIDE - _LEFT - across * _GAP) / (across * columns))
    wide, high = columns * tile, rows * tile
    parts: list[str] = []
    for ipu, first in enumerate(firsts):
        x = _LEFT + ipu % _ACROSS * (wide + _GAP)
        y = ipu // _ACROSS * (high + _ABOVE + 8) + _ABOVE
        own = plan.tile_bytes[first : first + tiles]
        parts.append(label(x, y - 7, f"IPU {ipu}, up to {int(own.max()):,} bytes"))
        parts.append(image(panel(own / most), x, y, wide, high))
        parts += _grid(x, y, rows, columns, tile)
        if ipu % _ACROSS == 0:
            parts += _tile_numbers(rows, columns, tile, y, first)
    end = -(-len(firsts) // _ACROSS) * (high + _ABOVE + 8) + 10
    parts += _scale(end, most, plan.machine.usable)
    return drawing("How full the tiles are", end + 40, "".join(parts), _WIDE)


def _tile_numbers(rows: int, columns: int, tile: float, top: float, first: int) -> Iterator[str]:
    """Yield the number of the first tile of some rows."""
    every = max(1, -(-16 // int(max(1.0, tile))), rows // 8)
    for row in range(0, rows, every):
        yield label(_LEFT - 8, top + row * tile + 10, first + row * columns, "end faint")


def _grid(left: float, top: float, rows: int, columns: int, tile: float) -> Iterator[str]:
    """Yield the edges of tiles that are large enough to have some."""
    wide, high = columns * tile, rows * tile
    yield element("rect", x=left, y=top, width=wide, height=high, class_="frame")
    if tile >= 6:
        across = [f"M{number(left)} {number(top + n * tile)}h{number(wide)}" for n in range(rows)]
        down = [f"M{number(left + n * tile)} {number(top)}v{number(high)}" for n in range(columns)]
        yield element("path", d="".join([*across, *down]), class_="grid")


def _scale(top: float, most: int, usable: int) -> Iterator[str]:
    """Yield what colours mean."""
    shares = np.linspace(0.0, 1.0, 41)
    yield image(_shades(shares)[None], _LEFT, top, 410, 12)
    yield label(_LEFT, top + 26, "0", "middle faint")
    share = 100 * most / max(1, usable)
    told = f"{most:,} bytes: the fullest tile, {share:.3g} % of what may be used"
    yield label(_LEFT + 410, top + 26, told, "middle faint", 90)


def panel(filled: Array) -> Array:
    """Return the tiles of an IPU as pixels with opacity, row by row, [height, width, 4].

    Args:
        filled: Bytes of each tile as a share of the fullest, [tiles].
    """
    columns = min(_COLUMNS, len(filled))
    rows = -(-len(filled) // columns)
    pixels = np.zeros((rows * columns, 4))
    pixels[: len(filled)] = _shades(filled)
    grid: Array = np.rint(pixels).reshape(rows, columns, 4)
    return grid


def _shades(filled: Array) -> Array:
    part = np.clip(filled, 0, 1)[:, None]
    colours = np.asarray(_LITTLE) * (1 - part) + np.asarray(_FULL) * part
    found: Array = np.where(part > 0, colours, _EMPTY)
    return found


def shares_picture(plan: Plan) -> str:
    """Return what takes the memory as an SVG element: the largest stages, and received values."""
    sizes = {name: int(plan.stage_bytes(name).sum()) for name in plan.stages}
    images = sum(int(plan.image_bytes(image).sum()) for image in plan.images.values())
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_MOST_STAGES]
    bars = [(name, sizes[name]) for name in largest]
    if len(largest) < len(sizes):
        rest = sum(sizes.values()) - sum(sizes[name] for name in largest)
        bars.append(("other stages", rest))
    bars.append(("received values", images))
    most = max(1, *(size for _, size in bars))
    parts = []
    for row, (name, size) in enumerate(bars):
        y = 8 + row * _BAR
        wide = max(1.0, size / most * _LONG)
        parts.append(label(_BARS - 8, y + 12, name, "end", 36))
        parts.append(element("rect", x=_BARS, y=y, width=wide, height=_BAR - 6, class_="used"))
        parts.append(label(_BARS + wide + 8, y + 12, f"{size:,} bytes", "faint"))
    height = 16 + len(bars) * _BAR
    return drawing("What takes the memory", height, "".join(parts), _WIDE)
