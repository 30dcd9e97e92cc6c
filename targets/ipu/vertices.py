"""A stage with its parts: what each of its vertices reads, keeps, writes and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from snnir.c_values import norm
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Concat, Pad, Permute, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner
from snnir.targets.ipu.leaf import READ, TURN, Leaf, Same
from snnir.targets.ipu.memory import (
    BITS,
    CONSTANT,
    LISTS,
    STATE,
    VALUES,
    Array,
    Cut,
    Field,
    Stream,
    rounded,
)
from snnir.targets.ipu.picks import Best, Pick, spread, tables
from snnir.targets.ipu.structure import DELAY, Read, Stage, Structure
from snnir.targets.ipu.sums import ByEvent, ByRow, Dense, centred_weights, entries_of, weight_type
from snnir.targets.ipu.windows import Convolution, Pool, Scattered

#: Types of states in C as those that tiles keep them in.
KEPT = {"float": "float", "int16_t": "int", "int32_t": "int"}
#: Instructions of operations that take more than one: of float32 as graphcore/poplibs,
#: lib/popops/popopsCycleEstimators.hpp, has them, two elements at a time.
INSTRUCTIONS = {"div": 5, "floordiv": 24, "exp": 3, "log": 7, "tanh": 6, "pow": 312, "fma": 200}
#: Share of spikes that is 1 for which a convolution of bits is chosen.
USUAL = 0.1


@dataclass(frozen=True)
class Constant:
    """A parameter as the codelet has it.

    Attributes:
        value: The number, if all elements have it.
        array: Otherwise the elements of the stage, [size].
    """

    value: Any = None
    array: Array | None = None


@dataclass
class Vertices:
    """A stage in parts.

    Attributes:
        structure: The graph's stages.
        stage: The stage.
        streams: Every value that is read or given, as it is kept.
        batch: Samples that are stepped together.
        half: Whether synaptic weights are kept in 16 bits.
    """

    structure: Structure
    stage: Stage
    streams: Mapping[Value, Stream]
    batch: int = 1
    half: bool = False

    @property
    def cut(self) -> Cut:
        """Its parts, which are those of its results."""
        return self.streams[self.stage.results[0]].cut

    @property
    def node(self) -> Node:
        """The node whose results it gives."""
        return self.structure.graph.nodes[self.stage.name]

    # --- What it reads ---------------------------------------------------------------------------

    @cached_property
    def leaves(self) -> list[Leaf]:
        """One leaf for each read."""
        found = []
        for number, read in enumerate(self.stage.reads):
            place = sum(1 for r in self.stage.reads[:number] if r.node == read.node)
            found.append(self._leaf(number, read, place))
        return found

    def _leaf(self, number: int, read: Read, place: int) -> Leaf:
        graph = self.structure.graph
        node, stream = graph.nodes[read.node], self.streams[read.source]
        kind = self.ctype(Value(read.node))
        given: dict[str, Any] = {
            "number": number, "node": node, "stream": stream, "cut": self.cut, "total": kind,
            "half": self.half,
        }  # fmt: skip
        op = node.op
        if isinstance(op, (Linear, SparseLinear, Conv1d, Conv2d)):
            given["kind"] = kept_type(self.structure, node, self.half)
        if isinstance(op, (Linear, SparseLinear)):
            return self._matrix(op, node, given)
        if isinstance(op, (Conv1d, Conv2d)):
            shape, space = (graph.signals[node.operands[0]].shape, graph.signal(node.name).shape)
            given |= {"shape": _three(shape), "space": _three(space)[1:]}
            return self._convolution(given)
        if isinstance(op, Winner):
            return Best(**{**given, "total": stream.ctype})
        if isinstance(op, (Slice, Permute, Pad, Concat)):
            return Pick(**given, table=self._picked(node)[place])
        if hasattr(op, "reduction"):
            shape, space = (graph.signals[node.operands[0]].shape, graph.signal(node.name).shape)
            return Pool(**given, shape=_three(shape), space=_three(space)[1:])
        given["total"] = stream.ctype
        if read.same:
            return Same(**given)
        small = graph.signals[node.operands[place]].shape
        return Pick(**given, table=spread(small, graph.signal(node.name).shape))

    def _convolution(self, given: dict[str, Any]) -> Leaf:
        """Return a convolution by event or by element: lists have only events, bits both."""
        by_element, by_event = Convolution(**given), Scattered(**given)
        form = given["stream"].form
        if form == VALUES:
            return by_element
        slower = by_event.work(USUAL).max() > by_element.work(USUAL).max()
        return by_element if form == BITS and slower else by_event

    def _matrix(self, op: Linear | SparseLinear, node: Node, given: dict[str, Any]) -> Leaf:
        graph = self.structure.graph
        rows = op.outputs if isinstance(op, SparseLinear) else op.weight.shape[0]
        if isinstance(op, Linear) and rows == graph.signal(node.name).size:
            matrix = self.structure.once("matrix", node.name, lambda: without_zero(op))
            return Dense(**given, matrix=matrix)
        entries = self.structure.once("entries", node.name, lambda: entries_of(op))
        if given["stream"].form == LISTS:
            return ByEvent(**given, entries=entries)
        return ByRow(**given, entries=entries)

    def _picked(self, node: Node) -> list[Array]:
        return self.structure.once("table", node.name, lambda: tables(self.structure.graph, node))

    def ctype(self, value: Value) -> str:
        """Return the C++ type of a number of a value inside codelets."""
        found = self.structure.layout.ctype(value)
        return {"uint8_t": "float", "int32_t": "int"}.get(found, found)

    # --- What it keeps ---------------------------------------------------------------------------

    @cached_property
    def fields(self) -> list[Field]:
        """The memory of its vertices beside streams: of leaves, constants and states."""
        found = [item for leaf in self.leaves for item in leaf.fields()]
        found += [self._constant(*item) for item in self.constants.items() if self._is_array(item)]
        return found + list(self._states())

    @staticmethod
    def _is_array(item: tuple[tuple[str, str], Constant]) -> bool:
        return item[1].array is not None

    @property
    def constants(self) -> dict[tuple[str, str], Constant]:
        """Parameters of its nodes, by node and name."""
        return self.structure.once("constants", self.stage.name, self._constants)

    def _constants(self) -> dict[tuple[str, str], Constant]:
        found: dict[tuple[str, str], Constant] = {}
        for name in self.stage.inside:
            node = self.structure.graph.nodes[name]
            for key, array in self._parameters(node):
                found[name, key] = self._settled(array, name)
        return found

    def _parameters(self, node: Node) -> Iterator[tuple[str, Array]]:
        op = node.op
        if isinstance(op, BatchNorm):
            shape = (-1,) + (1,) * (len(self.structure.graph.signal(node.name).shape) - 1)
            for key, array in zip(("gain", "shift"), norm(op, "float"), strict=True):
                yield key, array.reshape(shape)
        elif isinstance(op, Scale):
            yield "scale", op.scale.numpy()
        elif isinstance(op, (Bias, Linear, SparseLinear, Conv1d, Conv2d)):
            axes = op.rank if isinstance(op, (Conv1d, Conv2d)) else 0
            if op.bias is not None:
                yield "bias", op.bias.numpy().reshape((*op.bias.shape, *(1,) * axes))
        elif isinstance(op, Step):
            yield from ((name, value.numpy()) for name, value in op.params.items())
        elif isinstance(op, Delay) and not isinstance(op.steps, int):
            yield "steps", op.steps.numpy()

    def _settled(self, array: Array, name: str) -> Constant:
        flat = array.reshape(-1)
        if flat.size == 1 or (flat[0] == flat).all():
            return Constant(flat[0])
        shape = self.structure.graph.signal(name).shape
        return Constant(array=np.broadcast_to(array, shape).reshape(-1))

    def _constant(self, key: tuple[str, str], constant: Constant) -> Field:
        assert constant.array is not None
        array = constant.array
        kind = weight_type(array)
        label, name = ".".join(key), self.constant_name(*key)
        return Field(name, kind, CONSTANT, self.cut.lengths(), lambda: array, label)

    def constant_name(self, node: str, key: str) -> str:
        """Return the field of a parameter."""
        return f"p{self.stage.inside.index(node)}_{key}"

    def _states(self) -> Iterator[Field]:
        sizes = self.cut.lengths() * self.batch
        node, op = self.node, self.node.op
        if isinstance(op, Step):
            layout = self.structure.layout
            kinds = self.structure.once("states", node.name, lambda: layout.state_types(node))
            for state in op.program.states:
                data = self._initial(op, state.initial)
                label = f"{self.node.name}:{state.name}"
                yield Field(f"s_{state.name}", KEPT[kinds[state.name]], STATE, sizes, data, label)
        elif isinstance(op, Delay) and self.held:
            kind = self.held_type
            label = f"{self.node.name}:history"
            yield Field("held", kind, STATE, sizes * self.held, None, label)
            ones = np.ones(self.cut.parts, np.int64)
            yield Field("turn", "unsigned", STATE, ones, None, f"{self.node.name}:turn")

    def _initial(self, op: Step, initial: float | str) -> Callable[[], Array] | None:
        if not isinstance(initial, str) and not initial:
            return None
        value = op.params[initial].numpy() if isinstance(initial, str) else np.asarray(initial)
        shape = self.structure.graph.signal(self.node.name).shape

        def data() -> Array:
            """Return each part's elements once per sample."""
            flat = np.broadcast_to(value, shape).reshape(-1)
            ends = zip(self.cut.firsts(), self.cut.lengths(), strict=True)
            return np.concatenate(
                [np.tile(flat[first : first + n], self.batch) for first, n in ends]
            )

        return data

    @property
    def held(self) -> int:
        """Steps that a delay holds in its ring; what waits in its result is not among them."""
        op = self.node.op
        assert isinstance(op, Delay)
        return op.longest - (self.stage.kind == DELAY)

    @property
    def held_type(self) -> str:
        """C++ type of what a delay holds."""
        stream = self.streams[self.stage.results[0]]
        return stream.ctype if stream.form == VALUES else "unsigned char"

    @property
    def scalars(self) -> list[str]:
        """The numbers that each vertex is given: its elements, and where the items it reads lie."""
        found = ["first", "count"]
        for leaf in self.leaves:
            if not leaf.is_local:
                found += [f"{leaf.given}_first", f"{leaf.given}_width"]
        return found

    # --- What it takes ---------------------------------------------------------------------------

    def vertex_bytes(self) -> int:
        """Return the bytes of a vertex itself: a word for each field and number, and two more.

        Those two are the address of its code and its own, which start it.
        """
        pointers = len(self.leaves) + len(self.fields) + len(self.stage.results)
        return int(rounded(4 * (pointers + len(self.scalars) + 2)))

    def part_bytes(self) -> Array:
        """Return the bytes of each part but for images, [parts]: fields, results, the vertex."""
        own = sum(rounded(self.streams[value].part_bytes) for value in self.stage.results)
        total = np.full(self.cut.parts, own + self.vertex_bytes(), np.int64)
        for item in self.fields:
            total = total + item.bytes
        return total

    def work(self, activity: float) -> Array:
        """Return the instructions of each part in a step, [parts]."""
        each = np.zeros(self.cut.parts)
        for leaf in self.leaves:
            each = each + leaf.work(activity)
        op = self.node.op
        body = instructions(op) if isinstance(op, Step) else 3
        inner = TURN + body + (READ + 1) * len(self.stage.inside)
        total: Array = self.batch * (each + inner * self.cut.lengths() + 10) + 20
        return total


def instructions(op: Step) -> int:
    """Return the instructions of a step of a neuron."""
    body = sum(INSTRUCTIONS.get(let.op, 1) for let in op.program.body)
    return body + 4 * len(op.program.states)


def kept_type(structure: Structure, node: Node, half: bool) -> str:
    """Return the C++ type in which the weights of an op are kept."""
    op = node.op
    assert isinstance(op, (Linear, SparseLinear, Conv1d, Conv2d))
    what = "half weights" if half else "weights"
    return structure.once(what, node.name, lambda: weight_type(centred_weights(op), half))


def _three(shape: tuple[int, ...]) -> Any:
    """Return a shape as channels, height and width."""
    return shape if len(shape) == 3 else (shape[0], 1, prod(shape[1:]))
