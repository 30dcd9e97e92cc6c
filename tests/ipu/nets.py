"""Networks for tests of the ipu target."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import snnir
from snnir.ir import (
    Add,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    Node,
    Op,
    Signal,
    SparseLinear,
    SumPool2d,
    Value,
)  # fmt: skip
from snnir.streams import Kind
from snnir.targets.ipu.target import IpuCompiled
from tests.helpers import dyadic, graph, lif_step
from tests.targets import OPS, t

Nodes = dict[str, tuple[Op, list[str]]]


def every_op() -> Graph:
    """Return all ops side by side, each between inputs and an output of its own."""
    nodes: dict[str, Node] = {}
    outputs = {}
    for number, (name, (op, shapes)) in enumerate(OPS.items()):
        own = [f"x{number}.{index}" for index in range(len(shapes))]
        for given, shape in zip(own, shapes, strict=True):
            nodes[given] = Node(given, Input(Signal(Kind.ANALOG, shape)))
        nodes[name] = Node(name, op, tuple(Value(given) for given in own))
        outputs[f"y{number}"] = Value(name)
    return Graph(nodes, outputs, 1e-3)


def matrix(outputs: int, inputs: int, seed: int, density: float = 1.0) -> Op:
    """Return a matrix of weights whose sums are exact."""
    if density == 1.0:
        return Linear(t(outputs, inputs, seed=seed), t(outputs))
    held = np.random.default_rng(seed).random((outputs, inputs)) < density
    return SparseLinear.of(dyadic((outputs, inputs), seed) * held, 1)


def layers(*sizes: int, density: float = 1.0) -> Graph:
    """Return populations one after the other."""
    nodes: Nodes = {"x": (Input(Signal(Kind.SPIKES, (sizes[0],))), [])}
    last = "x"
    for number, (fan_in, size) in enumerate(pairwise(sizes)):
        nodes[f"fc{number}"] = (matrix(size, fan_in, number, density), [last])
        last = f"lif{number}"
        nodes[last] = (lif_step(reset="zero" if number % 2 else "subtract"), [f"fc{number}"])
    return graph(nodes, last, dt=1e-3)


def recurrence(size: int = 30, density: float = 1.0, delay: int = 1) -> Graph:
    """Return two populations, one of which feeds itself."""
    nodes: Nodes = {
        "x": (Input(Signal(Kind.SPIKES, (40,))), []),
        "fc": (matrix(size, 40, 1, density), ["x"]),
        "late": (Delay(delay), ["a"]),
        "rec": (matrix(size, size, 2, density), ["late"]),
        "sum": (Add(), ["fc", "rec"]),
        "a": (lif_step(), ["sum"]),
        "out": (matrix(11, size, 3, density), ["a"]),
        "b": (lif_step(reset="zero"), ["out"]),
    }
    return graph(nodes, "b", dt=1e-3)


def convolutional() -> Graph:
    """Return two convolutions with a pool between them, and a classifier."""
    nodes: Nodes = {
        "x": (Input(Signal(Kind.SPIKES, (2, 12, 10))), []),
        "c1": (Conv2d(t(6, 2, 3, 3), t(6), padding=((1, 1), (1, 0))), ["x"]),
        "a": (lif_step(), ["c1"]),
        "pool": (SumPool2d((2, 2), (2, 2)), ["a"]),
        "c2": (Conv2d(t(4, 3, 3, 2, seed=5), stride=(2, 1), groups=2), ["pool"]),
        "b": (lif_step(), ["c2"]),
        "flat": (Flatten(), ["b"]),
        "fc": (Linear(t(7, 24, seed=6), t(7)), ["flat"]),
        "out": (lif_step(reset="zero"), ["fc"]),
    }
    return graph(nodes, "out", dt=1e-3)


def tensors(
    values: Any, columns: Any, starts: Any
) -> tuple[snnir.Tensor, snnir.Tensor, snnir.Tensor]:
    """Return the three tensors of a sparse matrix."""
    return snnir.Tensor(values), snnir.Tensor(columns), snnir.Tensor(starts)


def ipu(graph: Graph, **options: Any) -> IpuCompiled:
    """Compile for the ipu target."""
    made = snnir.compile(graph, "ipu", **options)
    assert isinstance(made, IpuCompiled)
    return made


def random_sparse(neurons: int, fan_in: int, seed: int = 0) -> Graph:
    """Return one population that feeds itself by a random sparse matrix, and an input each."""
    rng = np.random.default_rng(seed)
    stride = neurons // fan_in
    columns = (np.arange(fan_in) * stride + rng.integers(0, stride, (neurons, fan_in))).astype("i4")
    values = (rng.integers(-40, 44, neurons * fan_in) / 64).astype(np.float32)
    starts = np.arange(neurons + 1, dtype=np.int64) * fan_in
    values, columns = values[:, None], columns.reshape(-1)
    weights = SparseLinear(*tensors(values, columns, starts), neurons, neurons)
    nodes: Nodes = {
        "x": (Input(Signal(Kind.ANALOG, (neurons,))), []),
        "late": (Delay(1), ["a"]),
        "rec": (weights, ["late"]),
        "sum": (Add(), ["x", "rec"]),
        "a": (lif_step(), ["sum"]),
    }
    return graph(nodes, "a", dt=1e-3)
