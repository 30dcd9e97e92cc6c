"""A graph with other tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from snnir.ir.graph import Graph
from snnir.tensors import FrozenDict, Tensor


def with_tensors(graph: Graph, changed: Mapping[str, Tensor]) -> Graph:
    """Return a graph with other tensors, given by paths such as `fc1.weight`."""
    editor = graph.edit()
    for node in {path.rpartition(".")[0] for path in changed}:
        op = graph.nodes[node].op
        values: dict[str, Any] = {}
        for item in fields(op):
            path, value = f"{node}.{item.name}", getattr(op, item.name)
            if path in changed:
                values[item.name] = changed[path]
            elif isinstance(value, FrozenDict):
                values[item.name] = FrozenDict(
                    {k: changed.get(f"{node}.{k}", v) for k, v in value.items()}
                )
        editor.set_op(node, replace(op, **values))
    return editor.graph().verify()
