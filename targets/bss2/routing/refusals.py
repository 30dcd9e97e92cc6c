"""What an attempt to place and route lacked, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.targets.bss2.chips import HEMISPHERES, LABELS, Chip
from snnir.targets.bss2.network import Array
from snnir.targets.bss2.routing.attempt import Attempt
from snnir.targets.bss2.routing.demand import Demand
from snnir.targets.bss2.routing.packing import Sites
from snnir.targets.bss2.routing.problems import Problem

SMALLER = "prune weights, make populations smaller, or divide the network between executions"


def too_full(made: Attempt) -> list[Problem]:
    """Return that buses lack rows: the fullest of them."""
    limit = 2 * made.chip.drivers
    loads = 2 * made.packing.loads()
    bus, side = divmod(int(loads.argmax()), HEMISPHERES)
    need, over = int(loads.max()), int((loads > limit).sum())
    node = _fullest(made, bus)
    text = (
        f"bus {bus} of hemisphere {side} needs {need} rows of synapses, most of them for events "
        f"of {node}, and has {limit}"
    )
    if over > 1:
        text += f"; {over} of {loads.size} buses need more than they have"
    return [Problem(node, "RowBudget", need, limit, text, SMALLER)]


def too_few_rows(demand: Demand, sites: Sites, side: Array, chip: Chip) -> list[Problem]:
    """Return which hemispheres lack rows however their events are shared out between buses.

    A hemisphere has to have as many rows of a sign as the column with most such synapses.
    """
    found = []
    for h in range(HEMISPHERES):
        rows, neuron, most = 0, 0, 0.0
        for inhibitory in (False, True):
            mine = (side == h) & ((demand.weight < 0) == inhibitory)
            fans = np.bincount(demand.post[mine], demand.count[mine], demand.neurons)
            fans = np.ceil(fans / np.maximum(sites.columns[h], 1) - 1e-6)
            top = float(fans.max(initial=0))
            rows += int(top)
            if top > most:
                neuron, most = int(fans.argmax()), top
        if rows > chip.rows:
            node = demand.owner(demand.channels + neuron)[0]
            text = (
                f"hemisphere {h} needs {rows} rows of synapses, most of them for inputs of "
                f"{node}, and has {chip.rows}"
            )
            found.append(Problem(node, "RowBudget", rows, chip.rows, text, SMALLER))
    return found


def not_told_apart(made: Attempt, bus: int) -> Problem:
    """Return that no addresses separate the groups on a bus."""
    packing = made.packing
    need = len({int(g) for g in packing.group if g // packing.size == bus})
    text = (
        f"bus {bus} carries {need} groups of {LABELS} labels, and {need - 1} at most can be "
        "told apart by row-select addresses with the rows they need"
    )
    return Problem(_fullest(made, bus), "LabelSpace", need, need - 1, text, "use fewer sources")


def no_room(demand: Demand, circuits: Mapping[str, int], chip: Chip) -> Problem:
    """Return that blocks of merged circuits cannot be laid side by side."""
    cells = demand.network.cells.values()
    need = sum(c.size * 2 * -(-circuits[c.name] // 2) for c in cells if circuits[c.name] > 1)
    need += sum(c.size for c in cells if circuits[c.name] == 1)
    widest = max((c.name for c in cells if c.size), key=lambda name: circuits[name], default="")
    text = (
        f"{need} neuron circuits are needed for blocks side by side (two a column, none across "
        f"the middle; {widest} has {circuits.get(widest, 0)} for each neuron), the chip has "
        f"{chip.circuits}"
    )
    return Problem(widest, "NeuronBudget", need, chip.circuits, text, SMALLER)


def no_labels(demand: Demand, chip: Chip) -> Problem:
    """Return that events of the sources do not have enough labels on the buses they reach."""
    need = len(np.unique(demand.pre))
    limit = 4 * min(32, chip.drivers) * LABELS
    text = (
        f"{need} sources have synapses, and labels and addresses that reach a hemisphere tell "
        f"{limit} apart at most, on each bus as many as drivers allow"
    )
    node = demand.owner(int(np.bincount(demand.pre).argmax()))[0] if need else ""
    return Problem(node, "LabelSpace", need, limit, text, "use fewer sources")


def _fullest(made: Attempt, bus: int) -> str:
    """Return the source with most synapses on a bus."""
    packing = made.packing
    total: dict[str, float] = {}
    for number in np.flatnonzero(packing.group // packing.size == bus):
        name = made.demand.owner(packing.items[number].source)[0]
        total[name] = total.get(name, 0) + float(packing.vectors[number].sum())
    return max(total, key=lambda n: total[n], default="")
