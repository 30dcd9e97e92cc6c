"""A network as flat lists: sources and neurons have numbers, synapses are entries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snnir.targets.bss2.chips import MOST_WEIGHT
from snnir.targets.bss2.network import Array, LogicalNetwork


@dataclass(frozen=True)
class Demand:
    """What has to be realised.

    Attributes:
        network: Whose demand it is.
        first: Number of the first channel of a source or neuron of a population. Channels of
            sources are counted from 0, neurons after them.
        channels, neurons: How many there are.
        pre: Sending channel or neuron of every entry.
        post: Receiving neuron, counted from 0.
        weight: Signed, not 0.
        count: Synapses it takes, 1 or more.
    """

    network: LogicalNetwork
    first: Mapping[str, int]
    channels: int
    neurons: int
    pre: Array
    post: Array
    weight: Array
    count: Array

    @cached_property
    def _starts(self) -> tuple[list[int], list[str]]:
        """First numbers of what has any, ascending, and whose they are."""
        sizes = sizes_of(self.network)
        names = [name for name in self.first if sizes[name]]
        return [self.first[name] for name in names], names

    def owner(self, number: int) -> tuple[str, int]:
        """Return population and index of a channel or neuron."""
        starts, names = self._starts
        name = names[bisect_right(starts, number) - 1]
        return name, number - self.first[name]


def sizes_of(network: LogicalNetwork) -> dict[str, int]:
    """Return sizes of sources and populations by name."""
    sources = {source.name: source.size for source in network.sources.values()}
    return sources | {cells.name: cells.size for cells in network.cells.values()}


def flatten(network: LogicalNetwork) -> Demand:
    """Return the demand of a network.

    Raises:
        ValueError: If a projection's weights are no integers or not of the sizes of what it
            connects, if it comes from neurons that do not spike, or if it goes to a source.
    """
    first: dict[str, int] = {}
    total = 0
    for source in network.sources.values():
        first[source.name] = total
        total += source.size
    channels = total
    for cells in network.cells.values():
        first[cells.name] = total
        total += cells.size
    parts: list[tuple[Array, Array, Array]] = []
    for projection in network.projections:
        weights = checked(network, projection.source, projection.target, projection.weights)
        post, pre = np.nonzero(weights)
        parts.append(
            (
                pre + first[projection.source],
                post + first[projection.target] - channels,
                weights[post, pre].astype(np.int64),
            )
        )
    if parts:
        pre, post, weight = (np.concatenate(each) for each in zip(*parts, strict=True))
    else:
        pre, post, weight = (np.zeros(0, np.int64) for _ in range(3))
    return Demand(
        network,
        first,
        channels,
        total - channels,
        pre,
        post,
        weight,
        -(-np.abs(weight) // MOST_WEIGHT),
    )


def checked(network: LogicalNetwork, source: str, target: str, weights: Array) -> Array:
    """Return the weights of a projection, an array [target, source].

    Raises:
        ValueError: See `flatten`.
    """
    weights = np.asarray(weights)
    if weights.dtype.kind not in "iu":
        raise ValueError(f"projection {source} -> {target}: weights are no integers")
    if target not in network.cells:
        raise ValueError(f"projection {source} -> {target}: the target is no population")
    if source in network.sources:
        size = network.sources[source].size
    else:
        size = network.cells[source].size
        if not network.cells[source].spiking and weights.any():
            raise ValueError(f"projection {source} -> {target}: the source does not spike")
    if weights.shape != (network.cells[target].size, size):
        raise ValueError(
            f"projection {source} -> {target}: weights are of {weights.shape}, not of "
            f"{(network.cells[target].size, size)}"
        )
    return weights
