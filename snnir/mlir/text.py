"""Graphs to MLIR text and back; no MLIR is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.mlir.decode import graph_of
from snnir.mlir.encode import module_of
from snnir.mlir.printer import WEIGHTS, Printer
from snnir.mlir.reader import read_operations, too_long
from snnir.tensors import Tensor


def to_mlir(graph: Graph, weights: str = "inline") -> str:
    """Return a graph as MLIR text in the `snn` dialect.

    Args:
        graph: The graph.
        weights: Where larger weights stand: `inline`, in the attributes; `resource`, in a section
            at the end of the text; `key`, elsewhere, with only name and digest in the text.

    Raises:
        SnnirError: Every broken rule of the graph; SNN205 for weights that are not at hand; SNN503
            if `weights` is none of these.
    """
    if weights not in WEIGHTS:
        hint = f"use one of {', '.join(WEIGHTS)}"
        raise error("SNN503", f"weights cannot be '{weights}'", hint=hint)
    return Printer(weights).text(module_of(graph.verify()))


def from_mlir(text: str | Path, tensors: Mapping[str, Tensor] | None = None) -> Graph:
    """Read a graph from MLIR text, or from a file of text or bytecode.

    Args:
        text: The text, or the path of a file (a `Path`, or a name that ends in `.mlir` or
            `.mlirbc`).
        tensors: Weights by digest, for those the text only names; the others stay unresolved.

    Raises:
        SnnirError: SNN101 if the file cannot be read, SNN102 to SNN108 and SNN201 to SNN205 with
            line and column for what is wrong in it.
    """
    if isinstance(text, Path) or ("\n" not in text and text.endswith((".mlir", ".mlirbc"))):
        from snnir.mlir.file import read_file

        return read_file(Path(text), tensors)
    return parse_mlir(text, None, tensors)


def parse_mlir(text: str, source: str | None, tensors: Mapping[str, Tensor] | None = None) -> Graph:
    """Return the verified graph of a text; `source` is the file's name for messages."""
    too_long(len(text), source)
    return graph_of(read_operations(text, source), source, tensors)
