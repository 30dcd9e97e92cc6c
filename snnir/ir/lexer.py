"""Tokens of the text form, with positions for error messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TypeVar

from snnir.errors import SnnirError
from snnir.ir.cursor import Cursor, Token

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


class Tokens(Cursor):
    """A cursor over the tokens of the text form."""

    def __init__(self, text: str, source: str | None) -> None:
        super().__init__(text, source)
        self._rest = iter(self._split(text))
        self.next = next(self._rest)

    def _split(self, text: str) -> list[Token]:
        items: list[Token] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                unknown = Token("mark", text[position], position)
                raise self.fail("a token of the text form", unknown)
            if match.lastgroup != "space":
                items.append(Token(str(match.lastgroup), match[0], position))
            position = match.end()
        items.append(Token("end", "", len(text)))
        return items

    def take(self) -> Token:
        """Return the token under the cursor and move on."""
        token = self.next
        if token.kind != "end":
            self.next = next(self._rest)
        return token

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
        token = self.of("string", "a quoted text")
        try:
            return str(json.loads(token.text))
        except ValueError:
            raise self.fail("a valid quoted text", token) from None

    def number(self) -> float | int:
        """Return the next number; one without point or exponent is an int."""
        token = self.of("number", "a number")
        text = token.text
        if len(text) > 400:
            raise self.fail("a number of sensible length", token)
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
        token = self.next
        value = self.number()
        if not isinstance(value, int):
            raise self.fail("a whole number", token)
        return value

    def located(self, read: Callable[[], T], token: Token) -> T:
        """Return what `read` gives; its errors get the place of a token."""
        try:
            return read()
        except SnnirError as failure:
            first = failure.diagnostics[0]
            message = "; ".join(d.message for d in failure.diagnostics[:5])
            raise self.error(first.code, message, token, hint=first.hint) from None
