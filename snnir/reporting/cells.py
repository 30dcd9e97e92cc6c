"""Tables whose cells are more than text: markup, numbers of all kinds, a row of totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from snnir.reporting.markup import text

#: Rows that are shown of a table; the page says how many there are.
MOST_ROWS = 2000
#: Fractional numbers from here to there are shown as whole ones.
_LARGE, _LARGEST = 1e3, 1e15
#: Names that are shown of a list.
_MOST_NAMES = 12


class Html(str):
    """Markup, whose maker has escaped what came from outside."""

    __slots__ = ()


def badge(word: str) -> Html:
    """Return one of the words given, assumed, changed, exact, lost as a pill."""
    return Html(f"<span class='badge {text(word)}'>{text(word)}</span>")


def names(nodes: Sequence[str]) -> Html:
    """Return a list of names; beyond the first twelve they fold away."""
    first, rest = few_names(nodes)
    return Html(f"{first} {rest}" if rest else first)


def few_names(nodes: Sequence[str]) -> tuple[Html, Html]:
    """Return the first twelve of a list of names, and what folds away of the rest."""
    first = Html(", ".join(text(name) for name in nodes[:_MOST_NAMES]))
    rest = nodes[_MOST_NAMES:]
    if not rest:
        return first, Html()
    listed = ", ".join(text(name) for name in rest[:MOST_ROWS])
    cut = f" and {len(rest) - MOST_ROWS:,} more" if len(rest) > MOST_ROWS else ""
    folded = f"<details><summary>and {len(rest):,} more</summary>{listed}{cut}</details>"
    return first, Html(folded)


def data_table(
    head: Sequence[str],
    rows: Sequence[Iterable[Any]],
    foot: Iterable[Any] | None = None,
    *,
    sortable: bool = False,
) -> str:
    """Return a table.

    Args:
        head: Names of the columns.
        rows: Cells: `Html` as it is; numbers right-aligned, as is None, a dash; all else as text.
        foot: A row of totals.
        sortable: A click on a column's name sorts by it.
    """
    hook = " data-sort" if sortable and len(rows) > 1 else ""
    first = tuple(rows[0]) if rows else ()
    columns = "".join(
        f"<th scope='col'{_right(first[at : at + 1])}>{text(name)}</th>"
        for at, name in enumerate(head)
    )
    shown = "".join(_row(row) for row in islice(rows, MOST_ROWS))
    end = "" if foot is None else f"<tfoot>{_row(foot)}</tfoot>"
    more = len(rows) - MOST_ROWS
    note = f"<p>{more:,} more rows are not shown.</p>" if more > 0 else ""
    return (
        f"<div class='scroll'><table{hook}><thead><tr>{columns}</tr></thead>"
        f"<tbody>{shown}</tbody>{end}</table></div>{note}"
    )


def _right(cells: Iterable[Any]) -> str:
    """Return the class of a column whose first cell is a number, or nothing."""
    numeric = any(_is_number(cell) for cell in cells)
    return " class='n'" if numeric else ""


def _row(cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _is_number(value: Any) -> bool:
    """Whether a cell stands in a column of numbers; None is one that is not known."""
    return isinstance(value, (int, float, type(None))) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, Html):
        return f"<td>{value}</td>"
    if not _is_number(value):
        return f"<td>{text(value)}</td>"
    return f"<td class='n'>{_number(value)}</td>"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if _LARGE <= abs(value) < _LARGEST else f"{value:.4g}"
