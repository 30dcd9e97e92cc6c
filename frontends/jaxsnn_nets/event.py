"""Event topologies: neurons in continuous time, with the delays that jaxsnn applies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic, SnnirError, error
from snnir.frontends.jaxsnn_nets.wiring import Wiring, numbers, size_of
from snnir.ir.graph import Editor, Graph, Node, Value
from snnir.ir.neuron import Neuron
from snnir.ir.structure import Add, Input
from snnir.ir.synapses import Linear
from snnir.ir.timing import Delay
from snnir.presets import preset
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]
f32 = np.float32

#: Seconds per step of a graph read from an event topology, which has no steps.
DEFAULT_DT = preset("jaxsnn").dt
#: Ratios tau_mem / tau_syn for which jaxsnn has a solver.
_RATIOS = (1.0, 2.0)


class EventReader:
    """Builds the graph of an event topology.

    Args:
        wiring: The topology.
        weights: Of every projection, [source, target].
        dt: Seconds per step, for targets that have steps.
    """

    def __init__(self, wiring: Wiring, weights: Mapping[str, Array], dt: float | None) -> None:
        self.wiring, self.weights = wiring, weights
        self.dt = DEFAULT_DT if dt is None else dt
        self.t_max = float(wiring.topology.t_max)
        self.editor = Editor(Graph({}, {}))
        self.notes = [
            f"jaxsnn simulates {self.t_max:g} s and gives a population as many slots for events as "
            "its n_steps, those that it receives included; what does not fit is dropped there, "
            "not here"
        ]
        self.sources: dict[str, tuple[str, float]] = {}

    def graph(self, name: str) -> Graph:
        """Return the graph, not yet verified."""
        self._find_sources()
        for node in self.wiring.order:
            if self.wiring.kinds[node] == "input":
                signal = Signal(Kind.SPIKES, (size_of(self.wiring, node),))
                self._put(node, Input(signal), (), self._settings())
        for node in self.wiring.order:
            if self.wiring.kinds[node] == "linear" and node in self.sources:
                self._projection(node)
        for node in self.wiring.order:
            if self.wiring.kinds[node] == "lif":
                self._population(node)
        self._note_cycles()
        self.editor.outputs.update({node: Value(node) for node in self.wiring.sinks()})
        return self.editor.graph(dt=self.dt, name=name)

    def _settings(self) -> dict[str, Any]:
        """Return what belongs to a run of jaxsnn, for the way back."""
        method = str(self.wiring.topology.backprop_method)
        return {"jaxsnn.t_max": self.t_max, "jaxsnn.backprop_method": method}

    def _put(self, name: str, op: Any, operands: Any, metadata: Mapping[str, Any]) -> None:
        self.editor.put(Node(name, op, tuple(operands), FrozenDict(metadata)))

    # --- Which events reach which projection ------------------------------------------------------

    def _find_sources(self) -> None:
        """Find the source and the delay of every projection, as jaxsnn pairs them.

        jaxsnn sorts a population's projections and the populations before them, each by its own
        place in the order, and takes them as pairs; the delay is kept per source.
        """
        problems: list[Diagnostic] = []
        topology = self.wiring.topology
        for node in self.wiring.order:
            if self.wiring.kinds[node] != "lif":
                continue
            sources = topology.pre_population_nodes(node)
            projections = topology.pre_nodes(node)
            if any(self.wiring.kinds[p] != "linear" for p in projections):
                problems.append(Diagnostic("SNN801", "reads a population without a Linear", node))
                continue
            if not projections:
                problems.append(Diagnostic("SNN801", "reads no node", node))
                continue
            pairs = list(zip(sources, projections, strict=True))
            delays = {s: float(self.wiring.module(p).min_delay) for s, p in pairs}
            for source, projection in pairs:
                problems += self._pair(source, projection, delays[source], node)
        if problems:
            raise SnnirError(problems)

    def _pair(self, source: str, projection: str, delay: float, target: str) -> list[Diagnostic]:
        known = self.sources.get(projection)
        if known is not None and known != (source, delay):
            message = f"jaxsnn gives it events of {known[0]} and, for {target}, of {source}"
            return [Diagnostic("SNN801", message, projection)]
        if not np.isfinite(delay) or delay < 0:
            return [Diagnostic("SNN105", f"min_delay is {delay}", projection)]
        self.sources[projection] = (source, delay)
        drawn = self.wiring.before(projection)[0]
        if drawn == source:
            own = float(self.wiring.module(projection).min_delay)
            if own != delay:
                self.notes.append(
                    f"{projection}: jaxsnn has one delay per source, here {delay:g} s, not {own:g}"
                )
            return []
        message = f"is connected to {drawn}, but jaxsnn gives it the events of {source}"
        if self.weights[projection].shape[0] != size_of(self.wiring, source):
            hint = "add and connect the projections of a population in the order of their sources"
            return [Diagnostic("SNN801", message, projection, hint=hint)]
        self.notes.append(f"{projection} {message}; so does the graph")
        return []

    def _note_cycles(self) -> None:
        """Say where jaxsnn stops early: populations that wait for each other."""
        for group in {self.wiring.groups[node] for node in self.wiring.order}:
            members = sorted(n for n in group if self.wiring.kinds[n] == "lif")
            if len(members) > 1:
                self.notes.append(
                    f"{', '.join(members)} feed each other: jaxsnn advances one only as far as the "
                    "last event of the others and its delay, and may stop early; the graph does not"
                )

    # --- Nodes ------------------------------------------------------------------------------------

    def _free(self, stem: str) -> str:
        name = stem
        while name in self.wiring.groups or name in self.editor.nodes:
            name += "_"
        return name

    def _projection(self, node: str) -> None:
        source, delay = self.sources[node]
        weight = Tensor(np.ascontiguousarray(self.weights[node].T))
        self.editor.add(node, Linear(weight), [self._delayed(source, delay, node)])

    def _delayed(self, source: str, delay: float, projection: str) -> Value:
        """Return the events of a source after a delay; a cycle needs a step, if one of 0 s."""
        recurrent = source in self.wiring.groups[projection]
        if not delay and not recurrent:
            return Value(source)
        steps = max(round(delay / self.dt), 1 if recurrent else 0)
        op = Delay(steps, Tensor(np.asarray(delay, np.float64)))
        for name in self.editor.users(source):
            if self.editor.nodes[name].op == op:
                return Value(name)
        return self.editor.add(self._free(f"{source}.delay"), op, [Value(source)])

    def _population(self, node: str) -> None:
        projections = self.wiring.topology.pre_nodes(node)
        drive = Value(projections[0])
        if len(projections) > 1:
            drive = self.editor.add(self._free(f"{node}.sum"), Add(), map(Value, projections))
        metadata = {"jaxsnn.n_steps": int(self.wiring.module(node).n_steps)}
        self._put(node, self._neuron(node), [drive], metadata)

    def _neuron(self, node: str) -> Neuron:
        given = self.wiring.module(node).parameters["lif_params"]
        values = {
            name: numbers(node, field, getattr(given, field))
            for name, field in {
                "tau_syn": "tau_syn", "tau_mem": "tau_mem", "v_leak": "v_leak",
                "v_threshold": "v_th", "v_reset": "v_reset",
            }.items()
        }  # fmt: skip
        for name, data in values.items():
            if data.size != 1:
                message = f"has a {name} per neuron; jaxsnn's solver takes one per population"
                raise error("SNN807", message, node=node)
        if values["v_leak"].any():
            raise error(
                "SNN802", f"has v_leak = {values['v_leak'].item():g}, which jaxsnn ignores",
                node=node, hint="shift v_th and v_reset by -v_leak, and set v_leak to 0",
            )  # fmt: skip
        self._check_ratio(node, values)
        values |= {"r": np.ones((), f32), "w_in": np.ones((), f32)}
        scalars = {name: Tensor(np.asarray(data, f32).reshape(())) for name, data in values.items()}
        return Neuron("cubalif", FrozenDict(scalars), preset("jaxsnn").for_model("cubalif"))

    def _check_ratio(self, node: str, values: Mapping[str, Array]) -> None:
        ratio = float(values["tau_mem"].item()) / float(values["tau_syn"].item())
        if not any(abs(ratio - wanted) < 1e-6 * wanted for wanted in _RATIOS):
            message = f"has tau_mem / tau_syn = {ratio:g}; jaxsnn solves as if it were 1 or 2"
            hint = "make it 1 or 2"
            raise error("SNN802", message, node=node, hint=hint)
