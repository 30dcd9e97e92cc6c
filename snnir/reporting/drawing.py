"""The graph as a picture."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from snnir.errors import shown
from snnir.ir.graph import Graph
from snnir.reporting.markup import Section

#: Graphs with more nodes are not drawn.
_MAX_DRAWN = 60
_ROW, _WIDTH = 46, 420


def graph_section(graph: Graph) -> tuple[Section, Mapping[str, Any]]:
    """Return the section with the graph, and what the script needs to draw it, by element id."""
    return Section("graph", "Graph", _drawing(graph)), {}


def _drawing(graph: Graph) -> str:
    if len(graph) > _MAX_DRAWN:
        return f"<p>Not drawn: {len(graph)} nodes are more than {_MAX_DRAWN}.</p>"
    row = {name: index for index, name in enumerate(graph.order)}
    shapes = []
    for name, index in row.items():
        y = 10 + index * _ROW
        label = html.escape(f"{shown(name)[:34]} : {graph.nodes[name].op.name}")
        shapes.append(f"<rect x='60' y='{y}' width='{_WIDTH}' height='26' rx='5'/>")
        shapes.append(f"<text x='72' y='{y + 17}'>{label}</text>")
        for value in graph.nodes[name].operands:
            shapes.append(_edge(row[value.node], index))
    height = 20 + len(row) * _ROW
    return f"<svg width='640' height='{height}' role='img'>{''.join(shapes)}</svg>"


def _edge(source: int, target: int) -> str:
    start, end = 10 + source * _ROW + 26, 10 + target * _ROW
    if target == source + 1:
        return f"<path d='M 270 {start} L 270 {end}'/>"
    if target > source:
        bend = 60 + _WIDTH + 14 * min(target - source, 10)
        x = 60 + _WIDTH
        return f"<path d='M {x} {start - 13} C {bend} {start}, {bend} {end}, {x} {end + 13}'/>"
    bend = 60 - 14 * min(source - target + 1, 4)
    top = start - 13
    return f"<path class='back' d='M 60 {top} C {bend} {top}, {bend} {end + 13}, 60 {end + 13}'/>"
