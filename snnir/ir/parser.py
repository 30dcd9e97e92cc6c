"""Reading the text form."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.errors import shown
from snnir.ir.attributes import AttributeMismatch, checked
from snnir.ir.cursor import Token
from snnir.ir.graph import Graph, Node, Provenance, Value
from snnir.ir.lexer import Tokens
from snnir.ir.op import OPS, Op
from snnir.ir.origins import Origins
from snnir.ir.printer import VERSION, signals_or_nothing
from snnir.ir.program_reader import ProgramReader
from snnir.semantics import Stepping
from snnir.streams import DTYPES, Kind, Signal, parse_shape, parse_signal
from snnir.suggest import close
from snnir.tensors import FrozenDict, Tensor

_MAX_DEPTH = 64
#: Limits of what a text may declare, so that sizes and messages stay finite.
_MAX_AXES, _MAX_ELEMENTS = 32, 1 << 56
_MAX_SHAPE_TEXT = 600
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, **{k.value: k for k in Kind}}

T = TypeVar("T")
Fields = tuple[type[Op], dict[str, Any], Token, tuple[Value, ...], FrozenDict[Any]]

#: Text of an older version to text of the next one, by the older version.
MIGRATIONS: dict[int, Callable[[str], str]] = {}


class _ProgramRef(str):
    """The name of a `dynamics` block, before it is resolved."""


@cache
def _stepping_fields(cls: type[Op]) -> frozenset[str]:
    hints = typing.get_type_hints(cls)
    return frozenset(k for k, h in hints.items() if Stepping in (h, *typing.get_args(h)))


def _suits(value: Any, default: Any) -> bool:
    """Whether a value may replace the default of a record's field."""
    if isinstance(default, bool):
        return isinstance(value, int) and value in (0, 1)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return type(value) is type(default) or (isinstance(default, int) and isinstance(value, int))


def _meant(name: str, known: list[str], mark: str = "") -> str | None:
    """Return a hint with similar names; of marked ones only the most similar."""
    found = close(name, known)[: 1 if mark else None]
    return f"did you mean {', '.join(mark + c for c in found)}?" if found else None


def parse_graph(
    text: str, tensors: Mapping[str, Tensor] | None = None, source: str | None = None
) -> Graph:
    """Read the text form of a graph.

    Args:
        text: The text.
        tensors: Weights by digest; those that are missing stay unresolved.
        source: Name of the file, for messages.

    Returns:
        The graph, with stated types checked against inferred ones; not otherwise verified.

    Raises:
        SnnirError: SNN102 for syntax, SNN106 for an unknown op, SNN108 for a version this one
            cannot read, SNN201 for undefined values and wrong attributes, SNN202 for wrong types.
    """
    text = migrated(text, source)
    return _Parser(Tokens(text, source), tensors or {}).graph()


def migrated(text: str, source: str | None) -> str:
    """Return a text of the current version.

    Raises:
        SnnirError: SNN108 for a newer version, or one without a migration.
    """
    tokens = Tokens(text[: text.find("\n") if "\n" in text else len(text)], source)
    tokens.expect("snnir")
    version = tokens.whole()
    while version != VERSION:
        step = MIGRATIONS.get(version)
        if step is None:
            hint = "use a newer snnir" if version > VERSION else None
            message = f"text form version {shown(str(version))}, known is {VERSION}"
            raise tokens.error("SNN108", message, hint=hint)
        text = step(text)
        version += 1
    return text


class _Parser:
    def __init__(self, tokens: Tokens, tensors: Mapping[str, Tensor]) -> None:
        self.tokens, self.tensors = tokens, tensors
        self.pending: dict[str, Fields] = {}
        self.uses: list[tuple[Value, Token, str | None]] = []
        self.stated: dict[str, tuple[list[Signal], Token]] = {}
        self.programs = ProgramReader(tokens)

    def graph(self) -> Graph:
        tokens = self.tokens
        tokens.expect("snnir")
        tokens.whole()
        tokens.expect("graph")
        tokens.expect("@")
        name = tokens.name("the graph's name")
        header = self.header()
        tokens.expect("{")
        while not tokens.sees("return"):
            self.node()
        tokens.take()
        outputs = self.entries("an output's name", self.reference)
        tokens.expect("}")
        provenance = self.provenance()
        while tokens.accept("dynamics"):
            self.programs.block()
        if tokens.next.kind != "end":
            raise tokens.fail("the end of the text")
        graph = Graph(self.nodes(), outputs, name=name, provenance=provenance, **header)
        self.check_types(graph)
        return graph

    def header(self) -> dict[str, Any]:
        tokens = self.tokens
        tokens.expect("(")
        found: dict[str, Any] = {}
        for token in self.tokens.listed(")"):
            key = tokens.word("'dt' or 'record_offset'")
            if key not in ("dt", "record_offset") or key in found:
                raise tokens.fail("'dt' or 'record_offset', once each", token)
            tokens.expect("=")
            found[key] = float(tokens.sensible_number()) if key == "dt" else tokens.whole()
        return found

    def entries(self, what: str, read: Callable[[], T]) -> dict[str, T]:
        tokens = self.tokens
        tokens.expect("{")
        found: dict[str, T] = {}
        for token in self.tokens.listed("}"):
            key = tokens.name(what)
            if key in found:
                raise tokens.error("SNN201", f"'{shown(key)}' is there twice", token)
            tokens.expect("=")
            found[key] = read()
        return found

    def node(self) -> None:
        tokens = self.tokens
        tokens.expect("%")
        token = tokens.next
        name = tokens.name("a node's name")
        if name in self.pending:
            raise tokens.error("SNN201", "two nodes have this name", token, name)
        tokens.expect("=")
        op_token = tokens.next
        cls = self.op_class(tokens.word("an op"), op_token, name)
        tokens.expect("(")
        operands = tuple(self.reference(name) for _ in self.tokens.listed(")"))
        attributes = self.mapping(0) if tokens.sees("{") else {}
        metadata = self.mapping(0) if tokens.accept("meta") else {}
        if any(type(v) not in (str, int, float, bool) for v in metadata.values()):
            raise tokens.error("SNN201", "metadata holds texts and numbers only", token, name)
        if tokens.accept(":"):
            self.stated[name] = (self.signals(), token)
        # The op is built once all `dynamics` blocks are known.
        self.pending[name] = (cls, attributes, op_token, operands, FrozenDict(metadata))

    def op_class(self, word: str, token: Token, node: str) -> type[Op]:
        if word in OPS:
            return OPS[word]
        message = f"there is no op '{shown(word)}'"
        raise self.tokens.error("SNN106", message, token, node, _meant(word, list(OPS)))

    def reference(self, node: str | None = None) -> Value:
        tokens = self.tokens
        token = tokens.next
        tokens.expect("%")
        name = tokens.name("a node's name")
        result = tokens.whole() if tokens.accept(":") else 0
        if result < 0:
            raise tokens.error("SNN102", "expected the number of a result, from 0", token, node)
        value = Value(name, result)
        self.uses.append((value, token, node))
        return value

    def signals(self) -> list[Signal]:
        found = [self.signal()]
        while self.tokens.accept(","):
            found.append(self.signal())
        return found

    def signal(self) -> Signal:
        token = self.tokens.next
        if token.kind != "signal":
            raise self.tokens.fail("a type such as spikes<12xf32>")
        signal = self.declared(parse_signal, self.tokens.take().text, token)
        self.check_shape(signal.shape, token)
        return signal

    def declared(self, read: Callable[[str], T], text: str, token: Token) -> T:
        """Read a type or shape; its errors get a place."""
        if len(text) > _MAX_SHAPE_TEXT:
            raise self.tokens.fail("a shape of sensible length", token)
        return self.tokens.located(lambda: read(text), token)

    def check_shape(self, shape: tuple[int, ...], token: Token) -> None:
        if len(shape) > _MAX_AXES or math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS:
            raise self.tokens.error("SNN107", "the shape is absurdly large", token)

    def mapping(self, depth: int) -> dict[str, Any]:
        return self.entries("a key", lambda: self.value(depth + 1))

    def value(self, depth: int) -> Any:
        tokens = self.tokens
        token = tokens.next
        if depth > _MAX_DEPTH:
            raise tokens.error("SNN107", f"values are nested deeper than {_MAX_DEPTH}")
        if token.kind == "number":
            return tokens.sensible_number()
        if token.kind == "string":
            return tokens.string()
        if token.kind == "signal":
            return self.signal()
        if tokens.sees("{"):
            return self.mapping(depth)
        if tokens.accept("["):
            return tuple([self.value(depth + 1) for _ in self.tokens.listed("]")])
        if tokens.accept("@"):
            return self.named()
        return self.word_value(token, depth)

    def word_value(self, token: Token, depth: int) -> Any:
        tokens = self.tokens
        if token.kind != "word" or not (token.text in _WORDS or token.text in (*DTYPES, "lif")):
            raise tokens.fail("a value")
        tokens.take()
        if token.text in DTYPES:
            return self.inline_tensor(token.text)
        if token.text in _WORDS:
            return _WORDS[token.text]
        return self.record(LifStep, "lif", self.mapping(depth), token)

    def record(self, cls: type[T], what: str, given: dict[str, Any], token: Token) -> T:
        """Build a `LifStep` or a `Stepping`, whose own errors are left as they are."""
        defaults = {item.name: item.default for item in fields(cls)}  # type: ignore[arg-type]
        for key, value in given.items():
            problem = f"attribute '{shown(key)}' cannot be {shown(repr(value), 40)}"
            if key not in defaults:
                problem = f"there is no attribute '{shown(key)}'"
            elif _suits(value, defaults[key]):
                continue
            raise self.tokens.error("SNN201", f"{what}: {problem}", token)
        return cls(**given)

    def inline_tensor(self, dtype: str) -> Tensor:
        if self.tokens.accept("["):
            items = [self.element(dtype) for _ in self.tokens.listed("]")]
            return Tensor(np.array(items, DTYPES[dtype]))
        return Tensor(np.array(self.element(dtype), DTYPES[dtype]))

    def element(self, dtype: str) -> Any:
        """Return one number of an inline tensor, exactly as its type holds it."""
        tokens = self.tokens
        token = tokens.next
        if dtype == "bool":
            if token.text not in ("true", "false"):
                raise tokens.fail("true or false")
            return tokens.take().text == "true"
        value = tokens.sensible_number()
        if dtype.startswith("f"):
            with np.errstate(over="ignore"):
                result = np.array(float(value), DTYPES[dtype])
            fits = bool(np.isinf(result)) == math.isinf(value)
            return result if fits else self.misfit(dtype, token)
        if not isinstance(value, int):
            raise tokens.fail(f"whole numbers of type {dtype}", token)
        limits = np.iinfo(DTYPES[dtype])
        return value if limits.min <= value <= limits.max else self.misfit(dtype, token)

    def misfit(self, dtype: str, token: Token) -> typing.NoReturn:
        raise self.tokens.error("SNN102", f"a number does not fit {dtype}", token)

    def named(self) -> Any:
        """Return a weight by digest, or a reference to a program."""
        tokens = self.tokens
        name = tokens.name("a name")
        token = tokens.next
        if token.kind != "digest":
            return _ProgramRef(name)
        digest, _, shape = tokens.take().text[1:].partition(":")
        extents, dtype = self.declared(parse_shape, shape, token)
        self.check_shape(extents, token)
        known = self.tensors.get(digest)
        if known is None:
            return Tensor.unresolved(digest, extents, dtype)
        if (known.shape, known.dtype) != (extents, dtype):
            raise tokens.error("SNN202", f"weight '{shown(name)}' is stored as {known!r}", token)
        return known

    def provenance(self) -> Provenance:
        if not self.tokens.accept("provenance"):
            return Provenance()
        token = self.tokens.next
        found = self.mapping(0)
        notes = found.get("notes", ())
        texts = [found.get("source", ""), found.get("digest", "")]
        keys = {"source", "digest", "notes", "origins"}
        known = set(found) <= keys and isinstance(notes, tuple)
        if not known or any(type(text) is not str for text in (*texts, *notes)):
            raise self.tokens.error("SNN102", "provenance has texts source, digest, notes", token)
        try:
            origins = Origins.from_plain(found.get("origins", {}))
        except ValueError as failure:
            raise self.tokens.error("SNN102", f"provenance: {failure}", token) from None
        return Provenance(texts[0], texts[1], notes, origins)

    def nodes(self) -> dict[str, Node]:
        """Build the nodes, now that all programs are known, and check what they refer to."""
        for value, token, user in self.uses:
            if value.node not in self.pending:
                message = f"%{shown(value.node)} is not defined"
                hint = _meant(value.node, list(self.pending), "%")
                raise self.tokens.error("SNN201", message, token, user, hint)
        return {
            name: Node(name, self.op(cls, attributes, token, name), operands, metadata)
            for name, (cls, attributes, token, operands, metadata) in self.pending.items()
        }

    def op(self, cls: type[Op], attributes: dict[str, Any], token: Token, node: str) -> Op:
        known = {item.name: item for item in fields(cls)}
        parts = [f"has no attribute '{shown(k)}'" for k in attributes if k not in known][:3]
        parts += [
            f"needs attribute '{name}'"
            for name, item in known.items()
            if name not in attributes and item.default is item.default_factory is MISSING
        ]
        if parts:
            raise self.tokens.error("SNN201", f"{cls.name} {', '.join(parts)}", token, node)
        try:
            values = {
                key: checked(cls, key, self.resolved(cls, key, value, token, node))
                for key, value in attributes.items()
            }
            return cls(**values)
        except AttributeMismatch as failure:
            raise self.tokens.error("SNN201", f"{cls.name}: {failure}", token, node) from None

    def resolved(self, cls: type[Op], key: str, value: Any, token: Token, node: str) -> Any:
        if isinstance(value, dict) and key in _stepping_fields(cls):  # type: ignore[arg-type]  # classes are hashable
            return self.record(Stepping, f"{cls.name}.{key}", value, token)
        if not isinstance(value, _ProgramRef):
            return value
        if value not in self.programs.found:
            message = f"there is no dynamics @{shown(value)}"
            raise self.tokens.error("SNN201", message, token, node)
        return self.programs.found[value]

    def check_types(self, graph: Graph) -> None:
        """Compare stated with inferred types, where inference works."""
        inferred = signals_or_nothing(graph)
        for name, (stated, token) in self.stated.items() if inferred else ():
            for index, signal in enumerate(stated):
                found = inferred.get(Value(name, index))
                if found != signal:
                    message = f"is stated as {signal}, inferred is {found or 'no such result'}"
                    raise self.tokens.error("SNN202", message, token, name)
