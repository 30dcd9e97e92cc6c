"""Tables of what every layer holds and does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.errors import shown
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.operations import ENERGY, Activity
from snnir.reporting.cells import data_table
from snnir.reporting.markup import Section, table
from snnir.state_memory import state_memory

_NANO = 1e9


def layer_sections(
    graph: Graph, facts: Mapping[str, Any], activity: Activity | None
) -> list[Section]:
    """Return what goes in and out, every node with its memory, and what it did on an input.

    Args:
        graph: What was built or read.
        facts: Ports and lasting states, as in a manifest.
        activity: What the graph did on some input, if it is known.
    """
    found = [
        Section("ports", "Inputs and outputs", _ports(facts)),
        Section("nodes", "Layers and their memory", _memory(graph)),
    ]
    if facts["lasting"]:
        found.append(Section("lasting", "What outlives a run", _lasting(facts)))
    if activity is not None:
        found.append(Section("activity", "Activity and energy", _activity(graph, activity)))
    return found


def _ports(facts: Mapping[str, Any]) -> str:
    rows = [
        (role[:-1], port["name"], f"{port['kind']} {port['shape']} {port['dtype']}")
        for role in ("inputs", "outputs")
        for port in facts[role]
    ]
    return table(("", "name", "type per step and sample"), rows)


def _memory(graph: Graph) -> str:
    states, first = state_memory(graph), dict[str, str]()
    rows = []
    for name in graph.order:
        named = graph.nodes[name].op.tensors()
        owners = {key: first.setdefault(tensor.digest, name) for key, tensor in named.items()}
        tensors = named.values()
        rows.append(
            (
                name,
                _op(graph.nodes[name]),
                str(graph.signal(name)),
                sum(t.size for t in tensors),
                sum(t.nbytes for t in tensors),
                _shared({key: owner for key, owner in owners.items() if owner != name}),
                states.get(name, 0),
            )
        )
    once = {t.digest: t for node in graph.nodes.values() for t in node.op.tensors().values()}
    parameters = sum(t.size for t in once.values())
    stored = sum(t.nbytes for t in once.values())
    remembered = sum(number or 0 for number in states.values())
    head = ("layer", "op", "type", "parameters", "bytes", "shared", "bytes of state")
    total = ("in all, shared weights once", "", "", parameters, stored, "", remembered)
    told = (
        f"<p>Weights stored once: {stored:,} bytes. State for every sample of a batch: "
        f"{remembered:,} bytes, as simulators hold it.</p>"
    )
    unknown = [name for name, number in states.items() if number is None]
    if unknown:
        told += f"<p>{len(unknown):,} neurons cannot be stepped yet; their state is not known.</p>"
    return data_table(head, rows, total, sortable=True) + told


def _op(node: Node) -> str:
    """Return the word for an op, with the model of a neuron."""
    model = node.op.model if isinstance(node.op, (Neuron, Step)) else ""
    return f"{node.op.name} {shown(model)}".strip()


def _shared(owners: Mapping[str, str]) -> str:
    """Return which weights are those of an earlier layer."""
    return ", ".join(f"{shown(key)} with {shown(owner)}" for key, owner in owners.items())


def _lasting(facts: Mapping[str, Any]) -> str:
    rows = [(item["name"], f"{item['shape']}", item["dtype"]) for item in facts["lasting"]]
    return table(("node:state", "shape, for all samples", "type"), rows)


def _activity(graph: Graph, found: Activity) -> str:
    pace = "" if found.per_second is None else f", {found.per_second:.4g} per second"
    told = f"Per sample, {found.steps} steps: {found.operations:,.0f} synaptic operations{pace}."
    return "".join(
        [
            f"<p>{told}</p>",
            _work(graph, found),
            "<h3>Where the figures of energy are from</h3>",
            "<p>An estimate: synaptic operations (or, dense, every multiply-add) and one update of "
            "every neuron in every step. Memory, communication and leakage are not in it.</p>",
            _constants(),
        ]
    )


def _work(graph: Graph, found: Activity) -> str:
    """Return one row for every synapse and population, in order of flow; what passes took last."""
    place = {name: at for at, name in enumerate(graph.order)}
    energy = found.energy_by_node()
    columns = [(name, dense is not None) for name, (_, dense, *_) in ENERGY.items()]
    rows: list[tuple[Any, ...]] = [
        (s.node, s.connections, None, None, None, None, s.operations, s.products,
         *_joules(energy[s.node], columns))
        for s in found.synapses
    ] + [
        (p.node, None, p.neurons, p.spikes, p.rate, _hertz(p.rate, found.dt), None, None,
         *_joules(energy[p.node], columns))
        for p in found.populations
    ]  # fmt: skip
    rows.sort(key=lambda row: place.get(row[0], len(place)))
    total = (
        "in all", sum(s.connections for s in found.synapses),
        sum(p.neurons for p in found.populations),
        float(sum(p.spikes for p in found.populations)), None, None, float(found.operations),
        sum(s.products for s in found.synapses), *_joules(found.energy(), columns),
    )  # fmt: skip
    head = (
        "layer", "connections", "neurons", "spikes", "rate per step", "Hz",
        "synaptic operations", "dense products", *_energy_heads(columns),
    )  # fmt: skip
    return data_table(head, rows, total, sortable=True)


def _hertz(rate: float, dt: float | None) -> float | None:
    return rate / dt if dt else None


def _energy_heads(columns: list[tuple[str, bool]]) -> list[str]:
    heads = []
    for name, dense in columns:
        heads.append(f"nJ, {name}")
        if dense:
            heads.append(f"nJ, {name}, dense")
    return heads


def _joules(
    energy: Mapping[str, tuple[float, float | None]], columns: list[tuple[str, bool]]
) -> list[float]:
    """Return nanojoules in the order of the columns."""
    cells = []
    for name, dense in columns:
        event, every = energy[name]
        cells.append(event * _NANO)
        if dense:
            cells.append((every or 0.0) * _NANO)
    return cells


def _constants() -> str:
    rows = [
        (name, event * 1e12, None if dense is None else dense * 1e12, update * 1e12, source)
        for name, (event, dense, update, source) in ENERGY.items()
    ]
    head = ("technology", "pJ per synaptic operation", "pJ per multiply-add",
            "pJ per neuron and step", "source")  # fmt: skip
    return data_table(head, rows)
