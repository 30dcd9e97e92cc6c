"""The report inside an artefact folder: one self-contained, deterministic HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snnir.memory import collection_paused
from snnir.operations import Activity
from snnir.reporting.changes import changes_section
from snnir.reporting.drawing import graph_section
from snnir.reporting.graph_page import sections_of_run
from snnir.reporting.layers import layer_sections
from snnir.reporting.markup import Section, picture, table, text
from snnir.reporting.meaning import meaning_sections
from snnir.reporting.page import page
from snnir.running import Result

if TYPE_CHECKING:
    from snnir.target import Compiled


@collection_paused()
def artefact_page(
    compiled: Compiled,
    facts: Mapping[str, Any],
    activity: Activity | None = None,
    result: Result | None = None,
    sample: int = 0,
) -> str:
    """Return the page for a compiled graph.

    Args:
        compiled: What was built.
        facts: The manifest.
        activity: What the graph did on some input.
        result: What a run gave; by default the one that was counted.
        sample: Which of the batch is drawn.
    """
    graph = compiled.graph
    lead = (
        f"Compiled by snnir {text(facts['snnir'])} for <b>{text(facts['target'])}</b>"
        f" from {text(facts['source']['name'] or 'a graph')}; dt = {text(graph.dt)} s."
    )
    drawing, data = graph_section(graph)
    sections = [
        drawing,
        *meaning_sections(facts, compiled.losses),
        *layer_sections(graph, facts, activity),
        *sections_of_run(graph.dt, activity, result, sample),
        *_of_the_target(compiled),
        changes_section(compiled.history),
    ]
    return page(graph.name, lead, sections, data)


def _of_the_target(compiled: Compiled) -> list[Section]:
    """Return the target's own pictures and tables."""
    bodies = [
        *((title, picture(title, data)) for title, data in compiled.pictures.items()),
        *((title, table(*rows)) for title, rows in compiled.tables.items()),
    ]
    return [Section(f"target-{at}", title, body) for at, (title, body) in enumerate(bodies)]
