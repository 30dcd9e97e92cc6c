"""Tokens of MLIR's generic syntax, found one at a time: weights are strings of many megabytes."""

from __future__ import annotations

import re

from snnir.ir.cursor import Cursor, Token

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


class Tokens(Cursor):
    """A cursor over a text in generic syntax."""

    def __init__(self, text: str, source: str | None) -> None:
        super().__init__(text, source)
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
            unknown = Token("mark", self.text[position], position)
            raise self.fail("a token of MLIR's generic syntax", unknown)
        return Token(str(match.lastgroup), match[0], position)

    def take(self) -> Token:
        """Return the token under the cursor and move on."""
        token = self.next
        if token.kind != "end":
            self.next = self._find(token.start + len(token.text))
        return token
