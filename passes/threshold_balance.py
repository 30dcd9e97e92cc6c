"""Choosing the thresholds of an integer graph so that populations fire as often as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.passes.spike_budget import SpikeBudget
from snnir.progress import counted
from snnir.tensors import FrozenDict, Tensor

#: Thresholds are scaled by 2**-1 to 2**1, halved this often.
_STEPS = 8
_THRESHOLD = "threshold"


class Balance:
    """Scales thresholds, population by population in the order of flow.

    Args:
        graph: The graph in floating point.
        x: Inputs, [T, B, *shape] each.
    """

    def __init__(self, graph: Graph, x: Any) -> None:
        self.budget = SpikeBudget(graph, x)
        self.wanted = {name: float(y.sum()) for name, y in self.budget.wanted.items()}

    def run(self, made: Graph) -> Graph:
        """Return the integer graph with thresholds at which the number of spikes comes closest."""
        for name in counted(self.budget.names, "balancing thresholds"):
            if _THRESHOLD in made.nodes[name].op.whole():
                made = self.balanced(made, name)
        return made

    def balanced(self, made: Graph, name: str) -> Graph:
        """Return the graph with the threshold of one population changed, if that helps."""
        best, least = made, self.excess(made, name)
        low, high = -1.0, 1.0
        for _ in range(_STEPS):
            if least == 0:
                break
            power = (low + high) / 2 if (low, high) != (-1.0, 1.0) else np.sign(least) * 0.5
            tried = scaled(made, name, 2.0**power)
            excess = self.excess(tried, name)
            low, high = (power, high) if excess > 0 else (low, power)
            if abs(excess) < abs(least):
                best, least = tried, excess
        return best

    def excess(self, made: Graph, name: str) -> float:
        """Return by how many spikes a population fires too often."""
        return float(self.budget.spikes(made)[name].sum()) - self.wanted[name]


def scaled(graph: Graph, name: str, factor: float) -> Graph:
    """Return a graph with the whole thresholds of a population times a factor, within its bits."""
    op = graph.nodes[name].op
    assert isinstance(op, Step)
    limits, value = op.whole()[_THRESHOLD], op.params[_THRESHOLD].numpy()
    changed = np.rint(value * factor).clip(limits.low, limits.high).astype(value.dtype)
    editor = graph.edit()
    params = FrozenDict({**op.params, _THRESHOLD: Tensor(changed)})
    editor.set_op(name, replace(op, params=params))
    return editor.graph()
