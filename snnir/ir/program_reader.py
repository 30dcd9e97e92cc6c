"""Reading the `dynamics` blocks of the text form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.errors import shown
from snnir.ir.lexer import Tokens
from snnir.streams import Kind

T = TypeVar("T")

_KINDS = {kind.value: kind for kind in Kind}


class ProgramReader:
    """Reads step programs, one block after the other.

    Attributes:
        tokens: The text, shared with the reader of the graph.
        found: The programs read so far, by the name that nodes give.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.found: dict[str, Dynamics] = {}

    def block(self) -> None:
        """Read what follows the word `dynamics`.

        Raises:
            SnnirError: SNN102 for syntax, SNN201 for a name that is taken or a program that is
                not well formed.
        """
        tokens = self.tokens
        tokens.expect("@")
        token = tokens.next
        key = tokens.name("the program's name")
        if key in self.found:
            raise tokens.error("SNN201", f"two programs are called '{shown(key)}'", token)
        name = tokens.string()
        if tokens.next.text not in ("f32", "f64", "i32", "i64"):
            raise tokens.fail("f32, f64, i32 or i64")
        dtype = tokens.take().text
        tokens.expect("{")
        self.found[key] = self._program(name, dtype)
        tokens.located(self.found[key].types, token)

    def _program(self, name: str, dtype: str) -> Dynamics:
        tokens = self.tokens
        inputs: list[str] = []
        params: list[tuple[str, str]] = []
        states: list[State] = []
        body: list[Let] = []
        updates: list[tuple[str, Operand]] = []
        outputs: list[tuple[str, Kind]] = []
        while not tokens.accept("}"):
            token = tokens.next
            word = tokens.name("a statement")
            if tokens.accept("="):
                op = tokens.word("an operation")
                body.append(Let(word, op, tuple(self._joined(self._argument))))
            elif word == "inputs" and not inputs:
                inputs = self._joined(self._identifier)
            elif word == "param":
                params.append((self._identifier(), tokens.string()))
            elif word in ("state", "lasting"):
                states.append(State(*self._assigned(), lasting=word == "lasting"))
            elif word == "next":
                updates.append(self._assigned())
            elif word == "emit":
                outputs.append((self._identifier(), self._kind()))
            else:
                raise tokens.fail("a statement of a program", token)
        return Dynamics(
            name, tuple(inputs), tuple(params), tuple(states), tuple(body), tuple(updates),
            tuple(outputs), dtype,
        )  # fmt: skip

    def _assigned(self) -> tuple[str, Operand]:
        target = self._identifier()
        self.tokens.expect("=")
        return target, self._argument()

    def _kind(self) -> Kind:
        self.tokens.expect(":")
        found = _KINDS.get(self.tokens.next.text)
        if found is None:
            raise self.tokens.fail("spikes, counts or analog")
        self.tokens.take()
        return found

    def _joined(self, read: Callable[[], T]) -> list[T]:
        found = [read()]
        while self.tokens.accept(","):
            found.append(read())
        return found

    def _identifier(self) -> str:
        if self.tokens.next.kind not in ("word", "string"):
            raise self.tokens.fail("a name")
        return self.tokens.name("a name")

    def _argument(self) -> Operand:
        is_number = self.tokens.next.kind == "number"
        return float(self.tokens.sensible_number()) if is_number else self._identifier()
