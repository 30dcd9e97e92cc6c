"""Random networks that learn, full of what passes change: for round trips and properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnir.ir import (
    Add,
    Current,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Node,
    Op,
    PickMax2d,
    Plastic,
    Reshape,
    Scale,
    Signal,
    Step,
    Tensor,
    Uniform,
    Value,
)
from snnir.streams import Kind
from tests.helpers import lif_step
from tests.learning.networks import adaptive, below, pair, rewarded, scalar, trace

PRE = 6


class Net:
    """A network, node by node."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, op: Op, *sources: str) -> str:
        """Add a node and return its name."""
        name = name if name not in self.nodes else f"{name}{len(self.nodes)}"
        self.nodes[name] = Node(name, op, tuple(map(Value, sources)))
        return name

    def chance(self, share: float) -> bool:
        """Return true in that share of cases."""
        return bool(self.rng.random() < share)

    def factor(self) -> Scale:
        """Return a factor by which nothing is rounded."""
        return Scale(Tensor(np.float32(self.rng.choice([0.5, 1.0, 2.0]))))

    def trace(self, source: str) -> str:
        """Return the trace of spikes."""
        read = self.add(f"{source}.read", Current(), source)
        return self.add(f"{source}.trace", Step(trace, FrozenDict(scalar(decay=0.8))), read)

    def neurons(self, post: int) -> Step:
        """Return neurons, of which some have thresholds that last."""
        if self.chance(0.4):
            return lif_step(reset="zero", fire="ge")
        plus = float(self.rng.choice([0.0, 0.0625]))
        params = scalar(beta=0.875, plus=plus, theta_decay=0.99)
        threshold = self.rng.integers(1, 5, post).astype(np.float32) / 4
        return Step(adaptive, FrozenDict({**params, "threshold": Tensor(threshold)}))

    def plastic(self, pre: int, post: int) -> Plastic:
        """Return synapses that learn."""
        weights = Tensor(self.rng.random((post, pre), np.float32) * np.float32(0.5))
        total = Tensor(np.float32(1.5)) if self.chance(0.5) else None
        if self.chance(0.5):
            given = scalar(nu0=0.01, nu1=0.03, wmax=0.75)
            reads = ("pre", "pre", "post", "post")
            return Plastic(pair, FrozenDict({"weight": weights, **given}), reads, total)
        given = scalar(nu=0.02, decay=0.75)
        reads = ("pre", "pre", "post", "all")
        return Plastic(rewarded, FrozenDict({"weight": weights, **given}), reads, total, "cascade")

    def layer(self, source: str, pre: int, post: int, late: bool) -> str:
        """Add synapses with neurons behind them, and return the neurons."""
        op = self.plastic(pre, post)
        at = self.add("late", Delay(int(self.rng.integers(1, 3))), source) if late else source
        x_pre = self.trace(source)
        synapses, out = f"synapses{len(self.nodes)}", f"out{len(self.nodes)}"
        last = synapses
        if self.chance(0.5):
            last = self.add(f"{synapses}.scaled", self.factor(), last)
        if self.chance(0.5):  # there and back
            shaped = self.add(f"{out}.shaped", Reshape((2, post // 2)), last)
            neurons = self.neurons(post)
            params = {k: p if p.size == 1 else Tensor(p.numpy().reshape(2, -1))
                      for k, p in neurons.params.items()}  # fmt: skip
            self.add(f"{out}.square", replace(neurons, params=FrozenDict(params)), shaped)
            self.add(out, Flatten(), f"{out}.square")
        else:
            if self.chance(0.5):
                back = self.add(f"{out}.back", Delay(1), out)
                weight = Tensor((self.rng.integers(-4, 1, (post, post)) / 8).astype(np.float32))
                inhibits = self.add(f"{out}.inhibits", Linear(weight), back)
                last = self.add(f"{out}.sum", Add(), last, inhibits)
            self.add(out, self.neurons(post), last)
        x_post = self.trace(out)
        reads = (source, x_pre, out, x_post if op.rule.inputs[-1] == "x_post" else "reward")
        self.add(synapses, op, at, *reads)
        if self.chance(0.4):  # a twin
            self.add(f"{synapses}.twin", op, at, *reads)
        return out


def random_learning_graph(seed: int) -> Graph:
    """Return a network that learns; the same for the same seed."""
    net = Net(seed)
    net.add("x", Input(Signal(Kind.SPIKES, (PRE,))))
    net.add("reward", Input(Signal(Kind.ANALOG, (1,))))
    source = "x"
    if net.chance(0.4):
        read = net.add("x.p", Current(), "x")
        noise = net.add("noise", Uniform(int(net.rng.integers(1 << 40)), 5), read)
        net.add("noise.twin", net.nodes[noise].op, read)
        scaled = net.add("p", Scale(Tensor(np.float32(0.75))), read)
        source = net.add("drawn", Step(below, FrozenDict()), noise, scaled)
    hidden = net.layer(source, PRE, 4, net.chance(0.7))
    out = net.layer(hidden, 4, 6, net.chance(0.5)) if net.chance(0.6) else hidden
    outputs = {"output": Value(out)}
    if net.chance(0.3):
        size = 4 if out == hidden else 6
        square = net.add("picture", Reshape((1, 2, size // 2)), out)
        scores = net.add("scores", Reshape((1, 2, size // 2)), net.trace(out))
        outputs["best"] = Value(net.add("best", PickMax2d((2, 1), (2, 1)), scores, square))
    return Graph(net.nodes, outputs, dt=1e-3).verify()
