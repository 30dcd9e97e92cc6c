"""The report of a graph that was not compiled: what it is, and what it did in a run."""

from __future__ import annotations

from pathlib import Path

from snnir.artefact import graph_facts, replacing
from snnir.ir.graph import Graph
from snnir.operations import Activity
from snnir.reporting.drawing import graph_section
from snnir.reporting.layers import layer_sections
from snnir.reporting.markup import text
from snnir.reporting.meaning import meaning_sections
from snnir.reporting.page import page


def report_page(graph: Graph, *, activity: Activity | None = None) -> str:
    """Return a self-contained HTML page on a graph; see `report`.

    Args:
        graph: What is shown.
        activity: What it did on some input (`snnir.activity`).
    """
    facts = graph_facts(graph)
    lead = f"Read from {text(graph.provenance.source or 'memory')}; dt = {text(graph.dt)} s."
    drawing, data = graph_section(graph)
    sections = [drawing, *meaning_sections(facts), *layer_sections(graph, facts, activity)]
    return page(graph.name, lead, sections, data)


def report(graph: Graph, path: str | Path, *, activity: Activity | None = None) -> Path:
    """Write a self-contained HTML page on a graph and return its path.

    Args:
        graph: What is shown: nodes with types and parameters, semantics, memory.
        path: File to write; replaced if it exists.
        activity: What the graph did on some input (`snnir.activity`): rates, synaptic operations,
            energy.

    Raises:
        SnnirError: SNN702 if the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as file:
        file.write(report_page(graph, activity=activity).encode())
    return path
