"""What lies between spikes and a population, and the same in integers.

A population reads a tree of linear ops whose leaves are spikes or counts. Its value is a constant
(from biases) plus a linear map of the leaves. With one unit per element of the population, each op
of the tree tells which unit its operands have, so that weights become whole numbers of their row's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.ir.graph import Editor, Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.passes.affine import as_affine, compact
from snnir.passes.weight_grid import Grid
from snnir.streams import Kind
from snnir.tensors import Tensor

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class NotLinear(Exception):
    """A value is no linear map of spikes."""

    def __init__(self, message: str, node: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.node, self.hint = node, hint


@dataclass(frozen=True)
class Weights:
    """The weights of one synapse, one row per unit.

    Attributes:
        rows: [units, weights], float64.
        balanced: Whether 0 must stay 0.
    """

    rows: Array
    balanced: bool = True


#: Rows of weights to the unit each of them needs.
Largest = Callable[[Weights], Array]


class Tree:
    """The linear ops that end in a value.

    Args:
        graph: The graph; its types are used.
        editor: Where integer nodes are put.
        value: The value.

    Raises:
        NotLinear: If the value is no linear map of spikes and constants.
    """

    def __init__(self, graph: Graph, editor: Editor, value: Value) -> None:
        self.graph, self.editor, self.value = graph, editor, value
        self.kept = {read.node for read in graph.outputs.values()}
        self.shares_channels = False
        self.weights = 0
        self._inside: list[str] = []
        self._check(value)

    def _check(self, value: Value) -> None:
        """Walk the tree once, so that what does not fit is known before anything changes."""
        node = self.graph.nodes[value.node]
        rule = rule_of(self, node)
        if value.node in self._inside:
            raise NotLinear("is in a cycle without neurons", value.node)
        self.shares_channels |= isinstance(node.op, (Conv1d, Conv2d, *_POOLS))
        self._inside.append(value.node)
        for operand in rule.analog(self, node):
            self._check(operand)
        self._inside.pop()

    def shape(self, value: Value) -> Shape:
        """Return the shape of a value of the graph."""
        return self.graph.signals[value].shape

    def is_spikes(self, value: Value) -> bool:
        """Whether a value is a leaf: spikes or counts."""
        return self.graph.signals[value].kind is not Kind.ANALOG

    def needed(self, largest: Largest, value: Value | None = None) -> Array:
        """Return, per element, the unit with which all weights behind it fit."""
        node = self.graph.nodes[(value or self.value).node]
        return rule_of(self, node).needed(self, node, largest)

    def constant(self, value: Value | None = None) -> Array:
        """Return, per element, what the value is without spikes."""
        node = self.graph.nodes[(value or self.value).node]
        return rule_of(self, node).constant(self, node)

    def quantized(self, unit: Array, grid: Grid, value: Value | None = None) -> Value:
        """Put the tree in integers of a unit per element, and return its value."""
        node = self.graph.nodes[(value or self.value).node]
        return rule_of(self, node).quantized(self, node, unit, grid)

    def place(self, node: Node, op: Op, operands: list[Value]) -> Value:
        """Put an integer node, in the place of the old one if nobody else reads that."""
        alone = len(self.graph.uses[node.name]) <= 1
        name = node.name if alone else self.editor.fresh(f"{node.name}.whole")
        if alone and node.name in self.kept and self.value.node != node.name:
            name = self.editor.fresh(f"{node.name}.whole")
        self.editor.put(Node(name, op, tuple(operands), node.metadata))
        return Value(name)


class Rule:
    """How one kind of op takes part."""

    def analog(self, tree: Tree, node: Node) -> list[Value]:
        """Return the operands that are trees themselves."""
        return [value for value in node.operands if not tree.is_spikes(value)]

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        """See `Tree.needed`."""
        raise NotImplementedError

    def constant(self, tree: Tree, node: Node) -> Array:
        """See `Tree.constant`."""
        raise NotImplementedError

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        """See `Tree.quantized`."""
        raise NotImplementedError


class _Synapse(Rule):
    """A matrix or convolution that reads spikes."""

    def analog(self, tree: Tree, node: Node) -> list[Value]:
        if not tree.is_spikes(node.operands[0]):
            raise NotLinear(
                "reads real numbers; only spikes go into integer synapses", node.name,
                "fuse-linear merges linear ops; declare-inputs says that inputs are spikes",
            )  # fmt: skip
        return []

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        return self.spread(tree, node, largest(Weights(self.rows(node), balanced=False)))

    def constant(self, tree: Tree, node: Node) -> Array:
        op: Any = node.op
        out = op.weight.shape[0]
        bias = np.zeros(out) if op.bias is None else op.bias.numpy().astype(np.float64)
        return self.spread(tree, node, np.broadcast_to(bias, (out,)))

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        op: Any = node.op
        units, rows = self.gathered(node, unit), self.rows(node)
        zeros = grid.zero(rows, units)
        weight = grid.whole(rows, units[:, None], zeros[:, None]).reshape(op.weight.shape)
        tree.weights += weight.size
        real = Tensor(compact(units).astype(np.float32))
        zero = Tensor(compact(zeros).astype(np.int16)) if grid.shifted else None
        made = replace(op, weight=Tensor(weight), bias=None, unit=real, bits=grid.bits, zero=zero)
        return tree.place(node, made, list(node.operands))

    @staticmethod
    def rows(node: Node) -> Array:
        weight = node.op.tensors()["weight"].numpy().astype(np.float64)
        rows: Array = weight.reshape(len(weight), -1)
        return rows

    @staticmethod
    def spread(tree: Tree, node: Node, per_row: Array) -> Array:
        """Return a number per output (or output channel) for every element."""
        shape = tree.shape(Value(node.name))
        if not isinstance(node.op, Linear):
            per_row = per_row.reshape(-1, *(1,) * (len(shape) - 1))
        return np.broadcast_to(per_row, shape)

    @staticmethod
    def gathered(node: Node, unit: Array) -> Array:
        """Return the unit of every output (or output channel), the coarsest of its elements."""
        axis = -1 if isinstance(node.op, Linear) else 0
        coarsest: Array = np.moveaxis(unit, axis, 0).reshape(unit.shape[axis], -1).max(axis=1)
        return coarsest


class _Elementwise(Rule):
    """A factor, a bias, a batch norm, or a current of spikes."""

    def parts(self, tree: Tree, node: Node) -> tuple[Array, Array]:
        shape = tree.shape(Value(node.name))
        if isinstance(node.op, Current):
            return np.ones(shape), np.zeros(shape)
        affine = as_affine(node.op, shape)
        if affine is None:
            raise NotLinear("has no real weights", node.name)
        if not tree.is_spikes(node.operands[0]) and affine.gain.min(initial=1.0) <= 0:
            hint = "run fold-batchnorm and fuse-linear before quantize"
            raise NotLinear("has factors that are not positive", node.name, hint)
        return affine.gain, affine.shift

    def analog(self, tree: Tree, node: Node) -> list[Value]:
        self.parts(tree, node)
        return super().analog(tree, node)

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        gain, _ = self.parts(tree, node)
        if tree.is_spikes(node.operands[0]):
            return largest(Weights(gain.reshape(-1, 1))).reshape(gain.shape)
        return tree.needed(largest, node.operands[0]) * gain

    def constant(self, tree: Tree, node: Node) -> Array:
        gain, shift = self.parts(tree, node)
        if tree.is_spikes(node.operands[0]):
            return shift
        return tree.constant(node.operands[0]) * gain + shift

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        gain, _ = self.parts(tree, node)
        if tree.is_spikes(node.operands[0]):
            weight = Tensor(grid.symmetric().whole(gain, unit))
            tree.weights += weight.size
            real = Tensor(compact(unit).astype(np.float32))
            made = Scale(weight, real, grid.bits)
            return tree.place(node, made, list(node.operands))
        return tree.quantized(unit / gain, grid, node.operands[0])


class _Sum(Rule):
    """A sum of currents."""

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        found: Array = np.max([tree.needed(largest, value) for value in node.operands], axis=0)
        return found

    def constant(self, tree: Tree, node: Node) -> Array:
        total: Array = np.sum([tree.constant(value) for value in node.operands], axis=0)
        return total

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        operands = [tree.quantized(unit, grid, value) for value in node.operands]
        return tree.place(node, node.op, operands)


class _Pool(Rule):
    """A pool; the mean of currents becomes their sum in finer units."""

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        shape = tree.shape(Value(node.name))
        if tree.is_spikes(node.operands[0]):
            return np.broadcast_to(largest(Weights(np.full((1, 1), self.share(node)))), shape)
        inner = tree.needed(largest, node.operands[0])
        channels = inner.reshape(shape[0], -1).max(axis=1).reshape(-1, 1, 1)
        return np.broadcast_to(channels * self.share(node), shape)

    def constant(self, tree: Tree, node: Node) -> Array:
        op: Any = node.op
        if tree.is_spikes(node.operands[0]):
            return np.zeros(tree.shape(Value(node.name)))
        inner = tree.constant(node.operands[0])
        if isinstance(op, MaxPool2d):
            channels = inner.reshape(len(inner), -1)
            if not bool((channels == channels[:, :1]).all()):
                raise NotLinear("takes the largest of values with unequal biases", node.name)
        function = getattr(kernels, f"{op.reduction}_pool")
        return function(inner[None], op.kernel, op.stride, op.padding)[0]  # type: ignore[no-any-return]

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        op: Any = node.op
        counted = SumPool2d(op.kernel, op.stride, op.padding)
        if tree.is_spikes(node.operands[0]):  # a mean of spikes: their number, and a weight
            count = tree.editor.fresh(f"{node.name}.sum")
            tree.editor.put(Node(count, counted, node.operands))
            share = np.full(unit.shape, self.share(node))
            weight = Tensor(grid.symmetric().whole(share, unit))
            return tree.place(node, Scale(weight), [Value(count)])
        channels = unit.reshape(len(unit), -1).max(axis=1).reshape(-1, 1, 1)
        inner = np.broadcast_to(channels / self.share(node), tree.shape(node.operands[0]))
        pooled = counted if isinstance(op, AvgPool2d) else op
        return tree.place(node, pooled, [tree.quantized(inner, grid, node.operands[0])])

    @staticmethod
    def share(node: Node) -> float:
        op: Any = node.op
        return 1.0 / prod(op.kernel) if isinstance(op, AvgPool2d) else 1.0


@dataclass(frozen=True)
class _Move(Rule):
    """An op that puts elements elsewhere.

    Attributes:
        forth: (op, operand's array) to the result's.
        back: (op, result's array, operand's shape) to the operand's.
    """

    forth: Callable[[Any, Array], Array]
    back: Callable[[Any, Array, Shape], Array]

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        return self.forth(node.op, tree.needed(largest, node.operands[0]))

    def constant(self, tree: Tree, node: Node) -> Array:
        inner = tree.constant(node.operands[0])
        if isinstance(node.op, Delay) and np.any(inner):
            hint = "move the bias behind the delay"
            raise NotLinear("delays a bias, which begins late", node.name, hint)
        return self.forth(node.op, inner)

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        inner = self.back(node.op, unit, tree.shape(node.operands[0]))
        value = tree.quantized(inner, grid, node.operands[0])
        shape = tree.shape(Value(node.name))
        op = Reshape(shape) if isinstance(node.op, (Flatten, Reshape)) else node.op
        return tree.place(node, op, [value])


class _Join(Rule):
    """Currents side by side."""

    def needed(self, tree: Tree, node: Node, largest: Largest) -> Array:
        parts = [tree.needed(largest, value) for value in node.operands]
        return np.concatenate(parts, node.op.axis)  # type: ignore[attr-defined]

    def constant(self, tree: Tree, node: Node) -> Array:
        parts = [tree.constant(value) for value in node.operands]
        return np.concatenate(parts, node.op.axis)  # type: ignore[attr-defined]

    def quantized(self, tree: Tree, node: Node, unit: Array, grid: Grid) -> Value:
        axis = node.op.axis  # type: ignore[attr-defined]
        ends = np.cumsum([tree.shape(value)[axis] for value in node.operands])[:-1]
        parts = np.split(unit, ends, axis)
        pairs = zip(parts, node.operands, strict=True)
        return tree.place(node, node.op, [tree.quantized(part, grid, v) for part, v in pairs])


def _inner(op: Pad, array: Array, shape: Shape) -> Array:
    pairs = zip(op.widths, shape, strict=True)
    return array[tuple(slice(before, before + n) for (before, _), n in pairs)]


_SAME = _Move(lambda op, a: a, lambda op, a, shape: a)
_RESHAPE = _Move(
    lambda op, a: a.reshape(op.shape) if isinstance(op, Reshape) else _flat(op, a),
    lambda op, a, shape: a.reshape(shape),
)


def _flat(op: Flatten, array: Array) -> Array:
    options = op.call([_signal(array)]).options
    return array.reshape(options["shape"])


def _signal(array: Array) -> Any:
    from snnir.streams import Signal

    return Signal(Kind.ANALOG, array.shape)


_POOLS = (SumPool2d, AvgPool2d, MaxPool2d)
_RULES: dict[type[Op], Rule] = {
    **dict.fromkeys((Linear, Conv1d, Conv2d), _Synapse()),
    **dict.fromkeys((Scale, Bias, BatchNorm, Current), _Elementwise()),
    **dict.fromkeys(_POOLS, _Pool()),
    **dict.fromkeys((Flatten, Reshape), _RESHAPE),
    Add: _Sum(),
    Concat: _Join(),
    Delay: _SAME,
    Pad: _Move(lambda op, a: np.pad(a, op.widths), _inner),
    Permute: _Move(
        lambda op, a: a.transpose(op.axes),
        lambda op, a, shape: a.transpose(tuple(int(i) for i in np.argsort(op.axes))),
    ),
}  # fmt: skip


def rule_of(tree: Tree, node: Node) -> Rule:
    """Return how a node takes part.

    Raises:
        NotLinear: If it does not.
    """
    rule = _RULES.get(type(node.op))
    if rule is None:
        what = "is an input of real numbers" if not node.operands else "gives real numbers"
        raise NotLinear(
            f"{what} that an integer layer would read", node.name,
            "if it carries spikes or counts, say so with declare-inputs before",
        )  # fmt: skip
    return rule
