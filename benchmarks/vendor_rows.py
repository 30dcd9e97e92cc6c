"""What the dense allocation of the vendor's front ends would need, for comparison."""

from __future__ import annotations

import numpy as np

from snnir.targets.bss2.chips import BUSES, HEMISPHERES, HICANN_X, Chip
from snnir.targets.bss2.network import LogicalNetwork
from snnir.targets.bss2.routing.demand import flatten
from snnir.targets.bss2.routing.limits import fan_in, least_circuits
from snnir.targets.bss2.routing.packing import Sites, hemispheres
from snnir.targets.bss2.routing.placement import Style, place


def rows_two_per_pair(
    network: LogicalNetwork, chip: Chip = HICANN_X, merge: bool = False
) -> int | None:
    """Return the rows needed if each source takes an excitatory and an inhibitory row.

    This is where a synapse of a dense signed projection is a row of each sign that no other source
    uses. Neurons are placed as `route` does, and events of the host are spread over the buses in
    the best way there is. Columns of merged circuits have different sources in a row.

    Args:
        network: Sources, populations and integer weights.
        chip: What there is.
        merge: Whether neurons get more circuits than the network says where inputs need them.

    Returns:
        The fewest rows of all placements, or None if no bus assignment has enough.
    """
    demand = flatten(network)
    circuits = least_circuits(network, fan_in(network), chip)
    # A column has half as many signed sources as rows.
    fans = np.bincount(demand.post, minlength=demand.neurons)
    for c in network.cells.values() if merge else ():
        most = fans[demand.first[c.name] - demand.channels :][: c.size].max(initial=0)
        circuits[c.name] = max(circuits[c.name], -(-2 * int(most) // chip.rows))
    if sum(c.size * circuits[c.name] for c in network.cells.values()) > chip.circuits:
        return None
    found = []
    for rows in ("alternate", "together", "spread"):
        blocks = place(network, circuits, Style(rows, True), chip, dict.fromkeys(circuits, 0))
        if blocks is None:
            continue
        sites = Sites.of(blocks, chip)
        side = hemispheres(demand, sites, chip)
        # Of a source in a hemisphere: two rows, shared by as many as its neurons have columns.
        share = np.zeros((HEMISPHERES, demand.channels + demand.neurons))
        np.maximum.at(share, (side, demand.pre), 2 / sites.columns[side, demand.post])
        own = np.zeros((HEMISPHERES, BUSES))
        for neuron, block in enumerate(blocks):
            bus = chip.event_output(block[0]) % BUSES
            own[:, bus] += share[:, demand.channels + neuron]
        total = share.sum(1)
        if own.max() <= 2 * chip.drivers and total.max() <= chip.rows:
            found.append(int(np.ceil(total).sum()))
    return min(found, default=None)
