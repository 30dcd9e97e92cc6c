"""The functions of a module: the network over some steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.artefact import populations
from snnir.c_values import norm
from snnir.embedding import plain_text
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Input
from snnir.ir.synapses import BatchNorm, without_zero
from snnir.ir.timing import Delay
from snnir.scheduling import Stage
from snnir.streams import Kind
from snnir.targets.mlir_code import kernels
from snnir.targets.mlir_code.code import (
    COUNT,
    PARALLEL,
    REDUCTION,
    Array,
    Code,
    Scalar,
    axes,
    tensor_type,
)
from snnir.targets.mlir_code.host import Port
from snnir.targets.mlir_code.kernels import element_at
from snnir.targets.mlir_code.loops import Loop, past
from snnir.targets.mlir_code.populations import Population
from snnir.targets.mlir_code.weights import Held
from snnir.tensors import Tensor

if TYPE_CHECKING:
    from snnir.targets.mlir_code.lowering import Lowering

#: Names of the functions.
INITIAL, RUN, TRACE = "initial", "run", "trace"
#: The argument that is 0, and its names as a number.
ZERO, ZEROS = "%zero", {"i32": "%zero32", "i64": "%zero64"}
States = dict[str, Array]


@dataclass(frozen=True)
class Written:
    """A function that is written, apart from the arguments with tensors.

    Attributes:
        name: Its name.
        arguments, last: Its arguments before and behind the tensors.
        body: Its lines.
        results: What it returns.
    """

    name: str
    arguments: Sequence[str]
    last: Sequence[str]
    body: Sequence[str]
    results: Sequence[Array]

    def lines(self, weights: Sequence[str]) -> list[str]:
        """Return the text of the function."""
        types = ", ".join(array.type for array in self.results)
        names = ", ".join(array.name for array in self.results)
        given = ", ".join([*self.arguments, *weights, *self.last])
        return [
            f"  func.func @{self.name}({given}) -> ({types}) {{",
            *(f"  {line}" for line in self.body),
            f"    return {names} : {types}" if names else "    return",
            "  }",
        ]


class Function:
    """`run` or `trace`: the network over some steps.

    Attributes:
        values: Every stream: [time, batch, *features].
        merged: The same with time and batch merged, where it was needed.
        states: What is carried, as it is after the stages that are written.
        histories: The states after every step, if they are traced.
    """

    def __init__(self, lowering: Lowering, traced: bool) -> None:
        self.lowering, self.traced = lowering, traced
        self.graph, self.elements = lowering.graph, lowering.elements
        self.values: dict[Value, Array] = {}
        self.merged: dict[Value, Array] = {}
        self.histories: States = {}
        self.arguments = [f"{COUNT}: index"]
        self.lead = (lowering.steps, lowering.batch)
        self.code = Code(ZEROS if lowering.exact else {})

    # --- The function ----------------------------------------------------------------------------

    def write(self) -> Written:
        """Return the function."""
        ports = self.lowering.inputs()
        given = [self.argument(f"%x{k}", port, self.lead) for k, port in enumerate(ports)]
        states = [
            self.argument(f"%s{k}", port, (port.steps,) * bool(port.steps) + self.lead[1:])
            for k, port in enumerate(self.lowering.states())
        ]
        self.zeros()
        self.states = {p.name: a for p, a in zip(self.lowering.states(), states, strict=True)}
        for port, array in zip(ports, given, strict=True):
            self.values[Value(port.name)] = array
        for stage in self.elements.layout.schedule.stages:
            self.stage(stage)
        results = [self.values[value] for value in self.graph.outputs.values()]
        results += [self.count(name) for name in populations(self.graph)]
        results += [self.states[port.name] for port in self.lowering.states()]
        if self.traced:
            results += [self.traced_value(port) for port in self.lowering.traces()]
        name = TRACE if self.traced else RUN
        last = [f"{ZERO}: tensor<i32>"] if self.lowering.exact else []
        return Written(name, self.arguments, last, self.code.body(), results)

    def argument(self, name: str, port: Port, lead: Sequence[int]) -> Array:
        """Return an argument of the function."""
        dims = (*lead, *port.shape)
        self.arguments.append(f"{name}: {tensor_type(dims, port.element)}")
        return Array(name, dims, port.element)

    def zeros(self) -> None:
        """Define the zeros that the compiler does not know; see `Code.guard`."""
        if not self.code.zeros:
            return
        self.code.line(f"{ZEROS['i32']} = tensor.extract {ZERO}[] : tensor<i32>")
        self.code.line(f"{ZEROS['i64']} = arith.extsi {ZEROS['i32']} : i32 to i64")

    def traced_value(self, port: Port) -> Array:
        """Return what `trace` gives for a name."""
        value = self.lowering.streams().get(port.name)
        return self.histories[port.name] if value is None else self.values[value]

    def count(self, name: str) -> Array:
        """Return the sum of a population for every sample; steps that do not count are 0."""
        code, x = self.code, self.values[Value(name)]
        spikes = self.graph.signal(name).kind is Kind.SPIKES
        # Sums of 64 bits are more than IREE can do for CUDA.
        element = "i32" if spikes and prod(x.dims) < 2**31 else "i64"
        start = code.filled(self.lead[1:], code.number(0, element))
        (made,) = code.loop(
            [REDUCTION, PARALLEL, *[REDUCTION] * (len(x.dims) - 2)],
            [(x, axes(len(x.dims)))],
            [(start, ("d1",))],
            lambda given: [code.sum(given[1], code.cast(given[0], element))],
        )
        return code.converted(made, "i64")

    # --- Stages ----------------------------------------------------------------------------------

    def stage(self, stage: Stage) -> None:
        """Write one stage of the schedule."""
        if stage.kind == "loop":
            Loop(self, stage.nodes).write()
            return
        for name in stage.nodes:
            node = self.graph.nodes[name]
            if not isinstance(node.op, Input):
                self.comment(node)
                self.node(node)

    def comment(self, node: Node) -> None:
        """Say which node the lines after this are."""
        self.code.line(f"// {plain_text(node.name)}: {plain_text(node.op.name)}")

    def node(self, node: Node) -> None:
        """Write a node for all steps."""
        if isinstance(node.op, Step):
            self.population(node)
        elif isinstance(node.op, Delay):
            self.delay(node)
        else:
            operands = [self.rows(value) for value in node.operands]
            made = self.stateless(node, operands)
            self.merged[Value(node.name)] = made
            dims = (*self.lead, *made.dims[1:])
            split = (2, *(1 for _ in made.dims[1:]))
            self.values[Value(node.name)] = self.code.reshaped(made, dims, split)

    def rows(self, value: Value) -> Array:
        """Return a stream with time and batch merged."""
        if value not in self.merged:
            x = self.values[value]
            groups = (2, *(1 for _ in x.dims[2:]))
            self.merged[value] = self.code.merged(x, (prod(self.lead), *x.dims[2:]), groups)
        return self.merged[value]

    def stateless(self, node: Node, operands: Sequence[Array]) -> Array:
        """Write a stateless op on rows."""
        call = node.op.call([self.graph.signals[value] for value in node.operands])
        element = self.elements.of(Value(node.name))
        options: dict[str, Any] = dict(call.options)
        if isinstance(node.op, BatchNorm):
            options = {}
        if call.sums:
            options["acc"] = self.lowering.accumulator(element)
        function: Callable[..., Array] = getattr(kernels, call.function)
        return function(self.code, *operands, **self.held(node), **options, element=element)

    def held(self, node: Node) -> Mapping[str, Held]:
        """Return the tensors of a stateless node by the argument of its kernel."""
        op = node.op
        hold = self.lowering.weights.hold
        if isinstance(op, BatchNorm):
            parts = zip(("gain", "shift"), norm(op, self.elements.layout.real), strict=True)
            return {key: hold(f"{node.name}.{key}", array) for key, array in parts}
        call = op.call([self.graph.signals[value] for value in node.operands])
        arrays = {key: tensor.numpy() for key, tensor in call.tensors.items()}
        if "zero" in arrays:
            arrays["weight"] = without_zero(op)  # type: ignore[arg-type]  # only those have one
            del arrays["zero"]
        return {key: hold(f"{node.name}.{key}", array) for key, array in arrays.items()}

    def population(self, node: Node) -> None:
        """Write a population for all steps."""
        population = Population(self.elements, self.lowering.weights, node)
        inputs = [self.values[value] for value in node.operands]
        states = self.own_states(population)
        made = population.scan(self.code, inputs, states, self.traced, COUNT)
        for k, array in enumerate(made.results):
            self.values[Value(node.name, k)] = array
        self.states |= {f"{node.name}:{key}": array for key, array in made.states.items()}
        self.histories |= {f"{node.name}:{key}": array for key, array in made.histories.items()}

    def own_states(self, population: Population) -> States:
        """Return the states of a population by their own names."""
        return {key: self.states[f"{population.node.name}:{key}"] for key in population.states}

    def delay(self, node: Node) -> None:
        """Write a delay outside of recurrences: past and new values in line, read further back."""
        op, code, value = node.op, self.code, Value(node.name)
        assert isinstance(op, Delay)
        x = code.converted(self.values[node.operands[0]], self.elements.of(value))
        if not op.longest:
            self.values[value] = x
            return
        before, length = self.states[past(node.name)], op.longest
        line = code.joined([before, x], 0)
        nothing = [0] * (len(x.dims) - 1)
        self.states[past(node.name)] = code.part(line, [COUNT, *nothing], before.dims)
        steps = self.delays(node)
        if steps is None:
            self.values[value] = code.part(line, [0, *nothing], x.dims)
        else:
            self.values[value] = self.further_back(line, x.dims, length, steps)

    def delays(self, node: Node) -> Held | None:
        """Return the delay of every element, None if all are the longest."""
        op = node.op
        assert isinstance(op, Delay)
        if not isinstance(op.steps, Tensor) or op.shortest == op.longest:
            return None
        steps = op.steps.numpy().astype(np.int64)
        return self.lowering.weights.hold(f"{node.name}.steps", steps)

    def further_back(self, line: Array, dims: Sequence[int], length: int, steps: Held) -> Array:
        """Return line[t + length - steps] for all elements."""
        code = self.code
        reads, value = steps.spread(code, dims[2:], "i64", 2)

        def body(given: list[Scalar]) -> Scalar:
            spots = [code.op(f"linalg.index {axis} : index") for axis in range(len(dims))]
            back = code.op(f"arith.index_cast {value(given).name} : i64 to index")
            end = code.op(f"arith.addi {spots[0]}, {code.index(length)} : index")
            at = code.op(f"arith.subi {end}, {back} : index")
            return element_at(code, line, [at, *spots[1:]])

        return code.each(reads, dims, line.element, body)
