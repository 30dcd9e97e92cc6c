"""Leaves that slide windows: convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.synapses import Conv1d, Conv2d, without_zero
from snnir.targets.ipu.leaf import TURN
from snnir.targets.ipu.memory import CONSTANT, VALUES, Array, Field
from snnir.targets.ipu.sums import Sum

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window(Sum):
    """A window over [channels, height, width]; one axis of space is a height of 1.

    Attributes:
        shape: Of the operand.
        space: Height and width of the result.
    """

    shape: tuple[int, int, int] = (1, 1, 1)
    space: Pair = (1, 1)

    @property
    def places(self) -> int:
        """Elements of one channel of the result."""
        return prod(self.space)

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, Pair]:
        """Kernel, stride, dilation, and zeros before the operand: height and width of each."""
        raise NotImplementedError

    def channels(self) -> tuple[Array, Array]:
        """Return the first and the last channel of the result in each part."""
        firsts = self.cut.firsts()
        return firsts // self.places, (firsts + self.cut.lengths() - 1) // self.places

    def coordinates(self) -> list[str]:
        """Return the statements that say where element i lies."""
        n, width = self.number, self.space[1]
        return [
            f"const unsigned channel{n} = i / {self.places}u;",
            f"const int high{n} = (int)(i / {width}u % {self.space[0]}u);",
            f"const int wide{n} = (int)(i % {width}u);",
        ]

    def taps(self, body: list[str]) -> list[str]:
        """Return the loops over the taps inside the operand; `at` is the place in its channel."""
        n, (kernel, stride, dilation, zeros) = self.number, self.geometry
        _, height, width = self.shape

        def place(axis: int, name: str, tap: str) -> str:
            return f"{name}{n} * {stride[axis]} + {tap} * {dilation[axis]} - {zeros[axis]}"

        return [
            f"for (int ky = 0; ky < {kernel[0]}; ++ky) {{",
            f"    const int row = {place(0, 'high', 'ky')};",
            f"    if (row < 0 || row >= {height}) continue;",
            f"    for (int kx = 0; kx < {kernel[1]}; ++kx) {{",
            f"        const int column = {place(1, 'wide', 'kx')};",
            f"        if (column < 0 || column >= {width}) continue;",
            f"        const unsigned at = (unsigned)(row * {width} + column);",
            *(f"        {line}" for line in body),
            "    }",
            "}",
        ]

    def element(self) -> str:
        """Return the result."""
        return f"sum{self.number}"


@dataclass(frozen=True)
class Convolution(Window):
    """A convolution: every element sums over its window."""

    @cached_property
    def kernels(self) -> Array:
        """The weights, [channels, inputs of a group, height, width]."""
        op = self.node.op
        assert isinstance(op, (Conv1d, Conv2d))
        weight = without_zero(op)
        return weight if weight.ndim == 4 else weight[:, :, None, :]

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, Pair]:
        """Kernel, stride, dilation, zeros."""
        op = self.node.op
        assert isinstance(op, (Conv1d, Conv2d))
        before = tuple(low for low, _ in op.padding)
        kernel = tuple(int(n) for n in self.kernels.shape[2:])
        if op.rank == 1:
            return _pair(kernel), (1, op.stride[0]), (1, op.dilation[0]), (0, before[0])
        return _pair(kernel), _pair(op.stride), _pair(op.dilation), _pair(before)

    @property
    def outer(self) -> int:
        """Channels of the result in a group."""
        op = self.node.op
        assert isinstance(op, (Conv1d, Conv2d))
        return int(self.kernels.shape[0] // op.groups)

    def reach(self) -> tuple[Array, Array]:
        """Return the channels of the groups of each part."""
        first, last = self.channels()
        each = self.kernels.shape[1] * self.shape[1] * self.shape[2]
        return first // self.outer * each, (last // self.outer + 1) * each

    def fields(self) -> list[Field]:
        """Return the weights of the channels of each part."""
        first, last = self.channels()
        sizes = (last - first + 1) * prod(self.kernels.shape[1:])
        label = f"{self.node.name}.weight"
        return [Field(f"w{self.number}", self.kind, CONSTANT, sizes, self.laid, label)]

    def laid(self) -> Array:
        """Return the weights, all parts."""
        ends = zip(*self.channels(), strict=True)
        return np.concatenate([self.kernels[a : b + 1].reshape(-1) for a, b in ends])

    def before(self) -> list[str]:
        """Find the first channel."""
        return [f"const unsigned channels{self.number} = first / {self.places}u;"]

    def inside(self) -> list[str]:
        """Sum over the window."""
        n, (inner, high, wide) = self.number, self.kernels.shape[1:]
        plane, taps = self.shape[1] * self.shape[2], inner * high * wide
        source = self.item(f"(group{n} + c) * {plane}u + at")
        weight = self.weight(f"(weights{n} + c * {high}u + ky) * {wide}u + kx")
        if self.stream.form == VALUES:
            product = f"const {self.total} product = {weight} * ({self.total}){source};"
            add = [product, f"sum{n} += product;"]
        else:
            add = [f"if ({source}) sum{n} += {weight};"]
        return [
            *self.coordinates(),
            f"const unsigned group{n} = channel{n} / {self.outer}u * {inner}u;",
            f"const unsigned weights{n} = (channel{n} - channels{n}) * {taps // wide}u;",
            f"{self.total} sum{n} = {self.zero};",
            f"for (unsigned c = 0; c < {inner}u; ++c) {{",
            *(f"    {line}" for line in self.taps(add)),
            "}",
        ]

    def work(self, activity: float) -> Array:
        """Every tap of every element."""
        return self.cut.lengths() * (12 + prod(self.kernels.shape[1:]) * (TURN + 8 + self.lookup))


@dataclass(frozen=True)
class Scattered(Convolution):
    """A convolution: every event adds its weights to the sums of the part that it reaches."""

    def fields(self) -> list[Field]:
        """Return the weights and the sums."""
        return [*super().fields(), self.sums()]

    def before(self) -> list[str]:
        """Sum over the events."""
        n, (inner, high, wide) = self.number, self.kernels.shape[1:]
        _, height, width = self.shape
        kernel = f"(((o - channels{n}) * {inner}u + channel % {inner}u) * {high}u + ky) * {wide}u"
        weight = self.weight(f"{kernel} + kx")
        body = [
            f"const unsigned channel = k / {height * width}u;",
            f"const int y = (int)(k / {width}u % {height}u);",
            f"const int x = (int)(k % {width}u);",
            f"const unsigned group = channel / {inner}u * {self.outer}u;",
            f"const unsigned low = group > channels{n} ? group : channels{n};",
            f"const unsigned next = group + {self.outer}u;",
            f"const unsigned most = next < after{n} ? next : after{n};",
            f"for (int ky = 0; ky < {high}; ++ky) {{",
            *self._reached(0, "row", "y", "ky"),
            f"    for (int kx = 0; kx < {wide}; ++kx) {{",
            *(f"    {line}" for line in self._reached(1, "column", "x", "kx")),
            f"        const unsigned at = (unsigned)(row * {self.space[1]} + column) - first;",
            "        for (unsigned o = low; o < most; ++o) {",
            f"            const unsigned j = o * {self.places}u + at;",
            f"            if (j < count) sum{n}[j] += {weight};",
            "        }", "    }", "}",
        ]  # fmt: skip
        ends = f"const unsigned after{n} = (first + count - 1) / {self.places}u + 1;"
        return [*super().before(), ends, *self.cleared(), *self.each_event(body)]

    def _reached(self, axis: int, name: str, at: str, tap: str) -> list[str]:
        """Return the statements that find the place which an event reaches by a tap."""
        _, stride, dilation, zeros = self.geometry
        step = stride[axis]
        apart = f" || {name}_far % {step} != 0" if step > 1 else ""
        return [
            f"    const int {name}_far = {at} + {zeros[axis]} - {tap} * {dilation[axis]};",
            f"    if ({name}_far < 0{apart}) continue;",
            f"    const int {name} = {name}_far / {step};",
            f"    if ({name} >= {self.space[axis]}) continue;",
        ]

    def inside(self) -> list[str]:
        """Nothing: the sums are there."""
        return []

    def element(self) -> str:
        """Return the sum."""
        return f"sum{self.number}[j]"

    def work(self, activity: float) -> Array:
        """Events times the taps and channels that they reach."""
        first, last = self.channels()
        groups = self.kernels.shape[0] // self.outer
        channels = np.minimum(last - first + 1, self.outer) / groups
        taps = prod(self.kernels.shape[2:])
        each = 40 + taps * (TURN + 10 + channels * (TURN + 10))
        cleared = 2 * (TURN + 1) * self.cut.lengths()
        total: Array = self.scanning(activity) + self.events(activity) * each + cleared
        return total


@dataclass(frozen=True)
class Pool(Window):
    """The sum, mean or largest element of a window."""

    @property
    def op(self) -> SumPool2d | AvgPool2d | MaxPool2d:
        """The op."""
        assert isinstance(self.node.op, (SumPool2d, AvgPool2d, MaxPool2d))
        return self.node.op

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, Pair]:
        """Kernel, stride, dilation, zeros."""
        (top, _), (left, _) = self.op.padding
        return self.op.kernel, self.op.stride, (1, 1), (top, left)

    def reach(self) -> tuple[Array, Array]:
        """Return the channels of each part."""
        first, last = self.channels()
        plane = self.shape[1] * self.shape[2]
        return first * plane, (last + 1) * plane

    def inside(self) -> list[str]:
        """Go through the window."""
        n, most = self.number, self.op.reduction == "max"
        source = f"({self.total}){self.item(f'channel{n} * {self.shape[1] * self.shape[2]}u + at')}"
        lowest = "-INFINITY" if self.total == "float" else "(-2147483647 - 1)"
        turn = (
            [f"const {self.total} x = {source};", f"if (x > sum{n} || x != x) sum{n} = x;"]
            if most else [f"sum{n} += {source};"]
        )  # fmt: skip
        return [
            *self.coordinates(),
            f"{self.total} sum{n} = {lowest if most else self.zero};",
            *self.taps(turn),
        ]

    def element(self) -> str:
        """Return the result; a mean is the rounded sum, divided."""
        if self.op.reduction != "mean":
            return f"sum{self.number}"
        return f"sum{self.number} / {prod(self.op.kernel)}.0f"

    def work(self, activity: float) -> Array:
        """Every tap of every element."""
        return self.cut.lengths() * (12 + prod(self.op.kernel) * (TURN + 6 + self.lookup))


def _pair(numbers: tuple[int, ...]) -> Pair:
    high, wide = numbers
    return high, wide
