"""Modules of MLIR's Python bindings, from graphs and to operations.

The bindings are those inside `torch-mlir`: they are upstream MLIR and do not need torch.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.ir.cursor import Place
from snnir.ir.graph import Graph
from snnir.mlir.encode import module_of
from snnir.mlir.printer import Printer
from snnir.mlir.reader import read_operations, read_type, read_value
from snnir.mlir.tensors import MAX_SPLAT
from snnir.mlir.tree import ELEMENTS, MODULE, Operation, Ref
from snnir.tensors import Tensor

#: Tensors up to this many elements are read from their text.
_SMALL = 64
_LOCATION = re.compile(r":([0-9]{1,9}):([0-9]{1,9})\)\Z")
#: Texts of attributes up to this length are remembered.
_SHORT = 200
_RESOURCE = "dense_resource<"
#: A resource, but none that stands for elements that were not printed.
_KEYED = re.compile(_RESOURCE + "(?!__elided__)")


def bindings() -> Any:
    """Return the module `torch_mlir.ir`.

    Raises:
        SnnirError: SNN503 if torch-mlir is not installed.
    """
    try:
        from torch_mlir import ir
        from torch_mlir.dialects import irdl  # noqa: F401  (registers the dialect)
    except ImportError as missing:
        hint = "pip install 'snnir[mlir]'; text needs nothing"
        raise error("SNN503", f"MLIR is not installed here ({missing})", hint=hint) from None
    return ir


def module_from(graph: Graph, context: Any) -> Any:
    """Return an MLIR module of a valid graph, in a context that knows the dialect."""
    ir = bindings()
    printer = Printer("key")
    text = printer.text(module_of(graph.verify()))
    for value in printer.named.values():
        value.numpy()
    with context, ir.Location.unknown():
        module = ir.Module.parse(text)
        made: dict[str, Any] = {}
        for operation in _all_operations(module.operation):
            for name in [item for item in operation.attributes if printer.named]:
                old = operation.attributes[name]
                new = _with_data(ir, old, printer.named, made)
                if new is not old:
                    operation.attributes[name] = new
    return module


#: Types and small attributes are alike in most operations.
_type = lru_cache(maxsize=4096)(read_type)
_short_value = lru_cache(maxsize=4096)(read_value)


def _all_operations(operation: Any) -> Any:
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                yield inner.operation
                yield from _all_operations(inner.operation)


def _with_data(ir: Any, attribute: Any, named: dict[str, Tensor], made: dict[str, Any]) -> Any:
    """Return an attribute with tensors in the place of their keys."""
    if isinstance(attribute, ir.ArrayAttr):
        items = [_with_data(ir, item, named, made) for item in attribute]
        return ir.ArrayAttr.get(items) if _RESOURCE in str(attribute) else attribute
    text = str(attribute)  # the bindings have no class for resources that lie elsewhere
    if not text.startswith(_RESOURCE):
        return attribute
    digest = read_value(text).digest
    if digest not in made:
        made[digest] = _dense(ir, named[digest])
    return made[digest]


def _dense(ir: Any, value: Tensor) -> Any:
    if value.dtype == "bool":
        from snnir.mlir.tensors import dense_text

        return ir.Attribute.parse(dense_text(value))
    data = np.ascontiguousarray(value.numpy())
    element = ir.Type.parse(ELEMENTS[value.dtype])
    return ir.DenseElementsAttr.get(data, type=ir.RankedTensorType.get(value.shape, element))


def attribute(ir: Any, value: Any) -> Any:
    """Return a value as an MLIR attribute, in the current context."""
    if isinstance(value, Tensor):
        return _dense(ir, value)
    if isinstance(value, tuple):
        return ir.ArrayAttr.get([attribute(ir, item) for item in value])
    return ir.Attribute.parse(Printer().value(value))


def place_of(location: Any) -> Place:
    """Return line and column of an MLIR location, if it has them."""
    found = _LOCATION.search(str(location))
    return Place(int(found[1]), int(found[2])) if found else Place()


def operations_of(module: Any, with_data: bool = True) -> list[Operation]:
    """Return what stands in an MLIR module.

    Args:
        module: The module, which may have been changed by passes.
        with_data: Whether to copy larger tensors; without, only their types are right.
    """
    top = module.operation if hasattr(module, "operation") else module
    if with_data and _KEYED.search(_without_data(top)):
        # The bindings do not give the data of resources.
        return read_operations(str(top.get_asm(assume_verified=True)))
    try:
        return [_Reader(with_data).operation(top)]
    except (UnicodeDecodeError, RuntimeError) as failure:  # what bindings make of damaged names
        raise error("SNN102", f"the module is damaged ({failure})") from None


def _without_data(operation: Any) -> str:
    return str(operation.get_asm(large_elements_limit=_SMALL, assume_verified=True))


class _Reader:
    def __init__(self, with_data: bool) -> None:
        self.ir = bindings()
        self.with_data = with_data
        self._names: dict[Any, str] = {}

    def operation(self, found: Any) -> Operation:
        """Return one operation with all that is in it."""
        body = [
            self.operation(inner.operation)
            for region in found.regions
            for block in region.blocks
            for inner in block.operations
        ]
        if body and found.name != MODULE:
            message = f"'{found.name}' has a region, which only modules have"
            raise place_of(found.location).error("SNN102", message, None)
        types = tuple(_type(str(result.type)) for result in found.results)
        return Operation(
            found.name,
            tuple(self.ref(value) for value in found.operands),
            {name: self.attribute(found.attributes[name]) for name in found.attributes},
            self.name(found) if types else "",
            types,
            tuple(_type(str(value.type)) for value in found.operands),
            body,
            place_of(found.location),
        )

    def name(self, operation: Any) -> str:
        return self._names.setdefault(operation, str(len(self._names)))

    def ref(self, value: Any) -> Ref:
        if not isinstance(value, self.ir.OpResult):
            raise error("SNN102", "an operation reads an argument of a block")
        return self.name(value.owner), value.result_number

    def attribute(self, found: Any) -> Any:
        """Return an attribute's value."""
        ir = self.ir
        if isinstance(found, ir.ArrayAttr):
            return tuple(self.attribute(item) for item in found)
        if isinstance(found, ir.DictAttr):
            items = [found[index] for index in range(len(found))]
            return {item.name: self.attribute(item.attr) for item in items}
        if isinstance(found, ir.DenseElementsAttr):
            kind = _short_value(f'dense_resource<"#{"0" * 16}"> : {found.type}')
            if kind.size > _SMALL and kind.dtype != "bool":
                return self.tensor(found, kind)
        if isinstance(found, ir.StringAttr):
            return found.value_bytes.decode("utf-8", "surrogatepass")
        text = str(found)
        return _short_value(text) if len(text) <= _SHORT else read_value(text)

    def tensor(self, found: Any, kind: Tensor) -> Tensor:
        if not self.with_data:
            return kind
        if found.is_splat and kind.size > MAX_SPLAT:
            raise error("SNN107", f"a splat stands for {kind.size} elements")
        return Tensor(np.asarray(found))  # a view, which keeps what it looks at
