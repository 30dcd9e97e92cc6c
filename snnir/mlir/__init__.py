"""The `snn` dialect: graphs as MLIR text or bytecode, and back.

Printing and reading text need no MLIR: only bytecode, MLIR's own verifier and its passes do.
"""

from snnir.mlir.text import from_mlir, to_mlir

__all__ = ["from_mlir", "to_mlir"]
