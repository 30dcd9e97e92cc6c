"""From operations to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from snnir.errors import Diagnostic, SnnirError, shown
from snnir.ir.cursor import Place
from snnir.ir.graph import Graph, Node, Provenance, Value
from snnir.ir.op import OPS, Op
from snnir.ir.printer import signals_or_nothing
from snnir.mlir import tree
from snnir.mlir.attributes import WrongAttribute, op_of, wanted
from snnir.mlir.decode_program import program_of
from snnir.mlir.tree import Operation, Ref
from snnir.suggest import did_you_mean
from snnir.tensors import FrozenDict, Tensor

T = TypeVar("T")
_SCALARS = (str, int, float, bool)


def graph_of(
    operations: list[Operation],
    source: str | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> Graph:
    """Return the verified graph of a module.

    Args:
        operations: What stands at the top.
        source: Name of the file, for messages.
        tensors: Weights by digest, for those that are named only.

    Raises:
        SnnirError: What breaks a rule of graphs, and SNN102 if this is not a graph's module,
            SNN106 for an unknown op, SNN108 for a version this one cannot read, SNN201 for wrong
            attributes and undefined values, SNN202 for wrong types.
    """
    body = _graph_body(operations, source)
    return _Decoder(body, source, tensors or {}).verified()


def _graph_body(operations: list[Operation], source: str | None) -> list[Operation]:
    """Return the operations of the one module that has a graph."""
    bodies = [operations]
    for body in bodies:
        bodies.extend(op.body for op in body if op.name == tree.MODULE)
    found = [(body, op) for body in bodies for op in body if op.name == tree.GRAPH]
    if len(found) != 1:
        place = found[1][1].place if found else Place()
        count = "no" if not found else "more than one"
        raise place.error("SNN102", f"there is {count} operation snn.graph", source)
    return found[0][0]


class _Decoder:
    def __init__(
        self, body: list[Operation], source: str | None, tensors: Mapping[str, Tensor]
    ) -> None:
        self.source, self.tensors = source, tensors
        self.nodes = [op for op in body if self.is_node(op)]
        self.outputs = [op for op in body if op.name == tree.OUTPUT]
        self.header = next(op for op in body if op.name == tree.GRAPH)
        self.programs = self.read_programs([op for op in body if op.name == tree.MODULE])
        self.names: dict[str, tuple[str, Operation]] = {}
        self.taken: set[str] = set()

    @staticmethod
    def is_node(operation: Operation) -> bool:
        return operation.name not in (tree.GRAPH, tree.OUTPUT, tree.MODULE)

    def fail(
        self, code: str, operation: Operation, message: str, hint: str | None = None
    ) -> SnnirError:
        node = operation.attributes.get(tree.NODE)
        name = node if isinstance(node, str) else None
        return operation.place.error(code, message, self.source, node=name, hint=hint)

    def located(self, operation: Operation, read: Callable[[], T]) -> T:
        """Return what `read` gives; its errors get the operation's place."""
        try:
            return read()
        except WrongAttribute as failure:
            raise self.fail("SNN201", operation, f"{operation.name}: {failure}") from None
        except SnnirError as failure:
            first = failure.diagnostics[0]
            message = "; ".join(d.message for d in failure.diagnostics[:5])
            raise self.fail(first.code, operation, message, first.hint) from None

    def read_programs(self, modules: list[Operation]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for module in modules:
            name = module.attributes.get("sym_name")
            if not isinstance(name, str) or name in found:
                raise self.fail("SNN201", module, "a program's module needs a name of its own")
            found[name] = program_of(module, self.source)
        return found

    def verified(self) -> Graph:
        """Return the graph; what breaks a rule is told with its place."""
        graph = self.graph()
        try:
            return graph.verify()
        except SnnirError as failure:
            raise SnnirError(self.placed(found) for found in failure.diagnostics) from None

    def placed(self, found: Diagnostic) -> Diagnostic:
        operations = [op for name, op in self.names.values() if name == found.node]
        place = operations[0].place if operations else Place()
        kept = {"node": found.node, "hint": found.hint}
        return place.error(found.code, found.message, self.source, **kept).diagnostics[0]

    def graph(self) -> Graph:
        name, dt, offset, provenance = self.located(self.header, self.facts)
        for operation in self.nodes:
            self.define(operation)
        nodes = {self.names[op.result][0]: self.node(op) for op in self.nodes}
        outputs: dict[str, Value] = {}
        for operation in self.outputs:
            given = operation.attributes
            label = self.located(operation, partial(wanted, given, "name", str))
            if label in outputs or len(operation.operands) != 1:
                raise self.fail("SNN201", operation, "an output has one value and its own name")
            outputs[label] = self.value(operation, operation.operands[0])
        graph = Graph(nodes, outputs, dt, name, offset, provenance)
        self.check_types(graph)
        return graph

    def facts(self) -> tuple[str, float | None, int, Provenance]:
        given = self.header.attributes
        version = wanted(given, "version", int)
        if version != tree.VERSION:
            message = f"version {version} of the dialect, known is {tree.VERSION}"
            hint = "use a newer snnir" if version > tree.VERSION else None
            raise self.fail("SNN108", self.header, message, hint)
        dt = None if given.get("dt", "") is None else wanted(given, "dt", float)
        notes = wanted(given, "notes", tuple)
        if any(type(note) is not str for note in notes):
            raise WrongAttribute("'notes' must be texts")
        origin = Provenance(wanted(given, "source", str), wanted(given, "digest", str), notes)
        return wanted(given, "name", str), dt, wanted(given, "record_offset", int), origin

    def define(self, operation: Operation) -> None:
        """Note what an operation defines."""
        if not operation.types:
            raise self.unknown(operation)
        name = self.located(operation, lambda: wanted(operation.attributes, tree.NODE, str))
        if name in self.taken:
            raise self.fail("SNN201", operation, "two nodes have this name")
        if operation.result in self.names:
            raise self.fail("SNN201", operation, f"%{shown(operation.result)} is defined twice")
        self.names[operation.result] = (name, operation)
        self.taken.add(name)

    def unknown(self, operation: Operation) -> SnnirError:
        known = [tree.LIF, *(f"snn.{name}" for name in OPS)]
        hint = did_you_mean(operation.name, known)
        message = f"there is no op '{shown(operation.name)}' that gives a stream"
        return self.fail("SNN106", operation, message, hint)

    def op_class(self, operation: Operation) -> type[Op]:
        word = tree.word_of(operation.name)
        cls = OPS.get("step" if word == "lif" else word)
        if cls is None:
            raise self.unknown(operation)
        name = tree.counted(cls, word, len(operation.operands), len(operation.types))
        if operation.name != name:
            raise self.fail("SNN201", operation, f"must be called {shown(name)}")
        return cls

    def node(self, operation: Operation) -> Node:
        cls = self.op_class(operation)
        given = dict(operation.attributes)
        name = given.pop(tree.NODE)

        def read() -> tuple[Op, FrozenDict[Any]]:
            metadata = metadata_of(given.pop(tree.METADATA, ()))
            return op_of(cls, given, self.programs, self.tensors), metadata

        op, metadata = self.located(operation, read)
        operands = tuple(self.value(operation, ref) for ref in operation.operands)
        return Node(name, op, operands, metadata)

    def value(self, user: Operation, ref: Ref) -> Value:
        if ref[0] not in self.names:
            raise self.fail("SNN201", user, f"%{shown(ref[0])} is not defined")
        name, operation = self.names[ref[0]]
        if ref[1] >= len(operation.types):
            raise self.fail("SNN201", user, f"%{shown(ref[0])} has no result {ref[1]}")
        return Value(name, ref[1])

    def check_types(self, graph: Graph) -> None:
        """Compare stated with inferred types, where inference works."""
        inferred = signals_or_nothing(graph)
        for name, operation in self.names.values() if inferred else ():
            for index, stated in enumerate(operation.types):
                self.compare(operation, stated, inferred.get(Value(name, index)))
        for operation in [*self.nodes, *self.outputs]:
            for ref, kind in zip(operation.operands, operation.operand_types, strict=False):
                self.compare(operation, kind, self.names[ref[0]][1].types[ref[1]])

    def compare(self, operation: Operation, stated: Any, found: Any) -> None:
        if stated != found:
            other = tree.type_text(found) if found is not None else "no such result"
            message = f"is stated as {tree.type_text(stated)}, inferred is {other}"
            raise self.fail("SNN202", operation, message)


def metadata_of(items: Any) -> FrozenDict[Any]:
    """Return a node's metadata, which are stated as pairs.

    Raises:
        WrongAttribute: If they are anything else.
    """
    good = isinstance(items, tuple) and all(
        isinstance(pair, tuple)
        and len(pair) == 2
        and type(pair[0]) is str
        and type(pair[1]) in _SCALARS
        for pair in items
    )
    found = FrozenDict(dict(items)) if good else FrozenDict[Any]()
    if not good or len(found) != len(items):
        raise WrongAttribute("'metadata' must be pairs of a name and a text or number")
    return found
