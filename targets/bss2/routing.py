"""From a network of integers to a configured chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnir.targets.bss2.attempt import Attempt, attempt
from snnir.targets.bss2.chips import HEMISPHERES, HICANN_X, LABELS, Chip
from snnir.targets.bss2.connectivity import connectivity
from snnir.targets.bss2.demand import Demand, flatten
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.limits import fan_in, least_circuits, neuron_budget, shortages
from snnir.targets.bss2.network import LogicalNetwork
from snnir.targets.bss2.placement import Style
from snnir.targets.bss2.problems import NotRouted, Problem

#: A packing that needs this much more than there is, is not balanced: it would not help.
HOPELESS = 1.3
#: Placements that are balanced.
MOST_BALANCED = 4

SMALLER = "prune weights, make populations smaller, or divide the network between executions"


def route(network: LogicalNetwork, chip: Chip = HICANN_X) -> Execution:
    """Place and route a network as one configuration of a chip.

    Neurons get more circuits than the network says where their inputs need them.

    Args:
        network: Sources, populations and integer weights.
        chip: What there is.

    Raises:
        NotRouted: If it does not fit, with all that is known to be lacking.
        ValueError: If the network is inconsistent.
    """
    problems = shortages(network, chip)
    if problems:
        raise NotRouted(problems)
    demand = flatten(network)
    circuits = least_circuits(network, fan_in(network), chip)
    problems = []
    while True:
        found, ratio = _with_circuits(demand, circuits, chip)
        if isinstance(found, Execution):
            _verify(found, demand, chip)
            return found
        problems = problems or found
        if not _raise_circuits(demand, circuits, ratio, chip):
            break
        lacking = neuron_budget(network, circuits, chip)
        if lacking:
            raise NotRouted([*problems, *lacking])
    raise NotRouted(problems)


def _styles(circuits: Mapping[str, int]) -> Iterator[Style]:
    """Yield ways of placing."""
    for tall in (True, False) if max(circuits.values(), default=1) > 1 else (True,):
        for rows in ("alternate", "together", "spread", "heavy"):
            yield Style(rows, tall)


def _with_circuits(
    demand: Demand, circuits: Mapping[str, int], chip: Chip
) -> tuple[Execution | list[Problem], float]:
    """Return an execution with so many circuits a neuron, or what it lacks.

    Also returned is how many times what there is the fullest bus needs.
    """
    attempts: list[Attempt] = []
    rows: list[int] = []
    bus = None
    for style in _styles(circuits):
        made = attempt(demand, circuits, style, chip)
        if isinstance(made, int):
            rows.append(made)
        elif made is not None:
            attempts.append(made)
            if made.fits:
                found = made.finish()
                if isinstance(found, Execution):
                    return found, 1.0
                bus = (made, found)
    attempts.sort(key=lambda a: a.worst)
    ratio = min(
        [a.worst / chip.drivers for a in attempts] + [r / chip.rows for r in rows], default=1.0
    )
    for made in attempts[:MOST_BALANCED]:
        if made.worst > HOPELESS * chip.drivers:
            break
        for change in (made.balance, made.separate):
            change()
            if made.fits:
                found = made.finish()
                if isinstance(found, Execution):
                    return found, 1.0
                bus = (made, found)
    if bus is not None:
        return [_not_told_apart(*bus)], ratio
    if attempts:
        return _too_full(min(attempts, key=lambda a: a.worst)), ratio
    if rows:
        return [_too_few_rows(demand, min(rows), chip)], ratio
    return [_no_labels(demand)], ratio


def _raise_circuits(demand: Demand, circuits: dict[str, int], ratio: float, chip: Chip) -> bool:
    """Give the neurons with most synapses a column more circuits; whether any has synapses."""
    most = dict.fromkeys(circuits, 0.0)
    for inhibitory in (False, True):
        mine = (demand.weight < 0) == inhibitory
        fans = np.bincount(demand.post[mine], demand.count[mine], demand.neurons)
        for c in demand.network.cells.values():
            top = fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0)
            most[c.name] += float(top) / circuits[c.name]
    name = max(most, key=lambda n: most[n], default="")
    if not name or not most[name] or circuits[name] >= chip.columns:
        return False
    circuits[name] = min(chip.columns, max(circuits[name] + 1, int(circuits[name] * ratio * 0.9)))
    return True


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
            link = (output, 2 * 4 + output % 4)
            if (output, site.address) in seen or execution.crossbar.get(link) != (0, 0):
                raise AssertionError(f"{site.population} {site.index} is not recorded")
            seen.add((output, site.address))


def _fullest(made: Attempt, bus: int) -> str:
    """Return the source with most synapses on a bus."""
    packing = made.packing
    total: dict[str, float] = {}
    for number in np.flatnonzero(packing.group // packing.size == bus):
        name = made.demand.owner(packing.items[number].source)[0]
        total[name] = total.get(name, 0) + float(packing.vectors[number].sum())
    return max(total, key=lambda n: total[n], default="")


def _too_full(made: Attempt) -> list[Problem]:
    """Return which buses lack rows."""
    found = []
    limit = 2 * made.chip.drivers
    for bus, sides in enumerate(made.packing.loads()):
        for side, load in enumerate(sides):
            need = 2 * int(load)
            if need > limit:
                node = _fullest(made, bus)
                text = (
                    f"bus {bus} of hemisphere {side} needs {need} rows of synapses, most of "
                    f"them for {node}, and has {limit}"
                )
                found.append(Problem(node, "RowBudget", need, limit, text, SMALLER))
    return found


def _too_few_rows(demand: Demand, need: int, chip: Chip) -> Problem:
    """Return that a hemisphere lacks rows."""
    fans = np.bincount(demand.post, demand.count, demand.neurons)
    node = demand.owner(demand.channels + int(fans.argmax()))[0]
    text = (
        f"a hemisphere needs {need} rows of synapses at least, most of them for {node}, and "
        f"has {chip.rows}"
    )
    return Problem(node, "RowBudget", need, chip.rows, text, SMALLER)


def _not_told_apart(made: Attempt, bus: int) -> Problem:
    """Return that no addresses separate the groups on a bus."""
    packing = made.packing
    need = len({int(g) for g in packing.group if g // packing.size == bus})
    text = (
        f"bus {bus} carries {need} groups of {LABELS} labels, and {need - 1} at most can be "
        f"told apart by row-select addresses with the rows they need"
    )
    return Problem(_fullest(made, bus), "LabelSpace", need, need - 1, text, "use fewer sources")


def _no_labels(demand: Demand) -> Problem:
    """Return that there was no placement or packing at all."""
    need = demand.neurons
    limit = HEMISPHERES * LABELS
    text = (
        f"{need} neurons and {demand.channels} channels could not be placed and labelled "
        f"({limit} neurons for each event output, in blocks that do not cross the middle)"
    )
    return Problem("", "LabelSpace", need, limit, text, "use fewer sources or circuits a neuron")
