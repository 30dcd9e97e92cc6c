"""The `snn` dialect in MLIR itself: registered with verifiers, for passes of your own.

    from snnir.mlir import dialect
    module = dialect.from_graph(graph)      # an MLIR module
    ...                                     # rewrite patterns, passes
    graph = dialect.to_graph(module)

Everything here needs `torch-mlir` (`pip install 'snnir[mlir]'`), which does not need torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from snnir.errors import SnnirError, error, shown
from snnir.ir.graph import Graph, Node
from snnir.ir.op import Op, OpError
from snnir.mlir.attributes import WrongAttribute
from snnir.mlir.bindings import attribute, bindings, module_from, operations_of, place_of
from snnir.mlir.decode import graph_of
from snnir.mlir.encode import node_operation
from snnir.mlir.irdl import Ports, definitions, dialect_text, ports_in
from snnir.mlir.reader import read_type
from snnir.mlir.tree import type_text
from snnir.mlir.verifier import node_of, verifiers
from snnir.streams import Signal
from snnir.tensors import FrozenDict, Tensor

_NAME = "snn"


class _Ops:
    """The classes of the dialect's operations by name, those of plug-ins' ops included.

    `ops.Conv2d` is the class of `snn.conv2d`, `ops.Add` that of `snn.add` for any number of
    operands, `ops.Lif` that of steps of the LIF family and derived from `ops.Step`, `ops.Node` the
    base of all.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        bindings()
        from snnir.mlir.views import view_called

        return view_called(name)

    def __dir__(self) -> list[str]:
        from snnir.mlir.views import class_names

        return ["Node", *class_names()]


ops = _Ops()


def new_context(graph: Graph | None = None) -> Any:
    """Return a new MLIR context that knows the dialect.

    Args:
        graph: A graph that shall be covered even if its ops have unusually many operands.

    Raises:
        SnnirError: SNN503 if torch-mlir is not installed.
    """
    made = bindings().Context()
    register(made, graph)
    return made


def register(context: Any, graph: Graph | None = None, ports: Iterable[Ports] = ()) -> None:
    """Make the dialect known to an MLIR context that has not got it.

    The other arguments are those of `dialect_text`.

    Operations get the checks of IRDL and, on top, those of the ops themselves: attributes must fit
    the fields of the op, and results must have the types that it infers.
    """
    ir = bindings()
    from torch_mlir.dialects import irdl

    from snnir.mlir.views import register_view

    with context, ir.Location.unknown():
        if context.is_dialect_loaded(_NAME):
            return
        irdl.load_dialects(ir.Module.parse(dialect_text(graph, ports)))
        for definition in definitions(graph, ports):
            name = f"{_NAME}.{definition.name}"
            verifier = verifiers(name)
            if verifier is not None:
                ir.DynamicOpTrait.attach(name, verifier)
            register_view(name)


def new_patterns(context: Any = None) -> Any:
    """Return a new `RewritePatternSet` that takes classes of `ops` as roots.

    One of MLIR takes only those whose operations all have one name, which `ops.Add`, `ops.Concat`,
    `ops.Step` and `ops.Lif` have not: numbers of operands and results are in theirs.

    Args:
        context: A context that knows the dialect; the current one by default.
    """
    bindings()
    from snnir.mlir.views import PatternSet

    return PatternSet(context)


def load(text: str | bytes, context: Any = None) -> Any:
    """Return a module of text or bytecode, checked by MLIR's verifier.

    Args:
        text: The text or bytecode.
        context: A context that knows the dialect; a new one by default.

    Raises:
        SnnirError: SNN102 with what MLIR says, SNN503 if torch-mlir is not installed.
    """
    if context is not None:
        return _parsed(text, context)
    try:
        return _parsed(text, new_context())
    except SnnirError:
        ports = ports_in(text.encode("utf-8", "replace") if isinstance(text, str) else text)
        if not ports:
            raise
        wide = bindings().Context()
        register(wide, None, ports)
        return _parsed(text, wide)


def _parsed(text: str | bytes, context: Any) -> Any:
    ir = bindings()
    with context, ir.Location.unknown():
        try:
            return ir.Module.parse(text)
        except (ir.MLIRError, ValueError, RuntimeError) as failure:
            raise error("SNN102", mlir_message(failure)) from None


def mlir_message(failure: Exception) -> str:
    """Return what MLIR found and where, on one line."""
    items = getattr(failure, "error_diagnostics", [])
    found = [f"{_where(item.location)}{item.message}" for item in items]
    text = "; ".join(found) or str(failure)
    return f"MLIR refuses it: {shown(' '.join(text.split()), 600)}"


def _where(location: Any) -> str:
    place = place_of(location)
    return f"line {place.line}, column {place.column}: " if place.line else ""


def read_op(operation: Any) -> Op:
    """Return the op that an MLIR operation of a node stands for, weights included.

    Args:
        operation: An operation such as `snn.linear`, in a module.

    Raises:
        SnnirError: SNN201 if it is not a node or its attributes do not fit.
    """
    return read_node(operation).op


def read_node(operation: Any, with_data: bool = True) -> Node:
    """Return the node that an MLIR operation stands for, without its operands.

    Args:
        operation: An operation such as `snn.linear`, in a module.
        with_data: Whether larger weights are at hand; without, only their types are right.

    Raises:
        SnnirError: SNN201 if it is not a node or its attributes do not fit.
    """
    try:
        return node_of(operation.operation, with_data)[1]
    except WrongAttribute as failure:
        raise error("SNN201", f"{operation.operation.name}: {failure}") from None


def make_op(
    op: Op,
    operands: Sequence[Any],
    node: str,
    ip: Any = None,
    metadata: Mapping[str, str | int | float | bool] | None = None,
) -> Any:
    """Return a new MLIR operation of a node, as an instance of its class in `ops`.

    Its types are those that the op infers.

    Args:
        op: The op; a step must be one of the LIF family.
        operands: MLIR values.
        node: Name of the node.
        ip: Where to insert it, as `ir.InsertionPoint(other)` or `rewriter.ip`.
        metadata: The node's metadata; none by default.

    Raises:
        SnnirError: SNN202 if the operands do not fit the op, SNN503 for other steps.
    """
    ir = bindings()
    types = [read_type(str(value.type)) for value in operands]
    try:
        results = op.infer([kind for kind in types if isinstance(kind, Signal)])
    except OpError as failure:
        raise error(failure.code, failure.message, node=node, hint=failure.hint) from None
    signals = tuple(kind for kind in results if kind)
    made = node_operation(Node(node, op, (), FrozenDict(metadata or {})), len(operands), signals)
    created = ir.Operation.create(
        made.name,
        results=[ir.Type.parse(type_text(kind)) for kind in made.types],
        operands=list(operands),
        attributes={name: attribute(ir, value) for name, value in made.attributes.items()},
        ip=ip,
    )
    return created.opview


def from_graph(graph: Graph, context: Any = None) -> Any:
    """Return an MLIR module of a graph, weights included.

    Args:
        graph: The graph.
        context: A context that knows the dialect; a new one by default.
    """
    return module_from(graph, new_context(graph) if context is None else context)


def to_graph(module: Any, tensors: Mapping[str, Tensor] | None = None) -> Graph:
    """Return the verified graph of an MLIR module.

    Args:
        module: The module, perhaps changed by passes.
        tensors: Weights by digest, for those the module only names.

    Raises:
        SnnirError: What keeps the module from being a graph.
    """
    return graph_of(operations_of(module), None, tensors)
