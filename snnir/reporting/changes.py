"""What each pass changed."""

from __future__ import annotations

from snnir.pipeline import PipelineResult
from snnir.reporting.markup import Section, table


def changes_section(history: PipelineResult) -> Section:
    """Return the passes in order with what they changed."""
    return Section("passes", "Passes", _passes(history))


def _passes(history: PipelineResult) -> str:
    rows = [(r.spec, r.fidelity, r.before, r.after, r.changed) for r in history.records]
    return table(("pass", "fidelity", "nodes before", "after", "changed"), rows)
