"""Load, look, run, record, save: `python examples/quickstart.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import snnir

graph = snnir.load(Path(__file__).parent / "digits" / "digits.nir")
print(graph)  # the text form

rng = np.random.default_rng(0)
x = (rng.random((32, 4, 64)) < 0.2).astype(np.float32)  # [T, B, *shape]
sim = snnir.compile(graph, target="numpy")
result = sim.run(x, record=["hidden", "hidden:v"])
print("output", result.output.shape, "membranes", result.recorded["hidden:v"].shape)
print(result.stats)

with tempfile.TemporaryDirectory() as scratch:
    folder = sim.save(Path(scratch, "digits"))  # runs with NumPy alone
    print("differing spikes:", sum(node.differing for node in snnir.diff(graph, folder, x).nodes))
    snnir.save(graph, Path(scratch, "digits.snnir"))
