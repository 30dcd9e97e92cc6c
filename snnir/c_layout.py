"""How a graph lies in C: identifiers, element types, and which values are other values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from snnir.bounds import precision_for, value_bounds
from snnir.dynamics.c_source import c_type
from snnir.dynamics.intervals import Interval, invariant
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.ir.structure import Current, Flatten, Input, Reshape
from snnir.ir.timing import Delay
from snnir.scheduling import Schedule, schedule
from snnir.streams import Kind

#: Bytes of an element.
SIZES = {
    "int8_t": 1, "uint8_t": 1, "float": 4, "double": 8, "int16_t": 2, "int32_t": 4, "int64_t": 8,
}  # fmt: skip


@dataclass
class Layout:
    """What the parts of the emitter need to know of a graph.

    Attributes:
        graph: A verified graph of step programs.
        precision: `float32` or `float64`, of streams and states that are real.
        whole_outputs: Whether what populations of integers give out stays whole.
    """

    graph: Graph
    precision: str = "float32"
    whole_outputs: bool = False
    _types: dict[Value, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wide = precision_for(self.graph, self.precision) == "float64"
        self.real = "double" if wide else "float"
        order = {name: index for index, name in enumerate(self.graph.nodes)}
        self.names = {name: f"n{index}_{plain(name)}" for name, index in order.items()}

    @cached_property
    def schedule(self) -> Schedule:
        """The order of everything."""
        return schedule(self.graph)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every population steps in integers."""
        steps = [n.op for n in self.graph.nodes.values() if isinstance(n.op, Step)]
        return bool(steps) and all(op.program.is_whole for op in steps)

    @cached_property
    def bounds(self) -> dict[Value, Interval]:
        """What is proved of every value."""
        return value_bounds(self.graph)

    @cached_property
    def wide(self) -> set[Value]:
        """The streams of integers that 32 bits cannot hold."""
        whole = [v for v, signal in self.graph.signals.items() if signal.dtype.startswith("i")]
        return {value for value in whole if not _end(self.bounds[value]) < 2**31}

    def state_types(self, node: Node) -> dict[str, str]:
        """Return the C type in which each state of a population is kept."""
        op = node.op
        assert isinstance(op, Step)
        own = self.kind_of(op)
        if op.program.lasting and op.program.is_whole:
            # What is given of an earlier run is not what the bounds were proved of.
            return {state.name: "int64_t" for state in op.program.states}
        if not op.program.is_whole:
            return {state.name: own for state in op.program.states}
        inputs = [self.bounds[value] for value in node.operands]
        known = dict(zip(op.program.inputs, inputs, strict=True))
        known |= {name: Interval.of(value.numpy()) for name, value in op.params.items()}
        ends = {name: _end(bound) for name, bound in invariant(op.program, known).items()}
        return {
            state.name: next(
                (kind for kind, top in _WHOLE.items() if ends[state.name] < top), own
            )
            for state in op.program.states
        }  # fmt: skip

    def ctype(self, value: Value) -> str:
        """Return the C type of the elements of a value."""
        found = self._types.get(value)
        if found is None:
            found = self._types[value] = self._ctype(value)
        return found

    def _ctype(self, value: Value) -> str:
        signal = self.graph.signals[value]
        if signal.kind is Kind.SPIKES:
            return "uint8_t"
        if signal.dtype.startswith("i"):
            return "int64_t" if value in self.wide else "int32_t"
        op = self.graph.nodes[value.node].op
        if self.whole_outputs and isinstance(op, Step) and op.program.is_whole:
            return self.kind_of(op)
        if signal.kind is Kind.COUNTS and self.is_whole:
            return "int32_t"
        return self.real

    def kind_of(self, op: Step | Plastic) -> str:
        """Return the C type of the arithmetic of a population, or of a rule."""
        own = c_type(op.rule if isinstance(op, Plastic) else op.program)
        return "double" if own == "float" and self.real == "double" else own

    def size(self, value: Value) -> int:
        """Return the number of elements of one sample of a value."""
        return prod(self.graph.signals[value].shape)

    def ident(self, value: Value) -> str:
        """Return the identifier of a value."""
        return self.names[value.node] + (f"_{value.result}" if value.result else "")

    def root(self, value: Value) -> Value:
        """Return the value that holds the same elements in memory."""
        node = self.graph.nodes[value.node]
        if isinstance(node.op, (Flatten, Reshape, Current)) or _is_no_delay(node):
            source = node.operands[0]
            if self.ctype(source) == self.ctype(value):
                return self.root(source)
        return value

    def is_alias(self, node: Node) -> bool:
        """Whether a node only gives another name to a value."""
        if isinstance(node.op, Input):
            return False
        value = Value(node.name)
        return self.root(value) != value


#: Types of states, and what they hold.
_WHOLE = {"int16_t": 2.0**15, "int32_t": 2.0**31}


def _end(bound: Interval) -> float:
    """Return the largest size of an element, one below the smallest counted as one above."""
    return float(np.maximum(-bound.low - 1, bound.high).max(initial=0.0))


def _is_no_delay(node: Node) -> bool:
    return isinstance(node.op, Delay) and node.op.longest == 0


def plain(name: str) -> str:
    """Return what reminds of a name in an identifier."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:40].strip("_").lower() or "node"
