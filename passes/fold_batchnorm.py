"""Fold batch normalisation into its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.graph import Graph
from snnir.ir.synapses import BatchNorm, Bias
from snnir.passes.affine import Affine, Mover, as_affine, compact, rounded
from snnir.pipeline import EXACT_REAL, Pass


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """Fold batch norm into the synapse before or after it, else into thresholds.

    Exact in real arithmetic: per channel, through pooling, sums, joins and reshapes; a shift does
    not pass a zero padding. Where no synapse takes it, a positive gain goes into the parameters of
    the spiking neurons after it, and the shift stays as a bias. Weights round once.
    """

    name: ClassVar[str] = "fold-batchnorm"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the graph with as few batch norms as can be."""
        if not any(isinstance(node.op, BatchNorm) for node in graph.nodes.values()):
            return graph
        mover = Mover(graph)
        changed = False
        for name in graph.order:
            op = mover.editor.nodes[name].op
            affine = as_affine(op, mover.shape(name)) if isinstance(op, BatchNorm) else None
            if affine is not None:
                changed |= _fold(mover, name, affine)
        return mover.editor.graph() if changed else graph


def _fold(mover: Mover, name: str, affine: Affine) -> bool:
    node = mover.editor.nodes[name]
    edits = mover.before(node.operands[0], affine)
    if edits is None:
        edits = mover.after(name, affine)
    if edits is not None:
        mover.apply(edits)
        mover.drop(name)
        return True
    if not affine.shifts or affine.gain.min() <= 0:
        return False
    edits = mover.after(name, Affine.of(affine.gain.shape, affine.gain))
    if edits is None:
        return False
    assert isinstance(node.op, BatchNorm)
    bias = Bias(rounded(compact(affine.shift / affine.gain), node.op.mean))
    mover.apply({**edits, name: bias})
    return True
