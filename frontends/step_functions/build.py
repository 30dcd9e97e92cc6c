"""From a traced step to a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.dynamics.program import Dynamics, Let, State
from snnir.errors import error
from snnir.frontends.step_functions.clusters import clusters
from snnir.frontends.step_functions.kinds import stream_kinds
from snnir.frontends.step_functions.limits import whole_numbers
from snnir.frontends.step_functions.lookahead import looked_ahead
from snnir.frontends.step_functions.nodes import Nodes, structural
from snnir.frontends.step_functions.paths import identifier
from snnir.frontends.step_functions.programs import Cluster, Program, node_stem, program_of
from snnir.frontends.step_functions.simplify import readers
from snnir.frontends.step_functions.stated import unstated
from snnir.frontends.step_functions.states import Part, separated
from snnir.frontends.step_functions.traced import Equation, Leaf, Operand, Traced
from snnir.ir.graph import Graph, Node, Provenance, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.structure import Add
from snnir.ir.synapses import Bias, Scale
from snnir.ir.timing import Delay
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor


@dataclass(frozen=True)
class Place:
    """Where the new value of a part of the user's state can be seen in a run.

    Attributes:
        part: Which leaf of the user's state, and how to cut it.
        record: What to record, `node:state`, or empty.
        value: Else the value that is the state after the step.
    """

    part: Part
    record: str = ""
    value: Value | None = None


@dataclass(frozen=True)
class Built:
    """A graph and where the step's states are in it."""

    graph: Graph
    places: tuple[Place, ...]


def build(traced: Traced, dt: float | None = None) -> Graph:
    """Return the graph of a traced step.

    Args:
        traced: The step, per sample.
        dt: Seconds per step, to be noted in the graph.

    Raises:
        SnnirError: SNN803 for what a graph does not express.
    """
    return built(traced, dt).graph


def built(traced: Traced, dt: float | None = None) -> Built:
    """Return the graph of a traced step, and where its states are."""
    if not traced.inputs:
        raise error("SNN801", "the step function has no input")
    step, parts = separated(traced)
    step = looked_ahead(step)
    return _Build(step, parts).run(dt)


class _Build:
    """One graph in the making."""

    def __init__(self, step: Traced, parts: Mapping[str, Part]) -> None:
        self.step, self.parts = step, parts
        self.kinds = stream_kinds(step)
        self.types = step.types()
        self.leaves = {leaf.name: leaf for leaf in step.states}
        self.group = clusters(step)
        self.by_name = {e.result: e for e in step.equations}
        self.uses = readers(step)
        self.nodes = Nodes()
        self.values: dict[str, Value] = {}
        self.homes = {leaf.name: self._home(leaf) for leaf in step.states}
        self.programs: dict[int, tuple[str, Program]] = {}
        self.unstated: set[str] = set()
        self.populations = {node_stem([leaf]) for leaf in step.states}

    # --- Where states live -----------------------------------------------------------------------

    def _home(self, leaf: Leaf) -> int | None:
        """Return the cluster whose state a leaf is: the one that reads it and gives its value."""
        seen = {self.group.get(e.result) for e in self.uses.get(leaf.name, [])}
        if not isinstance(leaf.new, str) or leaf.new in self.step.constants:
            return next((g for g in sorted(g for g in seen if g is not None)), None)
        maker = self.group.get(leaf.new)
        return maker if maker in seen else None

    def _reads_old(self, leaf: Leaf) -> bool:
        """Whether anything but its home reads a leaf's old value."""
        home = self.homes[leaf.name]
        given = [*(v for _, v in self.step.outputs), *(x.new for x in self.step.states)]
        return leaf.name in given or any(
            self.group.get(e.result) != home or home is None for e in self.uses.get(leaf.name, [])
        )

    # --- Nodes -----------------------------------------------------------------------------------

    def run(self, dt: float | None) -> Built:
        step = self.step
        for variable in step.inputs:
            kind = self.kinds[variable.name]
            name = self.nodes.editor.fresh(variable.name)
            self.values[variable.name] = self.nodes.input(name, kind, variable.shape)
        delayed = [leaf for leaf in step.states if self._reads_old(leaf)]
        names = [leaf.name for leaf in delayed]
        self.unstated = unstated(step, self.group, self.homes, names)
        for leaf in delayed:
            self._promise(leaf)
        self._compute()
        for leaf in delayed:
            self._delay(leaf)
        outputs = {name: self._output(name, value) for name, value in step.outputs}
        graph = Graph(
            nodes=self.nodes.editor.nodes,
            outputs=outputs,
            dt=dt,
            name=identifier(step.name, "main"),
            provenance=Provenance(source=step.source, notes=(*step.notes, *whole_numbers(step))),
        ).verify()
        return Built(graph, tuple(self._places()))

    def _output(self, name: str, operand: Operand) -> Value:
        if isinstance(operand, str) and operand in self.values:
            return self.values[operand]
        raise error("SNN803", f"output {name} depends on neither input nor state")

    def _places(self) -> list[Place]:
        found = []
        for name, part in self.parts.items():
            leaf = self.leaves.get(name)
            if leaf is None:
                continue
            home = self.homes[name]
            if home is not None:
                node, program = self.programs[home]
                if name in program.states:
                    found.append(Place(part, record=f"{node}:{program.states[name]}"))
                    continue
            if isinstance(leaf.new, str) and leaf.new in self.values:
                found.append(Place(part, value=self.values[leaf.new]))
        return found

    def _starts(self, leaf: Leaf) -> bool:
        """Whether a program gives a leaf's initial value, and states its shape for inference."""
        return bool(leaf.initial.any()) or leaf.name in self.unstated

    def _promise(self, leaf: Leaf) -> None:
        """Name the node that gives a leaf's old value, before what feeds it is there."""
        stem = leaf.name if self._starts(leaf) else f"{leaf.name}.delay"
        name = self.nodes.editor.fresh(stem)
        value = self.nodes.promise(name, self.kinds[leaf.name], leaf.shape)
        self.nodes.editor.add(name, Delay(1), [])
        self.values[leaf.name] = value

    def _delay(self, leaf: Leaf) -> None:
        """Give a leaf's old value: its new value a step later, and the initial one at first."""
        promised = self.values[leaf.name]
        if not isinstance(leaf.new, str) or leaf.new not in self.values:
            raise error("SNN803", f"state {leaf.path or leaf.name} becomes a constant")
        new = self.values[leaf.new]
        if not self._starts(leaf):
            self._replace(promised, Delay(1), [self._of_kind(new, promised)])
            return
        late = self.nodes.add(f"{leaf.name}.delay", Delay(1), [new])
        first = _first(leaf, self.kinds[leaf.name])
        self._replace(promised, first, [self.nodes.current(late)])

    def _of_kind(self, new: Value, promised: Value) -> Value:
        wanted = self.nodes.kinds[promised]
        return self.nodes.current(new) if wanted is Kind.ANALOG else new

    def _replace(self, promised: Value, op: Op, operands: list[Value]) -> None:
        self.nodes.editor.put(Node(promised.node, op, tuple(operands)))

    # --- Computing -------------------------------------------------------------------------------

    def _compute(self) -> None:
        """Add nodes in order of flow: an equation of a program when all the program reads is."""
        waiting: dict[int, list[Equation]] = {}
        for equation in self.step.equations:
            if equation.is_elementwise:
                waiting.setdefault(self.group[equation.result], []).append(equation)
        todo: list[Equation | int] = [
            *(e for e in self.step.equations if not e.is_elementwise),
            *waiting,
        ]
        made = {group: self._cluster(group, tuple(es)) for group, es in waiting.items()}
        while todo:
            later = []
            for item in todo:
                wanted = item.names if isinstance(item, Equation) else made[item].inputs
                if all(n in self.values or n in self.step.constants for n in wanted):
                    self._make(item, made)
                else:
                    later.append(item)
            if len(later) == len(todo):
                raise AssertionError("clusters form no cycle")
            todo = later

    def _make(self, item: Equation | int, made: Mapping[int, Cluster]) -> None:
        if isinstance(item, Equation):
            operands = [self._stream(operand) for operand in item.operands]
            name = self._node_name(item)
            found = structural(self.nodes, name, item, operands, self.step.constants)
            self.values[item.result] = found
        else:
            self._program(item, made[item])

    def _stream(self, operand: Operand) -> Value:
        if isinstance(operand, str) and operand in self.values:
            return self.values[operand]
        array = self.step.constants[operand] if isinstance(operand, str) else np.float32(operand)
        return self.nodes.constant(np.asarray(array))

    def _node_name(self, equation: Equation) -> str:
        label = self.step.labels.get(equation.attributes.get("weight", ""), "")
        parts = [part for part in label.split(".") if part]
        is_plain = len(parts) > 1 and parts[-1] in ("w", "W", "weight", "kernel", "weights")
        if is_plain and ".".join(parts[:-1]) not in self.populations:
            parts = parts[:-1]
        text = ".".join(part if part.isdigit() else identifier(part, "layer") for part in parts)
        return text or equation.op

    def _cluster(self, group: int, equations: tuple[Equation, ...]) -> Cluster:
        own = {e.result for e in equations}
        leaves = tuple(leaf for leaf in self.step.states if self.homes[leaf.name] == group)
        kept = {leaf.name for leaf in leaves}
        read = [name for e in equations for name in e.names]
        inputs = tuple(
            dict.fromkeys(n for n in read if n not in own | kept and n not in self.step.constants)
        )
        outputs = tuple(e.result for e in equations if self._leaves_group(e.result, group))
        return Cluster(equations, leaves, inputs, outputs)

    def _leaves_group(self, name: str, group: int) -> bool:
        if any(value == name for _, value in self.step.outputs):
            return True
        if any(self.group.get(e.result) != group for e in self.uses.get(name, [])):
            return True
        return any(
            leaf.new == name and (self.homes[leaf.name] != group or self._reads_old(leaf))
            for leaf in self.step.states
        )

    def _program(self, group: int, cluster: Cluster) -> None:
        plain = _plain(cluster, self.step)
        operands = [self.values[name] for name in cluster.inputs]
        if plain is not None:
            name, op, order = plain
            result = cluster.equations[0].result
            self.values[result] = self.nodes.add(name, op, [operands[i] for i in order])
            return
        stem = node_stem(cluster.leaves) if cluster.leaves else "pointwise"
        name = self.nodes.editor.fresh(stem)
        unused = 0 if operands else 1
        if unused:
            operands = [self.nodes.constant(np.zeros(cluster.shape, np.float32))]
        outputs = cluster.outputs or (cluster.equations[-1].result,)
        cluster = Cluster(cluster.equations, cluster.leaves, cluster.inputs, outputs)
        program = program_of(cluster, self.step, self.kinds, stem, unused)
        value = self.nodes.add(
            name, Step(program.dynamics, program.params), operands, cluster.shape
        )
        self.programs[group] = (value.node, program)
        for at, result in enumerate(cluster.outputs):
            out = Value(value.node, at)
            self.nodes.kinds[out] = program.dynamics.outputs[at][1]
            self.nodes.shapes[out] = cluster.shape
            self.values[result] = out


def _plain(cluster: Cluster, step: Traced) -> tuple[str, Op, list[int]] | None:
    """Return the op of a single sum, factor or offset, and the order of its operands."""
    if len(cluster.equations) != 1 or cluster.leaves:
        return None
    (equation,) = cluster.equations
    streams = [o for o in equation.operands if isinstance(o, str) and o not in step.constants]
    others = [o for o in equation.operands if o not in streams]
    if equation.op == "add" and not others:
        return "add", Add(), [cluster.inputs.index(name) for name in streams]
    if len(streams) != 1 or len(others) != 1 or equation.op not in ("add", "mul", "sub"):
        return None
    (other,) = others
    array = np.asarray(step.constants[other] if isinstance(other, str) else other, np.float32)
    if equation.op == "mul":
        return "scale", Scale(Tensor(array)), [0]
    if equation.op == "add":
        return "bias", Bias(Tensor(array)), [0]
    if equation.operands[0] == streams[0]:
        return "bias", Bias(Tensor(-array)), [0]
    return None


def _first(leaf: Leaf, kind: Kind) -> Step:
    """Return the program that gives a state's initial value at the first step, then its input."""
    program = Dynamics(
        name="first",
        inputs=("x",),
        params=(("start", "1"),),
        states=(State("started"),),
        body=(Let("later", "gt", ("started", 0.0)), Let("y", "select", ("later", "x", "start"))),
        updates=(("started", 1.0),),
        outputs=(("y", kind),),
    )
    values = np.array(leaf.initial, np.float32)
    return Step(program, FrozenDict({"start": Tensor(values)}))
