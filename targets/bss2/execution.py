"""A configured chip without its analogue side: where neurons are, and how events reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from snnir.targets.bss2.network import LogicalNetwork

Array = npt.NDArray[Any]

#: What a row of synapses does with its events.
EXCITATORY, INHIBITORY = 1, -1
MODES = {EXCITATORY: "excitatory", INHIBITORY: "inhibitory"}


@dataclass(frozen=True)
class Site:
    """Where a neuron is.

    Attributes:
        population, index: Which neuron.
        circuits: Its circuits (row * columns + column); the first spikes and has the membrane's
            parameters.
        address: Lowest 8 bits of its events' label: synapse label and two bits of row-select.
    """

    population: str
    index: int
    circuits: tuple[int, ...]
    address: int


@dataclass(frozen=True)
class Generator:
    """A background generator in regular mode.

    Attributes:
        bus: Which (and so which PADI bus it reaches), 0 to 7.
        label: 14 bits.
        population, index: Whose events it makes.
    """

    bus: int
    label: int
    population: str
    index: int


@dataclass(frozen=True)
class Synapses:
    """Synapses, one element each: hemisphere, row, column, weight (1 to 63) and label (0 to 63)."""

    hemisphere: Array
    row: Array
    column: Array
    weight: Array
    label: Array


@dataclass(frozen=True)
class Execution:
    """One configuration of the chip.

    Attributes:
        network: What it computes; sources may be populations that were recorded before. One of
            which only a part is computed here has its full size, with weights of 0 to the rest.
        sites: Every neuron that is computed, in order of the network's populations.
        labels: 16-bit labels of the events that the host sends for one event of a source, by
            (population, index); bits 14 and 15 are the link.
        generators: Background generators.
        rows: Mode by (hemisphere, row); rows that are absent are disabled.
        drivers: Mask of compared row-select bits by (hemisphere, driver); drivers that are absent
            take no events.
        synapses: All synapses with a weight.
        crossbar: (mask, target) by (input, output); nodes that are absent drop all.
        facts: What the report says: rows used by bus, and so on.
    """

    network: LogicalNetwork
    sites: tuple[Site, ...]
    labels: Mapping[tuple[str, int], tuple[int, ...]]
    generators: tuple[Generator, ...]
    rows: Mapping[tuple[int, int], int]
    drivers: Mapping[tuple[int, int], int]
    synapses: Synapses
    crossbar: Mapping[tuple[int, int], tuple[int, int]]
    facts: Mapping[str, Any] = field(default_factory=dict)
