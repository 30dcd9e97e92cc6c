"""The report of anything: a graph, what was compiled, an artefact folder, a comparison of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snnir.artefact import graph_facts, manifest, replacing
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.memory import collection_paused
from snnir.operations import Activity
from snnir.reporting.drawing import graph_section
from snnir.reporting.layers import layer_sections
from snnir.reporting.markup import Section, text
from snnir.reporting.meaning import meaning_sections
from snnir.reporting.page import page
from snnir.reporting.runs import run_sections
from snnir.running import Result

if TYPE_CHECKING:
    from snnir.diffing import Diff
    from snnir.event_diff import EventDiff
    from snnir.target import Compiled

    Reported = Graph | Compiled | Diff | EventDiff | str | Path


@collection_paused()
def report_page(
    what: Reported,
    *,
    activity: Activity | None = None,
    result: Result | None = None,
    sample: int = 0,
) -> str:
    """Return a self-contained HTML page; see `report`.

    Args:
        what: What is shown.
        activity: What it did on some input (`snnir.activity`).
        result: What a run gave.
        sample: Which of the batch is drawn.

    Raises:
        SnnirError: SNN502 for a folder that is no artefact or was altered, SNN601 if there is no
            such sample.
    """
    from snnir.diffing import Diff
    from snnir.event_diff import EventDiff
    from snnir.target import Compiled

    if isinstance(what, (Diff, EventDiff)):
        from snnir.reporting.parting import parting_page

        if activity is not None or result is not None:
            raise TypeError("a comparison has its own runs")
        return parting_page(what)
    if isinstance(what, Graph):
        return _graph_page(what, activity, result, sample)
    if activity is not None and not isinstance(what, Compiled):
        raise TypeError("an artefact folder has no graph to count on; give a result")
    if isinstance(what, Compiled):
        from snnir.reporting.artefact_page import artefact_page

        return artefact_page(what, manifest(what, {}), activity, result, sample)
    if isinstance(what, (str, Path)):
        from snnir.reporting.folder_page import folder_page

        return folder_page(what, result, sample)
    raise error(
        "SNN601", f"cannot report on a {type(what).__name__}",
        hint="give a graph, what was compiled, an artefact folder, or a comparison",
    )  # fmt: skip


def _graph_page(graph: Graph, activity: Activity | None, result: Result | None, sample: int) -> str:
    facts = graph_facts(graph)
    lead = f"Read from {text(graph.provenance.source or 'memory')}; dt = {text(graph.dt)} s."
    drawing, data = graph_section(graph)
    sections = [
        drawing,
        *meaning_sections(facts),
        *layer_sections(graph, facts, activity),
        *sections_of_run(graph.dt, activity, result, sample),
    ]
    return page(graph.name, lead, sections, data)


def sections_of_run(
    dt: float | None, activity: Activity | None, result: Result | None, sample: int
) -> list[Section]:
    """Return the sections on a run: the one given, else the one that was counted."""
    if result is None and activity is not None:
        result = activity.run
    if result is None:
        return []
    return run_sections(result, dt, sample=sample, counted=activity is not None)


def report(
    what: Reported,
    path: str | Path,
    *,
    activity: Activity | None = None,
    result: Result | None = None,
    sample: int = 0,
) -> Path:
    """Write a self-contained HTML page and return its path.

    Args:
        what: A graph, what was compiled, or a comparison (`snnir.diff`); or an artefact folder,
            of which the page says what its manifest says, or, without a result, is the folder's
            own `report.html`.
        path: File to write; replaced if it exists.
        activity: What a graph did on some input (`snnir.activity`): rates, synaptic operations,
            energy, and rasters of the run in which that was counted.
        result: What a run gave (`snnir.run`): a raster of every population that was recorded,
            traces of everything else.
        sample: Which of the batch is drawn.

    Raises:
        SnnirError: SNN702 if the file cannot be written, SNN502 for a folder that is no artefact
            or was altered, SNN601 if there is no such sample.
    """
    path = Path(path)
    content = report_page(what, activity=activity, result=result, sample=sample).encode()
    with replacing(path) as file:
        file.write(content)
    return path


def check_page(path: str | Path) -> None:
    """Check that a page of this name could be written, before the work is done.

    Raises:
        SnnirError: SNN701 for another suffix, SNN702 if it is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        hint = "call it FILE.html"
        raise error("SNN701", f"'{path.suffix}' is no page", source=str(path), hint=hint)
    if path.is_dir():
        raise error("SNN702", "cannot be written: it is a folder", source=str(path))
