"""A pass: a pure function from graph to graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

import snnir
from snnir.ir import Linear
from snnir.pipeline import APPROXIMATE


@dataclass(frozen=True)
class ClipWeights(snnir.Pass):
    """Limit the size of the weights of matrices.

    Attributes:
        limit: Largest size.
    """

    name: ClassVar[str] = "clip-weights"
    fidelity: ClassVar[str] = APPROXIMATE
    limit: float = 1.0

    def run(self, graph: snnir.Graph) -> snnir.Graph:
        """Return the graph with clipped weights."""
        editor = graph.edit()
        for node in graph.nodes.values():
            if isinstance(node.op, Linear):
                weight = np.clip(node.op.weight.numpy(), -self.limit, self.limit)
                editor.set_op(node.name, replace(node.op, weight=snnir.tensor(weight)))
        return editor.graph()
