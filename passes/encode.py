"""Encoders as nodes in front of a network."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from snnir.encoding.nodes import Encoder
from snnir.errors import error, shown
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.structure import Current, Input
from snnir.pipeline import Pass
from snnir.streams import Kind, Signal
from snnir.suggest import hint


@dataclass(frozen=True)
class Encode(Pass):
    """Let the graph make the spikes of an input from numbers.

    The input becomes analog: it takes the datum, held for every step, or the signal of `delta`.
    Spikes are computed by nodes in front of what took the input, the same on every target. The
    encoders are described in docs/encoders.md.

    Attributes:
        kind: `poisson`, `bernoulli`, `rank-order`, `latency`, `delta` or `repeat`.
        input: Name of the input; may be left out if there is one.
        seed: Of the random numbers of `poisson` and `bernoulli`.
        rate: Spikes per second (`poisson`) or probability per step (`bernoulli`) per unit.
        normalize: Of `bernoulli`: divide by the largest element of a sample if it is above 1.
        time: Of `latency` and `rank-order`: steps of a window; the next begins anew.
        code: Of `latency`: `linear` or `charging`.
        threshold: Of `delta`: the least rise that is a spike; of charging: where it fires.
        tau: Of charging: time constant in steps.
        padding: Of `delta`: before the first step the signal was what it is in it, and not 0.
    """

    name: ClassVar[str] = "encode"
    kind: str = "poisson"
    input: str = ""
    seed: int = 0
    rate: float = 1.0
    normalize: bool = False
    time: int = 0
    code: str = "linear"
    threshold: float = 0.1
    tau: float = 1.0
    padding: bool = False

    def __post_init__(self) -> None:
        problem = self.encoder.problem()
        if problem:
            raise error("SNN401", f"pass 'encode': option {problem}")

    @property
    def encoder(self) -> Encoder:
        """The encoder that the options describe."""
        return Encoder(**{f.name: getattr(self, f.name) for f in fields(Encoder)})

    def run(self, graph: Graph) -> Graph:
        """Return the graph with the encoder."""
        name = self._chosen(graph)
        signal = graph.inputs[name]
        editor = graph.edit()
        # What is added for now takes the place of the input while the encoder's nodes read it.
        place = editor.fresh(f"{name}.encoded")
        editor.rewire(Value(name), Value(place))
        editor.put(Node(name, Input(Signal(Kind.ANALOG, signal.shape))))
        spikes = self.encoder.attach(editor, Value(name), signal.shape, graph.dt)
        if signal.kind is Kind.ANALOG and self.kind != "repeat":
            spikes = editor.add(editor.fresh(f"{name}.current"), Current(), (spikes,))
        editor.rewire(Value(place), spikes)
        return editor.graph()

    def _chosen(self, graph: Graph) -> str:
        listed = ", ".join(graph.inputs) or "none"
        if self.input:
            if self.input not in graph.inputs:
                what = f"pass 'encode': there is no input '{shown(self.input)}'"
                raise error("SNN401", what, hint=hint(self.input, graph.inputs, "inputs"))
            return self.input
        if len(graph.inputs) != 1:
            what = f"pass 'encode': option input must name one of the inputs, which are {listed}"
            raise error("SNN401", what)
        return next(iter(graph.inputs))
