"""Reading MLIR's generic syntax, as far as the `snn` dialect needs it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from snnir.errors import error, shown
from snnir.ir.cursor import Token
from snnir.mlir.lexer import Tokens
from snnir.mlir.numbers import float_value, string_value
from snnir.mlir.tensors import digest_of, from_bytes, splat
from snnir.mlir.tree import DTYPE_OF, MODULE, Operation, Ref, Symbol, ValueType
from snnir.streams import DTYPES, Kind, Signal
from snnir.tensors import Tensor

T = TypeVar("T")

#: Limits of what a text may declare, as those of the other readers.
_MAX_DEPTH = 64
_MAX_AXES, _MAX_ELEMENTS = 32, 1 << 56
_MAX_DIGITS = 300
_MAX_RESULTS = 1 << 16
_TENSOR = re.compile(r"tensor<((?:[0-9]{1,18}x)*)([a-z]+[0-9]*)>")
_INTEGER = re.compile(r"[su]?i[0-9]{1,7}|index")
_FLOATS = {"f16": 16, "f32": 32, "f64": 64}
_SCALARS = ("f32", "f64", "i32", "i64", "i1")


def read_operations(text: str, source: str | None = None) -> list[Operation]:
    """Return the operations of a text.

    Args:
        text: Text in generic syntax, except that modules may be written as `module`.
        source: Name of the file, for messages.

    Raises:
        SnnirError: SNN102 for syntax and SNN107 for absurd sizes, with line and column.
    """
    return _Reader(Tokens(text, source)).top()


def read_value(text: str) -> Any:
    """Return the value of one attribute.

    Raises:
        SnnirError: As `read_operations`.
    """
    reader = _Reader(Tokens(text, None))
    value = reader.filled(reader.value(0))
    reader.end()
    return value


def read_type(text: str) -> ValueType:
    """Return one type of a value.

    Raises:
        SnnirError: As `read_operations`.
    """
    reader = _Reader(Tokens(text, None))
    kind = reader.type()
    reader.end()
    return kind


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.blobs: dict[str, bytes] = {}
        self.has_resources = False

    def end(self) -> None:
        if self.tokens.next.kind != "end":
            raise self.tokens.fail("nothing more")

    def top(self) -> list[Operation]:
        found: list[Operation] = []
        while self.tokens.next.kind != "end":
            if self.tokens.accept("{-#"):
                self.resources()
            elif self.tokens.next.kind == "alias":
                self.alias()
            else:
                found.append(self.operation(0))
        for operation in found:
            self.fill(operation)
        return found

    def fill(self, operation: Operation) -> None:
        """Put the data of resources, which stands at the end of the text, where it is used."""
        if self.has_resources:
            operation.attributes = {k: self.filled(v) for k, v in operation.attributes.items()}
            for inner in operation.body:
                self.fill(inner)

    def filled(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self.filled(item) for item in value)
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        return self.resolved(value) if isinstance(value, _Resource) else value

    def resolved(self, found: _Resource) -> Tensor:
        token, digest = found.token, digest_of(found.key)
        data = self.blobs.get(found.key)
        if data is not None:
            value = self.checked(lambda: from_bytes(data, found.shape, found.dtype), token)
            if digest is not None and value.digest != digest:
                message = f"resource '{shown(found.key)}' was altered"
                raise self.tokens.error("SNN102", message, token)
            return value
        if digest is None:
            message = f"resource '{shown(found.key)}' is not in the text and has no digest"
            raise self.tokens.error("SNN205", message, token)
        return Tensor.unresolved(digest, found.shape, found.dtype)

    def checked(self, read: Callable[[], T], token: Token) -> T:
        try:
            return read()
        except ValueError as failure:
            raise self.tokens.error("SNN102", f"the tensor {failure}", token) from None

    def alias(self) -> None:
        """Skip `#loc1 = loc(…)`."""
        self.tokens.take()
        self.tokens.expect("=")
        if not self.location():
            raise self.tokens.fail("a location: other aliases are not read")

    def location(self) -> bool:
        """Skip `loc(…)` if it is next."""
        if not self.tokens.accept("loc"):
            return False
        self.tokens.expect("(")
        depth = 1
        while depth:
            token = self.tokens.take()
            if token.kind == "end":
                raise self.tokens.fail("')'")
            if token.kind == "mark":
                depth += (token.text == "(") - (token.text == ")")
        return True

    def operation(self, depth: int) -> Operation:
        tokens = self.tokens
        if depth > _MAX_DEPTH:
            raise tokens.error("SNN107", f"modules are nested deeper than {_MAX_DEPTH}")
        place = tokens.place()
        result, count = self.definition()
        if tokens.next.kind == "string":
            operation = self.generic(depth)
        elif tokens.accept("module") or tokens.accept("builtin.module"):
            operation = self.module(depth)
        else:
            raise tokens.fail("an operation in generic syntax")
        if result and len(operation.types) != count:
            message = f"defines {count} results and has {len(operation.types)} types"
            raise place.error("SNN102", message, tokens.source)
        operation.result, operation.place = result, place
        self.location()
        return operation

    def definition(self) -> tuple[str, int]:
        """Read `%name =` or `%name:2 =`, if that is next."""
        tokens = self.tokens
        if tokens.next.kind != "ssa":
            return "", 0
        name, count = self.ssa(), 1
        if name[1]:
            raise tokens.fail("a name without '#'")
        if tokens.accept(":"):
            count = self.whole(_MAX_RESULTS)
        tokens.expect("=")
        return name[0], count

    def ssa(self) -> Ref:
        token = self.tokens.of("ssa", "a value such as %x")
        name, _, index = token.text[1:].partition("#")
        if len(index) > 5:
            raise self.tokens.fail("a result's number of sensible size", token)
        return name, int(index or 0)

    def whole(self, limit: int) -> int:
        token = self.tokens.of("number", "a whole number")
        if not token.text.isdigit() or len(token.text) > 9 or int(token.text) > limit:
            raise self.tokens.fail(f"a whole number up to {limit}", token)
        return int(token.text)

    def module(self, depth: int) -> Operation:
        """Read what follows the word `module`."""
        tokens = self.tokens
        attributes: dict[str, Any] = {}
        if tokens.next.kind == "symbol":
            attributes["sym_name"] = str(self.symbol())
        if tokens.accept("attributes"):
            attributes |= self.entries(0)
        return Operation(MODULE, attributes=attributes, body=self.region(depth))

    def region(self, depth: int) -> list[Operation]:
        tokens = self.tokens
        tokens.expect("{")
        if tokens.next.kind == "block":
            tokens.take()
            tokens.expect(":")
        body = []
        while not tokens.accept("}"):
            body.append(self.operation(depth + 1))
        return body

    def generic(self, depth: int) -> Operation:
        tokens = self.tokens
        name = self.string()
        tokens.expect("(")
        operands = tuple(self.ssa() for _ in self.tokens.listed(")"))
        attributes: dict[str, Any] = {}
        body: list[Operation] = []
        if tokens.accept("<"):
            attributes |= self.entries(0)
            tokens.expect(">")
        if tokens.accept("("):
            if name != MODULE:
                raise tokens.fail("no region, which only modules have")
            body = self.region(depth)
            tokens.expect(")")
        if tokens.sees("{"):
            attributes |= self.entries(0)
        token = tokens.next
        tokens.expect(":")
        reads = self.types()
        tokens.expect("->")
        types = self.types()
        if len(reads) != len(operands):
            message = f"has {len(operands)} operands and {len(reads)} types of them"
            raise tokens.error("SNN102", message, token)
        return Operation(name, operands, attributes, "", types, reads, body)

    def types(self) -> tuple[ValueType, ...]:
        if self.tokens.accept("("):
            return tuple([self.type() for _ in self.tokens.listed(")")])
        return (self.type(),)

    def type(self) -> ValueType:
        token = self.tokens.next
        if token.kind == "stream":
            return self.signal()
        if token.kind == "word" and token.text in _SCALARS:
            return self.tokens.take().text
        raise self.tokens.fail("a type such as !snn.spikes<tensor<3xf32>>")

    def signal(self) -> Signal:
        token = self.tokens.take()
        kind, _, rest = token.text[5:-1].partition("<")
        shape, dtype = self.shape(rest, token)
        return Signal(Kind(kind), shape, dtype)

    def shape(self, text: str, token: Token) -> tuple[tuple[int, ...], str]:
        match = _TENSOR.fullmatch(text)
        if match is None or match[2] not in DTYPE_OF:
            raise self.tokens.fail("a type such as tensor<2x3xf32>", token)
        shape = tuple(int(extent) for extent in match[1].split("x") if extent)
        if len(shape) > _MAX_AXES or math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS:
            raise self.tokens.error("SNN107", "the shape is absurdly large", token)
        return shape, DTYPE_OF[match[2]]

    def entries(self, depth: int) -> dict[str, Any]:
        """Read `{a = 1, "b" = 2, c}`; the value of `c` is `unit`."""
        tokens = self.tokens
        tokens.expect("{")
        found: dict[str, Any] = {}
        for token in self.tokens.listed("}"):
            if token.kind not in ("word", "string"):
                raise tokens.fail("an attribute's name")
            key = self.string() if token.kind == "string" else tokens.take().text
            if key in found:
                raise tokens.error("SNN102", f"attribute '{shown(key)}' is there twice", token)
            found[key] = self.value(depth + 1) if tokens.accept("=") else None
        return found

    def value(self, depth: int) -> Any:
        tokens = self.tokens
        token = tokens.next
        if depth > _MAX_DEPTH:
            raise tokens.error("SNN107", f"values are nested deeper than {_MAX_DEPTH}")
        if token.kind == "string":
            return self.string()
        if token.kind == "number":
            return self.number()
        if token.kind == "stream":
            return self.signal()
        if token.kind == "symbol":
            return self.symbol()
        if tokens.sees("{"):
            return self.entries(depth)
        if tokens.accept("["):
            return tuple([self.value(depth + 1) for _ in self.tokens.listed("]")])
        return self.word_value(token)

    def word_value(self, token: Token) -> Any:
        tokens = self.tokens
        if token.kind == "word" and token.text in ("true", "false", "unit"):
            return {"true": True, "false": False, "unit": None}[tokens.take().text]
        if tokens.accept("dense"):
            return self.dense(token)
        if tokens.accept("dense_resource"):
            return self.resource(token)
        raise tokens.fail("a value that graphs have")

    def string(self) -> str:
        token = self.tokens.of("string", "a quoted text")
        return self.text_of(token, token.text)

    def symbol(self) -> Symbol:
        token = self.tokens.take()
        name = token.text[1:]
        return Symbol(self.text_of(token, name) if name.startswith('"') else name)

    def text_of(self, token: Token, literal: str) -> str:
        try:
            return string_value(literal)
        except ValueError:
            raise self.tokens.error("SNN102", "a quoted text is not UTF-8", token) from None

    def number(self) -> int | float:
        """Read `1`, `1 : i64`, `0.5`, `0.5 : f64` or `0x7FF0000000000000 : f64`."""
        tokens = self.tokens
        token = tokens.take()
        kind = "f64" if "." in token.text else "i64"
        if tokens.accept(":"):
            kind = tokens.of("word", "a type of numbers").text
        if kind in _FLOATS:
            return self.float(token, _FLOATS[kind])
        if not _INTEGER.fullmatch(kind) or "." in token.text:
            raise tokens.fail("a whole number of type i64, or a float of type f64", token)
        if len(token.text) > _MAX_DIGITS:
            raise tokens.error("SNN102", "a number is absurdly long", token)
        return int(token.text, 16) if token.text.startswith("0x") else int(token.text)

    def float(self, token: Token, bits: int) -> float:
        if len(token.text) > _MAX_DIGITS:
            raise self.tokens.error("SNN102", "a number is absurdly long", token)
        try:
            value = float_value(token.text, bits)
        except (ValueError, OverflowError):
            raise self.tokens.fail(f"a float of {bits} bits", token) from None
        if math.isinf(value) and not token.text.startswith("0x"):
            raise self.tokens.fail("a number of sensible size", token)
        return value

    def dense(self, token: Token) -> Tensor:
        """Read `<…> : tensor<…>`."""
        tokens = self.tokens
        tokens.expect("<")
        if tokens.next.kind == "string":
            literal = tokens.take()
            tokens.expect(">")
            shape, dtype = self.tensor_type()
            return self.checked(lambda: from_bytes(_hex(literal.text), shape, dtype), token)
        items = [] if tokens.sees(">") else self.items(0)
        tokens.expect(">")
        shape, dtype = self.tensor_type()
        if isinstance(items, Token):
            element = self.element(items, dtype)
            return self.checked(lambda: splat(element, shape, dtype), token)
        flat: list[Token] = []
        if _extents(items, flat) != shape and not (math.prod(shape) == 0 and not flat):
            raise tokens.error("SNN102", "the elements do not have the tensor's shape", token)
        data = [self.element(item, dtype) for item in flat]
        return Tensor(np.array(data, DTYPES[dtype]).reshape(shape))

    def items(self, depth: int) -> Any:
        """Return a token, or a list of such items."""
        if depth > _MAX_AXES:
            raise self.tokens.error("SNN107", "a tensor has too many axes")
        if self.tokens.accept("["):
            return [self.items(depth + 1) for _ in self.tokens.listed("]")]
        if self.tokens.next.kind not in ("number", "word"):
            raise self.tokens.fail("an element of a tensor")
        return self.tokens.take()

    def element(self, token: Token, dtype: str) -> Any:
        if dtype == "bool":
            if token.text not in ("true", "false"):
                raise self.tokens.fail("true or false", token)
            return token.text == "true"
        if token.kind != "number":
            raise self.tokens.fail("a number", token)
        if dtype in _FLOATS:
            value = self.float(token, _FLOATS[dtype])
            with np.errstate(over="ignore"):
                result = np.array(value, DTYPES[dtype])
            fits = bool(np.isinf(result)) == math.isinf(value)
            return result if fits else self.misfit(token, dtype)
        if not token.text.lstrip("-").isdigit() or len(token.text) > 40:
            return self.misfit(token, dtype)
        limits = np.iinfo(DTYPES[dtype])
        whole = int(token.text)
        return whole if limits.min <= whole <= limits.max else self.misfit(token, dtype)

    def misfit(self, token: Token, dtype: str) -> Any:
        raise self.tokens.fail(f"a number that fits {dtype}", token)

    def tensor_type(self) -> tuple[tuple[int, ...], str]:
        self.tokens.expect(":")
        token = self.tokens.of("tensor", "a type such as tensor<2x3xf32>")
        return self.shape(token.text, token)

    def resource(self, token: Token) -> Any:
        self.tokens.expect("<")
        key = self.key()
        self.tokens.expect(">")
        shape, dtype = self.tensor_type()
        self.has_resources = True
        return _Resource(key, shape, dtype, token)

    def key(self) -> str:
        if self.tokens.next.kind == "string":
            return self.string()
        return self.tokens.of("word", "a resource's name").text

    def resources(self) -> None:
        """Read the section at the end: `dialect_resources: {builtin: {key: "0x…"}}`."""
        while not self.tokens.accept("#-}"):
            section = self.key()
            self.tokens.expect(":")
            self.tokens.expect("{")
            for _ in self.tokens.listed("}"):
                dialect = self.key()
                self.tokens.expect(":")
                if (section, dialect) != ("dialect_resources", "builtin"):
                    raise self.tokens.fail("resources of the dialect builtin only")
                self.tokens.expect("{")
                for _ in self.tokens.listed("}"):
                    self.blob()
            self.tokens.accept(",")

    def blob(self) -> None:
        token = self.tokens.next
        key = self.key()
        self.tokens.expect(":")
        literal = self.tokens.of("string", "the bytes of a resource")
        if key in self.blobs:
            raise self.tokens.error("SNN102", f"resource '{shown(key)}' is there twice", token)
        # The first four bytes are the alignment.
        self.blobs[key] = self.checked(lambda: _hex(literal.text)[4:], literal)


class _Resource:
    """A tensor whose data may stand at the end of the text."""

    def __init__(self, key: str, shape: tuple[int, ...], dtype: str, token: Token) -> None:
        self.key, self.shape, self.dtype, self.token = key, shape, dtype, token


def _hex(literal: str) -> bytes:
    """Return the bytes of `"0x…"`.

    Raises:
        ValueError: If that is not what it is.
    """
    if not literal.startswith('"0x'):
        raise ValueError("is neither numbers nor hexadecimal")
    try:
        return bytes.fromhex(literal[3:-1])
    except ValueError:
        raise ValueError("has a digit that is not hexadecimal") from None


def _extents(items: Any, flat: list[Token]) -> tuple[int, ...] | None:
    """Return the shape of nested lists, and their items in one list; None if it is ragged."""
    if isinstance(items, Token):
        flat.append(items)
        return ()
    inner = {_extents(item, flat) for item in items}
    if not inner:
        return (0,)
    first = inner.pop()
    return None if inner or first is None else (len(items), *first)


def too_long(size: int, source: str | None, limit: int = 1 << 31) -> None:
    """Refuse a text of more characters than anyone needs.

    Raises:
        SnnirError: SNN107.
    """
    if size > limit:
        raise error("SNN107", "its text is absurdly long", source=source)
