"""Where sparse matrices pay: `x.py bench sparse`.

One layer of 1,000 neurons with 1,000 inputs in the torch target, 25 steps: the time of the dense
matrix over that of its sparse forms, at several shares of weights that are there. Weights are
there one by one, or in columns of 16 rows. Spikes are compared before anything is timed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from benchmarks.levels import chain
from snnir.ir import Graph, Linear

SIZE, STEPS, ROUNDS = 1000, 25, 9
BLOCKS = (1, 8, 16)
CASES = [(1, 0.01), (1, 0.03), (1, 0.05), (1, 0.1), (16, 0.1), (16, 0.3), (16, 0.5)]


def weights(rows: int, density: float) -> snnir.Tensor:
    """Return weights k/64 that are there in columns of so many rows."""
    rng = np.random.default_rng(0)
    held = np.repeat(rng.random((-(-SIZE // rows), SIZE)) < density, rows, axis=0)[:SIZE]
    return snnir.Tensor((rng.integers(1, 64, (SIZE, SIZE)) / 64 * held).astype(np.float32))


def seconds(graph: Graph, x: Any, wanted: Any) -> float:
    """Return the least CPU time of a run."""
    import torch

    net, given = snnir.to_torch(graph), torch.from_numpy(x)
    least = float("inf")
    with torch.no_grad():
        assert np.array_equal(net(given).numpy(), wanted)
        for _ in range(ROUNDS):
            begin = time.process_time()
            net(given)
            least = min(least, time.process_time() - begin)
    return least


def main() -> None:
    """Print the table."""
    import torch

    torch.set_num_threads(1)
    forms = " | ".join(f"blocks of {block}" for block in BLOCKS)
    print(f"| weights there | in rows of | batch | input active | dense, ms | {forms} |")
    print("| --- | --- | --- | --- | --- |" + " --- |" * len(BLOCKS))
    for rows, density in shown(CASES):
        graph = chain((SIZE,), Linear(weights(rows, density)))
        for batch, rate in ((1, 0.02), (32, 0.02), (32, 0.2)):
            x = (np.random.default_rng(1).random((STEPS, batch, SIZE)) < rate).astype(np.float32)
            wanted = snnir.compile(graph, "numpy").run(x).output
            dense = seconds(graph, x, wanted)
            made = (graph.apply(f"sparsify{{block={block},density=1}}") for block in BLOCKS)
            ratios = " | ".join(f"{dense / seconds(each, x, wanted):.2f}" for each in made)
            print(
                f"| {density:.0%} | {rows} | {batch} | {rate:.0%} | {dense * 1e3:.2f} | {ratios} |"
            )


if __name__ == "__main__":
    main()
