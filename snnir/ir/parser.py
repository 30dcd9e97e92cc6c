"""Reading the text form."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.errors import SnnirError
from snnir.ir.attributes import AttributeMismatch, checked
from snnir.ir.graph import Graph, Node, Provenance, Value
from snnir.ir.lexer import Token, Tokens
from snnir.ir.op import OPS, Op
from snnir.ir.printer import VERSION
from snnir.streams import DTYPES, Kind, Signal, parse_shape, parse_signal
from snnir.tensors import FrozenDict, Tensor

_MAX_DEPTH = 64

#: Text of an older version to text of the next one, by the older version.
MIGRATIONS: dict[int, Callable[[str], str]] = {}


class _ProgramRef(str):
    """The name of a `dynamics` block, before it is resolved."""


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
            message = f"text form version {version}, known is {VERSION}"
            raise tokens.error("SNN108", message, hint=hint)
        text = step(text)
        version += 1
    return text


class _Parser:
    def __init__(self, tokens: Tokens, tensors: Mapping[str, Tensor]) -> None:
        self.tokens, self.tensors = tokens, tensors
        self.nodes: dict[str, Node] = {}
        self.places: dict[str, Token] = {}
        self.uses: list[tuple[Value, Token, str]] = []
        self.stated: dict[str, tuple[list[Signal], Token]] = {}
        self.pending: dict[str, tuple[type[Op], dict[str, Any], Token]] = {}
        self.programs: dict[str, Dynamics] = {}

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
        outputs = self.outputs()
        tokens.expect("}")
        provenance = self.provenance()
        while tokens.accept("dynamics"):
            self.dynamics()
        if tokens.next.kind != "end":
            raise tokens.fail("the end of the text")
        self.finish()
        graph = Graph(self.nodes, outputs, name=name, provenance=provenance, **header)
        self.check_types(graph)
        return graph

    def header(self) -> dict[str, Any]:
        tokens = self.tokens
        tokens.expect("(")
        found: dict[str, Any] = {}
        while not tokens.accept(")"):
            key = tokens.word("'dt' or 'record_offset'")
            if key not in ("dt", "record_offset") or key in found:
                tokens.at -= 1
                raise tokens.fail("'dt' or 'record_offset', once each")
            tokens.expect("=")
            found[key] = float(tokens.number()) if key == "dt" else tokens.whole()
            if not tokens.sees(")"):
                tokens.expect(",")
        return found

    def node(self) -> None:
        tokens = self.tokens
        tokens.expect("%")
        token = tokens.next
        name = tokens.name("a node's name")
        if name in self.nodes:
            raise tokens.error("SNN201", "two nodes have this name", token, name)
        tokens.expect("=")
        op_token = tokens.next
        cls = self.op_class(tokens.word("an op"), op_token, name)
        operands = self.operands(name)
        attributes = self.mapping(0) if tokens.sees("{") else {}
        metadata = self.mapping(0) if tokens.accept("meta") else {}
        if any(not isinstance(v, (str, int, float)) for v in metadata.values()):
            raise tokens.error("SNN201", "metadata holds texts and numbers only", token, name)
        if tokens.accept(":"):
            self.stated[name] = (self.signals(), token)
        self.pending[name] = (cls, attributes, op_token)
        # The op is built once all `dynamics` blocks are known.
        self.nodes[name] = Node(name, Op(), operands, FrozenDict(metadata))

    def op_class(self, word: str, token: Token, node: str) -> type[Op]:
        if word in OPS:
            return OPS[word]
        close = difflib.get_close_matches(word, OPS, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else None
        raise self.tokens.error("SNN106", f"there is no op '{word[:60]}'", token, node, hint)

    def operands(self, node: str) -> tuple[Value, ...]:
        tokens = self.tokens
        tokens.expect("(")
        found = []
        while not tokens.accept(")"):
            found.append(self.reference(node))
            if not tokens.sees(")"):
                tokens.expect(",")
        return tuple(found)

    def reference(self, node: str) -> Value:
        tokens = self.tokens
        token = tokens.next
        tokens.expect("%")
        name = tokens.name("a node's name")
        result = tokens.whole() if tokens.accept(":") else 0
        value = Value(name, result)
        self.uses.append((value, token, node))
        return value

    def signals(self) -> list[Signal]:
        tokens = self.tokens
        found = []
        while True:
            if tokens.next.kind != "signal":
                raise tokens.fail("a type such as spikes<12xf32>")
            found.append(parse_signal(tokens.take().text))
            if not tokens.accept(","):
                return found

    def outputs(self) -> dict[str, Value]:
        tokens = self.tokens
        tokens.expect("{")
        found: dict[str, Value] = {}
        while not tokens.accept("}"):
            token = tokens.next
            name = tokens.name("an output's name")
            if name in found:
                raise tokens.error("SNN201", f"output '{name}' is there twice", token)
            tokens.expect("=")
            found[name] = self.reference(name)
            if not tokens.sees("}"):
                tokens.expect(",")
        return found

    def mapping(self, depth: int) -> dict[str, Any]:
        tokens = self.tokens
        tokens.expect("{")
        found: dict[str, Any] = {}
        while not tokens.accept("}"):
            token = tokens.next
            key = tokens.name("a key")
            if key in found:
                raise tokens.error("SNN201", f"'{key}' is there twice", token)
            tokens.expect("=")
            found[key] = self.value(depth + 1)
            if not tokens.sees("}"):
                tokens.expect(",")
        return found

    def value(self, depth: int) -> Any:
        tokens = self.tokens
        token = tokens.next
        if depth > _MAX_DEPTH:
            raise tokens.error("SNN107", f"values are nested deeper than {_MAX_DEPTH}")
        if token.kind == "number":
            return tokens.number()
        if token.kind == "string":
            return tokens.string()
        if token.kind == "signal":
            return parse_signal(tokens.take().text)
        if tokens.sees("{"):
            return self.mapping(depth)
        if tokens.sees("["):
            return self.sequence(depth)
        if tokens.accept("@"):
            return self.named()
        return self.word_value(token, depth)

    def word_value(self, token: Token, depth: int) -> Any:
        tokens = self.tokens
        literals = {"true": True, "false": False, "none": None}
        if token.kind == "word" and token.text in literals:
            tokens.take()
            return literals[token.text]
        if token.kind == "word" and token.text in DTYPES:
            tokens.take()
            return self.inline_tensor(token.text)
        if tokens.accept("lif"):
            return self.lif(token, depth)
        raise tokens.fail("a value")

    def sequence(self, depth: int) -> tuple[Any, ...]:
        tokens = self.tokens
        tokens.expect("[")
        found = []
        while not tokens.accept("]"):
            found.append(self.value(depth + 1))
            if not tokens.sees("]"):
                tokens.expect(",")
        return tuple(found)

    def lif(self, token: Token, depth: int) -> LifStep:
        try:
            return LifStep(**self.mapping(depth))
        except TypeError as failure:
            raise self.tokens.error("SNN201", f"lif: {failure}", token) from None

    def inline_tensor(self, dtype: str) -> Tensor:
        tokens = self.tokens
        token = tokens.next
        values = self.sequence(0) if tokens.sees("[") else self.value(0)
        flat = values if isinstance(values, tuple) else (values,)
        if not all(isinstance(v, (bool, int, float)) for v in flat):
            raise tokens.error("SNN102", f"expected numbers of type {dtype}", token)
        try:
            return Tensor(np.array(values, DTYPES[dtype]))
        except OverflowError:
            raise tokens.error("SNN102", f"a number does not fit {dtype}", token) from None

    def named(self) -> Any:
        """Return a weight by digest, or a reference to a program."""
        tokens = self.tokens
        name = tokens.name("a name")
        if tokens.next.kind != "digest":
            return _ProgramRef(name)
        digest, _, shape = tokens.take().text[1:].partition(":")
        extents, dtype = parse_shape(shape)
        known = self.tensors.get(digest)
        if known is None:
            return Tensor.unresolved(digest, extents, dtype)
        if (known.shape, known.dtype) != (extents, dtype):
            tokens.at -= 1
            raise tokens.error("SNN202", f"weight '{name}' is stored as {known!r}")
        return known

    def provenance(self) -> Provenance:
        if not self.tokens.accept("provenance"):
            return Provenance()
        token = self.tokens.next
        found = self.mapping(0)
        notes = found.get("notes", ())
        texts = [found.get("source", ""), found.get("digest", ""), *notes]
        if set(found) - {"source", "digest", "notes"} or not all(
            isinstance(text, str) for text in texts
        ):
            raise self.tokens.error("SNN102", "provenance has texts source, digest, notes", token)
        return Provenance(texts[0], texts[1], tuple(notes))

    def dynamics(self) -> None:
        tokens = self.tokens
        tokens.expect("@")
        token = tokens.next
        key = tokens.name("the program's name")
        if key in self.programs:
            raise tokens.error("SNN201", f"two programs are called '{key}'", token)
        name, dtype = tokens.string(), tokens.word("f32 or f64")
        tokens.expect("{")
        self.programs[key] = self.program(name, dtype)
        self.programs[key].types()

    def program(self, name: str, dtype: str) -> Dynamics:
        tokens = self.tokens
        inputs: list[str] = []
        params: list[tuple[str, str]] = []
        states: list[State] = []
        body: list[Let] = []
        updates: list[tuple[str, Operand]] = []
        outputs: list[tuple[str, Kind]] = []
        while not tokens.accept("}"):
            word = tokens.word("a statement")
            if tokens.accept("="):
                body.append(Let(word, tokens.word("an operation"), self.arguments()))
            elif word == "inputs":
                inputs = [str(arg) for arg in self.arguments()]
            elif word == "param":
                params.append((tokens.word("a parameter"), tokens.string()))
            elif word in ("state", "next"):
                target = tokens.word("a state")
                tokens.expect("=")
                value = self.argument()
                if word == "state":
                    states.append(State(target, value))
                else:
                    updates.append((target, value))
            elif word == "emit":
                outputs.append((tokens.word("a value"), self.kind()))
            else:
                tokens.at -= 1
                raise tokens.fail("a statement of a program")
        return Dynamics(
            name, tuple(inputs), tuple(params), tuple(states), tuple(body), tuple(updates),
            tuple(outputs), dtype,
        )  # fmt: skip

    def kind(self) -> Kind:
        self.tokens.expect(":")
        token = self.tokens.next
        try:
            return Kind(self.tokens.word("a kind"))
        except ValueError:
            raise self.tokens.fail("spikes, counts or analog", token) from None

    def arguments(self) -> tuple[Operand, ...]:
        found = [self.argument()]
        while self.tokens.accept(","):
            found.append(self.argument())
        return tuple(found)

    def argument(self) -> Operand:
        if self.tokens.next.kind == "number":
            return float(self.tokens.number())
        return self.tokens.word("a name or a number")

    def finish(self) -> None:
        """Build the ops, now that all programs are known, and check what they refer to."""
        for name, (cls, attributes, token) in self.pending.items():
            node = self.nodes[name]
            self.nodes[name] = Node(name, self.op(cls, attributes, token, name), node.operands,
                                    node.metadata)  # fmt: skip
        for value, token, node_name in self.uses:
            if value.node not in self.nodes:
                close = difflib.get_close_matches(value.node, list(self.nodes)[:5000], n=1)
                hint = f"did you mean %{close[0]}?" if close else None
                message = f"%{value.node[:60]} is not defined"
                raise self.tokens.error("SNN201", message, token, node_name, hint)

    def op(self, cls: type[Op], attributes: dict[str, Any], token: Token, node: str) -> Op:
        known = {item.name: item for item in fields(cls)}
        wrong = [key for key in attributes if key not in known]
        missing = [
            name
            for name, item in known.items()
            if item.default is MISSING
            and item.default_factory is MISSING
            and name not in attributes
        ]
        if wrong or missing:
            parts = [f"has no attribute '{key[:60]}'" for key in wrong[:3]]
            parts += [f"needs attribute '{key}'" for key in missing]
            raise self.tokens.error("SNN201", f"{cls.name} {', '.join(parts)}", token, node)
        try:
            values = {
                key: checked(cls, key, self.resolved(value, token, node))
                for key, value in attributes.items()
            }
            return cls(**values)
        except AttributeMismatch as failure:
            raise self.tokens.error("SNN201", f"{cls.name}: {failure}", token, node) from None

    def resolved(self, value: Any, token: Token, node: str) -> Any:
        if not isinstance(value, _ProgramRef):
            return value
        if value not in self.programs:
            raise self.tokens.error("SNN201", f"there is no dynamics @{value[:60]}", token, node)
        return self.programs[value]

    def check_types(self, graph: Graph) -> None:
        """Compare stated with inferred types, where inference works."""
        try:
            inferred = graph.signals
        except SnnirError:
            return
        for name, (stated, token) in self.stated.items():
            for index, signal in enumerate(stated):
                found = inferred.get(Value(name, index))
                if found != signal:
                    message = f"is stated as {signal}, inferred is {found}"
                    raise self.tokens.error("SNN202", message, token, name)
