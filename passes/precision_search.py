"""Choosing the width of every layer under a budget of differing spikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.passes.spike_budget import SpikeBudget
from snnir.progress import counted

#: Widths that are tried, from the widest.
WIDTHS = (16, 12, 10, 8, 7, 6, 5, 4, 3, 2)
Bits = dict[str, int]
#: Bits by layer to the integer graph and the number of weights by layer.
Quantized = Callable[[Mapping[str, int]], tuple[Graph, Mapping[str, int]]]


class Search:
    """Narrows layers, the largest first, as long as the spikes stay within the budget.

    Args:
        graph: The graph in floating point.
        quantized: Bits by layer to the integer graph and the number of weights by layer.
        x: Inputs, [T, B, *shape] each.
        budget: Largest share of differing spikes, of those in floating point.
    """

    def __init__(
        self, graph: Graph, quantized: Quantized,
        x: Any, budget: float,
    ) -> None:  # fmt: skip
        self.quantized, self.limit = quantized, budget
        self.budget = SpikeBudget(graph, x)

    def difference(self, bits: Mapping[str, int]) -> float:
        """Return the share of spikes that differ."""
        return self.budget.difference(self.quantized(bits)[0])

    def run(self, most: int) -> Bits:
        """Return the bits of every layer, `most` or fewer where that suffices.

        Raises:
            SnnirError: SNN403 if 16 bits are too few.
        """
        _, weights = self.quantized({})
        bits: Bits = {}
        for width in sorted({16, most, *WIDTHS} & set(range(most, 17))):
            bits = dict.fromkeys(weights, width)
            least = self.difference(bits)
            if least <= self.limit:
                break
        else:
            raise error(
                "SNN403",
                f"16 bits change {least:.2%} of the spikes, more than the budget of "
                f"{self.limit:.2%}",
                hint="give states more bits, or calibrate on inputs like those of use",
            )
        layers = sorted(weights, key=lambda name: (-weights[name], name))
        for layer in counted(layers, "searching the bits of layers"):
            for width in (w for w in WIDTHS if w < bits[layer]):
                if self.difference({**bits, layer: width}) > self.limit:
                    break
                bits[layer] = width
        return bits
