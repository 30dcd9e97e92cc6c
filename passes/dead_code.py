"""Remove what neither an output nor what is learned depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.graph import Graph
from snnir.ir.structure import Input
from snnir.lasting import is_learning
from snnir.pipeline import Pass


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes that no output and nothing that is learned depends on. Exact.

    Inputs stay: they are the interface, as is what a run learns.
    """

    name: ClassVar[str] = "dead-code"

    def run(self, graph: Graph) -> Graph:
        """Return the graph without dead nodes; linear in its size."""
        live = {value.node for value in graph.outputs.values()}
        live |= {node.name for node in graph.nodes.values() if is_learning(node.op)}
        pending = list(live)
        while pending:
            for value in graph.nodes[pending.pop()].operands:
                if value.node not in live:
                    live.add(value.node)
                    pending.append(value.node)
        dead = [
            node.name
            for node in graph.nodes.values()
            if node.name not in live and not isinstance(node.op, Input)
        ]
        if not dead:
            return graph
        editor = graph.edit()
        for name in dead:
            editor.remove(name)
        return editor.graph()
