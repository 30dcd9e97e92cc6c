"""Where things stand in a drawing of a graph: ranks and orders of every scope, for itself.

Each scope is a layered drawing of what stands in it directly: nodes, inner scopes as one box, and
ports on its border where values come in and go out. A scope's ranks and orders do not depend on
whether an inner scope is open, so they are found once, here; only sizes change with folding, and
the page's script turns ranks, orders and sizes into coordinates.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from snnir.reporting.ordering import ordered_layers
from snnir.reporting.scopes import Scope

#: Links over many ranks are led through a point in every rank between, the short ones first, while
#: there are so many points for every item of a scope; the rest are led around.
_POINTS_PER_ITEM = 4
_SPARE_POINTS = 1000


class Edge(NamedTuple):
    """A value on its way to a node.

    Attributes:
        source: Index of the node that yields it; nodes are numbered in order of flow.
        result: Which of its results.
        target: Index of the node that takes it, or -1 - i for output i of the graph.
        late: Whether it is taken in only when a step ends.
    """

    source: int
    result: int
    target: int
    late: bool = False

    @property
    def is_feedback(self) -> bool:
        """Whether it runs against the flow, to be seen in the next step."""
        return 0 <= self.target <= self.source


class Item(NamedTuple):
    """What has a place in a scope.

    Attributes:
        kind: `node`, `scope`, `in` or `out` (a value that crosses the border), `output` (a result
            of the graph), or `point` (a long link passes).
        number: Of the node, the scope, the node a crossing value is from, the output; 0 for a
            point.
        result: Which result a crossing value is.
    """

    kind: str
    number: int
    result: int = 0


@dataclass(slots=True)
class Link:
    """A line between two items of one scope.

    Attributes:
        value: Source and result it carries.
        path: Local indices of the items it goes through, its ends first and last.
        late, feedback: As in `Edge`; of all edges that share the line.
        count: How many operands it stands for.
        is_far: It spans ranks without a point in each: to be led around.
    """

    value: tuple[int, int]
    path: list[int]
    late: bool
    feedback: bool
    count: int = 1
    is_far: bool = False


@dataclass
class Layout:
    """The drawing of one scope.

    Attributes:
        items: Everything that has a place.
        layers: Local indices of the items by rank, each rank from left to right.
        links: The lines.
    """

    items: list[Item] = field(default_factory=list)
    layers: list[list[int]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


class _Drawn:
    """One scope while its items and links are collected."""

    def __init__(self) -> None:
        self.layout = Layout()
        self.local: dict[Item, int] = {}
        self.links: dict[tuple[int, int, int, int, bool], Link] = {}

    def item(self, item: Item) -> int:
        known = self.local.get(item)
        if known is None:
            known = self.local[item] = len(self.layout.items)
            self.layout.items.append(item)
        return known

    def link(self, start: int, end: int, edge: Edge) -> None:
        source, result, target, late = edge
        key = (start, end, source, result, late)
        known = self.links.get(key)
        if known is None:
            feedback = 0 <= target <= source
            self.links[key] = known = Link((source, result), [start, end], late, feedback)
            self.layout.links.append(known)
        else:
            known.count += 1
            known.feedback |= edge.is_feedback


def layouts(scopes: Sequence[Scope], edges: Sequence[Edge], anchored: set[int]) -> list[Layout]:
    """Return the drawing of every scope.

    Linear in nodes and edges, but for sorting.

    Args:
        scopes: From `find_scopes`; its nodes are numbered in order of flow.
        edges: What the nodes read, and the graph's outputs.
        anchored: Nodes that stand as far up as they can; what depends on none of them stands just
            above what reads it.
    """
    drawn = [_Drawn() for _ in scopes]
    home: dict[int, int] = {}
    first: list[float] = [float("inf")] * len(scopes)
    for at in range(len(scopes) - 1, -1, -1):
        for node in scopes[at].nodes:
            home[node] = at
            first[at] = min(first[at], node)
        for inner in scopes[at].scopes:
            first[at] = min(first[at], first[inner])
    local: dict[int, int] = {}
    for at, scope in enumerate(scopes):
        for node in scope.nodes:
            local[node] = drawn[at].item(Item("node", node))
        for inner in scope.scopes:
            drawn[at].item(Item("scope", inner))
    chains = _chains(scopes)
    for edge in edges:
        here = home[edge.source]
        if edge.target >= 0 and home[edge.target] == here:
            drawn[here].link(local[edge.source], local[edge.target], edge)
        else:
            _lift(edge, drawn, home, chains)
    for each in drawn:
        _rank(each.layout, first, anchored)
    return [each.layout for each in drawn]


def _chains(scopes: Sequence[Scope]) -> list[tuple[int, ...]]:
    """Return for every scope the scopes around it and itself, the graph first."""
    chains: list[tuple[int, ...]] = []
    for at, scope in enumerate(scopes):
        chains.append((*chains[scope.parent], at) if at else (0,))
    return chains


def _lift(
    edge: Edge, drawn: Sequence[_Drawn], home: Mapping[int, int], chains: Sequence[tuple[int, ...]]
) -> None:
    """Draw an edge in every scope it is seen in: out of some, across one, into others."""
    source = chains[home[edge.source]]
    target = chains[home[edge.target]] if edge.target >= 0 else (0,)
    start = Item("node", edge.source)
    end = Item("node", edge.target) if edge.target >= 0 else Item("output", -1 - edge.target)
    shared = 0
    while shared < min(len(source), len(target)) and source[shared] == target[shared]:
        shared += 1
    for scope in reversed(source[shared:]):
        inside = drawn[scope]
        port = inside.item(Item("out", edge.source, edge.result))
        inside.link(inside.item(start), port, edge)
        start = Item("scope", scope)
    inward = []
    for scope in reversed(target[shared:]):
        inward.append((scope, end))
        end = Item("scope", scope)
    across = drawn[source[shared - 1]]
    across.link(across.item(start), across.item(end), edge)
    for scope, inner in inward:
        inside = drawn[scope]
        port = inside.item(Item("in", edge.source, edge.result))
        inside.link(port, inside.item(inner), edge)


def _rank(layout: Layout, first: Sequence[float], anchored: set[int]) -> None:
    """Give every item a rank, points to long links, and every rank an order."""
    items = layout.items
    keys = [_flow_key(item, first) for item in items]
    forward = [link for link in layout.links if keys[link.path[0]] < keys[link.path[-1]]]
    inner = [at for at, item in enumerate(items) if item.kind in ("node", "scope")]
    ranks = _ranks(layout, inner, forward, anchored)
    rank = dict(zip(inner, ranks, strict=True))
    last = max(ranks, default=0) + 1
    rank |= {at: 0 for at, item in enumerate(items) if item.kind == "in"}
    rank |= {at: last for at, item in enumerate(items) if item.kind in ("out", "output")}
    _bend(layout, forward, rank)
    lowest = min(rank.values(), default=0)
    layers: list[list[int]] = [[] for _ in range(max(rank.values(), default=0) - lowest + 1)]
    for at in sorted(rank, key=lambda at: _flow_key(items[at], first)):
        layers[rank[at] - lowest].append(at)
    steps = [pair for link in forward if not link.is_far for pair in itertools.pairwise(link.path)]
    layout.layers = ordered_layers([layer for layer in layers if layer], steps)


def _flow_key(item: Item, first: Sequence[float]) -> tuple[int, float]:
    """Return what items are compared by to tell which is nearer to the inputs."""
    if item.kind == "in":
        return 0, item.number
    if item.kind in ("out", "output"):
        return 2, item.number
    return 1, first[item.number] if item.kind == "scope" else item.number


def _ranks(
    layout: Layout, inner: Sequence[int], forward: Sequence[Link], anchored: set[int]
) -> list[int]:
    """Return ranks from 1: the longest way from what has no source, but see `layouts`."""
    import networkx

    flow: networkx.DiGraph[int] = networkx.DiGraph()
    flow.add_nodes_from(inner)
    held = {
        at
        for at in inner
        if layout.items[at].kind == "node" and layout.items[at].number in anchored
    }
    for link in forward:
        start, end = link.path[0], link.path[-1]
        if layout.items[start].kind == "in":
            held.add(end)
        elif layout.items[end].kind not in ("out", "output"):
            flow.add_edge(start, end)
    generations = [sorted(each) for each in networkx.topological_generations(flow)]
    rank = {at: depth for depth, each in enumerate(generations, 1) for at in each}
    for each in generations:
        held.update(end for at in each if at in held for end in flow.successors(at))
    if held:
        for each in reversed(generations):
            for at in each:
                readers = [rank[end] for end in flow.successors(at)]
                if at not in held and readers:
                    rank[at] = min(readers) - 1
    return [rank[at] for at in inner]


def _bend(layout: Layout, forward: Sequence[Link], rank: dict[int, int]) -> None:
    """Lead long links through a point in each rank between; links of one value share them."""
    left = _POINTS_PER_ITEM * len(layout.items) + _SPARE_POINTS
    points: dict[tuple[int, tuple[int, int], bool, bool], list[int]] = {}
    spans = [(rank[link.path[1]] - rank[link.path[0]] - 1, link) for link in forward]
    for between, link in sorted(filter(lambda span: span[0] > 0, spans), key=lambda span: span[0]):
        start = link.path[0]
        shared = points.setdefault((start, link.value, link.late, link.feedback), [])
        if between > left:
            link.is_far = True
            continue
        left -= between
        while len(shared) < between:
            shared.append(len(layout.items))
            rank[len(layout.items)] = rank[start] + len(shared)
            layout.items.append(Item("point", layout.items[start].number))
        link.path[1:1] = shared[:between]
