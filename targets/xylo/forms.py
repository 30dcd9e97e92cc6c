"""What a population reads, as matrices: the linear ops of the graph folded in float64."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.ir.graph import Node, Value
from snnir.ir.timing import Delay
from snnir.targets.xylo.structure import Population, Structure

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """constant + the sum over sources of events @ matrix; how late events are is known elsewhere.

    Attributes:
        parts: [events, *shape] by source.
        constant: [*shape].
    """

    parts: dict[str, Array]
    constant: Array


class Forms:
    """Folds the linear ops before populations.

    Args:
        structure: Of a graph without problems.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.graph = structure.graph
        self._known: dict[str, Form] = {}
        for name in structure.reads:  # in order of flow
            self._known[name] = self._fold(self.graph.nodes[name])

    def of(self, population: Population) -> tuple[dict[str, Array], Array]:
        """Return the matrix [events, neurons] of each source, and the constant [neurons]."""
        node, op = self.graph.nodes[population.name], population.op
        matrices: dict[str, Array] = {}
        constant = np.zeros(prod(self.graph.signal(population.name).shape))
        for index, value in enumerate(node.operands):
            form, gain = self._form(value), np.ones(())
            if index and population.rules.synapse_gain:
                # Only the first input has a gain of its own, which the neuron's response includes.
                gain = 1.0 / op.params["w_in"].numpy().astype(np.float64)
            for source, part in form.parts.items():
                matrix = (part * gain).reshape(len(part), -1)
                matrices[source] = matrices[source] + matrix if source in matrices else matrix
            constant = constant + (form.constant * gain).reshape(-1)
        return matrices, constant

    def _form(self, value: Value) -> Form:
        if value.node in self._known:
            return self._known[value.node]
        shape = self.graph.signals[value].shape
        unit = np.eye(prod(shape)).reshape(-1, *shape)
        return Form({value.node: unit}, np.zeros(shape))

    def _fold(self, node: Node) -> Form:
        forms = [self._form(value) for value in node.operands]
        if isinstance(node.op, Delay):
            return forms[0]  # a source is read after one delay only, and constants stay
        constant = self._apply(node, [form.constant[None] for form in forms])
        without = self._apply(node, [np.zeros_like(form.constant)[None] for form in forms])
        parts = {}
        for source in sorted({source for form in forms for source in form.parts}):
            none = self.structure.size(source)
            operands = [
                form.parts.get(source, np.zeros((none, *form.constant.shape))) for form in forms
            ]
            parts[source] = self._apply(node, operands) - without
        return Form(parts, constant[0])

    def _apply(self, node: Node, operands: list[Array]) -> Array:
        call = node.op.call([self.graph.signals[value] for value in node.operands])
        given: dict[str, Any] = {key: value.numpy() for key, value in call.tensors.items()}
        given |= call.options
        result: Array = getattr(kernels, call.function)(*operands, **given)
        return np.asarray(result, np.float64)
