"""Compute equal things once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.graph import Graph, Value
from snnir.ir.op import Op
from snnir.ir.structure import Input
from snnir.lasting import is_lasting
from snnir.pipeline import Pass


@dataclass(frozen=True)
class Cse(Pass):
    """Merge nodes that compute the same of the same values, neurons and delays included. Exact.

    Two populations with equal parameters and equal inputs start alike and so stay alike, unless
    they have states that outlive a run: those are kept apart, as the next run may start them
    from anything.
    """

    name: ClassVar[str] = "cse"

    def run(self, graph: Graph) -> Graph:
        """Return the graph without duplicates; linear in its size."""
        editor = graph.edit()
        first: dict[tuple[Op, tuple[Value, ...]], str] = {}
        results = {v.node: v.result + 1 for v in graph.signals if v.result}
        changed = False
        for name in graph.order:
            node = editor.nodes[name]
            if isinstance(node.op, Input) or is_lasting(node.op):
                continue
            known = first.setdefault((node.op, node.operands), name)
            if known == name:
                continue
            for result in range(results.get(name, 1)):
                editor.rewire(Value(name, result), Value(known, result))
            editor.remove(name)
            changed = True
        return editor.graph() if changed else graph
