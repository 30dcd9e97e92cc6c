"""Finding the pass of a pipeline that changes spikes or fails."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.artefact import populations
from snnir.errors import SnnirError
from snnir.ir.graph import Graph
from snnir.pipeline import Manager, Pass
from snnir.pipeline_text import parse_pipeline
from snnir.progress import progress
from snnir.streams import Kind

#: Relative difference of analog outputs that rounding in another order may bring.
_CLOSE = 1e-5


@dataclass(frozen=True)
class Guilty:
    """The first pass after which something is wrong.

    Attributes:
        number: Its place in the pipeline, from 1.
        spec: The pass as text.
        what: What is wrong after it.
        before, after: The graphs around it; `after` is None if the pass failed.
    """

    number: int
    spec: str
    what: str
    before: Graph
    after: Graph | None


def bisect(graph: Graph, pipeline: str, x: Mapping[str, Any]) -> Guilty | None:
    """Return the first pass after which spikes differ from those of the graph given.

    The pipeline is halved, so that few prefixes of it run; what was wrong is taken to stay wrong.

    Args:
        graph: The graph.
        pipeline: Passes as text.
        x: [T, B, *shape] for every input.

    Returns:
        The pass, or None if the whole pipeline changes nothing.

    Raises:
        SnnirError: SNN401 if the pipeline cannot be read; whatever the graph itself raises.
    """
    passes = parse_pipeline(pipeline)
    reference = _Reference(graph, x)
    good, bad = 0, len(passes)
    with progress("looking for the pass", 1 + math.ceil(math.log2(max(1, bad)))) as step:
        found = reference.wrong(passes)
        if not found:
            return None
        while bad - good > 1:
            step()
            middle = (good + bad) // 2
            what = reference.wrong(passes[:middle])
            if what:
                bad, found = middle, what
            else:
                good = middle
    after = None if found.startswith("error") else Manager().run(graph, passes[:bad]).graph
    before = Manager().run(graph, passes[:good]).graph
    return Guilty(bad, str(passes[bad - 1]), found, before, after)


class _Reference:
    """What a graph does, to compare others with."""

    def __init__(self, graph: Graph, x: Mapping[str, Any]) -> None:
        self.graph, self.x = graph, x
        self.outputs, self.spikes, self.lasting = self.run(graph)

    def run(self, graph: Graph) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        from snnir.driver import compile

        made = compile(graph, "numpy", level=0)
        result = made.run(self.x, list(populations(made.graph)))
        return result.outputs, result.recorded, result.lasting

    def wrong(self, passes: list[Pass]) -> str:
        """Return what is wrong after some passes, or nothing."""
        try:
            outputs, spikes, lasting = self.run(Manager().run(self.graph, passes).graph)
        except SnnirError as failure:
            return str(failure).splitlines()[0]
        for name, y in self.spikes.items():
            other = spikes.get(name)
            if other is not None and other.shape == y.shape and (other != y).any():
                return f"{int((other != y).sum())} of {int(y.sum())} spikes of '{name}' differ"
        for name, y in self.lasting.items():
            other = lasting.get(name)
            if other is not None and other.shape == y.shape and (other != y).any():
                return f"{int((other != y).sum())} of {y.size} values of '{name}' differ in the end"
        for name, y in self.outputs.items():
            other = outputs[name]
            analog = self.graph.signals[self.graph.outputs[name]].kind is Kind.ANALOG
            room = _CLOSE * float(np.abs(y).max(initial=0.0)) if analog else 0.0
            largest = float(np.abs(other - y).max(initial=0.0))
            if largest > room:
                return f"output '{name}' differs by up to {largest:.3g}"
        return ""
