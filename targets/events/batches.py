"""Padded arrays to events of samples and back, for functions whose shapes are fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.targets.events.adjoint_plan import Stimulus
from snnir.targets.events.network import Block, EventNetwork, EventRecord
from snnir.targets.events.plan import on_steps

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Stimuli:
    """What the inputs of a batch do.

    Attributes:
        samples: One per sample.
        origin: Per sample, [n] int64: position of each event in arrays of these shapes, one after
            the other, each in C order.
        shapes: Of each input: of its times; of its currents with one more step, as every value
            changes the current when it comes and when it goes.
        is_current: Of each input.
    """

    samples: Sequence[Stimulus]
    origin: Sequence[Array]
    shapes: Sequence[tuple[int, ...]]
    is_current: Sequence[bool]

    def gradients(self, found: Sequence[Array]) -> list[Array]:
        """Return derivatives by the elements of each input's array."""
        sizes = [prod(shape) for shape in self.shapes]
        total = np.zeros(sum(sizes))
        for origin, values in zip(self.origin, found, strict=True):
            np.add.at(total, origin, values)
        parts = np.split(total, np.cumsum(sizes)[:-1])
        shaped = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return [
            part[:-1] - part[1:] if is_current else part
            for part, is_current in zip(shaped, self.is_current, strict=True)
        ]


def stimuli_of(network: EventNetwork, values: Sequence[Array], indices: Sequence[Array]) -> Stimuli:
    """Return the events that padded arrays stand for.

    Args:
        network: The network.
        values: Per input block, times [B, E] in seconds, infinity where there is none, or
            currents [T, B, size].
        indices: Per input block, channels [B, E]; not looked at for currents.

    Raises:
        SnnirError: SNN601 for times that are negative or not numbers, channels that do not exist,
            and currents that are not finite.
    """
    blocks = [block for block in network.blocks if block.kind in ("input", "current")]
    parts: list[tuple[Array, ...]] = []
    offset, shapes, batch = 0, [], 0
    arrays = [np.asarray(value, np.float64) for value in values]
    for block, value, index in zip(blocks, arrays, indices, strict=True):
        if block.kind == "current":
            batch, shape = value.shape[1], (len(value) + 1, *value.shape[1:])
            parts.append(_currents(block, value, offset, network.dt))
        else:
            batch, shape = len(value), value.shape
            parts.append(_events(block, value, np.asarray(index), offset, network.dt))
        shapes.append(shape)
        offset += prod(shape)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    sample, time, unit, amount, origin = columns
    order = np.lexsort((time, sample))
    ends = np.searchsorted(sample[order], np.arange(1, batch))
    split = [np.split(column[order], ends) for column in (time, unit, amount)]
    samples = [Stimulus(*each) for each in zip(*split, strict=True)]
    is_current = [block.kind == "current" for block in blocks]
    return Stimuli(samples, np.split(origin[order], ends), shapes, is_current)


def _events(block: Block, time: Array, index: Array, offset: int, dt: float) -> tuple[Array, ...]:
    there = np.isfinite(time)
    if np.isnan(time).any() or (time < 0).any():
        message = "event times must be seconds from 0 on, or infinity for none"
        raise error("SNN601", message, node=block.name)
    channel = index[there].astype(np.int64)
    if channel.size and (channel.min() < 0 or channel.max() >= block.size):
        message = f"events name channels from {channel.min()} to {channel.max()} of {block.size}"
        raise error("SNN601", message, node=block.name)
    sample = np.nonzero(there)[0]
    origin = np.flatnonzero(there) + offset
    return sample, on_steps(time[there], dt), channel + block.start, np.ones(len(sample)), origin


def _currents(block: Block, value: Array, offset: int, dt: float) -> tuple[Array, ...]:
    if not np.isfinite(value).all():
        raise error("SNN601", "currents must be finite", node=block.name)
    ended = np.concatenate([value, np.zeros((1, *value.shape[1:]))])
    change = np.diff(ended, axis=0, prepend=0.0)
    step, sample, channel = (axis.reshape(-1) for axis in np.indices(change.shape))
    origin = offset + np.arange(change.size)
    return sample, step * dt, channel + block.start, change.reshape(-1), origin


@dataclass(frozen=True)
class Slots:
    """Places of spikes in padded arrays.

    Attributes:
        time: [B, K] float64, infinity where there is none.
        index: [B, K] int32, which neuron of the population; 0 where there is none.
        spike: [B, K] int64, number in the sample's record, -1 where there is none.
    """

    time: Array
    index: Array
    spike: Array


def largest(records: Sequence[EventRecord], block: Block) -> int:
    """Return the most spikes that a population has in a sample."""
    return max((len(_own(record, block)) for record in records), default=0)


def listed(records: Sequence[EventRecord], block: Block, capacity: int) -> Slots:
    """Put the spikes of a population into slots, in order of time.

    Raises:
        SnnirError: SNN601 if there are more than slots.
    """
    slots = _empty(len(records), capacity)
    for row, record in enumerate(records):
        own = _own(record, block)
        if len(own) > capacity:
            message = f"sample {row} has {len(own)} spikes and there is room for {capacity}"
            hint = "give a larger capacity, or call it once without jit and grad: then it grows"
            raise error("SNN601", message, node=block.name, hint=hint)
        slots.time[row, : len(own)] = record.time[own]
        slots.index[row, : len(own)] = record.unit[own] - block.start
        slots.spike[row, : len(own)] = own
    return slots


def firsts(records: Sequence[EventRecord], block: Block) -> Slots:
    """Put the first spike of every neuron of a population into its slot."""
    slots = _empty(len(records), block.size)
    slots.index[:] = np.arange(block.size)
    for row, record in enumerate(records):
        own = _own(record, block)[::-1]  # of several, the last one written is the first
        neuron = record.unit[own] - block.start
        slots.time[row, neuron] = record.time[own]
        slots.spike[row, neuron] = own
    return slots


def _empty(rows: int, columns: int) -> Slots:
    shape = (rows, columns)
    return Slots(np.full(shape, np.inf), np.zeros(shape, np.int32), np.full(shape, -1, np.int64))


def _own(record: EventRecord, block: Block) -> Array:
    return np.flatnonzero((record.unit >= block.start) & (record.unit < block.start + block.size))


def by_spike(
    records: Sequence[EventRecord], slots: Mapping[str, Slots], given: Mapping[str, Array]
) -> list[Array]:
    """Return derivatives by the time of every spike, from those by slots."""
    found = [np.zeros(len(record.time)) for record in records]
    for name, places in slots.items():
        gradient = np.asarray(given[name], np.float64)
        for row, values in enumerate(found):
            there = places.spike[row] >= 0
            np.add.at(values, places.spike[row][there], gradient[row][there])
    return found
