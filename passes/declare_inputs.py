"""Say what the inputs of a graph carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from snnir.errors import error
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.structure import Current, Input
from snnir.pipeline import Pass
from snnir.streams import Kind


@dataclass(frozen=True)
class DeclareInputs(Pass):
    """Declare real-valued inputs to be spikes or counts, as files in NIR cannot. Exact.

    From then on every run refuses inputs that are something else.

    Attributes:
        kind: `spikes` or `counts`.
    """

    name: ClassVar[str] = "declare-inputs"
    kind: str = "spikes"

    def __post_init__(self) -> None:
        if self.kind not in ("spikes", "counts"):
            what = f"pass 'declare-inputs': option kind is '{self.kind}'"
            raise error("SNN401", what, hint="use spikes or counts")

    def run(self, graph: Graph) -> Graph:
        """Return the graph whose inputs are of that kind."""
        editor = graph.edit()
        analog = [name for name, signal in graph.inputs.items() if signal.kind is Kind.ANALOG]
        if not analog:
            return graph
        for name in analog:
            signal = replace(graph.inputs[name], kind=Kind(self.kind))
            current = editor.fresh(f"{name}.current")
            editor.rewire(Value(name), Value(current))
            editor.put(Node(current, Current(), (Value(name),)))
            editor.set_op(name, Input(signal))
        return editor.graph().apply("remove-identity")
