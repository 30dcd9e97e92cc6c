"""Decays chosen by spikes: the nearest ones or those beside them, whichever do best on events."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.ir.graph import Graph
from snnir.targets.xylo.layout import Layout
from snnir.targets.xylo.rehearsal import rehearse

Array = npt.NDArray[Any]

#: Shifts beside the nearest that are tried; the nearest first, so that it wins a tie.
BESIDE: list[tuple[int, int]] = sorted(
    itertools.product((-1, 0, 1), (-1, 0, 1)), key=lambda pair: (abs(pair[0]) + abs(pair[1]), pair)
)


def tuned(layout: Layout, events: Array) -> Layout:
    """Return a layout whose populations spike most like the graph's on events [T, B, channels].

    A decay that lies between two of the chip can be nearer to one in its curve and to the other in
    what the network does. Populations are tried one after another, in order of flow.
    """
    wanted = graph_spikes(layout.structure.graph, events)
    for name, population in layout.structure.populations.items():
        if population.fires:
            tried = [_with(layout, name, pair) for pair in BESIDE]
            costs = [_differing(each, name, wanted[name], events) for each in tried]
            layout = tried[int(np.argmin(costs))]
    return layout


def graph_spikes(graph: Graph, events: Array) -> dict[str, Array]:
    """Return the graph's own spikes [T, B, neurons] of every population."""
    from snnir.driver import run

    at, inputs = 0, {}
    for name, signal in graph.inputs.items():
        part = events[:, :, at : at + signal.size]
        inputs[name] = part.reshape(*events.shape[:2], *signal.shape).astype(np.float32)
        at += signal.size
    names = [node.name for node in graph.nodes.values() if not node.op.is_stateless]
    recorded = run(graph, inputs, names).recorded
    return {name: values.reshape(*events.shape[:2], -1) for name, values in recorded.items()}


def _with(layout: Layout, name: str, pair: tuple[int, int]) -> Layout:
    return replace(layout, synapses=layout.synapses | {name: layout.synapses[name].beside(pair)})


def _differing(layout: Layout, name: str, wanted: Array, events: Array) -> float:
    """Return how many spikes differ, each where the chip's latency puts it, and in number."""
    found, lag = rehearse(layout, events)[name].spikes, layout.structure.populations[name].latency
    steps = len(wanted) - abs(lag)
    late, early = max(lag, 0), max(-lag, 0)
    apart = found[late : late + steps] - wanted[early : early + steps]
    return float(np.abs(apart).sum() + np.abs(apart.sum(axis=0)).sum())
