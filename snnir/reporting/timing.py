"""What a page says of a run in steps beside the same network in continuous time."""

from __future__ import annotations

from snnir.event_diff import EventDiff
from snnir.reporting.markup import Section, table, text


def timing_sections(found: EventDiff) -> list[Section]:
    """Return where spikes part, and by how much."""
    sections = [
        Section("first", "Where they part", _first(found)),
        Section("timing", "Spikes of both runs", _nodes(found)),
    ]
    if found.membranes:
        rows = [(name, f"{largest:.4g}") for name, largest in found.membranes.items()]
        body = table(("output", "largest difference at ends of steps"), rows)
        sections.append(Section("membranes", "Membranes", body))
    return sections


def _first(found: EventDiff) -> str:
    first = found.first
    if first is None:
        return "<p>Nowhere: every spike is in the same step.</p>"
    step = "" if first.step is None else f", step {first.step} of the run in steps"
    where = f"sample {first.sample}, neuron {list(first.neuron)}"
    return (
        f"<p class='first'>The first spike that is {text(first.what)}: "
        f"<b>{text(first.node)}</b>, {where}, at {first.time:.9g} s{step}.</p>"
    )


def _nodes(found: EventDiff) -> str:
    rows = [
        (
            node.node, node.stepped, node.continuous, node.matched, node.same_step, node.missing,
            node.extra, f"{node.mean_error:.3g} s", f"{node.largest_error:.3g} s",
            node.largest_steps,
        )
        for node in found.nodes
    ]  # fmt: skip
    head = ("population", "in steps", "continuous", "matched", "same step", "missing", "extra",
            "mean error", "largest", "in steps")  # fmt: skip
    told = f"<p>Spikes within {found.tolerance:.3g} s are taken for the same.</p>"
    return told + table(head, rows)
