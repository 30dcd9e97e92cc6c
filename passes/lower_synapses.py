"""Turn convolutions into matrices, and matrices into convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from snnir.ir.graph import Editor, Graph, Node
from snnir.ir.structure import Flatten, Reshape
from snnir.ir.synapses import Conv1d, Conv2d, Linear, without_zero
from snnir.pipeline import EXACT_REAL, Pass
from snnir.scheduling import schedule
from snnir.tensors import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvToLinear(Pass):
    """Unroll convolutions into matrices. Exact in real arithmetic: the terms are the same.

    Attributes:
        largest: Most elements of a matrix; a larger convolution stays.
    """

    name: ClassVar[str] = "conv-to-linear"
    fidelity: ClassVar[str] = EXACT_REAL
    largest: int = 16_777_216

    def run(self, graph: Graph) -> Graph:
        """Return the graph with matrices between flattened streams."""
        editor = graph.edit()
        changed = False
        for node in graph.nodes.values():
            if isinstance(node.op, (Conv1d, Conv2d)):
                source = graph.signals[node.operands[0]].shape
                target = graph.signal(node.name).shape
                if prod(source) * prod(target) <= self.largest:
                    _unroll(editor, node, node.op, source, target)
                    changed = True
        return editor.graph() if changed else graph


def _unroll(editor: Editor, node: Node, op: Conv1d | Conv2d, source: Shape, target: Shape) -> None:
    flat = editor.add(editor.fresh(f"{node.name}.flat"), Flatten(), node.operands)
    weight = Tensor(unrolled(op, source, target))
    bias, unit = (
        t if t is None or t.size == 1 else Tensor(np.repeat(t.numpy(), prod(target[1:])))
        for t in (op.bias, op.unit)
    )
    bits = op.bits if op.zero is None else 0
    matrix = Linear(weight, bias, unit, bits)
    product = editor.add(editor.fresh(f"{node.name}.linear"), matrix, [flat])
    editor.put(replace(node, op=Reshape(target), operands=(product,)))


def unrolled(op: Conv1d | Conv2d, source: Shape, target: Shape) -> npt.NDArray[np.generic]:
    """Return the matrix [outputs, inputs] of a convolution between flattened streams."""
    weight = without_zero(op)
    out, per_group, *kernel = weight.shape
    matrix = np.zeros((*target, *source), weight.dtype)
    channel = np.arange(out)
    inputs = (channel // (out // op.groups) * per_group)[:, None] + np.arange(per_group)
    for tap in np.ndindex(*kernel):
        places = [
            np.arange(extent) * s + k * d - before
            for extent, s, k, d, (before, _) in zip(
                target[1:], op.stride, tap, op.dilation, op.padding, strict=True
            )
        ]
        inside = [
            np.flatnonzero((p >= 0) & (p < n)) for p, n in zip(places, source[1:], strict=True)
        ]
        spots = [grid.reshape(1, -1, 1) for grid in np.meshgrid(*inside, indexing="ij")]
        reads = [p[spot] for p, spot in zip(places, spots, strict=True)]
        where = (channel[:, None, None], *spots, inputs[:, None, :], *reads)
        matrix[where] = weight[(..., *tap)][:, None, :]
    return matrix.reshape(prod(target), prod(source))


@dataclass(frozen=True)
class LinearToConv(Pass):
    """Turn matrices into convolutions over [channels, height, width]. Exact in real arithmetic.

    A matrix after a flatten becomes a convolution whose kernel is the whole picture, any other
    one with a 1x1 kernel on a picture of one pixel. Those in recurrences stay: there a matrix may
    be all that tells the shape of the cycle.
    """

    name: ClassVar[str] = "linear-to-conv"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the graph without matrices over one axis."""
        editor = graph.edit()
        changed = False
        loops = {n for stage in schedule(graph).stages if stage.kind == "loop" for n in stage.nodes}
        for node in graph.nodes.values():
            if node.name in loops or not isinstance(node.op, Linear):
                continue
            if len(graph.signals[node.operands[0]].shape) == 1:
                _as_picture(graph, editor, node, node.op)
                changed = True
        return editor.graph() if changed else graph


def _as_picture(graph: Graph, editor: Editor, node: Node, op: Linear) -> None:
    out, fan_in = op.weight.shape
    source = graph.nodes[node.operands[0].node]
    whole = graph.signals[source.operands[0]].shape if isinstance(source.op, Flatten) else ()
    if len(whole) == 3:
        picture, shape = source.operands[0], whole
    else:
        shape = (fan_in, 1, 1)
        name = editor.fresh(f"{node.name}.picture")
        picture = editor.add(name, Reshape(shape), node.operands)
    weight = Tensor(op.weight.numpy().reshape(out, *shape))
    conv = Conv2d(weight, op.bias, unit=op.unit, bits=op.bits, zero=op.zero)
    product = editor.add(editor.fresh(f"{node.name}.conv"), conv, [picture])
    editor.put(replace(node, op=Reshape((out,)), operands=(product,)))
