"""Pieces of a page: escaped text, tables, lists, pictures, sections."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from snnir.errors import shown

#: Longer texts are cut in the middle.
_LONG = 400
#: Tables with more rows are laid out by the browser only where they are seen.
_MANY = 200
#: What stands for a number that is not there, and what a number looks like.
_NONE = "-\u2013"
_NUMBER = re.compile(rf"[{_NONE}]?|-?[\d,]*\.?\d+(e[+-]?\d+)?( %| s)?|-?inf|nan")


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading of its own.

    Attributes:
        key: Its anchor; letters, digits and dashes, unique in the page.
        title: Its heading, as plain text.
        body: HTML; whoever makes it has escaped what came from outside.
    """

    key: str
    title: str
    body: str


def text(value: Any) -> str:
    """Return a value as HTML text; nothing in it is markup or obeyed by a terminal."""
    return html.escape(shown(str(value), _LONG))


def listing(items: Iterable[str], empty: str) -> str:
    """Return a bullet list, or a paragraph if there is nothing to list."""
    found = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul>{found}</ul>" if found else f"<p>{text(empty)}</p>"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], classes: Sequence[str] = ()) -> str:
    """Return a table; whole numbers are grouped, columns of numbers stand at the right.

    Args:
        head: Names of columns.
        rows: Cells, which are escaped.
        classes: One for each row.
    """
    names, listed = list(head), [tuple(row) for row in rows]
    numeric = [_are_numbers([row[at] for row in listed]) for at in range(len(names))]
    if names and any(isinstance(row[0], str) for row in listed):
        numeric[0] = False  # names, which may be digits
    cells = "".join(
        f"<th scope='col'{' class=n' * right}>{text(name)}</th>"
        for name, right in zip(names, numeric, strict=True)
    )
    long = " long" if len(listed) > _MANY else ""
    lines = [f"<div class='scroll{long}'><table><thead><tr>{cells}</tr></thead><tbody>"]
    for row, class_ in zip_longest(listed, classes, fillvalue=""):
        cells = "".join(
            f"<td class='n'>{_number(cell)}</td>" if right else f"<td>{_number(cell)}</td>"
            for cell, right in zip(row, numeric, strict=True)
        )
        lines.append(f"<tr class='{class_}'>{cells}</tr>" if class_ else f"<tr>{cells}</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _number(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else text(cell)


def _are_numbers(column: Sequence[Any]) -> bool:
    """Whether cells are numbers, or stand for a number that is not there."""
    told = [_number(cell) for cell in column]
    return any(each.strip(_NONE) for each in told) and all(map(_NUMBER.fullmatch, told))


def picture(title: str, data: bytes | str) -> str:
    """Return a picture in the page: a PNG file's bytes, or the text of an SVG element.

    An SVG is trusted: what it says of names must have been escaped.
    """
    if isinstance(data, str):
        return f"<figure>{data}</figure>"
    encoded = base64.b64encode(data).decode()
    return f"<img class='pixels' alt='{text(title)}' src='data:image/png;base64,{encoded}'>"
