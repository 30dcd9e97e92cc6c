"""A target: what it needs, what it cannot do, and what it writes."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import ClassVar

import snnir
from snnir.ir import Delay
from snnir.pipeline import PipelineResult


@dataclass(frozen=True)
class PartsList(snnir.Target):
    """A table of all nodes, for a machine that has no delay lines.

    Attributes:
        separator: Between the columns.
    """

    name: ClassVar[str] = "parts-list"
    summary: ClassVar[str] = "a table of nodes (example)"
    separator: str = ","

    def pipeline(self, level: int) -> str:
        """Return the passes it needs."""
        return "canonicalize,discretize,fuse-linear,dead-code" if level else "discretize"

    def check(self, graph: snnir.Graph) -> list[snnir.Diagnostic]:
        """Return every delay."""
        return [
            snnir.Diagnostic("SNN501", "the machine has no delay lines", node.name)
            for node in graph.nodes.values()
            if isinstance(node.op, Delay)
        ]

    def build(self, graph: snnir.Graph, history: PipelineResult) -> snnir.Compiled:
        """Return the table as an artefact."""
        text = io.StringIO()
        table = csv.writer(text, delimiter=self.separator, lineterminator="\n")
        table.writerow(["node", "op", "neurons", "parameters"])
        for name in graph.order:
            op = graph[name].op
            size = sum(value.size for value in op.tensors().values())
            table.writerow([name, op.name, graph.signal(name).size, size])
        files = {"parts.csv": text.getvalue().encode()}
        return snnir.Compiled(graph, self, files, history)
