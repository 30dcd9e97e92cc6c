"""A graph of continuous neurons as an event topology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron
from snnir.ir.order import components
from snnir.ir.structure import Add, Current, Input
from snnir.ir.synapses import Linear
from snnir.ir.timing import Delay
from snnir.loss_report import NodeLoss
from snnir.pipeline import EXACT_REAL
from snnir.targets.jaxsnn_nets.discrete import Plan

f32 = np.float32

_SUPPORTED = (Input, Linear, Add, Current, Delay, Neuron)
#: Parameters of jaxsnn's event LIF by those of `cubalif`.
_FIELDS = {"tau_syn": "tau_syn", "tau_mem": "tau_mem", "v_th": "v_threshold", "v_reset": "v_reset"}


@dataclass(frozen=True)
class Projection:
    """A Linear between a source and a population; delay in seconds."""

    source: str
    target: str
    delay: float


class EventPlanner:
    """Plans the topology of a graph.

    Args:
        graph: A graph whose neurons are continuous.
        t_max: Seconds to simulate; 0: as the graph's import noted.
        n_steps: Slots for events of every population; 0: as noted.

    Attributes:
        plan: The plan; its problems say what cannot be written.
        projections: By the name of the Linear.
    """

    def __init__(self, graph: Graph, t_max: float, n_steps: int) -> None:
        self.graph = graph
        noted = [n.metadata.get("jaxsnn.t_max") for n in graph.nodes.values()]
        known = [float(t) for t in noted if isinstance(t, (int, float)) and t > 0]
        self.t_max = t_max or max(known, default=0.0)
        self.n_steps = n_steps
        methods = {n.metadata.get("jaxsnn.backprop_method") for n in graph.nodes.values()}
        self.plan = Plan({"t_max": self.t_max})
        if "eventprop" in methods:
            self.plan.settings["backprop_method"] = "eventprop"
        self.projections: dict[str, Projection] = {}
        self.drives: dict[str, list[str]] = {}
        self._check()
        if not self.plan.problems:
            self._connect()
        if not self.plan.problems:
            self._write()

    def _fail(self, message: str, node: str | None = None, hint: str | None = None) -> None:
        self.plan.problems.append(Diagnostic("SNN501", message, node, hint=hint))

    # --- What does not fit ------------------------------------------------------------------------

    def _check(self) -> None:
        if not self.t_max:
            self._fail("jaxsnn's event topologies need t_max", hint="give t_max=SECONDS")
        for node in self.graph.nodes.values():
            if not isinstance(node.op, _SUPPORTED):
                hint = "conv-to-linear or densify may make matrices of it"
                self._fail(f"op {node.op.name} has no form in jaxsnn's events", node.name, hint)
            elif len(self.graph.signal(node.name).shape) != 1:
                shape = list(self.graph.signal(node.name).shape)
                self._fail(f"has shape {shape}; populations of jaxsnn have one axis", node.name)
            elif isinstance(node.op, Linear):
                self._check_linear(node.name, node.op)
            elif isinstance(node.op, Neuron):
                self._check_neuron(node)
        for name, value in self.graph.outputs.items():
            if not isinstance(self.graph.nodes[value.node].op, Neuron):
                self._fail(f"output '{name}' is no population; only those emit events", value.node)

    def _check_linear(self, name: str, op: Linear) -> None:
        if op.bias is not None and op.bias.numpy().any():
            hint = "jaxsnn has no steady current; train without a bias"
            self._fail("has a bias", name, hint)
        if op.zero is not None:
            self._fail("has weights with a zero point", name)

    def _check_neuron(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Neuron)
        if op.model != "cubalif":
            hint = "jaxsnn's events have current-based LIF neurons (cubalif) only"
            self._fail(f"is a {op.model}", node.name, hint)
            return
        stepping = op.stepping
        if stepping is None or not stepping.synapse_jump:
            self._fail(
                "says that a spike is one step of current, or nothing; in jaxsnn it makes the "
                "synaptic current larger at once", node.name,
                "load the model with semantics='jaxsnn', or with synapse_jump=True",
            )  # fmt: skip
        elif (stepping.reset, stepping.refractory, stepping.start) != ("to", 0, "zero"):
            self._fail(
                "resets, waits or starts otherwise than jaxsnn's neurons: to v_reset, at once, "
                "from 0", node.name, "load the model with semantics='jaxsnn'",
            )  # fmt: skip
        values = {name: tensor.numpy() for name, tensor in op.params.items()}
        for name, data in values.items():
            if data.size and (data != data.reshape(-1)[0]).any():
                hint = "split the population into ones with the same parameters"
                self._fail(f"has a {name} per neuron; jaxsnn takes one", node.name, hint)
                return
        self._check_values(node.name, {n: float(d.reshape(-1)[0]) for n, d in values.items()})
        if not self._slots(node):
            self._fail("needs n_steps, its number of slots for events", node.name, "give n_steps=N")

    def _check_values(self, name: str, values: dict[str, float]) -> None:
        if values["v_leak"]:
            hint = "shift threshold and reset by -v_leak, and set v_leak to 0"
            self._fail(f"has v_leak = {values['v_leak']:g}, which jaxsnn ignores", name, hint)
        if values["r"] != 1:
            hint = "divide v_threshold and v_reset by r, and set r to 1"
            self._fail(f"has r = {values['r']:g}; jaxsnn's neurons have 1", name, hint)
        ratio = values["tau_mem"] / values["tau_syn"]
        if not any(abs(ratio - wanted) < 1e-6 * wanted for wanted in (1.0, 2.0)):
            hint = "the target events simulates any ratio"
            message = f"has tau_mem / tau_syn = {ratio:g}; jaxsnn solves ratios of 1 and 2"
            self._fail(message, name, hint)

    def _slots(self, node: Node) -> int:
        noted = node.metadata.get("jaxsnn.n_steps")
        return self.n_steps or (noted if isinstance(noted, int) and noted > 0 else 0)

    # --- Connections ------------------------------------------------------------------------------

    def _connect(self) -> None:
        for node in self.graph.nodes.values():
            if isinstance(node.op, Neuron):
                self.drives[node.name] = []
                for linear, delay in self._terms(node.operands[0], node.name):
                    self._project(linear, delay, node.name)
        for node in self.graph.nodes.values():
            if isinstance(node.op, Linear) and node.name not in self.projections:
                self._fail("feeds no population", node.name, "run the pass dead-code")
        self._check_delays()
        self._check_waiting()

    def _terms(self, value: Value, target: str) -> Iterator[tuple[str, float]]:
        """Yield the Linears that a population adds up, each with the delay behind it."""
        node = self.graph.nodes[value.node]
        if isinstance(node.op, Linear):
            yield node.name, 0.0
        elif isinstance(node.op, Add):
            for operand in node.operands:
                yield from self._terms(operand, target)
        elif isinstance(node.op, (Current, Delay)):
            more = self._seconds(node)
            for name, delay in self._terms(node.operands[0], target):
                yield name, delay + more
        else:
            hint = "put a Linear with the identity between them"
            self._fail(f"reads {node.name} without weights", target, hint)

    def _seconds(self, node: Node) -> float:
        op = node.op
        if not isinstance(op, Delay):
            return 0.0
        if op.seconds is not None and op.seconds.size == 1:
            return float(op.seconds.numpy().reshape(-1)[0])
        if op.seconds is not None or not isinstance(op.steps, int) or self.graph.dt is None:
            hint = "jaxsnn has one delay per projection"
            self._fail("has no delay that is one number of seconds", node.name, hint)
            return 0.0
        return op.steps * self.graph.dt

    def _project(self, linear: str, delay: float, target: str) -> None:
        value = self.graph.nodes[linear].operands[0]
        while isinstance(self.graph.nodes[value.node].op, (Current, Delay)):
            delay += self._seconds(self.graph.nodes[value.node])
            value = self.graph.nodes[value.node].operands[0]
        if not isinstance(self.graph.nodes[value.node].op, (Input, Neuron)):
            hint = "fuse-linear may make one matrix of several"
            self._fail(f"reads {value.node}, which is no population", linear, hint)
            return
        known = self.projections.get(linear)
        if known is not None and (known.delay != delay or known.target == target):
            self._fail("is added twice, or with several delays", linear)
            return
        self.projections[linear] = Projection(value.node, target, delay)
        self.drives[target].append(linear)

    def _check_delays(self) -> None:
        for target, linears in self.drives.items():
            delays: dict[str, set[float]] = {}
            for linear in linears:
                made = self.projections[linear]
                delays.setdefault(made.source, set()).add(made.delay)
            for source, found in delays.items():
                if len(found) > 1:
                    message = f"reads {source} with several delays; jaxsnn keeps one per source"
                    self._fail(message, target)

    def _components(self) -> list[tuple[str, ...]]:
        """Return strongly connected nodes of the topology, from the inputs on.

        The projections of a component follow it at once: jaxsnn pairs sources and projections by
        their places.
        """
        after: dict[str, list[str]] = {name: [] for name in self._cells()}
        for target, linears in self.drives.items():
            for linear in linears:
                after[self.projections[linear].source].append(target)
        order: list[tuple[str, ...]] = []
        for group in components(after):
            leaving = [n for n, made in self.projections.items() if made.source in group]
            inside = [n for n in leaving if any(n in self.drives.get(t, ()) for t in group)]
            order.append((*group, *inside))
            order += [(name,) for name in leaving if name not in inside]
        return order

    def _cells(self) -> list[str]:
        nodes = self.graph.nodes
        return [n for n in self.graph.order if isinstance(nodes[n].op, (Input, Neuron))]

    def _check_waiting(self) -> None:
        if self.plan.problems:
            return
        for group in self._components():
            cells = [name for name in group if name in self.drives]
            if len(cells) > 1:
                self._fail(
                    f"{', '.join(cells)} feed each other; jaxsnn's simulation of such populations "
                    "stops early", cells[0], "make one population of them",
                )  # fmt: skip

    # --- Writing ----------------------------------------------------------------------------------

    def _write(self) -> None:
        plan, nodes = self.plan, self.graph.nodes
        order = self._components()
        for name in [name for group in order for name in group]:
            op = nodes[name].op
            if isinstance(op, Input):
                plan.modules[name], plan.edges[name] = f"Source({op.signal.shape[0]})", []
            elif isinstance(op, Linear):
                made = self.projections[name]
                weight = np.ascontiguousarray(op.weight.numpy().T.astype(np.float32))
                plan.weights[name] = weight
                given = f"pre_weights=jnp.asarray(weights[{name!a}])"
                plan.modules[name] = f"Linear(min_delay={made.delay!r}, {given})"
                plan.edges[name] = [made.source]
            else:
                plan.modules[name] = self._lif(nodes[name])
                plan.edges[name] = self.drives[name]
                plan.populations.append(name)
                plan.native.add(name)
        plan.outputs = {name: value.node for name, value in self.graph.outputs.items()}
        plan.pieces |= {"simulate"}
        if not self._pairs_itself():
            plan.pieces.add("Ordered")
            plan.order = order

    def _lif(self, node: Node) -> str:
        op = node.op
        assert isinstance(op, Neuron)
        values = {field: op.params[name].numpy().reshape(-1)[0] for field, name in _FIELDS.items()}
        given = ", ".join(f"{field}={_short(value)}" for field, value in values.items())
        size = self.graph.signal(node.name).shape[0]
        return f"LIF({size}, {self._slots(node)}, LIFParameters({given}))"

    def _pairs_itself(self) -> bool:
        """Whether jaxsnn pairs sources and projections as drawn, in whatever order it takes.

        It does if, of two projections of a population, one is before the source of the other.
        """
        before: dict[str, set[str]] = {}
        for target in self._by_target():
            found = before.setdefault(target, set())
            for linear in self.drives.get(target, ()):
                source = self.projections[linear].source
                found |= {linear, source} | before.get(source, set())
        for target, linears in self.drives.items():
            for at, one in enumerate(linears):
                for other in linears[at + 1 :]:
                    a, b = self.projections[one].source, self.projections[other].source
                    loops = [n for n in (a, b) if n == target]
                    ahead = one in before.get(b, ()) or other in before.get(a, ())
                    if a != b and len(loops) != 1 and not ahead:
                        return False
        return True

    def _by_target(self) -> list[str]:
        return [name for group in self._components() for name in group if name in self._cells()]


def _short(value: Any) -> str:
    """Return a float32 as the shortest number that rounds to it."""
    return repr(float(str(f32(value))))


def losses_event(plan: Plan) -> list[NodeLoss]:
    """Return what became of every population."""
    what = "becomes LIF; jaxsnn solves for spike times in float32"
    return [NodeLoss(name, EXACT_REAL, what) for name in plan.populations]
