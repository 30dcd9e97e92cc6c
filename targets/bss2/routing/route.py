"""From a network of integers to a configured chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES, HICANN_X, Chip
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.network import LogicalNetwork
from snnir.targets.bss2.routing.attempt import Attempt
from snnir.targets.bss2.routing.canonical import canonical
from snnir.targets.bss2.routing.connectivity import connectivity
from snnir.targets.bss2.routing.demand import Demand, flatten
from snnir.targets.bss2.routing.emission import facts_of
from snnir.targets.bss2.routing.exhaustive import arrange, few
from snnir.targets.bss2.routing.limits import fan_in, least_circuits, neuron_budget, shortages
from snnir.targets.bss2.routing.packing import Sites, hemispheres, start
from snnir.targets.bss2.routing.placement import Style, place
from snnir.targets.bss2.routing.problems import NotRouted, Problem
from snnir.targets.bss2.routing.realisation import realise
from snnir.targets.bss2.routing.refusals import (
    no_labels,
    no_room,
    not_told_apart,
    too_few_rows,
    too_full,
)

#: A packing that needs this much more than there is, is not balanced: it would not help.
HOPELESS = 1.3
#: Placements that are balanced.
MOST_BALANCED = 3
#: Multiplications that are spent on balancing the buses: a second or two.
WORK = 3e9


@dataclass
class _Search:
    """Attempts with the same circuits a neuron, and what they lacked."""

    demand: Demand
    circuits: Mapping[str, int]
    chip: Chip
    attempts: list[Attempt] = field(default_factory=list)
    problems: list[list[Problem]] = field(default_factory=list)
    apart: Problem | None = None
    work: float = WORK

    def run(self) -> Execution | None:
        """Return the first execution that is found."""
        for style in _styles(self.circuits):
            made = self._attempt(style)
            if made is not None:
                self.attempts.append(made)
                found = self._finish(made)
                if found is not None:
                    return found
        self.attempts.sort(key=lambda a: a.worst)
        for made in self.attempts[:MOST_BALANCED]:
            if made.worst > HOPELESS * self.chip.drivers:
                break
            for change in (made.balance, made.separate):
                self.work = change(self.work)
                found = self._finish(made)
                if found is not None:
                    return found
        return None

    def _attempt(self, style: Style) -> Attempt | None:
        """Return a placement with a first packing, if nothing certainly lacks."""
        demand, chip = self.demand, self.chip
        blocks = place(demand.network, self.circuits, style, chip, _most(demand))
        if blocks is None:
            self.problems.append([no_room(demand, self.circuits, chip)])
            return None
        sites = Sites.of(blocks, chip)
        side = hemispheres(demand, sites, chip)
        problems = too_few_rows(demand, sites, side, chip)
        if problems:
            self.problems.append(problems)
            return None
        packing = start(demand, sites, side, chip)
        if packing is None:
            self.problems.append([no_labels(demand, chip)])
            return None
        return Attempt(demand, style, sites, side, packing, chip)

    def _finish(self, made: Attempt) -> Execution | None:
        """Return the execution of an attempt that fits and whose groups can be told apart."""
        if not made.fits:
            return None
        found = made.finish()
        if isinstance(found, Execution):
            return found
        self.apart = not_told_apart(made, found)
        return None

    def lacking(self) -> list[Problem]:
        """Return what the attempt that was nearest lacked."""
        if self.apart is not None:
            return [self.apart]
        if self.attempts:
            return too_full(min(self.attempts, key=lambda a: a.worst))
        return min(self.problems, key=lambda p: max(q.need / q.limit for q in p))

    def narrow(self) -> tuple[str, float]:
        """Return the population that needs more circuits most, and how many times as many."""
        rows = [p for p in self.lacking() if p.resource == "RowBudget"]
        ratio = max((p.need / p.limit for p in rows), default=1.0)
        if self.attempts:
            return min(self.attempts, key=lambda a: a.worst).crowded, ratio
        return (rows[0].node if rows else ""), ratio


def route(network: LogicalNetwork, chip: Chip = HICANN_X, work: float = WORK) -> Execution:
    """Place and route a network as one configuration of a chip.

    Neurons get more circuits than the network says where their inputs need them.

    Args:
        network: Sources, populations and integer weights.
        chip: What there is.
        work: Multiplications that may be spent on balancing the buses.

    Raises:
        NotRouted: If it does not fit, with all that is known to be lacking.
        ValueError: If the network is inconsistent.
    """
    problems = shortages(network, chip)
    if problems and not few(network):
        raise NotRouted(problems)
    demand = flatten(network)
    found = problems or _searched(demand, chip, work)
    if not isinstance(found, Execution):
        # What it lacked is what is told: why every other placement failed would fill a page.
        arrangement = arrange(demand, chip)
        made = realise(demand, arrangement, chip) if arrangement else None
        if made is None:
            raise NotRouted(found)
        found = made
    found = canonical(found, chip)
    _verify(found, demand, chip)
    return replace(found, facts=facts_of(found, chip))


def _searched(demand: Demand, chip: Chip, work: float) -> Execution | list[Problem]:
    """Return an execution, or what the first search lacked and more circuits do not help."""
    circuits = least_circuits(demand.network, fan_in(demand.network), chip)
    problems: list[Problem] = []
    while True:
        search = _Search(demand, circuits, chip, work=work)
        found = search.run()
        if found is not None:
            return found
        problems, work = problems or search.lacking(), search.work
        more = _more_circuits(search)
        if isinstance(more, list):
            return [*problems, *more]
        circuits = more


def _styles(circuits: Mapping[str, int]) -> Iterator[Style]:
    """Yield ways of placing."""
    for tall in (True, False) if max(circuits.values(), default=1) > 1 else (True,):
        for rows in ("alternate", "together", "spread", "heavy"):
            yield Style(rows, tall)


def _most(demand: Demand) -> dict[str, int]:
    """Return the synapses of the neuron with most, by population."""
    fans = np.bincount(demand.post, demand.count, demand.neurons)
    return {
        c.name: int(fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0))
        for c in demand.network.cells.values()
    }


def _more_circuits(search: _Search) -> dict[str, int] | list[Problem]:
    """Return more circuits for the neurons with most synapses on the fullest bus.

    Where that takes more than there are, this is returned.
    """
    name, ratio = search.narrow()
    now = search.circuits.get(name, search.chip.columns)
    if now >= search.chip.columns:
        return []
    more = max(now + 1, min(search.chip.columns, int(0.9 * now * ratio)))
    circuits = {**search.circuits, name: more}
    return neuron_budget(search.demand.network, circuits, search.chip) or circuits


def _verify(execution: Execution, demand: Demand, chip: Chip) -> None:
    """Follow an event of every source: the weights must be those of the network.

    Raises:
        AssertionError: If they are not, or if the host cannot tell neurons apart.
    """
    wanted = {(p.source, p.target): p.weights for p in demand.network.projections}
    real = connectivity(execution, chip)
    for pair in wanted.keys() | real.keys():
        if not np.array_equal(real.get(pair, 0 * wanted.get(pair, 0)), wanted.get(pair, 0)):
            raise AssertionError(f"routing realises other weights of {pair[0]} -> {pair[1]}")
    seen = set()
    for site in execution.sites:
        if demand.network.cells[site.population].spiking:
            output = chip.event_output(site.circuits[0])
            link = (output, HEMISPHERES * BUSES + output % BUSES)
            mask, target = execution.crossbar.get(link, (0, -1))
            missed = (site.address | output << 8) & mask != target
            if (output, site.address) in seen or missed:
                raise AssertionError(f"{site.population} {site.index} is not recorded")
            seen.add((output, site.address))
