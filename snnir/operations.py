"""How much a network does on an input: spikes, synaptic operations, and what they would cost.

A synaptic operation is one event arriving over one connection, as Sinabs' analyser counts it: the
sum of a synapse's input times the number of outputs each element reaches; connections over the edge
do not count, nor do those that a sparse matrix does not have. A mean pool before a synapse does not
make events smaller. What a rule does when synapses learn is not counted. For binary spikes this is
also what SpikingJelly's `SynOpCounter` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.artefact import populations
from snnir.ir.graph import Graph, Value
from snnir.ir.plastic import Plastic
from snnir.ir.pooling import AvgPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Flatten, Pad, Permute, Reshape
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.ir.timing import Delay
from snnir.running import Result

Array = npt.NDArray[Any]
_SYNAPSES = (Linear, Conv1d, Conv2d, SparseLinear, Plastic)

#: Energy in joules of one synaptic operation, one multiply-add (None where hardware has events
#: only), and one update of a neuron; with the source.
ENERGY: dict[str, tuple[float, float | None, float, str]] = {
    "45 nm float32": (
        0.9e-12, 4.6e-12, 4.6e-12,
        "addition 0.9 pJ, product 3.7 pJ: M. Horowitz, Computing's energy problem, ISSCC 2014",
    ),
    "45 nm int8": (
        0.03e-12, 0.23e-12, 0.23e-12,
        "addition 0.03 pJ, product 0.2 pJ: M. Horowitz, Computing's energy problem, ISSCC 2014",
    ),
    "Loihi": (
        23.6e-12, None, 81e-12,
        "23.6 pJ per synaptic operation, 81 pJ per neuron update: M. Davies et al., Loihi, "
        "IEEE Micro 38(1), 2018, table 2",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SynapseActivity:
    """What one synapse did per sample.

    Attributes:
        node: Its name.
        connections: Number of connections.
        operations: Synaptic operations over the run.
        products: Multiply-adds that dense arithmetic needs over the run.
    """

    node: str
    connections: int
    operations: float
    products: int


@dataclass(frozen=True)
class PopulationActivity:
    """What one population did per sample.

    Attributes:
        node: Its name.
        neurons: Number of neurons.
        spikes: Spikes over the run.
        rate: Spikes per neuron and step.
    """

    node: str
    neurons: int
    spikes: float
    rate: float


@dataclass(frozen=True)
class Activity:
    """What a network did, per sample.

    Attributes:
        steps: Length of the run.
        dt: Seconds per step, if known.
        synapses, populations: In order of flow.
        run: What was counted: inputs and populations, if the run is at hand.
    """

    steps: int
    dt: float | None
    synapses: tuple[SynapseActivity, ...]
    populations: tuple[PopulationActivity, ...]
    run: Result | None = field(default=None, repr=False, compare=False)

    @property
    def operations(self) -> float:
        """Synaptic operations in all."""
        return sum(each.operations for each in self.synapses)

    @property
    def per_second(self) -> float | None:
        """Synaptic operations per second of model time."""
        return None if not self.dt else self.operations / (self.steps * self.dt)

    def energy(self) -> dict[str, tuple[float, float | None]]:
        """Return joules per sample by technology: event-driven, and (or None) dense arithmetic.

        Synaptic operations (or multiply-adds) and one update of every neuron in every step, with
        the constants of `ENERGY`; memory, communication and leakage are not in it.
        """
        updates = sum(each.neurons for each in self.populations) * self.steps
        products = sum(each.products for each in self.synapses)
        return _joules(self.operations, products, updates)

    def energy_by_node(self) -> dict[str, dict[str, tuple[float, float | None]]]:
        """Return what `energy` does for every synapse and population, by name."""
        found = {each.node: _joules(each.operations, each.products, 0) for each in self.synapses}
        for each in self.populations:
            found[each.node] = _joules(0.0, 0, each.neurons * self.steps)
        return found


def _joules(
    operations: float, products: int, updates: int
) -> dict[str, tuple[float, float | None]]:
    """Return what work costs by technology: events, and dense arithmetic or None."""
    return {
        name: (
            operations * event + updates * update,
            None if dense is None else products * dense + updates * update,
        )
        for name, (event, dense, update, _) in ENERGY.items()
    }


def activity(graph: Graph, x: Any) -> Activity:
    """Run a graph with NumPy and count.

    Args:
        graph: The graph.
        x: [T, B, *shape], or one such array per input name.

    Raises:
        SnnirError: SNN601 if x does not fit.
    """
    from snnir.driver import compile

    made = compile(graph, "numpy", level=0)
    discrete = made.graph
    synapses = [n for n in discrete.order if isinstance(discrete[n].op, _SYNAPSES)]
    read = dict.fromkeys(discrete[name].operands[0].node for name in synapses)
    spiking = populations(discrete)
    result = made.run(x, list(dict.fromkeys([*discrete.inputs, *read, *spiking])))
    steps = next(iter(result.outputs.values())).shape[0]
    found = tuple(_synapse(discrete, name, result.recorded, steps) for name in synapses)
    counted = _populations(discrete, result.recorded, steps)
    kept = {name: result.recorded[name] for name in [*discrete.inputs, *spiking]}
    return Activity(steps, discrete.dt, found, counted, replace(result, recorded=kept))


def _populations(
    graph: Graph, recorded: Mapping[str, Array], steps: int
) -> tuple[PopulationActivity, ...]:
    rows = []
    for name, size in populations(graph).items():
        trace = recorded[name]
        spikes = float(trace.sum(dtype=np.float64)) / trace.shape[1]
        rows.append(PopulationActivity(name, size, spikes, spikes / (size * steps)))
    return tuple(rows)


def _synapse(graph: Graph, name: str, recorded: Mapping[str, Array], steps: int) -> SynapseActivity:
    node = graph[name]
    reach = fan_out(graph, name)
    events = np.abs(recorded[node.operands[0].node]).sum(axis=0, dtype=np.float64).mean(axis=0)
    operations = float((events * reach).sum()) * _window(graph, node.operands[0])
    connections = int(reach.sum())
    return SynapseActivity(name, connections, operations, connections * steps)


def _window(graph: Graph, value: Value) -> int:
    """Return by how much mean pools before a synapse made its events smaller."""
    node, window = graph[value.node], 1
    while isinstance(node.op, (AvgPool2d, Flatten, Reshape, Permute, Pad, Delay)):
        if isinstance(node.op, AvgPool2d):
            window *= prod(node.op.kernel)
        node = graph[node.operands[0].node]
    return window


def fan_out(graph: Graph, name: str) -> Array:
    """Return to how many outputs each element of a synapse's input is connected."""
    node = graph[name]
    source, target = graph.signals[node.operands[0]].shape, graph.signal(name).shape
    op = node.op
    if isinstance(op, (Linear, Plastic)):
        return np.full(source, op.weight.shape[0], np.int64)
    if isinstance(op, SparseLinear):
        held = np.repeat(op.columns.numpy(), op.block)[op.values.numpy().reshape(-1) != 0]
        return np.broadcast_to(np.bincount(held, minlength=op.inputs), source)
    assert isinstance(op, (Conv1d, Conv2d))
    reach = np.ones((), np.int64)
    axes = zip(
        source[1:], target[1:], op.weight.shape[2:], op.stride, op.padding, op.dilation, strict=True
    )
    for extent, positions, kernel, stride, (before, _), dilation in axes:
        places = np.arange(positions)[:, None] * stride + np.arange(kernel) * dilation - before
        inside = places[(places >= 0) & (places < extent)]
        reach = np.multiply.outer(reach, np.bincount(inside, minlength=extent))
    return np.broadcast_to(reach * (op.weight.shape[0] // op.groups), source)
