"""Synapses that learn, in C.

Weights lie as [blocks of neurons][inputs][lanes]: the weights of an input, and so the sums over
events and the rule of an input that spiked, are rows of vectors. What a rule leaves alone where
nothing spikes (`snnir.dynamics.quiet`) is visited once when a run begins; then only inputs and
neurons that spike are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from snnir.c_layout import SIZES
from snnir.c_values import literal
from snnir.dynamics.c_source import c_names, c_number, c_operand
from snnir.dynamics.quiet import LIMIT, resting
from snnir.ir.graph import Node, Value
from snnir.ir.plastic import Plastic
from snnir.ir.structure import Current, Flatten, Reshape
from snnir.streams import Kind
from snnir.targets.native.learning_c import cascade, ordered, swaps
from snnir.targets.native.neurons import element, events_of
from snnir.targets.native.nodes import record_row
from snnir.targets.native.phases import Elements
from snnir.targets.native.pooled import NUMPY, note_helpers
from snnir.targets.native.writer import Body, Exchange, Writer, indented, rows

#: Neurons of a block, if there are as many as half a vector: such sums add in order.
LANES, FEW = 64, 8
#: Share of the neurons that spike from which all are visited.
MANY = 8


class Synapses:
    """Writes the functions of one node.

    Attributes:
        writer: Where they go.
        node: The node.
    """

    def __init__(self, writer: Writer, node: Node) -> None:
        self.writer, self.node, self.layout = writer, node, writer.layout
        assert isinstance(node.op, Plastic)
        self.op = node.op
        self.name = self.layout.names[node.name]
        self.post, self.pre = self.op.shape
        self.lanes = LANES if self.post > FEW else max(1, self.post)
        self.blocks = -(-self.post // self.lanes)
        self.size = max(1, self.blocks * self.pre * self.lanes)
        self.real = self.layout.kind_of(self.op)
        self.program = c_names(self.op.rule)
        self.weight = f"{self.name}_{self.op.weight_state.name}"
        self.spikes = self._spikes()
        self.quiet = self._quiet()

    # --- What it reads ---------------------------------------------------------------------------

    def behind(self, value: Value) -> Value:
        """Return the spikes that a value is a current of, or the value."""
        graph, source = self.layout.graph, value
        while isinstance(graph.nodes[source.node].op, (Current, Flatten, Reshape)):
            source = graph.nodes[source.node].operands[0]
        return source if graph.signals[source].kind is Kind.SPIKES else value

    def source(self, value: Value) -> tuple[str, str]:
        """Return the member that holds a value, and its type."""
        value = self.behind(value)
        return self.writer.buffer(value), self.layout.ctype(self.layout.root(value))

    def _spikes(self) -> list[int]:
        """Return which inputs of the rule are spikes."""
        signals, values = self.layout.graph.signals, self.node.operands[1:]
        kinds = [signals[self.behind(value)].kind for value in values]
        return [index for index, kind in enumerate(kinds) if kind is Kind.SPIKES]

    def _quiet(self) -> frozenset[str] | None:
        """Return what has to be small so that only spikes matter, by name in the rule."""
        rule = self.op.rule
        spikes = [rule.inputs[index] for index in self.spikes]
        if not spikes:
            return None
        params = {name: value.numpy() for name, value in self.op.params.items()}
        return resting(rule, spikes, params, NUMPY[self.real])

    # --- Everything ------------------------------------------------------------------------------

    def write(self) -> None:
        """Add what passes a step through, what ends it, and what ends a run."""
        self.keep()
        self.forward()
        self.rule()
        self.learn()
        if self.op.total is not None:
            self.end()

    def flags(self) -> list[str]:
        """Return where it is noted that all synapses rest without spikes."""
        owners = {state.lasting for state in self.op.rule.states}
        return [f"r->{'lasting' if owner else 'state'}->{self.name}_rests" for owner in owners]

    def keep(self) -> None:
        """Give the structs the states, with their values at the start."""
        writer, rule = self.writer, self.op.rule
        for state in rule.states:
            member, kind = f"{self.name}_{state.name}", self.real
            to, resets = ("lasting", writer.starts) if state.lasting else ("state", writer.resets)
            members = writer.lasting if state.lasting else writer.state
            members.append(f"{kind} {member}[{self.size}];")
            if isinstance(state.initial, str):
                text = self.param(state.initial, "k")
                resets.append(f"for (long k = 0; k < {self.size}; k++) {to}->{member}[k] = {text};")
            elif str(float(state.initial)) != "0.0":  # memory starts at 0, not at -0
                text = c_operand(state.initial, kind)
                resets.append(f"for (long k = 0; k < {self.size}; k++) {to}->{member}[k] = {text};")
            if state.lasting:
                self.exchange(state.name, member)
        if self.quiet is not None:
            for flag in self.flags():
                members = writer.lasting if "->lasting" in flag else writer.state
                members.append(f"long {self.name}_rests;")

    def exchange(self, state: str, member: str) -> None:
        """Have callers take out and put in a state as [neurons][inputs]."""
        writer, label = self.writer, f"{self.real}_{self.lanes}"
        writer.kernels.setdefault(f"snn_pack_{label}", swaps(self.real, self.lanes))
        extents = f"{self.post}, {self.pre}"
        get = (f"snn_unpack_{label}(lasting->{member}, to, {extents});",)
        put = [f"snn_pack_{label}(lasting->{member}, from, {extents});"]
        put += [f"lasting->{self.name}_rests = 0;"] if self.quiet is not None else []
        name = f"{self.node.name}:{state}"
        writer.exchanged[name] = Exchange(self.real, self.op.shape, get, tuple(put))

    def param(self, label: str, place: str, pre: str = "", post: str = "") -> str:
        """Return an element of a parameter.

        Args:
            label: Its name.
            place: Where the weight lies.
            pre: The input, if it is known apart.
            post: The neuron, if it is known apart.
        """
        array = self.op.params[label].numpy().astype(NUMPY[self.real])
        if array.size == 1:
            return literal(array.reshape(-1)[0], self.real)
        array = array.reshape((1,) * (2 - array.ndim) + array.shape)
        name = f"{self.name}_{label}"
        if pre and array.shape[0] == 1:
            return f"{self.writer.weight(name, array.reshape(-1))}[{pre}]"
        if post and array.shape[1] == 1:
            return f"{self.writer.weight(name, array.reshape(-1))}[{post}]"
        return f"{self.writer.weight(name, self.packed(array))}[{place}]"

    def packed(self, array: Any) -> Any:
        """Return what broadcasts to [neurons, inputs] as [blocks, inputs, lanes]."""
        room = np.zeros((self.blocks * self.lanes, self.pre), array.dtype)
        room[: self.post] = array
        laid = room.reshape(self.blocks, self.lanes, self.pre).transpose(0, 2, 1)
        return np.ascontiguousarray(laid)

    # --- A step ----------------------------------------------------------------------------------

    def forward(self) -> None:
        """Add the function that sums weights over the events of a row, in their order."""
        writer, value = self.writer, Value(self.node.name)
        kind, given = self.layout.ctype(value), self.behind(self.node.operands[0])
        events, source = events_of(writer, given)
        plain = writer.gather(self.real, self.real, self.lanes, "uint8_t")
        span = f"r->{events}.index, r->{events}.begin[row], r->{events}.end[row]"
        rest = f"r->lasting->{self.weight} + at * {self.pre}, sum"
        body = Body()
        with rows(body):
            body.add(f"{kind} *const y = r->{writer.buffer(value)} + row * {self.post};")
            with body.block(f"for (long at = 0; at < {self.post}; at += {self.lanes})"):
                body.add(f"{self.real} sum[{self.lanes}];")
                if source == "uint8_t":
                    body.add(f"{plain}({span}, {rest});")
                else:
                    valued = writer.gather(self.real, self.real, self.lanes, source)
                    x = f"r->{writer.buffer(given)} + row * {self.pre}"
                    body.add(f"if (r->{events}.plain[row])", f"    {plain}({span}, {rest});")
                    body.add("else", f"    {valued}({span}, {x}, {rest});")
                body.add(f"const long n = {self.count('at')};")
                body.add(f"for (long i = 0; i < n; i++) y[at + i] = ({kind})sum[i];")
            record_row(writer, body, self.node.name, "y", self.post)
        writer.function(self.name, body)

    def count(self, at: str) -> str:
        """Return how many neurons the block has that begins at one."""
        if self.post % self.lanes == 0:
            return f"{self.lanes}"
        return f"{self.post} - {at} < {self.lanes} ? {self.post} - {at} : {self.lanes}"

    def rule(self) -> None:
        """Add the step of the synapses of input j to neurons at to at + n, of all samples."""
        body = Body()
        for name in self.op.rule.lasting:
            member = f"{self.name}_{name}"
            body.add(f"{self.real} *restrict s_{name} = r->lasting->{member} + place;")
        self.elements().write(body)
        note_helpers(self.writer, "\n".join(body))
        head = (
            f"static inline __attribute__((always_inline)) void {self.name}_rule(\n"
            "    const snn_net *r, long t, long j, long at, long place, long n)"
        )
        unused = ["(void)j;", "(void)at;", "(void)t;"]
        text = "\n".join([head, "{", *indented([*unused, *body]), "}", ""])
        self.writer.functions.append(text)
        self.row()

    def row(self) -> None:
        """Add the step of all synapses of an input, and that of one synapse."""
        body = Body()
        with body.block(f"for (long at = 0; at < {self.post}; at += {self.lanes})"):
            place = f"at * {self.pre} + j * {self.lanes}"
            call = f"{self.name}_rule(r, t, j, at, {place}, {{}});"
            whole, rest = divmod(self.post, self.lanes)
            if whole and rest:
                body.add(f"if (at < {whole * self.lanes})", f"    {call.format(self.lanes)}")
                body.add("else", f"    {call.format(rest)}")
            else:
                body.add(call.format(rest or self.lanes))
        head = f"static void {self.name}_row(const snn_net *r, long t, long j)"
        self.writer.functions.append("\n".join([head, "{", *indented(body), "}", ""]))

    def elements(self) -> Elements:
        """Return where the elements lie."""
        program, updates, real = self.program, dict(self.program.updates), self.real
        made = Elements(program, real, self.lanes)
        for name, value, read in zip(
            program.inputs, self.node.operands[1:], self.op.reads, strict=True
        ):
            member, kind = self.source(value)
            if read == "post":
                where = f"r->{member} + row * {self.post} + at"
                made.before.append(f"const {kind} *given_{name} = {where};")
                made.each.append(f"const {real} {name} = ({real})given_{name}[i];")
            else:
                index = f"row * {self.pre} + j" if read == "pre" else "row"
                made.before.append(f"const {real} {name} = ({real})r->{member}[{index}];")
        for (name, _), (key, _) in zip(program.params, self.op.rule.params, strict=True):
            if key == self.op.weight_state.initial and not self.is_read(key):
                continue
            text = self.param(key, "place + i", "j", "at + i")
            made.shared.append(f"const {real} {name} = {text};")
        lasting = {}
        for mine, own in zip(program.states, self.op.rule.states, strict=True):
            place = f"s_{own.name}[i]"
            loaded = f"const {real} {mine.name} = {place};"
            if own.lasting:
                made.shared.append(loaded)
                lasting[mine.name] = place
                continue
            member = f"r->state[b].{self.name}_{own.name} + place"
            made.before.append(f"{real} *restrict s_{own.name} = {member};")
            made.each.append(loaded)
            made.stores.append(f"{place} = {c_operand(updates[mine.name], real)};")
            made.results.append(updates[mine.name])
        made.lasting = lasting
        return made

    def is_read(self, param: str) -> bool:
        """Whether the rule uses a parameter in its steps."""
        rule = self.op.rule
        read = {arg for let in rule.body for arg in let.args}
        return param in read | {value for _, value in rule.updates}

    # --- Which synapses --------------------------------------------------------------------------

    def learn(self) -> None:
        """Add the function that ends a step."""
        dense, body = Body(), Body()
        with dense.block(f"for (long j = 0; j < {self.pre}; j++)"):
            dense.add(f"{self.name}_row(r, t, j);")
        with body.block("for (long t = g.t0; t < g.t1; t++)"):
            if self.quiet is None:
                body.add(*dense)
            else:
                self.checks(self.quiet)
                flags = self.flags()
                with body.block(f"if ({' && '.join(flags)} && {self.name}_is_mild(r, t))"):
                    self.visits(body)
                with body.block("else"):
                    body.add(*dense)
                    rests = " = ".join([*flags, f"{self.name}_is_at_rest(r);"])
                    body.add(rests)
            self.record(body)
        self.writer.function(f"{self.name}_learn", body)

    def inputs(self, read: str) -> list[Value]:
        """Return the inputs of the rule that are spikes and are read in some way."""
        values = self.node.operands[1:]
        found = [values[k] for k in self.spikes if self.op.reads[k] == read]
        return list(dict.fromkeys(map(self.behind, found)))

    def visits(self, body: Body) -> None:
        """Step the synapses of inputs and neurons that spike."""
        seen, columns = f"r->{self.name}_seen", f"r->{self.name}_columns"
        self.writer.scratch[f"{self.name}_seen"] = ("uint8_t", max(self.pre, self.post, 1))
        self.writer.scratch[f"{self.name}_columns"] = ("int32_t", max(self.post, 1))
        posts = self.inputs("post")
        body.add(f"uint8_t *const seen = {seen};")
        body.add(*([f"int32_t *const columns = {columns};"] if posts else []))
        if posts:
            body.add("long count = 0;", f"memset(seen, 0, {self.post});")
            for value in posts:
                with self.spiking(body, value, "i"):
                    body.add("if (!seen[i]) columns[count++] = (int32_t)i;", "seen[i] = 1;")
        body.add(f"memset(seen, 0, {self.pre});")
        for value in self.inputs("pre"):
            with self.spiking(body, value, "j"):
                body.add(f"if (!seen[j]) {self.name}_row(r, t, j);", "seen[j] = 1;")
        if posts:
            rest = f"for (long j = 0; j < {self.pre}; j++)"
            with body.block(f"if (count * {MANY} > {self.post})"):
                body.add(rest, f"    if (!seen[j]) {self.name}_row(r, t, j);")
            with (
                body.block("else if (count)"),
                body.block(rest),
                body.block("for (long k = 0; k < count && !seen[j]; k++)"),
            ):
                block = f"columns[k] / {self.lanes} * {self.lanes}"
                place = f"({block} * {self.pre} + j * {self.lanes} + columns[k] % {self.lanes})"
                body.add(f"{self.name}_rule(r, t, j, columns[k], {place}, 1);")

    @contextmanager
    def spiking(self, body: Body, value: Value, name: str) -> Iterator[None]:
        """Go through what spikes of a value in any sample."""
        events, _ = events_of(self.writer, value)
        row = "long row = t * r->batch; row < (t + 1) * r->batch; row++"
        span = f"long e = r->{events}.begin[row]; e < r->{events}.end[row]; e++"
        with body.block(f"for ({row})"), body.block(f"for ({span})"):
            body.add(f"const long {name} = r->{events}.index[e];")
            yield

    def checks(self, small: frozenset[str]) -> None:
        """Add the functions that say whether synapses without spikes rest."""
        body = Body()
        body.add("int wild = 0;")
        extents = {"pre": self.pre, "post": self.post, "all": 1}
        for index, (name, value) in enumerate(
            zip(self.op.rule.inputs, self.node.operands[1:], strict=True)
        ):
            member, kind = self.source(value)
            size = extents[self.op.reads[index]]
            spikes = index in self.spikes
            if (self.op.reads[index] != "all") if spikes else (name not in small):
                continue
            x = f"r->{member}[t * r->batch * {size} + k]"
            wild = f"{x} != 0" if spikes else _is_large(x, kind)
            body.add(f"for (long k = 0; k < r->batch * {size}; k++) wild |= {wild};")
        head = f"static int {self.name}_is_mild(const snn_net *r, long t)"
        lines = ["(void)r;", "(void)t;", *body, "return !wild;"]
        self.writer.functions.append("\n".join([head, "{", *indented(lines), "}", ""]))
        self.at_rest(small)

    def at_rest(self, small: frozenset[str]) -> None:
        """Add the function that looks for states that would change in a step without spikes."""
        body, real = Body(), self.real
        word = "uint32_t" if real == "float" else "uint64_t"
        sign = f"({word})1 << {8 * SIZES[real] - 1}"
        body.add("int odd = 0;")
        for state in self.op.rule.states:
            owner, samples = ("lasting->", "1") if state.lasting else ("state[b].", "r->batch")
            with body.block(f"for (long b = 0; b < {samples}; b++)"):
                body.add(f"const {real} *const s = r->{owner}{self.name}_{state.name};")
                with body.block(f"for (long k = 0; k < {self.size}; k++)"):
                    body.add(f"{word} bits;", "memcpy(&bits, s + k, sizeof bits);")
                    body.add(f"odd |= bits == ({sign}); /* -0 */")
                    if state.name in small:
                        body.add(f"odd |= {_is_large('s[k]', real)};")
        head = f"static int {self.name}_is_at_rest(const snn_net *r)"
        lines = [*body, "return !odd;"]
        self.writer.functions.append("\n".join([head, "{", *indented(lines), "}", ""]))

    # --- Ends ------------------------------------------------------------------------------------

    def record(self, body: Body) -> None:
        """Record states as the step leaves them."""
        cells = self.post * self.pre
        body.extend(["#ifdef SNN_RECORD"])
        for state in self.op.rule.states:
            label = f"{self.node.name}:{state.name}"
            kind, lasts = NUMPY[self.real], state.lasting
            number = self.writer.record(label, self.node.name, kind, self.op.shape, lasts)
            owner = "r->lasting->" if lasts else "r->state[b]."
            samples = f"r->record[{number}] && b < {'1' if lasts else 'r->batch'}"
            with (
                body.block(f"for (long b = 0; {samples}; b++)"),
                body.block(f"for (long i = 0; i < {self.post}; i++)"),
            ):
                row = "t" if lasts else "(t * r->batch + b)"
                block = f"i / {self.lanes} * {self.lanes * self.pre}"
                body.add(f"double *const to = r->record[{number}] + {row} * {cells};")
                place = f"{block} + j * {self.lanes} + i % {self.lanes}"
                body.add(f"for (long j = 0; j < {self.pre}; j++)")
                body.add(f"    to[i * {self.pre} + j] = {owner}{self.name}_{state.name}[{place}];")
        body.extend(["#endif"])

    def end(self) -> None:
        """Normalise the weights when a run ends."""
        assert self.op.total is not None
        label, lanes = f"{self.real}_{self.lanes}", self.lanes
        writer, body = self.writer, Body()
        total = self.op.total.numpy().astype(NUMPY[self.real]).reshape(-1)
        text = element(writer, f"{self.name}_total", total, (self.post,), self.real, "at + i")
        with body.block(f"for (long at = 0; at < {self.post}; at += {lanes})"):
            body.add(
                f"{self.real} *const w = lasting->{self.weight} + at * {self.pre};",
                f"{self.real} sum[{lanes}];", f"const long n = {self.count('at')};",
            )  # fmt: skip
            if self.op.sums == "order":
                writer.kernels.setdefault(f"snn_sizes_{label}", ordered(self.real, lanes))
                body.add(f"snn_sizes_{label}(w, {self.pre}, sum);")
            else:
                self.cascade(body, label)
            with body.block("for (long i = 0; i < n; i++)"):
                body.add("if (sum[i] == 0) sum[i] = 1;")
                inverse = self.op.sums == "cascade"  # as torch divides a number by a tensor
                body.add(f"sum[i] = {f'1 / sum[i] * {text}' if inverse else f'{text} / sum[i]'};")
            with body.block(f"for (long j = 0; j < {self.pre}; j++)"):
                body.add(f"for (long i = 0; i < n; i++) w[j * {lanes} + i] *= sum[i];")
        if self.quiet is not None:
            body.add(f"lasting->{self.name}_rests = 0;")
        writer.ends += body

    def cascade(self, body: Body, label: str) -> None:
        """Add up sizes as torch does: the last columns in another way than those before."""
        lanes, wide = self.lanes, 32 if self.post >= 8 else 4
        whole = self.post - self.post % wide
        self.writer.kernels.setdefault(f"snn_cascade_{label}", cascade(self.real, lanes))
        body.add(
            f"const long rest = {whole} - at, first = rest < 0 ? 0 : rest < n ? rest : n;",
            f"snn_cascade_{label}(w, {lanes}, {self.pre}, first, sum);",
            f"snn_interleaved_{label}(w + first, {lanes}, {self.pre}, n - first, sum + first);",
        )


def _is_large(text: str, kind: str) -> str:
    if kind == "uint8_t":
        return "0"
    if kind in ("int32_t", "int64_t"):
        return f"!({text} <= {int(LIMIT)} && {text} >= {-int(LIMIT)})"
    return f"!({'fabsf' if kind == 'float' else 'fabs'}({text}) <= {c_number(LIMIT, kind)})"
