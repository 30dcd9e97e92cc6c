"""A chip's configuration as plain arrays; copied into emitted folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class BadFolder(ValueError):
    """What is to be emulated is no configuration of a chip."""


@dataclass(frozen=True)
class PopulationFacts:
    """A population; `offset` and `factor` [size] turn LSB into the model's units."""

    name: str
    size: int
    shape: tuple[int, ...]
    kind: str
    spiking: bool = True
    offset: Any = None
    factor: Any = None
    start_ticks: float = 0.0
    period_ticks: float = 1.0


@dataclass(frozen=True)
class PortFacts:
    """An input or output of the model; `kind` of outputs is `spikes` or `membrane`."""

    name: str
    population: str
    shape: tuple[int, ...]
    kind: str = "spikes"


@dataclass(frozen=True)
class NeuronTable:
    """Neurons of an execution, one element of every array each.

    Attributes:
        population: Names (a list).
        index: Within the population.
        circuits: Lists of circuits; the first one spikes.
        address: Lowest 8 bits of their label.
        leak, reset, threshold: LSB; NaN where there is no threshold.
        tau_mem: Microseconds.
        tau_syn: [n, 2], microseconds, excitatory and inhibitory.
        capacitance: 1 to 63.
        refractory_time: Microseconds, as the model wants it (for the Euler mode).
        hold, refractory: Ticks that v is held, and that no spike can follow a spike.
    """

    population: list[str]
    index: Any
    circuits: list[tuple[int, ...]]
    address: Any
    leak: Any
    reset: Any
    threshold: Any
    tau_mem: Any
    tau_syn: Any
    capacitance: Any
    refractory_time: Any
    hold: Any
    refractory: Any


@dataclass(frozen=True)
class GeneratorFacts:
    """A background generator in regular mode; whole ticks."""

    bus: int
    label: int
    period: int
    start: int


@dataclass(frozen=True)
class ProjectionFacts:
    """Signed weights between indices of two populations; what Euler mode computes with."""

    source: str
    target: str
    pre: Any
    post: Any
    weight: Any


@dataclass(frozen=True)
class Setup:
    """One execution.

    Attributes:
        neurons: What it computes.
        events: (population, index, labels) of what the host sends.
        generators: Background generators.
        rows: 1 (excitatory) or -1 by (hemisphere, row).
        drivers: Mask by (hemisphere, driver).
        synapses: [n, 5], whole: hemisphere, row, column, weight, label.
        crossbar: (mask, target) by (input, output).
        projections: See `ProjectionFacts`.
    """

    neurons: NeuronTable
    events: list[tuple[str, int, tuple[int, ...]]]
    generators: list[GeneratorFacts]
    rows: dict[tuple[int, int], int]
    drivers: dict[tuple[int, int], int]
    synapses: Any
    crossbar: dict[tuple[int, int], tuple[int, int]]
    projections: list[ProjectionFacts]


@dataclass(frozen=True)
class Config:
    """The whole file; `gain` is in LSB per microsecond and weight, at full capacitance."""

    step_ticks: float
    latency: int
    gain: float
    populations: dict[str, PopulationFacts]
    inputs: dict[str, PortFacts]
    outputs: dict[str, PortFacts]
    executions: list[Setup]
