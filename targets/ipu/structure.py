"""From a graph to stages: what is computed together, in which order, from what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from snnir.c_layout import Layout
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import (
    Add,
    Concat,
    Current,
    Flatten,
    Input,
    Pad,
    Permute,
    Reshape,
    Slice,
)
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner

T = TypeVar("T")

#: Ops that give each element of a result from the same element of their operands.
ELEMENTWISE = (Add, Scale, Bias, BatchNorm)
#: Ops that read other elements than their own.
GATHERING = (
    Linear, SparseLinear, Conv1d, Conv2d, SumPool2d, AvgPool2d, MaxPool2d, Slice, Permute, Pad,
    Concat,
)  # fmt: skip
#: Longest chain of ops that one stage computes.
_DEEPEST = 64
#: What a stage is for.
INPUT, COMPUTE, DELAY = "input", "compute", "delay"


@dataclass(frozen=True)
class Read:
    """One operand of an op inside a stage that is kept on tiles.

    Attributes:
        node: The op that reads it.
        source: The value as it is kept.
        same: Whether element i of the op needs just element i.
        late: Whether what the value was in the step before is read.
    """

    node: str
    source: Value
    same: bool
    late: bool = False


@dataclass(frozen=True)
class Stage:
    """What a worker computes at once: an op, and the ops only it reads.

    Attributes:
        name: Of the node whose results it gives.
        kind: `INPUT`, `COMPUTE` or `DELAY` (a delay of at least one step, at the end of a step).
        size: Elements of a result.
        inside: The nodes it computes, in order of flow; the last is its own.
        reads: What it reads.
        results: The values it gives.
        level: Stages of a level are computed together; inputs are level 0.
    """

    name: str
    kind: str
    size: int
    inside: tuple[str, ...]
    reads: tuple[Read, ...]
    results: tuple[Value, ...]
    level: int = 0


@dataclass
class Structure:
    """The stages of a discrete graph.

    Attributes:
        graph: The graph.
        keep: Whether every op is a stage of its own, so that all of them can be recorded.
    """

    graph: Graph
    keep: bool = False
    layout: Layout = field(init=False)
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.layout = Layout(self.graph)

    def once(self, what: str, node: str, make: Callable[[], T]) -> T:
        """Return something of a node that is the same however its stage is cut; made once."""
        if (what, node) not in self._known:
            self._known[what, node] = make()
        found: T = self._known[what, node]
        return found

    # --- Values ----------------------------------------------------------------------------------

    def root(self, value: Value) -> Value:
        """Return the value whose elements another name stands for."""
        return self._roots.get(value.node, value)

    @cached_property
    def _roots(self) -> dict[str, Value]:
        """What every node that is only another name stands for."""
        found: dict[str, Value] = {}
        for name in self.graph.order:
            node = self.graph.nodes[name]
            if is_alias(node):
                (source, *_) = node.operands
                found[name] = found.get(source.node, source)
        return found

    @cached_property
    def readers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, through its other names; a node counts once per read."""
        found: dict[Value, list[Node]] = {}
        for node in self.graph.nodes.values():
            if not is_alias(node):
                for value in node.operands:
                    found.setdefault(self.root(value), []).append(node)
        return found

    @cached_property
    def outputs(self) -> set[Value]:
        """The values that the graph gives."""
        return {self.root(value) for value in self.graph.outputs.values()}

    def is_inside(self, name: str) -> bool:
        """Return whether a node is computed where its only reader is, and kept nowhere."""
        return self._depths.get(name, 0) > 0

    @cached_property
    def _depths(self) -> dict[str, int]:
        """How many nodes deep is what is computed inside another, up to each such node."""
        found: dict[str, int] = {}
        for name in self.graph.order:
            node = self.graph.nodes[name]
            if self._could_be_inside(node):
                sources = [self.root(value).node for value in node.operands]
                depth = 1 + max((found.get(source, 0) for source in sources), default=0)
                found[name] = depth if depth <= _DEEPEST else 0
        return found

    def _could_be_inside(self, node: Node) -> bool:
        value = Value(node.name)
        readers = self.readers.get(value, [])
        if self.keep or isinstance(node.op, (Input, Step, Delay, Winner)) or len(readers) != 1:
            return False
        if is_alias(node) or value in self.outputs:
            return False
        if not isinstance(readers[0].op, (*ELEMENTWISE, Step)):
            return False
        return self.graph.signal(node.name).size == self.graph.signal(readers[0].name).size

    def is_previous(self, node: Node) -> bool:
        """Return whether a node stands for what its operand was in the step before.

        Such a value is sent at the beginning of a step, when its memory still holds it, and needs
        no stage. Who reads element by element does so in place, which may be too late; delays are
        a step ahead.
        """
        op = node.op
        if self.keep or not isinstance(op, Delay) or op.shortest != 1 or op.longest != 1:
            return False
        value, source = Value(node.name), self.graph.nodes[self.root(node.operands[0]).node]
        others = self.readers.get(value, [])
        gathering = all(isinstance(other.op, (*GATHERING, Winner)) for other in others)
        return gathering and value not in self.outputs and not isinstance(source.op, Delay)

    # --- Stages ----------------------------------------------------------------------------------

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages by name: inputs, then by level, delays that end a step last."""
        found = [self._stage(node) for node in map(self.graph.nodes.get, self.graph.order) if node
                 and not is_alias(node) and not self.is_inside(node.name)
                 and not self.is_previous(node)]  # fmt: skip
        levels = self._levels({stage.name: stage for stage in found})
        placed = [
            Stage(s.name, s.kind, s.size, s.inside, s.reads, s.results, levels[s.name])
            for s in found
        ]
        return {stage.name: stage for stage in sorted(placed, key=lambda stage: stage.level)}

    def _stage(self, node: Node) -> Stage:
        op = node.op
        kind = COMPUTE
        if isinstance(op, Input):
            kind = INPUT
        elif isinstance(op, Delay) and op.shortest > 0:
            kind = DELAY
        inside = list(self._inside(node))
        reads = tuple(read for name in inside for read in self._reads(self.graph.nodes[name]))
        count = len(op.program.outputs) if isinstance(op, Step) else 1
        results = tuple(Value(node.name, index) for index in range(count))
        size = self.graph.signal(node.name).size
        return Stage(node.name, kind, size, tuple(inside), reads, results)

    def _inside(self, node: Node) -> Iterator[str]:
        """Yield the nodes that are computed with one, operands first."""
        for value in node.operands:
            source = self.root(value)
            if not isinstance(node.op, Input) and self.is_inside(source.node):
                yield from self._inside(self.graph.nodes[source.node])
        yield node.name

    def _reads(self, node: Node) -> Iterator[Read]:
        for value in node.operands:
            source = self.root(value)
            if self.is_inside(source.node):
                continue
            origin = self.graph.nodes[source.node]
            if self.is_previous(origin):
                yield Read(node.name, self.root(origin.operands[0]), False, late=True)
                continue
            equal = self.graph.signals[source].size == self.graph.signal(node.name).size
            same = equal and not isinstance(node.op, (*GATHERING, Winner))
            yield Read(node.name, source, same)

    def _levels(self, stages: dict[str, Stage]) -> dict[str, int]:
        found = {name: 0 for name, stage in stages.items() if stage.kind != COMPUTE}
        for name in self.graph.order:
            if name in stages and name not in found:
                sources = [read.source.node for read in stages[name].reads if not read.late]
                found[name] = 1 + max((found[source] for source in sources), default=0)
        last = 1 + max(found.values(), default=0)
        delays = {name: last for name, stage in stages.items() if stage.kind == DELAY}
        # A delay that reads another one comes first, while that still holds what it gave.
        for first in delays:
            name, source = first, stages[first].reads[0].source.node
            while source in delays and delays[source] <= delays[name]:
                delays[source] = delays[name] + 1
                name, source = source, stages[source].reads[0].source.node
        return found | delays

    def stage_of(self, value: Value) -> Stage:
        """Return the stage that gives a value."""
        return self.stages[self.root(value).node]

    @cached_property
    def groups(self) -> list[list[str]]:
        """Stages that are cut alike and share tiles, since one reads the other element by element.

        In the order of the first stage of each.
        """
        owner = {name: name for name in self.stages}

        def find(name: str) -> str:
            while owner[name] != name:
                owner[name] = owner[owner[name]]
                name = owner[name]
            return name

        for stage in self.stages.values():
            for read in stage.reads:
                if read.same:
                    owner[find(stage.name)] = find(read.source.node)
        groups: dict[str, list[str]] = {}
        for name in self.stages:
            groups.setdefault(find(name), []).append(name)
        return list(groups.values())


def is_alias(node: Node) -> bool:
    """Return whether a node gives nothing but another name, shape or kind to its operand."""
    op = node.op
    if isinstance(op, Delay):
        return op.longest == 0
    return isinstance(op, (Flatten, Reshape, Current)) or (
        isinstance(op, Add) and len(node.operands) == 1
    )
