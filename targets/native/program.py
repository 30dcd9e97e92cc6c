"""A graph as C functions, in the order in which they are called."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from snnir.c_layout import Layout, plain
from snnir.integers import Readout, whole_outputs
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.ir.structure import Input
from snnir.ir.synapses import Conv1d, Conv2d
from snnir.ir.timing import Delay
from snnir.lasting import lasting_states
from snnir.targets.native.convolution import Convolution, pooled
from snnir.targets.native.draws import write_draws
from snnir.targets.native.neurons import Population, inlined, is_pooled
from snnir.targets.native.nodes import Stateless, record_row
from snnir.targets.native.plastic import Synapses
from snnir.targets.native.pooled import Pooled
from snnir.targets.native.writer import Body, Writer, indented, rows
from snnir.tensors import Tensor

#: How a stage is divided among threads: over samples, or blocks of neurons; over steps; over
#: samples alone; over blocks of neurons alone; or not at all.
SPLITS = {
    "population": "SNN_BY_BLOCK", "rows": "SNN_BY_STEP", "samples": "SNN_BY_SAMPLE",
    "neurons": "SNN_BY_NEURON", "alone": "SNN_ALONE",
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output of the program.

    Attributes:
        name: As the graph calls it.
        member: In `snn_io`.
        ctype: Of its elements.
        shape: Of one sample.
        value: Behind an output.
        readout: What an output of whole numbers stands for.
    """

    name: str
    member: str
    ctype: str
    shape: tuple[int, ...]
    value: Value
    readout: Readout | None = None


@dataclass(frozen=True)
class Stage:
    """A call of the schedule.

    Attributes:
        function: Its function.
        split: How it is divided among threads.
        blocks: Blocks of neurons, of a population.
        needs: A list of events; if nobody reads it, there is no such stage.
        records: Whether it does nothing but record.
    """

    function: str
    split: str
    blocks: int = 1
    needs: str = ""
    records: bool = False


def listing(value: str) -> Stage:
    """Return the stage that lists the events of a value, given by its identifier."""
    return Stage(f"{value}_list", "rows", needs=f"{value}_events")


class Program:
    """A graph as C.

    Args:
        graph: A verified graph of step programs.
        precision: `float32` or `float64`.
        embedded: Whether it is for a small device.
    """

    def __init__(self, graph: Graph, precision: str = "float32", embedded: bool = False) -> None:
        graph, self.readouts = whole_outputs(graph) if embedded else (graph, {})
        self.graph = graph
        self.layout = Layout(graph, precision, embedded)
        self.writer = Writer(self.layout, embedded)
        self.stages: list[Stage] = []
        self.inside = inlined(self.layout)
        self.done: set[str] = set()  # by the function of another node
        self.in_loop = False
        self.loops: dict[str, list[Stage]] = {}
        self.inputs = [self.port("in", k, name, Value(name)) for k, name in enumerate(graph.inputs)]
        self.outputs = [
            self.port("out", k, name, value)
            for k, (name, value) in enumerate(graph.outputs.items())
        ]
        self.rules: list[str] = []  # of the recurrence that is written
        self.counts: list[str] = []
        self.build()

    def port(self, role: str, number: int, name: str, value: Value) -> Port:
        """Return an input or output."""
        shape = self.graph.signals[value].shape
        ctype = self.layout.ctype(self.layout.root(value))
        readout = self.readouts.get(name) if role == "out" else None
        return Port(name, f"{role}{number}_{plain(name)}", ctype, shape, value, readout)

    def kinds(self) -> set[str]:
        """Return the C types of everything that is computed."""
        steps = [n.op for n in self.graph.nodes.values() if isinstance(n.op, (Step, Plastic))]
        found = {self.layout.ctype(value) for value in self.graph.signals}
        return found | {self.layout.kind_of(op) for op in steps}

    # --- Stages ----------------------------------------------------------------------------------

    def build(self) -> None:
        """Write every function, in the order of the schedule."""
        for port in self.inputs:
            self.writer.buffer(port.value)
        for stage in self.layout.schedule.stages:
            if stage.kind == "loop":
                self.loop(stage.nodes)
            else:
                self.straight(stage.nodes)
        self.stages += [Stage(f"{name}_count", "alone") for name in self.counts]
        exchanged = self.writer.exchanged
        self.writer.exchanged = {name: exchanged[name] for name in lasting_states(self.graph)}
        self.place_outputs()
        self.listers()

    def place_outputs(self) -> None:
        """Let values be computed where they are given out; copy those that lie elsewhere."""
        inputs = {self.layout.ident(port.value) for port in self.inputs}
        self.direct: dict[str, str] = {}
        copied = []
        for port in self.outputs:
            member = self.writer.buffer(port.value)
            if member in self.direct or member in inputs:
                copied.append((port, member))
            else:
                self.direct[member] = port.member
        if copied:
            body = Body()
            with rows(body):
                for port, member in copied:
                    to, size = f"r->io->{port.member}", prod(port.shape)
                    source = f"r->{member} + row * {size}"
                    body.add(f"memcpy({to} + row * {size}, {source}, {size} * sizeof *{to});")
            self.writer.function("snn_outputs", body)
            self.stages.append(Stage("snn_outputs", "rows"))

    def straight(self, names: tuple[str, ...]) -> None:
        """Write nodes without recurrence."""
        for name in names:
            node = self.graph.nodes[name]
            if name in self.inside or name in self.done:
                continue
            if isinstance(node.op, Delay):
                self.shift(node)
            elif isinstance(node.op, Input):
                self.given(node)
            else:
                self.compute(node)

    def given(self, node: Node) -> None:
        """Have an input recorded, and its events listed."""
        body = Body()
        self.record_all(body, node)
        name = self.layout.names[node.name]
        self.writer.function(name, body)
        self.stages += [Stage(name, "rows", records=True), listing(name)]

    def record_all(self, body: Body, node: Node) -> None:
        """Record the rows of a value that others computed."""
        value = Value(node.name)
        size = self.layout.size(value)
        body.append("#ifdef SNN_RECORD")
        with (
            body.block("for (long t = g.t0; t < g.t1; t++)"),
            body.block("for (long b = g.b0; b < g.b1; b++)"),
        ):
            body.add("const long row = t * r->batch + b;")
            row = f"(r->{self.writer.buffer(value)} + row * {size})"
            record_row(self.writer, body, node.name, row, size)
        body.append("#else")
        body.add("(void)r;", "(void)g;")
        body.append("#endif")

    def compute(self, node: Node) -> None:
        """Write a population or a stateless node."""
        name = self.layout.names[node.name]
        if isinstance(node.op, Step):
            made = Pooled if is_pooled(node) else Population
            population = made(self.writer, node, self.inside, self.in_loop)
            population.write()
            split = "neurons" if is_pooled(node) else "population"
            self.stages.append(Stage(name, split, population.blocks))
            results = population.results()
        elif isinstance(node.op, Plastic):
            Synapses(self.writer, node).write()
            self.stages.append(Stage(name, "rows"))
            self.rules.append(name)
            results = [Value(node.name)]
        elif isinstance(node.op, Uniform):
            write_draws(self.writer, node)
            self.stages.append(Stage(name, "rows"))
            self.counts.append(name)
            results = [Value(node.name)]
        elif self.layout.is_alias(node):
            body = Body()
            self.record_all(body, node)
            self.writer.function(name, body)
            self.stages.append(Stage(name, "rows", records=True))
            return
        elif isinstance(node.op, (Conv1d, Conv2d)):
            pool = pooled(self.graph, node)
            Convolution(self.writer, node, pool).write()
            self.stages.append(Stage(name, "rows"))
            results = [Value(node.name if pool is None else pool.name)]
            self.done |= set() if pool is None else {pool.name}
        else:
            Stateless(self.writer, node).write()
            self.stages.append(Stage(name, "rows"))
            results = [Value(node.name)]
        self.stages += [listing(self.layout.ident(value)) for value in results]

    def listers(self) -> None:
        """Write the functions that list events, now that it is known whose are needed."""
        for member, (kind, size) in self.writer.events.items():
            value = member.removesuffix("_events")
            function = self.writer.lister(kind)
            body = Body()
            body.add(f"long n = (g.t0 * r->batch + g.b0) * {size};")
            with (
                body.block("for (long t = g.t0; t < g.t1; t++)"),
                body.block("for (long b = g.b0; b < g.b1; b++)"),
            ):
                body.add("const long row = t * r->batch + b;")
                body.add(
                    f"n = {function}(&r->{member}, r->{value} + row * {size}, row, {size}, n);"
                )
            self.writer.function(f"{value}_list", body)

    # --- Delays ----------------------------------------------------------------------------------

    def shift(self, node: Node) -> None:
        """Write a delay outside of recurrences."""
        op = node.op
        assert isinstance(op, Delay)
        name = self.layout.names[node.name]
        if self.layout.is_alias(node):
            self.compute(node)
            return
        self.delay(node)
        body = Body()
        with (
            body.block("for (long b = g.b0; b < g.b1; b++)"),
            body.block("for (long t = g.t0; t < g.t1; t++)"),
        ):
            body.add("const snn_range one = {b, b + 1, t, t + 1, 0, 1, g.part};")
            body.add(f"{name}_read(r, one);", f"{name}_write(r, one);")
        self.writer.function(name, body)
        self.stages += [Stage(name, "samples"), listing(name)]

    def delay(self, node: Node) -> None:
        """Write the functions that read and write a delay line."""
        op, value = node.op, Value(node.name)
        assert isinstance(op, Delay)
        layout, writer, longest = self.layout, self.writer, op.longest
        name, size, kind = layout.names[node.name], layout.size(value), layout.ctype(value)
        writer.state += [f"{kind} {name}_line[{longest * size}];", f"long {name}_at;"]
        own, source = writer.buffer(value), writer.buffer(node.operands[0])
        read, write = Body(), Body()
        for body in (read, write):
            body.add("const long row = g.t0 * r->batch + g.b0;")
            body.add("snn_state *const s = r->state + g.b0;")
        read.add(f"{kind} *const y = r->{own} + row * {size};")
        if isinstance(op.steps, Tensor) and not op.steps.is_uniform():
            steps = np.broadcast_to(op.steps.numpy(), self.graph.signal(node.name).shape)
            array = writer.weight(f"{name}_steps", steps.reshape(-1).astype(np.int32))
            read.add(f"const {kind} *const x = r->{source} + row * {size};")
            with read.block(f"for (long i = 0; i < {size}; i++)"):
                read.add(f"const long d = {array}[i];")
                read.add(f"const long at = (s->{name}_at + {longest} - d) % {longest};")
                read.add(f"y[i] = d ? s->{name}_line[at * {size} + i] : x[i];")
        else:
            read.add(f"memcpy(y, s->{name}_line + s->{name}_at * {size}, {size} * sizeof *y);")
        record_row(writer, read, node.name, "y", size)
        write.add(
            f"const {kind} *const x = r->{source} + row * {size};",
            f"memcpy(s->{name}_line + s->{name}_at * {size}, x, {size} * sizeof *x);",
            f"s->{name}_at = s->{name}_at + 1 < {longest} ? s->{name}_at + 1 : 0;",
        )
        writer.function(f"{name}_read", read)
        writer.function(f"{name}_write", write)

    # --- Recurrences -----------------------------------------------------------------------------

    def loop(self, names: tuple[str, ...]) -> None:
        """Write a recurrence: delays give what they hold, the rest runs, delays take in."""
        before, self.in_loop = len(self.stages), True
        nodes = [self.graph.nodes[name] for name in names]
        delays = [n for n in nodes if isinstance(n.op, Delay) and not self.layout.is_alias(n)]
        for node in nodes:
            name = self.layout.names[node.name]
            if node in delays:
                self.delay(node)
                self.stages += [Stage(f"{name}_read", "samples"), listing(name)]
            elif node.name not in self.inside | self.done:
                self.compute(node)
        names_of = (self.layout.names[delay.name] for delay in delays)
        self.stages += [Stage(f"{name}_write", "samples") for name in names_of]
        self.stages += [Stage(f"{name}_learn", "alone") for name in self.rules]
        self.rules = []
        together = any(isinstance(node.op, Plastic) or is_pooled(node) for node in nodes)
        self.loops[f"loop{before}"] = self.stages[before:]
        self.stages[before:] = [Stage(f"loop{before}", "alone" if together else "samples")]
        self.in_loop = False

    def write_loop(self, name: str) -> str:
        """Return the function of a recurrence."""
        body = Body()
        stages = self.used(self.loops[name])
        if next(stage for stage in self.stages if stage.function == name).split == "alone":
            self.together(body, stages)
        else:
            self.apart(body, stages)
        head = f"static void {name}(const snn_net *r, snn_range g)"
        return "\n".join([head, "{", *indented(body), "}", ""])

    @staticmethod
    def apart(body: Body, stages: list[Stage]) -> None:
        """Step sample after sample."""
        with (
            body.block("for (long b = g.b0; b < g.b1; b++)"),
            body.block("for (long t = g.t0; t < g.t1; t++)"),
        ):
            body.add("const snn_range one = {b, b + 1, t, t + 1, 0, 1, g.part};")
            for stage in stages:
                blocks = f"(snn_range){{b, b + 1, t, t + 1, 0, {stage.blocks}, g.part}}"
                body.add(f"{stage.function}(r, {'one' if stage.blocks == 1 else blocks});")

    @staticmethod
    def together(body: Body, stages: list[Stage]) -> None:
        """Step all samples together, because they share what they learn."""
        with body.block("for (long t = g.t0; t < g.t1; t++)"):
            body.add("const snn_range all = {g.b0, g.b1, t, t + 1, 0, 1, g.part};")
            for stage in stages:
                if stage.split == "samples":
                    with body.block("for (long b = g.b0; b < g.b1; b++)"):
                        one = "(snn_range){b, b + 1, t, t + 1, 0, 1, g.part}"
                        body.add(f"{stage.function}(r, {one});")
                    continue
                blocks = f"(snn_range){{g.b0, g.b1, t, t + 1, 0, {stage.blocks}, g.part}}"
                body.add(f"{stage.function}(r, {'all' if stage.blocks == 1 else blocks});")

    def used(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages that are left once it is known whose events are read."""
        return [stage for stage in stages if not stage.needs or stage.needs in self.writer.events]

    def calls(self) -> list[Stage]:
        """Return the stages of a run in order."""
        return self.used(self.stages)
