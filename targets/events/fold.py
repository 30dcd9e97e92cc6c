"""What neurons read as lists of synapses: chains of linear ops and delays, folded in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.linear_forms import applied
from snnir.tensors import Tensor

Array = npt.NDArray[Any]

_MOVES = (Concat, Flatten, Pad, Permute, Reshape, Slice)
_EACH = (BatchNorm, Bias, Scale)
_POOLS = (AvgPool2d, SumPool2d)
_CONVOLUTIONS = (Conv1d, Conv2d)
#: Ops that are sums of products of what they read, and constants.
LINEAR: tuple[type[Op], ...] = (
    *_MOVES, *_EACH, *_POOLS, *_CONVOLUTIONS, Add, Current, Linear, SparseLinear,
)  # fmt: skip


@dataclass(frozen=True)
class Paths:
    """Ways from units to elements of a value, one per entry; as `Synapses`, but for `unit`.

    Attributes:
        unit: [n] int64, where they begin.
        target: [n] int64, element of the value in C order.
        weight, delay: [n] float64.
        tensor: [n] int32; element: [n] int64; factor: [n] float64.
    """

    unit: Array
    target: Array
    weight: Array
    delay: Array
    tensor: Array
    element: Array
    factor: Array

    @classmethod
    def straight(cls, start: int, size: int) -> Paths:
        """Return the elements of a block of units as they are."""
        each = np.arange(size, dtype=np.int64)
        ones, none = np.ones(size), np.full(size, -1, np.int32)
        return cls(each + start, each, ones, np.zeros(size), none, np.zeros(size, np.int64), ones)

    @classmethod
    def joined(cls, parts: list[Paths]) -> Paths:
        """Return all entries of several."""
        if not parts:
            return cls.straight(0, 0)
        names = [item.name for item in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def taken(self, where: Array) -> Paths:
        """Return some of the entries."""
        return Paths(*(getattr(self, item.name)[where] for item in fields(self)))

    def merged(self) -> Paths:
        """Return equal ways that belong to no tensor as one way with the sum of their weights."""
        own = self.tensor >= 0
        rest = self.taken(~own)
        if not len(rest.unit):
            return self
        order = np.lexsort((rest.delay, rest.target, rest.unit))
        rest = rest.taken(order)
        same = np.ones(len(order), bool)
        same[0] = False
        for key in (rest.unit, rest.target, rest.delay):
            same[1:] &= key[1:] == key[:-1]
        first = np.flatnonzero(~same)
        weight = np.add.reduceat(rest.weight, first)
        merged = replace(rest.taken(first), weight=weight, factor=weight)
        return Paths.joined([self.taken(own), merged])


@dataclass(frozen=True)
class Matrix:
    """A linear op of one operand: target[t] += weight * source[s], by entry.

    Attributes:
        source, target: [n] int64.
        weight: [n] float64.
        tensor: Number of the tensor that the weights are elements of, -1 for none.
        element: [n] int64.
    """

    source: Array
    target: Array
    weight: Array
    tensor: int
    element: Array

    def after(self, paths: Paths, size: int) -> Paths:
        """Return paths prolonged by this op, whose operand has so many elements."""
        order = np.argsort(self.source, kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(self.source, minlength=size))])
        count = (first[1:] - first[:-1])[paths.target]
        old = np.repeat(np.arange(len(paths.unit)), count)
        within = np.arange(len(old)) - np.repeat(np.cumsum(count) - count, count)
        new = order[first[paths.target][old] + within]
        before = paths.taken(old)
        weight = before.weight * self.weight[new]
        target = self.target[new]
        if self.tensor < 0:
            factor = before.factor * self.weight[new]
            return replace(before, target=target, weight=weight, factor=factor)
        free = before.tensor < 0
        return Paths(
            before.unit, target, weight, before.delay,
            np.where(free, self.tensor, -1).astype(np.int32),
            np.where(free, self.element[new], 0), np.where(free, before.weight, weight),
        )  # fmt: skip


@dataclass(frozen=True)
class Form:
    """What a value is: the sum of what comes along its paths, and a constant.

    Attributes:
        paths: Its paths.
        constant: [*shape] float64.
        is_late: Whether a part of the constant is behind a delay.
    """

    paths: Paths
    constant: Array
    is_late: bool = False


class Folder:
    """Folds the linear ops and delays of a graph.

    Args:
        graph: The graph.
        starts: First unit of every input and population by name.

    Attributes:
        tensors: Paths of tensors that weights are elements of, by number.
        products: Those with elements that are multiplied by elements of another.
    """

    def __init__(self, graph: Graph, starts: Mapping[str, int]) -> None:
        self.graph, self.starts = graph, starts
        self.tensors: list[str] = []
        self.products: set[str] = set()
        self._known: dict[str, Form] = {}

    def fold(self, name: str) -> None:
        """Fold a node; what it reads has to be folded before."""
        node = self.graph.nodes[name]
        forms = [self.of(value) for value in node.operands]
        self._known[name] = self._folded(node, forms)

    def of(self, value: Value) -> Form:
        """Return what a value is; anything but a linear op or a delay is units itself."""
        if value.node in self._known:
            return self._known[value.node]
        shape = self.graph.signals[value].shape
        return Form(Paths.straight(self.starts[value.node], prod(shape)), np.zeros(shape))

    def _folded(self, node: Node, forms: list[Form]) -> Form:
        op, first = node.op, forms[0]
        is_late = any(form.is_late for form in forms)
        if isinstance(op, Delay):
            paths = self._delayed(node, op, first.paths)
            return Form(paths, first.constant, is_late or bool(first.constant.any()))
        constant = applied(self.graph, node, [form.constant[None] for form in forms]).squeeze(0)
        if isinstance(op, Add):
            return Form(Paths.joined([f.paths for f in forms]).merged(), constant, is_late)
        if isinstance(op, Current):
            return Form(first.paths, constant, is_late)
        if isinstance(op, _MOVES):
            return Form(self._moved(node, forms), constant, is_late)
        matrix = self._matrix(node)
        if matrix.tensor >= 0 and (first.paths.tensor >= 0).any():
            numbers = np.unique(first.paths.tensor[first.paths.tensor >= 0]).tolist()
            self.products |= {self.tensors[number] for number in (*numbers, matrix.tensor)}
        paths = matrix.after(first.paths, first.constant.size).merged()
        return Form(paths, constant, is_late)

    def _delayed(self, node: Node, op: Delay, paths: Paths) -> Paths:
        shape = self.graph.signal(node.name).shape
        if op.seconds is not None:
            seconds: Any = op.seconds.numpy().astype(np.float64)
        else:
            steps = op.steps.numpy() if isinstance(op.steps, Tensor) else np.int64(op.steps)
            seconds = steps * np.float64(self.graph.dt or 0.0)
        each = np.broadcast_to(seconds, shape).reshape(-1)
        return replace(paths, delay=paths.delay + each[paths.target])

    def _moved(self, node: Node, forms: list[Form]) -> Paths:
        """Find where elements go by letting the op move their numbers; 0 is padding."""
        numbers, total = [], 1
        for form in forms:
            size = form.constant.size
            numbers.append(np.arange(total, total + size).reshape(1, *form.constant.shape))
            total += size
        moved = applied(self.graph, node, [n.astype(np.float64) for n in numbers])[0].reshape(-1)
        source = moved.astype(np.int64)
        target = np.flatnonzero(source)
        found, first = [], 1
        for form in forms:
            size = form.constant.size
            here = target[(source[target] >= first) & (source[target] < first + size)]
            ones, none = np.ones(len(here)), np.zeros(len(here), np.int64)
            found.append(Matrix(source[here] - first, here, ones, -1, none).after(form.paths, size))
            first += size
        return Paths.joined(found)

    def _matrix(self, node: Node) -> Matrix:
        op = node.op
        shape = self.graph.signals[node.operands[0]].shape
        if isinstance(op, _EACH):
            one, zero = (applied(self.graph, node, [np.full((1, *shape), x)]) for x in (1.0, 0.0))
            each = np.arange(one[0].size)
            source = np.broadcast_to(np.arange(prod(shape)).reshape(shape), one[0].shape)
            weight = (one - zero).reshape(-1)
            return Matrix(source.reshape(-1), each, weight, -1, np.zeros_like(each))
        if isinstance(op, Linear):
            weights = without_zero(op).astype(np.float64)
            row, column = np.divmod(np.arange(weights.size), weights.shape[1])
            number = self._tensor(node, "weight")
            return _spread(shape[:-1], weights.shape, row, column, weights.reshape(-1), number)
        if isinstance(op, SparseLinear):
            return self._sparse(node, op, shape)
        if isinstance(op, _CONVOLUTIONS):
            return self._convolution(node, op, shape)
        assert isinstance(op, _POOLS)
        return _pool(op, shape)

    def _sparse(self, node: Node, op: SparseLinear, shape: tuple[int, ...]) -> Matrix:
        values = op.values.numpy().astype(np.float64)
        block = np.arange(op.block)
        row = (op.groups()[:, None] * op.block + block).reshape(-1)
        column = np.repeat(op.columns.numpy().astype(np.int64), op.block)
        inside = np.flatnonzero(row < op.outputs)
        copies = op.bias is None and bool((values == 1).all()) and _is_even(row[inside], op.outputs)
        number = -1 if copies else self._tensor(node, "values")
        sizes = (op.outputs, op.inputs)
        made = _spread(
            shape[:-1], sizes, row[inside], column[inside], values.reshape(-1)[inside], number
        )
        return replace(made, element=np.tile(inside, prod(shape[:-1])))

    def _convolution(self, node: Node, op: Conv1d | Conv2d, shape: tuple[int, ...]) -> Matrix:
        weights = without_zero(op).astype(np.float64)
        out, per_group, *kernel = weights.shape
        at = _windows(shape, tuple(kernel), op.stride, op.padding, op.dilation)
        # `at` [kernel, positions]: element of a channel under the kernel there, -1 for padding.
        space, positions = prod(shape[1:]), at.shape[1]
        k, position = np.nonzero(at >= 0)
        channel = np.arange(out)[:, None, None]
        inner = np.arange(per_group)[None, :, None]
        given = channel // (out // op.groups) * per_group + inner
        source = given * space + at[k, position][None, None]
        target = np.broadcast_to(channel * positions + position[None, None], source.shape)
        element = (channel * per_group + inner) * prod(kernel) + k[None, None]
        flat = np.broadcast_to(element, source.shape).reshape(-1)
        number = self._tensor(node, "weight")
        return Matrix(
            source.reshape(-1), target.reshape(-1), weights.reshape(-1)[flat], number, flat
        )

    def _tensor(self, node: Node, attribute: str) -> int:
        name = f"{node.name}.{attribute}"
        if name not in self.tensors:
            self.tensors.append(name)
        return self.tensors.index(name)


def _is_even(rows: Array, count: int) -> bool:
    """Whether every row is there once."""
    return len(rows) == count and len(np.unique(rows)) == count


def _spread(
    lead: tuple[int, ...], sizes: tuple[int, ...], row: Array, column: Array, weight: Array,
    tensor: int,
) -> Matrix:  # fmt: skip
    """Return a matrix [outputs, inputs] by entries, over the last axis of a stream."""
    copies = prod(lead)
    first = np.arange(copies)[:, None]
    return Matrix(
        (first * sizes[1] + column).reshape(-1), (first * sizes[0] + row).reshape(-1),
        np.tile(weight, copies), tensor, np.tile(np.arange(len(weight)), copies),
    )  # fmt: skip


def _windows(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
) -> Array:
    """Return which element of a channel every part of a window sees, -1 for padding.

    Returns:
        [elements of the kernel, positions] int64.
    """
    numbers = np.arange(prod(shape[1:])).reshape(shape[1:])
    padded = np.pad(numbers, padding, constant_values=-1)
    extents = tuple(
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.shape, kernel, stride, dilation, strict=True)
    )
    seen = []
    for offset in np.ndindex(*kernel):
        cut = tuple(
            slice(o * d, o * d + s * (e - 1) + 1, s)
            for o, d, s, e in zip(offset, dilation, stride, extents, strict=True)
        )
        seen.append(padded[cut].reshape(-1))
    return np.stack(seen)


def _pool(op: AvgPool2d | SumPool2d, shape: tuple[int, ...]) -> Matrix:
    at = _windows(shape, op.kernel, op.stride, op.padding, (1, 1))
    _, position = np.nonzero(at >= 0)
    inside = at[at >= 0]
    channel = np.arange(shape[0])[:, None]
    source = (channel * prod(shape[1:]) + inside).reshape(-1)
    target = (channel * at.shape[1] + position).reshape(-1)
    weight = 1.0 / prod(op.kernel) if isinstance(op, AvgPool2d) else 1.0
    none = np.zeros(len(source), np.int64)
    return Matrix(source, target, np.full(len(source), weight), -1, none)
