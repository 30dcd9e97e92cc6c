"""Populations in C whose samples are stepped together, because they share states or sums."""

from __future__ import annotations

from collections.abc import Sequence

from snnir.c_values import HELPERS
from snnir.dynamics.c_source import c_operand
from snnir.ir.graph import Value
from snnir.ir.neuron import Step
from snnir.targets.native.neurons import Population
from snnir.targets.native.phases import Elements
from snnir.targets.native.writer import Body, Exchange, Writer

#: What NumPy calls the types of states.
NUMPY = {"float": "float32", "double": "float64"}


class Pooled(Population):
    """Writes the function of one population; all samples take a step before the next begins."""

    def widest(self, sums: Sequence[object]) -> int:
        """Return how many neurons are stepped together if there are as many: sums lie in memory."""
        return 256

    def write(self) -> None:
        """Add the step of a block of neurons and the loop over blocks and steps."""
        whole, rest = divmod(self.size, self.lanes)
        self.step()
        body = Body()
        with (
            body.block("for (long q = g.q0; q < g.q1; q++)"),
            body.block("for (long t = g.t0; t < g.t1; t++)"),
        ):
            call = f"{self.name}_step(r, t, q * {self.lanes}, {{}});"
            if whole and rest:
                body.add(f"if (q < {whole})", f"    {call.format(self.lanes)}", "else")
                body.add(f"    {call.format(rest)}")
            else:
                body.add(call.format(rest or self.lanes))
        self.writer.function(self.name, body)

    def step(self) -> None:
        """Add the function that steps neurons at to at + n of all samples."""
        op = self.node.op
        assert isinstance(op, Step)
        body = Body()
        for name in op.program.lasting:
            kind, member = self.kept[name], f"{self.name}_{name}"
            body.add(f"{kind} *restrict s_{name} = r->lasting->{member} + at;")
        body.add("(void)at;")
        made = self.elements()
        made.write(body)
        self.record_lasting(body)
        self.helpers("\n".join(body))
        head = f"static inline void {self.name}_step(const snn_net *r, long t, long at, long n)"
        text = "\n".join([head, "{", *(f"    {line}" * bool(line) for line in body), "}", ""])
        self.writer.functions.append(text)

    def elements(self) -> Elements:
        """Return where the elements lie."""
        op = self.node.op
        assert isinstance(op, Step)
        program, updates = self.program, dict(self.program.updates)
        inputs = [
            f"const {self.real} {name} = ({self.real}){self.expression(value)};"
            for name, value in zip(program.inputs, self.node.operands, strict=True)
        ]
        made = Elements(program, self.real, self.lanes, each=[*self.lines, *inputs])
        made.before = [f"{declared} = {pointer};" for declared, pointer in self.given]
        for (name, _), (key, _) in zip(program.params, op.program.params, strict=True):
            text = self.param(key, op.params[key])
            made.shared.append(f"const {self.real} {name} = {text};")
        lasting = {}
        for mine, own in zip(program.states, op.program.states, strict=True):
            kind, place = self.kept[own.name], f"s_{own.name}[i]"
            loaded = f"const {self.real} {mine.name} = ({self.real}){place};"
            if own.lasting:
                made.shared.append(loaded)
                self.keep_lasting(own.name, own.initial)
                lasting[mine.name] = place
                continue
            self.keep_state(own.name, own.initial)
            member = f"r->state[b].{self.name}_{own.name} + at"
            made.before.append(f"{kind} *restrict s_{own.name} = {member};")
            made.each.append(loaded)
            text = c_operand(updates[mine.name], self.real)
            made.stores.append(f"{place} = ({kind}){text};")
            made.stores += self.recorded(f"{self.node.name}:{own.name}", text, self.numpy())
            made.results.append(updates[mine.name])
        for index, (output, _) in enumerate(program.outputs):
            value = Value(self.node.name, index)
            where = f"r->{self.writer.buffer(value)} + row * {self.size} + at"
            made.before.append(f"{self.layout.ctype(value)} *restrict out_{index} = {where};")
            made.stores += self.output(value, output)
            made.results.append(output)
        made.lasting = lasting
        return made

    def numpy(self) -> str:
        """Return what NumPy calls the type of the states."""
        return NUMPY.get(self.real, "int64")

    def keep_lasting(self, name: str, initial: float | str) -> None:
        """Have a state outlive runs, with its value at the start."""
        member, op = f"{self.name}_{name}", self.node.op
        assert isinstance(op, Step)
        kind = self.kept[name]
        self.writer.lasting.append(f"{kind} {member}[{self.blocks * self.lanes}];")
        value = c_operand(initial, self.real) if not isinstance(initial, str) else ""
        value = value or self.param(str(initial), op.params[str(initial)], "i")
        self.writer.starts.append(
            f"for (long i = 0; i < {self.size}; i++) lasting->{member}[i] = ({kind}){value};"
        )
        shape = tuple(self.graph.signal(self.node.name).shape)
        exchange_plain(self.writer, f"{self.node.name}:{name}", member, kind, shape, self.size)

    def record_lasting(self, body: Body) -> None:
        """Record states that all samples share."""
        op = self.node.op
        assert isinstance(op, Step)
        for name in op.program.lasting:
            label = f"{self.node.name}:{name}"
            number = self.writer.record(label, self.node.name, self.numpy(), lasts=True)
            to = f"r->record[{number}]"
            body.extend(["#ifdef SNN_RECORD"])
            body.add(f"if ({to})", "    for (long i = 0; i < n; i++)")
            body.add(f"        {to}[t * {self.size} + at + i] = (double)s_{name}[i];")
            body.extend(["#endif"])


def exchange_plain(
    writer: Writer, name: str, member: str, kind: str, shape: tuple[int, ...], size: int
) -> None:
    """Have callers take out and put in a state that lies as they see it."""
    get = f"memcpy(to, &lasting->{member}, {size} * sizeof({kind}));"
    put = f"memcpy(&lasting->{member}, from, {size} * sizeof({kind}));"
    writer.exchanged[name] = Exchange(kind, shape, (get,), (put,))


def note_helpers(writer: Writer, text: str) -> None:
    """Note which functions statements call."""
    writer.helpers |= {name for name in HELPERS if f"{name}(" in text}
