"""Remove neurons that can never fire, or that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.bounds import value_bounds
from snnir.ir.graph import Editor, Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Current, Flatten
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.lasting import is_lasting
from snnir.pipeline import EXACT_REAL, Pass
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor

Indices = npt.NDArray[np.int64]


class _KeepsAll(Exception):
    """Something around the population cannot be narrowed."""


@dataclass(frozen=True)
class DeadNeurons(Pass):
    """Remove neurons (or whole channels) that never fire, proved by bounds, or that nobody reads.

    Exact in real arithmetic: what is left out of the sums is zero. A population gets narrower, so
    its records do; one in which no neuron fires keeps one, and those with states that outlive a
    run stay whole. The bounds are those of `snnir.bounds`: inputs may be anything their kind
    allows, at every step.
    """

    name: ClassVar[str] = "dead-neurons"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the graph with narrower populations."""
        if any(not t.is_resolved for t in graph.tensors().values()):
            return graph
        bounds = value_bounds(graph)
        editor = graph.edit()
        changed = False
        for name in graph.order:
            op = graph.nodes[name].op
            shape = graph.signal(name).shape
            if not isinstance(op, Step) or graph.signal(name).kind is Kind.ANALOG or not shape:
                continue
            if is_lasting(op):  # whoever keeps what lasts keeps its shape
                continue
            silent = bounds[Value(name)].high < 1.0  # of whole numbers, so 0
            silent = silent | _ignored(editor, name, shape)
            keep = np.flatnonzero(~silent.reshape(shape[0], -1).all(axis=1))
            if len(keep) < shape[0]:
                keep = keep if len(keep) else np.zeros(1, np.int64)
                changed |= len(keep) < shape[0] and _Narrower(graph, editor).narrow(name, keep)
        return editor.graph() if changed else graph


def _ignored(editor: Editor, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which neurons have no weight but zero in every matrix that reads them."""
    users = [editor.nodes[user] for user in editor.users(name)]
    ignored = np.ones(shape, bool)
    for user in users:
        if not isinstance(user.op, Linear) or len(shape) != 1:
            return np.zeros(shape, bool)
        ignored &= ~without_zero(user.op).any(axis=0)
    read = any(value.node == name for value in editor.outputs.values())
    return ignored if users and not read else np.zeros(shape, bool)


class _Narrower:
    """Takes indices of the first axis out of a population and all around it."""

    def __init__(self, graph: Graph, editor: Editor) -> None:
        self.graph, self.editor = graph, editor
        self.extents: dict[str, int] = {}

    def narrow(self, name: str, keep: Indices) -> bool:
        """Keep these neurons or channels only; return whether that was possible."""
        nodes = dict(self.editor.nodes)
        try:
            self.after(name, keep)
            node = self.editor.nodes[name]
            assert isinstance(node.op, Step)
            params = {k: _taken(p, keep, self.rank(name)) for k, p in node.op.params.items()}
            self.set(name, replace(node.op, params=FrozenDict(params)))
            for value in node.operands:
                self.before(value.node, keep)
        except _KeepsAll:
            self.editor.nodes = nodes
            return False
        return True

    def rank(self, name: str) -> int:
        return len(self.graph.signal(name).shape)

    def set(self, name: str, op: Op) -> None:
        self.editor.set_op(name, op)

    def after(self, name: str, keep: Indices) -> None:
        """Narrow what reads a node."""
        if any(value.node == name for value in self.editor.outputs.values()):
            raise _KeepsAll
        for user in self.editor.users(name):
            node = self.editor.nodes[user]
            rule = _AFTER.get(type(node.op))
            if rule is None or len(node.operands) != 1:
                raise _KeepsAll
            rule(self, node, keep)

    def before(self, name: str, keep: Indices) -> None:
        """Narrow what a node gives, which nobody else reads."""
        node = self.editor.nodes[name]
        uses = sum(
            self.editor.nodes[u].operands.count(Value(name)) for u in self.editor.users(name)
        )
        read = any(value.node == name for value in self.editor.outputs.values())
        rule = _BEFORE.get(type(node.op))
        if rule is None or uses != 1 or read:
            raise _KeepsAll
        rule(self, node, keep)


def _taken(value: Tensor, keep: Indices, rank: int) -> Tensor:
    """Return a parameter for some indices of the first of so many axes."""
    whole = len(value.shape) == rank and value.shape[0] > 1
    return Tensor(value.numpy()[keep]) if whole else value


def _columns(narrower: _Narrower, node: Node, keep: Indices) -> None:
    op = node.op
    assert isinstance(op, (Linear, Conv1d, Conv2d))
    flat = len(narrower.graph.signals[node.operands[0]].shape) == 1
    if (isinstance(op, Linear) and not flat) or getattr(op, "groups", 1) > 1:
        raise _KeepsAll
    narrower.set(node.name, replace(op, weight=Tensor(op.weight.numpy()[:, keep])))


def _through(narrower: _Narrower, node: Node, keep: Indices) -> None:
    if isinstance(node.op, Delay) and not node.op.is_even:
        raise _KeepsAll
    narrower.after(node.name, keep)


def _flattened(narrower: _Narrower, node: Node, keep: Indices) -> None:
    source, target = narrower.graph.signals[node.operands[0]], narrower.graph.signal(node.name)
    if len(target.shape) != 1:
        raise _KeepsAll
    each = prod(source.shape[1:])
    narrower.after(node.name, (keep[:, None] * each + np.arange(each)).reshape(-1))


def _rows(narrower: _Narrower, node: Node, keep: Indices) -> None:
    op = node.op
    assert isinstance(op, (Linear, Conv1d, Conv2d))
    if (isinstance(op, Linear) and narrower.rank(node.name) != 1) or getattr(op, "groups", 1) > 1:
        raise _KeepsAll
    bias = op.bias
    if bias is not None and bias.shape == (op.weight.shape[0],) and bias.size > 1:
        bias = Tensor(bias.numpy()[keep])
    unit, zero = (None if t is None else _taken(t, keep, 1) for t in (op.unit, op.zero))
    weight = Tensor(op.weight.numpy()[keep])
    narrower.set(node.name, replace(op, weight=weight, bias=bias, unit=unit, zero=zero))


def _all_operands(narrower: _Narrower, node: Node, keep: Indices) -> None:
    for value in node.operands:
        narrower.before(value.node, keep)


def _affine(narrower: _Narrower, node: Node, keep: Indices) -> None:
    rank = 1 if isinstance(node.op, BatchNorm) else narrower.rank(node.name)
    changes: dict[str, Any] = {k: _taken(t, keep, rank) for k, t in node.op.tensors().items()}
    narrower.set(node.name, replace(node.op, **changes))
    narrower.before(node.operands[0].node, keep)


_Rule = Callable[[_Narrower, Node, Indices], None]
_POOLS: tuple[type[Op], ...] = (SumPool2d, AvgPool2d, MaxPool2d)
_AFTER: dict[type[Op], _Rule] = {
    **dict.fromkeys((Linear, Conv1d, Conv2d), _columns),
    **dict.fromkeys((*_POOLS, Current, Delay), _through),
    Flatten: _flattened,
}
_BEFORE: dict[type[Op], _Rule] = {
    **dict.fromkeys((Linear, Conv1d, Conv2d), _rows),
    **dict.fromkeys((Add, *_POOLS), _all_operands),
    **dict.fromkeys((Bias, Scale, BatchNorm), _affine),
}
