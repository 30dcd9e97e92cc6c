"""`snnir.from_jax` for jaxsnn: from a topology and its parameters to a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snnir.errors import error
from snnir.frontends.jaxsnn_nets.confirm import confirm
from snnir.frontends.jaxsnn_nets.discrete import DiscreteReader
from snnir.frontends.jaxsnn_nets.event import EventReader
from snnir.frontends.jaxsnn_nets.wiring import Wiring, paradigm_of, weights_of, wiring_of
from snnir.ir.graph import Graph, Provenance
from snnir.jaxsnn_neurons import TIES


def load_jaxsnn(
    topology: Any,
    params: Any,
    *,
    dt: float | None = None,
    name: str | None = None,
    ties: str = "half",
) -> Graph:
    """Read a topology of jaxsnn 0.3.0; see `snnir.from_jax`.

    Args:
        topology: A finished `Topology` of `jaxsnn.discrete` or `jaxsnn.event`.
        params: What its `init` returned: {node: weights [source, target], or None}.
        dt: Seconds per step of an event topology's graph; a discrete one has its own.
        name: Name of the graph; `jaxsnn` by default.
        ties: What a discrete membrane exactly on its threshold emits: `half` (as jaxsnn: 0.5, so
            that populations give real numbers), `spike` or `none` (spikes, which differ there).

    Returns:
        A verified graph: step programs for discrete topologies, neurons in continuous time for
        event ones.

    Raises:
        SnnirError: SNN801, SNN802, SNN807 for what cannot be read; SNN808 if jaxsnn's neurons do
            not do here what their programs say.
    """
    if ties not in TIES:
        raise error("SNN801", f"ties is '{ties}', must be one of {', '.join(TIES)}")
    paradigm = paradigm_of(topology)
    wiring = wiring_of(topology)
    weights = weights_of(wiring, params)
    if paradigm == "event":
        return _finished(EventReader(wiring, weights, dt), name)
    _check_dt(float(topology.dt), dt)
    reader = DiscreteReader(wiring, weights, ties)
    reader.notes += _order_notes(wiring)
    graph = _finished(reader, name)
    own = graph if ties == "half" else DiscreteReader(wiring, weights, "half").graph("jaxsnn")
    confirm(wiring, own, params)
    return graph


def _finished(reader: DiscreteReader | EventReader, name: str | None) -> Graph:
    graph = reader.graph(name or "jaxsnn")
    notes = (
        "every node of a jaxsnn topology returns its output; the graph's outputs are the "
        "populations at its end",
        *reader.notes,
    )
    return replace(graph, provenance=Provenance("jaxsnn.Topology", "", notes)).verify()


def _check_dt(own: float, asked: float | None) -> None:
    if asked is not None and asked != own:
        message = f"the topology steps with dt = {own}, {asked} was asked for"
        raise error("SNN303", message, hint="leave dt out, or build the topology with it")


def _order_notes(wiring: Wiring) -> list[str]:
    """Say where the order of a step, and so the delays, are chance."""
    notes = []
    for group in dict.fromkeys(wiring.groups[node] for node in wiring.order):
        members = [node for node in wiring.order if node in group]
        if sum(wiring.kinds[node] != "linear" for node in members) > 1:
            notes.append(
                f"jaxsnn goes through a cycle's nodes in the order of Python's hashes of their "
                f"names, and what comes later is read a step late: here {', '.join(members)}; "
                "another process may have another order (see PYTHONHASHSEED)"
            )
    return notes
