"""Populations in C: the sums they read, their step, and what they keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.c_layout import SIZES, Layout
from snnir.c_values import HELPERS, literal, narrowed, norm
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.structure import Add, Current
from snnir.ir.synapses import BatchNorm, Bias, Linear, Scale, without_zero
from snnir.targets.native.host import ROWS, TILE_ROWS
from snnir.targets.native.kernels_c import FAR, GROUP, LEAST, PART, SHARES, in_pairs
from snnir.targets.native.writer import Body, Writer, indented
from snnir.tensors import Tensor

_ELEMENTWISE: tuple[type[Op], ...] = (Add, Scale, Bias, Current)


#: Neurons that are stepped together: 64 where steps follow each other, so that the weights of a
#: block stay in the cache; more where bytes keep few vectors busy, where every step takes all, or
#: where the weights of so many fit into `NEAR` bytes.
NARROW, WIDE, NEAR = 64, 256, 1 << 18


def lanes_of(
    neurons: int, embedded: bool, sums: Sequence[Linear] = (), widest: int = NARROW
) -> int:
    """Return how many neurons are stepped together; small devices have no room for padding.

    Args:
        neurons: How many there are.
        embedded: Whether they are for a small device.
        sums: The matrices they read: bytes lie in pairs only where there are enough of them.
        widest: The most.
    """
    if embedded:
        some = range(min(neurons, 32), min(neurons, 64) + 1)
        return min(some, key=lambda lanes: (-neurons % lanes, -lanes))
    least = max(neurons, NARROW) if any(map(is_bytes, sums)) else neurons
    return next((lanes for lanes in (16, 32, 64, 128) if least <= lanes < widest), widest)


def inlined(layout: Layout) -> set[str]:
    """Return the nodes that are computed within the function of the population that reads them."""
    graph = layout.graph
    found: set[str] = set()
    given = {value.node for value in graph.outputs.values()}
    # Populations that step all samples together go through them more than once.
    pooled = {name for name, node in graph.nodes.items() if is_pooled(node)}
    for name in reversed(graph.order):
        node = graph.nodes[name]
        uses = graph.uses[name]
        if len(uses) != 1 or name in given or not _can_inline(layout, node):
            continue
        user = uses[0][0]
        reader = graph.nodes[user].op
        if user in pooled and isinstance(node.op, Linear):
            continue
        # A sum over events needs its operand in memory.
        follows = isinstance(reader, Step) or (user in found and not isinstance(reader, Linear))
        if follows:
            found.add(name)
            pooled |= {name} if user in pooled else set()
    return found


def is_pooled(node: Node) -> bool:
    """Return whether a population steps all samples together."""
    return isinstance(node.op, Step) and node.op.program.is_pooling


def _can_inline(layout: Layout, node: Node) -> bool:
    if layout.is_alias(node):
        return True
    if isinstance(node.op, Linear):
        return len(layout.graph.signal(node.name).shape) == 1
    if isinstance(node.op, BatchNorm):
        return len(layout.graph.signal(node.name).shape) == 1
    return isinstance(node.op, _ELEMENTWISE)


@dataclass(frozen=True)
class Parts:
    """A matrix whose inputs are taken in parts.

    Attributes:
        node: The sum over events.
        where: Its weights.
        total: C type of the sums.
        inputs: How many there are.
        weights: Bytes of the weights of an input in a block.
    """

    node: Node
    where: str
    total: str
    inputs: int
    weights: int

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.inputs * self.weights // PART)

    @property
    def each(self) -> int:
        """Inputs of every part but the last."""
        return -(-self.inputs // self.count)


@contextmanager
def samples(body: Body) -> Iterator[None]:
    """Go through the rows of the range, sample by sample."""
    with (
        body.block("for (long b = g.b0; b < g.b1; b++)"),
        body.block("for (long t = g.t0; t < g.t1; t++)"),
    ):
        body.add("const long row = t * r->batch + b;")
        yield


@dataclass
class Population:
    """Writes the functions of one population.

    Attributes:
        writer: Where they go.
        node: The population.
        inside: Nodes whose values are computed here.
        in_loop: Whether it is part of a recurrence.
    """

    writer: Writer
    node: Node
    inside: set[str]
    in_loop: bool = False
    terms: list[str] = field(default_factory=list)
    given: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layout = self.writer.layout
        self.graph = self.layout.graph
        self.name = self.layout.names[self.node.name]
        self.size = self.graph.signal(self.node.name).size
        sums = [linear_of(node) for node in self.sums()]
        self.lanes = lanes_of(self.size, self.writer.embedded, sums, self.widest(sums))
        self.blocks = -(-self.size // self.lanes)
        assert isinstance(self.node.op, Step)
        self.program = c_names(self.node.op.program)
        self.real = self.layout.kind_of(self.node.op)
        self.kept = self.layout.state_types(self.node)

    def widest(self, sums: list[Linear]) -> int:
        """Return how many neurons are stepped together if there are as many."""
        fan_in = sum(op.weight.shape[1] for op in sums)
        if self.in_loop or (sums and all(is_bytes(op) for op in sums)):
            return WIDE
        if sums and 4 * WIDE * fan_in <= NEAR:
            return WIDE
        return NARROW

    def sums(self) -> list[Node]:
        """Return the nodes of the sums over events that are taken here."""
        pending, found = list(self.node.operands), []
        while pending:
            value = pending.pop()
            if value.node in self.inside:
                node = self.graph.nodes[value.node]
                if isinstance(node.op, Linear):
                    found.append(node)
                else:
                    pending += node.operands
        return found

    def write(self) -> None:
        """Add the step of a block of neurons and the loop over blocks, samples and steps."""
        self.step()
        parts = self.parts()
        self.writer.function(self.name, self.whole() if parts is None else self.split(parts))

    def whole(self) -> Body:
        """Return the loop that sums and steps row by row."""
        body, test = Body(), self.is_dense()
        with body.block("for (long q = g.q0; q < g.q1; q++)"):
            body.add(f"const long at = q * {self.lanes};")
            with samples(body):
                if test:
                    with body.block(f"if ({test})"):
                        body.add(f"float all[{ROWS * self.lanes}];")
                        inputs = linear_of(self.sums()[0]).weight.shape[1]
                        body.add(self.sum_all(f"{inputs}", "0", "all", f"{self.lanes}"))
                        self.step_all(body, f"all + k * {self.lanes}")
                body.add(*self.terms)
                self.call(body)
        return body

    # --- Parts of a large matrix -----------------------------------------------------------------

    def parts(self) -> Parts | None:
        """Return the parts of a matrix that is read alone, if its blocks are large.

        A sum in parts adds in the same order, because fewer lanes, which add several events at
        once, are left out.
        """
        sums = self.sums()
        if self.writer.embedded or self.in_loop or len(sums) != 1 or self.lanes < NARROW:
            return None
        node, total = sums[0], self.layout.ctype(Value(sums[0].name))
        where, stored = table_of(self.writer, node, self.lanes)
        if not (stored == total == "float" or in_pairs(stored, total, self.lanes)):
            return None
        made = Parts(
            node, where, total, linear_of(node).weight.shape[1], self.lanes * SIZES[stored]
        )
        return made if made.inputs * made.weights > FAR else None

    def split(self, parts: Parts) -> Body:
        """Return the loop that takes part after part for the rows of a tile, and then steps.

        Threads share longer tiles, whose events and sums the second cache would not hold.
        """
        body = Body()
        body.add(
            f"const long some = {TILE_ROWS} / r->batch / {ROWS} * {ROWS};",
            f"const long most = some > {ROWS} ? some : {ROWS}, last = g.t1;",
        )
        with body.block("for (; g.t0 < last; g.t0 = g.t1)"):
            body.add("g.t1 = last - g.t0 < most ? last : g.t0 + most;")
            self.cut(body, parts)
            with body.block("for (long q = g.q0; q < g.q1; q++)"):
                self.block(body, parts)
        return body

    def cut(self, body: Body, parts: Parts) -> None:
        """Divide the events of all rows; where they are few, into one part."""
        writer, lanes, count = self.writer, self.lanes, parts.count
        events, _ = events_of(writer, parts.node.operands[0])
        writer.parts()
        writer.by_row[f"{self.name}_sums"] = (parts.total, lanes)
        writer.by_row[f"{self.name}_cuts"] = ("long", count + 1)
        body.add(
            "const long start = g.t0 * r->batch, rows = (g.t1 - g.t0) * r->batch;",
            "const long own = g.part * r->steps * r->batch;",
            f"{parts.total} *const sums = r->{self.name}_sums + own * {lanes};",
            f"long *const cuts = r->{self.name}_cuts + own * {count + 1};",
            "long many = 0;",
        )
        with samples(body):
            span = f"r->{events}.end[row] - r->{events}.begin[row]"
            body.add(f"many += {span} - {LEAST * count};")
        body.add(f"const long each = many > 0 ? {parts.each} : {parts.inputs};")
        with samples(body):
            if test := self.is_dense():
                with body.block(f"if ({test})"):
                    body.add(f"cuts[row * {count + 1}] = -1;", f"t += {ROWS - 1};", "continue;")
            cut = f"cuts + row * {count + 1}"
            body.add(f"snn_cut(&r->{events}, row, {parts.inputs}, each, {cut});")

    def block(self, body: Body, parts: Parts) -> None:
        """Sum and step a block of neurons."""
        lanes, inputs = self.lanes, parts.inputs
        body.add(f"const long at = q * {lanes};")
        body.add(f"memset(sums + start * {lanes}, 0, (size_t)(rows * {lanes}) * sizeof *sums);")
        loop = f"for (long first = 0, part = 0; first < {inputs}; first += each, part++)"
        with body.block(loop):
            body.add(
                f"const long size = first + each < {inputs} ? each : {inputs} - first;",
                f"const long left = {inputs} - first - size;",
                f"const long next = (q * {inputs} + first + size) * {parts.weights};",
            )
            with samples(body):
                self.part(body, parts)

    def part(self, body: Body, parts: Parts) -> None:
        """Add to the sums of a row what one part adds; step if it is the last."""
        name, lanes = f"{self.layout.names[parts.node.name]}_sum", self.lanes
        own = f"cuts[row * {parts.count + 1}"
        whole = self.blocks * parts.inputs * parts.weights
        share = f"{parts.each * parts.weights}, {whole}, row - start"
        body.add(f"snn_ahead({parts.where}, next, {share});")
        body.add(f"{parts.total} *const {name} = sums + row * {lanes};")
        if self.is_dense():
            with body.block(f"if ({own}] < 0)"):
                body.add(self.sum_all("size", "first", name, f"r->batch * {lanes}"))
                with body.block("if (left)"):
                    body.add(f"t += {ROWS - 1};", "continue;")
                self.step_all(body, f"sums + row * {lanes}")
        span = f"{own} + part], {own} + part + 1]"
        body.add(*over(self.writer, parts.node, lanes, name, span, more=True))
        with body.block("if (left)"):
            for value in self.results():
                # Rows of a result lie far apart: each is fetched before it is written.
                place = f"r->{self.writer.buffer(value)} + row * {self.size} + at"
                body.add(f"if (left <= each) __builtin_prefetch({place}, 1, 2);")
            body.add("continue;")
        self.call(body)

    # --- Sums of all elements --------------------------------------------------------------------

    def is_dense(self) -> str:
        """Return when several steps are summed at once, because few of their inputs are zero."""
        sums = self.sums()
        if self.writer.embedded or self.in_loop or len(sums) != 1 or self.lanes % 16:
            return ""
        node = sums[0]
        events, kind = events_of(self.writer, node.operands[0])
        _, stored = table_of(self.writer, node, self.lanes)
        floats = stored == self.layout.ctype(Value(node.name)) == "float"
        if kind not in SHARES or not floats:
            return ""
        most = math.ceil(SHARES[kind] * ROWS * linear_of(node).weight.shape[1])
        return f"t + {ROWS} <= g.t1 && snn_is_dense(&r->{events}, row, r->batch, {most})"

    def sum_all(self, size: str, first: str, into: str, apart: str) -> str:
        """Return the statement that adds so many inputs of several steps to their sums."""
        node, (source,) = self.sums()[0], self.sums()[0].operands
        fan_in, (_, kind) = linear_of(node).weight.shape[1], events_of(self.writer, source)
        where, _ = table_of(self.writer, node, self.lanes)
        x = f"r->{self.writer.buffer(source)} + row * {fan_in}"
        place = f"{where} + (q * {fan_in} + {first}) * {self.lanes}"
        function = self.writer.dense(self.lanes, kind, self.parts() is not None)
        return f"{function}({x} + {first}, r->batch * {fan_in}, {size}, {place}, {into}, {apart});"

    def step_all(self, body: Body, sums: str) -> None:
        """Step as often as steps were summed at once."""
        name = self.layout.names[self.sums()[0].name]
        with body.block(f"for (long k = 0; k < {ROWS}; k++, t++)"):
            body.add("const long row = t * r->batch + b;")
            body.add(f"const float *const {name}_sum = {sums};")
            self.call(body)
        body.add("t--;", "continue;")

    def call(self, body: Body) -> None:
        """Step a block of a length the compiler knows: only the last may be shorter."""
        given = "".join(f", {argument}" for _, argument in self.given)
        whole, rest = divmod(self.size, self.lanes)
        step = f"{self.name}_step(r, b, row, at, {{}}{given});"
        if whole and rest:
            body.add(f"if (q < {whole})", f"    {step.format(self.lanes)}", "else")
            body.add(f"    {step.format(rest)}")
        else:
            body.add(step.format(rest or self.lanes))

    # --- The step --------------------------------------------------------------------------------

    def step(self) -> None:
        """Add the function that steps neurons at to at + n."""
        program, op = self.program, self.node.op
        assert isinstance(op, Step)
        lines = [
            f"const {self.real} {name} = ({self.real}){self.expression(value)};"
            for name, value in zip(program.inputs, self.node.operands, strict=True)
        ]
        lines = [*self.lines, *lines]  # what is computed on the way comes first
        pairs = list(zip(program.states, op.program.states, strict=True))
        for mine, own in pairs:
            lines.append(f"const {self.real} {mine.name} = s_{own.name}[i];")
            self.keep_state(own.name, own.initial)
        for (name, _), (key, _) in zip(program.params, op.program.params, strict=True):
            lines.append(f"const {self.real} {name} = {self.param(key, op.params[key])};")
        lines += c_statements(program, self.real)
        for index, (output, _) in enumerate(program.outputs):
            lines += self.output(Value(self.node.name, index), output)
        updates = dict(program.updates)
        kind = {"float": "float32", "double": "float64"}.get(self.real, "int64")
        for mine, own in pairs:
            text = c_operand(updates[mine.name], self.real)
            lines.append(f"s_{own.name}[i] = ({self.kept[own.name]}){text};")
            lines += self.recorded(f"{self.node.name}:{own.name}", text, kind)
        self.helpers("\n".join(lines))
        pointers = [
            f"{self.kept[own.name]} *const s_{own.name} = r->state[b].{self.name}_{own.name} + at;"
            for _, own in pairs
        ]
        for index, value in enumerate(self.results()):
            where = f"r->{self.writer.buffer(value)} + row * {self.size} + at"
            pointers.append(f"{self.layout.ctype(value)} *const out_{index} = {where};")
        self.step_function([*pointers, "(void)b;", "(void)row;", "(void)at;"], lines)

    def step_function(self, pointers: list[str], lines: list[str]) -> None:
        """Add the function with the statements of one neuron."""
        given = "".join(f",\n    {declared}" for declared, _ in self.given)
        text = [
            f"static inline void {self.name}_step(",
            f"    const snn_net *r, long b, long row, long at, long n{given})",
            "{",
            *indented(pointers),
            "    for (long i = 0; i < n; i++) {",
            *indented(lines, 2),
            "    }",
            "}",
            "",
        ]
        self.writer.functions.append("\n".join(text))

    def results(self) -> list[Value]:
        """Return the values that the population yields."""
        op = self.node.op
        assert isinstance(op, Step)
        return [Value(self.node.name, index) for index in range(len(op.program.outputs))]

    def output(self, value: Value, name: str) -> list[str]:
        """Return the statements that store a result."""
        index, kind = value.result, self.layout.ctype(value)
        label = self.node.name if not index else f"{self.node.name}#{index}"
        return [f"out_{index}[i] = ({kind}){name};", *self.recorded(label, f"({kind}){name}")]

    def recorded(self, label: str, text: str, kind: str = "") -> list[str]:
        """Return the statements that record a number, if the program is built to record."""
        node = label if label in self.graph.nodes else self.node.name
        number = self.writer.record(label, node, kind)
        to = f"r->record[{number}]"
        return [
            "#ifdef SNN_RECORD",
            f"if ({to}) {to}[row * {self.size} + at + i] = (double)({text});",
            "#endif",
        ]

    def keep_state(self, name: str, initial: float | str) -> None:
        """Give the struct a state, and its value at rest."""
        member, op = f"{self.name}_{name}", self.node.op
        assert isinstance(op, Step)
        self.writer.state.append(f"{self.kept[name]} {member}[{self.blocks * self.lanes}];")
        value = "0"
        if isinstance(initial, str):
            value = self.param(initial, op.params[initial], "i")
        elif str(float(initial)) != "0.0":  # memory starts at 0, not at -0
            value = c_operand(float(initial), self.real)
        if value != "0":
            own = f"({self.kept[name]}){value}"
            self.writer.resets.append(
                f"for (long i = 0; i < {self.size}; i++) state->{member}[i] = {own};"
            )

    def param(self, label: str, value: Tensor, index: str = "at + i") -> str:
        """Return a parameter: a literal, or an element of the weights."""
        return self.element(label, value.numpy(), self.node, self.real, index)

    def element(self, label: str, array: Any, node: Node, kind: str, index: str = "at + i") -> str:
        """Return an element of a tensor that broadcasts to a node's result."""
        name = f"{self.layout.names[node.name]}_{label}"
        shape = self.graph.signal(node.name).shape
        return element(self.writer, name, narrowed(array), shape, kind, index)

    def helpers(self, text: str) -> None:
        """Note which functions the statements call."""
        self.writer.helpers |= {name for name in HELPERS if f"{name}(" in text}

    # --- What it reads ---------------------------------------------------------------------------

    def expression(self, value: Value) -> str:
        """Return element i of a value as it reaches the population."""
        if value.node not in self.inside:
            return self.read(value)
        node = self.graph.nodes[value.node]
        text = self.inner(node, value)
        kind = self.layout.ctype(value)
        name = f"x_{self.layout.names[node.name]}"
        self.lines.append(f"const {kind} {name} = {text};")
        self.lines += self.recorded(node.name, name)
        return name

    def inner(self, node: Node, value: Value) -> str:
        """Return the right side of an operation."""
        kind, op = self.layout.ctype(value), node.op
        if isinstance(op, Linear):
            return self.sum(node, op)
        operands = [f"({kind}){self.expression(v)}" for v in node.operands]
        if isinstance(op, Add):
            return " + ".join(operands)
        if isinstance(op, Scale):
            return f"{self.element('scale', op.scale.numpy(), node, kind)} * {operands[0]}"
        if isinstance(op, Bias):
            return f"{operands[0]} + {self.element('bias', op.bias.numpy(), node, kind)}"
        if isinstance(op, BatchNorm):
            parts = zip(("gain", "shift"), norm(op, self.layout.real), strict=True)
            gain, shift = (self.element(key, array, node, kind) for key, array in parts)
            return f"{operands[0]} * {gain} + {shift}"
        return operands[0]

    def read(self, value: Value) -> str:
        """Return element i of a value that lies in memory."""
        name = self.writer.buffer(value)
        kind = self.layout.ctype(self.layout.root(value))
        entry = (f"const {kind} *{name}", f"r->{name} + row * {self.size} + at")
        if entry not in self.given:
            self.given.append(entry)
        return f"{name}[i]"

    def sum(self, node: Node, op: Linear) -> str:
        """Return element i of a sum over events, and have it computed before the step."""
        total, name = self.layout.ctype(Value(node.name)), self.layout.names[node.name]
        self.terms += summed(self.writer, node, self.lanes, f"{name}_sum")
        self.given.append((f"const {total} *{name}_sum", f"{name}_sum"))
        text = f"{name}_sum[i]"
        if op.bias is not None:
            text += f" + {self.element('bias', op.bias.numpy(), node, total)}"
        return text


def linear_of(node: Node) -> Linear:
    """Return the op of a node that is a matrix."""
    assert isinstance(node.op, Linear)
    return node.op


def table_of(writer: Writer, node: Node, lanes: int) -> tuple[str, str]:
    """Return the name and the type of a matrix as sums over events read it; packed once."""
    if (node.name, lanes) not in writer.tables:
        total = writer.layout.ctype(Value(node.name))
        weight = packed(without_zero(linear_of(node)), lanes, total, writer.embedded)
        where = writer.weight(f"{writer.layout.names[node.name]}_weight", weight)
        writer.tables[node.name, lanes] = where, Writer.kind(weight)
    return writer.tables[node.name, lanes]


def is_bytes(op: Linear) -> bool:
    """Return whether the weights are whole numbers of 8 bits."""
    return op.weight.dtype == "i8" and op.zero is None


def summed(writer: Writer, node: Node, lanes: int, into: str) -> list[str]:
    """Return the statements that sum the weights of a row's events for block q of neurons."""
    events, _ = events_of(writer, node.operands[0])
    total = writer.layout.ctype(Value(node.name))
    span = f"r->{events}.begin[row], r->{events}.end[row]"
    return [f"{total} {into}[{lanes}];", *over(writer, node, lanes, into, span)]


def over(
    writer: Writer, node: Node, lanes: int, into: str, span: str, more: bool = False
) -> list[str]:
    """Return the statements that sum the weights of some events for block q of neurons.

    Args:
        writer: Where the functions that sum go.
        node: The sum.
        lanes: Neurons of a block.
        into: The sums.
        span: Where the events begin and end.
        more: Whether they are added to what the sums hold.
    """
    (source,), fan_in = node.operands, linear_of(node).weight.shape[1]
    events, kind = events_of(writer, source)
    total = writer.layout.ctype(Value(node.name))
    where, stored = table_of(writer, node, lanes)
    first = f"r->{events}.index, {span}"
    rest = f"{where} + q * {fan_in * lanes}, {into}"
    pairs = in_pairs(stored, total, lanes) and not writer.embedded
    plain = writer.gather(stored, total, lanes, "uint8_t", more, pairs and fan_in <= GROUP)
    if kind == "uint8_t":
        return [f"{plain}({first}, {rest});"]
    valued = writer.gather(stored, total, lanes, kind, more)
    row = f"r->{writer.buffer(source)} + row * {fan_in}"
    return [
        f"if (r->{events}.plain[row])", f"    {plain}({first}, {rest});",
        "else", f"    {valued}({first}, {row}, {rest});",
    ]  # fmt: skip


def events_of(writer: Writer, source: Value) -> tuple[str, str]:
    """Return the member with the events of a value, and the type of the value."""
    name = writer.buffer(source)
    kind = writer.layout.ctype(writer.layout.root(source))
    writer.events[f"{name}_events"] = (kind, writer.layout.size(source))
    return f"{name}_events", kind


def packed(weight: Any, lanes: int, total: str, embedded: bool) -> Any:
    """Return weights [neurons, inputs] as [blocks, inputs, lanes], as sums over events read them.

    Args:
        weight: The weights.
        lanes: Neurons that are summed together; the last are padded with zeros.
        total: C type of the sums.
        embedded: Whether they are for a small device.
    """
    neurons, inputs = weight.shape
    blocks = -(-neurons // lanes)
    room = np.zeros((blocks * lanes, inputs), weight.dtype)
    room[:neurons] = weight
    laid = np.ascontiguousarray(room.reshape(blocks, lanes, inputs).transpose(0, 2, 1))
    if embedded or not in_pairs(Writer.kind(laid), total, lanes):
        return laid
    halves = laid.reshape(blocks, inputs, lanes // 64, 2, 32)
    low = (halves[:, :, :, 0].astype(np.int16) + 128).astype(np.uint8).view(np.int8)
    return np.stack([low, halves[:, :, :, 1]], axis=-1).reshape(blocks, inputs, lanes)


def element(
    writer: Writer, label: str, array: Any, shape: tuple[int, ...], kind: str, index: str
) -> str:
    """Return an element of what broadcasts to a shape: a literal if all are one number.

    Args:
        writer: Where the weights go.
        label: Their name.
        array: The tensor.
        shape: What it broadcasts to.
        kind: C type of the element.
        index: Its place in the flat shape.
    """
    if array.size == 1:
        return literal(array.reshape(-1)[0], kind)
    full = np.broadcast_to(array, shape).reshape(-1)
    return f"({kind}){writer.weight(label, full)}[{index}]"
