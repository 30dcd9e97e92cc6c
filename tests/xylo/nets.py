"""Graphs for the chip."""

from __future__ import annotations

from typing import Any

import numpy as np

import snnir
from snnir.ir import Add, Delay, Graph, Input, Linear, Op, Signal, Step
from snnir.streams import Kind
from tests.helpers import graph, params

Nodes = dict[str, tuple[Op, list[str]]]


def lif(beta: Any = 0.875, threshold: Any = 1.0, **rules: Any) -> Step:
    """A LIF population without a synapse: reset by subtraction, fires at its threshold."""
    chosen = {"reset": "subtract", "fire": "ge", "spikes": "multi", "spike_cap": 31, **rules}
    return Step(snnir.LifStep(**chosen), params(beta=beta, threshold=threshold), "lif")


def cuba(alpha: Any = 0.5, beta: Any = 0.5, threshold: Any = 1.0, **rules: Any) -> Step:
    """The chip's own neuron: the input decays with the current, spikes are counted."""
    chosen = {
        "synapse": "factor", "synapse_order": "decay-input", "reset": "subtract", "fire": "ge",
        "spikes": "multi", "spike_cap": 31, **rules,
    }  # fmt: skip
    given = params(alpha=alpha, beta=beta, threshold=threshold)
    return Step(snnir.LifStep(**chosen), given, "cubalif")


def gate(threshold: Any, **rules: Any) -> Step:
    """Neurons without memory: as many spikes as the threshold goes into the input."""
    chosen = {"membrane": "none", "reset": "none", "fire": "ge", "spikes": "multi", **rules}
    if chosen["spikes"] == "multi":
        chosen["spike_cap"] = 31
    return Step(snnir.LifStep(**chosen), params(threshold=threshold), "threshold")


def whole(rng: Any, out: int, fan_in: int, high: int = 127, step: int = 1) -> Any:
    """Whole weights [out, in]; every row has the largest, so that its scale is a power of 2.

    Args:
        rng: A generator.
        out, fan_in: Shape.
        high: Largest weight; 0 in the rest of the range is as likely as any.
        step: 2 for even ones, as neurons without a synapse need them.
    """
    most = high // step
    found = rng.integers(-most, most + 1, (out, fan_in)).astype(np.float32)
    found[np.arange(out), rng.integers(0, fan_in, out)] = most
    return found * step


def given(size: int, kind: Kind = Kind.SPIKES) -> tuple[Op, list[str]]:
    return Input(Signal(kind, (size,))), []


def linear(weight: Any, bias: Any = None) -> Linear:
    offset = None if bias is None else snnir.tensor(np.asarray(bias, np.float32))
    return Linear(snnir.tensor(np.asarray(weight, np.float32)), offset)


def two_layers(first: Any, second: Any, hidden: Step, readout: Step) -> Graph:
    """Input -> hidden -> readout."""
    nodes: Nodes = {
        "input": given(first.shape[1]),
        "fc1": (linear(first), ["input"]),
        "hidden": (hidden, ["fc1"]),
        "fc2": (linear(second), ["hidden"]),
        "readout": (readout, ["fc2"]),
    }
    return graph(nodes, "readout", dt=1e-3).verify()


def recurrent(
    first: Any, back: Any, second: Any, hidden: Step, readout: Step, delay: int = 1
) -> Graph:
    """Input -> hidden, which feeds itself -> readout."""
    nodes: Nodes = {
        "input": given(first.shape[1]),
        "fc1": (linear(first), ["input"]),
        "late": (Delay(delay), ["hidden"]),
        "rec": (linear(back), ["late"]),
        "sum": (Add(), ["fc1", "rec"]),
        "hidden": (hidden, ["sum"]),
        "fc2": (linear(second), ["hidden"]),
        "readout": (readout, ["fc2"]),
    }
    return graph(nodes, "readout", dt=1e-3).verify()


def counts(
    steps: int, batch: int, size: int, high: int = 2, seed: int = 0, rate: float = 0.4
) -> Any:
    rng = np.random.default_rng(seed)
    shape = (steps, batch, size)
    return (rng.integers(0, high, shape) * (rng.random(shape) < rate)).astype(np.float32)


def differences(g: Graph, compiled: Any, x: Any) -> dict[str, int]:
    """Return spikes that differ from the float graph, by population and output, after the shift."""
    names = list(snnir.populations(g))
    wanted = snnir.compile(g, "numpy", level=0).run(x, names)
    found = compiled.run(x, names)
    pairs = {name: (wanted.recorded[name], found.recorded[name]) for name in names}
    pairs |= {f"output:{n}": (y, found.outputs[n]) for n, y in wanted.outputs.items()}
    return {
        name: int((a[: len(a) - lag] != b[lag:]).sum())
        for name, (a, b) in pairs.items()
        for lag in (compiled.latency[name],)
    }
