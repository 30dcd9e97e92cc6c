"""Populations: one step, or a scan over time in operations of several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnir.c_layout import Layout
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.targets.mlir_code.code import (
    PARALLEL,
    Array,
    Code,
    Scalar,
    Use,
    axes,
)
from snnir.targets.mlir_code.scalars import value_of, write_program
from snnir.targets.mlir_code.weights import Read, Weights, is_uniform

#: Steps that one operation takes at most, and buffers: IREE has 32, some are for its readers.
BLOCK, BUFFERS = 16, 28
#: MLIR's element types by those of C, apart from spikes.
ELEMENTS = {"float": "f32", "double": "f64", "int32_t": "i32", "int64_t": "i64"}


def results_of(node: Node) -> list[Value]:
    """Return the streams that a node gives."""
    count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
    return [Value(node.name, k) for k in range(count)]


def most_buffers(op: Step) -> int:
    """Return how many tensors a population reads and writes in one step that is recorded.

    The states go in and out, and every state after the step is recorded.
    """
    program = op.program
    params = sum(not is_uniform(value.numpy()) for value in op.params.values())
    return 3 * len(program.states) + params + len(program.inputs) + len(program.outputs)


@dataclass(frozen=True)
class Elements:
    """Which element types a graph has in MLIR.

    Integers are integers; spikes are `i8` where all populations step in integers, and floats where
    they meet float weights.

    Attributes:
        layout: Element types as the C targets choose them.
    """

    layout: Layout

    @property
    def real(self) -> str:
        """The type of real streams."""
        return ELEMENTS[self.layout.real]

    def of(self, value: Value) -> str:
        """Return the type of a stream."""
        found = self.layout.ctype(value)
        if found == "uint8_t":
            return "i8" if self.layout.is_whole else self.real
        return ELEMENTS[found]

    def inner(self, op: Step) -> str:
        """Return the type in which a population computes."""
        return ELEMENTS[self.layout.kind_of(op)]


@dataclass(frozen=True)
class Steps:
    """What some steps give.

    Attributes:
        results: Of every step, the streams [batch, *features], one per output of the program.
        states: The states after the last step, by name.
        histories: The states after every step, by name, if they were asked for.
    """

    results: list[list[Array]]
    states: dict[str, Array]
    histories: dict[str, list[Array]]


@dataclass(frozen=True)
class Traces:
    """What a scan gives: the same as `Steps`, with time as the first axis."""

    results: list[Array]
    states: dict[str, Array]
    histories: dict[str, Array]


class Population:
    """One population in the function that is written.

    Args:
        elements: Element types of the graph.
        weights: Where parameters become arguments.
        node: Its node.
    """

    def __init__(self, elements: Elements, weights: Weights, node: Node) -> None:
        assert isinstance(node.op, Step)
        self.node, self.op, self.program = node, node.op, node.op.program
        self.element = elements.inner(node.op)
        outputs = range(len(self.program.outputs))
        self.gives = [elements.of(Value(node.name, k)) for k in outputs]
        self._held = {
            name: weights.hold(f"{node.name}.{name}", value.numpy())
            for name, value in self.op.params.items()
        }

    @property
    def states(self) -> list[str]:
        """Names of the states."""
        return [state.name for state in self.program.states]

    def initial(self, code: Code, dims: Sequence[int]) -> dict[str, Array]:
        """Return the states before the first step.

        Args:
            code: Where the code goes.
            dims: Batch and features.
        """
        found = {}
        for state in self.program.states:
            if isinstance(state.initial, str):
                held = self._held[state.initial]
                reads, value = held.spread(code, dims[1:], self.element)
                found[state.name] = code.each(reads, dims, self.element, value)
            else:
                number = code.number(state.initial, self.element)
                found[state.name] = code.filled(dims, number)
        return found

    def step(
        self, code: Code, inputs: Sequence[Array], states: Mapping[str, Array]
    ) -> tuple[list[Array], dict[str, Array]]:
        """Write one step of [batch, *features]; return the streams and the new states."""
        made = self._steps(code, [inputs], states, False)
        return made.results[0], made.states

    def scan(
        self, code: Code, inputs: Sequence[Array], states: Mapping[str, Array], traced: bool,
        count: str,
    ) -> Traces:  # fmt: skip
        """Write all steps of [time, batch, *features]: a loop over time, several steps a turn.

        Args:
            code: Where the code goes.
            inputs: One stream per input of the program.
            states: By name.
            traced: Whether the states after every step are wanted.
            count: Name of the number of steps that count; later ones leave the states alone and
                give nothing.
        """
        dims = inputs[0].dims
        room = self.steps_at_once(dims[0], traced)
        traces = self.states if traced else []
        elements = [*self.gives, *(self.element for _ in traces)]
        start = [*(states[name] for name in self.states)]
        start += [code.filled(dims, code.number(0, element)) for element in elements]

        def turn(at: str, carried: list[Array]) -> list[Array]:
            own = dict(zip(self.states, carried, strict=False))
            block = [code.part(x, [at, *(0 for _ in dims[1:])], (room, *dims[1:])) for x in inputs]
            given = [[code.item(x, k) for x in block] for k in range(room)]
            made = self._steps(code, given, own, traced, (at, count))
            lines = [*zip(*made.results, strict=True), *(made.histories[name] for name in traces)]
            rooms = zip(lines, carried[len(own) :], strict=True)
            placed = [code.placed(code.stacked(line), into, at) for line, into in rooms]
            return [*(made.states[name] for name in self.states), *placed]

        found = code.repeated(start, count, room, turn)
        ends, streams = found[: len(self.states)], found[len(self.states) :]
        return Traces(
            streams[: len(self.gives)],
            dict(zip(self.states, ends, strict=True)),
            dict(zip(traces, streams[len(self.gives) :], strict=True)),
        )

    def steps_at_once(self, time: int, traced: bool) -> int:
        """Return how many steps one operation takes: a divisor of all."""
        states = len(self.states)
        fixed = 2 * states + len(self._held) + len(self.program.inputs)
        each = len(self.program.outputs) + (states if traced else 0)
        most = max(1, min(BLOCK, (BUFFERS - fixed) // each))
        return max(n for n in range(1, most + 1) if time % n == 0)

    def _steps(
        self, code: Code, inputs: Sequence[Sequence[Array]], states: Mapping[str, Array],
        traced: bool, masked: tuple[str, str] | None = None,
    ) -> Steps:  # fmt: skip
        """Write some steps as one operation.

        Args:
            code: Where it goes.
            inputs: Of every step: one array [batch, *features] per input of the program.
            states: By name.
            traced: Whether the states after every step are wanted.
            masked: Names of the first step, and of the number of steps that count.
        """
        dims = inputs[0][0].dims
        everywhere = axes(len(dims))
        reads: list[Use] = [(x, everywhere) for step in inputs for x in step]
        params: list[tuple[str, int, int, Read]] = []
        for name, held in self._held.items():
            own, value = held.spread(code, dims[1:], self.element)
            params.append((name, len(reads), len(reads) + len(own), value))
            reads += own
        begin = len(reads)
        reads += [(states[name], everywhere) for name in self.states]
        traces = self.states if traced else []
        elements = [*self.gives, *(self.element for _ in traces)] * len(inputs)
        elements += [self.element for _ in self.states]
        writes: list[Use] = [(code.empty(dims, element), everywhere) for element in elements]

        def body(given: list[Scalar]) -> list[Scalar]:
            own = dict(zip(self.states, given[begin:], strict=False))
            known = {name: value(given[start:end]) for name, start, end, value in params}
            found: list[Scalar] = []
            for k, step in enumerate(inputs):
                xs = given[k * len(step) : (k + 1) * len(step)]
                outputs, new = self._advance(code, xs, own, known)
                if masked is not None:
                    nothing = [code.number(0, output.element) for output in outputs]
                    before = [*nothing, *(own[name] for name in self.states)]
                    after = [*outputs, *(new[name] for name in self.states)]
                    after = self._counted(code, before, after, k, masked)
                    outputs = after[: len(outputs)]
                    new = dict(zip(self.states, after[len(outputs) :], strict=True))
                own = new
                found += [*outputs, *(new[name] for name in traces)]
            return [*found, *(own[name] for name in self.states)]

        made = code.loop([PARALLEL] * len(dims), reads, writes, body)
        size = len(self.gives) + len(traces)
        rows = [made[k * size : (k + 1) * size] for k in range(len(inputs))]
        return Steps(
            [row[: len(self.gives)] for row in rows],
            dict(zip(self.states, made[len(inputs) * size :], strict=True)),
            {n: [row[len(self.gives) + k] for row in rows] for k, n in enumerate(traces)},
        )

    def _advance(
        self, code: Code, xs: Sequence[Scalar], states: Mapping[str, Scalar],
        params: Mapping[str, Scalar],
    ) -> tuple[list[Scalar], dict[str, Scalar]]:  # fmt: skip
        """Write one step of one neuron; return what it gives and the new states."""
        program = self.program
        inputs = {n: code.cast(x, self.element) for n, x in zip(program.inputs, xs, strict=True)}
        values = write_program(code, program, {**states, **params, **inputs}, self.element)
        new = {
            name: value_of(code, values, update, self.element) for name, update in program.updates
        }
        given = zip(program.outputs, self.gives, strict=True)
        return [code.cast(values[name], element) for (name, _), element in given], new

    def _counted(
        self, code: Code, old: Sequence[Scalar], new: Sequence[Scalar], step: int,
        masked: tuple[str, str],
    ) -> list[Scalar]:  # fmt: skip
        """Return new values if a step counts, else the old ones."""
        first, count = masked
        place = code.op(f"arith.addi {first}, {code.index(step)} : index")
        counts = code.op(f"arith.cmpi slt, {place}, {count} : index")
        return [
            code.scalar(f"arith.select {counts}, {b.name}, {a.name}", a.element)
            for a, b in zip(old, new, strict=True)
        ]
