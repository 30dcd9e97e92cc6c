"""Parts of `benchmarks/snn_mlir.py`."""
