"""From a graph of continuous neurons to an `EventNetwork`."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.order import flow_order
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.streams import Kind
from snnir.targets.events.fold import LINEAR, Folder, Paths
from snnir.targets.events.network import Block, EventNetwork, Synapses
from snnir.targets.events.neurons import joined, neurons_of, problems_of
from snnir.tensors import FrozenDict, Tensor


def find_problems(graph: Graph) -> list[Diagnostic]:
    """Return everything that has no form in continuous time, with the node and a remedy."""
    found = []
    if graph.dt is None:
        hint = "set one with --dt or dt=: inputs, refractory times and the area of spikes need it"
        found.append(Diagnostic("SNN303", "the graph has no dt", hint=hint))
    for node in graph.nodes.values():
        found += _node_problems(graph, node)
    found += _flow_problems(graph)
    for name, value in graph.outputs.items():
        if not isinstance(graph.nodes[value.node].op, (Input, Neuron)):
            message = f"output '{name}' is not a population or an input"
            hint = "read the population itself, and do the rest with what it gives"
            found.append(Diagnostic("SNN501", message, value.node, hint=hint))
    return found


def _node_problems(graph: Graph, node: Node) -> list[Diagnostic]:
    op = node.op
    if isinstance(op, Neuron):
        readers = [graph.nodes[user] for user, _ in graph.uses[node.name]]
        if not op.definition.spikes and readers:
            message = f"{readers[0].name} reads its membrane, which is no stream of events"
            hint = "only the outputs of a graph may be read from neurons that do not fire"
            return [Diagnostic("SNN501", message, node.name, hint=hint)]
        return problems_of(node, op)
    if isinstance(op, Step):
        hint = "load the continuous model: this target takes neurons that no pass has discretised"
        return [Diagnostic("SNN501", "is already stepped", node.name, hint=hint)]
    if isinstance(op, (Input, Delay, *LINEAR)):
        bad = [name for name, t in op.tensors().items() if not _is_finite(t.numpy())]
        message = f"{', '.join(bad)} has elements that are not finite"
        return [Diagnostic("SNN501", message, node.name, hint="use finite numbers")] if bad else []
    message = f"'{op.name}' is not linear, so that single events have no effect of their own"
    hint = "use sums and means instead, or a simulator with steps"
    return [Diagnostic("SNN501", message, node.name, hint=hint)]


def _is_finite(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _flow_problems(graph: Graph) -> list[Diagnostic]:
    order = set(_linear_order(graph))
    rest = [name for name, node in graph.nodes.items() if _is_linear(node) and name not in order]
    if not rest:
        return []
    message = f"a cycle without neurons: {', '.join(rest[:4])}{' …' if len(rest) > 4 else ''}"
    return [Diagnostic("SNN501", message, rest[0], hint="put a population into it")]


def _is_linear(node: Node) -> bool:
    return isinstance(node.op, (Delay, *LINEAR))


def _linear_order(graph: Graph) -> list[str]:
    names = {name for name, node in graph.nodes.items() if _is_linear(node)}
    sources = {
        name: {value.node for value in graph.nodes[name].operands if value.node in names}
        for name in graph.nodes
        if name in names
    }
    return list(flow_order(sources))


def build_network(graph: Graph, *, held: bool = False, keep_zeros: bool = False) -> EventNetwork:
    """Return the network of a graph of continuous neurons.

    Args:
        graph: The graph.
        held: Spikes are held for a step instead of kicking, except where they jump onto synapses.
        keep_zeros: Keep synapses whose weight is 0 if it is an element of a tensor.

    Raises:
        SnnirError: Everything that has no form in continuous time, at once.
    """
    problems = find_problems(graph)
    if problems:
        raise SnnirError(problems)
    assert graph.dt is not None
    pulse = graph.dt if held else 0.0
    blocks, starts, at = [], {}, 0
    named = [n for n in graph.nodes.values() if isinstance(n.op, Input)]
    populations = [graph.nodes[n] for n in graph.order if isinstance(graph.nodes[n].op, Neuron)]
    for node in [*named, *populations]:
        shape = graph.signal(node.name).shape
        blocks.append(Block(node.name, at, shape, _kind(graph, node)))
        starts[node.name] = at
        at += prod(shape)
    inputs = sum(prod(graph.signal(node.name).shape) for node in named)
    folder = Folder(graph, starts)
    for name in _linear_order(graph):
        folder.fold(name)
    parts, paths, late = [], [], []
    for node in populations:
        assert isinstance(node.op, Neuron)
        shape = graph.signal(node.name).shape
        form = folder.of(node.operands[0])
        arrays = neurons_of(node.op, shape, graph.dt, pulse)
        parts.append({**arrays, "bias": form.constant.reshape(-1)})
        target = form.paths.target + (starts[node.name] - inputs)
        paths.append(replace(form.paths, target=target))
        if form.is_late:
            message = "a constant comes to it through a delay"
            hint = "put the delay before the bias (--recurrent-bias always)"
            late.append(Diagnostic("SNN501", message, node.name, hint=hint))
    if late:
        raise SnnirError(late)
    neurons = joined(parts) if parts else joined([neurons_of(_NOBODY, (0,), 1.0, 0.0)])
    outputs = {name: value.node for name, value in graph.outputs.items()}
    synapses = _synapses(Paths.joined(paths), at, keep_zeros)
    return EventNetwork(
        tuple(blocks), neurons, synapses, tuple(folder.tensors), outputs,
        pulse if not neurons.kick.all() else 0.0, graph.dt, tuple(sorted(folder.products)),
    )  # fmt: skip


#: A model for graphs that have no population.
_NOBODY = Neuron("i", FrozenDict({"r": Tensor(np.float64(1.0))}))


def _kind(graph: Graph, node: Node) -> str:
    if isinstance(node.op, Input):
        return "current" if node.op.signal.kind is Kind.ANALOG else "input"
    return "readout" if graph.signal(node.name).kind is Kind.ANALOG else "spiking"


def _synapses(paths: Paths, units: int, keep_zeros: bool) -> Synapses:
    kept = paths.weight != 0
    if keep_zeros:
        kept |= paths.tensor >= 0
    paths = paths.taken(kept)
    paths = paths.taken(np.lexsort((paths.target, paths.delay, paths.unit)))
    first = np.concatenate([[0], np.cumsum(np.bincount(paths.unit, minlength=units))])
    return Synapses(
        first.astype(np.int64), paths.target, paths.weight, paths.delay, paths.tensor,
        paths.element, paths.factor,
    )  # fmt: skip
