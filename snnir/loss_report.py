"""What a conversion keeps of every node: the loss report.

Levels, best first: `exact` (the spikes are equal for every input, rounding included), `exact in
real arithmetic` (only rounding may differ: its order, or that of very small numbers), `approximate`
(something was replaced), `refused` (there is no form for it). The last two are losses: without
consent they are errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.pooling import AvgPool2d, MaxPool2d, PickMax2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.winner import Winner
from snnir.lasting import learning_program
from snnir.pipeline import APPROXIMATE, EXACT, EXACT_REAL
from snnir.streams import Kind

REFUSED = "refused"
LEVELS = (EXACT, EXACT_REAL, APPROXIMATE, REFUSED)

#: Scalar operations whose last bit depends on the library that computes them.
_LIBRARY = ("exp", "log", "tanh", "pow", "sqrt")
#: What entries say where a runtime computes so; only states that small differ.
FLUSHED = "numbers below 1.2e-38 are taken for 0"
#: Integers up to this are exact in float32.
_WHOLE = 2**24
_FINEST = 40
#: Numbers that are looked at together.
_CHUNK = 1 << 20


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
        if spikes and sums_exactly(op):
            return EXACT, "no sum of its weights rounds"
        return EXACT_REAL, "float32 sums are rounded in the order the library takes"
    if isinstance(op, BatchNorm):
        return EXACT_REAL, "its constants are combined in another order"
    if isinstance(op, (SumPool2d, AvgPool2d)):
        whole = graph.signals[node.operands[0]].kind is not Kind.ANALOG
        return (EXACT, "") if whole else (EXACT_REAL, "float32 sums are rounded in another order")
    program = learning_program(op)
    if program is not None:
        used = sorted({let.op for let in program.body} & set(_LIBRARY))
        if used:
            return EXACT_REAL, f"{', '.join(used)}: libraries differ in the last bit"
    return EXACT, ""


def computes_reals(graph: Graph, node: Node) -> bool:
    """Whether a node computes with real numbers that may become very small."""
    program = learning_program(node.op)
    if program is not None:
        return not program.is_whole
    if isinstance(node.op, (MaxPool2d, PickMax2d, Winner)):  # they compare
        return graph.signals[node.operands[0]].kind is Kind.ANALOG
    computes = isinstance(node.op, (Add, AvgPool2d, BatchNorm, Bias, Scale))
    return computes and graph.signal(node.name).dtype.startswith("f")


def sums_exactly(op: Linear | Conv1d | Conv2d | SparseLinear) -> bool:
    """Whether sums of any of an op's weights, and its bias, are exact in float32 in every order.

    They are if all lie on a grid of a power of two on which no sum needs more than 24 bits.
    """
    if not (op.values if isinstance(op, SparseLinear) else op.weight).is_resolved:
        return False
    weights = op.values.numpy() if isinstance(op, SparseLinear) else without_zero(op)
    most, finest = _largest_sum(op, weights), _finest_bit(weights)
    if op.bias is not None:
        bias = op.bias.numpy()
        most += float(np.abs(bias).max(initial=0.0))
        finest = min(finest, _finest_bit(bias))
    if not np.isfinite(most):
        return False
    if finest < -_FINEST:
        return False
    return bool(np.ldexp(most, -min(finest, 0)) <= _WHOLE)


def _largest_sum(op: Linear | Conv1d | Conv2d | SparseLinear, weights: npt.NDArray[Any]) -> float:
    """Return the largest sum of sizes over the weights that one element adds up."""
    sizes = np.abs(weights)
    if not isinstance(op, SparseLinear):
        axes = tuple(range(1, sizes.ndim))
        return float(sizes.sum(axis=axes, dtype=np.float64).max(initial=0.0))
    starts = op.starts.numpy()
    filled = np.flatnonzero(np.diff(starts))
    if not len(filled):
        return 0.0
    return float(np.add.reduceat(sizes, starts[filled], axis=0, dtype=np.float64).max())


def _finest_bit(array: npt.NDArray[Any]) -> int:
    """Return the exponent of the last bit that any number has; 0 if all are whole or none is."""
    flat, finest = array.reshape(-1), 0
    for first in range(0, flat.size, _CHUNK):
        mantissa, exponent = np.frexp(flat[first : first + _CHUNK].astype(np.float64))
        if not np.isfinite(mantissa).all():
            return -(2**15)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        used = whole != 0
        lowest = np.frexp((whole & -whole)[used].astype(np.float64))[1] - 1
        finest = min(finest, int((exponent[used] - 53 + lowest).min(initial=0)))
        if finest < -_FINEST:
            break
    return finest


def report(
    graph: Graph, target: str, special: Iterable[NodeLoss] = (), *, exact: bool = False,
    flushes: bool = False,
) -> LossReport:  # fmt: skip
    """Return the report of a conversion.

    Args:
        graph: What was converted.
        target: To what.
        special: Entries the target knows better.
        exact: The target stores the graph as it is, so that nothing is computed anew.
        flushes: The target's runtime takes numbers below 1.2e-38 for 0, so that no sum of them
            is exact for every input.
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
        if flushes and computes_reals(graph, node):
            level, what = EXACT_REAL, "; ".join(filter(None, (what, FLUSHED)))
        entries.append(NodeLoss(name, level, what))
    entries += [entry for entry in known.values() if entry.node not in graph.nodes]
    return LossReport(target, tuple(entries), graph.provenance.notes)


def rounding_report(graph: Graph, target: str, exact: bool, flushes: bool) -> LossReport:
    """Return the report of a target whose compiler rounds products and sums together unasked.

    Args:
        graph: What was converted.
        target: To what.
        exact: Whether the compiler is kept from it.
        flushes: See `report`.
    """
    fused = () if exact else graph.order
    entries = [
        NodeLoss(name, EXACT_REAL, "products and sums may be rounded together (exact=false)")
        for name in fused
        if isinstance(graph.nodes[name].op, (Step, BatchNorm, Scale))
    ]
    return report(graph, target, entries, flushes=flushes)
