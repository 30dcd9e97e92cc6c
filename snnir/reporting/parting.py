"""The page on a comparison: where two runs part first, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnir.diffing import Diff, NodeDiff
from snnir.event_diff import EventDiff
from snnir.reporting.drawing import graph_section
from snnir.reporting.markup import Section, listing, table, text
from snnir.reporting.page import page
from snnir.reporting.parting_charts import around, place_of, spread_chart
from snnir.reporting.timing import timing_sections

#: Windows of nodes that part later.
_LATER = 8

#: What a node is in a comparison, and the class of its row and of its node in the graph.
FIRST, FOLLOWS, DIFFERS, SAME = "parts first", "follows", "differs as well", "the same"
MARKS = {FIRST: "first", FOLLOWS: "follows", DIFFERS: "differs", SAME: "same"}


def parting_page(found: Diff | EventDiff) -> str:
    """Return the page on a comparison of two runs, or of one with continuous time."""
    if isinstance(found, EventDiff):
        title = "Steps and continuous time"
        lead = f"{found.steps} steps of {text(found.dt)} s, and the same network exactly."
        return page(title, lead, timing_sections(found), {})
    a, b = found.sides
    lead = f"<b>a</b> is {text(a)}, <b>b</b> is {text(b)}; both ran on one input."
    roles = roles_of(found)
    sections = [Section("first", "Where they part", _first(found))]
    if found.spread:
        picture = spread_chart(found)
        sections.append(Section("spread", "How the difference spreads", picture))
    sections.append(Section("compared", "Nodes", _table(found, roles)))
    later = _later(found)
    if later:
        sections.append(Section("later", "Nodes that part later", later))
    if found.only_a or found.only_b:
        only = [
            *(f"only a has {n}" for n in found.only_a),
            *(f"only b has {n}" for n in found.only_b),
        ]
        sections.append(Section("only", "Populations that were not compared", listing(only, "")))
    data: Any = {}
    if found.graph is not None:
        drawn, data = graph_section(found.graph, _marks(found, roles))
        sections.append(drawn)
    return page(f"{Path(a).name} and {Path(b).name}", lead, sections, data)


def roles_of(found: Diff) -> dict[str, str]:
    """Return what every compared node is: the first that parts, what follows from it, the rest."""
    first = found.first
    after = _downstream(found, first.node) if first is not None else set()
    roles = {}
    for node in found.nodes:
        if node is first:
            roles[node.node] = FIRST
        elif not node.differing:
            roles[node.node] = SAME
        else:
            roles[node.node] = FOLLOWS if _node(found, node.node) in after else DIFFERS
    return roles


def _marks(found: Diff, roles: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return classes and words of the graph's nodes; of a node and its states, the first counts."""
    marks: dict[str, tuple[str, str]] = {}
    for role in (FIRST, FOLLOWS, DIFFERS, SAME):
        for name in (name for name, own in roles.items() if own == role):
            marks.setdefault(_node(found, name), (MARKS[role], role))
    return marks


def _node(found: Diff, name: str) -> str:
    """Return the graph's node that a compared one stands for: of an output, of a state."""
    graph = found.graph
    if graph is None or name in graph.nodes:
        return name
    kind, _, rest = name.partition(":")
    if kind == "output" and rest in graph.outputs:
        return graph.outputs[rest].node
    return name.rpartition(":")[0] or name


def _downstream(found: Diff, name: str) -> set[str]:
    """Return the nodes that a node's values reach, itself included."""
    if found.graph is None:
        return set()
    readers: dict[str, list[str]] = {}
    for node in found.graph.nodes.values():
        for value in node.operands:
            readers.setdefault(value.node, []).append(node.name)
    reached, ahead = set[str](), [_node(found, name)]
    while ahead:
        current = ahead.pop()
        if current not in reached:
            reached.add(current)
            ahead += readers.get(current, [])
    return reached


# --- Sections ------------------------------------------------------------------------------------


def _first(found: Diff) -> str:
    first = found.first
    if first is None:
        elements = sum(node.total for node in found.nodes)
        return (
            f"<p>Nowhere: all {elements:,} elements of {len(found.nodes)} nodes are the same.</p>"
        )
    told = f"<p class='first'>{_words(found, first)}</p>"
    own = found.windows.get(first.node)
    if own is None:
        return told
    parts = [around(first.node, own, found.dt)]
    parts += [around(name, state, found.dt) for name, state in found.states.items()]
    return told + "".join(parts)


def _words(found: Diff, first: NodeDiff) -> str:
    """Return a sentence on the first difference."""
    step = first.first_step or 0
    when = f" ({step * found.dt:.6g} s)" if found.dt else ""
    own = found.windows.get(first.node)
    if own is None:
        return f"<b>{text(first.node)}</b> is not the same after the last step."
    where = f"sample {own.sample}, {place_of(own, 0)}"
    a, b = first.values
    before = " Up to there all that was compared is the same." if step else ""
    return (
        f"The runs part first in <b>{text(first.node)}</b> at step {step}{when}, {where}: "
        f"{a:g} in a, {b:g} in b.{before}"
    )


def _table(found: Diff, roles: Mapping[str, str]) -> str:
    """Return all nodes; rows have the class of their role, which is in words as well."""
    head = ("node", "", "sum a", "sum b", "differing", "share", "first step", "largest difference")
    rows = [
        (
            node.node, roles[node.node], f"{node.spikes_a:.10g}", f"{node.spikes_b:.10g}",
            node.differing, f"{100 * node.differing / max(1, node.total):.3g} %",
            "-" if node.first_step is None else node.first_step, f"{node.largest:.4g}",
        )
        for node in found.nodes
    ]  # fmt: skip
    return table(head, rows, [f"role-{MARKS[roles[node.node]]}" for node in found.nodes])


def _later(found: Diff) -> str:
    """Return the windows of nodes that part later, folded."""
    first = found.first
    rest = [name for name in found.windows if first is None or name != first.node]
    shown = [
        f"<details class='follows'><summary>{text(name)}, step {found.windows[name].step}"
        f"</summary>{around(name, found.windows[name], found.dt)}</details>"
        for name in rest[:_LATER]
    ]
    if len(rest) > _LATER:
        shown.append(f"<p>{len(rest) - _LATER} more are in the table only.</p>")
    return "".join(shown)
