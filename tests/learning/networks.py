"""Small networks that learn, for the tests of every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnir.dynamics import Dynamics, batch_sum, dynamics, maximum, minimum, select
from snnir.ir import (
    Current,
    Delay,
    Graph,
    Input,
    Node,
    Plastic,
    Signal,
    Step,
    Tensor,
    Uniform,
    Value,
)
from snnir.running import Result
from snnir.streams import Kind
from snnir.tensors import FrozenDict

RNG = np.random.default_rng


@dynamics(params={"decay": "1"}, states={"x": 0.0}, outputs=(Kind.ANALOG,))
def trace(s: Any, x: Any, decay: Any) -> Any:
    """What is left of earlier spikes."""
    new = select(s > 0.5, 1.0, x * decay)
    return {"x": new}, new


@dynamics(
    params={"beta": "1", "threshold": "1", "plus": "1", "theta_decay": "1"},
    states={"v": 0.0},
    lasting={"theta": 0.0},
)
def adaptive(
    x: Any, v: Any, theta: Any, beta: Any, threshold: Any, plus: Any, theta_decay: Any
) -> Any:
    """A leaky neuron whose threshold all samples raise together."""
    h = beta * v + x
    spike = h >= threshold + theta
    raised = theta * theta_decay + plus * batch_sum(select(spike, 1.0, 0.0))
    return {"v": select(spike, 0.0, h), "theta": raised}, spike


@dynamics(
    params={"weight": "1", "nu0": "1", "nu1": "1", "wmax": "1"},
    states={},
    lasting={"w": "weight"},
    outputs=(),
)
def pair(
    pre: Any, x_pre: Any, post: Any, x_post: Any, w: Any, weight: Any, nu0: Any, nu1: Any, wmax: Any
) -> Any:
    """Pair-based STDP within bounds."""
    down = w - batch_sum(pre * (x_post * nu0))
    up = down + batch_sum(x_pre * (post * nu1))
    return {"w": minimum(maximum(up, 0.0), wmax)}


@dynamics(
    params={"weight": "1", "nu": "1", "decay": "1"},
    states={"e": 0.0},
    lasting={"w": "weight"},
    outputs=(),
)
def rewarded(
    pre: Any, x_pre: Any, post: Any, reward: Any, e: Any, w: Any, weight: Any, nu: Any, decay: Any
) -> Any:
    """Reward times an eligibility of each synapse."""
    return {"e": e * decay + x_pre * post - 0.5 * pre, "w": w + nu * batch_sum(reward * e)}


def scalar(**values: float) -> dict[str, Tensor]:
    """Return parameters that are one float32 each."""
    return {name: Tensor(np.float32(value)) for name, value in values.items()}


def learning_graph(
    rule: Dynamics = pair, pre: int = 6, post: int = 4, seed: int = 0, total: float | None = 1.5
) -> Graph:
    """Return inputs that reach neurons with adaptive thresholds a step later, and learn."""
    weights = RNG(seed).random((post, pre), dtype=np.float32) * np.float32(0.5)
    chosen: Mapping[str, Tensor] = {
        "pair": scalar(nu0=0.01, nu1=0.03, wmax=0.75),
        "rewarded": scalar(nu=0.02, decay=0.75),
    }[rule.name]
    reads = {"pre": "pre", "x_pre": "pre", "post": "post", "x_post": "post", "reward": "all"}
    values = {"pre": "x", "x_pre": "x.trace", "post": "out", "x_post": "out.trace"}
    values["reward"] = "reward"
    synapses = Plastic(
        rule,
        FrozenDict({"weight": Tensor(weights), **chosen}),
        tuple(reads[name] for name in rule.inputs),
        None if total is None else Tensor(np.float32(total)),
    )
    neurons = FrozenDict(scalar(beta=0.875, threshold=0.75, plus=0.0625, theta_decay=0.99))
    nodes = [
        Node("x", Input(Signal(Kind.SPIKES, (pre,)))),
        *([Node("reward", Input(Signal(Kind.ANALOG, (1,))))] if "reward" in rule.inputs else []),
        Node("x.current", Current(), (Value("x"),)),
        Node("x.trace", Step(trace, FrozenDict(scalar(decay=0.8))), (Value("x.current"),)),
        Node("before", Delay(1), (Value("x"),)),
        Node("synapses", synapses, (Value("before"), *(Value(values[n]) for n in rule.inputs))),
        Node("out", Step(adaptive, neurons), (Value("synapses"),)),
        Node("out.current", Current(), (Value("out"),)),
        Node("out.trace", Step(trace, FrozenDict(scalar(decay=0.7))), (Value("out.current"),)),
    ]
    graph = Graph({node.name: node for node in nodes}, {"output": Value("out")}, dt=1e-3)
    return graph.verify()


@dynamics(params={}, states={})
def below(u: Any, p: Any) -> Any:
    """A spike where the random number is at most p."""
    return {}, u <= p


def random_graph(shape: tuple[int, ...] = (5,), seed: int = 7) -> Graph:
    """Return a graph that turns probabilities into spikes."""
    nodes = [
        Node("p", Input(Signal(Kind.ANALOG, shape))),
        Node("u", Uniform(seed), (Value("p"),)),
        Node("s", Step(below), (Value("u"), Value("p"))),
    ]
    outputs = {"spikes": Value("s"), "numbers": Value("u")}
    return Graph({node.name: node for node in nodes}, outputs, dt=1e-3).verify()


def inputs_of(graph: Graph, steps: int = 40, batch: int = 3, seed: int = 1) -> dict[str, Any]:
    """Return random inputs of a graph."""
    rng = RNG(seed)
    found: dict[str, Any] = {}
    for name, signal in graph.inputs.items():
        lead = (steps, batch, *signal.shape)
        if signal.kind is Kind.SPIKES:
            found[name] = (rng.random(lead) < 0.3).astype(np.float32)
        else:
            found[name] = rng.integers(0, 9, lead).astype(np.float32) / 8
    return found


def same(found: Result, wanted: Result) -> None:
    """Compare everything a run gives, signs of zeros included; any NaN is like any other."""
    assert found.stats == wanted.stats
    for side in ("outputs", "recorded", "lasting"):
        mine, theirs = getattr(found, side), getattr(wanted, side)
        assert list(mine) == list(theirs)
        for name, value in theirs.items():
            assert (mine[name].shape, mine[name].dtype) == (value.shape, value.dtype), name
            np.testing.assert_array_equal(mine[name], value, name)
            signs = np.signbit(mine[name]) == np.signbit(value)
            assert (signs | np.isnan(value)).all(), name
