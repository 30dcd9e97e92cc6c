"""`snnir`: the compiler's own file, text and weights in one archive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from snnir.errors import Diagnostic
from snnir.ir.file import write_archive, write_snnir
from snnir.ir.graph import Graph
from snnir.loss_report import REFUSED, LossReport, NodeLoss, report
from snnir.pipeline import PipelineResult
from snnir.target import Compiled, Target


@dataclass(frozen=True)
class SnnirTarget(Target):
    """The graph itself, after the passes asked for."""

    name: ClassVar[str] = "snnir"
    summary: ClassVar[str] = "the IR as a file, loss-free"
    learns: ClassVar[bool] = True

    def pipeline(self, level: int) -> str:
        """Return no passes: the graph is kept as it is."""
        return "canonicalize,remove-identity,dead-code" if level else ""

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything can be written."""
        return []

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return a folder with the `.snnir` file."""
        return Compiled(graph, self, {"model.snnir": partial(write_archive, graph)}, history)

    def losses(self, graph: Graph) -> LossReport:
        """Return that every node is stored exactly, or refused."""
        refused = [NodeLoss(d.node, REFUSED, d.message) for d in self.check(graph) if d.node]
        return report(graph, self.name, refused, exact=True)

    @staticmethod
    def write(graph: Graph, path: Path) -> None:
        """Write the file."""
        write_snnir(graph, path)
