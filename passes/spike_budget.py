"""How many spikes a change of the graph changes, on given inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnir.artefact import populations
from snnir.errors import error
from snnir.ir.graph import Graph


class SpikeBudget:
    """Compares graphs with one graph by the spikes of its populations.

    Args:
        graph: The graph to compare with.
        x: Inputs, [T, B, *shape] each.

    Raises:
        SnnirError: SNN403 if the graph has no spikes; SNN601 if x does not fit.
    """

    def __init__(self, graph: Graph, x: Any) -> None:
        self.x = x
        self.names = list(populations(graph))
        if not self.names:
            raise error("SNN403", "no neuron spikes, so there are no spikes to budget")
        self.wanted = self.spikes(graph)
        self.total = max(1.0, sum(float(y.sum()) for y in self.wanted.values()))

    def spikes(self, graph: Graph) -> Mapping[str, Any]:
        """Return the spikes of every population."""
        from snnir.driver import compile

        return compile(graph, "numpy", level=0).run(self.x, self.names).recorded

    def difference(self, graph: Graph) -> float:
        """Return how many spikes differ, as a share of those of the graph compared with."""
        found = self.spikes(graph)
        differing = sum(int((found[name] != y).sum()) for name, y in self.wanted.items())
        return differing / self.total
