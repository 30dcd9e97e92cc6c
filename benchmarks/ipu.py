"""What networks take on IPUs by their plans, and how long planning takes: `x.py bench ipu`.

    python x.py bench ipu            # networks: IPUs, bytes, exchange, estimated steps per second
    python x.py bench ipu --plan     # 10^6 neurons and 10^8 synapses: seconds and memory
    python x.py bench ipu --emulate  # emulated programs against the NumPy reference; needs 8 GB

Nothing here ran on an IPU: times of steps are estimates of the cost model (docs/ipu.md).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from snnir.ir import (
    Add,
    Conv2d,
    Current,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Node,
    Signal,
    SparseLinear,
    Step,
    SumPool2d,
    Tensor,
    Value,
)
from snnir.ir.op import Op
from snnir.streams import Kind
from snnir.target import Compiled
from snnir.targets.ipu.cost import step_cycles
from snnir.targets.ipu.machine import CLOCK_HZ, Machine
from snnir.targets.ipu.partition import Wishes, partition
from snnir.targets.ipu.structure import Structure

Nodes = dict[str, tuple[Op, list[str]]]
RNG = np.random.default_rng(0)


def neurons() -> Step:
    """Return leaky integrate-and-fire neurons."""
    rules = snnir.LifStep()
    known = {"beta": np.float32(0.9), "threshold": np.float32(1.0)}
    own = {name: Tensor(known[name]) for name, _ in rules.program.params}
    return Step(rules, FrozenDict(own), "lif")


def weights(*shape: int) -> Tensor:
    """Return random weights on a grid of 1/64, whose sums are exact."""
    return Tensor(np.rint((RNG.random(shape, np.float32) - 0.4) * 64) / np.float32(64))


def spikes(*shape: int) -> tuple[Op, list[str]]:
    """Return an input of spikes."""
    return Input(Signal(Kind.SPIKES, shape)), []


def built(nodes: Nodes) -> Graph:
    """Return the graph whose output is the last node."""
    made = {name: Node(name, op, tuple(map(Value, given))) for name, (op, given) in nodes.items()}
    return Graph(made, {"output": Value(list(nodes)[-1])}, 1e-3)


def layers(*sizes: int) -> Graph:
    """Return dense layers."""
    nodes: Nodes = {"x": spikes(sizes[0])}
    for number, (before, after) in enumerate(pairwise(sizes)):
        nodes[f"fc{number}"] = Linear(weights(after, before)), [list(nodes)[-1]]
        nodes[f"lif{number}"] = neurons(), [f"fc{number}"]
    return built(nodes)


def convolutions() -> Graph:
    """Return two convolutions for a 34 x 34 event camera, and a classifier."""
    around = ((1, 1), (1, 1))
    return built(
        {
            "x": spikes(2, 34, 34),
            "c0": (Conv2d(weights(16, 2, 3, 3), padding=around), ["x"]),
            "lif0": (neurons(), ["c0"]),
            "pool0": (SumPool2d((2, 2), (2, 2)), ["lif0"]),
            "c1": (Conv2d(weights(32, 16, 3, 3), padding=around), ["pool0"]),
            "lif1": (neurons(), ["c1"]),
            "pool1": (SumPool2d((2, 2), (2, 2)), ["lif1"]),
            "flat": (Flatten(), ["pool1"]),
            "fc": (Linear(weights(10, 32 * 64)), ["flat"]),
            "lif2": (neurons(), ["fc"]),
        }
    )


def recurrent(count: int, fan_in: int) -> Graph:
    """Return neurons that feed each other by a random sparse matrix."""
    columns = RNG.integers(0, count - fan_in, (count, fan_in), np.int32)
    columns.sort(axis=1)
    columns += np.arange(fan_in, dtype=np.int32)  # no column twice
    starts = np.arange(count + 1, dtype=np.int64) * fan_in
    matrix = SparseLinear(
        weights(count * fan_in, 1), Tensor(columns.reshape(-1)), Tensor(starts), count, count
    )
    return built(
        {
            "x": spikes(count),
            "current": (Current(), ["x"]),
            "late": (Delay(1), ["lif"]),
            "recurrent": (matrix, ["late"]),
            "sum": (Add(), ["current", "recurrent"]),
            "lif": (neurons(), ["sum"]),
        }
    )


#: What emulated programs are made for, and what they are compared with.
TARGETS: tuple[tuple[str, dict[str, Any]], ...] = (("ipu", {"ipus": 2}), ("numpy", {}))
#: What is emulated, and the steps.
EMULATED: dict[str, tuple[Callable[[], Graph], int]] = {
    "784-1024-1024-10": (lambda: layers(784, 1024, 1024, 10), 100),
    "2x34x34, two convolutions": (convolutions, 100),
    "10^5 neurons, 100 each": (lambda: recurrent(100_000, 100), 20),
    "10^6 neurons, 100 each": (lambda: recurrent(1_000_000, 100), 4),
}

NETWORKS: dict[str, Callable[[], Graph]] = {
    "784-256-10": lambda: layers(784, 256, 10),
    "784-4096-4096-10": lambda: layers(784, 4096, 4096, 10),
    "2x34x34, two convolutions": convolutions,
    "10^4 neurons, 100 each": lambda: recurrent(10_000, 100),
    "10^5 neurons, 100 each": lambda: recurrent(100_000, 100),
    "10^5 neurons, 1000 each": lambda: recurrent(100_000, 1000),
}


def table(activity: float) -> None:
    """Print what networks take."""
    print(f"\n{activity:.0%} of spikes are 1")
    print("| network | planned in, s | IPUs | tiles | fullest tile, bytes | all, MB "
          "| exchange, kB a step | steps a second (estimated) |")  # fmt: skip
    print("| --- |" + " --- |" * 7)
    for name, make in shown(NETWORKS.items(), "planning"):
        structure = Structure(make())
        begin = time.perf_counter()
        plan, problems = partition(structure, Machine(ipus=64), Wishes(activity=activity))
        seconds = time.perf_counter() - begin
        if plan is None:
            print(f"| {name} | {problems[0].message} |")
            continue
        tiles, total = np.count_nonzero(plan.tile_bytes), plan.tile_bytes.sum()
        print(
            f"| {name} | {seconds:.2f} | {plan.machine.ipus} | {tiles} | {plan.fullest:,} "
            f"| {total / 1e6:,.1f} | {plan.exchanged / 1e3:,.0f} "
            f"| {CLOCK_HZ / step_cycles(plan):,.0f} |"
        )


def peak() -> float:
    """Return the largest memory of this process so far, in MB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def planning(count: int, fan_in: int) -> None:
    """Print how long a large network takes, and how much memory beyond its own."""
    begin = time.perf_counter()
    graph = recurrent(count, fan_in)
    tensors = [t for node in graph.nodes.values() for t in node.op.tensors().values()]
    held = sum(tensor.nbytes for tensor in tensors)
    print(f"{count:,} neurons, {count * fan_in:,} synapses, {held / 1e6:,.0f} MB of weights")
    print(f"made in {time.perf_counter() - begin:.1f} s, peak {peak():,.0f} MB")
    begin = time.perf_counter()
    assert graph.signals
    print(f"checked in {time.perf_counter() - begin:.1f} s, peak {peak():,.0f} MB")
    for ipus in shown((1, 2), "planning"):
        begin, before = time.perf_counter(), peak()
        plan, problems = partition(Structure(graph), Machine(ipus), Wishes())
        told = f"{time.perf_counter() - begin:.1f} s, {peak() - before:,.0f} MB more at peak"
        if plan is None:
            print(f"{ipus} IPU: refused in {told}: {problems[0].message}; {problems[0].hint}")
        else:
            print(f"{ipus} IPUs: planned in {told}; fullest tile {plan.fullest:,} bytes, "
                  f"{CLOCK_HZ / step_cycles(plan):,.0f} steps a second (estimated)")  # fmt: skip


def emulation() -> None:
    """Print how emulated programs agree with the reference, for inputs of which 5% are spikes."""
    print("| network | steps | IPUs | spikes | differing | emulated in, s | NumPy, s |")
    print("| --- |" + " --- |" * 6)
    for name, (make, steps) in shown(EMULATED.items(), "emulating"):
        graph = make()
        (signal,) = graph.inputs.values()
        x = (RNG.random((steps, 1, *signal.shape)) < 0.05).astype(np.float32)
        made, reference = (snnir.compile(graph, t, level=0, **o) for t, o in TARGETS)
        populations = list(snnir.populations(graph))
        found = []
        for one in (made, reference):
            one.run(x[:1])  # compiles
            begin = time.perf_counter()
            found.append((one.run(x, populations).recorded, time.perf_counter() - begin))
        (got, seconds), (want, usual) = found
        total = sum(int(want[key].sum()) for key in populations)
        differing = sum(int(np.count_nonzero(got[key] != want[key])) for key in populations)
        ipus = json.loads(bytes_of(made, "plan.json"))["machine"]["ipus"]
        print(f"| {name} | {steps} | {ipus} | {total:,} | {differing} | {seconds:.1f} "
              f"| {usual:.1f} |", flush=True)  # fmt: skip


def bytes_of(made: Compiled, name: str) -> bytes:
    """Return a file of a folder."""
    content = made.files[name]
    assert isinstance(content, bytes)
    return content


def main() -> None:
    """Print the tables, plan the large network, or emulate."""
    if "--emulate" in sys.argv[1:]:
        emulation()
        return
    if "--plan" in sys.argv[1:]:
        planning(1_000_000, 100)
        return
    for activity in (0.1, 0.01):
        table(activity)


if __name__ == "__main__":
    main()
