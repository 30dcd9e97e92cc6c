"""Networks and inputs that every engine can express, with sums that are exact in any order.

One neuron serves all: v = b v + x; s = v > threshold; v = 0 where s, with b = 15/16. Weights are
k / 2^m with |k| <= 127, so float32 sums do not depend on their order and spikes can be compared.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import snnir
from snnir.ir import (
    Add,
    Conv2d,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Op,
    Signal,
    Step,
    Value,
)

BETA, THRESHOLD = 15 / 16, 1.0
#: For frameworks that fire at equality.
JUST_ABOVE = float(np.nextafter(np.float32(THRESHOLD), np.float32(2)))
SIZES = {
    "dense": [784, 1024, 1024, 10], "layer": [512, 512],
    "recurrent": [700, 256, 20], "braille": [12, 38, 7],
}  # fmt: skip

INFERENCE = [
    *(f"dense T{t} B{b} {r}%" for t in (25, 100) for b in (1, 32, 128) for r in (1, 5, 50)),
    "conv T100 B1 2%", "conv T100 B32 2%",
    "recurrent T250 B1 2%", "recurrent T250 B64 2%",
    "braille T256 B1 20%", "braille T256 B64 20%",
]  # fmt: skip
#: N Poisson inputs at 0 to 100 Hz, N neurons, dense normal weights, a second in steps of 1 ms: the
#: benchmark of the BindsNET paper (Hazan et al., Frontiers in Neuroinformatics 12:89, 2018).
POISSON = [f"poisson{n} T1000 B1 5%" for n in (250, 1000, 2500, 5000, 10000)]
#: The last has the shape of the Open Neuromorphic benchmark: one layer, forward and backward.
TRAINING = [
    "train dense T25 B128 5%", "train recurrent T250 B64 2%", "train layer T500 B16 5%",
]  # fmt: skip
QUICK = ["dense T25 B1 5%", "conv T100 B1 2%", "recurrent T250 B1 2%", TRAINING[1]]


@dataclass(frozen=True)
class Workload:
    """A network with its input.

    Attributes:
        name: As in the lists above.
        kind: `dense`, `conv` or `recurrent`.
        x: Spikes [T, B, *shape], float32.
        weights: Per layer: [inputs, outputs], or [outputs, inputs, 5, 5] of convolutions. Of
            recurrent nets: input, recurrent, output.
        train: Whether a training step is measured: the gradient of mean((sum over time)^2).
    """

    name: str
    kind: str
    x: Any
    weights: tuple[Any, ...]
    train: bool = False


def weights(inputs: int, outputs: int, active: float, seed: int, spread: float, mean: float) -> Any:
    """Return weights for about `active` spikes at once, on a grid of a power of two."""
    rng = np.random.default_rng(seed)
    width = spread / math.sqrt(active)
    drawn = rng.normal(size=(inputs, outputs)) * width + mean / active
    clipped = np.clip(drawn, -4 * width, 4 * width)
    bits = math.floor(math.log2(127 / np.abs(clipped).max()))
    grid = np.clip(np.round(clipped * 2.0**bits), -127, 127)
    return (grid * 2.0**-bits).astype(np.float32)


def make(name: str) -> Workload:
    """Return a workload by name; the same in every process."""
    words = name.split()
    train = words[0] == "train"
    kind, steps, batch, rate = words[1:] if train else words
    seed = int(hashlib.md5(name.encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(seed)
    share = int(rate[:-1]) / 100
    time, count = int(steps[1:]), int(batch[1:])
    shape = (2, 34, 34) if kind == "conv" else (sizes_of(kind)[0],)
    rates: Any = rng.random(shape) * 2 * share if kind.startswith("poisson") else share
    x = (rng.random((time, count, *shape)) < rates).astype(np.float32)
    layers = _layers(kind, share)
    family = {"braille": "recurrent", "layer": "dense"}.get(kind, kind)
    return Workload(name, family, x, layers, train)


def sizes_of(kind: str) -> list[int]:
    """Return the number of inputs and of the neurons of each layer."""
    return [int(kind[7:])] * 2 if kind.startswith("poisson") else SIZES[kind]


def _layers(kind: str, share: float) -> tuple[Any, ...]:
    if kind.startswith("poisson"):  # normal, a spread of 1/13 of the threshold
        drawn = np.random.default_rng(1).normal(size=sizes_of(kind)) * 2.0**5 * 16 / 13
        grid: Any = np.clip(np.round(drawn), -127, 127)
        return ((grid * 2.0**-9).astype(np.float32),)
    if kind == "conv":
        first = weights(50, 12, 50 * 0.03, 1, 0.3, 0.0).T.reshape(12, 2, 5, 5)
        second = weights(300, 32, 300 * 0.1, 2, 0.22, -0.1).T.reshape(32, 12, 5, 5)
        return first.copy(), second.copy(), weights(800, 10, 80, 3, 0.45, 0.03)
    sizes = sizes_of(kind)
    if kind in ("dense", "layer"):
        pairs = itertools.pairwise(sizes)
        return tuple(
            weights(a, b, a * (share if i == 0 else 0.1), 7 * i + 1, 0.45, 0.03)
            for i, (a, b) in enumerate(pairs)
        )
    inputs, hidden, outputs = sizes
    return (
        weights(inputs, hidden, inputs * share, 1, 0.45, 0.03),
        weights(hidden, hidden, hidden * 0.1, 2, 0.3, 0.0),
        weights(hidden, outputs, hidden * 0.1, 3, 0.45, 0.03),
    )


def lif() -> Step:
    """Return the neuron."""
    values = {"beta": np.float32(BETA), "threshold": np.float32(THRESHOLD)}
    return Step(snnir.LifStep(), FrozenDict({k: snnir.tensor(v) for k, v in values.items()}))


def graph(work: Workload) -> Graph:
    """Return a workload's network."""
    nodes: dict[str, Node] = {}

    def add(name: str, op: Op, *operands: str) -> str:
        nodes[name] = Node(name, op, tuple(Value(operand) for operand in operands))
        return name

    def linear(weight: Any) -> Linear:
        return Linear(snnir.tensor(np.ascontiguousarray(weight.T)))

    last = add("input", Input(Signal(snnir.Kind.SPIKES, work.x.shape[2:])))
    if work.kind == "recurrent":
        add("fc1", linear(work.weights[0]), last)
        add("late", Delay(1), "lif1")
        add("rec", linear(work.weights[1]), "late")
        add("sum", Add(), "fc1", "rec")
        add("lif1", lif(), "sum")
        add("fc2", linear(work.weights[2]), "lif1")
        last = add("lif2", lif(), "fc2")
        return Graph(nodes, {"output": Value(last)}, 1e-3).verify()
    for index, weight in enumerate(work.weights, 1):
        if weight.ndim == 4:
            add(f"conv{index}", Conv2d(snnir.tensor(weight)), last)
            last = add(f"pool{index}", MaxPool2d((2, 2), (2, 2)), f"conv{index}")
        else:
            flat = add("flat", Flatten(), last) if work.kind == "conv" else last
            last = add(f"fc{index}", linear(weight), flat)
        last = add(f"lif{index}", lif(), last)
    return Graph(nodes, {"output": Value(last)}, 1e-3).verify()
