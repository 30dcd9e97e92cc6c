"""Tokens of MLIR's generic syntax, found one at a time: weights are strings of many megabytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snnir.errors import SnnirError, shown
from snnir.mlir.tree import Place

_TOKEN = re.compile(
    r"""
    (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*")
  | (?P<stream>!snn\.(?:spikes|counts|analog)<tensor<[^<>\n]{0,600}>>)
  | (?P<tensor>tensor<[^<>\n]{0,600}>)
  | (?P<ssa>%(?:\d+|[A-Za-z$._-][\w$.-]*)(?:\#\d+)?)
  | (?P<symbol>@(?:[A-Za-z_][\w$.]*|"[^"\\\n]*(?:\\.[^"\\\n]*)*"))
  | (?P<block>\^[\w$.-]+)
  | (?P<alias>[!\#][A-Za-z_][\w$.]*)
  | (?P<number>0x[0-9A-Fa-f]+|-?\d+\.\d*(?:[eE][+-]?\d+)?|-?\d+)
  | (?P<word>[A-Za-z_][\w$.]*)
  | (?P<mark>->|\{-\#|\#-\}|[(){}\[\]<>=,:])
    """,
    re.VERBOSE | re.ASCII,
)
_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*)*")


@dataclass(frozen=True)
class Token:
    """One token: its kind, its text and where it starts."""

    kind: str
    text: str
    start: int


class Tokens:
    """A cursor over a text that knows the next token."""

    def __init__(self, text: str, source: str | None) -> None:
        self.text, self.source = text, source
        self._line, self._counted = 1, 0
        self.next = self._find(0)

    def _find(self, position: int) -> Token:
        space = _SPACE.match(self.text, position)
        position = space.end() if space else position
        if position == len(self.text):
            return Token("end", "", position)
        end = self.text.find('"', position + 1) if self.text[position] == '"' else -1
        if end >= 0 and all(self.text.find(odd, position, end) < 0 for odd in "\\\n"):
            return Token("string", self.text[position : end + 1], position)
        match = _TOKEN.match(self.text, position)
        if match is None:
            self.next = Token("mark", self.text[position], position)
            raise self.fail("a token of MLIR's generic syntax")
        return Token(str(match.lastgroup), match[0], position)

    def take(self) -> Token:
        """Return the next token and move on."""
        token = self.next
        if token.kind != "end":
            self.next = self._find(token.start + len(token.text))
        return token

    def sees(self, text: str) -> bool:
        """Whether the next token is this mark or word."""
        return self.next.text == text and self.next.kind in ("mark", "word")

    def accept(self, text: str) -> bool:
        """Move past a mark or word if it is next."""
        found = self.sees(text)
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        """Move past a mark or word, which must be next."""
        if not self.accept(text):
            raise self.fail(f"'{text}'")

    def of(self, kind: str, what: str) -> Token:
        """Return the next token, which must be of a kind."""
        if self.next.kind != kind:
            raise self.fail(what)
        return self.take()

    def place(self, token: Token | None = None) -> Place:
        """Return line and column of a token; asking in the order of the text is fast."""
        start = (token or self.next).start
        if start < self._counted:
            self._line, self._counted = 1, 0
        self._line += self.text.count("\n", self._counted, start)
        self._counted = start
        return Place(self._line, start - self.text.rfind("\n", 0, start))

    def fail(self, wanted: str, token: Token | None = None) -> SnnirError:
        """Return the error for an unexpected token."""
        token = token or self.next
        found = f"'{shown(token.text)}'" if token.kind != "end" else "the end of the text"
        return self.error("SNN102", f"expected {wanted}, found {found}", token)

    def error(self, code: str, message: str, token: Token | None = None) -> SnnirError:
        """Return an error that names line and column of a token."""
        return self.place(token).error(code, message, self.source)
