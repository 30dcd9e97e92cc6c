"""Code through upstream MLIR's Python bindings, those inside torch-mlir."""

from __future__ import annotations

import io

from snnir.mlir.bindings import bindings


def bytecode(text: str) -> bytes:
    """Return a module as MLIR bytecode.

    Raises:
        SnnirError: SNN503 without torch-mlir.
    """
    ir = bindings()
    with ir.Context(), ir.Location.unknown():
        file = io.BytesIO()
        ir.Module.parse(text).operation.write_bytecode(file)
    return file.getvalue()
