"""Compiling a deep network, and running it with other lengths and batches afterwards.

`x.py bench compile_time`: 100 layers of 20 neurons over 1000 steps, on each simulator. The first
run includes compiling; the later ones have other numbers of steps and samples.
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
from snnir.ir import FrozenDict, Graph, Input, Linear, Node, Op, Signal, Step, Value

LAYERS, WIDTH = 100, 20


def network() -> Graph:
    """Return the network; weights on a grid, so that sums are exact."""
    rng = np.random.default_rng(0)
    values = {"beta": snnir.tensor(np.float32(0.875)), "threshold": snnir.tensor(np.float32(1))}
    nodes: dict[str, Node] = {}

    def add(name: str, op: Op, *operands: str) -> None:
        nodes[name] = Node(name, op, tuple(Value(operand) for operand in operands))

    add("n0", Input(Signal(snnir.Kind.SPIKES, (WIDTH,))))
    for layer in range(LAYERS):
        weight = (rng.integers(-96, 160, (WIDTH, WIDTH)) / 256).astype(np.float32)
        add(f"fc{layer}", Linear(snnir.tensor(weight)), f"n{layer}")
        add(f"n{layer + 1}", Step(snnir.LifStep(), FrozenDict(values)), f"fc{layer}")
    return Graph(nodes, {"output": Value(f"n{LAYERS}")}, 1e-3).verify()


def seconds(call: Any) -> tuple[Any, float]:
    """Return a call's result and its time."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    built = network()
    shapes = [(1000, 1), (1000, 1), (990, 1), (100, 16), (97, 15)]
    inputs = [
        (np.random.default_rng(1).random((t, b, WIDTH)) < 0.3).astype(np.float32) for t, b in shapes
    ]
    print(f"{LAYERS} layers of {WIDTH} neurons; seconds of consecutive runs [steps x samples]")
    print("| target | build | " + " | ".join(f"{t} x {b}" for t, b in shapes) + " | equal |")
    print("|" + " --- |" * (len(shapes) + 3))
    wanted = [snnir.compile(built, "numpy").run(x).output for x in inputs]
    for target in shown(("numpy", "torch", "xla")):
        try:
            sim, build = seconds(lambda: snnir.compile(built, target))  # noqa: B023
            found = [seconds(lambda: sim.run(x)) for x in inputs]  # noqa: B023
        except snnir.SnnirError as problem:
            print(f"| {target} | {problem} |")
            continue
        equal = all((r.output == y).all() for (r, _), y in zip(found, wanted, strict=True))
        cells = " | ".join(f"{spent:.2f}" for _, spent in found)
        print(f"| {target} | {build:.2f} | {cells} | {equal} |")


if __name__ == "__main__":
    main()
