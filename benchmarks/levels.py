"""What the optimisation levels do to the time of a run: `x.py bench levels`.

Every network on every simulator at -O0, -O1 and -O2, in turns in one process; spikes compared. The
first rows are workloads of `x.py bench simulators`, in which there is little to optimise; the
others have batch norms, mean pools, factors, gains, delays and duplicates.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from benchmarks.engines.workloads import graph, lif, make
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Node,
    Op,
    Scale,
    Signal,
    Step,
    Value,
)

SHARED = [
    "dense T25 B1 5%", "dense T25 B32 5%", "conv T100 B1 2%", "conv T100 B32 2%",
    "recurrent T250 B1 2%", "recurrent T250 B64 2%", "braille T256 B1 20%",
]  # fmt: skip
ROUNDS = 7


def grid(*shape: int, seed: int = 0) -> snnir.Tensor:
    """Return weights k/64."""
    values = np.random.default_rng(seed).integers(-24, 32, shape) / 64
    return snnir.Tensor(values.astype(np.float32))


def chain(shape: tuple[int, ...], *ops: Op) -> Graph:
    """Return spikes -> ops, one after the other."""
    nodes = {"input": Node("input", Input(Signal(snnir.Kind.SPIKES, shape)))}
    for number, op in enumerate(ops):
        last = list(nodes)[-1]
        nodes[f"n{number}"] = Node(f"n{number}", op, (Value(last),))
    return Graph(nodes, {"output": Value(list(nodes)[-1])}, 1e-3).verify()


def norm(channels: int) -> BatchNorm:
    """Return a batch norm with gains of powers of two, so that spikes can be compared."""
    rng = np.random.default_rng(channels)
    gains = rng.choice([0.5, 1.0, 2.0], channels).astype(np.float32)
    one = snnir.Tensor(np.ones(channels, np.float32))
    return BatchNorm(grid(channels), one, snnir.Tensor(gains), grid(channels, seed=1), 0.0)


def with_gain() -> Step:
    """Return the workloads' neuron behind a factor."""
    values = {**lif().params, "gain": snnir.tensor(0.5)}
    return Step(snnir.LifStep(gain=True), FrozenDict(values))


def normed_convolutions() -> Graph:
    """Convolutions with batch norms and mean pools, as trained vision networks have."""
    pads, pool = ((1, 1), (1, 1)), ((2, 2), (2, 2))
    return chain(
        (2, 32, 32),
        Conv2d(grid(16, 2, 3, 3), padding=pads), norm(16), lif(), AvgPool2d(*pool),
        Conv2d(grid(32, 16, 3, 3), padding=pads), norm(32), lif(), AvgPool2d(*pool),
        Flatten(), Linear(grid(10, 2048)), lif(),
    )  # fmt: skip


def factors() -> Graph:
    """Matrices with factors, gains and batch norms."""
    return chain(
        (512,), Scale(grid(512)), Linear(grid(512, 512)), norm(512), with_gain(),
        Linear(grid(512, 512, seed=1)), Scale(snnir.tensor(0.5)), with_gain(),
    )  # fmt: skip


def twins() -> Graph:
    """Two equal branches, one of them late, that meet."""
    built = chain((256,), Linear(grid(256, 256)), lif()).edit()
    built.add("a", Linear(grid(256, 256)), ["input"])
    built.add("b", lif(), ["a"])
    built.add("late", Delay(2), ["b"])
    built.add("later", Delay(3), ["late"])
    built.add("c", Linear(grid(64, 256, seed=2)), ["n1"])
    built.add("d", Linear(grid(64, 256, seed=3)), ["later"])
    built.add("sum", Add(), ["c", "d"])
    built.add("out", lif(), ["sum"])
    built.outputs["output"] = Value("out")
    return built.graph().verify()


def cases() -> Iterator[tuple[str, Graph, Any]]:
    """Yield (name, network, input)."""
    for name in SHARED:
        work = make(name)
        yield name, graph(work), work.x
    rng = np.random.default_rng(5)
    for build in (normed_convolutions, factors, twins):
        made = build()
        (signal,) = made.inputs.values()
        for batch in (1, 32):
            x = (rng.random((50, batch, *signal.shape)) < 0.1).astype(np.float32)
            yield f"{build.__name__} T50 B{batch}", made, x


def interleaved(calls: list[Callable[[], Any]]) -> list[float]:
    """Return the least CPU seconds of each call, measured in turns."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for index, call in enumerate(calls):
            start = time.process_time()
            call()
            best[index] = min(best[index], time.process_time() - start)
    return best


def main() -> None:
    """Measure and print."""
    targets = ("numpy", "torch", "xla")
    print("ms at -O0, and how many times as fast -O1 and -O2 are; nodes; equal spikes")
    print("| network | nodes | " + " | ".join(f"{t} | -O1 | -O2" for t in targets) + " | equal |")
    print("|" + " --- |" * (3 + 3 * len(targets)))
    for name, built, x in shown(cases()):
        cells, equal, sizes = [], True, []
        for target in targets:
            made = [snnir.compile(built, target, level=level) for level in (0, 1, 2)]
            outputs = [each.run(x).output for each in made]
            equal &= all(np.array_equal(outputs[0], y) for y in outputs[1:])
            sizes = [len(each.graph) for each in made]
            plain, *better = interleaved([partial(each.run, x) for each in made])
            cells += [f"{plain * 1e3:.3g}", *(f"{plain / b:.2f}" for b in better)]
        nodes = " / ".join(map(str, sizes))
        print(f"| {name} | {nodes} | {' | '.join(cells)} | {equal} |", flush=True)


if __name__ == "__main__":
    main()
