"""From a plan of a network to its graph, in the order of `Network.run`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from snnir.errors import Diagnostic, SnnirError
from snnir.frontends.bindsnet_nets.cells import draws_of, kind_of, write_layer, write_trace
from snnir.frontends.bindsnet_nets.plan import Edge, Plan, edge_name
from snnir.frontends.bindsnet_nets.synapses import Synapses, read_connection
from snnir.frontends.bindsnet_nets.values import Unsupported, sums_exactly, tensor_of, weights_of
from snnir.frontends.bindsnet_nets.writing import Written
from snnir.ir import (
    Add,
    Bias,
    Conv2d,
    Current,
    Delay,
    Editor,
    Flatten,
    Graph,
    Input,
    Kind,
    Linear,
    Op,
    Provenance,
    Reshape,
    Signal,
    Uniform,
    Value,
    Winner,
)
from snnir.rules import keep

#: Seconds in the unit of BindsNET's time step.
MILLISECOND = 1e-3
#: What of a layer a rule's input is, and at which end of the connection.
_READ_OF = {"x_pre": "x", "x_post": "x", "probability": "s_prob"}

#: What objects raise that were tampered with.
_UNREADABLE = (Unsupported, AttributeError, IndexError, TypeError, ValueError)


@dataclass
class Parts:
    """Every part of a network, read.

    Attributes:
        synapses: The connections.
        cells: Step programs of the layers that are no `Input`.
        traces: Step programs that keep the traces of layers besides.
        reads: What rules read of every layer.
        rounding: Layers and connections that may round elsewhere than BindsNET's.
    """

    synapses: dict[Edge, Synapses] = field(default_factory=dict)
    cells: dict[str, Written] = field(default_factory=dict)
    traces: dict[str, Written] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    rounding: list[str] = field(default_factory=list)


def read_parts(plan: Plan) -> Parts:
    """Return the parts of a network.

    Raises:
        SnnirError: SNN802 or SNN807 for everything that cannot be read, at once.
    """
    parts, problems = Parts(reads={name: set() for name in plan.layers}), []
    for edge, connection in plan.connections.items():
        try:
            found = read_connection(edge, connection, bool(plan.network.learning), plan.options)
        except _UNREADABLE as failure:
            problems.append(_problem(edge_name(edge), failure))
            continue
        parts.synapses[edge] = found
        parts.rounding += [found.name] if found.rounds else []
        for name in found.reads:
            if name in _READ_OF:
                end = edge[0] if name == "x_pre" else edge[1]
                parts.reads[end].add(_READ_OF[name])
    for name, layer in plan.layers.items():
        try:
            _read_layer(plan, name, layer, parts)
        except _UNREADABLE as failure:
            problems.append(_problem(name, failure))
    if problems:
        raise SnnirError(problems)
    return parts


def _read_layer(plan: Plan, name: str, layer: Any, parts: Parts) -> None:
    reads = frozenset(parts.reads[name])
    is_input = kind_of(layer) == "Input"
    if not is_input:
        parts.cells[name] = write_layer(layer, reads, plan.options.draws == "counter")
    if is_input or draws_of(layer) == "choice":
        trace = write_trace(layer, reads, summed=is_input)
        if trace is not None:
            parts.traces[name] = trace
    if kind_of(layer) == "IzhikevichNodes" and not sums_exactly(weights_of(layer.S, "S")):
        parts.rounding.append(name)
    if "x" in reads and not layer.traces:
        raise Unsupported("keeps no trace, which a rule reads", "give it traces=True")


def _problem(name: str, failure: Exception) -> Diagnostic:
    if not isinstance(failure, Unsupported):
        what = f"does not look like BindsNET's: {type(failure).__name__}: {failure}"
        return Diagnostic("SNN802", what, node=name)
    return Diagnostic(failure.code, str(failure), node=name, hint=failure.hint)


@dataclass
class Builder:
    """Puts parts together.

    Attributes:
        plan: The network.
        parts: Its parts.
        editor: The graph so far.
        made: Nodes that several others read, by name.
    """

    plan: Plan
    parts: Parts
    editor: Editor = field(default_factory=lambda: Editor(Graph({}, {})))
    made: dict[str, Value] = field(default_factory=dict)

    def graph(self, name: str) -> Graph:
        """Return the graph."""
        reward = any("reward" in found.reads for found in self.parts.synapses.values())
        if reward:
            self.editor.add(self.plan.reward, Input(Signal(Kind.ANALOG, (1,))))
        for layer in self.plan.layers:
            self.layer(layer)
        outputs = {layer: self.spikes(layer) for layer in self.plan.spiking}
        base = self.editor.graph(
            name=name,
            dt=float(self.plan.network.dt) * MILLISECOND,
            provenance=Provenance("bindsnet.network.Network", "", self.notes()),
        )
        return replace(base, outputs=outputs).verify()

    def notes(self) -> tuple[str, ...]:
        """Return what is to be said of the parts."""
        said = [f"{s.name}: {note}" for s in self.parts.synapses.values() for note in s.notes]
        return (*self.plan.notes, *said)

    def once(self, name: str, op: Op, *operands: Value) -> Value:
        """Add a node, unless it is there."""
        if name not in self.made:
            free = self.editor.fresh(name)
            self.made[name] = self.editor.add(free, op, operands)
        return self.made[name]

    # --- Layers ----------------------------------------------------------------------------------

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return a layer's shape."""
        return tuple(int(extent) for extent in self.plan.layers[layer].shape)

    def spikes(self, layer: str) -> Value:
        """Return the spikes of this step."""
        return Value(f"{layer}.one_spike" if self.chooses(layer) else layer)

    def chooses(self, layer: str) -> bool:
        """Whether one of a layer's spikes is chosen."""
        return draws_of(self.plan.layers[layer]) == "choice"

    def result(self, layer: str, what: str) -> Value:
        """Return the trace `x` of a layer or its `s_prob`."""
        if layer in self.parts.traces:
            return Value(f"{layer}.trace")
        return Value(layer, self.parts.cells[layer].results.index(what))

    def layer(self, layer: str) -> None:
        """Add a layer with everything that leads to it."""
        shape = self.shape(layer)
        if layer not in self.parts.cells:
            self.editor.add(layer, Input(Signal(Kind.SPIKES, shape)))
        else:
            drive = self.drive(layer)
            given = {"drive": drive, "draw": None}
            cell = self.parts.cells[layer]
            if "draw" in cell.inputs:
                given["draw"] = self.draw(layer, drive)
            operands = [value for name in cell.inputs if (value := given[name]) is not None]
            self.editor.add(layer, cell.step, operands)
            if self.chooses(layer):
                self.choice(layer, cell, shape)
        if layer in self.parts.traces:
            spikes = self.once(f"{layer}.current", Current(), self.spikes(layer))
            self.editor.add(f"{layer}.trace", self.parts.traces[layer].step, [spikes])

    def choice(self, layer: str, cell: Written, shape: tuple[int, ...]) -> None:
        """Add the choice of one spike: the largest score of those that fired."""
        score = Value(layer, cell.results.index("score"))
        name = f"{layer}.one_spike"
        if len(shape) == 1:
            self.editor.add(name, Winner(), [score])
            return
        flat = self.editor.add(f"{layer}.score.flat", Flatten(), [score])
        winner = self.editor.add(f"{layer}.winner", Winner(), [flat])
        self.editor.add(name, Reshape(shape), [winner])

    def draw(self, layer: str, like: Value) -> Value:
        """Return a layer's random numbers."""
        if self.plan.options.draws == "input":
            op: Op = Input(Signal(Kind.ANALOG, self.shape(layer)))
            return self.editor.add(draw_name(layer), op)
        return self.editor.add(draw_name(layer), Uniform(self.plan.drawing[layer]), [like])

    def drive(self, layer: str) -> Value:
        """Return what a layer takes in: currents of connections in order, then one from outside."""
        terms = [
            self.current(synapses)
            for edge, synapses in self.parts.synapses.items()
            if edge[1] == layer
        ]
        if layer in self.plan.inputs:
            terms.append(
                self.editor.add(f"{layer}.input", Input(Signal(Kind.ANALOG, self.shape(layer))))
            )
        recurrent = getattr(self.plan.layers[layer], "S", None)
        total = self.sum(f"{layer}.sum", terms)
        if recurrent is None or kind_of(self.plan.layers[layer]) != "IzhikevichNodes":
            return total
        return self.sum(f"{layer}.drive", [total, self.within(layer, recurrent)])

    def sum(self, name: str, terms: list[Value]) -> Value:
        """Return the sum of terms, one after the other."""
        return terms[0] if len(terms) == 1 else self.editor.add(name, Add(), terms)

    def within(self, layer: str, weights: Any) -> Value:
        """Return the currents that a layer of Izhikevich neurons gives itself."""
        matrix = weights_of(weights, "S")
        tensor = tensor_of(matrix)
        op: Op = Linear(tensor) if sums_exactly(matrix) else keep().op(tensor)
        return self.editor.add(f"{layer}.S", op, [self.before(layer)])

    # --- Connections -----------------------------------------------------------------------------

    def before(self, layer: str) -> Value:
        """Return a layer's spikes of the step before."""
        return self.once(f"{layer}.before", Delay(1), self.spikes(layer))

    def flat(self, value: Value, layer: str) -> Value:
        """Return a value of a layer along one axis."""
        if len(self.shape(layer)) == 1:
            return value
        result = f"#{value.result}" if value.result else ""
        return self.once(f"{value.node}{result}.flat", Flatten(), value)

    def current(self, synapses: Synapses) -> Value:
        """Return the currents of a connection."""
        source, target = synapses.edge
        late = self.plan.is_delayed(synapses.edge)
        spikes = self.before(source) if late else self.spikes(source)
        taken = synapses.name in self.plan.layers
        name = self.editor.fresh(f"{synapses.name}.synapses" if taken else synapses.name)
        if synapses.rates is not None:
            return self.pooled(name, synapses, spikes)
        if isinstance(synapses.op, Conv2d):
            return self.editor.add(name, synapses.op, [spikes])
        operands = [self.flat(spikes, source)]
        operands += [self.read(name, synapses, wanted) for wanted in synapses.reads]
        current = self.editor.add(name, synapses.op, operands)
        if synapses.bias is not None:
            current = self.editor.add(f"{name}.bias", Bias(synapses.bias), [current])
        shape = self.shape(target)
        if len(shape) > 1:
            current = self.editor.add(f"{name}.shaped", Reshape(shape), [current])
        return current

    def pooled(self, name: str, synapses: Synapses, spikes: Value) -> Value:
        """Return spikes of the pixels that fire most."""
        assert synapses.rates is not None
        seen = self.once(f"{spikes.node}.current", Current(), spikes)
        rates = self.editor.add(f"{name}.rates", synapses.rates, [seen])
        picked = self.editor.add(name, synapses.op, [rates, spikes])
        return self.editor.add(f"{name}.current", Current(), [picked])

    def read(self, name: str, synapses: Synapses, wanted: str) -> Value:
        """Return what a rule reads: of this step."""
        source, target = synapses.edge
        if wanted == "reward":
            return Value(self.plan.reward)
        layer = source if wanted in ("pre", "x_pre", "p_plus") else target
        if wanted in _READ_OF:
            return self.flat(self.result(layer, _READ_OF[wanted]), layer)
        spikes = self.flat(self.spikes(layer), layer)
        if wanted not in synapses.traces:
            return spikes
        seen = self.once(f"{spikes.node}.current", Current(), spikes)
        return self.editor.add(f"{name}.{wanted}", synapses.traces[wanted], [seen])


def draw_name(layer: str) -> str:
    """Return the name of the node with a layer's random numbers."""
    return f"{layer}.draw"
