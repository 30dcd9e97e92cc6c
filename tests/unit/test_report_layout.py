"""Where things stand in the drawing of a report: scopes, ranks, orders, lines."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnir.reporting.layout import Edge, Layout, layouts
from snnir.reporting.ordering import ordered_layers
from snnir.reporting.scopes import Scope, find_scopes


def ranks(layout: Layout) -> dict[int, int]:
    return {at: rank for rank, layer in enumerate(layout.layers) for at in layer}


def flat(count: int) -> list[Scope]:
    return [Scope("", -1, list(range(count)))]


def test_scopes_are_what_names_share() -> None:
    names = [
        "input",
        "a.fc",
        "a.lif",
        "a.lif.sum",
        "b/c/x",
        "b/c/y",
        "b/z",
        "lone.some.node",
        "0.5",
    ]
    found = {scope.path: [names[node] for node in scope.nodes] for scope in find_scopes(names)}
    assert found == {
        "": ["input", "lone.some.node", "0.5"],
        "a": ["a.fc", "a.lif", "a.lif.sum"],
        "b": ["b/z"],
        "b/c": ["b/c/x", "b/c/y"],
    }


@given(st.lists(st.text("ab./", max_size=30), unique=True, max_size=30))
def test_every_node_stands_in_one_scope(names: list[str]) -> None:
    scopes = find_scopes(names)
    assert sorted(itertools.chain(*(scope.nodes for scope in scopes))) == list(range(len(names)))
    for at, scope in enumerate(scopes):
        assert all(inner > at and scopes[inner].parent == at for inner in scope.scopes)
        assert all(names[node].startswith(scope.path) for node in scope.nodes)
        assert at == 0 or len(scope.nodes) + len(scope.scopes) > 1


def test_a_long_name_is_no_burden() -> None:
    start = time.process_time()
    assert len(find_scopes(["." * 100_000, "a." * 50_000, "a." * 50_000 + "b"])) <= 14
    assert time.process_time() - start < 1


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[Edge]]:
    """Names in scopes, and edges of which some run against the flow."""
    names = draw(st.lists(st.sampled_from(["", "a.", "b.", "a.c."]), min_size=1, max_size=25))
    nodes = st.integers(0, len(names) - 1)
    pairs = draw(st.lists(st.tuples(nodes, nodes), max_size=50))
    edges = [Edge(a, 0, b, a >= b) for a, b in pairs]
    edges += [Edge(node, 0, -1 - at) for at, node in enumerate(draw(st.lists(nodes, max_size=3)))]
    return [f"{name}n{at}" for at, name in enumerate(names)], edges


@given(graphs())
def test_every_edge_is_seen_in_every_scope_it_crosses(graph: tuple[list[str], list[Edge]]) -> None:
    names, edges = graph
    scopes = find_scopes(names)
    found = layouts(scopes, edges, {0})
    for layout in found:
        rank = ranks(layout)
        assert sorted(rank) == list(range(len(layout.items)))
        for link in layout.links:
            down = [rank[at] for at in link.path]
            if len(down) > 2 or down[0] < down[-1]:
                assert link.is_far or down == list(range(down[0], down[-1] + 1))
            assert all(layout.items[at].kind == "point" for at in link.path[1:-1])
        ports = [rank[at] for at, item in enumerate(layout.items) if item.kind == "in"]
        assert not ports or set(ports) == {0}
    home = {node: at for at, scope in enumerate(scopes) for node in scope.nodes}
    for source, result, target, late in set(edges):
        ways = _scopes_between(scopes, home[source], home[target] if target >= 0 else 0)
        for at in ways:
            values = [(link.value, link.late) for link in found[at].links]
            assert ((source, result), late) in values


def _scopes_between(scopes: Sequence[Scope], start: int, end: int) -> set[int]:
    def chain(at: int) -> list[int]:
        return [at] if at == 0 else [*chain(scopes[at].parent), at]

    one, other = chain(start), chain(end)
    last = max(at for at in one if at in other)
    return {last, *(set(one) ^ set(other))}


def test_feedback_is_told_from_flow() -> None:
    (layout,) = layouts(flat(4), [Edge(0, 0, 1), Edge(1, 0, 2), Edge(2, 0, 1, True)], {0})
    rank = ranks(layout)
    assert [rank[at] for at in range(3)] == [0, 1, 2]
    assert [(link.path, link.feedback) for link in layout.links] == [
        ([0, 1], False), ([1, 2], False), ([2, 1], True),
    ]  # fmt: skip


def test_what_has_no_source_stands_just_above_its_reader() -> None:
    edges = [Edge(0, 0, 2), Edge(2, 0, 3), Edge(3, 0, 5), Edge(1, 0, 4), Edge(4, 0, 5)]
    (layout,) = layouts(flat(6), edges, {0})
    rank = ranks(layout)
    assert (rank[4], rank[1]) == (rank[5] - 1, rank[5] - 2)


def test_equal_operands_share_a_line() -> None:
    (layout,) = layouts(flat(2), [Edge(0, 0, 1), Edge(0, 0, 1), Edge(0, 1, 1)], {0})
    assert [link.count for link in layout.links] == [2, 1]


@pytest.mark.parametrize("shape", ["chain", "star", "dense"])
def test_size_is_linear(shape: str) -> None:
    count = 2000 if shape != "dense" else 150
    edges = [Edge(at - 1, 0, at) for at in range(1, count)]
    if shape == "star":
        edges += [Edge(0, 0, at) for at in range(2, count)]
    if shape == "dense":
        edges = [Edge(a, 0, b) for a, b in itertools.combinations(range(count), 2)]
    (layout,) = layouts(flat(count), edges, {0})
    assert sum(len(link.path) for link in layout.links) <= 2 * len(edges) + 4 * count + 1000
    assert any(link.is_far for link in layout.links) == (shape != "chain")


def crossings(layers: Sequence[Sequence[int]], steps: Sequence[tuple[int, int]]) -> int:
    place = {at: index for layer in layers for index, at in enumerate(layer)}
    rank = {at: index for index, layer in enumerate(layers) for at in layer}
    return sum(
        rank[a] == rank[c] and (place[a] - place[c]) * (place[b] - place[d]) < 0
        for (a, b), (c, d) in itertools.combinations(steps, 2)
    )


def test_lines_cross_less_than_they_did() -> None:
    rng = random.Random(5)
    before = after = 0
    for _ in range(20):
        layers = [list(range(10 * rank, 10 * rank + 10)) for rank in range(4)]
        steps = [
            (rng.choice(upper), rng.choice(lower))
            for upper, lower in itertools.pairwise(layers)
            for _ in range(12)
        ]
        found = ordered_layers(layers, steps)
        assert [sorted(layer) for layer in found] == layers
        before += crossings(layers, steps)
        after += crossings(found, steps)
        assert crossings(found, steps) <= crossings(layers, steps)
    assert after < before / 3
