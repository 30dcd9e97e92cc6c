"""The C++ of vertices: one class for each stage, made from its dynamics and its reads."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snnir.c_values import HELPERS, literal
from snnir.dynamics.c_source import c_names, c_operand, c_statements
from snnir.embedding import plain_text
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add, Concat
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.targets.ipu import fused
from snnir.targets.ipu.memory import BITS, ITEM_BYTES, LISTS, SCRATCH, STATE, WORD
from snnir.targets.ipu.picks import Pick
from snnir.targets.ipu.vertices import KEPT, Vertices

HEAD = """\
// The vertices of a spiking network, written by snnir; host.cpp puts them together.
//
// Every operation rounds once, in the order written: compile with popc as it comes, or with
// -ffp-contract=off elsewhere. Nothing here has run on an IPU.
#include <cmath>
#include <poplar/HalfFloat.hpp>
#include <poplar/Vertex.hpp>
#include <stdint.h>

#ifdef __clang__
#pragma clang fp contract(off)
#endif
"""


def codelets(stages: Iterable[Vertices], title: str) -> str:
    """Return the source of all vertices.

    Args:
        stages: What is computed.
        title: Name of the model.
    """
    classes = [Codelet(stage).text() for stage in stages]
    body = "\n".join(classes)
    used = [text for name, text in HELPERS.items() if f"{name}(" in body]
    used += [fused.TEXT] if fused.OWN in body else []
    model = f"// Model: {plain_text(title)}\n"
    return "\n".join([HEAD, model, *(f"{text}\n" for text in used), body])


class Codelet:
    """Writes the vertex of one stage."""

    def __init__(self, vertices: Vertices) -> None:
        self.vertices, self.stage = vertices, vertices.stage
        self.graph, self.batch = vertices.structure.graph, vertices.batch
        self.lines: list[str] = []
        self.leaves = list(vertices.leaves)

    # --- The class -------------------------------------------------------------------------------

    def text(self) -> str:
        """Return the class."""
        name = class_name(self.vertices)
        body = self.body()
        return "\n".join(
            [
                f"// {plain_text(self.stage.name)}: {', '.join(map(plain_text, self.described()))}",
                f"class {name} : public poplar::Vertex {{",
                " public:",
                *(f"  {line}" for line in self.declarations()),
                "",
                "  bool compute() {",
                *(f"    {line}" if line else "" for line in body),
                "    return true;",
                "  }",
                "};",
                "",
            ]
        )

    def described(self) -> list[str]:
        """Return the ops that it computes."""
        return [self.graph.nodes[name].op.name for name in self.stage.inside]

    def declarations(self) -> list[str]:
        """Return the fields."""
        found = [_declared("Input", leaf.stream.item, leaf.given) for leaf in self.vertices.leaves]
        for item in self.vertices.fields:
            access = "InOut" if item.role in (STATE, SCRATCH) else "Input"
            found.append(_declared(access, item.ctype, item.name))
        for index, value in enumerate(self.stage.results):
            stream = self.vertices.streams[value]
            found.append(_declared("Output", stream.item, f"out{index}"))
        return found + [f"unsigned {name};" for name in self.vertices.scalars]

    def body(self) -> list[str]:
        """Return the statements of `compute`."""
        before = [line for leaf in self.leaves for line in (*leaf.start(), *leaf.before())]
        element = self.delay() if isinstance(self.vertices.node.op, Delay) else self.element()
        reads = [line for leaf in self.leaves for line in leaf.inside()]
        starts, ends, after = self.framing()
        inner = [
            *before, *starts,
            "for (unsigned j = 0; j < count; ++j) {",
            "    const unsigned i = first + j;", "    (void)i;",
            *(f"    {line}" for line in (*reads, *element, *ends)),
            "}", *after,
        ]  # fmt: skip
        loop = f"for (unsigned b = 0; b < {self.batch}u; ++b) {{"
        return [loop, *(f"    {line}" for line in inner), "}", *self.finish()]

    def framing(self) -> tuple[list[str], list[str], list[str]]:
        """Return what stores results: before the elements, for each, and after them."""
        starts, ends, after = [], [], []
        for index, value in enumerate(self.stage.results):
            stream, y = self.vertices.streams[value], f"y{index}"
            base = f"b * {stream.unit}u"
            if stream.form == BITS:
                starts.append(f"unsigned word{index} = 0;")
                ends += [
                    f"word{index} |= ({y} != 0 ? 1u : 0u) << (j % 32u);",
                    f"if (j % 32u == 31u || j + 1 == count) {{ "
                    f"out{index}[{base} + j / 32u] = word{index}; word{index} = 0; }}",
                ]
                if -(-int(stream.cut.lengths()[-1]) // 32) < stream.unit:
                    # The last part is short: who goes through its words finds no spikes there.
                    words = f"unsigned word = (count + 31u) / 32u; word < {stream.unit}u; ++word"
                    after.append(f"for ({words}) out{index}[{base} + word] = 0;")
            elif stream.form == LISTS:
                starts.append(f"unsigned fired{index} = 0;")
                ends.append(
                    f"if ({y} != 0) out{index}[{base} + ++fired{index}] = (unsigned short)i;"
                )
                after.append(f"out{index}[{base}] = (unsigned short)fired{index};")
            else:
                ends.append(f"out{index}[{base} + j] = {y};")
        return starts, ends, after

    def finish(self) -> list[str]:
        """Return what follows the last sample."""
        if isinstance(self.vertices.node.op, Delay) and self.vertices.held:
            return [f"turn[0] = (turn[0] + 1) % {self.vertices.held}u;"]
        return []

    # --- One element -----------------------------------------------------------------------------

    def element(self) -> list[str]:
        """Return the statements that compute element j of every result, as y0, y1 ..."""
        node = self.vertices.node
        if isinstance(node.op, Step):
            return self.step(node, node.op)
        kind = self.vertices.ctype(self.stage.results[0])
        text = self.inner(node)
        return [*self.lines, f"const {kind} y0 = {text};"]

    def step(self, node: Node, op: Step) -> list[str]:
        """Return the statements of a population."""
        program = c_names(op.program)
        real = self.vertices.structure.layout.kind_of(op)
        lines = [
            f"const {real} {name} = ({real})({self.expression(node, index)});"
            for index, name in enumerate(program.inputs)
        ]
        lines = [*self.lines, *lines]
        pairs = list(zip(program.states, op.program.states, strict=True))
        for mine, own in pairs:
            lines.append(f"const {real} {mine.name} = ({real})s_{own.name}[b * count + j];")
        for (name, _), (key, _) in zip(program.params, op.program.params, strict=True):
            lines.append(f"const {real} {name} = {self.constant(node, key, real)};")
        lines += [line.replace(fused.CALL, fused.OWN) for line in c_statements(program, real)]
        updates = dict(program.updates)
        kinds = self.vertices.structure.layout.state_types(node)
        for mine, own in pairs:
            kept = KEPT[kinds[own.name]]
            value = c_operand(updates[mine.name], real)
            lines.append(f"s_{own.name}[b * count + j] = ({kept}){value};")
        for index, (output, _) in enumerate(program.outputs):
            kind = self.vertices.streams[self.stage.results[index]].ctype
            lines.append(f"const {kind} y{index} = ({kind}){output};")
        return lines

    def delay(self) -> list[str]:
        """Return the statements of a delay: what its ring held comes out, what comes in goes in."""
        node, held = self.vertices.node, self.vertices.held
        kind = self.vertices.held_type
        value = f"({kind})({self.expression(node, 0)})"
        lines = [*self.lines, f"const {kind} now = {value};"]
        stream = self.vertices.streams[self.stage.results[0]]
        if not held:
            return [*lines, f"const {stream.ctype} y0 = ({stream.ctype})now;"]
        op = node.op
        assert isinstance(op, Delay)
        base = f"(b * {held}u"
        if isinstance(op.steps, int):
            before = f"held[{base} + turn[0]) * count + j]"
        else:
            late = self.constant(node, "steps", "unsigned")
            less = 1 if self.stage.kind == "delay" else 0
            lines.append(f"const unsigned late = {late} - {less}u;")
            place = f"(turn[0] + {held}u - late) % {held}u"
            before = f"(late == 0 ? now : held[{base} + {place}) * count + j])"
        return [
            *lines,
            f"const {stream.ctype} y0 = ({stream.ctype}){before};",
            f"held[{base} + turn[0]) * count + j] = now;",
        ]

    # --- Expressions -----------------------------------------------------------------------------

    def expression(self, node: Node, operand: int) -> str:
        """Return operand element j of an op, whether it is read or computed on the way."""
        value = self.vertices.structure.root(node.operands[operand])
        if not self.vertices.structure.is_inside(value.node):
            return self.leaf_of(node, operand)
        source = self.graph.nodes[value.node]
        kind, name = self.vertices.ctype(value), f"x{self.stage.inside.index(value.node)}"
        text = self.inner(source)
        self.lines.append(f"const {kind} {name} = {text};")
        return name

    def leaf_of(self, node: Node, operand: int) -> str:
        """Return element j of what an op reads."""
        inside = [
            self.vertices.structure.is_inside(self.vertices.structure.root(v).node)
            for v in node.operands
        ]
        place = sum(1 for known in inside[:operand] if not known)
        own = [leaf for leaf in self.vertices.leaves if leaf.node.name == node.name]
        return own[place].element()

    def inner(self, node: Node) -> str:
        """Return the right side of an op."""
        op, kind = node.op, self.vertices.ctype(Value(node.name))
        if isinstance(op, Concat):
            return self.joined(node)
        texts = [f"({kind})({self.expression(node, n)})" for n in range(len(node.operands))]
        if isinstance(op, Add):
            return " + ".join(texts)
        if isinstance(op, Scale):
            return f"{self.constant(node, 'scale', kind)} * {texts[0]}"
        if isinstance(op, Bias):
            return f"{texts[0]} + {self.constant(node, 'bias', kind)}"
        if isinstance(op, BatchNorm):
            gain, shift = (self.constant(node, key, kind) for key in ("gain", "shift"))
            product = f"product{self.stage.inside.index(node.name)}"
            self.lines.append(f"const {kind} {product} = {texts[0]} * {gain};")
            return f"{product} + {shift}"
        if isinstance(op, (Linear, SparseLinear, Conv1d, Conv2d)) and op.bias is not None:
            return f"{texts[0]} + {self.constant(node, 'bias', kind)}"
        picks = [leaf for leaf in self.leaves if leaf.node is node and isinstance(leaf, Pick)]
        if picks and picks[0].condition:
            return f"{picks[0].condition} ? {texts[0]} : ({kind})0"
        return texts[0]

    def joined(self, node: Node) -> str:
        """Return the element of whichever operand has it."""
        kind = self.vertices.ctype(Value(node.name))
        text = f"({kind})0"
        picks = [leaf for leaf in self.vertices.leaves if leaf.node.name == node.name]
        for leaf in reversed(picks):
            assert isinstance(leaf, Pick)
            found = f"({kind})({leaf.element()})"
            text = f"{leaf.condition} ? {found} : {text}" if leaf.condition else found
        return text

    def constant(self, node: Node, key: str, kind: str) -> str:
        """Return a parameter: a literal, or the element of its field."""
        known = self.vertices.constants[node.name, key]
        if known.array is None:
            return literal(known.value, kind) if kind != "unsigned" else f"{int(known.value)}u"
        return f"({kind}){self.vertices.constant_name(node.name, key)}[j]"


def class_name(vertices: Vertices) -> str:
    """Return the name of the class of a stage."""
    name = vertices.structure.layout.names[vertices.stage.name]
    return "Stage_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def _declared(access: str, ctype: str, name: str) -> str:
    # A store of less than 32 bits rewrites a word, which must be of this field alone.
    aligned = f", {WORD}" if access != "Input" and ITEM_BYTES[ctype] < WORD else ""
    layout = f"poplar::VectorLayout::ONE_PTR{aligned}"
    return f"poplar::{access}<poplar::Vector<{ctype}, {layout}>> {name};"
