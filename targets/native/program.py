"""A graph as C functions, in the order in which they are called."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from snnir.integers import Readout, whole_outputs
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Input
from snnir.ir.synapses import Conv1d, Conv2d
from snnir.ir.timing import Delay
from snnir.targets.native.convolution import Convolution, pooled
from snnir.targets.native.layout import Layout, plain
from snnir.targets.native.neurons import Population, inlined
from snnir.targets.native.nodes import Stateless, record_row
from snnir.targets.native.writer import Body, Writer, indented, rows
from snnir.tensors import Tensor

#: How a stage is divided among threads: over samples, or blocks of neurons; over steps; or over
#: samples alone.
SPLITS = {"population": "SNN_BY_BLOCK", "rows": "SNN_BY_STEP", "samples": "SNN_BY_SAMPLE"}


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
    """

    function: str
    split: str
    blocks: int = 1


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
        self.loops: dict[str, tuple[list[tuple[str, int]], list[str]]] = {}
        self.inputs = [
            self.port("in", k, name, Value(self.input_node(name)))
            for k, name in enumerate(graph.inputs)
        ]
        self.outputs = [
            self.port("out", k, name, value)
            for k, (name, value) in enumerate(graph.outputs.items())
        ]
        self.build()

    def input_node(self, name: str) -> str:
        """Return the node of an input."""
        return name

    def port(self, role: str, number: int, name: str, value: Value) -> Port:
        """Return an input or output."""
        shape = self.graph.signals[value].shape
        ctype = self.layout.ctype(self.layout.root(value))
        readout = self.readouts.get(name) if role == "out" else None
        return Port(name, f"{role}{number}_{plain(name)}", ctype, shape, value, readout)

    def kinds(self) -> set[str]:
        """Return the C types of everything that is computed."""
        steps = [n.op for n in self.graph.nodes.values() if isinstance(n.op, Step)]
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
        self.stages.append(Stage(name, "rows"))
        self.stages.append(Stage(f"{name}?events", "rows"))

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
            record_row(
                self.writer,
                body,
                node.name,
                f"(r->{self.writer.buffer(value)} + row * {size})",
                size,
            )
        body.append("#else")
        body.add("(void)r;", "(void)g;")
        body.append("#endif")

    def compute(self, node: Node) -> None:
        """Write a population or a stateless node."""
        name = self.layout.names[node.name]
        if isinstance(node.op, Step):
            population = Population(self.writer, node, self.inside)
            population.write()
            self.stages.append(Stage(name, "population", population.blocks))
            results = population.results()
        elif self.layout.is_alias(node):
            body = Body()
            self.record_all(body, node)
            self.writer.function(name, body)
            self.stages.append(Stage(name, "rows"))
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
        self.stages += [Stage(f"{self.layout.ident(value)}?events", "rows") for value in results]

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

    def needs_events(self, call: str) -> bool:
        """Return whether a call lists events that nobody reads."""
        return call.removesuffix("?events") + "_events" in self.writer.events

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
            body.add(f"{name}_read(r, b, t);", f"{name}_write(r, b, t);")
        self.writer.function(name, body)
        self.stages += [Stage(name, "samples"), Stage(f"{name}?events", "rows")]

    def delay(self, node: Node) -> None:
        """Write the functions that read and write a delay line."""
        op, value = node.op, Value(node.name)
        assert isinstance(op, Delay)
        name, size, kind = (
            self.layout.names[node.name],
            self.layout.size(value),
            self.layout.ctype(value),
        )
        longest = op.longest
        writer = self.writer
        writer.state += [f"{kind} {name}_line[{longest * size}];", f"long {name}_at;"]
        own, source = writer.buffer(value), writer.buffer(node.operands[0])
        read, write = Body(), Body()
        for body in (read, write):
            body.add(
                "const long row = t * r->batch + b;",
                "snn_state *const s = r->state + b;",
            )
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
        for label, body in (("read", read), ("write", write)):
            head = f"static void {name}_{label}(const snn_net *r, long b, long t)"
            writer.functions.append("\n".join([head, "{", *indented(body), "}", ""]))

    # --- Recurrences -----------------------------------------------------------------------------

    def loop(self, names: tuple[str, ...]) -> None:
        """Write a recurrence: delays give what they hold, the rest runs, delays take in."""
        before = len(self.stages)
        nodes = [self.graph.nodes[name] for name in names]
        delays = [n for n in nodes if isinstance(n.op, Delay) and not self.layout.is_alias(n)]
        calls: list[tuple[str, int]] = []
        for node in nodes:
            name = self.layout.names[node.name]
            if node in delays:
                self.delay(node)
                calls += [(f"{name}?read", 1), (f"{name}?events", 1)]
            elif node.name not in self.inside | self.done:
                first = len(self.stages)
                self.compute(node)
                calls += [(stage.function, stage.blocks) for stage in self.stages[first:]]
        del self.stages[before:]
        self.stages.append(Stage(f"loop{before}", "samples"))
        self.loops[f"loop{before}"] = (calls, [self.layout.names[n.name] for n in delays])

    def write_loop(self, name: str) -> str:
        """Return the function of a recurrence."""
        calls, delays = self.loops[name]
        body = Body()
        with (
            body.block("for (long b = g.b0; b < g.b1; b++)"),
            body.block("for (long t = g.t0; t < g.t1; t++)"),
        ):
            body.add("const snn_range one = {b, b + 1, t, t + 1, 0, 1, g.part};")
            for call, blocks in calls:
                if call.endswith("?read"):
                    body.add(f"{call.removesuffix('?read')}_read(r, b, t);")
                elif call.endswith("?events"):
                    if self.needs_events(call):
                        body.add(f"{call.removesuffix('?events')}_list(r, one);")
                elif blocks > 1:
                    body.add(f"{call}(r, (snn_range){{b, b + 1, t, t + 1, 0, {blocks}, g.part}});")
                else:
                    body.add(f"{call}(r, one);")
            body.add(*(f"{delay}_write(r, b, t);" for delay in delays))
        head = f"static void {name}(const snn_net *r, snn_range g)"
        return "\n".join([head, "{", *indented(body), "}", ""])

    # --- Files -----------------------------------------------------------------------------------

    def calls(self) -> list[Stage]:
        """Return the stages that are left once it is known whose events are read."""
        found = []
        for stage in self.stages:
            if stage.function.endswith("?events"):
                if self.needs_events(stage.function):
                    found.append(
                        Stage(f"{stage.function.removesuffix('?events')}_list", stage.split)
                    )
            else:
                found.append(stage)
        return found
