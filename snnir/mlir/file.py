"""Files of MLIR: text by the suffix `.mlir`, bytecode by `.mlirbc`; told apart by their content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.mlir.reader import too_long
from snnir.mlir.text import parse_mlir, to_mlir
from snnir.suggest import file_hint
from snnir.tensors import Tensor

#: What bytecode starts with.
MAGIC = b"ML\xefR"


def read_file(path: Path, tensors: Mapping[str, Tensor] | None = None) -> Graph:
    """Read a file of text or bytecode.

    Raises:
        SnnirError: SNN101 if it cannot be read, SNN503 if it is bytecode and torch-mlir is not
            installed, else as `from_mlir`.
    """
    source = str(path)
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise error("SNN101", what, source=source, hint=file_hint(path))
        too_long(path.stat().st_size, source)
        data = path.read_bytes()
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise error("SNN101", f"cannot be read: {reason}", source=source) from None
    if data.startswith(MAGIC):
        from snnir.mlir.bytecode import from_bytecode

        return from_bytecode(data, source, tensors)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise error("SNN102", "the text is not UTF-8", source=source) from None
    return parse_mlir(text, source, tensors)


def write_file(graph: Graph, path: Path) -> None:
    """Write text or bytecode, by the suffix; whole or not at all.

    Raises:
        SnnirError: SNN205 if weights are unresolved, SNN503 if bytecode is asked for and torch-mlir
            is not installed, SNN702 if the file cannot be written.
    """
    from snnir.artefact import replacing

    if path.suffix == ".mlirbc":
        from snnir.mlir.bytecode import write_bytecode

        with replacing(path) as file:
            write_bytecode(graph, file)
        return
    data = to_mlir(graph).encode("ascii")
    with replacing(path) as file:
        file.write(data)
