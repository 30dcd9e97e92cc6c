"""What readers of texts have in common: a cursor over tokens, and errors that name their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from snnir.errors import SnnirError, error, shown


@dataclass(frozen=True)
class Place:
    """Where something stands in a text."""

    line: int = 0
    column: int = 0

    def error(self, code: str, message: str, source: str | None, **extra: Any) -> SnnirError:
        """Return an error that names the place, if it is known."""
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        return error(code, f"{where}{message}", source=source, **extra)


@dataclass(frozen=True)
class Token:
    """One token: its kind, its text and where it starts."""

    kind: str
    text: str
    start: int


class Cursor:
    """A cursor over the tokens of a text; the last one is of the kind `end`.

    Attributes:
        text, source: The text, and the name of its file for messages.
        next: The token under the cursor.
    """

    next: Token

    def __init__(self, text: str, source: str | None) -> None:
        self.text, self.source = text, source
        self._line, self._counted = 1, 0

    def take(self) -> Token:
        """Return the token under the cursor and move on."""
        raise NotImplementedError

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

    def listed(self, end: str) -> Iterator[Token]:
        """Yield the first token of each item of a list, up to its closing mark."""
        while not self.accept(end):
            yield self.next
            if not self.sees(end):
                self.expect(",")

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

    def error(
        self, code: str, message: str, token: Token | None = None, node: str | None = None,
        hint: str | None = None,
    ) -> SnnirError:  # fmt: skip
        """Return an error that names line and column of a token."""
        return self.place(token).error(code, message, self.source, node=node, hint=hint)
