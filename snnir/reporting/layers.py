"""Tables of what every layer holds and does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.ir.graph import Graph
from snnir.operations import ENERGY, Activity
from snnir.reporting.markup import Section, table


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
        Section("nodes", "Nodes", _nodes(graph)),
    ]
    if facts["lasting"]:
        found.append(Section("lasting", "What outlives a run", _lasting(facts)))
    if activity is not None:
        found.append(Section("activity", "Activity", _activity(activity)))
    return found


def _ports(facts: Mapping[str, Any]) -> str:
    rows = [
        (role[:-1], port["name"], f"{port['kind']} {port['shape']} {port['dtype']}")
        for role in ("inputs", "outputs")
        for port in facts[role]
    ]
    return table(("", "name", "type per step and sample"), rows)


def _nodes(graph: Graph) -> str:
    rows, seen, total = [], set(), 0
    for name in graph.order:
        node = graph.nodes[name]
        tensors = node.op.tensors().values()
        rows.append(
            (
                name,
                node.op.name,
                str(graph.signal(name)),
                sum(t.size for t in tensors),
                sum(t.nbytes for t in tensors),
            )
        )
        for tensor in tensors:
            if tensor.digest not in seen:
                seen.add(tensor.digest)
                total += tensor.nbytes
    body = table(("node", "op", "type", "parameters", "bytes"), rows)
    return f"{body}<p>Weights stored once: {total:,} bytes.</p>"


def _lasting(facts: Mapping[str, Any]) -> str:
    rows = [(item["name"], f"{item['shape']}", item["dtype"]) for item in facts["lasting"]]
    return table(("node:state", "shape, for all samples", "type"), rows)


def _activity(found: Activity) -> str:
    pace = "" if found.per_second is None else f", {found.per_second:.4g} per second"
    told = f"Per sample, {found.steps} steps: {found.operations:,.0f} synaptic operations{pace}."
    spikes = [(p.node, p.neurons, f"{p.spikes:.6g}", f"{p.rate:.4g}") for p in found.populations]
    work = [(s.node, s.connections, f"{s.operations:.6g}", s.products) for s in found.synapses]
    energy = [
        (name, *("-" if joules is None else f"{joules * 1e9:.4g} nJ" for joules in both), source)
        for (name, both), (*_, source) in zip(
            found.energy().items(), ENERGY.values(), strict=True
        )
    ]  # fmt: skip
    return "".join(
        [
            f"<p>{told}</p>",
            table(("population", "neurons", "spikes", "rate"), spikes),
            table(("synapse", "connections", "operations", "dense products"), work),
            table(("energy", "events", "dense", "constants"), energy),
        ]
    )
