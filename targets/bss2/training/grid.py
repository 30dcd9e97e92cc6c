"""Weights as whole numbers of the chip, such that compiling them finds the same whole numbers.

The grid of a neuron follows from its largest weight (`mapping.calibration`). Rounding changes that
one, and so may change the grid; here weights are rounded until it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph
from snnir.ir.synapses import Linear
from snnir.linear_forms import follow_reads
from snnir.targets.bss2.chips import MOST_WEIGHT
from snnir.targets.bss2.mapping.calibration import Targets, map_population, rounded
from snnir.targets.bss2.mapping.ranges import check_potentials, check_times
from snnir.targets.bss2.mapping.structure import Population, find_model
from snnir.targets.bss2.plan import Wishes, bias_steps, rules_of

Array = npt.NDArray[Any]

#: Grids that are tried; a second one is nearly always right.
TRIES = 8


@dataclass(frozen=True)
class Mapped:
    """Populations on the chip.

    Attributes:
        targets: Calibration targets and integers, by population.
        every: Steps between events of biases.
    """

    targets: Mapping[str, Targets]
    every: int

    def same(self, other: Mapped) -> bool:
        """Return whether all integers are the same."""
        return self.every == other.every and all(
            np.array_equal(own.constant, other.targets[name].constant)
            and all(
                np.array_equal(w, other.targets[name].weights[s]) for s, w in own.weights.items()
            )
            for name, own in self.targets.items()
        )


class Grid:
    """Whole weights of a graph of linear layers and neurons.

    Args:
        graph: The graph.
        wishes: What is asked of the chip.
        synapses: Names of the linear nodes whose sums populations read, by population.

    Raises:
        SnnirError: SNN501 listing what the chip cannot be.
    """

    def __init__(
        self, graph: Graph, wishes: Wishes, synapses: Mapping[str, tuple[str, ...]]
    ) -> None:
        if graph.dt is None:
            what = "the chip runs in real time, and the graph has no dt"
            raise SnnirError([Diagnostic("SNN501", what, hint="load it with dt")])
        self.wishes, self.dt, self.synapses = wishes, graph.dt, synapses
        model = find_model(graph, self.dt, None)
        problems = list(model.problems)
        if not problems:
            problems += check_times(model.populations.values(), wishes.speedup)
            problems += [p for own in model.populations.values() for p in check_potentials(own)]
        if problems:
            raise SnnirError(problems)
        self.populations = {name: model.populations[name] for name in synapses}
        reads, _ = follow_reads(graph, lambda _, value: frozenset({(value.node, 0)}))
        self.sources = {
            node: sorted({source for source, _ in reads[node]})
            for own in synapses.values()
            for node in own
        }
        self._check(graph)

    def mapped(self, tensors: Mapping[str, Array]) -> Mapped:
        """Return what compiling makes of weights and biases, by `node.attribute`."""
        populations = self._with(tensors)
        every = bias_steps(populations, self.dt, self.wishes)
        rules = rules_of(self.wishes, self.dt, every)
        return Mapped({n: map_population(p, rules) for n, p in populations.items()}, every)

    def settled(self, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], Mapped]:
        """Return rounded weights and biases, of which compiling makes the integers they are.

        Args:
            tensors: Weights [out, in] and biases [out], finite, by `node.attribute`.

        Returns:
            The tensors as they are used, in the model's units, and their integers on the chip.
        """
        found = self.mapped(tensors)
        # A grid that becomes finer may not push a weight into a second synapse.
        most = {name: np.maximum(_largest(own), MOST_WEIGHT) for name, own in found.targets.items()}
        for _ in range(TRIES):
            whole = self._whole(tensors, found, most)
            used = {
                name: (value * self._unit(name, found)).astype(tensors[name].dtype)
                for name, value in whole.items()
            }
            again = self.mapped(used)
            settled = self._integers(whole, found).same(again)
            found = again
            if settled:
                break
        return used, found

    def population_of(self, tensor: str) -> str:
        """Return the population whose synapses a tensor is."""
        node = tensor.rsplit(".", 1)[0]
        return next(name for name, own in self.synapses.items() if node in own)

    def _check(self, graph: Graph) -> None:
        """Refuse graphs whose weights are not those of their linear nodes."""
        tensors = {
            f"{node}.{key}": tensor.numpy()
            for node in self.sources
            for key, tensor in graph.nodes[node].op.tensors().items()
        }
        assert all(isinstance(graph.nodes[node].op, Linear) for node in self.sources)
        for name, own in self._with(tensors).items():
            known = self.populations[name]
            fine = own.weights.keys() == known.weights.keys() and all(
                np.allclose(own.weights[source], known.weights[source]) for source in own.weights
            )
            if not (fine and np.allclose(own.constant, known.constant)):
                what = "reads the same sum more than once"
                raise SnnirError([Diagnostic("SNN501", what, name, hint="read it once")])

    def _with(self, tensors: Mapping[str, Array]) -> dict[str, Population]:
        """Return the populations with other weights."""
        found = {}
        for name, population in self.populations.items():
            constant = np.zeros(population.size)
            weights: dict[str, Array] = {}
            for node in self.synapses[name]:
                weight = np.asarray(tensors[f"{node}.weight"], np.float64)
                for source in self.sources[node]:
                    weights[source] = weights.get(source, 0.0) + weight
                constant = constant + np.asarray(tensors.get(f"{node}.bias", 0.0), np.float64)
            found[name] = replace(population, weights=weights, constant=constant)
        return found

    def _unit(self, tensor: str, mapped: Mapped) -> Array:
        """Return what 1 of the chip is in a tensor, in a shape that goes with its own."""
        per_unit = mapped.targets[self.population_of(tensor)].per_unit
        is_weight = tensor.endswith(".weight")
        unit: Array = 1 / per_unit[:, None] if is_weight else 1 / (mapped.every * per_unit)
        return unit

    def _whole(
        self, tensors: Mapping[str, Array], mapped: Mapped, most: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return integers by tensor."""
        found = {}
        for name, value in tensors.items():
            limit = most[self.population_of(name)]
            exact = value.astype(np.float64) / self._unit(name, mapped)
            limit = limit[:, None] if value.ndim == 2 else limit
            found[name] = np.clip(rounded(exact), -limit, limit)
        return found

    def _integers(self, whole: Mapping[str, Array], mapped: Mapped) -> Mapped:
        """Return what integers of tensors are together."""
        own = self._with(whole)
        targets = {
            name: replace(
                targets, constant=own[name].constant.astype(np.int64),
                weights={s: w.astype(np.int64) for s, w in own[name].weights.items()},
            )
            for name, targets in mapped.targets.items()
        }  # fmt: skip
        return replace(mapped, targets=targets)


def _largest(targets: Targets) -> Array:
    """Return the largest weight onto every neuron, [N]."""
    parts = [np.abs(w).max(axis=1, initial=0) for w in targets.weights.values()]
    result: Array = np.max([np.abs(targets.constant), *parts], axis=0)
    return result
