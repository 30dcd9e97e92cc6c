"""Graphs for the tests of BrainScaleS-2."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import snnir
from snnir.ir import Add, Delay, Graph, Input, Linear, Neuron, Node, Op, Signal, Value
from snnir.presets import preset
from snnir.streams import Kind
from snnir.targets.bss2.compiled import Bss2Compiled
from snnir.tensors import FrozenDict, Tensor

DT = 1e-3
SPIKING = ("cubalif", "lif")


def neuron(model: str = "cubalif", semantics: str = "jaxsnn", **changes: Any) -> Neuron:
    """Return a neuron that the chip can be at a speed-up of 1000."""
    values: dict[str, Any] = {"r": 1.0}
    if model.startswith("cuba"):
        values |= {"tau_mem": 6e-3, "tau_syn": 6e-3, "v_leak": 0.0}
    elif model != "if":
        values |= {"tau": 6e-3, "v_leak": 0.0}
    if model in SPIKING:
        values |= {"v_threshold": 1.0, "v_reset": 0.0}
    values |= changes
    params = {name: Tensor(np.asarray(value, np.float64)) for name, value in values.items()}
    return Neuron(model, FrozenDict(params), preset(semantics).for_model(model))


def graph(nodes: dict[str, tuple[Op, list[str]]], outputs: list[str], dt: float = DT) -> Graph:
    made = {
        name: Node(name, op, tuple(Value(source) for source in sources))
        for name, (op, sources) in nodes.items()
    }
    return Graph(made, {f"out{i}": Value(name) for i, name in enumerate(outputs)}, dt).verify()


def spikes(size: int) -> Input:
    return Input(Signal(Kind.SPIKES, (size,)))


def dense(out: int, fan_in: int, seed: int, scale: float = 0.5, keep: float = 1.0) -> Linear:
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, scale, (out, fan_in)) * (rng.random((out, fan_in)) < keep)
    return Linear(snnir.tensor(weight.astype(np.float32)))


def feed_forward(*sizes: int, seed: int = 0, readout: str = "cubali", **changes: Any) -> Graph:
    """Return inputs, hidden populations and a readout."""
    nodes: dict[str, tuple[Op, list[str]]] = {"x": (spikes(sizes[0]), [])}
    last = "x"
    for index, (before, size) in enumerate(itertools.pairwise(sizes)):
        is_last = index == len(sizes) - 2
        nodes[f"fc{index}"] = (dense(size, before, seed + index, 3.0 / before**0.5), [last])
        model = readout if is_last else "cubalif"
        nodes[f"n{index}"] = (
            neuron(model, **(changes if model == "cubalif" else {})),
            [f"fc{index}"],
        )
        last = f"n{index}"
    return graph(nodes, [last])


def recurrent(inputs: int = 5, hidden: int = 20, outputs: int = 3, seed: int = 0) -> Graph:
    return graph(
        {
            "x": (spikes(inputs), []),
            "fc": (dense(hidden, inputs, seed, 0.8), ["x"]),
            "late": (Delay(1), ["lif"]),
            "rec": (dense(hidden, hidden, seed + 1, 0.3), ["late"]),
            "sum": (Add(), ["fc", "rec"]),
            "lif": (neuron(), ["sum"]),
            "fc2": (dense(outputs, hidden, seed + 2, 0.3), ["lif"]),
            "li": (neuron("cubali"), ["fc2"]),
        },
        ["li"],
    )


def compiled(g: Graph, **options: Any) -> Bss2Compiled:
    made = snnir.compile(g, "bss2", **options)
    assert isinstance(made, Bss2Compiled)
    return made


def events(steps: int, batch: int, size: int, rate: float = 0.1, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.random((steps, batch, size)) < rate).astype(np.float32)
