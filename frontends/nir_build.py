"""Building the IR from a flat NIR graph, node by node in the order of flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.dynamics.record import dynamics_from
from snnir.errors import Diagnostic, SnnirError
from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_nodes import (
    BUILDERS,
    NEURONS,
    PRESERVING,
    SPIKING,
    NodeError,
    Site,
)
from snnir.frontends.nir_notes import Notes
from snnir.frontends.nir_record import FileRecord, node_record, user_metadata
from snnir.frontends.nir_structure import Flat
from snnir.frontends.nir_time import DELAY, recorded_steps
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.names import fresh_name
from snnir.ir.neuron import Neuron, Step
from snnir.ir.op import Op, OpError
from snnir.ir.order import flow_order
from snnir.ir.structure import Add, Current, Input
from snnir.ir.synapses import Scale
from snnir.ir.timing import Delay
from snnir.nir_keys import PARAMS
from snnir.semantics import Semantics, Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor


def build(flat: Flat, semantics: Semantics, record: FileRecord, notes: Notes) -> Graph:
    """Return the graph; what cannot be built is left in `notes`.

    Sums, delays and steps from spikes to currents become explicit nodes named after the node
    they feed: `x.sum`, `x.delay`, `x.current`.
    """
    return _Builder(flat, semantics, record, notes).run()


def _shapes(rules: dict[str, Any]) -> dict[str, Any]:
    shapes = rules.get("shapes")
    return shapes if isinstance(shapes, dict) else {}


def _reduced(array: Any, shape: Any) -> Tensor:
    """Return a parameter in the broadcast shape its record states."""
    if not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
        return Tensor(array)
    extra = array.ndim - len(shape)
    if extra < 0:
        return Tensor(array)
    kept = tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
    part = array[(0,) * extra + kept]
    return Tensor(np.array(part)) if part.shape == tuple(shape) else Tensor(array)


def program_of(step: LifStep | Dynamics) -> Dynamics:
    """Return the step program."""
    return step.program if isinstance(step, LifStep) else step


R = TypeVar("R")


class _Builder:
    def __init__(self, flat: Flat, semantics: Semantics, record: FileRecord, notes: Notes) -> None:
        self.flat, self.semantics, self.record, self.notes = flat, semantics, record, notes
        self.targets = flat.targets()
        self.nodes: dict[str, Node] = {}
        self.signals: dict[str, Signal | None] = {}
        self.outputs: dict[str, Value] = {}
        self.kinds: dict[str, Kind] = {}

    def run(self) -> Graph:
        try:
            self.kinds = self._kinds()
        except NodeError:
            return Graph({}, {})
        delays = [n for n, node in self.flat.nodes.items() if node.type in (DELAY, "Delay")]
        late = {name: self.flat.sources[name] for name in sorted(delays)}
        for name in flow_order({**self.flat.sources, **dict.fromkeys(late, ())}, late):
            try:
                self.node(name, self.flat.nodes[name])
            except NodeError:
                self.signals[name] = None
            except SnnirError as failure:
                self.notes.errors.extend(
                    Diagnostic(d.code, d.message, name, self.notes.source, d.hint)
                    for d in failure.diagnostics
                )
        dt = None if self.record.is_timeless else self.semantics.dt
        return Graph(self.nodes, self.outputs, dt)

    def _kinds(self) -> dict[str, Kind]:
        """Return the kind each node emits, following kind-preserving nodes to their source."""
        kinds: dict[str, Kind] = {}
        for start in self.flat.nodes:
            path, name = [], start
            while name not in kinds and name not in path:
                path.append(name)
                node = self.flat.nodes[name]
                if node.type not in (*PRESERVING, DELAY) or len(self.flat.sources[name]) != 1:
                    break
                name = self.flat.sources[name][0]
            found = kinds.get(name) or self._own_kind(name)
            for name in reversed(path):
                if self.flat.nodes[name].type == "SumPool2d" and found is Kind.SPIKES:
                    found = Kind.COUNTS
                kinds[name] = found
        return kinds

    def _own_kind(self, name: str) -> Kind:
        node = self.flat.nodes[name]
        if node.type == "Input":
            text = node_record(node, self.notes).get("kind") if self.record.holds else None
            return Kind(text) if text in ("spikes", "counts", "analog") else Kind.ANALOG
        if node.type in SPIKING:
            step = self._recorded_step(name, node)
            return program_of(step).outputs[0][1] if step else Kind.SPIKES
        return Kind.ANALOG

    def _recorded_step(self, name: str, node: RawNode) -> LifStep | Dynamics | None:
        rules = node_record(node, self.notes).get("step") if self.record.holds else None
        if isinstance(rules, dict) and "program" in rules:
            return self._recorded_program(name, rules)
        return self.decoded(LifStep, rules, name)

    def _recorded_program(self, name: str, rules: dict[str, Any]) -> Dynamics:
        """Return a step program that the record spells out."""
        try:
            step = dynamics_from(rules)
        except SnnirError as failure:
            self.notes.errors.extend(replace(d, node=name) for d in failure.diagnostics)
            raise NodeError(name) from None
        program = program_of(step)
        if len(program.inputs) != 1 or len(program.outputs) != 1:
            self.notes.fail("SNN102", "its recorded program has not one input and one output", name)
            raise NodeError(name)
        return program

    def decoded(self, cls: type[R], rules: Any, path: str) -> R | None:
        """Return the record object, None without one; one of the wrong form is an error."""
        if not isinstance(rules, dict):
            return None
        try:
            return cls(**rules)
        except TypeError as failure:
            self.notes.fail("SNN102", f"its snnir record is wrong: {failure}", path)
        except SnnirError as failure:
            self.notes.errors.extend(replace(d, node=path) for d in failure.diagnostics)
        raise NodeError(path)

    def node(self, name: str, raw: RawNode) -> None:
        if raw.type == "Input":
            shape = tuple(int(n) for n in np.atleast_1d(raw.fields["shape"]))
            self.add(name, Input(Signal(self.kinds[name], shape)), [], raw)
            return
        if raw.type == "Output":
            self.output(name, raw)
            return
        if self.record.holds and raw.type == "Scale" and self.stand_in(name, raw):
            return
        if self.record.holds and raw.type in NEURONS and self.several_inputs(name, raw):
            return
        operand = self.operand(name, raw)
        if raw.type == DELAY:
            self.add(name, Delay(int(raw.fields["steps"])), [operand], raw)
            return
        self.add(name, self.op(name, raw, self.signals.get(operand)), [operand], raw)

    def several_inputs(self, name: str, raw: RawNode) -> bool:
        """Build a step whose inputs the record keeps apart; NIR itself would add them up."""
        counts = node_record(raw, self.notes).get("operands")
        sources = self.ordered_sources(name, raw)
        if not isinstance(counts, list) or sum(counts) != len(sources):
            return False
        operands: list[str] = []
        for count in counts:
            operands.append(self.total(name, raw, sources[:count]))
            sources = sources[count:]
        self.add(name, self.op(name, raw, self.signals[operands[0]]), operands, raw)
        return True

    def stand_in(self, name: str, raw: RawNode) -> bool:
        """Build the sum or current that a scale by 1 stands for, if the record says so."""
        ops: dict[Any, Op] = {"add": Add(), "current": Current()}
        op = ops.get(node_record(raw, self.notes).get("op"))
        if op is None:
            return False
        sources = self.ordered_sources(name, raw)
        if len({self.kinds[s] is Kind.ANALOG for s in sources}) > 1:
            sources = [self.as_current(source, name) for source in sources]
        self.add(name, op, sources, raw)
        return True

    def op(self, name: str, raw: RawNode, operand: Signal | None) -> Op:
        site = Site(
            name, raw, operand, self.wanted(name), self.semantics, self.semantics.dt, self.notes
        )
        if self.record.holds and raw.type in NEURONS:
            return self.recorded_neuron(site)
        steps = recorded_steps(raw, self.record, self.notes)
        if steps is not None:
            return self.recorded_delay(site, steps)
        op = BUILDERS[raw.type](site)
        return self.recorded_op(op, raw) if self.record.holds else op

    def recorded_delay(self, site: Site, steps: Any) -> Op:
        """Return a delay that the file has in seconds and the record in steps."""
        shapes = _shapes(node_record(site.raw, self.notes))
        seconds = _reduced(site.real("delay"), shapes.get("seconds"))
        return Delay(Tensor(steps) if steps.ndim else int(steps), seconds)

    def recorded_op(self, op: Op, raw: RawNode) -> Op:
        """Undo what the writer did to fit NIR: dense parameters, stand-ins for sums."""
        shapes = _shapes(node_record(raw, self.notes))
        if isinstance(op, Scale):
            return Scale(_reduced(op.scale.numpy(), shapes.get("scale")))
        if isinstance(op, Delay) and isinstance(op.steps, Tensor) and shapes.get("steps") == []:
            return Delay(int(op.steps.numpy().flat[0]))
        return op

    def recorded_neuron(self, site: Site) -> Op:
        """Return a neuron as snnir wrote it: stepped, or continuous with its stepping."""
        rules = node_record(site.raw, self.notes)
        shapes = _shapes(rules)
        step = self._recorded_step(site.path, site.raw)
        if step is not None:
            arrays: Any = site.raw.metadata.get(PARAMS, {})
            names = [name for name, _ in program_of(step).params]
            if not isinstance(arrays, dict) or any(name not in arrays for name in names):
                raise site.fail("SNN102", f"its record '{PARAMS}' misses parameters of {names}")
            params = {name: _reduced(arrays[name], shapes.get(name)) for name in names}
            return Step(step, FrozenDict(params), str(rules.get("model", "")))
        op = BUILDERS[site.raw.type](site)
        assert isinstance(op, Neuron)
        stepping = rules.get("stepping")
        known = self.decoded(Stepping, stepping, site.path)
        params = {k: _reduced(p.numpy(), shapes.get(k)) for k, p in op.params.items()}
        return Neuron(op.model, FrozenDict(params), known)

    def wanted(self, name: str) -> int | None:
        """Return the number of features the next linear layer expects."""
        for user in self.targets[name]:
            weight: Any = self.flat.nodes[user].fields.get("weight")
            if self.flat.nodes[user].type in ("Affine", "Linear") and weight is not None:
                return int(weight.shape[-1])
        return None

    def operand(self, name: str, raw: RawNode) -> str:
        """Return the one value a node reads, adding sums and conversions as needed."""
        return self.total(name, raw, self.ordered_sources(name, raw))

    def total(self, name: str, raw: RawNode, sources: list[str]) -> str:
        """Return the sum of what a node reads."""
        needs_current = raw.type in NEURONS
        mixed = len({self.kinds[s] is Kind.ANALOG for s in sources}) > 1
        if needs_current or mixed:
            sources = [self.as_current(source, name) for source in sources]
        if len(sources) == 1:
            return sources[0]
        total = self.fresh(f"{name}.sum")
        self.add(total, Add(), sources)
        return total

    def ordered_sources(self, name: str, raw: RawNode) -> list[str]:
        """Return what a node reads in order of summation: as recorded, else by name."""
        sources = self.flat.sources[name]
        if not self.record.holds:
            return sources
        listed = node_record(raw, self.notes).get("sources", [])
        origin = {
            s: self.flat.sources[s][0] if self.flat.nodes[s].type == DELAY else s for s in sources
        }
        rank = {source: index for index, source in enumerate(listed)}
        return sorted(sources, key=lambda s: rank.get(origin[s], len(rank)))

    def as_current(self, source: str, name: str) -> str:
        if self.kinds[source] is Kind.ANALOG:
            return source
        current = self.fresh(f"{name}.current")
        self.add(current, Current(), [source])
        return current

    def fresh(self, stem: str) -> str:
        return fresh_name(stem, self.nodes, self.flat.nodes)

    def add(self, name: str, op: Op, sources: list[str], raw: RawNode | None = None) -> None:
        metadata = user_metadata(raw, name, self.notes) if raw is not None else {}
        operands = tuple(Value(source) for source in sources)
        self.nodes[name] = Node(name, op, operands, FrozenDict(metadata))
        try:
            (signal,) = op.infer([self.signals.get(source) for source in sources])
        except OpError as failure:
            self.notes.fail(failure.code, failure.message, name, failure.hint)
            signal = None
        self.signals[name] = signal
        self.kinds.setdefault(name, signal.kind if signal else Kind.ANALOG)

    def output_name(self, name: str, raw: RawNode) -> str:
        """Return the name of an output, which in the graph may be that of a node as well."""
        own = node_record(raw, self.notes).get("output") if self.record.holds else None
        return own if isinstance(own, str) and own and own not in self.outputs else name

    def output(self, name: str, raw: RawNode) -> None:
        operand = self.operand(name, raw)
        self.outputs[self.output_name(name, raw)] = Value(operand)
        value = raw.fields.get("shape")
        actual = self.signals[operand]
        if value is None or isinstance(value, str) or actual is None:
            return
        declared = tuple(int(n) for n in np.atleast_1d(value).ravel()[:32])
        shape = actual.shape
        extra = len(declared) - len(shape)
        if declared == shape:
            return
        if extra > 0 and declared[extra:] == shape and set(declared[:extra]) == {1}:
            self.notes.assume("leading axes of length 1 in the output's shape are dropped", name)
            return
        message = f"the output declares shape {list(declared)}, inferred is {list(shape)}"
        self.notes.fix("SNN104", message, f"take {list(shape)}", name)
