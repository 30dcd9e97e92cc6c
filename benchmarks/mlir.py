"""Writing and reading large weights in MLIR's forms, beside NumPy and `.snnir`.

    python3 benchmarks/mlir.py [--megabytes 100]

Prints the best of three. Bytecode needs torch-mlir.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import snnir
from benchmarks._shown import shown
from snnir.ir import Graph, Input, Linear, Node, Signal, Value


def network(megabytes: int) -> tuple[Graph, Any]:
    """Return a graph of one layer with this many megabytes of weights, and the weights."""
    rows = megabytes * 1_000_000 // 4 // 1000
    weight = np.random.default_rng(0).standard_normal((rows, 1000)).astype(np.float32)
    nodes = {
        "x": Node("x", Input(Signal(snnir.Kind.SPIKES, (1000,)))),
        "fc": Node("fc", Linear(snnir.Tensor(weight)), (Value("x"),)),
    }
    return Graph(nodes, {"y": Value("fc")}, 1e-3), weight


def best(run: Callable[[], Any], times: int = 3) -> float:
    """Return the seconds of the fastest run."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    graph, weight = network(parser.parse_args().megabytes)
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder, "w.npy")
        save = best(lambda: np.save(array, weight))
        print(f"{'form':10} {'write s':>8} {'read s':>8} {'both, less np.save':>19} {'MB':>7}")
        size = array.stat().st_size / 1e6
        print(f"{'np.save':10} {save:8.3f} {'':8} {'':19} {size:7.1f}")
        forms = ["snnir", "mlirbc", "mlir"]
        if importlib.util.find_spec("torch_mlir") is None:
            forms.remove("mlirbc")
            print("mlirbc     torch-mlir is not installed")
        for form in shown(forms):
            path = Path(folder, f"net.{form}")
            write = best(partial(snnir.save, graph, path))
            read = best(partial(snnir.load, path))
            assert snnir.load(path) == graph
            size = path.stat().st_size / 1e6
            print(f"{form:10} {write:8.3f} {read:8.3f} {write + read - save:19.3f} {size:7.1f}")


if __name__ == "__main__":
    main()
