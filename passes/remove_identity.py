"""Remove nodes that pass their operand through unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.pipeline import Pass

#: Ops that give the same current of spikes and of currents.
_READERS = (AvgPool2d, BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale)
#: Ops that give spikes of spikes (or counts) and currents of currents.
_MOVES = (Delay, Flatten, MaxPool2d, Pad, Permute, Reshape, Slice, SumPool2d)
#: Ops that are the identity whenever their result has the type of their only operand.
_BY_TYPE = (Add, Concat, Current, Flatten, Pad, Reshape, Slice)


@dataclass(frozen=True)
class RemoveIdentity(Pass):
    """Remove ops that change neither values nor type: delay 0, scale 1, empty pads, … Exact.

    A `current` goes too where whatever reads it takes spikes as well.
    """

    name: ClassVar[str] = "remove-identity"

    def run(self, graph: Graph) -> Graph:
        """Return the graph without identities; linear in its size."""
        idle = {name for name in graph.order if _is_identity(graph, graph.nodes[name])}
        idle |= _spare_currents(graph, idle)
        if not idle:
            return graph
        editor = graph.edit()
        for name in graph.order:
            if name in idle:
                editor.rewire(Value(name), editor.nodes[name].operands[0])
                editor.remove(name)
        return editor.graph()


def _spare_currents(graph: Graph, idle: set[str]) -> set[str]:
    """Return the currents of spikes that are read by nothing but ops that take spikes too."""
    kept = {value.node for value in graph.outputs.values()}
    any_kind: set[str] = set()  # nodes whose result may as well be spikes
    for name in reversed(graph.order):
        users = [user for user, _ in graph.uses[name]]
        if users and name not in kept and all(_takes_any(graph, u, idle, any_kind) for u in users):
            any_kind.add(name)
    return {name for name in any_kind if isinstance(graph.nodes[name].op, Current)}


def _takes_any(graph: Graph, user: str, idle: set[str], any_kind: set[str]) -> bool:
    op = graph.nodes[user].op
    if user in idle or isinstance(op, _MOVES):
        return user in any_kind
    return isinstance(op, _READERS)


def _is_identity(graph: Graph, node: Node) -> bool:
    if len(node.operands) != 1:
        return False
    op = node.op
    if graph.signal(node.name) != graph.signals[node.operands[0]]:
        return False
    if isinstance(op, _BY_TYPE):
        return True
    if isinstance(op, Delay):
        return op.longest == 0 and (op.seconds is None or not op.seconds.numpy().any())
    if isinstance(op, Permute):
        return op.axes == tuple(range(len(op.axes)))
    if isinstance(op, Scale):
        return bool(op.scale.is_resolved and np.all(op.scale.numpy() == 1))
    if isinstance(op, (SumPool2d, AvgPool2d, MaxPool2d)):
        return op.kernel == (1, 1) and op.stride == (1, 1)
    return False
