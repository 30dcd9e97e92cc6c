"""From a network of integers to a configured chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.targets.bss2.addressing import Addressing, assign
from snnir.targets.bss2.balance import Balance
from snnir.targets.bss2.chips import BUSES, HICANN_X, Chip
from snnir.targets.bss2.connectivity import connectivity
from snnir.targets.bss2.demand import Demand, flatten
from snnir.targets.bss2.emission import emit
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.limits import fan_in, least_circuits, shortages
from snnir.targets.bss2.network import Array, LogicalNetwork
from snnir.targets.bss2.packing import Packing, Sites, hemispheres, start
from snnir.targets.bss2.placement import Block, Style, place
from snnir.targets.bss2.problems import NotRouted, Problem

#: Exchanges that are tried to balance the buses.
ROUNDS = 400
#: A packing that is over by more than this is not balanced: it would not help.
HOPELESS = 1.3


@dataclass
class Attempt:
    """A placement with its packing, on the way to an execution."""

    style: Style
    shared: bool
    sites: Sites
    side: Array
    packing: Packing

    @property
    def worst(self) -> int:
        """Drivers that the fullest bus needs."""
        return int(self.packing.loads().max())


def route(network: LogicalNetwork, chip: Chip = HICANN_X) -> Execution:
    """Place and route a network as one configuration of a chip.

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
    fans = fan_in(network)
    circuits = least_circuits(network, fans, chip)
    problem: Problem | None = None
    while sum(c.size * circuits[c.name] for c in network.cells.values()) <= chip.circuits:
        execution, found, ratio = _with_circuits(demand, circuits, chip)
        if execution is not None:
            _verify(execution, demand, chip)
            return execution
        problem = found or problem
        if not _raise_circuits(demand, circuits, ratio, chip):
            break
    assert problem is not None
    raise NotRouted([problem])


def _styles(circuits: Mapping[str, int]) -> Iterator[tuple[Style, bool]]:
    """Yield ways of placing, with whether events of the host serve both hemispheres."""
    tall = (True, False) if max(circuits.values(), default=1) > 1 else (True,)
    for shared in (True, False):
        for upright in tall:
            for rows in ("alternate", "together", "spread", "heavy"):
                yield Style(rows, upright), shared


def _with_circuits(
    demand: Demand, circuits: Mapping[str, int], chip: Chip
) -> tuple[Execution | None, Problem | None, float]:
    """Return an execution with so many circuits a neuron, or what is lacking and by what factor."""
    attempts: list[Attempt] = []
    problem: Problem | None = None
    for style, shared in _styles(circuits):
        attempt = _attempt(demand, circuits, style, shared, chip)
        if attempt is None:
            continue
        attempts.append(attempt)
        if attempt.worst <= chip.drivers:
            execution, problem = _finish(demand, attempt, chip)
            if execution is not None:
                return execution, None, 1
    if not attempts:
        return None, problem or _no_labels(demand), 1
    attempts.sort(key=lambda a: a.worst)
    ratio = attempts[0].worst / chip.drivers
    for attempt in attempts:
        if chip.drivers < attempt.worst <= HOPELESS * chip.drivers:
            _balance(demand, attempt, chip)
            if attempt.worst <= chip.drivers:
                execution, problem = _finish(demand, attempt, chip)
                if execution is not None:
                    return execution, None, 1
    best = min(attempts, key=lambda a: a.worst)
    return None, problem or _too_full(demand, best, chip), ratio


def _attempt(
    demand: Demand, circuits: Mapping[str, int], style: Style, shared: bool, chip: Chip
) -> Attempt | None:
    """Return a placement with a first packing, or None if there is none."""
    fans = np.bincount(demand.post, demand.count, demand.neurons)
    load = {
        c.name: int(fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0))
        for c in demand.network.cells.values()
    }
    blocks = place(demand.network, circuits, style, chip, load)
    if blocks is None:
        return None
    sites = Sites.of(blocks, chip)
    side = hemispheres(demand, sites, chip)
    packing = start(demand, sites, side, shared, chip)
    return None if packing is None else Attempt(style, shared, sites, side, packing)


def _balance(demand: Demand, attempt: Attempt, chip: Chip) -> None:
    """Exchange channels, and neurons whose circuits are alike, to make the fullest bus emptier."""
    shapes: dict[tuple[int, ...], int] = {}
    kinds = []
    for item in attempt.packing.items:
        if item.neuron < 0:
            kinds.append(-1 if item.background else 0)
            continue
        block = attempt.sites.blocks[item.neuron]
        row = block[0] // chip.columns
        shape = (row, *(circuit - block[0] for circuit in block))
        kinds.append(shapes.setdefault(shape, len(shapes) + 1))
    before = attempt.packing.group.copy()
    Balance(attempt.packing, kinds, chip.drivers).run(ROUNDS)
    attempt.sites = _moved(attempt, kinds, before)


def _moved(attempt: Attempt, kinds: list[int], before: Array) -> Sites:
    """Return sites after neurons changed their groups: they take each other's circuits."""
    blocks = list(attempt.sites.blocks)
    left: dict[tuple[int, int], list[Block]] = {}
    changed = [
        i
        for i, item in enumerate(attempt.packing.items)
        if item.neuron >= 0 and before[i] != attempt.packing.group[i]
    ]
    for i in changed:
        key = (kinds[i], int(before[i]))
        left.setdefault(key, []).append(blocks[attempt.packing.items[i].neuron])
    for i in changed:
        key = (kinds[i], int(attempt.packing.group[i]))
        blocks[attempt.packing.items[i].neuron] = left[key].pop(0)
    return Sites(tuple(blocks), attempt.sites.columns)


def _finish(
    demand: Demand, attempt: Attempt, chip: Chip
) -> tuple[Execution | None, Problem | None]:
    """Return the execution of a packing that fits, or what cannot be told apart."""
    outputs = np.array(
        [
            chip.event_output(attempt.sites.blocks[i.neuron][0]) if i.neuron >= 0 else -1
            for i in attempt.packing.items
        ],
        np.int64,
    )
    addressing = assign(attempt.packing, outputs, chip.drivers)
    if not isinstance(addressing, Addressing):
        return None, _not_told_apart(attempt, addressing)
    strategy = (
        f"{attempt.style.rows}, {'tall' if attempt.style.tall else 'flat'}, "
        f"{'shared' if attempt.shared else 'separate'} events"
    )
    return emit(
        demand, attempt.sites, attempt.side, attempt.packing, addressing, chip, strategy
    ), None


def _raise_circuits(demand: Demand, circuits: dict[str, int], ratio: float, chip: Chip) -> bool:
    """Give the neurons with most synapses a column more circuits; whether any has synapses."""
    most: dict[str, float] = {}
    for sign in (False, True):
        mine = (demand.weight < 0) == sign
        fans = np.bincount(demand.post[mine], demand.count[mine], demand.neurons)
        for c in demand.network.cells.values():
            top = fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0)
            most[c.name] = most.get(c.name, 0) + top / circuits[c.name]
    name = max(most, key=lambda n: most[n], default="")
    if not name or not most[name] or circuits[name] >= chip.columns:
        return False
    circuits[name] = min(chip.columns, max(circuits[name] + 1, int(circuits[name] * ratio * 0.9)))
    return True


def _verify(execution: Execution, demand: Demand, chip: Chip) -> None:
    """Follow an event of every source: the weights must be those of the network."""
    network = demand.network
    wanted = {(p.source, p.target): np.asarray(p.weights) for p in network.projections}
    for pair, weights in connectivity(execution, chip).items():
        if not np.array_equal(weights, wanted.get(pair, np.zeros_like(weights))):
            raise AssertionError(f"routing realises other weights of {pair[0]} -> {pair[1]}")


def _fullest(demand: Demand, attempt: Attempt, bus: int) -> str:
    """Return the source with most synapses on a bus."""
    packing = attempt.packing
    total: dict[str, float] = {}
    for i in np.flatnonzero(packing.group // packing.size == bus):
        name = demand.owner(packing.items[i].source)[0]
        total[name] = total.get(name, 0) + float(packing.vectors[i].sum())
    return max(total, key=lambda n: total[n], default="")


def _too_full(demand: Demand, attempt: Attempt, chip: Chip) -> Problem:
    """Return that a bus lacks rows."""
    bus, side = divmod(int(attempt.packing.loads().argmax()), 2)
    need, limit = 2 * attempt.worst, 2 * chip.drivers
    node = _fullest(demand, attempt, bus)
    return Problem(
        node,
        "RowBudget",
        need,
        limit,
        f"bus {bus} of hemisphere {side} needs {need} rows of synapses, most of them for {node}, "
        f"and has {limit}",
        "prune weights, make populations smaller or divide the network",
    )


def _not_told_apart(attempt: Attempt, bus: int) -> Problem:
    """Return that no addresses separate the groups on a bus."""
    packing = attempt.packing
    used = len({int(g) for g in packing.group if g // packing.size == bus})
    return Problem(
        "",
        "LabelSpace",
        used,
        BUSES,
        f"bus {bus} carries {used} groups of 64 labels, which no row-select addresses tell apart "
        f"as their rows demand (up to {BUSES} are no difficulty)",
        "use fewer sources",
    )


def _no_labels(demand: Demand) -> Problem:
    """Return that there was no placement or packing at all."""
    need = demand.channels + demand.neurons
    return Problem(
        "",
        "LabelSpace",
        need,
        64 * 32,
        f"{need} sources and neurons were not placed and labelled (64 labels for each address)",
        "use fewer sources or circuits a neuron",
    )
