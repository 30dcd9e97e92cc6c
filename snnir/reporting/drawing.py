"""The graph as a picture that opens: what the page's script needs to draw and explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnir.errors import shown
from snnir.ir.graph import Graph, Value
from snnir.ir.structure import Input
from snnir.reporting.layout import Edge, Item, Layout, Link, layouts
from snnir.reporting.markup import Section
from snnir.reporting.node_facts import NodeFacts
from snnir.reporting.scopes import Scope, find_scopes

#: Id of the element with the data.
DATA = "graph-data"
_KINDS = ("node", "scope", "in", "out", "output", "point")
_LATE, _FEEDBACK, _FAR = 1, 2, 4

_BODY = f"""<div class='graph' data-graph='{DATA}'>
<noscript><p class='warn'>The drawing of the graph needs JavaScript; the tables below hold all of
it. The script stands in this file and fetches nothing.</p></noscript>
</div>"""


def graph_section(
    graph: Graph, marks: Mapping[str, tuple[str, str]] | None = None
) -> tuple[Section, Mapping[str, Any]]:
    """Return the section with the graph, and what the script needs to draw it, by element id.

    Args:
        graph: What is drawn.
        marks: Nodes that stand out, by name: a class, `marked-` before it (see `report.css`), and
            words.
    """
    data = graph_data(graph)
    for index, name in enumerate(graph.order):
        if name in (marks or {}):
            data["nodes"][index]["mark"] = list((marks or {})[name])
    body = _BODY if len(graph) else "<p>The graph is empty.</p>"
    return Section("graph", "Graph", body), {DATA: data}


def graph_data(graph: Graph) -> dict[str, Any]:
    """Return nodes, edges and the layout of every scope as plain JSON values.

    Nodes are numbered in order of flow, and everything refers to them by number. Weights are said
    by shape and range, never by data. All texts are safe to show: control characters and marks
    that change the direction of writing are escaped, long ones are cut.
    """
    order = graph.order
    number = {name: index for index, name in enumerate(order)}
    scopes = find_scopes(order)
    anchored = {number[name] for name in order if isinstance(graph.nodes[name].op, Input)}
    edges = _edges(graph, number)
    facts = NodeFacts(graph)
    labels = _labels(order, scopes)
    nodes = [facts.of(graph.nodes[name], labels[index]) for index, name in enumerate(order)]
    for edge in edges:
        if edge.target >= 0:
            reads = nodes[edge.target].setdefault("reads", [])
            reads.append([edge.source, edge.result, int(edge.late) + 2 * edge.is_feedback])
    drawn = layouts(scopes, edges, anchored)
    return {
        "nodes": nodes,
        "alike": facts.alike,
        "tensors": facts.tensors,
        "outputs": [
            {"name": shown(name), "reads": [number[value.node], value.result],
             "type": facts.signal(value)}
            for name, value in graph.outputs.items()
        ],
        "scopes": [
            {"path": shown(scope.path, 300), "label": shown(_label(scope, scopes)),
             "parent": scope.parent, **_plain(layout)}
            for scope, layout in zip(scopes, drawn, strict=True)
        ],
        "equations": facts.equations,
    }  # fmt: skip


def _edges(graph: Graph, number: Mapping[str, int]) -> list[Edge]:
    found = []
    for name, index in number.items():
        node = graph.nodes[name]
        late = node.op.late_operands(len(node.operands))
        found += [
            Edge(number[value.node], value.result, index, at in late)
            for at, value in enumerate(node.operands)
        ]
    results: Sequence[Value] = list(graph.outputs.values())
    found += [Edge(number[value.node], value.result, -1 - at) for at, value in enumerate(results)]
    return found


def _labels(names: Sequence[str], scopes: Sequence[Scope]) -> dict[int, str]:
    """Return the name of every node without what its scope already says."""
    return {
        node: names[node][len(scope.path) + 1 :] if scope.path else names[node]
        for scope in scopes
        for node in scope.nodes
    }


def _label(scope: Scope, scopes: Sequence[Scope]) -> str:
    around = scopes[scope.parent].path if scope.parent >= 0 else ""
    return scope.path[len(around) + 1 :] if around else scope.path


def _plain(layout: Layout) -> dict[str, Any]:
    return {
        "items": [_item(item) for item in layout.items],
        "layers": layout.layers,
        "links": [_link(link) for link in layout.links],
    }


def _item(item: Item) -> list[int]:
    """Return kind, index, and which result if it is not the first."""
    plain = [_KINDS.index(item.kind), item.number]
    return [*plain, item.result] if item.result else plain


def _link(link: Link) -> list[Any]:
    """Return marks, how many operands, source, result, and the items it goes through."""
    marks = _LATE * link.late + _FEEDBACK * link.feedback + _FAR * link.is_far
    return [marks, link.count, *link.value, link.path]
