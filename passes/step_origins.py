"""Origins of what a step program derived from a continuous neuron does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snnir.ir.graph import Graph, Provenance
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Items, Origin, Origins
from snnir.semantic_items import NUMBER_FORMAT, SHARED, Choice, step_items, stepping_items
from snnir.tensors import FrozenDict

_PASS = "pass 'discretize'"


class StepOrigins:
    """Collects them; neurons that agree share one mapping.

    Args:
        graph: The graph of continuous neurons.
        choice: What holds for neurons without a stepping record.
        dtype: Element type of the derived parameters.
    """

    def __init__(self, graph: Graph, choice: Choice, dtype: str) -> None:
        self._known, self._choice, self._dtype = graph.provenance, choice, dtype
        self._nodes: dict[str, Items] = dict(self._known.origins.nodes)
        self._shared: dict[Any, Items] = {}
        #: Items of the whole graph.
        self.whole: dict[str, Origin] = dict(self._known.origins.graph)

    def add(self, name: str, op: Neuron, step: Step) -> None:
        """Note what a neuron became."""
        recorded = self._nodes.get(name)
        stated = step_items(step)
        key = (id(recorded), op.model, op.stepping, tuple(stated.items()))
        if key not in self._shared:
            self._shared[key] = FrozenDict(self._items(recorded or {}, op, step))
        self._nodes[name] = self._shared[key]

    def provenance(self) -> Provenance:
        """Return the provenance of the discrete graph."""
        origins = Origins(FrozenDict(self.whole), FrozenDict(self._nodes))
        return replace(self._known, origins=origins)

    def _items(self, recorded: Items, op: Neuron, step: Step) -> dict[str, Origin]:
        chosen = op.stepping or self._choice.semantics.for_model(op.model)
        made = dict(recorded)
        for name, value in stepping_items(op.definition, chosen).items():
            known = made.get(name)
            if op.stepping is None:
                made[name] = self._choice.origin(name, value)
            elif known is None:
                made[name] = Origin(value)
            elif known.value != value:
                made[name] = known.changed(value, "")
        self._settle(made, op, step)
        made[NUMBER_FORMAT] = self._format(step, made)
        if self._dtype != "f32":
            by = f"{_PASS}, its option dtype"
            made["parameter_format"] = Origin(self._dtype, Origin.GIVEN, by)
        return made

    @staticmethod
    def _settle(made: dict[str, Origin], op: Neuron, step: Step) -> None:
        """Bring the items to what the program does where a model leaves no choice."""
        if op.definition.flow is not None and made["integrator"].value != "euler":
            made["integrator"] = made["integrator"].changed("euler", f"{_PASS}: no linear flow")
        stated = step_items(step)
        for name in SHARED:
            known = made.get(name)
            if known is None or name not in stated or stated[name] == known.value:
                continue
            if name == "reset" and stated[name] == "zero":
                by = f"{known.by or 'not recorded'}: to v_reset, which is 0"
                made[name] = replace(known, value="zero", by=by)
            else:
                made[name] = known.changed(stated[name], _PASS)

    @staticmethod
    def _format(step: Step, made: Items) -> Origin:
        value = step_items(step)[NUMBER_FORMAT]
        form = made.get("form")
        if form is not None and form.value == "fixed":
            return replace(form, value=value, before=None)
        return Origin(value, Origin.ASSUMED, f"{_PASS}: its programs compute in float32")
