"""Nodes of structural equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.frontends.step_functions.kinds import MOST_RUNS, runs
from snnir.frontends.step_functions.traced import Array, Equation, Shape
from snnir.ir.graph import Editor, Graph, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Input, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.ir.timing import Delay
from snnir.streams import Kind, Signal
from snnir.tensors import Tensor

_KEEPS = (Reshape, Flatten, Permute, Slice, Pad, MaxPool2d, Delay, Concat)
_POOLS: dict[str, type[SumPool2d | AvgPool2d | MaxPool2d]] = {
    "sum_pool2d": SumPool2d, "avg_pool2d": AvgPool2d, "max_pool2d": MaxPool2d,
    "reduce_sum": SumPool2d, "reduce_max": MaxPool2d,
}  # fmt: skip


class Nodes:
    """The nodes so far; operands may name nodes that come later.

    Attributes:
        editor: The nodes.
        kinds: What each value carries.
        shapes: Shape of each value.
    """

    def __init__(self) -> None:
        self.editor = Editor(Graph({}, {}))
        self.kinds: dict[Value, Kind] = {}
        self.shapes: dict[Value, Shape] = {}
        self.inputs: list[Value] = []
        self._currents: dict[Value, Value] = {}

    def input(self, name: str, kind: Kind, shape: Shape) -> Value:
        """Add an input."""
        value = self.editor.add(name, Input(Signal(kind, shape)))
        self.kinds[value], self.shapes[value] = kind, shape
        self.inputs.append(value)
        return value

    def promise(self, name: str, kind: Kind, shape: Shape) -> Value:
        """Return the first result of a node that is added later, and take its name."""
        value = Value(name)
        self.kinds[value], self.shapes[value] = kind, shape
        return value

    def add(
        self, name: str, op: Op, operands: Sequence[Value], shape: Shape | None = None
    ) -> Value:
        """Add a node with one result under its name, or a numbered one if that is taken."""
        if isinstance(op, Step) or self._mixed(op, operands):
            operands = [self.current(value) for value in operands]
        value = self.editor.add(self.editor.fresh(name), op, operands)
        self.kinds[value] = self._kind(op, operands)
        if shape is None:
            (signal,) = op.infer([Signal(self.kinds[o], self.shapes[o]) for o in operands])
            assert signal is not None
            shape = signal.shape
        self.shapes[value] = shape
        return value

    def _mixed(self, op: Op, operands: Sequence[Value]) -> bool:
        kinds = {self.kinds[value] for value in operands}
        if isinstance(op, Add):
            return Kind.ANALOG in kinds and len(kinds) > 1
        return isinstance(op, Concat) and len(kinds) > 1

    def _kind(self, op: Op, operands: Sequence[Value]) -> Kind:
        first = self.kinds[operands[0]]
        if isinstance(op, _KEEPS):
            return first
        if isinstance(op, (SumPool2d, Add)) and first is not Kind.ANALOG:
            return Kind.COUNTS
        return Kind.ANALOG

    def current(self, value: Value) -> Value:
        """Return a value as an analog current."""
        if self.kinds[value] is Kind.ANALOG:
            return value
        if value not in self._currents:
            name = self.editor.fresh(f"{value.node}.current")
            current = self.editor.add(name, Current(), [value])
            self.kinds[current], self.shapes[current] = Kind.ANALOG, self.shapes[value]
            self._currents[value] = current
        return self._currents[value]

    def constant(self, array: Array) -> Value:
        """Return a stream that is always the same: no weight on the first input, and a bias."""
        source = self.reshaped(self.inputs[0], (prod(self.shapes[self.inputs[0]]),))
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        weight = np.zeros((flat.size, self.shapes[source][0]), np.float32)
        bias = Tensor(flat) if flat.any() else None
        found = self.add("constant", Linear(Tensor(weight), bias), [source])
        return self.reshaped(found, np.shape(array))

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """Return a value in another shape."""
        if self.shapes[value] == shape:
            return value
        return self.add("reshape", Reshape(shape), [value])

    def permuted(self, value: Value, axes: Sequence[int]) -> Value:
        """Return a value with its axes reordered."""
        if list(axes) == list(range(len(axes))):
            return value
        return self.add("permute", Permute(tuple(axes)), [value])


def structural(
    nodes: Nodes, name: str, equation: Equation, operands: Sequence[Value],
    constants: Mapping[str, Array],
) -> Value:  # fmt: skip
    """Add the nodes of a structural equation and return its result."""
    op, given, x = equation.op, equation.attributes, operands[0]
    plain = _plain(op, given, constants)
    if plain is not None:
        return nodes.add(name, plain, operands)
    if op == "reshape":
        return nodes.reshaped(x, equation.shape)
    if op == "permute":
        return nodes.permuted(x, given["axes"])
    if op == "take":
        return _take(nodes, name, x, given["axis"], given["indices"])
    if op == "broadcast":
        return _broadcast(nodes, name, x, equation.shape, given["axes"])
    if op in ("reduce_sum", "reduce_max"):
        return _reduce(nodes, name, op, x, given["axes"], equation.shape)
    if op in ("conv1d", "conv2d"):
        return _convolution(nodes, name, equation, x, constants)
    return _pool(nodes, name, equation, x)


def _plain(op: str, given: Mapping[str, Any], constants: Mapping[str, Array]) -> Op | None:
    """Return the op of an equation that is one."""
    if op == "slice":
        return Slice(given["axis"], given["start"], given["stop"])
    if op == "pad":
        return Pad(given["widths"])
    if op == "concat":
        return Concat(given["axis"])
    return Linear(*_weights(given, constants)) if op == "linear" else None


def _weights(
    given: Mapping[str, Any], constants: Mapping[str, Array]
) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias."""

    def named(key: str) -> Tensor:
        return Tensor(np.ascontiguousarray(constants[given[key]], np.float32))

    return named("weight"), named("bias") if "bias" in given else None


def _convolution(
    nodes: Nodes, name: str, equation: Equation, x: Value, constants: Mapping[str, Array]
) -> Value:
    rank = 2 if equation.op == "conv1d" else 3
    shape = nodes.shapes[x]
    if prod(shape[:-rank]) != 1:
        raise error(
            "SNN803", f"{equation.where}: `{equation.what}` convolves {prod(shape[:-rank])} parts "
            "of the stream one by one", hint="say batched=True if they are samples",
        )  # fmt: skip
    given = equation.attributes
    make = Conv1d if equation.op == "conv1d" else Conv2d
    op = make(
        *_weights(given, constants),
        stride=tuple(given["stride"]),
        padding=tuple(given["padding"]),
        dilation=tuple(given["dilation"]),
        groups=given["groups"],
    )
    found = nodes.add(name, op, [nodes.reshaped(x, shape[-rank:])])
    return nodes.reshaped(found, equation.shape)


def _pool(nodes: Nodes, name: str, equation: Equation, x: Value) -> Value:
    given, shape = equation.attributes, nodes.shapes[x]
    op = _POOLS[equation.op](
        tuple(given["kernel"]), tuple(given["stride"]), tuple(given["padding"])
    )
    planes = nodes.reshaped(x, (prod(shape[:-2]), *shape[-2:]))
    return nodes.reshaped(nodes.add(name, op, [planes]), equation.shape)


def _reduce(
    nodes: Nodes, name: str, op: str, x: Value, axes: Sequence[int], result: Shape
) -> Value:
    """Reduce neighbouring axes as a pool over all of their extent; others are moved to the end."""
    shape = nodes.shapes[x]
    axes = sorted(axes)
    if axes != list(range(axes[0], axes[-1] + 1)):
        x = nodes.permuted(x, [*(i for i in range(len(shape)) if i not in axes), *axes])
        shape = nodes.shapes[x]
        axes = list(range(len(shape) - len(axes), len(shape)))
    before, after = prod(shape[: axes[0]]), prod(shape[axes[-1] + 1 :])
    extent = prod(shape[axis] for axis in axes)
    pool = _POOLS[op]((extent, 1), (extent, 1))
    found = nodes.add(name, pool, [nodes.reshaped(x, (before, extent, after))])
    return nodes.reshaped(found, result)


def _selected(nodes: Nodes, name: str, x: Value, axis: int, matrix: Array) -> Value:
    """Return a matrix times one axis."""
    rank = len(nodes.shapes[x])
    order = [*(i for i in range(rank) if i != axis), axis]
    found = nodes.add(name, Linear(Tensor(matrix)), [nodes.permuted(x, order)])
    return nodes.permuted(found, [order.index(i) for i in range(rank)])


def _take(nodes: Nodes, name: str, x: Value, axis: int, indices: Sequence[int]) -> Value:
    pieces = runs(indices)
    extent = nodes.shapes[x][axis]
    if len(pieces) <= MOST_RUNS:
        parts = [nodes.add(f"{name}.part", Slice(axis, *piece), [x]) for piece in pieces]
        return nodes.add(name, Concat(axis), parts)
    matrix = np.eye(extent, dtype=np.float32)[list(indices)]
    return _selected(nodes, name, x, axis, np.ascontiguousarray(matrix))


def _broadcast(nodes: Nodes, name: str, x: Value, shape: Shape, axes: Sequence[int]) -> Value:
    """Repeat by products with ones: 1 x is x."""
    given = nodes.shapes[x]
    spread = [1] * len(shape)
    for axis, extent in zip(axes, given, strict=True):
        spread[axis] = extent
    if prod(given) == 1:
        ones = np.ones((prod(shape), 1), np.float32)
        found = nodes.add(name, Linear(Tensor(ones)), [nodes.reshaped(x, (1,))])
        return nodes.reshaped(found, shape)
    found = nodes.reshaped(x, tuple(spread))
    for axis, extent in enumerate(shape):
        if spread[axis] != extent:
            ones = np.ones((extent, 1), np.float32)
            found = _selected(nodes, name, found, axis, ones)
    return found
