"""Remove reshapes around element-wise ops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.structure import Current, Flatten, Reshape
from snnir.ir.synapses import Bias, Scale
from snnir.ir.timing import Delay
from snnir.lasting import is_lasting
from snnir.pipeline import Pass
from snnir.tensors import FrozenDict, Tensor

_RESHAPES = (Reshape, Flatten)
_ELEMENTWISE = (Bias, Current, Delay, Scale, Step)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class EliminateReshape(Pass):
    """Let neurons and other element-wise ops between two reshapes work on the first shape. Exact.

    The first reshape goes, and so does the second if it leads back to the first shape. Values in
    between keep their names and have the other shape; states that outlive a run keep theirs.
    """

    name: ClassVar[str] = "eliminate-reshape"

    def run(self, graph: Graph) -> Graph:
        """Return the graph with fewer reshapes; linear in its size."""
        mover = _Mover(graph)
        changed = False
        for name in graph.order:
            node = mover.editor.nodes.get(name)
            if node is not None and isinstance(node.op, _RESHAPES):
                chain = mover.chain(node)
                if chain:
                    mover.rewrite(node, chain)
                    changed = True
        return mover.editor.graph() if changed else graph


class _Mover:
    def __init__(self, graph: Graph) -> None:
        self.editor = graph.edit()
        self.shapes = {name: graph.signal(name).shape for name in graph.nodes}
        self.kept = {value.node for value in graph.outputs.values()}

    def chain(self, first: Node) -> list[Node]:
        """Return the nodes after a reshape up to the next one, if all between are element-wise."""
        chain: list[Node] = []
        at = first
        while True:
            users = self.editor.users(at.name)
            if at.name in self.kept or len(users) != 1:
                return []
            at = self.editor.nodes[users[0]]
            if len(at.operands) != 1 or at in chain or at is first:
                return []
            chain.append(at)
            if isinstance(at.op, _RESHAPES):
                return chain if len(chain) > 1 else []
            one_result = not isinstance(at.op, Step) or len(at.op.program.outputs) == 1
            same = self.shapes[at.name] == self.shapes[first.name]
            moves = isinstance(at.op, _ELEMENTWISE) and not is_lasting(at.op)
            if not moves or not one_result or not same:
                return []

    def rewrite(self, first: Node, chain: list[Node]) -> None:
        """Let all but the last work on the shape before the first."""
        source = first.operands[0]
        old, new = self.shapes[first.name], self.shapes[source.node]
        for node in chain[:-1]:
            self.editor.set_op(node.name, _reshaped(node.op, old, new))
            self.shapes[node.name] = new
        self.editor.set_op(chain[-1].name, Reshape(self.shapes[chain[-1].name]))
        self.editor.rewire(Value(first.name), source)
        self.editor.remove(first.name)


def _reshaped(op: Op, old: Shape, new: Shape) -> Op:
    """Return an element-wise op for the same elements in another shape."""
    changes: dict[str, Any] = {}
    if isinstance(op, Step):
        params = {name: _moved(value, old, new) for name, value in op.params.items()}
        changes["params"] = FrozenDict(params)
    else:
        changes = {name: _moved(value, old, new) for name, value in op.tensors().items()}
    return replace(op, **changes)


def _moved(value: Tensor, old: Shape, new: Shape) -> Tensor:
    if value.size == 1:
        return value if value.shape == () else Tensor(value.numpy().reshape(()))
    return Tensor(np.broadcast_to(value.numpy(), old).reshape(new))
