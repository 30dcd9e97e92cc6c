"""Bounds that refuse quickly what cannot be routed at all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.targets.bss2.chips import ADDRESSES, BUSES, HEMISPHERES, LABELS, MOST_WEIGHT, Chip
from snnir.targets.bss2.network import Array, LogicalNetwork
from snnir.targets.bss2.routing.demand import checked
from snnir.targets.bss2.routing.problems import Problem


def fan_in(network: LogicalNetwork) -> dict[str, Array]:
    """Return by population the synapses each of its neurons needs."""
    found = {cells.name: np.zeros(cells.size, np.int64) for cells in network.cells.values()}
    for projection in network.projections:
        weights = checked(network, projection.source, projection.target, projection.weights)
        found[projection.target] += _synapses(weights)
    return found


def _synapses(weights: Array) -> Array:
    """Return how many synapses the weights of each target take."""
    if not weights.size or -MOST_WEIGHT <= weights.min() <= weights.max() <= MOST_WEIGHT:
        return np.asarray(np.count_nonzero(weights, axis=1))
    sizes = np.abs(weights.astype(np.int64, copy=False))
    return np.asarray((-(-sizes // MOST_WEIGHT)).sum(1))


def least_circuits(
    network: LogicalNetwork, fans: Mapping[str, Array], chip: Chip
) -> dict[str, int]:
    """Return by population the circuits that a neuron needs for its synapses at least."""
    return {
        cells.name: max(cells.circuits, -(-int(fans[cells.name].max(initial=0)) // chip.rows))
        for cells in network.cells.values()
    }


def shortages(network: LogicalNetwork, chip: Chip) -> list[Problem]:
    """Return what a network needs more of than there is, whichever way it is placed."""
    fans = fan_in(network)
    circuits = least_circuits(network, fans, chip)
    found = []
    for cells in network.cells.values():
        need = int(fans[cells.name].max(initial=0))
        if circuits[cells.name] > chip.columns:
            limit = chip.columns * chip.rows
            text = f"a neuron has {need} synapses, and at most {limit} by merging circuits"
            if cells.circuits > chip.columns:
                text = f"neurons of {cells.circuits} circuits, and {chip.columns} can be merged"
                need, limit = cells.circuits, chip.columns
            found.append(
                Problem(
                    cells.name,
                    "FanIn",
                    need,
                    limit,
                    f"{cells.name}: {text}",
                    "prune weights, or split the population",
                )
            )
    found += neuron_budget(network, circuits, chip)
    found += _label_space(network, chip)
    return found


def neuron_budget(
    network: LogicalNetwork, circuits: Mapping[str, int], chip: Chip, executions: int = 1
) -> list[Problem]:
    """Return that there are too few circuits in so many executions, if so."""
    used = {c.name: c.size * circuits[c.name] for c in network.cells.values() if c.size}
    need, limit = sum(used.values()), executions * chip.circuits
    if need <= limit:
        return []
    worst = max(used, key=lambda name: used[name])
    terms = [f"{n} {network.cells[n].size} x {circuits[n]}" for n in used]
    if len(terms) > 8:
        terms = [*terms[:7], f"{len(terms) - 7} more"]
    has = f"{limit} in {executions} executions" if executions > 1 else f"{limit}"
    text = f"{need} neuron circuits are needed ({' + '.join(terms)}), the chip has {has}"
    hint = f"make populations smaller, {worst} above all, or prune their weights"
    return [Problem(worst, "NeuronBudget", need, limit, text, hint)]


def _label_space(network: LogicalNetwork, chip: Chip) -> list[Problem]:
    """Return that there are too many channels to tell apart, if so."""
    limit = HEMISPHERES * BUSES * min(ADDRESSES, chip.drivers) * LABELS
    used = {name: np.zeros(source.size, bool) for name, source in network.sources.items()}
    for projection in network.projections:
        if projection.source in used:
            used[projection.source] |= np.asarray(projection.weights).any(0)
    channels = {name: int(flags.sum()) for name, flags in used.items()}
    need = sum(channels.values())
    found = []
    if need > limit:
        worst = max(channels, key=lambda name: channels[name])
        found.append(
            Problem(
                worst,
                "LabelSpace",
                need,
                limit,
                f"{need} input channels have synapses, labels and addresses of all buses tell "
                f"{limit} apart",
                f"use fewer channels of {worst}",
            )
        )
    background = sum(channels[s.name] for s in network.sources.values() if s.background)
    if background > HEMISPHERES * BUSES:
        worst = next(s.name for s in network.sources.values() if s.background)
        found.append(
            Problem(
                worst,
                "LabelSpace",
                background,
                HEMISPHERES * BUSES,
                f"{background} background generators are needed, "
                f"the chip has {HEMISPHERES * BUSES}",
                "let the host send what is always on (background=False)",
            )
        )
    return found
