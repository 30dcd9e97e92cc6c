"""From a graph to populations of circuits and matrices of real weights, or what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.order import components
from snnir.ir.structure import Flatten, Input, Reshape
from snnir.ir.timing import Delay
from snnir.linear_forms import LINEAR, LinearForms, Read, follow_reads
from snnir.streams import Kind
from snnir.targets.bss2.mapping.neurons import ChipNeurons, NotFit, chip_neurons, with_synapse

Array = npt.NDArray[Any]

#: Weights that may be unrolled at once, zeros included: 1.6 GB of them.
MOST_WEIGHTS = 2 * 10**8
DELAY_HINT = "the chip has no delays; only the one step of a recurrent connection can be dropped"


@dataclass(frozen=True)
class Population:
    """Neurons of one node.

    Attributes:
        name: The node.
        shape: Of its signal.
        neurons: What they are.
        weights: [target, source] by source, in the model's units.
        constant: [target], what is added to the input in every step.
    """

    name: str
    shape: tuple[int, ...]
    neurons: ChipNeurons
    weights: dict[str, Array]
    constant: Array

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)


@dataclass(frozen=True)
class Output:
    """An output of the graph: the population it is, and its shape."""

    name: str
    population: str
    shape: tuple[int, ...]


@dataclass
class Model:
    """What was found; `problems` says what does not fit.

    Attributes:
        graph: The graph.
        inputs: Shapes by name.
        populations: By name, in order of flow.
        outputs: The graph's outputs.
        problems: Everything the chip has no form for.
    """

    graph: Graph
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)

    def report(self, node: str | None, what: str, hint: str | None = None) -> None:
        """Note a problem."""
        self.problems.append(Diagnostic("SNN501", what, node, hint=hint))


def find_model(graph: Graph, dt: float, tau_syn: float | None) -> Model:
    """Return the populations of a graph, or why it has none the chip could be.

    Args:
        graph: The graph.
        dt: Seconds per step.
        tau_syn: For neurons without a synaptic current, in seconds of the model's time; None to
            refuse them.
    """
    return _Finder(graph, dt, tau_syn).run()


class _Finder:
    def __init__(self, graph: Graph, dt: float, tau_syn: float | None) -> None:
        self.graph, self.dt, self.tau_syn = graph, dt, tau_syn
        self.model = Model(graph)

    def run(self) -> Model:
        model, graph = self.model, self.graph
        model.inputs = {name: signal.shape for name, signal in graph.inputs.items()}
        if not model.inputs:
            model.report(None, "the graph has no input", "the chip takes events")
        neurons = {}
        for name in graph.order:
            found = self._check(graph.nodes[name])
            if found is not None:
                neurons[name] = found
        reads, cyclic = follow_reads(graph, self._source)
        for name in cyclic:
            model.report(name, "is in a cycle without neurons, which the chip cannot have")
        stepped = {
            name: self._reads(node, reads)
            for name, node in graph.nodes.items()
            if isinstance(node.op, (Neuron, Step))
        }
        self._check_delays(stepped)
        self._check_size({**reads, **{name: stepped[name] for name in neurons}})
        self._find_outputs()
        if not model.problems:
            self._unroll(reads, neurons)
        return model

    def _check(self, node: Node) -> ChipNeurons | None:
        """Return what a node is as a population; note what it cannot be."""
        op = node.op
        if isinstance(op, (Neuron, Step)) and not self.graph.signal(node.name).size:
            self.model.report(node.name, "has no neurons", "leave it out")
        elif any(not tensor.is_resolved for tensor in op.tensors().values()):
            self.model.report(node.name, "its weights are not at hand", "load the file itself")
        elif isinstance(op, (Neuron, Step)):
            try:
                shape = self.graph.signal(node.name).shape
                return with_synapse(chip_neurons(op, shape, self.dt), self.tau_syn)
            except NotFit as problem:
                self.model.report(node.name, problem.message, problem.hint)
        elif isinstance(op, Delay):
            if op.longest != op.shortest:
                what = f"delays its elements by {op.shortest} to {op.longest} steps"
                self.model.report(node.name, what, DELAY_HINT)
        elif not isinstance(op, (Input, *LINEAR)):
            what = f"op '{op.name}' is no sum of weighted events"
            hint = "use sum or mean pools instead" if op.name == "max_pool2d" else None
            self.model.report(node.name, what, hint)
        return None

    def _source(self, user: Node, value: Value) -> frozenset[Read]:
        node = self.graph.nodes[value.node]
        if isinstance(node.op, (Neuron, Step)) and not self._spikes(value):
            what = f"reads the membrane of '{node.name}'; on the chip neurons exchange spikes only"
            self.model.report(user.name, what)
            return frozenset()
        return frozenset({(node.name, 0)})

    def _spikes(self, value: Value) -> bool:
        return self.graph.signals[value].kind is not Kind.ANALOG

    def _reads(self, node: Node, reads: dict[str, frozenset[Read]]) -> frozenset[Read]:
        found = (reads[v.node] if v.node in reads else self._source(node, v) for v in node.operands)
        return frozenset[Read]().union(*found)

    def _check_delays(self, found: dict[str, frozenset[Read]]) -> None:
        """Allow a step in a recurrence, which only orders it; refuse delays that mean time.

        Args:
            found: What each population reads.
        """
        read_by = {name: [s for s, _ in sorted(own) if s in found] for name, own in found.items()}
        loops = {name: set(loop) for loop in components(read_by) for name in loop}
        for name, own in found.items():
            delays: dict[str, set[int]] = {}
            for source, delay in sorted(own):
                delays.setdefault(source, set()).add(delay)
            for source, steps in delays.items():
                recurrent = source in loops[name]
                if steps == {0} or (recurrent and steps == {1}):
                    continue
                listed = " and ".join(map(str, sorted(steps)))
                what = f"reads '{source}' after {listed} steps"
                self.model.report(name, what, DELAY_HINT)

    def _check_size(self, found: dict[str, frozenset[Read]]) -> None:
        """Refuse matrices that are too large to be tried.

        Args:
            found: What each linear op and population reads.
        """
        size = {name: self.graph.signal(name).size for name in self.graph.nodes}
        total = sum(
            size[name] * size[source]
            for name, own in found.items()
            for source in {source for source, _ in own}
        )
        if total > MOST_WEIGHTS:
            what = f"unrolled, its synapses are matrices of {total:,} weights"
            hint = f"more than {MOST_WEIGHTS:,} are not tried; a chip has 131,072 synapses"
            self.model.report(None, what, hint)

    def _find_outputs(self) -> None:
        for name, start in self.graph.outputs.items():
            value = start
            node = self.graph.nodes[value.node]
            while isinstance(node.op, (Flatten, Reshape)):
                value = node.operands[0]
                node = self.graph.nodes[value.node]
            if isinstance(node.op, (Neuron, Step)) and not value.result:
                shape = self.graph.signals[start].shape
                self.model.outputs.append(Output(name, node.name, shape))
            else:
                what = f"output '{name}' is neither the spikes nor the membrane of a population"
                hint = "end with a LIF population, or with a leaky integrator to read membranes"
                self.model.report(node.name, what, hint)

    def _unroll(self, reads: dict[str, frozenset[Read]], neurons: dict[str, ChipNeurons]) -> None:
        forms = LinearForms(self.graph, reads)
        for name, own in neurons.items():
            node = self.graph.nodes[name]
            shape = self.graph.signal(name).shape
            weights, constant = _onto(node, forms)
            self.model.populations[name] = Population(name, shape, own, weights, constant)
            wrong = [a for a in (*weights.values(), constant) if not np.isfinite(a).all()]
            if wrong:
                self.model.report(name, "its weights are not all finite", "train it again")


def _onto(node: Node, forms: LinearForms) -> tuple[dict[str, Array], Array]:
    """Return weights [target, source] by source and constants [target] of all operands together."""
    weights: dict[str, Array] = {}
    constant: Array = np.zeros(())
    for index, value in enumerate(node.operands):
        form, gain = forms.of(value), np.ones(())
        if index and isinstance(node.op, Step) and "w_in" in node.op.params:
            # Only the first input has a gain of its own, which the neurons' charge includes.
            gain = 1.0 / node.op.params["w_in"].numpy().astype(np.float64)
        for source, part in form.parts.items():
            matrix = (part * gain).reshape(len(part), -1).T
            weights[source] = weights[source] + matrix if source in weights else matrix
        constant = constant + (form.constant * gain).reshape(-1)
    return {source: np.ascontiguousarray(w) for source, w in weights.items()}, constant
