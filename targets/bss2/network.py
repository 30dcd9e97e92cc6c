"""A network of integers: what is placed and routed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """Events that come from outside the neurons.

    Attributes:
        name: Of the input, or of what is always on.
        size: Number of channels.
        kind: `input`: the host sends its events; `constant`: regular events, by a background
            generator where `background` is set, else by the host.
        background: See `kind`.
    """

    name: str
    size: int
    kind: str = "input"
    background: bool = False


@dataclass(frozen=True)
class Cells:
    """A population of neurons.

    Attributes:
        name: Its name.
        size: Number of neurons.
        spiking: Whether they send events (which are always recorded).
        circuits: Least number of neuron circuits that make up one neuron; the router may take
            more where inputs do not fit.
    """

    name: str
    size: int
    spiking: bool = True
    circuits: int = 1


@dataclass(frozen=True)
class Projection:
    """Synapses from a source or population to a population.

    Attributes:
        source, target: Names.
        weights: [target, source], signed integers. Beyond 63 in size, a weight is the sum of
            several synapses: all of 63 but the last.
    """

    source: str
    target: str
    weights: Array


@dataclass(frozen=True)
class LogicalNetwork:
    """Sources, populations and synapses.

    Attributes:
        sources, cells: By name, in order of flow.
        projections: At most one for each pair.
    """

    sources: Mapping[str, Source]
    cells: Mapping[str, Cells]
    projections: tuple[Projection, ...]
