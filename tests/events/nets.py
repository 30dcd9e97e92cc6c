"""Small networks of continuous neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

import snnir
from snnir.events import Events
from snnir.ir import Add, Delay, FrozenDict, Graph, Input, Linear, Neuron, Node, Op, Signal, Value
from snnir.streams import Kind
from snnir.tensors import Tensor

JUMP = snnir.Stepping(synapse_jump=True)
DEFAULTS = {"tau_mem": 10e-3, "tau_syn": 5e-3, "tau": 10e-3, "r": 1.0, "v_leak": 0.0,
            "w_in": 1.0, "v_threshold": 1.0, "v_reset": 0.0}  # fmt: skip


def neuron(model: str, stepping: snnir.Stepping = JUMP, **params: Any) -> Neuron:
    """Return a population; parameters that are not given are `DEFAULTS`."""
    wanted = snnir.MODELS[model].params
    values = {name: params.get(name, DEFAULTS[name]) for name in wanted}
    made = {k: Tensor(np.asarray(v, np.float64)) for k, v in values.items()}
    return Neuron(model, FrozenDict(made), stepping)


def graph(nodes: dict[str, tuple[Op, list[str]]], *outputs: str, dt: float = 1e-3) -> Graph:
    """Return a graph of named ops."""
    made = {n: Node(n, op, tuple(Value(s) for s in given)) for n, (op, given) in nodes.items()}
    return Graph(made, {f"y{k or ''}": Value(name) for k, name in enumerate(outputs)}, dt)


def source(size: int = 1, kind: Kind = Kind.COUNTS) -> tuple[Op, list[str]]:
    """Return an input."""
    return Input(Signal(kind, (size,))), []


def linear(weight: Any, bias: Any = None) -> Linear:
    """Return a matrix in float64."""
    own = None if bias is None else Tensor(np.asarray(bias, np.float64))
    return Linear(Tensor(np.asarray(weight, np.float64)), own)


def seconds(value: Any, steps: int = 1) -> Delay:
    """Return a delay in continuous time."""
    return Delay(steps, Tensor(np.asarray(value, np.float64)))


def single(
    model: str = "cubalif", weight: float = 5.0, stepping: snnir.Stepping = JUMP, **params: Any
) -> Graph:
    """Return one neuron with one synapse."""
    nodes = {"x": source(), "w": (linear([[weight]]), ["x"])}
    return graph({**nodes, "n": (neuron(model, stepping, **params), ["w"])}, "n")


def recurrent(
    size: int, seed: int, *, model: str = "cubalif", delay: Any = 0.0, gain: float = 1.5,
    stepping: snnir.Stepping = JUMP, inputs: int = 3, density: float = 0.5, **params: Any,
) -> Graph:  # fmt: skip
    """Return a random recurrent population; weights of both signs."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(0, gain, (size, size)) * (rng.random((size, size)) < density)
    return graph(
        {
            "x": source(inputs),
            "in": (linear(rng.random((size, inputs)) * 4), ["x"]),
            "late": (seconds(delay), ["n"]),
            "rec": (linear(inner), ["late"]),
            "sum": (Add(), ["in", "rec"]),
            "n": (neuron(model, stepping, **params), ["sum"]),
        },
        "n",
    )


def at(time: list[float], index: list[int], sample: Any = ()) -> Events:
    """Return events given one by one."""
    return Events(np.array(time), np.array(index, np.int64), np.array(sample, np.int64))


def poisson(count: int, until: float, inputs: int = 3, seed: int = 0, samples: int = 1) -> Events:
    """Return random events."""
    rng = np.random.default_rng(seed)
    time, index = rng.random(count) * until, rng.integers(0, inputs, count)
    return Events(time, index, rng.integers(0, samples, count))


def times(model: Graph, x: Any, duration: float, **options: Any) -> Any:
    """Return when the first output fires."""
    compiled: Any = snnir.compile(model, "events", **options)
    return compiled.run(x, duration=duration).events["y"].time
