"""The `snn` dialect in MLIR itself: registered with verifiers, for passes of your own.

    from snnir.mlir import dialect
    module = dialect.from_graph(graph)      # an MLIR module
    ...                                     # rewrite patterns, passes
    graph = dialect.to_graph(module)

Everything here needs `torch-mlir` (`pip install 'snnir[mlir]'`), which does not need torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.mlir.bindings import bindings, module_from, operations_of
from snnir.mlir.decode import graph_of
from snnir.mlir.irdl import definitions, dialect_text
from snnir.mlir.verifier import verifiers
from snnir.tensors import Tensor

_NAME = "snn"


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


def register(context: Any, graph: Graph | None = None) -> None:
    """Make the dialect known to an MLIR context that has not got it.

    Operations get the checks of IRDL and, on top, those of the ops themselves: attributes must fit
    the fields of the op, and results must have the types that it infers.
    """
    ir = bindings()
    from torch_mlir.dialects import irdl

    with context, ir.Location.unknown():
        if context.is_dialect_loaded(_NAME):
            return
        irdl.load_dialects(ir.Module.parse(dialect_text(graph)))
        for definition in definitions(graph):
            name = f"{_NAME}.{definition.name}"
            verifier = verifiers(name)
            if verifier is not None:
                ir.DynamicOpTrait.attach(name, verifier)


def load(text: str | bytes, context: Any = None) -> Any:
    """Return a module of text or bytecode, checked by MLIR's verifier.

    Args:
        text: The text or bytecode.
        context: A context that knows the dialect; a new one by default.

    Raises:
        SnnirError: SNN102 with what MLIR says, SNN503 if torch-mlir is not installed.
    """
    ir = bindings()
    used = new_context() if context is None else context
    with used, ir.Location.unknown():
        try:
            return ir.Module.parse(text)
        except (ir.MLIRError, ValueError) as failure:
            raise error("SNN102", mlir_message(failure)) from None


def mlir_message(failure: Exception) -> str:
    """Return what MLIR found, on one line."""
    found = [str(item) for item in getattr(failure, "error_diagnostics", [])]
    text = "; ".join(found) or str(failure)
    return f"MLIR refuses it: {' '.join(text.split())[:600]}"


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
    return graph_of(operations_of(module), None, tensors).verify()
