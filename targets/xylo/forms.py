"""What a population reads, as matrices."""

from __future__ import annotations

from math import prod

import numpy as np

from snnir.linear_forms import Array, LinearForms
from snnir.targets.xylo.structure import Population, Structure


class Forms:
    """Folds the linear ops before populations.

    Args:
        structure: Of a graph without problems.
    """

    def __init__(self, structure: Structure) -> None:
        self.graph = structure.graph
        self.linear = LinearForms(structure.graph, structure.reads)  # in order of flow

    def of(self, population: Population) -> tuple[dict[str, Array], Array]:
        """Return the matrix [events, neurons] of each source, and the constant [neurons]."""
        node, op = self.graph.nodes[population.name], population.op
        matrices: dict[str, Array] = {}
        constant = np.zeros(prod(self.graph.signal(population.name).shape))
        for index, value in enumerate(node.operands):
            form, gain = self.linear.of(value), np.ones(())
            if index and population.rules.synapse_gain:
                # Only the first input has a gain of its own, which the neuron's response includes.
                gain = 1.0 / op.params["w_in"].numpy().astype(np.float64)
            for source, part in form.parts.items():
                matrix = (part * gain).reshape(len(part), -1)
                matrices[source] = matrices[source] + matrix if source in matrices else matrix
            constant = constant + (form.constant * gain).reshape(-1)
        return matrices, constant
