"""The one way to write a routing down: nothing useless, and every mask as narrow as it can be.

Many registers do the same; of those the narrowest are chosen, so that a bit that is flipped in an
artefact is seen: it loses events, or lets others through than the rule allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_

import numpy as np

from snnir.targets.bss2.chips import (
    ADDRESSES,
    BUSES,
    LABELS,
    NEURON_INPUTS,
    Chip,
)
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.routing.connectivity import entry_of, events_of
from snnir.targets.bss2.routing.matching import mask_of

#: Bits of a label in the crossbar.
_CROSSBAR_BITS = 0x3FFF
#: First output that is a link to the host.
_LINKS = 2 * BUSES


@dataclass
class _Use:
    """What events do: addresses that hit synapses by driver, labels by node, and sources."""

    drivers: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    nodes: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    labels: set[tuple[int, int]] = field(default_factory=set)


def canonical(execution: Execution, chip: Chip) -> Execution:
    """Return what does the same with the narrowest masks and without anything that is not used."""
    use = _used(execution, chip)
    drivers = {
        (hemisphere, driver): mask_of(driver // BUSES, addresses)
        for (hemisphere, driver), addresses in sorted(use.drivers.items())
    }
    synapses = execution.synapses
    filled = set(zip(synapses.hemisphere.tolist(), synapses.row.tolist(), strict=True))
    rows = {row: mode for row, mode in execution.rows.items() if row in filled}
    labels = {
        source: tuple(label for label in sent if entry_of(label) in use.labels)
        for source, sent in execution.labels.items()
    }
    return replace(
        execution,
        drivers=drivers,
        rows=rows,
        labels={source: sent for source, sent in labels.items() if sent},
        crossbar={node: _narrowest(found) for node, found in sorted(use.nodes.items())},
    )


def _narrowest(labels: Iterable[int]) -> tuple[int, int]:
    """Return mask and target that agree with all of some labels."""
    first, *others = sorted(labels)
    mask = ~reduce(or_, (first ^ label for label in others), 0) & _CROSSBAR_BITS
    return mask, first & mask


def _used(execution: Execution, chip: Chip) -> _Use:
    held = _labels_of_drivers(execution)
    use = _Use()
    for _, source, label in events_of(execution, chip):
        for (begin, output), (mask, target) in execution.crossbar.items():
            if begin != source or label & mask != target:
                continue
            if output >= _LINKS:
                useful = source < NEURON_INPUTS
            else:
                useful = _deliver(execution, held, output, label, use)
            if useful:
                use.nodes.setdefault((source, output), set()).add(label)
                use.labels.add((source, label))
    return use


def _labels_of_drivers(execution: Execution) -> dict[tuple[int, int], set[int]]:
    synapses = execution.synapses
    found: dict[tuple[int, int], set[int]] = {}
    triples = np.stack([synapses.hemisphere, synapses.row // 2, synapses.label], axis=1)
    for hemisphere, driver, label in np.unique(triples, axis=0).tolist():
        found.setdefault((hemisphere, driver), set()).add(label)
    return found


def _deliver(
    execution: Execution,
    held: dict[tuple[int, int], set[int]],
    output: int,
    label: int,
    use: _Use,
) -> bool:
    """Note the drivers on a bus that hand an event to a synapse; return whether there are any."""
    hemisphere, bus = divmod(output, BUSES)
    address, useful = label >> 6 & (ADDRESSES - 1), False
    for (side, driver), mask in execution.drivers.items():
        if side != hemisphere or driver % BUSES != bus:
            continue
        if (address ^ driver // BUSES) & mask or label % LABELS not in held.get((side, driver), ()):
            continue
        use.drivers.setdefault((side, driver), set()).add(address)
        useful = True
    return useful
