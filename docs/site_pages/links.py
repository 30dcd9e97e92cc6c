"""Links that lead out of `docs/` and into it.

Pages are written for a Git host: their links are paths of the repository, relative to the page. In
the site some of these files are pages at other places, and others, such as sources, are none.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[ \t]*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<to>[^()\s]+)(?: \"[^\"]*\")?\)")
_COMMENT = re.compile(r"^<!-- .*?-->\n", re.DOTALL | re.MULTILINE)
_SCHEME = re.compile(r"[a-z][a-z+.-]*:|#|//")


@dataclass(frozen=True)
class Places:
    """Where files of the repository are in the site.

    Attributes:
        root: Of the repository.
        pages: From a path of the repository (of a file or a folder) to the page's in the site.
        source: Address of the repository's files on a public host, empty if there is none yet.
    """

    root: Path
    pages: Mapping[str, str]
    source: str = ""

    def origin(self, page: str) -> str:
        """Return which file of the repository a page of the site is."""
        found = (path for path, name in self.pages.items() if name == page and "." in path)
        return next(found, f"docs/{page}")

    def address(self, path: str, page: str) -> str | None:
        """Return the address of a file of the repository as seen from a page of the site.

        Returns:
            The address, empty for a file that no reader can be sent to; None if there is no file.
        """
        name = self.pages.get(path)
        if name is None and path.startswith("docs/") and (self.root / path).is_file():
            name = path.removeprefix("docs/")
        if name is not None:
            return posixpath.relpath(name, posixpath.dirname(page) or ".")
        if not (self.root / path).exists():
            return None
        return f"{self.source}/{path}" if self.source else ""


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change a page's text but for its fenced blocks."""
    parts: list[str] = []
    last = 0
    for block in _FENCE.finditer(text):
        parts += [change(text[last : block.start()]), block[0]]
        last = block.end()
    return "".join([*parts, change(text[last:])])


def without_comments(text: str) -> str:
    """Return a page without the comments that say how its blocks are run."""
    return outside_code(text, lambda part: _COMMENT.sub("", part))


def rewrite(text: str, page: str, places: Places) -> tuple[str, list[str]]:
    """Return a page with its links as the site needs them, and the links that lead nowhere."""
    dead: list[str] = []
    folder = posixpath.dirname(places.origin(page))

    def change(link: re.Match[str]) -> str:
        if _SCHEME.match(link["to"]):
            return link[0]
        path, mark, anchor = link["to"].partition("#")
        address = places.address(posixpath.normpath(posixpath.join(folder, path)), page)
        if address is None:
            dead.append(link["to"])
        if not address:
            return link["text"]
        start, end = link.span("to")
        at = link.start()
        return link[0][: start - at] + address + mark + anchor + link[0][end - at :]

    def change_part(part: str) -> str:
        code = [match.span() for match in _CODE.finditer(part)]
        return _LINK.sub(
            lambda link: (
                link[0] if any(start < link.start() < end for start, end in code) else change(link)
            ),
            part,
        )

    return outside_code(text, change_part), dead
