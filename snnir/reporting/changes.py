"""What each pass changed, before and after side by side."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher

from snnir.errors import shown
from snnir.pass_changes import Change
from snnir.pipeline import PassRecord, PipelineResult
from snnir.reporting.markup import Section, table, text

#: A word or a single sign, with the blanks behind it.
_TOKEN = re.compile(r"(?:[\w.+]+|.)[ ]*", re.DOTALL)
#: Texts of more tokens are compared by lines.
_MOST_TOKENS = 1500
_EMPTY = "<td class='gone'></td>"


def changes_section(history: PipelineResult) -> Section:
    """Return the passes in order with what each of them changed."""
    rows = [
        (at, r.spec, r.fidelity, r.before, r.after, r.changed)
        for at, r in enumerate(history.records, 1)
    ]
    head = ("", "pass", "fidelity", "nodes before", "nodes after", "nodes changed")
    found = "".join(_details(at, r) for at, r in enumerate(history.records, 1) if r.changes)
    if not rows:
        return Section("passes", "Passes", "<p>No pass was run.</p>")
    return Section("passes", "Passes", table(head, rows) + found)


def _details(at: int, record: PassRecord) -> str:
    told = sum(1 for change in record.changes if change.node is not None)
    count = f"{record.changed:,} node{'' if record.changed == 1 else 's'}"
    if told < record.changed:
        count += f", the first {told} are shown"
    rows = "".join(map(_row, record.changes))
    return (
        f"<details class='changes'><summary>{at}. {text(record.spec)}: {count}</summary>"
        f"<table><tr><th>node</th><th>before</th><th>after</th></tr>{rows}</table></details>"
    )


def _row(change: Change) -> str:
    name = "graph" if change.node is None else text(change.node)
    if change.before is None or change.after is None:
        both = (change.before, change.after)
        sides = [_EMPTY if side is None else _cell(_escaped(side)) for side in both]
    elif change.before == change.after:
        sides = [_cell(_escaped(change.before)), "<td>the same, made anew</td>"]
    else:
        sides = [_cell(side) for side in marked(change.before, change.after)]
    return f"<tr><th scope='row'>{name}</th>{''.join(sides)}</tr>"


def _cell(code: str) -> str:
    return f"<td><pre>{code}</pre></td>"


def _escaped(code: str) -> str:
    lines = (html.escape(shown(line, len(line) + 1)) for line in code.split("\n"))
    return "\n".join(lines)


def marked(before: str, after: str) -> tuple[str, str]:
    """Return two texts as HTML: what only the first has in <del>, only the second in <ins>."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(old) + len(new) > _MOST_TOKENS:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    left, right = [], []
    for what, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        one, two = _escaped("".join(old[i:j])), _escaped("".join(new[k:n]))
        left.append(one if what == "equal" or not one else f"<del>{one}</del>")
        right.append(two if what == "equal" or not two else f"<ins>{two}</ins>")
    return "".join(left), "".join(right)
