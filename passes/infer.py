"""Infer kinds and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.graph import Graph
from snnir.pipeline import Pass


@dataclass(frozen=True)
class Infer(Pass):
    """Infer the type of every value, so that later passes find it computed; exact."""

    name: ClassVar[str] = "infer"

    def run(self, graph: Graph) -> Graph:
        """Return the graph with its types known.

        Raises:
            SnnirError: SNN202 or SNN203 with every misfit.
        """
        graph.signals  # noqa: B018  (computed once, kept by the graph)
        return graph
