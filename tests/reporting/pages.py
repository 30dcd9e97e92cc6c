"""Reading pages back: sections, tables, badges."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects tables by the section they stand in, and all text and tags.

    Attributes:
        tables: Rows of cells, as text, of every table of every section by its key.
        texts: Text by section.
        tags: Every tag with its attributes.
        badges: Text of every badge with its class.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.texts: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.badges: list[tuple[str, str]] = []
        self._section = ""
        self._cell: list[str] | None = None
        self._badge = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "section":
            self._section = given["id"] or ""
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif (given.get("class") or "").startswith("badge"):
            self._badge = (given["class"] or "").removeprefix("badge ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[self._section][-1][-1].append("".join(self._cell))
            self._cell = None
        elif tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._section] = self.texts.get(self._section, "") + data
        if self._cell is not None:
            self._cell.append(data)
        if self._badge:
            self.badges.append((self._badge, data))
            self._badge = ""

    def items(self, at: int) -> dict[str, list[str]]:
        """Return a table of items: value, state, by whom and before, by the item's name."""
        return {row[0].replace(" ", "_"): row[1:] for row in self.tables["stepping"][at][1:]}
