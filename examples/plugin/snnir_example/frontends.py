"""A frontend: from a file to a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.ir import FrozenDict, Input, Linear, Node, Signal, Step, Value


def read_mlp(path: Path, dt: float | None = None, **options: Any) -> snnir.Graph:
    """Read layers of leaky neurons from JSON: `{"beta": b, "threshold": t, "layers": [[[…]]]}`."""
    data = json.loads(path.read_text("utf-8"))
    params = {name: snnir.tensor(float(data[name])) for name in ("beta", "threshold")}
    weights = [np.array(layer, np.float32) for layer in data["layers"]]
    signal = Signal(snnir.Kind.SPIKES, (weights[0].shape[1],))
    nodes, last = {"input": Node("input", Input(signal))}, "input"
    for number, weight in enumerate(weights, 1):
        fc, lif = f"fc{number}", f"lif{number}"
        nodes[fc] = Node(fc, Linear(snnir.tensor(weight)), (Value(last),))
        nodes[lif] = Node(lif, Step(snnir.LifStep(), FrozenDict(params), "lif"), (Value(fc),))
        last = lif
    return snnir.Graph(nodes, {"output": Value(last)}, dt or 1e-3, path.stem)
