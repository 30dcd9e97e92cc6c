"""The artefact of a solution of `brute`: the proof that a tiny chip can do what it says."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.targets.bss2.chips import Chip
from snnir.targets.bss2.execution import Execution, Site, Synapses
from snnir.targets.bss2.network import LogicalNetwork
from tests.bss2.brute import Solution, Unit, demands
from tests.bss2.form_rules import common_bits

Cell = tuple[int, int, int]  # hemisphere, row, column


def _cells(unit: Unit, solution: Solution, chip: Chip, sign: int) -> list[list[Cell]]:
    """Return the cells of a neuron's columns that are of a sign, by bus."""
    found: list[list[Cell]] = [[] for _ in range(4)]
    for circuit in solution.places[unit].circuits:
        half, column = divmod(circuit, chip.columns)
        for bus in range(4):
            rows = [2 * (4 * i + bus) + q for i in range(chip.drivers) for q in (0, 1)]
            split = solution.excitatory[4 * half + bus]
            chosen = rows[:split] if sign > 0 else rows[split:]
            found[bus] += [(half, row, column) for row in chosen]
    return found


def _pieces(weight: int) -> list[int]:
    whole, rest = divmod(abs(weight), 63)
    return [63] * whole + [rest] * (rest > 0)


def _assigned(
    network: LogicalNetwork, solution: Solution, chip: Chip
) -> list[tuple[Unit, Cell, int, int]]:
    """Return the synapses: source, cell, sign and weight."""
    weights = {
        ((one.source, pre), (one.target, post)): int(one.weights[post, pre])
        for one in network.projections
        for post, pre in np.argwhere(np.asarray(one.weights)).tolist()
    }
    found = []
    for unit in demands(network):
        for sign in (1, -1):
            free = _cells(unit, solution, chip, sign)
            mine = [
                (source, weight)
                for (source, target), weight in weights.items()
                if target == unit and weight * sign > 0
            ]
            # Neurons first: their bus is given.
            for source, weight in sorted(mine, key=lambda one: one[0] not in solution.places):
                for piece in _pieces(weight):
                    if source in solution.places:
                        cells = free[solution.places[source].pattern[2]]
                    else:
                        cells = max(free, key=len)
                    found.append((source, cells.pop(), sign, piece))
    return found


def realise(network: LogicalNetwork, solution: Solution, chip: Chip) -> Execution:
    """Return the execution of a solution: labels of their own, masks as tight as they can be."""
    synapses = _assigned(network, solution, chip)
    units = [*solution.places]
    units += [(one.name, i) for one in network.sources.values() for i in range(one.size)]
    label = {unit: number for number, unit in enumerate(units)}
    event = {
        unit: number | chip.event_output(solution.places[unit].circuits[0]) << 8
        for unit, number in label.items()
        if unit in solution.places
    }

    rows: dict[tuple[int, int], int] = {}
    taken: dict[tuple[int, int], list[int]] = {}
    passed: dict[tuple[int, int], list[int]] = {}
    sent: dict[Unit, set[int]] = {}
    for source, (half, row, _), sign, _ in synapses:
        rows[half, row] = sign
        output = 4 * half + row // 2 % 4
        if source in event:
            bits, entry = event[source], event[source] >> 8
        else:
            bits, entry = label[source] | output << 11, 8
            sent.setdefault(source, set()).add(bits)
        passed.setdefault((entry, output), []).append(bits)
        taken.setdefault((half, row // 2), []).append(bits >> 6 & 31)
    for (name, _), bits in event.items():
        if network.cells[name].spiking:
            passed.setdefault((bits >> 8, 8 + (bits >> 8) % 4), []).append(bits)

    crossbar = {}
    for node, labels in passed.items():
        mask = common_bits(np.array(labels), 14)
        crossbar[node] = (mask, labels[0] & mask)
    columns: Any = np.array(
        [(*cell, weight, label[source]) for source, cell, _, weight in synapses], np.int64
    ).reshape(-1, 5)
    return Execution(
        network=network,
        sites=tuple(
            Site(name, index, place.circuits, label[name, index])
            for (name, index), place in solution.places.items()
        ),
        labels={unit: tuple(sorted(bits)) for unit, bits in sent.items()},
        generators=(),
        rows=rows,
        drivers={
            (half, driver): common_bits(np.array([*addresses, driver // 4]), 5)
            for (half, driver), addresses in taken.items()
        },
        synapses=Synapses(*columns.T),
        crossbar=crossbar,
    )
