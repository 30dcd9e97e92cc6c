"""What a report says of a network of events: sections, and what is kept of every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.loss_report import REFUSED, LossReport, NodeLoss, report
from snnir.pipeline import EXACT, EXACT_REAL
from snnir.target import Table
from snnir.targets.events.network import EventNetwork
from snnir.targets.events.neurons import ignored, otherwise
from snnir.targets.events.plan import FORMS, LAW, plan_of


def tables(graph: Graph, network: EventNetwork) -> dict[str, Table]:
    """Return the sections: populations, and the synapses between blocks."""
    plan = plan_of(
        vars(network.neurons),
        vars(network.synapses),
        network.input_units,
        network.pulse,
        network.dt,
    )
    forms = plan.laws[plan.law_of, LAW.index("form")].astype(int)
    rows = []
    for block in network.blocks:
        if block.kind in ("input", "current"):
            continue
        first = block.start - network.input_units
        found = Counter(forms[first : first + block.size].tolist())
        how = "; ".join(FORMS[form] for form in sorted(found))
        op = graph.nodes[block.name].op
        assert isinstance(op, Neuron)
        left = ", ".join(ignored(op)) or "nothing"
        searched = how if block.kind == "spiking" else "never fires"
        rows.append((block.name, op.model, block.size, searched, left))
    head = ("population", "model", "neurons", "crossings by", "ignored: only of steps")
    synapses = _synapses(network)
    return {
        "Populations in continuous time": (head, rows),
        "Synapses": (("from", "to", "synapses", "delay (ms)", "of tensors"), synapses),
    }


def _synapses(network: EventNetwork) -> list[tuple[str, str, int, str, str]]:
    own = network.synapses
    unit = np.repeat(np.arange(len(own.first) - 1), np.diff(own.first))
    names = [block.name for block in network.blocks]
    starts = np.array([block.start for block in network.blocks])

    def block_of(units: np.ndarray) -> np.ndarray:
        return np.searchsorted(starts, units, side="right") - 1

    pair = block_of(unit) * len(names) + block_of(own.target + network.input_units)
    rows = []
    for code in np.unique(pair):
        here = np.flatnonzero(pair == code)
        low, high = own.delay[here].min() * 1e3, own.delay[here].max() * 1e3
        late = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
        used = sorted({network.tensors[k] for k in np.unique(own.tensor[here]) if k >= 0})
        source, target = divmod(int(code), len(names))
        rows.append((names[source], names[target], len(here), late, ", ".join(used)))
    return rows


def loss_report(
    graph: Graph, target: str, held: bool, problems: Sequence[Diagnostic]
) -> LossReport:
    """Return what every node is in continuous time."""
    refused = [NodeLoss(p.node or graph.name, REFUSED, p.message) for p in problems]
    known = {entry.node for entry in refused}
    entries = list(refused)
    for node in graph.nodes.values():
        if node.name in known:
            continue
        if isinstance(node.op, Neuron):
            left = ignored(node.op)
            spike = "held for a step" if held else "an impulse"
            told = f"exact in continuous time; a spike is {spike}"
            told += f"; not of continuous time: {', '.join(left)}" if left else ""
            told += "".join(f"; {what}" for what in otherwise(node.op))
            entries.append(NodeLoss(node.name, EXACT_REAL, told))
        elif isinstance(node.op, Delay):
            own = "its seconds" if node.op.seconds is not None else "its steps times dt"
            entries.append(NodeLoss(node.name, EXACT, f"lasts {own}"))
        elif not isinstance(node.op, Input):
            told = "folded into synapses in float64"
            entries.append(NodeLoss(node.name, EXACT_REAL, told))
    return report(graph, target, entries)
