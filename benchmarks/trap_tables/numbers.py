"""What rounding does: fused products, sums in another order, constants of another type."""

from __future__ import annotations

from typing import Any

import numpy as np

import snnir
from benchmarks.trap_tables.common import differing, markdown, number, random_layer
from snnir.dynamics import dynamics, fma, select
from snnir.ir import FrozenDict, Graph, Input, Linear, Node, Step, Value

#: Decay of a membrane with a time constant of 20 steps.
BETA = np.float32(np.exp(-1 / 20))


@dynamics(params={"beta": "1", "threshold": "1"}, states={"v": 0.0})
def twice(x: Any, v: Any, beta: Any, threshold: Any) -> Any:
    """Leaky neuron whose product and sum are rounded each."""
    h = beta * v + x
    spike = h > threshold
    return {"v": select(spike, h - threshold, h)}, spike


@dynamics(params={"beta": "1", "threshold": "1"}, states={"v": 0.0})
def once(x: Any, v: Any, beta: Any, threshold: Any) -> Any:
    """The same, contracted as compilers do by default: product and sum are rounded together."""
    h = fma(beta, v, x)
    spike = h > threshold
    return {"v": select(spike, h - threshold, h)}, spike


def _layer(program: Any, weight: Any, beta: Any = BETA) -> Graph:
    params = {"beta": snnir.tensor(np.asarray(beta, np.float32)), "threshold": snnir.tensor(1.0)}
    nodes = [
        Node("input", Input(snnir.Signal(snnir.Kind.SPIKES, (weight.shape[1],)))),
        Node("fc", Linear(snnir.tensor(weight)), (Value("input"),)),
        Node("lif", Step(program, FrozenDict(params)), (Value("fc"),)),
    ]
    return Graph({node.name: node for node in nodes}, {"y": Value("lif")}, dt=1e-3)


def _states(graph: Graph, x: Any, precision: str = "reproducible") -> tuple[Any, Any]:
    run = snnir.compile(graph, precision=precision).run(x, record=["lif:v"])
    return run.output, run.recorded["lif:v"]


def contraction() -> str:
    """A product and a sum in one rounding."""
    rows = []
    for steps in (100, 1000, 10_000):
        weight, x = random_layer(steps=steps)
        (a, va), (b, vb) = (_states(_layer(program, weight), x) for program in (twice, once))
        share = f"{(va != vb).mean():.0%}"
        apart = np.flatnonzero((a != b).any(axis=(1, 2)))
        first = number(apart[0]) if len(apart) else "–"
        rows.append((number(steps), number(a.sum()), share, number(differing(a, b)), first))
    head = ("steps", "spikes", "membranes that differ", "spikes that differ", "from step")
    return markdown(head, rows)


def sums() -> str:
    """The same weights added in another order."""
    rows = []
    for name, grid in (("random", 0), ("multiples of 1/256", 256)):
        weight, x = random_layer(inputs=512, steps=2000)
        weight = np.round(weight * grid).astype(np.float32) / np.float32(grid) if grid else weight
        order = np.random.default_rng(1).permutation(weight.shape[1])
        first = _states(_layer(twice, weight), x, "float32")
        other = _states(_layer(twice, weight[:, order]), x[:, :, order], "float32")
        share = f"{(first[1] != other[1]).mean():.0%}"
        rows.append((name, number(first[0].sum()), share, number(differing(first[0], other[0]))))
    return markdown(("weights", "spikes", "membranes that differ", "spikes that differ"), rows)


def constants() -> str:
    """A decay factor computed in float64 and rounded, or in float32; and its way through tau."""
    rng = np.random.default_rng(3)
    tau = rng.uniform(1e-3, 50e-3, 10_000)
    dt = 1e-3
    precise = (1 - dt / tau).astype(np.float32)
    short = np.float32(1) - np.float32(dt) / tau.astype(np.float32)
    beta = rng.uniform(0.5, 0.999, 10_000).astype(np.float32)
    back64 = (1 - dt / (dt / (1 - beta.astype(np.float64)))).astype(np.float32)
    dt32, one = np.float32(dt), np.float32(1)
    back32 = one - dt32 / (dt32 / (one - beta))
    rows = [
        ("1 - dt/tau in float32", _changed(short, precise), _spikes(precise, short)),
        ("beta → tau → beta in float64", _changed(back64, beta), _spikes(beta, back64)),
        ("beta → tau → beta in float32", _changed(back32, beta), _spikes(beta, back32)),
    ]
    head = (
        "factor",
        "values of 10,000 that change",
        "spikes that differ, 512 neurons, 10,000 steps",
    )
    return markdown(head, rows)


def _changed(a: Any, b: Any) -> str:
    return number(differing(a, b))


def _spikes(a: Any, b: Any) -> str:
    weight, x = random_layer(steps=10_000)
    runs = [_states(_layer(twice, weight, beta[:512]), x)[0] for beta in (a, b)]
    return number(differing(runs[0], runs[1]))
