"""The `snn` dialect: graphs as MLIR text or bytecode, and back.

Printing and reading text need no MLIR: only bytecode, MLIR's own verifier and its passes do.
"""

from snnir.mlir.irdl import dialect_text
from snnir.mlir.text import from_mlir, to_mlir

__all__ = ["dialect_text", "from_mlir", "to_mlir"]
