"""Discrete topologies: modules become ops, jaxsnn's order of a step says where delays are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import jaxsnn_neurons as neurons
from snnir.errors import error
from snnir.frontends.jaxsnn_nets.wiring import Wiring, numbers, size_of
from snnir.ir.graph import Editor, Graph, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Add, Current, Input
from snnir.ir.synapses import Linear
from snnir.ir.timing import Delay
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]
f32 = np.float32


#: Where jaxsnn's own spike function is from.
_SUPERSPIKE = ("jaxsnn.discrete.functional.threshold", "superspike")


class DiscreteReader:
    """Builds the graph of a discrete topology.

    Args:
        wiring: The topology.
        weights: Of every projection, [source, target].
        ties: What a membrane on its threshold emits, one of `jaxsnn_neurons.TIES`.
    """

    def __init__(self, wiring: Wiring, weights: Mapping[str, Array], ties: str) -> None:
        self.wiring, self.weights, self.ties = wiring, weights, ties
        self.dt = float(wiring.topology.dt)
        self.editor = Editor(Graph({}, {}))
        self.kinds: dict[str, Kind] = {}
        self.notes: list[str] = []
        self.early: set[str] = set()
        self.methods: dict[str, str] = {}

    def graph(self, name: str) -> Graph:
        """Return the graph, not yet verified."""
        self._find_early()
        for node in self.wiring.order:
            self.kinds[node] = self._kind(node)
        for node in self.wiring.order:
            {"input": self._input, "linear": self._linear}.get(
                self.wiring.kinds[node], self._population
            )(node)
        outputs = {node: Value(node) for node in self.wiring.sinks()}
        self.editor.outputs.update(outputs)
        return self.editor.graph(dt=self.dt, name=name)

    def _kind(self, node: str) -> Kind:
        if self.wiring.kinds[node] != "lif" or self._method(node) == "half":
            return Kind.ANALOG
        return Kind.SPIKES

    def _input(self, node: str) -> None:
        if self.wiring.before(node):
            raise error("SNN801", "an Input cannot read another node", node=node)
        signal = Signal(Kind.ANALOG, (size_of(self.wiring, node),))
        self.editor.add(node, Input(signal))

    def _linear(self, node: str) -> None:
        (source,) = self.wiring.before(node)
        weight = np.ascontiguousarray(self.weights[node].T)
        steps = int(self.wiring.is_back(source, node))
        if node in self.early:
            steps += 1
        self.editor.add(node, Linear(Tensor(weight)), [self._delayed(source, steps)])

    def _find_early(self) -> None:
        """Find the projections that only nodes before them read, a step late.

        Their delay is put before them, where it holds spikes; so the graph of a population that
        feeds itself is the same whichever of the two comes first.
        """
        for node in self.wiring.order:
            after = self.wiring.after(node)
            is_late = after and all(self.wiring.is_back(node, target) for target in after)
            if self.wiring.kinds[node] == "linear" and is_late:
                self.early.add(node)

    def _population(self, node: str) -> None:
        sources = self.wiring.before(node)
        if not sources:
            raise error("SNN801", "reads no node, so that jaxsnn cannot run it", node=node)
        size = size_of(self.wiring, node)
        for source in sources:
            if self.wiring.kinds[source] != "linear" and size_of(self.wiring, source) != size:
                message = f"reads {source} of {size_of(self.wiring, source)}, has {size} neurons"
                raise error("SNN807", message, node=node)
        values = [self._current(self._edge(source, node)) for source in sources]
        drive = values[0]
        if len(values) > 1:
            drive = self.editor.add(self._free(f"{node}.sum"), Add(), values)
        self.editor.add(node, self._step(node, size), [drive])

    def _free(self, stem: str) -> str:
        """Return a name that no node of the topology has."""
        name = stem
        while name in self.wiring.groups or name in self.editor.nodes:
            name += "_"
        return name

    def _edge(self, source: str, target: str) -> Value:
        """Return what a node reads of another: that of the step before where it comes later."""
        is_late = self.wiring.is_back(source, target) and source not in self.early
        return self._delayed(source, int(is_late))

    def _delayed(self, source: str, steps: int) -> Value:
        if not steps:
            return Value(source)
        for name in self.editor.users(source):
            if self.editor.nodes[name].op == Delay(steps):
                return Value(name)
        delayed = self.editor.add(self._free(f"{source}.delay"), Delay(steps), [Value(source)])
        self.kinds[delayed.node] = self.kinds[source]
        return delayed

    def _current(self, value: Value) -> Value:
        if self.kinds[value.node] is Kind.ANALOG:
            return value
        for name in self.editor.users(value.node):
            if isinstance(self.editor.nodes[name].op, Current):
                return Value(name)
        return self.editor.add(self._free(f"{value.node}.current"), Current(), [value])

    # --- Neurons --------------------------------------------------------------------------------

    def _step(self, node: str, size: int) -> Step:
        kind = self.wiring.kinds[node]
        given = self.wiring.module(node).parameters[f"{kind}_params"]
        taus = (given.tau_mem, given.tau_syn)
        for name in ("tau_mem", "tau_syn", "v_leak", "v_th", "v_reset"):
            numbers(node, name, getattr(given, name, 0.0))
        for name, value in zip(("tau_mem", "tau_syn"), taus, strict=True):
            if not np.all(np.asarray(value) > 0):
                raise error("SNN105", f"{name} is {value}, must be positive", node=node)
        constants = neurons.lif_constants if kind == "lif" else neurons.li_constants
        k_mem, k_syn = constants(self.dt, *taus)
        params = {"k_mem": k_mem, "k_syn": k_syn}
        leak = np.asarray(given.v_leak, f32)
        if kind == "lif":
            params["threshold"] = np.asarray(given.v_th, f32)
        if leak.any():
            params["leak"] = leak
        if kind == "lif" and np.asarray(given.v_reset, f32).any():
            params["v_reset"] = np.asarray(given.v_reset, f32)
        for name, data in params.items():
            if data.shape not in ((), (1,), (size,)):
                message = f"{name} {list(data.shape)} does not fit {size} neurons"
                raise error("SNN807", message, node=node)
        program = neurons.li_program("leak" in params)
        if kind == "lif":
            ties = self._method(node)
            program = neurons.lif_program(ties, "leak" in params, "v_reset" in params)
        return Step(program, FrozenDict({name: Tensor(data) for name, data in params.items()}))

    def _method(self, node: str) -> str:
        """Return what the population's spike function gives at the threshold, by trying it."""
        if node not in self.methods:
            self.methods[node] = self._tried(node)
        return self.methods[node]

    def _tried(self, node: str) -> str:
        generator = self.wiring.module(node).generator
        method = inspect.getclosurevars(generator).nonlocals["method"]
        values = np.array([-3e38, -1.0, -1e-30, 0.0, 1e-30, 1.0, 3e38], f32)
        found = np.asarray(method(values), f32).tolist()
        known = {0.5: self.ties, 1.0: "spike", 0.0: "none"}
        if [*found[:3], *found[4:]] != [0.0] * 3 + [1.0] * 3 or found[3] not in known:
            raise error(
                "SNN802", f"has the spike function '{getattr(method, '__name__', method)}', which "
                "is no step from 0 to 1", node=node, hint="use jaxsnn's superspike",
            )  # fmt: skip
        home = getattr(method, "__module__", ""), getattr(method, "__name__", "")
        if home != _SUPERSPIKE:
            self.notes.append(f"{node}: the derivative of its spike function is not kept")
        if found[3] == 0.5 and self.ties != "half":
            becomes = {"spike": "a spike", "none": "none"}[self.ties]
            self.notes.append(
                f"{node}: a membrane exactly on its threshold emits half a spike in jaxsnn, "
                f"{becomes} here (ties={self.ties})"
            )
        return known[found[3]]
