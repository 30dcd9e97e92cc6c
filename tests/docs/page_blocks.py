"""Read the fenced blocks of a Markdown page, and the comments that say how they are run.

A page says what it needs in HTML comments, which no reader sees:

`<!-- file: model.nir from examples/digits/digits.nir -->`
    The page's folder holds a copy of this file or folder of the repository. What is under
    `packages` can be imported everywhere.
`<!-- prepare: ... -->`
    Lines of Python, run in the page's folder in a process of their own: they leave files, no names.
`<!-- needs: torch, snntorch -->`
    Modules without which the page is skipped.

and, right before a block:

`<!-- not run: REASON -->`
    The block is not run; `tests/docs/not_run.py` counts the reasons.
`<!-- fails: TEXT -->`
    The block must fail, and say TEXT.
`<!-- output -->`
    The block is what the block before it printed. `…` stands for anything.

Blocks of Python share one namespace. A block with a title, as in ```` ```python title="model.py" ````,
is a file that the blocks after it use. In console blocks, lines after `$ ` are commands, lines after
`> ` continue them, and the others are what they print.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Languages that are run, and those that are shown.
RUN = ("python", "console", "bash")
SHOWN = ("text", "c", "cpp", "html", "json", "mlir", "toml", "yaml")

_OPENING = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_COMMENT = re.compile(
    r"<!-- (?P<key>file|prepare|needs|not run|fails|output)(?:: ?(?P<value>.*?))? ?-->", re.DOTALL
)
_TITLE = re.compile(r'title="(?P<title>[^"]+)"')


class PageError(Exception):
    """A page that cannot be understood; says the place and what is wrong."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: Of its first line of content, from 1.
        language: As written, empty if the fence says none.
        title: Of the file it is, else empty.
        text: Without the fences, unindented.
        marks: The comments right before it.
    """

    line: int
    language: str
    title: str
    text: str
    marks: dict[str, str]

    @property
    def runs(self) -> bool:
        """Whether the block is a program that is to be run."""
        return self.language in RUN and not self.title and "not run" not in self.marks


@dataclass(frozen=True)
class Step:
    """What happens at a place of a page: a block, or a comment of the page's own.

    Attributes:
        key: `block`, `file` or `prepare`.
        value: Of the comment.
        block: If it is one.
        line: Where it begins, from 1.
    """

    key: str
    line: int
    value: str = ""
    block: Block | None = None


@dataclass(frozen=True)
class Page:
    """A page with its steps in order and the modules it needs."""

    path: Path
    steps: tuple[Step, ...]
    needs: tuple[str, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All fenced blocks."""
        return tuple(step.block for step in self.steps if step.block)


def read_page(path: Path) -> Page:
    """Read a page.

    Raises:
        PageError: A fence does not end, or a comment that belongs to a block stands elsewhere.
    """
    steps: list[Step] = []
    needs: list[str] = []
    marks: dict[str, str] = {}
    for item in _items(path.read_text("utf-8").splitlines(), path):
        if isinstance(item, Block):
            block = Block(item.line, item.language, item.title, item.text, marks)
            steps.append(Step("block", item.line, block=block))
            marks = {}
            continue
        key, value, line = item
        if key in ("not run", "fails", "output"):
            marks[key] = value
            continue
        if marks:
            raise PageError(f"{path}:{line}: a comment belongs to no block: {', '.join(marks)}")
        if key == "needs":
            needs += [name.strip() for name in value.split(",")]
        elif key:
            steps.append(Step(key, line, value))
    if marks:
        raise PageError(f"{path}: a comment belongs to no block: {', '.join(marks)}")
    return Page(path, tuple(steps), tuple(needs))


def _items(lines: list[str], path: Path) -> Iterator[Block | tuple[str, str, int]]:
    """Give the blocks, and (key, value, line) of comments; of other text, an empty key."""
    at = 0
    while at < len(lines):
        opening = _OPENING.match(lines[at])
        if opening:
            end = _closing(lines, at, opening["fence"])
            if not end:
                raise PageError(f"{path}:{at + 1}: this block does not end")
            title = _TITLE.search(opening["info"])
            language = (opening["info"].strip().split() or [""])[0]
            text = textwrap.dedent("\n".join(lines[at + 1 : end])) + "\n"
            yield Block(at + 2, language, title["title"] if title else "", text, {})
            at = end + 1
        elif lines[at].lstrip().startswith("<!-- "):
            end = next((n for n in range(at, len(lines)) if "-->" in lines[n]), at)
            comment = _COMMENT.fullmatch("\n".join(lines[at : end + 1]).strip())
            if comment:
                yield comment["key"], (comment["value"] or "").strip("\n"), at + 1
            at = end + 1
        else:
            if lines[at].strip():
                yield "", "", at + 1
            at += 1


def _closing(lines: list[str], opening: int, fence: str) -> int:
    """Return the line that closes a fence, 0 if none does."""
    ends = (n for n in range(opening + 1, len(lines)) if lines[n].strip() == fence)
    return next(ends, 0)


def commands(text: str) -> list[tuple[str, str]]:
    """Split a console block into commands and what each prints.

    Raises:
        PageError: It does not begin with a command.
    """
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise PageError(f"a console block begins with `$ `, not with {line!r}")
        elif line.startswith("> ") or (found[-1][0][-1].endswith("\\") and not found[-1][1]):
            found[-1][0].append(line.removeprefix("> "))
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


def agrees(shown: str, printed: str) -> bool:
    """Whether a text is what was printed; `…` stands for anything, spaces at ends do not count."""
    lines = [line.rstrip() for line in shown.strip("\n").splitlines()]
    pattern = re.escape("\n".join(lines)).replace("…", r"[\s\S]*")
    actual = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, actual) is not None
