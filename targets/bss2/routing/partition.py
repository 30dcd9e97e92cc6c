"""Networks that are too large for the chip, in parts that run one after another.

A part has whole populations, or a slice of one. Spikes of earlier parts are recorded and sent again
by the host, so what is connected in a circle has to be in one part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from snnir.targets.bss2.chips import HICANN_X, Chip
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import Array, LogicalNetwork, Projection, Source
from snnir.targets.bss2.routing.demand import checked
from snnir.targets.bss2.routing.limits import fan_in, least_circuits, neuron_budget, shortages
from snnir.targets.bss2.routing.problems import NotRouted, Problem
from snnir.targets.bss2.routing.route import WORK, route

#: Multiplications that are spent on balancing a part: there are many to be tried.
WORK_OF_PART = WORK / 10
#: Networks that take more are refused.
MOST_EXECUTIONS = 64


@dataclass(frozen=True)
class Piece:
    """Neurons of a population that are computed in one execution.

    Attributes:
        name: Population.
        first, size: Which of them.
    """

    name: str
    first: int
    size: int


def partition(network: LogicalNetwork, chip: Chip = HICANN_X) -> list[Execution]:
    """Place and route a network as one execution, or as several that run one after another.

    Populations of earlier executions are sources (of their full size) in the networks of later
    ones. A population that is computed in several executions has its full size in the networks of
    each, with weights of 0 to neurons of other executions; sites are only those of neurons it
    computes.

    Args:
        network: Sources, populations and integer weights.
        chip: What there is.

    Raises:
        NotRouted: If neurons that have to run together, or a single neuron, do not fit.
        ValueError: If the network is inconsistent.
    """
    try:
        return [route(network, chip)]
    except NotRouted as refused:
        whole = refused
    if len(network.cells) < 2 and all(cells.size < 2 for cells in network.cells.values()):
        raise whole
    circuits = least_circuits(network, fan_in(network), chip)
    problems = [p for p in shortages(network, chip) if p.resource == "FanIn"]
    problems += neuron_budget(network, circuits, chip, MOST_EXECUTIONS)
    if problems:
        raise NotRouted(problems)
    return _Parts(network, circuits, chip).all()


class _Parts:
    """Executions that have been made, and pieces of the one that is being made."""

    def __init__(self, network: LogicalNetwork, circuits: Mapping[str, int], chip: Chip):
        self.network, self.circuits, self.chip = network, circuits, chip
        self.weights = {
            (p.source, p.target): checked(network, p.source, p.target, p.weights)
            for p in network.projections
        }
        self.reads: dict[str, set[str]] = {name: set() for name in network.cells}
        for (source, target), weights in self.weights.items():
            if source in network.cells and weights.any():
                self.reads[target].add(source)
        self.known: dict[tuple[Piece, ...], Execution] = {}
        self.done: list[Execution] = []
        self.open: list[Piece] = []
        self.routed: Execution | None = None

    def all(self) -> list[Execution]:
        """Return the executions of all populations."""
        problems: list[Problem] = []
        for component in _components(self.network, self.reads):
            try:
                self._add(component)
            except NotRouted as refused:
                # The others are looked at all the same: to say at once all that does not fit.
                problems += refused.problems
        if problems:
            raise NotRouted(dict.fromkeys(problems))
        self._close()
        return self.done

    def _add(self, component: Sequence[str]) -> None:
        """Add populations to the execution that is being made, or to new ones."""
        pieces = [Piece(name, 0, self.network.cells[name].size) for name in component]
        if self._whole(component) and self._try([*self.open, *pieces]):
            return
        self._close()
        if self._try(pieces):
            return
        name = component[0]
        if len(component) > 1 or name in self.reads[name]:
            self._refuse(component, pieces)
        for piece in self._slices(name):
            self._close()
            self.open = [piece]
            self.routed = self._route([piece])

    def _whole(self, component: Iterable[str]) -> bool:
        """Whether what these populations read is not just in part in the open execution."""
        partial = {p.name for p in self.open if p.size < self.network.cells[p.name].size}
        return not any(self.reads[name] & partial for name in component)

    def _try(self, pieces: list[Piece]) -> bool:
        """Whether pieces can be one execution; it is kept if so."""
        try:
            routed = self._route(pieces)
        except NotRouted:
            return False
        self.open, self.routed = pieces, routed
        return True

    def _close(self) -> None:
        if self.routed is not None:
            self.done.append(self.routed)
        self.open, self.routed = [], None

    def _slices(self, name: str) -> list[Piece]:
        """Return slices of a population, about as large, so few as they can be routed.

        Raises:
            NotRouted: If not even a single neuron fits.
        """
        size = self.network.cells[name].size
        number = max(2, -(-self.circuits[name] * size // self.chip.circuits))
        while number < size:
            pieces = self._cut(name, number)
            if self._fit(pieces):
                return pieces
            number = max(number + 1, number * 9 // 8)
        pieces = self._cut(name, size)
        if not self._fit(pieces):
            self._refuse([name], pieces)
        return pieces

    def _cut(self, name: str, number: int) -> list[Piece]:
        """Return so many slices of a population."""
        bounds = [n * self.network.cells[name].size // number for n in range(number + 1)]
        return [Piece(name, a, b - a) for a, b in pairwise(bounds)]

    def _fit(self, pieces: Iterable[Piece]) -> bool:
        """Whether each piece can be an execution."""
        try:
            for piece in pieces:
                self._route([piece])
        except NotRouted:
            return False
        return True

    def _refuse(self, component: Sequence[str], pieces: Sequence[Piece]) -> None:
        """Raise why pieces that have to run together, or one of single neurons, do not fit."""
        together = len(component) > 1 or component[0] in self.reads[component[0]]
        why = "a neuron has to run as a whole: prune its weights"
        if together:
            why = (
                f"{' and '.join(component)} are connected in a circle and have to run together: "
                "prune weights or make them smaller"
            )
        try:
            for part in [pieces] if together else [[piece] for piece in pieces]:
                self._route(part)
        except NotRouted as refused:
            raise NotRouted(replace(p, hint=why) for p in refused.problems) from None

    def _route(self, pieces: Sequence[Piece]) -> Execution:
        """Return the execution of pieces."""
        key = tuple(pieces)
        if key not in self.known:
            self.known[key] = self._make(pieces)
        return self.known[key]

    def _make(self, pieces: Sequence[Piece]) -> Execution:
        routed = route(self._sub(pieces, cut=True), self.chip, WORK_OF_PART)
        first = {piece.name: piece.first for piece in pieces}
        sites = tuple(replace(s, index=s.index + first[s.population]) for s in routed.sites)
        return replace(routed, network=self._sub(pieces, cut=False), sites=sites)

    def _sub(self, pieces: Sequence[Piece], cut: bool) -> LogicalNetwork:
        """Return the network of pieces: cut to them, or in full size with weights of 0."""
        network = self.network
        of = {piece.name: slice(piece.first, piece.first + piece.size) for piece in pieces}
        cells = {}
        for piece in pieces:
            size = piece.size if cut else network.cells[piece.name].size
            cells[piece.name] = replace(network.cells[piece.name], size=size)
        projections = []
        for (source, target), weights in self.weights.items():
            if target in of:
                part = weights[of[target]]
                if part.any():
                    part = part if cut else _only(weights, of[target])
                    projections.append(Projection(source, target, part))
        read = {projection.source for projection in projections} - cells.keys()
        sources: dict[str, Source] = {n: s for n, s in network.sources.items() if n in read}
        sources |= {n: Source(n, c.size) for n, c in network.cells.items() if n in read}
        return LogicalNetwork(sources, cells, tuple(projections))


def _only(weights: Array, rows: slice) -> Array:
    """Return weights with all rows but these 0."""
    # Not zeros_like, which takes memory for what is never looked at.
    found = np.zeros(weights.shape, weights.dtype)
    found[rows] = weights[rows]
    return found


def _components(
    network: LogicalNetwork, reads: Mapping[str, Iterable[str]]
) -> list[tuple[str, ...]]:
    """Return populations that are connected in a circle together, each after what it reads."""
    # Heavy to import, and not needed to list targets.
    import networkx as nx

    order = {name: n for n, name in enumerate(network.cells)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(network.cells)
    graph.add_edges_from((s, name) for name in network.cells for s in sorted(reads[name]))
    condensed = nx.condensation(graph)
    members = {
        c: tuple(sorted(condensed.nodes[c]["members"], key=order.__getitem__)) for c in condensed
    }
    sort = nx.lexicographical_topological_sort(condensed, key=lambda c: order[members[c][0]])
    return [members[c] for c in sort]
