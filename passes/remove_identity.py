"""Remove nodes that pass their operand through unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.graph import Graph, Node
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import Scale
from snnir.ir.timing import Delay
from snnir.pipeline import Pass

#: Ops that are the identity whenever their result has the type of their only operand.
_BY_TYPE = (Add, Concat, Current, Flatten, Pad, Reshape, Slice)


@dataclass(frozen=True)
class RemoveIdentity(Pass):
    """Remove ops that change neither values nor type: delay 0, scale 1, empty pads, … Exact."""

    name: ClassVar[str] = "remove-identity"

    def run(self, graph: Graph) -> Graph:
        """Return the graph without identities; linear in its size."""
        idle = [graph.nodes[name] for name in graph.order if _is_identity(graph, graph.nodes[name])]
        if not idle:
            return graph
        editor = graph.edit()
        for node in idle:
            source = editor.nodes[node.name].operands[0]
            editor.rewire(type(source)(node.name), source)
            editor.remove(node.name)
        return editor.graph()


def _is_identity(graph: Graph, node: Node) -> bool:
    if len(node.operands) != 1 or graph.signal(node.name) != graph.signals[node.operands[0]]:
        return False
    op = node.op
    if isinstance(op, _BY_TYPE):
        return True
    if isinstance(op, Delay):
        return op.longest == 0
    if isinstance(op, Permute):
        return op.axes == tuple(range(len(op.axes)))
    if isinstance(op, Scale):
        return bool(op.scale.is_resolved and np.all(op.scale.numpy() == 1))
    if isinstance(op, (SumPool2d, AvgPool2d, MaxPool2d)):
        return op.kernel == (1, 1) and op.stride == (1, 1)
    return False
