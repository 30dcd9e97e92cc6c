"""Where what a NIR file leaves open was taken from, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.errors import SnnirError
from snnir.frontends.nir_notes import Notes
from snnir.frontends.nir_record import RECORD, FileRecord, node_record
from snnir.frontends.nir_structure import Flat
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Items, Origin, Origins, Scalar
from snnir.semantic_items import Choice, given_items, step_items, stepping_items
from snnir.semantics import Stepping
from snnir.tensors import FrozenDict

#: Decisions of a semantics that concern the whole graph.
_WHOLE = ("time_unit", "weights")
_RECURRENT = ("recurrent_delay", "recurrent_bias")


def file_origins(
    graph: Graph, flat: Flat, record: FileRecord, choice: Choice, dt: Origin, loops: bool,
    notes: Notes,
) -> Origins:  # fmt: skip
    """Return the origin of every item of a graph that was read.

    Args:
        graph: The graph, with its record offset.
        flat: The file's nodes.
        record: What snnir wrote into the file, if it did.
        choice: The semantics that hold where that does not.
        dt: Where the step length is from, if the graph has one.
        loops: Whether recurrent edges were delayed as chosen.
        notes: What was repaired.
    """
    whole: dict[str, Origin] = {} if graph.dt is None else {"dt": dt}
    if record.holds:
        whole["record_offset"] = Origin(graph.record_offset, Origin.GIVEN, RECORD)
    else:
        for name in (*_WHOLE, *(_RECURRENT if loops else ())):
            whole[name] = choice.origin(name, getattr(choice.semantics, name))
        whole["record_offset"] = choice.origin("record_offset", graph.record_offset)
    nodes: dict[str, Items] = {}
    shared: dict[Any, Items] = {}
    for node in graph.nodes.values():
        if isinstance(node.op, Step):
            nodes[node.name] = given_items(step_items(node.op), RECORD)
        elif isinstance(node.op, Neuron) and node.op.stepping is not None:
            before = _overridden(flat, record, node.name, node.op, notes)
            key = (node.op.model, node.op.stepping, tuple(before.items()))
            if key not in shared:
                shared[key] = _items(node.op, node.op.stepping, record, choice, before)
            nodes[node.name] = shared[key]
    _add_repairs(nodes, notes)
    return Origins(FrozenDict(whole), FrozenDict(nodes))


def _items(
    op: Neuron, stepping: Stepping, record: FileRecord, choice: Choice, before: Mapping[str, Scalar]
) -> Items:
    if record.holds:
        return given_items(stepping_items(op.definition, stepping), RECORD)
    return choice.items(op.definition, stepping, before)


def _overridden(
    flat: Flat, record: FileRecord, name: str, op: Neuron, notes: Notes
) -> dict[str, Scalar]:
    """Return the stepping that the file has for a neuron and the caller's choice replaces."""
    if not record.overridden or name not in flat.nodes:
        return {}
    rules = node_record(flat.nodes[name], notes).get("stepping")
    try:
        return stepping_items(op.definition, Stepping(**rules)) if rules else {}
    except (TypeError, SnnirError):
        return {}


def _add_repairs(nodes: dict[str, Items], notes: Notes) -> None:
    for node, found, repair in notes.repairs:
        items = nodes.get(node, FrozenDict())
        key = next(k for k in _numbered("repair") if k not in items)
        made = Origin(repair, Origin.CHANGED, "option 'repair'", found)
        nodes[node] = FrozenDict({**items, key: made})


def _numbered(stem: str) -> Any:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1
