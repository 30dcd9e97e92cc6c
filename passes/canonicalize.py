"""Bring equivalent graphs closer to one form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from snnir.ir.graph import Editor, Graph, Node
from snnir.ir.structure import Add, Flatten, Reshape
from snnir.pipeline import Pass


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Merge nested sums and chains of reshapes. Exact: the order of every sum is kept.

    `add(add(a, b), c)` becomes `add(a, b, c)`, which adds in the same order; a sum in any other
    operand stays. A reshape or flatten of a reshape or flatten becomes one reshape. Only nodes
    with a single user are merged away.
    """

    name: ClassVar[str] = "canonicalize"

    def run(self, graph: Graph) -> Graph:
        """Return the canonical graph; linear in its size."""
        editor = graph.edit()
        read = {value.node for value in graph.outputs.values()}
        changed = False
        for name in graph.order:
            node = editor.nodes[name]
            inner = editor.nodes[node.operands[0].node] if node.operands else None
            if inner is None or inner.name in read or len(graph.uses[inner.name]) != 1:
                continue
            if _merge(graph, editor, node, inner):
                editor.remove(inner.name)
                changed = True
        return editor.graph() if changed else graph


def _merge(graph: Graph, editor: Editor, node: Node, inner: Node) -> bool:
    if isinstance(node.op, Add) and isinstance(inner.op, Add):
        if graph.signal(node.name).kind != graph.signal(inner.name).kind:
            return False
        editor.put(replace(node, operands=(*inner.operands, *node.operands[1:])))
        return True
    shapes = (Reshape, Flatten)
    if isinstance(node.op, shapes) and isinstance(inner.op, shapes):
        shape = graph.signal(node.name).shape
        editor.put(replace(node, op=Reshape(shape), operands=inner.operands))
        return True
    return False
