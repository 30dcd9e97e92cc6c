"""Fuse chains of linear ops into fewer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.structure import Current
from snnir.ir.synapses import Bias, Conv1d, Conv2d, Linear, Scale
from snnir.passes.affine import Affine, Convolution, Mover, Shape, as_affine, bias_of, with_bias
from snnir.pipeline import EXACT_REAL, Pass
from snnir.streams import Kind
from snnir.tensors import FrozenDict


@dataclass(frozen=True)
class FuseLinear(Pass):
    """Fuse factors, biases, mean pools, input gains and matrices into the synapses around them.

    Exact in real arithmetic. A factor or bias goes into the synapse before or after it, or a
    factor into thresholds; a mean pool of spikes becomes a sum pool whose divisor goes the same
    way; the input factors of a neuron (`gain`, `w_in`) go into the synapse before it. Two
    matrices, or a convolution and one with a 1x1 kernel, become one where that saves
    multiplications. Weights round once.
    """

    name: ClassVar[str] = "fuse-linear"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the fused graph."""
        mover = Mover(graph)
        changed = False
        for name in graph.order:
            node = mover.editor.nodes[name]
            if isinstance(node.op, (Scale, Bias)):
                changed |= _absorb(mover, node)
            elif isinstance(node.op, AvgPool2d):
                changed |= _sum_instead(mover, node, node.op)
            elif isinstance(node.op, Step):
                changed |= _without_gains(mover, node, node.op)
            elif isinstance(node.op, (Linear, Conv1d, Conv2d)):
                changed |= _multiply(mover, node, node.op)
        return mover.editor.graph() if changed else graph


def _absorb(mover: Mover, node: Node) -> bool:
    affine = as_affine(node.op, mover.shape(node.name))
    if affine is None:
        return False
    edits = mover.before(node.operands[0], affine)
    if edits is None:
        edits = mover.after(node.name, affine)
    if edits is None:
        return False
    mover.apply(edits)
    mover.drop(node.name)
    return True


def _sum_instead(mover: Mover, node: Node, op: AvgPool2d) -> bool:
    """Count the spikes in each window and let others divide."""
    if mover.signal(node.operands[0]).kind is Kind.ANALOG:
        return False
    factor = Affine.of(mover.shape(node.name), 1.0 / prod(op.kernel))
    edits = mover.after(node.name, factor)
    if edits is None:
        return False
    mover.apply(edits)
    mover.insert(mover.editor.nodes[node.name], SumPool2d(op.kernel, op.stride, op.padding))
    mover.editor.set_op(node.name, Current())
    return True


def _without_gains(mover: Mover, node: Node, op: Step) -> bool:
    """Move the factors of a neuron's input into the synapses before it."""
    changed = False
    for attribute, name in (("synapse_gain", "w_in"), ("gain", "gain")):
        op = _current_op(mover, node)
        rules = op.dynamics
        if not isinstance(rules, LifStep) or not _is_outer(rules, attribute):
            continue
        value = op.params[name]
        if not value.is_resolved:
            continue
        gain = Affine.of(mover.shape(node.name), value.numpy())
        edits = mover.before(node.operands[0], gain)
        if edits is not None:
            params = {key: p for key, p in op.params.items() if key != name}
            less: dict[str, Any] = {attribute: False}
            rest = replace(rules, **less)
            plain = replace(op, dynamics=rest, params=FrozenDict(params))
            mover.apply({**edits, node.name: plain})
            changed = True
    return changed


def _current_op(mover: Mover, node: Node) -> Step:
    op = mover.editor.nodes[node.name].op
    assert isinstance(op, Step)
    return op


def _is_outer(rules: LifStep, attribute: str) -> bool:
    """Return whether a factor multiplies the input and nothing else that is seen."""
    if not getattr(rules, attribute) or rules.inputs > 1 or rules.fixed:
        return False
    # A gain behind a filter is one before it if the filter has no constant of its own.
    return attribute == "synapse_gain" or not rules.synapse_leak


def _multiply(mover: Mover, node: Node, op: Linear | Convolution) -> bool:
    """Merge a synapse with the only source of its input if that saves multiplications."""
    first = mover.editor.nodes[node.operands[0].node]
    if not mover.alone(first.name) or not _resolved(first.op, op):
        return False
    shapes = [mover.signal(first.operands[0]).shape] if first.operands else []
    shapes += [mover.shape(first.name), mover.shape(node.name)]
    for merged in _products(first.op, op):
        before = _work(first.op, *shapes[:2]) + _work(op, *shapes[1:])
        if _work(merged, shapes[0], shapes[2]) <= before:
            mover.editor.set_op(node.name, merged)
            mover.editor.put(replace(mover.editor.nodes[node.name], operands=first.operands))
            mover.editor.remove(first.name)
            return True
    return False


def _resolved(*ops: Op) -> bool:
    tensors = [t for op in ops for t in op.tensors().values()]
    return all(t.is_resolved and t.dtype.startswith("f") for t in tensors)


def _work(op: Op, source: Shape, result: Shape) -> int:
    """Return multiplications per step."""
    assert isinstance(op, (Linear, Conv1d, Conv2d))
    if isinstance(op, Linear):
        return prod(source[:-1]) * op.weight.size
    return prod(result[1:]) * op.weight.size


def _products(first: Op, second: Op) -> Iterator[Op]:
    """Yield what may stand for second after first."""
    if isinstance(first, Linear) and isinstance(second, Linear):
        matrix = second.weight.numpy().astype(np.float64)
        weight = matrix @ first.weight.numpy().astype(np.float64)
        yield with_bias(second, weight, matrix @ bias_of(first) + bias_of(second))
    if not isinstance(first, (Conv1d, Conv2d)) or type(first) is not type(second):
        return
    assert isinstance(second, (Conv1d, Conv2d))
    if first.groups == second.groups == 1:
        one, two = (op.weight.numpy().astype(np.float64) for op in (first, second))
        if _is_pointwise(second):
            matrix = two.reshape(two.shape[:2])
            weight = np.einsum("om,mi...->oi...", matrix, one)
            yield with_bias(first, weight, matrix @ bias_of(first) + bias_of(second))
        elif _is_pointwise(first) and not (np.any(bias_of(first)) and np.any(second.padding)):
            weight = np.einsum("om...,mi->oi...", two, one.reshape(one.shape[:2]))
            sums = two.reshape(*two.shape[:2], -1).sum(-1)
            yield with_bias(second, weight, sums @ bias_of(first) + bias_of(second))


def _is_pointwise(op: Convolution) -> bool:
    return prod(op.weight.shape[2:]) == 1 and prod(op.stride) == 1 and not np.any(op.padding)
