"""What a conversion keeps of every node: the loss report.

Levels, best first: `exact` (the spikes are equal for every input, rounding included), `exact in
real arithmetic` (only the order of rounding may differ), `approximate` (something was replaced),
`refused` (there is no form for it). The last two are losses: without consent they are errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import BatchNorm, Conv1d, Conv2d, Linear
from snnir.pipeline import APPROXIMATE, EXACT, EXACT_REAL
from snnir.streams import Kind
from snnir.tensors import Tensor

REFUSED = "refused"
LEVELS = (EXACT, EXACT_REAL, APPROXIMATE, REFUSED)

#: Scalar operations whose last bit depends on the library that computes them.
_LIBRARY = ("exp", "log", "tanh", "pow")
#: Integers up to this are exact in float32.
_WHOLE = 2**24
_FINEST = 40


@dataclass(frozen=True)
class NodeLoss:
    """What happened to one node.

    Attributes:
        node: Its path.
        level: One of `LEVELS`.
        what: What it became, and what differs.
        amount: Share of spikes that differed in a measurement, where something was replaced.
    """

    node: str
    level: str
    what: str
    amount: float | None = None


@dataclass(frozen=True)
class LossReport:
    """The report of one conversion.

    Attributes:
        target: What the graph was converted to.
        nodes: Every node of the graph, in order of flow.
        assumptions: What was assumed when the model was read, one sentence each.
    """

    target: str
    nodes: tuple[NodeLoss, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def losses(self) -> list[NodeLoss]:
        """Everything that is approximate or refused."""
        return [entry for entry in self.nodes if entry.level in (APPROXIMATE, REFUSED)]

    @property
    def level(self) -> str:
        """The worst level of any node."""
        return max((entry.level for entry in self.nodes), key=LEVELS.index, default=EXACT)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "target": self.target,
            "level": self.level,
            "losses": [asdict(entry) for entry in self.losses],
            "nodes": [asdict(entry) for entry in self.nodes],
            "assumptions": list(self.assumptions),
        }

    def diagnostics(self) -> list[Diagnostic]:
        """Return the losses as errors."""
        hint = "accept it with --allow-lossy"
        return [
            Diagnostic(
                "SNN501",
                entry.what if entry.amount is None else f"{entry.what} ({_percent(entry.amount)})",
                entry.node,
                hint=None if entry.level == REFUSED else hint,
            )
            for entry in self.losses
        ]


def _percent(amount: float) -> str:
    return f"{100 * amount:.2g} % of its spikes differ on noise"


def arithmetic_level(graph: Graph, node: Node) -> tuple[str, str]:
    """Return how well another float32 library repeats a node, with the reason.

    Sums of spikes are the same in every order if the weights lie on a grid fine enough to count
    on: then no partial sum rounds.
    """
    op = node.op
    if isinstance(op, (Linear, Conv1d, Conv2d, SparseLinear)):
        spikes = graph.signals[node.operands[0]].kind is Kind.SPIKES
        weight = op.values if isinstance(op, SparseLinear) else op.weight
        if spikes and sums_exactly(weight, op.bias):
            return EXACT, "no sum of its weights rounds"
        return EXACT_REAL, "float32 sums are rounded in the order the library takes"
    if isinstance(op, BatchNorm):
        return EXACT_REAL, "its constants are combined in another order"
    if isinstance(op, (SumPool2d, AvgPool2d)):
        whole = graph.signals[node.operands[0]].kind is not Kind.ANALOG
        return (EXACT, "") if whole else (EXACT_REAL, "float32 sums are rounded in another order")
    if isinstance(op, Step):
        used = sorted({let.op for let in op.program.body} & set(_LIBRARY))
        if used:
            return EXACT_REAL, f"{', '.join(used)}: libraries differ in the last bit"
    return EXACT, ""


def sums_exactly(weight: Tensor, bias: Tensor | None) -> bool:
    """Whether sums of any of these weights are exact in float32 in every order."""
    if not weight.is_resolved:
        return False
    rows = np.abs(weight.numpy().astype(np.float64))
    totals = rows.sum(axis=tuple(range(1, rows.ndim)))
    values = [rows]
    if bias is not None:
        values.append(np.abs(bias.numpy().astype(np.float64)))
        totals = totals + values[1].max(initial=0.0)
    if not np.isfinite(totals).all():
        return False
    for shift in range(_FINEST):
        scaled = [np.ldexp(v, shift) for v in values]
        if all((s == np.rint(s)).all() for s in scaled):
            return bool(np.ldexp(totals.max(initial=0.0), shift) <= _WHOLE)
    return False


def report(
    graph: Graph, target: str, special: Iterable[NodeLoss] = (), *, exact: bool = False
) -> LossReport:
    """Return the report of a conversion.

    Args:
        graph: What was converted.
        target: To what.
        special: Entries the target knows better.
        exact: The target stores the graph as it is, so that nothing is computed anew.
    """
    known = {entry.node: entry for entry in special}
    entries = []
    for name in graph.order:
        node = graph.nodes[name]
        if name in known:
            entries.append(known[name])
            continue
        level, what = (EXACT, "stored as it is") if exact else arithmetic_level(graph, node)
        if isinstance(node.op, Neuron) and exact:
            what = "stored with its stepping record"
        entries.append(NodeLoss(name, level, what))
    entries += [entry for entry in known.values() if entry.node not in graph.nodes]
    return LossReport(target, tuple(entries), graph.provenance.notes)
