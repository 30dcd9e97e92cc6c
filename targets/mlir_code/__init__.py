"""Graphs as code of upstream MLIR, and as modules that IREE runs."""
