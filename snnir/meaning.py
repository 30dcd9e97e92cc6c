"""What a graph means, item by item, each as given, assumed or changed.

The values are those of the graph as it is; where they are from is what its readers and passes have
recorded (`Provenance.origins`). What nobody recorded says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from snnir.dynamics.program import Dynamics
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Items, Origin, Origins, Scalar
from snnir.loss_report import NodeLoss
from snnir.pipeline import APPROXIMATE
from snnir.semantic_items import NUMBER_FORMAT, PROGRAM, SHARED, step_items, stepping_items
from snnir.tensors import FrozenDict

_NOTHING: Items = FrozenDict()
#: Items that a step program states whatever was recorded.
_STATED = (*SHARED, NUMBER_FORMAT, PROGRAM)
#: What a repair is recorded as.
REPAIR = "repair"


def meaning_of(
    graph: Graph,
    whole: Mapping[str, Origin] | None = None,
    losses: Iterable[NodeLoss] = (),
    target: str = "",
) -> dict[str, Any]:
    """Return every item of a graph's discrete semantics with where it is from, ready for JSON.

    Args:
        graph: The graph.
        whole: More items of the whole graph, such as the precision of a target.
        losses: What a target keeps of every node: those that it approximates are told.
        target: Its name.

    Returns:
        `graph`: items of the whole graph; `groups`: for each set of neurons (and nodes that were
        repaired) with equal items `nodes`, `model` and `items`; `on_the_target`: by name, the
        nodes that the target replaces, each as an item that was changed. An item has `value`,
        `state` (given, assumed, changed, unknown), `by` and, if it replaced something, `before`.
    """
    found = {**_of_graph(graph), **(whole or {})}
    return {
        "graph": _json(found),
        "groups": _groups(graph),
        "on_the_target": _json(_replaced(losses, target)),
    }


def given_by(graph: Graph, by: str, whole: Mapping[str, Origin]) -> Graph:
    """Return a graph all whose neurons are as somebody states them, with the origins to say so.

    Args:
        graph: The graph.
        by: Who states how its neurons are stepped, such as `the live model Net`.
        whole: Items of the whole graph.
    """
    shared: dict[Any, Items] = {}
    nodes: dict[str, Items] = {}
    for name, node in graph.nodes.items():
        if isinstance(node.op, (Neuron, Step)):
            items = own_items(node)
            key = tuple(items.items())
            made = {k: Origin(v, Origin.GIVEN, by) for k, v in items.items()}
            nodes[name] = shared.setdefault(key, FrozenDict(made))
    origins = Origins(FrozenDict(whole), FrozenDict(nodes))
    return replace(graph, provenance=replace(graph.provenance, origins=origins))


def own_items(node: Node) -> dict[str, Scalar]:
    """Return the items that a neuron states itself."""
    if isinstance(node.op, Step):
        return step_items(node.op)
    if isinstance(node.op, Neuron) and node.op.stepping is not None:
        return stepping_items(node.op.definition, node.op.stepping)
    return {}


def _replaced(losses: Iterable[NodeLoss], target: str) -> dict[str, Origin]:
    by = f"target '{target}'"
    return {
        entry.node: Origin(entry.what, Origin.CHANGED, by)
        for entry in losses
        if entry.level == APPROXIMATE
    }


def _of_graph(graph: Graph) -> dict[str, Origin]:
    recorded = dict(graph.provenance.origins.graph)
    for name, value in (("dt", graph.dt), ("record_offset", graph.record_offset)):
        known = recorded.get(name)
        actual = "none" if value is None else value
        if known is None:
            recorded[name] = Origin(actual)
        elif known.value != actual:
            recorded[name] = known.changed(actual, "")
    return recorded


def _groups(graph: Graph) -> list[dict[str, Any]]:
    reader = _Reader(graph.provenance.origins.nodes)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for node in graph.nodes.values():
        items = reader.items(node)
        if not items:
            continue
        label = _label(node)
        key = (label, reader.key(items))
        if key not in groups:
            groups[key] = {"nodes": [], "model": label, "items": _json(items)}
        groups[key]["nodes"].append(node.name)
    for name in graph.outputs:
        items = graph.provenance.origins.nodes.get(name, _NOTHING)
        if name not in graph.nodes and items:
            groups["", name] = {"nodes": [name], "model": "output", "items": _json(items)}
    return list(groups.values())


def _label(node: Node) -> str:
    if isinstance(node.op, Neuron):
        return node.op.model
    if isinstance(node.op, Step):
        return node.op.model or node.op.program.name
    return node.op.name


class _Reader:
    """Finds the items of nodes; equal nodes are read once.

    Args:
        recorded: What is known of every node.
    """

    def __init__(self, recorded: Mapping[str, Items]) -> None:
        self._recorded = recorded
        self._known: dict[Any, Items] = {}
        self._keys: dict[int, str] = {}
        self._kept: list[Items] = []

    def items(self, node: Node) -> Items:
        """Return a node's items with their origins, what it does first."""
        recorded = self._recorded.get(node.name, _NOTHING)
        op = node.op
        if not isinstance(op, (Neuron, Step)):
            return recorded
        how: Any = op.stepping if isinstance(op, Neuron) else op.dynamics
        if isinstance(how, Dynamics):
            how = id(how)
        key = (type(op), id(recorded), op.model, how, getattr(op, "bits", 0))
        if key not in self._known:
            self._known[key] = FrozenDict(_merged(node, recorded))
        return self._known[key]

    def key(self, items: Items) -> str:
        """Return what equal items have in common."""
        if id(items) not in self._keys:
            self._kept.append(items)  # so that its identity stays its own
            self._keys[id(items)] = repr([(k, each.plain()) for k, each in items.items()])
        return self._keys[id(items)]


def _merged(node: Node, recorded: Items) -> dict[str, Origin]:
    """Return what is recorded of a neuron, brought up to what the graph says."""
    own = own_items(node)
    if isinstance(node.op, Neuron) and not own:
        return {"stepping": Origin("nobody has said"), **recorded}
    is_step = isinstance(node.op, Step)
    derived = is_step and any(not name.startswith(REPAIR) for name in recorded)
    found: dict[str, Origin] = {}
    for name, value in own.items():
        known = recorded.get(name)
        if known is None:
            # The form of a program that was derived follows from what is recorded.
            if not derived or name in (NUMBER_FORMAT, PROGRAM):
                found[name] = Origin(value)
        elif known.value == value or (is_step and name not in _STATED):
            found[name] = known
        else:
            found[name] = known.changed(value, "")
    return {**{k: v for k, v in recorded.items() if k not in found}, **found}


def _json(items: Items) -> dict[str, dict[str, Any]]:
    return {
        name: {"value": each.value, "state": each.state, "by": each.by}
        | ({} if each.before is None else {"before": each.before})
        for name, each in items.items()
    }
