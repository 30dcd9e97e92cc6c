"""Set small weights to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.passes.spike_budget import SpikeBudget
from snnir.pipeline import APPROXIMATE, Pass
from snnir.running import read_array
from snnir.tensors import Tensor

Array = npt.NDArray[Any]
#: Halvings with which an amount is found under a budget.
_HALVINGS = 12


@dataclass(frozen=True)
class Prune(Pass):
    """Set the smallest weights of matrices and convolutions to zero.

    Attributes:
        amount: Share of weights to be zero, from 0 to 1; the zeros already there count.
        scope: `layer` (that share of every layer) or `graph` (the smallest of all layers, each
            relative to the largest weight of its layer).
        budget: Instead of an amount: the largest share of differing spikes on the calibration
            inputs; as much is pruned as that allows.
        calibrate: A .npz (or .npy) with inputs [T, B, *shape], for the budget.
    """

    name: ClassVar[str] = "prune"
    fidelity: ClassVar[str] = APPROXIMATE
    amount: float = 0.5
    scope: str = "layer"
    budget: float = 0.0
    calibrate: str = ""

    def __post_init__(self) -> None:
        for name in ("amount", "budget"):
            if not 0 <= getattr(self, name) <= 1:
                what = f"pass 'prune': option {name} is {getattr(self, name)}"
                raise error("SNN401", what, hint="it is a share from 0 to 1")
        if self.scope not in ("layer", "graph"):
            what = f"pass 'prune': option scope is '{self.scope}'"
            raise error("SNN401", what, hint="use layer or graph")
        if self.budget and not self.calibrate:
            hint = "give --calibrate X.npz or calibrate="
            raise error("SNN401", "pass 'prune': a budget needs calibration inputs", hint=hint)

    def run(self, graph: Graph) -> Graph:
        """Return the pruned graph.

        Raises:
            SnnirError: SNN601 if the calibration inputs do not fit.
        """
        weights = {
            node.name: node.op.weight.numpy()
            for node in graph.nodes.values()
            if isinstance(node.op, (Linear, Conv1d, Conv2d))
            and node.op.weight.is_resolved
            and node.op.weight.dtype.startswith("f")
        }
        if not weights:
            return graph
        if not self.budget:
            return _pruned(graph, weights, self.amount, self.scope)
        if any(isinstance(node.op, Neuron) for node in graph.nodes.values()):
            hint = "run discretize before prune"
            raise error("SNN401", "pass 'prune': a budget needs step programs", hint=hint)
        budget = SpikeBudget(graph, read_array(self.calibrate))
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            changed = budget.difference(_pruned(graph, weights, middle, self.scope))
            low, high = (middle, high) if changed <= self.budget else (low, middle)
        return _pruned(graph, weights, low, self.scope)


def _pruned(graph: Graph, weights: Mapping[str, Array], amount: float, scope: str) -> Graph:
    """Return a graph without that share of weights."""
    sizes = {name: _relative(weight) for name, weight in weights.items()}
    if scope == "graph":
        every = np.concatenate([size.reshape(-1) for size in sizes.values()])
        limits = dict.fromkeys(sizes, _limit(every, amount))
    else:
        limits = {name: _limit(size.reshape(-1), amount) for name, size in sizes.items()}
    editor = graph.edit()
    for name, weight in weights.items():
        op = graph[name].op
        assert isinstance(op, (Linear, Conv1d, Conv2d))
        kept = np.where(sizes[name] > limits[name], weight, weight.dtype.type(0))
        editor.set_op(name, replace(op, weight=Tensor(kept)))
    zeros = sum(
        int((editor.nodes[name].op.tensors()["weight"].numpy() == 0).sum()) for name in sizes
    )
    total = sum(size.size for size in sizes.values())
    notes = (*graph.provenance.notes, f"pruned: {zeros} of {total} weights are zero")
    return editor.graph(provenance=replace(graph.provenance, notes=notes))


def _relative(weight: Array) -> Array:
    size = np.abs(weight.astype(np.float64))
    largest = size.max(initial=0.0)
    relative: Array = size / largest if largest > 0 else size
    return relative


def _limit(sizes: Array, amount: float) -> float:
    """Return the size up to which so large a share of weights goes; equal ones go together."""
    count = round(amount * sizes.size)
    return -1.0 if count == 0 else float(np.partition(sizes, count - 1)[count - 1])
