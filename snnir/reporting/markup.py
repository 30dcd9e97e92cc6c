"""Pieces of a page: escaped text, tables, lists, pictures, sections."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from snnir.errors import shown

#: Longer texts are cut in the middle.
_LONG = 400


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


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table; whole numbers are grouped and right-aligned, all cells are escaped."""
    names = "".join(f"<th scope='col'>{text(name)}</th>" for name in head)
    lines = [f"<div class='scroll'><table><thead><tr>{names}</tr></thead><tbody>"]
    for row in rows:
        cells = (
            f"<td class='n'>{cell:,}</td>" if isinstance(cell, int) else f"<td>{text(cell)}</td>"
            for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def picture(title: str, data: bytes | str) -> str:
    """Return a picture in the page: a PNG file's bytes, or the text of an SVG element.

    An SVG is trusted: what it says of names must have been escaped.
    """
    if isinstance(data, str):
        return f"<figure>{data}</figure>"
    encoded = base64.b64encode(data).decode()
    return f"<img class='pixels' alt='{text(title)}' src='data:image/png;base64,{encoded}'>"
