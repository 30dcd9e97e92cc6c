"""Graphs that are compiled together, because every compilation costs a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.ir import Graph, Node, Value


def side_by_side(parts: Mapping[str, Graph]) -> Graph:
    """Return several graphs as one; names begin with the name of the part."""
    nodes, outputs = {}, {}
    for part, graph in parts.items():
        for name, node in graph.nodes.items():
            operands = tuple(Value(f"{part}/{v.node}", v.result) for v in node.operands)
            nodes[f"{part}/{name}"] = Node(f"{part}/{name}", node.op, operands)
        for name, value in graph.outputs.items():
            outputs[f"{part}/{name}"] = Value(f"{part}/{value.node}", value.result)
    return Graph(nodes, outputs, 1e-3).verify()


def side_by_side_inputs(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the inputs of several graphs as those of one."""
    return {f"{part}/{name}": x for part, xs in parts.items() for name, x in xs.items()}
