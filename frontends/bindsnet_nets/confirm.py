"""Comparing a graph with a run of BindsNET on made-up input.

So a layer whose code was changed, or a version that computes otherwise, is found when a network is
read. Where sums may round elsewhere a note says so, and whether that was seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnir.driver import run
from snnir.errors import error
from snnir.frontends.bindsnet_nets.build import Parts, draw_name
from snnir.frontends.bindsnet_nets.plan import Plan
from snnir.frontends.bindsnet_nets.values import Array
from snnir.ir import Graph, Kind, Plastic

_STEPS = 32
#: Weights times steps that are tried.
_WORK = 3e8


def confirmed(plan: Plan, parts: Parts, graph: Graph) -> Graph:
    """Return a graph with a note of how it compares with BindsNET.

    Raises:
        SnnirError: SNN801 if BindsNET fails on the network, SNN808 if it does something else and
            that is not due to rounding.
    """
    from snnir.frontends.bindsnet_nets.live import run_network

    given = made_up(graph, plan)
    theirs = run_network(plan, given)
    if plan.options.draws == "input":
        given |= {draw_name(name): numbers for name, numbers in theirs.draws.items()}
    record = [name for name in theirs.states if is_state(graph, name)]
    ours = run(graph, given, record)
    pairs = {name: (theirs.spikes[name], ours.outputs[name]) for name in plan.spiking}
    pairs |= {name: (theirs.states[name], ours.recorded[name]) for name in record}
    pairs |= weight_pairs(graph, theirs.weights, ours.lasting)
    pairs = {name: _squeezed(*pair) for name, pair in pairs.items()}
    different = [name for name, (one, two) in pairs.items() if not _equal(one, two)]
    steps = len(next(iter(given.values())))
    found = unexplained(pairs, rounded(plan, parts), plan.spiking)
    if found is not None:
        _refuse(found, *pairs[found])
    what = "equal in every bit" if not different else f"{', '.join(different)} differ by rounding"
    note = f"beside BindsNET over {steps} steps of one made-up sample: {what}"
    provenance = replace(graph.provenance, notes=(*graph.provenance.notes, note))
    return replace(graph, provenance=provenance).verify()


def made_up(graph: Graph, plan: Plan) -> dict[str, Array]:
    """Return input [T, 1, *shape] that makes some neurons fire."""
    rng = np.random.default_rng(0)
    size = sum(t.size for t in graph.tensors().values())
    steps = int(np.clip(_WORK / (size + 1), 4, _STEPS))
    given = {}
    for name, signal in graph.inputs.items():
        shape = (steps, 1, *signal.shape)
        if signal.kind is Kind.SPIKES:
            values = (rng.random(shape) < 0.3) * 1.0
        elif name.endswith(".draw"):
            values = 1.0 - rng.random(shape)
        else:
            values = np.rint(rng.normal(4.0, 16.0, shape)) / 4.0
        given[name] = values.astype(np.float32)
    return given


def is_state(graph: Graph, name: str) -> bool:
    """Whether a graph has a state called `node:state`."""
    node, _, state = name.rpartition(":")
    return any(s.name == state for s in graph.nodes[node].op.program.states)  # type: ignore[attr-defined]


def weight_pairs(
    graph: Graph, theirs: dict[str, Array], ours: dict[str, Array]
) -> dict[str, tuple[Array, Array]]:
    """Return the weights that may learn, [post, pre], both."""
    found = {}
    for name, weights in theirs.items():
        node = graph.nodes.get(name)
        if node is not None and isinstance(node.op, Plastic):
            post, pre = node.op.shape
            key = f"{name}:{node.op.weight_state.name}"
            found[key] = (weights.reshape(pre, post).T, ours[key])
    return found


def rounded(plan: Plan, parts: Parts) -> set[str]:
    """Return the layers and connections that sums which may round elsewhere lead to."""
    found = set(parts.rounding)
    while True:
        more = set()
        for edge, synapses in parts.synapses.items():
            if synapses.name in found or edge[0] in found:
                more.add(edge[1])
            if synapses.reads and not found.isdisjoint(edge):
                more.add(synapses.name)
        if more <= found:
            return found
        found |= more


def unexplained(
    pairs: dict[str, tuple[Array, Array]], reached: set[str], layers: list[str]
) -> str | None:
    """Return what differs otherwise than by rounding, if anything.

    What rounding does not reach must be close throughout. A layer that it reaches must be close
    when it first differs: later, one spike more may have changed everything.

    Args:
        pairs: BindsNET's and ours by layer, `layer:state` and `connection:w`; the former [T, ...].
        reached: Layers and connections that rounding reaches.
        layers: Those of which spikes are compared.
    """
    for name, pair in pairs.items():
        owner = name if name in layers else name.rpartition(":")[0]
        if owner not in reached and not _is_close(*pair):
            return name
    first = {name: _first(*pair) for name, pair in pairs.items()}
    for layer in layers:
        states = [name for name in pairs if name.rpartition(":")[0] == layer]
        step = min(first[name] for name in (layer, *states))
        if layer not in reached or step == len(pairs[layer][0]):
            continue
        same = pairs[layer][0][step] == pairs[layer][1][step]
        seen = any(first[name] <= step for name in layers if name != layer) or bool(same.all())
        for name in states:
            one, two = (part[step] for part in pairs[name])
            kept = same if same.shape == one.shape else same.all(axis=0)
            seen |= not _equal(one[kept], two[kept])
            if not _is_close(one[kept], two[kept]):
                return name
        if not seen:
            return layer
    return None


def _first(one: Array, two: Array) -> int:
    """Return the first index at which two arrays differ, their length if they do not."""
    apart = ~np.isclose(one, two, 0, 0, equal_nan=True)
    return next((step for step, part in enumerate(apart) if part.any()), len(one))


def _squeezed(one: Array, two: Array) -> tuple[Array, Array]:
    """Return both as [T, ...]; states that samples share have no axis for them in BindsNET."""
    return (one, two[:, 0]) if one.ndim < two.ndim else (one, two)


def _equal(one: Array, two: Array) -> bool:
    return bool(np.array_equal(one, two, equal_nan=True))


def _is_close(one: Array, two: Array) -> bool:
    """Whether two arrays differ by no more than rounding of terms as large as the largest."""
    largest = np.abs(one[np.isfinite(one)]).max(initial=0.0)
    return bool(np.allclose(one, two, rtol=1e-5, atol=1e-6 + 1e-6 * largest, equal_nan=True))


def _refuse(name: str, one: Any, two: Any) -> None:
    place = tuple(int(i) for i in np.argwhere(~np.isclose(one, two, 0, 0, equal_nan=True))[0])
    raise error(
        "SNN808",
        f"does not do what BindsNET's source says: {name}{list(place)} is {one[place]!s}, the "
        f"graph gives {two[place]!s}",
        node=name.partition(":")[0],
        hint="changed code, or another version than 0.3.4, may be the cause",
    )
