"""Check the graph against every rule of the IR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnir.ir.graph import Graph
from snnir.pipeline import Pass


@dataclass(frozen=True)
class Verify(Pass):
    """Stop the pipeline if the graph breaks a rule; exact."""

    name: ClassVar[str] = "verify"

    def run(self, graph: Graph) -> Graph:
        """Return the graph.

        Raises:
            SnnirError: Every broken rule.
        """
        return graph.verify()
