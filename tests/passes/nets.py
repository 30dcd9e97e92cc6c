"""Random networks rich in linear ops, whose arithmetic is exact in float64."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv2d,
    Current,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Op,
    Pad,
    Permute,
    Reshape,
    Scale,
    Signal,
    Step,
    SumPool2d,
    Value,
)  # fmt: skip
from tests.helpers import lif_step

Shape = tuple[int, ...]
#: Factors by which nothing is rounded.
GAINS = [0.5, 1.0, 2.0, -1.0, -0.5, 4.0]


class Net:
    """Draws a network node by node."""

    def __init__(self, draw: st.DrawFn, spiking: bool) -> None:
        self.draw, self.spiking = draw, spiking
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes: dict[str, Node] = {}
        self.signals: dict[str, Signal] = {}

    def add(self, op: Op, *sources: str) -> str:
        name = f"n{len(self.nodes)}_{op.name}"
        self.nodes[name] = Node(name, op, tuple(Value(s) for s in sources))
        self.signals[name] = op.infer([self.signals[s] for s in sources])[0]  # type: ignore[assignment]
        return name

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def weights(self, shape: Shape) -> snnir.Tensor:
        values = self.random.integers(-6, 10, shape) * (self.random.random(shape) < 0.7)
        if shape:  # some neurons are never excited
            rows = self.random.random(shape[0]) < 0.15
            values[rows] = -np.abs(values[rows])
        return snnir.Tensor((values / 8).astype(np.float32))

    def gains(self, shape: Shape, positive: bool = False) -> snnir.Tensor:
        positive = positive or self.spiking
        values = self.random.choice(GAINS, shape)
        return snnir.Tensor(
            np.abs(values).astype(np.float32) if positive else values.astype(np.float32)
        )

    def bias(self, out: int) -> snnir.Tensor | None:
        return self.weights((out,)) if self.chance(0.5) else None

    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return tuple((int(a), int(b)) for a, b in self.random.integers(0, 2, (2, 2)))  # type: ignore[return-value]

    def synapse(self, source: str) -> str:
        if self.spiking and self.signals[source].kind is snnir.Kind.ANALOG:
            source = self.neuron(source)
        shape = self.signals[source].shape
        if len(shape) != 3:
            out = int(self.random.integers(1, 7))
            return self.add(Linear(self.weights((out, shape[-1])), self.bias(out)), source)
        groups = 2 if shape[0] % 2 == 0 and self.chance(0.3) else 1
        out = 2 * int(self.random.integers(1, 3))
        kernel = tuple(int(k) for k in self.random.integers(1, 1 + min(3, *shape[1:]), 2))
        kernel = (1, 1) if self.chance(0.3) else kernel
        pads = ((0, 0), (0, 0)) if self.chance(0.6) else self.pads()
        weight = self.weights((out, shape[0] // groups, *kernel))
        return self.add(Conv2d(weight, self.bias(out), padding=pads, groups=groups), source)

    def affine(self, source: str) -> str:
        shape = self.signals[source].shape
        channels = (shape[0],) + (1,) * (len(shape) - 1)
        some = [(), channels, shape][self.random.integers(3)]
        kind = self.random.integers(3)
        if kind == 0:
            return self.add(Scale(self.gains(some)), source)
        if kind == 1:
            return self.add(Bias(self.weights(some)), source)
        var = snnir.Tensor(self.random.choice([0.25, 1.0, 4.0], shape[0]).astype(np.float32))
        mean, beta = self.weights((shape[0],)), self.bias(shape[0])
        return self.add(BatchNorm(mean, var, self.gains((shape[0],)), beta, 0.0), source)

    def neuron(self, source: str) -> str:
        if self.signals[source].kind is not snnir.Kind.ANALOG:
            source = self.add(Current(), source)
        shape = self.signals[source].shape
        reset = str(self.random.choice(["zero", "subtract", "none", "to"]))
        step = lif_step(
            reset=reset, gain=self.chance(0.3), synapse_gain=self.chance(0.3),
            membrane=str(self.random.choice(["factor", "integrate", "difference"])),
            synapse="factor" if self.chance(0.3) else "none", leak=self.chance(0.3),
            fire="never" if self.chance(0.1) and not self.spiking else "gt",
        )  # fmt: skip
        spread = {n: self.gains(shape, positive=True) for n in step.params if n == "threshold"}
        if self.chance(0.2):  # thresholds that nothing reaches
            high = np.where(self.random.random(shape) < 0.5, 1.0, 4096.0).astype(np.float32)
            spread = {n: snnir.Tensor(high) for n in spread}
        values = {k: v for k, v in {**step.params, **spread}.items() if k in step.params}
        return self.add(Step(step.dynamics, FrozenDict(values), "lif"), source)

    def move(self, source: str) -> str:
        shape = self.signals[source].shape
        pads = tuple((int(a), int(b)) for a, b in self.random.integers(0, 2, (len(shape), 2)))
        moves: list[Op] = [Delay(int(self.random.integers(0, 3))) for _ in range(3)]
        moves += [Flatten(), Reshape((prod(shape),))]
        moves += [Pad(pads), Permute(tuple(int(i) for i in self.random.permutation(len(shape))))]
        if len(shape) == 3 and min(shape[1:]) >= 2:
            kinds = (SumPool2d, AvgPool2d, MaxPool2d)
            pool = kinds[self.random.integers(3)]
            moves += [pool((2, 2), (2, 2), ((0, 0), (0, 0)))] * 4
            moves += [pool((2, 1), (1, 1), ((0, 1), (0, 0)))]
        return self.add(moves[self.random.integers(len(moves))], source)

    def sandwich(self, source: str) -> str:
        """A population between two reshapes."""
        shape = self.signals[source].shape
        last = self.neuron(self.add(Flatten(), source))
        return self.add(Reshape(shape if self.chance(0.7) else shape[::-1]), last)

    def join(self, source: str) -> str:
        same = [n for n, s in self.signals.items() if s == self.signals[source]]
        other = same[self.random.integers(len(same))]
        return self.add(Add() if self.chance(0.6) else Concat(0), source, other)

    def twin(self, source: str) -> str:
        """Compute a value a second time, and join both."""
        node = self.nodes[source]
        if isinstance(node.op, Input):
            return source
        other = self.add(node.op, *(value.node for value in node.operands))
        return self.add(Concat(0), source, other)

    def elsewhere(self, source: str) -> str:
        """Go on from an earlier value; what was last may be dead."""
        return list(self.nodes)[self.random.integers(len(self.nodes))]

    def loop(self, source: str) -> str:
        """Append a population that feeds back on itself through a matrix and a factor."""
        last = self.synapse(self.add(Flatten(), source))
        size = self.signals[last].shape[0]
        names = {n: f"n{len(self.nodes)}_{n}" for n in ("late", "rec", "gain", "sum", "lif")}
        ops: dict[str, tuple[Op, list[str]]] = {
            "late": (Delay(1 + int(self.chance(0.3))), [names["lif"]]),
            "rec": (Linear(self.weights((size, size))), [names["late"]]),
            "gain": (Scale(self.gains((size,))), [names["rec"]]),
            "sum": (Add(), [last, names["gain"]]),
            "lif": (lif_step(gain=self.chance(0.5)), [names["sum"]]),
        }
        for key, (op, sources) in ops.items():
            self.nodes[names[key]] = Node(names[key], op, tuple(Value(s) for s in sources))
        self.signals[names["lif"]] = Signal(snnir.Kind.SPIKES, (size,))
        return names["lif"]


@st.composite
def nets(draw: st.DrawFn, spiking: bool = False) -> Graph:
    """Return a verified network of up to 16 nodes; if `spiking`, with neurons between layers."""
    net = Net(draw, spiking)
    shape = draw(st.sampled_from([(5,), (2, 4, 4), (2, 5, 4)]))
    last = net.add(Input(Signal(draw(st.sampled_from(list(snnir.Kind))), shape)))
    choices: list[Any] = [net.synapse] * 5 + [net.affine] * 6 + [net.neuron] * 3
    choices += [net.move] * 4 + [net.join] * 2 + [net.twin, net.elsewhere, net.sandwich]
    for _ in range(draw(st.integers(2, 12))):
        last = choices[net.random.integers(len(choices))](last)
        if net.signals[last].size > 300:
            break
    if net.chance(0.3):
        last = net.loop(last)
    outputs = {"y": Value(last)}
    if net.chance(0.3):
        outputs["z"] = Value(list(net.nodes)[net.random.integers(len(net.nodes))])
    return Graph(net.nodes, outputs, 1e-3).verify()
