"""Operations as MLIR's generic syntax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from snnir.mlir.numbers import float_text, string_text
from snnir.mlir.tensors import blob_text, dense_text, resource_key, resource_text
from snnir.mlir.tree import MODULE, NODE, Operation, Ref, Symbol, ValueType, type_text
from snnir.streams import Signal
from snnir.tensors import Tensor

#: Where weights stand: in the attribute, at the end of the text, or elsewhere, by their digest.
WEIGHTS = ("inline", "resource", "key")
#: Tensors of at most one axis and this many elements stand in the attribute whatever was asked.
SMALL = 8


class Printer:
    """Prints one module with all that is in it."""

    def __init__(self, weights: str = "inline") -> None:
        self.weights = weights
        #: Tensors that are named only, by digest.
        self.named: dict[str, Tensor] = {}
        self._keys: dict[str, str] = {}
        self._blobs: dict[str, Tensor] = {}
        self._path: list[str] = []

    def text(self, module: Operation) -> str:
        """Return the whole text."""
        return "\n".join([*self._module(module, ""), *self._resources()]) + "\n"

    def _module(self, module: Operation, indent: str) -> Iterator[str]:
        name = module.attributes.get("sym_name")
        yield f"{indent}module {f'@{symbol_text(name)} ' if name else ''}{{"
        types: dict[Ref, ValueType] = {
            (operation.result, index): kind
            for operation in module.body
            for index, kind in enumerate(operation.types)
        }
        several = {operation.result for operation in module.body if len(operation.types) > 1}
        for operation in module.body:
            if operation.name == MODULE:
                yield from self._module(operation, indent + "  ")
            else:
                yield f"{indent}  {self._operation(operation, types, several)}"
        yield f"{indent}}}"

    def _operation(
        self, operation: Operation, types: Mapping[Ref, ValueType], several: set[str]
    ) -> str:
        count = len(operation.types)
        number = f":{count}" if count > 1 else ""
        defined = f"%{operation.result}{number} = " if count else ""
        operands = ", ".join(
            f"%{name}#{index}" if name in several else f"%{name}"
            for name, index in operation.operands
        )
        reads = ", ".join(type_text(types[ref]) for ref in operation.operands)
        results = ", ".join(map(type_text, operation.types))
        self._path = [str(operation.attributes.get(NODE, ""))]
        inner = self._entries(operation.attributes)
        gives = results if count == 1 else f"({results})"
        return f"{defined}{string_text(operation.name)}({operands}) {inner} : ({reads}) -> {gives}"

    def _entries(self, attributes: Mapping[str, Any]) -> str:
        inner = ", ".join(f"{key} = {self._named(key, v)}" for key, v in attributes.items())
        return f"{{{inner}}}"

    def _named(self, key: str, value: Any) -> str:
        self._path.append(key)
        text = self.value(value)
        self._path.pop()
        return text

    def value(self, value: Any) -> str:  # noqa: PLR0911  (one per type)
        """Return an attribute's text."""
        if value is None:
            return "unit"
        if isinstance(value, (bool, np.bool_)):
            return "true" if value else "false"
        if isinstance(value, int):
            return f"{value} : {integer_type(value)}"
        if isinstance(value, float):
            return f"{float_text(value)} : f64"
        if isinstance(value, Symbol):
            return f"@{symbol_text(value)}"
        if isinstance(value, str):
            return string_text(value)
        if isinstance(value, Signal):
            return type_text(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            return self._entries(value)
        if isinstance(value, tuple):
            return self._array(value)
        raise TypeError(f"{type(value).__name__} has no form in MLIR")

    def _array(self, items: tuple[Any, ...]) -> str:
        named = len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], Tensor)
        if named:  # a pair of a name and a tensor
            return f"[{string_text(items[0])}, {self._named(items[0], items[1])}]"
        return f"[{', '.join(map(self.value, items))}]"

    def _tensor(self, value: Tensor) -> str:
        small = value.is_resolved and len(value.shape) <= 1 and value.size <= SMALL
        if self.weights == "inline" or small:
            return dense_text(value)
        if value.digest not in self._keys:
            name = f"{self._path[0]}.{self._path[-1]}" if len(self._path) > 1 else self._path[0]
            self._keys[value.digest] = resource_key(value, name)
            self.named[value.digest] = value
            if self.weights == "resource":
                self._blobs[self._keys[value.digest]] = value
        return resource_text(value, self._keys[value.digest])

    def _resources(self) -> Iterator[str]:
        if not self._blobs:
            return
        yield from ("", "{-#", "  dialect_resources: {", "    builtin: {")
        items = [f"      {string_text(key)}: {blob_text(v)}" for key, v in self._blobs.items()]
        yield ",\n".join(items)
        yield from ("    }", "  }", "#-}")


def integer_type(value: int) -> str:
    """Return the type that holds a whole number with its sign: `i64`, or the next that is wider."""
    width = 64
    while not -(1 << (width - 1)) <= value < 1 << (width - 1):
        width += 64
    return f"i{width}"


def symbol_text(name: str) -> str:
    """Return a symbol as it follows `@`; names that are made here need no quotes."""
    plain = name.isascii() and name.replace(".", "_").isidentifier()
    return name if plain else string_text(name)
