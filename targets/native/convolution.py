"""Convolutions in C: each event is spread over the outputs it reaches.

Sums lie channels last, so that what an event adds is a run of neighbours; they are put channels
first at the end, or after the largest of each window is taken where only that is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.pooling import MaxPool2d
from snnir.ir.synapses import Conv1d, Conv2d, without_zero
from snnir.targets.native.neurons import element, events_of
from snnir.targets.native.writer import Body, Writer, rows


def pooled(graph: Graph, node: Node) -> Node | None:
    """Return the maximum over windows that alone reads a convolution, if it is of whole windows."""
    uses = graph.uses[node.name]
    if not isinstance(node.op, Conv2d) or len(uses) != 1:
        return None
    if any(value.node == node.name for value in graph.outputs.values()):
        return None
    reader = graph.nodes[uses[0][0]]
    if not isinstance(reader.op, MaxPool2d) or any(n for pair in reader.op.padding for n in pair):
        return None
    return reader


@dataclass(frozen=True)
class Geometry:
    """A convolution over pictures; one over lines has pictures of one row.

    Attributes:
        source: (height, width) of the input.
        target: (height, width) of the output.
        taps, stride, dilation: Per axis.
        pad: Zeros before each axis.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]

    @classmethod
    def of(cls, op: Conv1d | Conv2d, source: tuple[int, ...], target: tuple[int, ...]) -> Geometry:
        """Return the geometry between streams of these shapes."""
        line = isinstance(op, Conv1d)

        def pair(values: Any, rest: int) -> Any:
            return (rest, *values) if line else tuple(values)

        return cls(
            pair(source[1:], 1), pair(target[1:], 1), pair(op.weight.shape[2:], 1),
            pair(op.stride, 1), pair(op.dilation, 1), pair([before for before, _ in op.padding], 0),
        )  # fmt: skip


class Convolution:
    """Writes the function of one convolution, with the maximum that reads it if there is one."""

    def __init__(self, writer: Writer, node: Node, pool: Node | None) -> None:
        assert isinstance(node.op, (Conv1d, Conv2d))
        self.writer, self.node, self.op, self.pool = writer, node, node.op, pool
        layout = self.layout = writer.layout
        self.kind = layout.ctype(Value(node.name))
        self.name = layout.names[node.name]
        self.shape = layout.graph.signal(node.name).shape
        source = layout.graph.signals[node.operands[0]].shape
        self.geometry = Geometry.of(node.op, source, self.shape)
        self.out, self.channels = self.shape[0], source[0]
        self.each = self.out // node.op.groups
        events, self.source = events_of(writer, node.operands[0])
        self.events = f"r->{events}"
        self.sums = self.sum_kind()
        self.weights, self.weight_kind = self.table()
        self.bias = ""
        if node.op.bias is not None:
            label, array = f"{self.name}_bias", node.op.bias.numpy()
            self.bias = f" + {element(writer, label, array, (self.out,), self.kind, 'k')}"

    def write(self) -> None:
        """Add the function."""
        size = prod(self.shape)
        self.writer.scratch[f"{self.name}_sums"] = (self.sums, size)
        body = Body()
        with rows(body):
            body.add(f"{self.sums} *const sums = r->{self.name}_sums + g.part * {size};")
            body.add(f"memset(sums, 0, {size} * sizeof *sums);")
            if self.source != "uint8_t":
                x = self.writer.buffer(self.node.operands[0])
                fan_in = self.channels * prod(self.geometry.source)
                body.add(f"const {self.source} *const x = r->{x} + row * {fan_in};")
            head = f"for (long e = {self.events}.begin[row]; e < {self.events}.end[row]; e++)"
            with body.block(head):
                self.spread(body)
            if self.pool is None:
                self.channels_first(body)
            else:
                self.largest(body, self.pool)
        self.writer.function(self.name, body)

    # --- One event -------------------------------------------------------------------------------

    def spread(self, body: Body) -> None:
        """Add what an event adds."""
        shape = self.geometry
        where = self.writer.weight(f"{self.name}_place", self.places())
        body.add(f"const int32_t *const at = {where} + 3 * (long){self.events}.index[e];")
        body.add(f"const {self.weight_kind} *const w = {self.weights} + at[0];")
        if self.source != "uint8_t":
            body.add(f"const {self.sums} v = ({self.sums})x[{self.events}.index[e]];")
        with body.block(f"for (long j = 0; j < {shape.taps[0]}; j++)"):
            body.add(f"const long h = at[1] - j * {shape.dilation[0]};")
            odd = "" if shape.stride[0] == 1 else f" || h % {shape.stride[0]}"
            body.add(f"if (h < 0 || h / {shape.stride[0]} >= {shape.target[0]}{odd}) continue;")
            if self.is_run:
                self.run(body)
            else:
                self.taps(body)

    @property
    def is_run(self) -> bool:
        """Whether the outputs of an event along a row are neighbours."""
        shape = self.geometry
        return shape.stride[1] == shape.dilation[1] == self.op.groups == 1

    def places(self) -> Any:
        """Return, for every input, where its weights begin and where its windows end."""
        height, width = self.geometry.source
        channel, row, column = np.indices((self.channels, height, width)).reshape(3, -1)
        each = prod(self.geometry.taps) * self.each
        ends = row + self.geometry.pad[0], column + self.geometry.pad[1]
        return np.stack([channel * each, *ends], axis=1).astype(np.int32)

    def sum_kind(self) -> str:
        """Return the type of the sums: of 16 bits where no sum of whole weights exceeds them."""
        if self.source != "uint8_t" or not self.kind.startswith("int"):
            return self.kind
        weight = without_zero(self.op).astype(np.int64).reshape(self.out, -1)
        rise, fall = (np.maximum(sign * weight, 0).sum(1).max(initial=0) for sign in (1, -1))
        return "int16_t" if max(rise, fall) < 2**15 else self.kind

    def table(self) -> tuple[str, str]:
        """Return weights [channel, tap, tap, output], rows reversed for runs, and their type."""
        weight = without_zero(self.op)
        weight = weight.reshape(*weight.shape[:2], *self.geometry.taps)
        out, per = weight.shape[:2]
        groups = self.op.groups
        turned = weight.reshape(groups, out // groups, per, *self.geometry.taps)
        turned = turned.transpose(0, 2, 3, 4, 1)
        if self.sums == "int16_t" and not self.writer.embedded:
            turned = turned.astype(np.int16)  # else bytes would be widened for every event
        if self.is_run:
            turned = turned[:, :, :, ::-1]
        name = self.writer.weight(f"{self.name}_weight", turned)
        return name, Writer.kind(turned)

    def run(self, body: Body) -> None:
        """Add a row of weights to neighbouring sums."""
        shape = self.geometry
        taps, width, stride = shape.taps[1], shape.target[1], shape.stride[0]
        factor = "" if self.source == "uint8_t" else "v * "
        body.add(f"const long first = at[2] - {taps - 1};")
        body.add(f"{self.sums} *const to = sums + (h / {stride} * {width} + first) * {self.out};")
        body.add(f"const {self.weight_kind} *const from = w + j * {taps * self.out};")
        add = f"to[m] += {factor}({self.sums})from[m];"
        with body.block(f"if (first >= 0 && first + {taps} <= {width})"):
            body.add(f"for (long m = 0; m < {taps * self.out}; m++) {add}")
        with body.block("else"):
            body.add(f"const long last = first + {taps} < {width} ? {taps} : {width} - first;")
            body.add(
                f"for (long m = first < 0 ? -first * {self.out} : 0; m < last * {self.out}; m++)"
            )
            body.add(f"    {add}")

    def taps(self, body: Body) -> None:
        """Add the weights of each tap to the sums it reaches."""
        shape = self.geometry
        stride, width = shape.stride[1], shape.target[1]
        factor = "" if self.source == "uint8_t" else "v * "
        with body.block(f"for (long k = 0; k < {shape.taps[1]}; k++)"):
            body.add(f"const long o = at[2] - k * {shape.dilation[1]};")
            odd = "" if stride == 1 else f" || o % {stride}"
            body.add(f"if (o < 0 || o / {stride} >= {width}{odd}) continue;")
            at = f"(h / {shape.stride[0]} * {width} + o / {stride}) * {self.out}"
            if self.op.groups > 1:
                per = prod(shape.taps) * self.each * (self.channels // self.op.groups)
                at += f" + at[0] / {per} * {self.each}"
            body.add(f"{self.sums} *const to = sums + {at};")
            from_ = f"w + (j * {shape.taps[1]} + k) * {self.each}"
            body.add(f"const {self.weight_kind} *const from = {from_};")
            add = f"to[m] += {factor}({self.sums})from[m];"
            body.add(f"for (long m = 0; m < {self.each}; m++) {add}")

    # --- The end of a row ------------------------------------------------------------------------

    def channels_first(self, body: Body) -> None:
        """Put the sums where the value is."""
        places = prod(self.geometry.target)
        y = self.writer.buffer(Value(self.node.name))
        body.add(f"{self.kind} *const y = r->{y} + row * {self.out * places};")
        with body.block(f"for (long k = 0; k < {self.out}; k++)"):
            body.add(f"for (long i = 0; i < {places}; i++)")
            body.add(f"    y[k * {places} + i] = sums[i * {self.out} + k]{self.bias};")
        self.record(body, self.node.name, f"y[k * {places} + i]", places)

    def record(self, body: Body, label: str, text: str, places: int) -> None:
        """Record a value channel by channel, if the program is built to."""
        number = self.writer.record(label, label)
        to = f"r->record[{number}]"
        body.append("#ifdef SNN_RECORD")
        with body.block(f"for (long k = 0; {to} && k < {self.out}; k++)"):
            body.add(f"for (long i = 0; i < {places}; i++)")
            element = f"{to}[row * {self.out * places} + k * {places} + i]"
            body.add(f"    {element} = (double)({text});")
        body.append("#endif")

    def largest(self, body: Body, pool: Node) -> None:
        """Take the largest of each window; a bias may be added after that, rounding only rises."""
        op: Any = pool.op
        _, height, width = self.layout.graph.signal(pool.name).shape
        places = prod(self.geometry.target)
        self.record(body, self.node.name, f"sums[i * {self.out} + k]{self.bias}", places)
        y = self.writer.buffer(Value(pool.name))
        body.add(f"{self.kind} *const y = r->{y} + row * {self.out * height * width};")
        with (
            body.block(f"for (long h = 0; h < {height}; h++)"),
            body.block(f"for (long o = 0; o < {width}; o++)"),
        ):
            corner = f"(h * {op.stride[0]} * {self.geometry.target[1]} + o * {op.stride[1]})"
            body.add(f"const {self.sums} *const window = sums + {corner} * {self.out};")
            body.add(f"{self.sums} most[{self.out}];")
            body.add("memcpy(most, window, sizeof most);")
            for j, i in np.ndindex(*op.kernel):
                if j or i:
                    at = (j * self.geometry.target[1] + i) * self.out
                    body.add(f"for (long k = 0; k < {self.out}; k++)")
                    element = f"window[{at} + k]"
                    body.add(f"    most[k] = {element} > most[k] ? {element} : most[k];")
            body.add(f"for (long k = 0; k < {self.out}; k++)")
            body.add(f"    y[k * {height * width} + h * {width} + o] = most[k]{self.bias};")
        self.record(body, pool.name, f"y[k * {height * width} + i]", height * width)
