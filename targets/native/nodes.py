"""Stateless nodes in C, row by row."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from snnir.c_values import norm
from snnir.ir.graph import Node, Value
from snnir.ir.op import Op
from snnir.ir.plastic import Plastic
from snnir.ir.pooling import AvgPool2d, MaxPool2d, PickMax2d, SumPool2d
from snnir.ir.random import Uniform
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.winner import Winner
from snnir.targets.native.neurons import element, events_of, lanes_of, summed
from snnir.targets.native.writer import Body, Writer, rows
from snnir.tensors import Tensor

Shape = tuple[int, ...]


class Stateless:
    """Writes the function of one node.

    Attributes:
        writer: Where it goes.
        node: The node.
    """

    def __init__(self, writer: Writer, node: Node) -> None:
        self.writer, self.node, self.layout = writer, node, writer.layout
        self.value = Value(node.name)
        self.shape = self.layout.graph.signal(node.name).shape
        self.size = prod(self.shape)
        self.kind = self.layout.ctype(self.value)
        self.name = self.layout.names[node.name]

    def write(self) -> None:
        """Add the function."""
        rule = _RULES[type(self.node.op)]
        body = Body()
        with rows(body):
            body.add(
                f"{self.kind} *const y = r->{self.writer.buffer(self.value)} + row * {self.size};"
            )
            for index, operand in enumerate(self.node.operands):
                root = self.layout.root(operand)
                kind, size = self.layout.ctype(root), self.layout.size(root)
                where = f"r->{self.writer.buffer(operand)} + row * {size}"
                body.add(f"const {kind} *const x{index} = {where};")
            rule(self, body)
            record_row(self.writer, body, self.node.name, "y", self.size)
        self.writer.function(self.name, body)

    def operand(self, index: int = 0) -> Shape:
        """Return the shape of an operand."""
        return self.layout.graph.signals[self.node.operands[index]].shape

    def source(self, index: int = 0) -> str:
        """Return the C type of an operand."""
        return self.layout.ctype(self.layout.root(self.node.operands[index]))

    def spread(self, label: str, array: Any) -> str:
        """Return element i of a tensor that broadcasts to the result, in its type."""
        return self.element(label, array, self.shape, "i")

    def element(self, label: str, array: Any, shape: Shape, index: str) -> str:
        """Return an element of a tensor that broadcasts to a shape, in the type of the result."""
        return element(self.writer, f"{self.name}_{label}", array, shape, self.kind, index)

    def bias(self, bias: Tensor | None, out: int) -> str:
        """Return the addition of the bias of row k, if there is one."""
        return "" if bias is None else f" + {self.element('bias', bias.numpy(), (out,), 'k')}"


def record_row(writer: Writer, body: Body, label: str, pointer: str, size: int) -> None:
    """Record a row of a value if the program is built to."""
    number = writer.record(label, label)
    to = f"r->record[{number}]"
    body.extend(["#ifdef SNN_RECORD"])
    body.add(
        f"if ({to})",
        f"    for (long i = 0; i < {size}; i++) {to}[row * {size} + i] = (double){pointer}[i];",
    )
    body.extend(["#endif"])


def _each(node: Stateless, body: Body, text: str) -> None:
    with body.block(f"for (long i = 0; i < {node.size}; i++)"):
        body.add(f"y[i] = {text};")


def _add(node: Stateless, body: Body) -> None:
    terms = (f"({node.kind})x{k}[i]" for k in range(len(node.node.operands)))
    _each(node, body, " + ".join(terms))


def _scale(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    _each(node, body, f"{node.spread('scale', op.scale.numpy())} * ({node.kind})x0[i]")


def _bias(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    _each(node, body, f"({node.kind})x0[i] + {node.spread('bias', op.bias.numpy())}")


def _copy(node: Stateless, body: Body) -> None:
    _each(node, body, f"({node.kind})x0[i]")


def _batch_norm(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    parts = zip(("gain", "shift"), norm(op, node.layout.real), strict=True)
    gain, shift = (node.element(key, array, array.shape, "c") for key, array in parts)
    inner = prod(node.shape[1:])
    with (
        body.block(f"for (long c = 0; c < {node.shape[0]}; c++)"),
        body.block(f"for (long i = c * {inner}; i < (c + 1) * {inner}; i++)"),
    ):
        body.add(f"y[i] = ({node.kind})x0[i] * {gain} + {shift};")


def _concat(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    outer, begin = prod(node.shape[: op.axis]), 0
    width = prod(node.shape[op.axis :])
    for index in range(len(node.node.operands)):
        part = prod(node.operand(index)[op.axis :])
        with (
            body.block(f"for (long o = 0; o < {outer}; o++)"),
            body.block(f"for (long i = 0; i < {part}; i++)"),
        ):
            to = f"y[o * {width} + {begin} + i]"
            body.add(f"{to} = ({node.kind})x{index}[o * {part} + i];")
        begin += part


def _slice(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    source = node.operand()
    inner = prod(source[op.axis + 1 :])
    outer, width = prod(source[: op.axis]), source[op.axis] * inner
    part = (op.stop - op.start) * inner
    with (
        body.block(f"for (long o = 0; o < {outer}; o++)"),
        body.block(f"for (long i = 0; i < {part}; i++)"),
    ):
        body.add(f"y[o * {part} + i] = x0[o * {width} + {op.start * inner} + i];")


def _moved(node: Stateless, body: Body, to: str, start: str, shape: Shape) -> None:
    """Copy the elements of the operand to places given by its own indices."""
    depth = len(shape)

    def inner(axis: int) -> None:
        if axis == depth:
            flat = " + ".join(f"i{k} * {prod(shape[k + 1 :])}" for k in range(depth)) or "0"
            body.add(f"y[{to}] = x0[{flat}];")
            return
        with body.block(f"for (long i{axis} = 0; i{axis} < {shape[axis]}; i{axis}++)"):
            inner(axis + 1)

    if start:
        body.add(start)
    inner(0)


def _permute(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    strides = [prod(node.shape[k + 1 :]) for k in range(len(node.shape))]
    terms = [f"i{axis} * {strides[place]}" for place, axis in enumerate(op.axes)]
    _moved(node, body, " + ".join(terms) or "0", "", node.operand())


def _pad(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    strides = [prod(node.shape[k + 1 :]) for k in range(len(node.shape))]
    terms = [
        f"(i{axis} + {before}) * {strides[axis]}" for axis, (before, _) in enumerate(op.widths)
    ]
    clear = f"for (long i = 0; i < {node.size}; i++) y[i] = 0;"
    _moved(node, body, " + ".join(terms), clear, node.operand())


def _winner(node: Stateless, body: Body) -> None:
    body.add("long best = 0;")
    body.add(f"for (long i = 1; i < {node.size}; i++) if (x0[i] > x0[best]) best = i;")
    _each(node, body, "0")
    body.add("y[best] = x0[best] > 0;")


#: The least that a type of whole numbers holds; nothing is less than no spike.
_LOWEST = {"uint8_t": "0", "int32_t": "INT32_MIN", "int64_t": "INT64_MIN"}


def _pool(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    channels, height, width = node.operand()
    _, rows_out, columns_out = node.shape
    (top, _), (left, _) = op.padding
    largest = isinstance(op, MaxPool2d)
    total = _LOWEST.get(node.kind, "-INFINITY") if largest else "0"
    with (
        body.block(f"for (long c = 0; c < {channels}; c++)"),
        body.block(f"for (long h = 0; h < {rows_out}; h++)"),
        body.block(f"for (long w = 0; w < {columns_out}; w++)"),
    ):
        body.add(f"{node.kind} total = {total};")
        with (
            body.block(f"for (long j = 0; j < {op.kernel[0]}; j++)"),
            body.block(f"for (long k = 0; k < {op.kernel[1]}; k++)"),
        ):
            body.add(f"const long p = h * {op.stride[0]} + j - {top};")
            body.add(f"const long o = w * {op.stride[1]} + k - {left};")
            if any(side for pair in op.padding for side in pair):
                body.add(f"if (p < 0 || p >= {height} || o < 0 || o >= {width}) continue;")
            element = f"x0[(c * {height} + p) * {width} + o]"
            if largest:
                missing = f" || {element} != {element}" if node.kind not in _LOWEST else ""
                body.add(f"if ({element} > total{missing}) total = {element};")
            else:
                body.add(f"total += ({node.kind}){element};")
        divided = f" / ({node.kind}){prod(op.kernel)}" if isinstance(op, AvgPool2d) else ""
        body.add(f"y[(c * {rows_out} + h) * {columns_out} + w] = total{divided};")


def _pick(node: Stateless, body: Body) -> None:
    """Keep the first largest score of a window; padding has the least, and the value 0."""
    op: Any = node.node.op
    channels, height, width = node.operand()
    _, rows_out, columns_out = node.shape
    (top, _), (left, _) = op.padding
    is_whole = node.source() in _LOWEST
    kind, least = ("int64_t", "INT64_MIN") if is_whole else (node.source(), "-INFINITY")
    missing = "" if is_whole else " || (score != score && best == best)"
    with (
        body.block(f"for (long c = 0; c < {channels}; c++)"),
        body.block(f"for (long h = 0; h < {rows_out}; h++)"),
        body.block(f"for (long w = 0; w < {columns_out}; w++)"),
    ):
        body.add(f"{kind} best = 0;", f"{node.kind} chosen = 0;")
        with (
            body.block(f"for (long j = 0; j < {op.kernel[0]}; j++)"),
            body.block(f"for (long k = 0; k < {op.kernel[1]}; k++)"),
        ):
            body.add(f"const long p = h * {op.stride[0]} + j - {top};")
            body.add(f"const long o = w * {op.stride[1]} + k - {left};")
            body.add(f"const int in = p >= 0 && p < {height} && o >= 0 && o < {width};")
            body.add(f"const long at = in ? (c * {height} + p) * {width} + o : 0;")
            body.add(f"const {kind} score = in ? ({kind})x0[at] : {least};")
            with body.block(f"if (j + k == 0 || score > best{missing})"):
                body.add("best = score;", f"chosen = in ? ({node.kind})x1[at] : 0;")
        body.add(f"y[(c * {rows_out} + h) * {columns_out} + w] = chosen;")


def _linear(node: Stateless, body: Body) -> None:
    """Sum over events if the operand has one axis, else over all."""
    op: Any = node.node.op
    out, fan_in = op.weight.shape
    bias = node.bias(op.bias, out)
    if len(node.shape) > 1:
        weight = node.writer.weight(f"{node.name}_weight", without_zero(op))
        with (
            body.block(f"for (long o = 0; o < {node.size // out}; o++)"),
            body.block(f"for (long k = 0; k < {out}; k++)"),
        ):
            body.add(f"{node.kind} total = 0;")
            terms = f"({node.kind}){weight}[k * {fan_in} + i] * ({node.kind})x0[o * {fan_in} + i]"
            body.add(f"for (long i = 0; i < {fan_in}; i++) total += {terms};")
            body.add(f"y[o * {out} + k] = total{bias};")
        return
    lanes = lanes_of(out, node.writer.embedded, [op])
    with body.block(f"for (long q = 0; q < {-(-out // lanes)}; q++)"):
        body.add(*summed(node.writer, node.node, lanes, "sum"))
        body.add(f"for (long k = q * {lanes}; k < {out} && k < (q + 1) * {lanes}; k++)")
        body.add(f"    y[k] = sum[k - q * {lanes}]{bias};")
    body.add("(void)x0;")


def _sparse(node: Stateless, body: Body) -> None:
    """Spread events over the outputs they reach if the operand has one axis, else sum all."""
    if len(node.shape) > 1:
        _sparse_rows(node, body)
        return
    op: Any = node.node.op
    columns, starts = op.columns.numpy(), op.starts.numpy()
    order = np.argsort(columns, kind="stable")
    begins = np.append(0, np.cumsum(np.bincount(columns, minlength=op.inputs)))
    group, values, at = (
        node.writer.weight(f"{node.name}_{key}", array)
        for key, array in (
            ("group", np.repeat(np.arange(len(starts) - 1), np.diff(starts))[order].astype("i4")),
            ("values", op.values.numpy()[order].reshape(-1)), ("starts", begins.astype("i4")),
        )
    )  # fmt: skip
    events, kind = events_of(node.writer, node.node.operands[0])
    body.add(f"for (long k = 0; k < {op.outputs}; k++) y[k] = 0;")
    with body.block(f"for (long e = r->{events}.begin[row]; e < r->{events}.end[row]; e++)"):
        body.add(f"const long j = r->{events}.index[e];")
        factor = "" if kind == "uint8_t" else f" * ({node.kind})x0[j]"
        with body.block(f"for (long k = {at}[j]; k < {at}[j + 1]; k++)"):
            inside = f" && {group}[k] * {op.block} + i < {op.outputs}"
            inside = inside if op.outputs % op.block else ""
            body.add(f"for (long i = 0; i < {op.block}{inside}; i++)")
            weight = f"({node.kind}){values}[k * {op.block} + i]"
            body.add(f"    y[{group}[k] * {op.block} + i] += {weight}{factor};")
    if op.bias is not None:
        bias = node.bias(op.bias, op.outputs)
        body.add(f"for (long k = 0; k < {op.outputs}; k++) y[k] = y[k]{bias};")
    body.add("(void)x0;")


def _sparse_rows(node: Stateless, body: Body) -> None:
    op: Any = node.node.op
    writer, label = node.writer, node.name
    values, columns, starts = (
        writer.weight(f"{label}_{key}", np.asarray(array))
        for key, array in (
            ("values", op.values.numpy().reshape(-1)), ("columns", op.columns.numpy()),
            ("starts", op.starts.numpy().astype(np.int32)),
        )
    )  # fmt: skip
    outer, block = node.size // op.outputs, op.block
    bias = node.bias(op.bias, op.outputs)
    with (
        body.block(f"for (long o = 0; o < {outer}; o++)"),
        body.block(f"for (long group = 0; group < {len(op.starts.numpy()) - 1}; group++)"),
    ):
        body.add(f"{node.kind} total[{block}] = {{0}};")
        with body.block(f"for (long e = {starts}[group]; e < {starts}[group + 1]; e++)"):
            body.add(f"const {node.kind} x = ({node.kind})x0[o * {op.inputs} + {columns}[e]];")
            body.add(f"for (long i = 0; i < {block}; i++)")
            body.add(f"    total[i] += ({node.kind}){values}[e * {block} + i] * x;")
        first = f"group * {block}"
        with body.block(f"for (long i = 0; i < {block} && {first} + i < {op.outputs}; i++)"):
            body.add(f"const long k = {first} + i;")
            body.add(f"y[o * {op.outputs} + k] = total[i]{bias};")


_Rule = Callable[[Stateless, Body], None]
_RULES: dict[type[Op], _Rule] = {
    Add: _add,
    AvgPool2d: _pool,
    BatchNorm: _batch_norm,
    Bias: _bias,
    Concat: _concat,
    Current: _copy,
    Flatten: _copy,
    Linear: _linear,
    MaxPool2d: _pool,
    Pad: _pad,
    Permute: _permute,
    PickMax2d: _pick,
    Reshape: _copy,
    Scale: _scale,
    Slice: _slice,
    SparseLinear: _sparse,
    SumPool2d: _pool,
    Winner: _winner,
}


def is_known(op: Op) -> bool:
    """Return whether an op has a form in C."""
    return type(op) in _RULES or isinstance(op, (Conv1d, Conv2d, Plastic, Uniform))
