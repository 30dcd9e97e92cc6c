"""Matrices by the weights they have: dense to sparse, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import Linear
from snnir.pipeline import EXACT_REAL, Pass
from snnir.tensors import Tensor

#: Share of blocks up to which a sparse matrix is faster, by the rows of a block: where sums over
#: events in compiled code cost as much as dense ones (`x.py bench sparse`).
PAYS = {1: 0.03, 16: 0.25}


@dataclass(frozen=True)
class Sparsify(Pass):
    """Keep only the weights of matrices that are not zero, where that pays.

    Exact in real arithmetic: sums may be taken in another order. A block is a column of
    consecutive rows; the wider, the faster are the weights in it, zeros included. Run it last:
    other passes leave sparse matrices as they are.

    Attributes:
        block: Rows of a block, 1 (CSR) to 64; 0 for the one that promises the most.
        density: Largest share of blocks that are not all zero; 0 for what was measured to pay:
            3 % of single weights, 25 % of blocks of 16 rows.
    """

    name: ClassVar[str] = "sparsify"
    fidelity: ClassVar[str] = EXACT_REAL
    block: int = 0
    density: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.block <= 64:
            what = f"pass 'sparsify': option block is {self.block}"
            raise error("SNN401", what, hint="use 1 to 64 rows, 0 to choose")
        if not 0 <= self.density <= 1:
            what = f"pass 'sparsify': option density is {self.density}"
            raise error("SNN401", what, hint="it is a share from 0 to 1")

    def run(self, graph: Graph) -> Graph:
        """Return the graph with sparse matrices."""
        editor, changed = graph.edit(), False
        for node in graph.nodes.values():
            if isinstance(node.op, Linear) and node.op.weight.is_resolved and node.op.zero is None:
                made = self.kept(node.op)
                if made is not None:
                    editor.set_op(node.name, made)
                    changed = True
        return editor.graph() if changed else graph

    def limit(self, block: int) -> float:
        """Return the largest share of blocks that a matrix may have."""
        if self.density:
            return self.density
        return PAYS[max(size for size in PAYS if size <= block)]

    def kept(self, op: Linear) -> SparseLinear | None:
        """Return the sparse form of a matrix that costs least, or None if none pays."""
        weight = op.weight.numpy()
        best, least = None, 1.0
        for block in (self.block,) if self.block else PAYS:
            made = SparseLinear.of(weight, block, op.bias)
            groups = made.starts.size - 1
            share = made.columns.size / (groups * op.weight.shape[1])
            cost = share / self.limit(block)
            if share <= self.limit(block) and (cost < least or best is None):
                best, least = replace(made, unit=op.unit, bits=op.bits), cost
        return best


@dataclass(frozen=True)
class Densify(Pass):
    """Lay sparse matrices out in full. Exact in real arithmetic."""

    name: ClassVar[str] = "densify"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the graph without sparse matrices."""
        found = {n.name: n.op for n in graph.nodes.values() if isinstance(n.op, SparseLinear)}
        editor = graph.edit()
        for name, op in found.items():
            editor.set_op(name, Linear(Tensor(op.dense()), op.bias, op.unit, op.bits))
        return editor.graph() if found else graph
