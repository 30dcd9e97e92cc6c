"""Tokens of the text form, with positions for error messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from snnir.errors import SnnirError, error, shown

T = TypeVar("T")

#: Longest whole number that is surely within the range of floats.
_MAX_DIGITS = 300
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|//[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<signal>(?:spikes|counts|analog)<[^<>\n]*>)
  | (?P<digest>\#[0-9a-f]{16}:[0-9a-z]+)
  | (?P<number>-?(?:inf|nan|\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+)(?![A-Za-z0-9_.\-]))
  | (?P<word>[A-Za-z_0-9][A-Za-z0-9_.\-]*)
  | (?P<mark>[%@(){}\[\]=,:])
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True)
class Token:
    """One token: its kind, its text and where it starts."""

    kind: str
    text: str
    start: int


class Tokens:
    """A cursor over the tokens of a text."""

    def __init__(self, text: str, source: str | None) -> None:
        self.text, self.source = text, source
        self.items = self._split(text)
        self.at = 0

    def _split(self, text: str) -> list[Token]:
        items: list[Token] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.items, self.at = [Token("mark", text[position], position)], 0
                raise self.fail("a token of the text form")
            if match.lastgroup != "space":
                items.append(Token(str(match.lastgroup), match[0], position))
            position = match.end()
        items.append(Token("end", "", len(text)))
        return items

    @property
    def next(self) -> Token:
        """The token under the cursor."""
        return self.items[self.at]

    def take(self) -> Token:
        """Return the token under the cursor and move on."""
        token = self.items[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def sees(self, text: str) -> bool:
        """Whether the next token is this mark or word."""
        return self.next.text == text and self.next.kind in ("mark", "word")

    def accept(self, text: str) -> bool:
        """Move past a mark or word if it is next."""
        if self.sees(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Move past a mark or word, which must be next."""
        if not self.accept(text):
            raise self.fail(f"'{text}'")

    def word(self, what: str) -> str:
        """Return the next word."""
        if self.next.kind not in ("word", "number"):
            raise self.fail(what)
        return self.take().text

    def name(self, what: str) -> str:
        """Return the next name, plain or quoted."""
        if self.next.kind == "string":
            return self.string()
        if self.next.kind in ("word", "number"):
            return self.take().text
        raise self.fail(what)

    def string(self) -> str:
        """Return the next string."""
        if self.next.kind != "string":
            raise self.fail("a quoted text")
        try:
            value = json.loads(self.next.text)
        except ValueError:
            raise self.fail("a valid quoted text") from None
        self.at += 1
        return str(value)

    def number(self) -> float | int:
        """Return the next number; one without point or exponent is an int."""
        if self.next.kind != "number":
            raise self.fail("a number")
        text = self.next.text
        if len(text) > 400:
            raise self.fail("a number of sensible length")
        self.at += 1
        return float(text) if any(c in text for c in ".en") else int(text)

    def sensible_number(self) -> float | int:
        """Return the next number, which must be one that Python's floats can hold."""
        token = self.next
        value = self.number()
        lost = isinstance(value, float) and math.isinf(value) and "inf" not in token.text
        if lost or (isinstance(value, int) and len(token.text) > _MAX_DIGITS):
            raise self.fail("a number of sensible size", token)
        return value

    def whole(self) -> int:
        """Return the next number, which must be whole."""
        value = self.number()
        if not isinstance(value, int):
            self.at -= 1
            raise self.fail("a whole number")
        return value

    def located(self, read: Callable[[], T], token: Token) -> T:
        """Return what `read` gives; its errors get the place of a token."""
        try:
            return read()
        except SnnirError as failure:
            first = failure.diagnostics[0]
            message = "; ".join(d.message for d in failure.diagnostics[:5])
            raise self.error(first.code, message, token, hint=first.hint) from None

    def fail(self, wanted: str, token: Token | None = None) -> SnnirError:
        """Return the error for an unexpected token."""
        token = token or self.next
        found = f"'{shown(token.text)}'" if token.kind != "end" else "the end of the text"
        return self.error("SNN102", f"expected {wanted}, found {found}", token)

    def error(
        self, code: str, message: str, token: Token | None = None, node: str | None = None,
        hint: str | None = None,
    ) -> SnnirError:  # fmt: skip
        """Return an error that names line and column of a token."""
        start = (token or self.next).start
        line = self.text.count("\n", 0, start) + 1
        column = start - self.text.rfind("\n", 0, start)
        place = f"line {line}, column {column}: {message}"
        return error(code, place, node=node, source=self.source, hint=hint)
