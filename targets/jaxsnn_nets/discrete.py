"""A graph of steps as a discrete topology: which module each node becomes, and what reads what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics
from snnir.dynamics.whole import as_float
from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Add, Current, Input
from snnir.ir.synapses import Bias, Linear, Scale
from snnir.ir.timing import Delay
from snnir.loss_report import FLUSHED, NodeLoss, arithmetic_level, computes_reals
from snnir.pipeline import EXACT_REAL
from snnir.targets.jaxsnn_nets.cells import cell_source
from snnir.targets.jaxsnn_nets.natives import native

Array = npt.NDArray[Any]

_SUPPORTED = (Input, Linear, Bias, Scale, Add, Current, Delay, Step)


@dataclass
class Plan:
    """A topology that is to be written.

    Attributes:
        modules: Constructor of every node, by name.
        edges: What every node reads, in order.
        weights: Arrays of the weights file.
        pieces: Functions that the file needs.
        functions: Source of its step programs.
        outputs: Node of every output of the graph.
        populations: Nodes that are populations of the graph.
        native: Those that are jaxsnn's own modules.
        order: Order of a step, None if jaxsnn's own does.
        problems: What cannot be written.
        settings: Arguments of `Topology`.
    """

    settings: dict[str, Any]
    modules: dict[str, str] = field(default_factory=dict)
    edges: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    pieces: set[str] = field(default_factory=set)
    functions: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    populations: list[str] = field(default_factory=list)
    native: set[str] = field(default_factory=set)
    order: Any = None
    problems: list[Diagnostic] = field(default_factory=list)


def plan_discrete(graph: Graph) -> Plan:
    """Return the plan of a graph without continuous neurons."""
    return _Planner(graph).plan()


def losses_discrete(graph: Graph, plan: Plan) -> list[NodeLoss]:
    """Return what became of every population and synapse."""
    found = []
    for name in plan.populations:
        level, why = arithmetic_level(graph, graph.nodes[name])
        if computes_reals(graph, graph.nodes[name]):
            level, why = EXACT_REAL, "; ".join(filter(None, (why, FLUSHED)))
        kind = plan.modules.get(name, "").split("(")[0] if name in plan.native else "a cell"
        found.append(NodeLoss(name, level, "; ".join(filter(None, (f"becomes {kind}", why)))))
    return found


class _Planner:
    """Goes through the nodes of a graph once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.dt = graph.dt if graph.dt is not None else 1.0
        self.made = Plan({"dt": self.dt})
        self.place = {name: at for at, name in enumerate(graph.order)}
        self.returned = {value.node for value in graph.outputs.values()}
        self.late: list[tuple[str, str]] = []
        self.printed: dict[Dynamics, str] = {}

    def plan(self) -> Plan:
        """Return the plan, with everything that does not fit."""
        self._check()
        if self.made.problems:
            return self.made
        for name in self.graph.order:
            node = self.graph.nodes[name]
            maker = getattr(self, f"_{node.op.name}", None)
            if maker is not None:
                maker(node)
        self.made.outputs = {
            name: self._source(value) for name, value in self.graph.outputs.items()
        }
        self._finish_linear()
        if any(not self._is_own_loop(*edge) for edge in self.late) or self._has_delays():
            self.made.pieces.add("Ordered")
            self.made.order = self._order()
        return self.made

    def _check(self) -> None:
        for node in self.graph.nodes.values():
            op = node.op
            problem = None
            if not isinstance(op, _SUPPORTED):
                problem = Diagnostic(
                    "SNN501", f"op {op.name} has no form in jaxsnn", node.name,
                    hint="conv-to-linear or densify may make matrices of it",
                )  # fmt: skip
            elif any(v.result for v in node.operands):
                problem = Diagnostic("SNN501", "reads a further result of a population", node.name)
            elif len(self.graph.signal(node.name).shape) != 1:
                shape = list(self.graph.signal(node.name).shape)
                problem = Diagnostic(
                    "SNN501", f"has shape {shape}; populations of jaxsnn have one axis", node.name,
                    hint="jaxsnn has dense layers only; the targets xla and torch have others",
                )  # fmt: skip
            else:
                problem = self._op_problem(node)
            if problem is not None:
                self.made.problems.append(problem)
        if any(value.result for value in self.graph.outputs.values()):
            self.made.problems.append(Diagnostic("SNN501", "an output is a further result"))

    def _op_problem(self, node: Node) -> Diagnostic | None:
        op = node.op
        if isinstance(op, Delay) and not isinstance(op.steps, int):
            message = "has a delay per element; jaxsnn's nodes have one"
            return Diagnostic("SNN501", message, node.name)
        if isinstance(op, Linear) and op.zero is not None:
            return Diagnostic("SNN501", "has weights with a zero point", node.name)
        if not isinstance(op, Step) or self._native(node) is not None:
            return None
        program = as_float(op.program)
        if program.dtype != "f32":
            return Diagnostic("SNN501", "computes in float64, jaxsnn in float32", node.name)
        if any(let.op == "fma" for let in program.body):
            return Diagnostic(
                "SNN501", "has a fused multiply-add and is no module of jaxsnn; JAX has none in "
                "float32", node.name, hint="the target xla computes it exactly",
            )  # fmt: skip
        if not program.outputs:
            return Diagnostic("SNN501", "has no output", node.name)
        return None

    # --- What reads what --------------------------------------------------------------------------

    def _readers(self, name: str) -> list[str]:
        """Return the nodes that read a value, through what is no node of the topology."""
        found: list[str] = []
        for user, _ in self.graph.uses[name]:
            op = self.graph.nodes[user].op
            if isinstance(op, Current) or self._is_absorbed(user):
                found += self._readers(user)
            else:
                found.append(user)
        return found

    def _is_absorbed(self, name: str) -> bool:
        """Whether a sum is left to the populations that read it."""
        node = self.graph.nodes[name]
        users = self.graph.uses[name]
        return (
            isinstance(node.op, Add) and name not in self.returned and bool(users)
            and all(isinstance(self.graph.nodes[user].op, Step) for user, _ in users)
        )  # fmt: skip

    def _is_elided(self, name: str) -> bool:
        """Whether a delay of a step is had by reading a node before it is computed."""
        node = self.graph.nodes[name]
        if not isinstance(node.op, Delay) or node.op.steps != 1 or name in self.returned:
            return False
        source = self._plain(node.operands[0])
        readers = self._readers(name)
        is_delay = isinstance(self.graph.nodes[source].op, Delay)
        return not is_delay and all(self.place[r] < self.place[source] for r in readers)

    def _plain(self, value: Value) -> str:
        """Return the node behind currents."""
        node = self.graph.nodes[value.node]
        return self._plain(node.operands[0]) if isinstance(node.op, Current) else node.name

    def _source(self, value: Value) -> str:
        """Return the node of the topology that a value comes from."""
        name = self._plain(value)
        if self._is_elided(name):
            return self._source(self.graph.nodes[name].operands[0])
        return name

    def _terms(self, value: Value) -> list[str]:
        name = self._plain(value)
        if self._is_absorbed(name):
            return [self._source(operand) for operand in self.graph.nodes[name].operands]
        return [self._source(value)]

    def _put(self, name: str, code: str, reads: list[str], *pieces: str) -> None:
        self.made.modules[name] = code
        self.made.edges[name] = list(dict.fromkeys(reads))
        self.made.pieces.update(pieces)
        self.late += [(r, name) for r in reads if self.place.get(r, -1) > self.place.get(name, 0)]

    def _size(self, name: str) -> int:
        return self.graph.signal(name).shape[0]

    def _fresh(self, stem: str) -> str:
        while stem in self.graph.nodes or stem in self.made.modules:
            stem += "_"
        return stem

    # --- Ops --------------------------------------------------------------------------------------

    def _input(self, node: Node) -> None:
        self._put(node.name, f"Input({self._size(node.name)})", [])

    def _linear(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Linear)
        name = node.name if op.bias is None else self._fresh(f"{node.name}.product")
        self.made.weights[name] = np.ascontiguousarray(op.weight.numpy().T.astype(np.float32))
        source = self._source(node.operands[0])
        if isinstance(self.graph.nodes[source].op, Linear):
            source = self._passed_on(source)
        self.place.setdefault(name, self.place[node.name])
        self._put(name, f"Linear(pre_weights=jnp.asarray(weights[{name!a}]))", [source])
        if op.bias is not None:
            bias = np.broadcast_to(op.bias.numpy(), (self._size(node.name),))
            self._shift(node.name, name, bias)

    def _passed_on(self, name: str) -> str:
        """Return a population that gives what a Linear gives: no Linear can read another."""
        wanted = f"total({self._size(name)}, {(name,)!a})"
        for known, code in self.made.modules.items():
            if code == wanted:
                return known
        made = self._fresh(f"{name}.value")
        self.place[made] = self.place[name]
        self._put(made, wanted, [name], "total")
        return made

    def _finish_linear(self) -> None:
        """Let something read every Linear, or jaxsnn cannot attach it."""
        read = {source for reads in self.made.edges.values() for source in reads}
        for name, code in list(self.made.modules.items()):
            if code.startswith("Linear(") and name not in read:
                self._passed_on(name)

    def _shift(self, name: str, source: str, offset: Array) -> None:
        key = f"{name}.offset"
        self.made.weights[key] = np.array(offset, np.float32)
        code = f"shifted({self._size(name)}, {source!a}, jnp.asarray(weights[{key!a}]))"
        self._put(name, code, [source], "shifted")

    def _bias(self, node: Node) -> None:
        assert isinstance(node.op, Bias)
        self._shift(node.name, self._source(node.operands[0]), node.op.bias.numpy())

    def _scale(self, node: Node) -> None:
        assert isinstance(node.op, Scale)
        key, source = f"{node.name}.factor", self._source(node.operands[0])
        self.made.weights[key] = np.array(node.op.scale.numpy(), np.float32)
        code = f"scaled({self._size(node.name)}, {source!a}, jnp.asarray(weights[{key!a}]))"
        self._put(node.name, code, [source], "scaled")

    def _add(self, node: Node) -> None:
        if not self._is_absorbed(node.name):
            names = [self._source(value) for value in node.operands]
            code = f"total({self._size(node.name)}, {tuple(names)!a})"
            self._put(node.name, code, names, "total")

    def _delay(self, node: Node) -> None:
        assert isinstance(node.op, Delay)
        assert isinstance(node.op.steps, int)
        if self._is_elided(node.name):
            return
        source, size = self._source(node.operands[0]), self._size(node.name)
        steps = node.op.steps - (self.place[node.name] < self.place[source])
        if steps > 0:
            self._put(node.name, f"delayed({size}, {source!a}, {steps})", [source], "delayed")
        else:
            self._put(node.name, f"total({size}, {(source,)!a})", [source], "total")

    def _native(self, node: Node) -> Any:
        assert isinstance(node.op, Step)
        return native(node.op, self._size(node.name), self.dt, node.name)

    def _step(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Step)
        self.made.populations.append(node.name)
        terms = [self._terms(value) for value in node.operands]
        found = self._native(node)
        if found is not None:
            if len(set(terms[0])) < len(terms[0]):  # jaxsnn reads a node once
                terms = [[self._twice(node.name, terms[0])]]
            self.made.weights.update({f"{node.name}.{n}": a for n, a in found.arrays.items()})
            self.made.native.add(node.name)
            self._put(node.name, found.code, terms[0], *filter(None, [found.method]))
            return
        self._cell(node, op, terms)

    def _twice(self, name: str, terms: list[str]) -> str:
        made = self._fresh(f"{name}.sum")
        self.place[made] = self.place[name]
        self._put(made, f"total({self._size(name)}, {tuple(terms)!a})", terms, "total")
        return made

    def _cell(self, node: Node, op: Step, terms: list[list[str]]) -> None:
        program = as_float(op.program)
        function = self.printed.get(program)
        if function is None:
            function = self.printed[program] = f"step_{len(self.printed)}"
            self.made.functions.append(cell_source(program, function))
        names = [name for name, _ in program.params]
        keys = {name: f"{node.name}.{name}" for name in names}
        self.made.weights |= {
            key: np.array(op.params[name].numpy(), np.float32) for name, key in keys.items()
        }
        params = _mapping({name: f"jnp.asarray(weights[{key!a}])" for name, key in keys.items()})
        start = _mapping(
            {
                s.name: f"weights[{keys[s.initial]!a}]" if isinstance(s.initial, str)
                else repr(float(s.initial))
                for s in program.states
            }
        )  # fmt: skip
        reads = [name for names in terms for name in names]
        listed = tuple(tuple(names) for names in terms)
        code = f"cell({self._size(node.name)}, {listed!a}, {function}, {params}, {start})"
        self._put(node.name, code, reads, "cell", "mul", "div", "above", "at_least",
                  "above_jvp", "at_least_jvp")  # fmt: skip

    # --- Order ------------------------------------------------------------------------------------

    def _has_delays(self) -> bool:
        """Whether a delay is a node: its place in the step is part of it."""
        return any(isinstance(self.graph.nodes[n].op, Delay) for n in self.made.modules
                   if n in self.graph.nodes)  # fmt: skip

    def _is_own_loop(self, source: str, reader: str) -> bool:
        """Whether a late read closes a loop of one population and one Linear.

        That is a step late in every order jaxsnn may choose.
        """
        for linear, cell in ((source, reader), (reader, source)):
            if self.made.modules[linear].startswith("Linear("):
                readers = [n for n, reads in self.made.edges.items() if linear in reads]
                return readers == [cell] and self.made.edges[linear] == [cell]
        return False

    def _order(self) -> list[str]:
        return sorted(self.made.modules, key=lambda name: self.place[name])


def _mapping(entries: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key!a}: {value}" for key, value in entries.items()) + "}"
