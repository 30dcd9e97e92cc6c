"""Origins that the public verbs know: of live models, and of a stepping that is chosen again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.ir.origins import Items, Origin, Origins
from snnir.meaning import given_by
from snnir.semantic_items import Choice, stepping_items
from snnir.tensors import FrozenDict

_OPTION_DT = "option 'dt'"
_ON_A_GRID = "semantics 'jaxsnn', for targets that have steps"


def of_live(graph: Graph, what: str, dt: float | None = None) -> Graph:
    """Return a graph with a note that a live model says how its neurons are stepped.

    Args:
        graph: What was read.
        what: What kind of model it was read from.
        dt: Seconds per step, if the caller gave them.
    """
    by = f"the live {what}"
    whole = {}
    if graph.dt is not None:
        whole["dt"] = Origin(graph.dt, Origin.GIVEN, by if dt is None else _OPTION_DT)
    return given_by(graph, by, whole)


def of_topology(graph: Graph, dt: float | None, ties: str | None) -> Graph:
    """Return a graph with notes on what a topology of jaxsnn says and what steps of it assume.

    Args:
        graph: What was read.
        dt: Seconds per step, if the caller gave them.
        ties: What the caller said that a membrane on its threshold emits.
    """
    made = of_live(graph, "topology", dt)
    known = made.provenance.origins
    whole, nodes = dict(known.graph), dict(known.nodes)
    continuous = [node.name for node in graph.nodes.values() if isinstance(node.op, Neuron)]
    for name in continuous:
        nodes[name] = _assumed(nodes[name])
    if continuous and dt is None:
        whole |= _assumed({"dt": whole["dt"]})
    if not continuous:
        default = Origin("half", Origin.ASSUMED, "the default, as jaxsnn")
        whole["ties"] = default if ties is None else Origin(ties, Origin.GIVEN, "option 'ties'")
    return _with(made, whole, nodes)


def _assumed(items: Items) -> Items:
    made = {k: replace(item, state=Origin.ASSUMED, by=_ON_A_GRID) for k, item in items.items()}
    return FrozenDict(made)


def stepped_again(
    before: Graph, after: Graph, choice: Choice | None, dt: float | None, default: str
) -> Graph:
    """Return a graph whose stepping was chosen again, with what that changed.

    Args:
        before: The graph as it was read.
        after: The graph as it is to be.
        choice: What was chosen for its neurons; None if they stay.
        dt: Seconds per step, if the caller gave them.
        default: The semantics whose dt is taken if there is none.
    """
    known = before.provenance.origins
    whole, nodes = dict(known.graph), dict(known.nodes)
    if after.dt is not None and (dt is not None or before.dt is None):
        by = _OPTION_DT if dt is not None else f"the default of '{default}'"
        state = Origin.ASSUMED if dt is None else Origin.GIVEN
        whole["dt"] = Origin(after.dt, state, by)
        if before.dt is not None and before.dt != after.dt:
            whole["dt"] = Origin(before.dt).changed(after.dt, by)
    shared: dict[object, Items] = {}
    for node in after.nodes.values():
        if choice is None or not isinstance(node.op, Neuron) or node.op.stepping is None:
            continue
        old = before.nodes[node.name].op
        assert isinstance(old, Neuron)
        key = (old.model, old.stepping, node.op.stepping)
        if key not in shared:
            said = {} if old.stepping is None else stepping_items(old.definition, old.stepping)
            shared[key] = choice.items(old.definition, node.op.stepping, said)
        nodes[node.name] = shared[key]
    return _with(after, whole, nodes)


def _with(graph: Graph, whole: Mapping[str, Origin], nodes: Mapping[str, Items]) -> Graph:
    origins = Origins(FrozenDict(whole), FrozenDict(nodes))
    return replace(graph, provenance=replace(graph.provenance, origins=origins))
