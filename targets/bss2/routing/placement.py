"""Which circuits make up which neuron."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.targets.bss2.chips import HEMISPHERES, Chip
from snnir.targets.bss2.network import Array, LogicalNetwork

Block = tuple[int, ...]


@dataclass(frozen=True)
class Style:
    """How neurons are placed.

    Attributes:
        rows: Which neuron row a population prefers: `alternate` (that of its number), `together`
            (all row 0), `spread` (its neurons by turns) or `heavy` (whose synapses are fewer).
        tall: Whether merged circuits fill both rows of a column before the next column, as the
            vendor's front ends do; else they are in one row.
    """

    rows: str
    tall: bool


def place(
    network: LogicalNetwork,
    circuits: Mapping[str, int],
    style: Style,
    chip: Chip,
    fan_in: Mapping[str, int],
) -> list[Block] | None:
    """Return the circuits of every neuron, or None if they do not fit this way.

    Neurons of a population come out of event outputs by turns, so that buses share their load.
    """
    free = np.ones((HEMISPHERES, chip.columns), bool)
    blocks: dict[str, list[Block]] = {}
    load = [0, 0]
    turn = 0
    wide_first = sorted(network.cells.values(), key=lambda c: -circuits[c.name])
    preferred: dict[str, int | None] = {}
    for number, cells in enumerate(network.cells.values()):
        if style.rows == "heavy":
            row = int(load[1] < load[0])
            load[row] += fan_in[cells.name]
            preferred[cells.name] = row
        else:
            preferred[cells.name] = {"alternate": number % 2, "together": 0}.get(style.rows)
    for cells in wide_first:
        need = circuits[cells.name]
        tall = style.tall and need > 1
        found: list[Block] = []
        rows = (0,) if tall else (0, 1)
        starts = {row: _starts(row, need, tall, chip, turn) for row in rows}
        turn = (turn + cells.size) % 8
        while len(found) < cells.size:
            like = preferred[cells.name]
            row = len(found) % 2 if like is None else like
            block = next(
                (
                    b
                    for r in sorted(rows, key=lambda r: r != row)
                    if (b := _next(starts[r], free, chip)) is not None
                ),
                None,
            )
            if block is None:
                return None
            found.append(block)
        blocks[cells.name] = found
    return [block for name in network.cells for block in blocks[name]]


def _next(starts: Iterator[Block], free: Array, chip: Chip) -> Block | None:
    """Return the next block that is free, and take it."""
    for block in starts:
        cells = [divmod(circuit, chip.columns) for circuit in block]
        if all(free[row, column] for row, column in cells):
            for row, column in cells:
                free[row, column] = False
            return block
    return None


def _starts(row: int, need: int, tall: bool, chip: Chip, turn: int) -> Iterator[Block]:
    """Yield blocks: side by side ones of all event outputs by turns, then all others."""
    width = -(-need // 2) if tall else need
    half = chip.columns // 2
    possible = [side + column for side in (0, half) for column in range(half - width + 1)]
    aligned = [start for start in possible if start % half % width == 0]
    by_output: dict[int, list[int]] = {}
    for start in aligned:
        by_output.setdefault(start // chip.per_output, []).append(start)
    outputs = sorted(by_output)
    if outputs:
        turn %= len(outputs)
        outputs = outputs[turn:] + outputs[:turn]
    depth = max((len(starts) for starts in by_output.values()), default=0)
    ordered = [by_output[o][i] for i in range(depth) for o in outputs if i < len(by_output[o])]
    seen = set(ordered)
    for start in ordered + [start for start in possible if start not in seen]:
        if tall:
            yield tuple(i % 2 * chip.columns + start + i // 2 for i in range(need))
        else:
            yield tuple(row * chip.columns + start + i for i in range(need))
