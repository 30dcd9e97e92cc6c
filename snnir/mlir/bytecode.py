"""Graphs as MLIR bytecode; this needs torch-mlir."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import BinaryIO

from snnir.errors import SnnirError
from snnir.ir.cursor import Place
from snnir.ir.graph import Graph
from snnir.mlir.dialect import from_graph, load, to_graph
from snnir.tensors import Tensor


def to_bytecode(graph: Graph) -> bytes:
    """Return a graph as MLIR bytecode, weights included; the same graph gives the same bytes.

    Raises:
        SnnirError: SNN205 for weights that are not at hand, SNN503 without torch-mlir.
    """
    file = io.BytesIO()
    write_bytecode(graph, file)
    return file.getvalue()


def write_bytecode(graph: Graph, file: BinaryIO) -> None:
    """Write a graph as MLIR bytecode to a binary stream.

    Raises:
        SnnirError: As `to_bytecode`.
    """
    from_graph(graph).operation.write_bytecode(file)


def from_bytecode(
    data: bytes, source: str | None = None, tensors: Mapping[str, Tensor] | None = None
) -> Graph:
    """Return the verified graph of MLIR bytecode.

    The bytecode is read by MLIR, which ends the process over some files that are damaged.

    Raises:
        SnnirError: SNN102 with what MLIR says, SNN503 without torch-mlir, else as `from_mlir`.
    """
    try:
        return to_graph(load(data), tensors)
    except SnnirError as failure:
        if source is None:
            raise
        raise SnnirError(
            Place().error(d.code, d.message, source, node=d.node, hint=d.hint).diagnostics[0]
            for d in failure.diagnostics
        ) from None
