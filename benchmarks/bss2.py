"""BrainScaleS-2: which networks fit, how long placing and routing takes, how fast the emulator is.

x.py bench bss2
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import snnir
from benchmarks._shown import shown
from benchmarks.vendor_rows import rows_two_per_pair
from snnir.targets.bss2.network import Cells, LogicalNetwork, Projection, Source
from snnir.targets.bss2.routing.partition import partition
from snnir.targets.bss2.routing.problems import NotRouted

YINYANG = Path(__file__).resolve().parent.parent / "examples" / "yinyang" / "yinyang.snnir"


def weights(post: int, pre: int, density: float = 1.0, positive: bool = False) -> Any:
    """Return random integers from -63 to 63, or from 1."""
    rng = np.random.default_rng(post * pre)
    sign = 1 if positive else rng.choice([-1, 1], (post, pre))
    return rng.integers(1, 64, (post, pre)) * sign * (rng.random((post, pre)) < density)


def chain(sizes: Sequence[int], density: Sequence[float] = (), loop: float = 0.0) -> LogicalNetwork:
    """Return a feed-forward network; `loop` is the density of the first layer's recurrence."""
    names = [f"l{k}" for k in range(len(sizes))]
    dense = [*density, *[1.0] * len(sizes)]
    cells = {
        name: Cells(name, size, spiking=name != names[-1] or len(sizes) == 2)
        for name, size in zip(names[1:], sizes[1:], strict=True)
    }
    links = [
        Projection(names[k], names[k + 1], weights(sizes[k + 1], sizes[k], dense[k]))
        for k in range(len(sizes) - 1)
    ]
    if loop:
        links.append(Projection("l1", "l1", weights(sizes[1], sizes[1], loop)))
    return LogicalNetwork({"l0": Source("l0", sizes[0])}, cells, tuple(links))


def every_synapse() -> LogicalNetwork:
    """Return 256 channels onto 512 neurons with positive weights: 131,072 synapses."""
    made = chain((256, 512))
    positive = Projection("l0", "l1", weights(512, 256, positive=True))
    return LogicalNetwork(made.sources, made.cells, (positive,))


NETWORKS = {
    "25-120-3": chain((25, 120, 3)),
    "5-120(rec)-3": chain((5, 120, 3), loop=1.0),
    "128-256-10 (45 % of the last)": chain((128, 256, 10), (1.0, 0.45)),
    "180-256": chain((180, 256)),
    "200-256": chain((200, 256)),
    "160-200-100-10 (100, 80, 50 %)": chain((160, 200, 100, 10), (1.0, 0.8, 0.5)),
    "784-10 (20 %)": chain((784, 10), (0.2,)),
    "1-512, 25 % recurrent": chain((1, 512), loop=0.25),
    "256-512, positive": every_synapse(),
    "784-256-10": chain((784, 256, 10)),
}


def fits() -> None:
    """Print what fits, in how many rows, and what two rows for each source would take."""
    for name, network in shown(NETWORKS.items(), "placing and routing"):
        start = time.perf_counter()
        try:
            found = partition(network)
        except NotRouted as refused:
            print(f"{name}: refused: {refused.problems[0].message}")
            continue
        seconds = time.perf_counter() - start
        rows = ", ".join(str(len(execution.rows)) for execution in found)
        synapses = sum(len(execution.synapses.weight) for execution in found)
        other = rows_two_per_pair(network)
        print(
            f"{name}: {len(found)} executions, rows {rows} of 512, {synapses:,} synapses, "
            f"{seconds:.2f} s; two rows for each source: {other or 'does not fit'}"
        )


def emulator() -> None:
    """Print how long the trained Yin-Yang network takes on the emulated chip."""
    graph = snnir.load(YINYANG)
    chip: Any = snnir.compile(graph, "bss2")
    x = (np.random.default_rng(0).random((40, 200, 25)) < 0.025).astype(np.float32)
    chip.run(x)
    for what, conditions in (
        ("ideal", {}), ("mismatch and noise", {"mode": "mismatch", "noise_seed": 0}),
        ("Euler steps", {"mode": "euler"}),
    ):  # fmt: skip
        start = time.perf_counter()
        r = chip.run(x, **conditions)
        seconds = time.perf_counter() - start
        spikes = sum(s["spikes"] for s in r.stats.values())
        print(f"25-120-3, 200 samples of 40 us, {what}: {seconds:.3f} s, {spikes:,} spikes")


if __name__ == "__main__":
    fits()
    emulator()
