"""What a graph keeps on an IPU: the loss report."""

from __future__ import annotations

from collections.abc import Iterator

from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.loss_report import LossReport, NodeLoss, report
from snnir.pipeline import EXACT_REAL
from snnir.targets.ipu.half import half_losses

#: Scalar operations whose result on an IPU no public source fixes, with what is known of them.
UNFIXED = {
    "exp": "is one instruction of unknown accuracy",
    "log": "is one instruction of unknown accuracy",
    "tanh": "is one instruction of unknown accuracy",
    "pow": "is a call of the vendor's library",
    "div": "is one instruction whose rounding is not documented",
    "sqrt": "is one instruction whose rounding is not documented",
}


def loss_report(graph: Graph, half: bool) -> LossReport:
    """Return what is kept of every node.

    Args:
        graph: Before weights are rounded.
        half: Whether they will be.
    """
    entries = list(_unfixed(graph))
    if half:
        entries += half_losses(graph)
    return report(graph, "ipu", entries)


def _unfixed(graph: Graph) -> Iterator[NodeLoss]:
    for node in graph.nodes.values():
        if not isinstance(node.op, Step) or node.op.program.is_whole:
            continue
        used = {let.op for let in node.op.program.body}
        known = [f"{name} {what}" for name, what in UNFIXED.items() if name in used]
        if known:
            yield NodeLoss(node.name, EXACT_REAL, "; ".join(known))
