"""What generated event files define; read as text by function, never imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike

Array = Any


class Ordered(Topology):
    """A topology with a stated order; jaxsnn's own depends on the hashes of names."""

    def __init__(self, order: Sequence[tuple[str, ...]], **settings: Any) -> None:
        super().__init__(**settings)
        self.order = order

    def pre_process(self) -> list[tuple[str, ...]]:
        """Attach the functions of the nodes and return the order of their components."""
        nodes = [node for group in self.order for node in group]
        self.node_index_mapping = {node: at for at, node in enumerate(nodes)}
        self.node_scc_mapping = {node: group for group in self.order for node in group}
        self.attach_layer_fns()
        return list(self.order)


class Full(Exception):
    """A population has no slot left for events."""


def events_of(spikes: Array, dt: float) -> Spike:
    """Return spikes or counts [T, B, size] as events [B, most], each at the start of its step."""
    counts = np.asarray(spikes).astype(np.int64)
    batch = counts.shape[1]
    most = max(1, int(counts.sum(axis=(0, 2)).max(initial=0)))
    time = np.full((batch, most), np.inf, np.float32)
    index = np.full((batch, most), -1, np.int32)
    for sample in range(batch):
        step, unit = np.nonzero(counts[:, sample])
        repeat = counts[step, sample, unit]
        found = np.repeat(step * dt, repeat)
        time[sample, : len(found)] = found
        index[sample, : len(found)] = np.repeat(unit, repeat)
    used = index >= 0
    zeros = np.zeros_like(time)
    layer = np.where(used, 0, -1)
    return Spike(*(jnp.asarray(x) for x in (time, index, zeros, layer, used)))


def counts_of(events: Spike, t_max: float, shape: tuple[int, int, int], dt: float) -> Array:
    """Return a population's own spikes as counts [T, B, size].

    Raises:
        Full: If its slots were full before the end, so that events may be missing.
    """
    time, index = np.asarray(events.time, np.float64), np.asarray(events.idx)
    if ((index[:, -1] >= 0) & (time[:, -1] < t_max)).any():
        raise Full
    counts = np.zeros(shape, np.float32)
    sample, slot = np.nonzero(np.asarray(events.internal) & (index >= 0))
    step = np.floor(time[sample, slot] / dt + 1e-9).astype(np.int64)
    kept = step < shape[0]
    np.add.at(counts, (step[kept], sample[kept], index[sample, slot][kept]), 1.0)
    return counts


def simulate(net: Topology, params: Any, inputs: dict[str, Array], dt: float) -> dict[str, Array]:
    """Return the spikes of every population, [T, B, size].

    Raises:
        Full: If slots were full; its argument is the population.
    """
    apply = net.generate_apply_fn(net.pre_process())
    events = jax.jit(apply)({name: events_of(x, dt) for name, x in inputs.items()}, params)
    steps, batch = next(iter(inputs.values())).shape[:2]
    found = {}
    for node, result in events.items():
        if node in inputs or result is None:
            continue
        size = net.graph.nodes[node]["module"].size
        try:
            found[node] = counts_of(result, net.t_max, (steps, batch, size), dt)
        except Full:
            raise Full(node) from None
    return found
