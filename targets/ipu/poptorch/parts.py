"""Which nodes run on which IPU: consecutive parts of the graph, each a loop over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnir.ir.graph import Graph, Value
from snnir.ir.structure import Input
from snnir.scheduling import schedule


@dataclass(frozen=True)
class Part:
    """Nodes that are stepped together.

    Attributes:
        nodes: Names, in dataflow order but for delays that close a cycle.
        takes: Values of inputs and earlier parts that it reads, over all steps.
        gives: Values that later parts or the user read.
    """

    nodes: tuple[str, ...]
    takes: tuple[Value, ...]
    gives: tuple[Value, ...]


def parts(graph: Graph, ipus: int) -> list[Part]:
    """Divide a graph into at most so many parts of about the same weights.

    A recurrence is never divided, and what flows between parts flows forward. Parts that nobody
    reads are left out.
    """
    groups = [
        [name for name in stage.nodes if not isinstance(graph.nodes[name].op, Input)]
        for stage in schedule(graph).stages
    ]
    divided = _divided(graph, [g for g in groups if g], ipus)
    return [part for names in divided if (part := _part(graph, names)).gives]


def _divided(graph: Graph, groups: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    """Put each group where its middle lies when all weights are laid in a row."""
    sizes = [sum(_size(graph, name) for name in names) for names in groups]
    total, before = sum(sizes), 0
    found: dict[int, list[str]] = {}
    for names, size in zip(groups, sizes, strict=True):
        place = min(count - 1, (2 * before + size) * count // (2 * total))
        found.setdefault(place, []).extend(names)
        before += size
    return list(found.values())


def _size(graph: Graph, name: str) -> int:
    return 1 + sum(value.size for value in graph.nodes[name].op.tensors().values())


def _part(graph: Graph, names: Sequence[str]) -> Part:
    own = {name: index for index, name in enumerate(names)}
    takes = dict.fromkeys(
        value for name in names for value in graph.nodes[name].operands if value.node not in own
    )
    outside = {
        value
        for node in graph.nodes.values()
        if node.name not in own
        for value in node.operands
        if value.node in own
    }
    outside |= {value for value in graph.outputs.values() if value.node in own}
    gives = sorted(outside, key=lambda value: (own[value.node], value.result))
    if not takes:  # something must say how many samples and steps there are
        takes = dict.fromkeys([Value(next(iter(graph.inputs)))])
    return Part(tuple(names), tuple(takes), tuple(gives))
