"""Merge delays and put them where they hold least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snnir.ir.graph import Editor, Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.pooling import SumPool2d
from snnir.ir.structure import Current
from snnir.ir.synapses import Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.pipeline import Pass
from snnir.tensors import Tensor

_Rule = Callable[[Graph, Editor, Node, Node], bool]


@dataclass(frozen=True)
class MergeDelays(Pass):
    """Merge a delay of a delay, and move delays across linear ops to the smaller side. Exact.

    A delay of whole streams passes a matrix or convolution without bias, a factor and a sum pool:
    zero in gives zero out, so what is late before is late after. It moves where the line then
    holds fewer values. Values keep their names.
    """

    name: ClassVar[str] = "merge-delays"

    def run(self, graph: Graph) -> Graph:
        """Return the graph with fewer and smaller delay lines; linear in its size."""
        if not any(isinstance(node.op, Delay) for node in graph.nodes.values()):
            return graph
        merged = _each_pair(graph, _merge)
        return _each_pair(merged, _swap)


def _each_pair(graph: Graph, rule: _Rule) -> Graph:
    """Apply a rule to every node and the only source it alone reads."""
    editor = graph.edit()
    kept = {value.node for value in graph.outputs.values()}
    changed = False
    for name in graph.order:
        node = editor.nodes.get(name)
        if node is None or len(node.operands) != 1 or node.operands[0].node == name:
            continue
        source = editor.nodes[node.operands[0].node]
        if source.name in kept or editor.users(source.name) != [name]:
            continue
        changed |= rule(graph, editor, source, node)
    return editor.graph() if changed else graph


def _merge(graph: Graph, editor: Editor, first: Node, second: Node) -> bool:
    if not isinstance(first.op, Delay) or not isinstance(second.op, Delay):
        return False
    if (first.op.seconds is None) is not (second.op.seconds is None):
        return False  # how long the one without is, its graph's dt says, and that may change
    steps = _plus(first.op.steps, second.op.steps)
    seconds = None
    if first.op.seconds is not None and second.op.seconds is not None:
        seconds = Tensor(first.op.seconds.numpy() + second.op.seconds.numpy())
    editor.put(replace(second, op=Delay(steps, seconds), operands=first.operands))
    editor.remove(first.name)
    return True


def _plus(a: int | Tensor, b: int | Tensor) -> int | Tensor:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    one, two = (s.numpy() if isinstance(s, Tensor) else np.int64(s) for s in (a, b))
    return Tensor(one + two)


def _swap(graph: Graph, editor: Editor, first: Node, second: Node) -> bool:
    """Exchange a delay and a linear op; the second name stays with the second value."""
    late, other = (first, second) if isinstance(first.op, Delay) else (second, first)
    if not isinstance(late.op, Delay) or not late.op.is_even:
        return False
    if late.op.longest == 0 or not _keeps_zero(other.op):
        return False
    before, after = graph.signals.get(first.operands[0]), graph.signal(second.name)
    if before is None:  # it was moved here just now
        return False
    held = before.size if late is first else after.size
    if not (after.size if late is first else before.size) < held:
        return False
    inner = editor.fresh(f"{second.name}.now" if late is first else f"{first.name}.late")
    editor.put(Node(inner, second.op, first.operands))
    editor.put(replace(second, op=first.op, operands=(Value(inner),)))
    editor.remove(first.name)
    return True


def _keeps_zero(op: Op) -> bool:
    if isinstance(op, (Linear, Conv1d, Conv2d)):
        return op.bias is None or (op.bias.is_resolved and not np.any(op.bias.numpy()))
    return isinstance(op, (Scale, SumPool2d, Current))
