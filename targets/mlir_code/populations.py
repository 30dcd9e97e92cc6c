"""Populations in linalg: one step, or a scan over time that is one operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from snnir.c_layout import Layout
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.targets.mlir_code.code import (
    PARALLEL,
    REDUCTION,
    Array,
    Code,
    Extent,
    Scalar,
    Use,
    axes,
)
from snnir.targets.mlir_code.scalars import value_of, write_program
from snnir.targets.mlir_code.weights import Read, Weights

#: MLIR's element types by those of C, apart from spikes.
ELEMENTS = {"float": "f32", "double": "f64", "int32_t": "i32", "int64_t": "i64"}


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
class Traces:
    """What a scan gives.

    Attributes:
        results: The streams, one per output of the program.
        states: The states after the last step, by name.
        histories: The states after every step, by name, if they were asked for.
    """

    results: list[Array]
    states: dict[str, Array]
    histories: dict[str, Array] = field(default_factory=dict)


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

    def initial(self, code: Code, dims: Sequence[Extent]) -> dict[str, Array]:
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
        made = self._loop(code, inputs, states, [PARALLEL] * len(inputs[0].dims), 0, False)
        return made.results, made.states

    def scan(
        self, code: Code, inputs: Sequence[Array], states: Mapping[str, Array], traced: bool
    ) -> Traces:
        """Write all steps of [time, batch, *features] as one loop that goes over time in order.

        Time is a reduction: the states are what is carried. No pass may reorder it, since what is
        carried is not one associative operation.
        """
        kinds = [REDUCTION, *[PARALLEL] * (len(inputs[0].dims) - 1)]
        return self._loop(code, inputs, states, kinds, 1, traced)

    def _loop(
        self, code: Code, inputs: Sequence[Array], states: Mapping[str, Array],
        kinds: Sequence[str], first: int, traced: bool,
    ) -> Traces:  # fmt: skip
        dims = inputs[0].dims
        everywhere, kept = axes(len(dims)), axes(len(dims) - first, first)
        reads: list[Use] = [(x, everywhere) for x in inputs]
        params: list[tuple[str, int, int, Read]] = []
        for name, held in self._held.items():
            own, value = held.spread(code, dims[1 + first :], self.element, 1 + first)
            params.append((name, len(reads), len(reads) + len(own), value))
            reads += own
        traces = self.states if traced else []
        rooms = [code.empty(dims, element) for element in self.gives]
        rooms += [code.empty(dims, self.element) for _ in traces]
        writes: list[Use] = [(room, everywhere) for room in rooms]
        writes += [(states[name], kept) for name in self.states]

        def body(given: list[Scalar]) -> list[Scalar]:
            own = dict(zip(self.states, given[len(given) - len(self.states) :], strict=True))
            count = len(self.program.inputs)
            for name, x in zip(self.program.inputs, given[:count], strict=True):
                own[name] = code.cast(x, self.element)
            for name, start, end, value in params:
                own[name] = value(given[start:end])
            values = write_program(code, self.program, own, self.element)
            updates = {
                name: value_of(code, values, update, self.element)
                for name, update in self.program.updates
            }
            outputs = [
                code.cast(values[name], element)
                for (name, _), element in zip(self.program.outputs, self.gives, strict=True)
            ]
            return [*outputs, *(updates[n] for n in traces), *(updates[n] for n in self.states)]

        made = code.loop(kinds, reads, writes, body)
        results, rest = made[: len(self.gives)], made[len(self.gives) :]
        return Traces(
            results,
            dict(zip(self.states, rest[len(traces) :], strict=True)),
            dict(zip(traces, rest[: len(traces)], strict=True)),
        )
