"""From events of sources to labelled packets in time, and back to steps; copied into folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import EVENTS_PER_TICK, MOST_TICKS
from snnir.targets.bss2.emulation.config_types import Config, PopulationFacts, Setup
from snnir.targets.bss2.emulation.variation import BadInput

#: Events of a channel in a step, and all events of a run, that memory is kept for at most.
MOST_AT_ONCE, MOST_IN_ALL = 65535, 1 << 27


def duration(steps: int, step_ticks: float) -> int:
    """Return the ticks of a run.

    Raises:
        BadInput: If the host's timer cannot count them.
    """
    if steps * step_ticks > MOST_TICKS:
        most = int(MOST_TICKS // step_ticks)
        raise BadInput(
            f"{steps} steps take longer than the {MOST_TICKS} ticks (34.36 s) of the host's timer; "
            f"{most} steps are possible"
        )
    return math.ceil(steps * step_ticks)


def events_of_counts(name: str, counts: Any, step_ticks: float) -> Any:
    """Return [n, 3], tick, sample and index, of counts [T, B, size].

    Raises:
        BadInput: If they are not whole numbers that a step can have.
    """
    fine = np.isfinite(counts) & (counts >= 0) & (counts <= MOST_AT_ONCE)
    if not fine.all() or (counts != np.rint(counts)).any():
        raise BadInput(
            f"input '{name}' is counts of events, whole numbers from 0 to {MOST_AT_ONCE}"
        )
    step, sample, index = np.nonzero(counts)
    times = counts[step, sample, index].astype(np.int64)
    if times.sum() > MOST_IN_ALL:
        raise BadInput(f"input '{name}' has more than {MOST_IN_ALL} events")
    tick = np.floor(step * step_ticks + 0.5).astype(np.int64)
    return np.repeat(np.stack([tick, sample, index], 1), times, axis=0)


def checked_events(name: str, events: Any, size: int, ticks: int, samples: int) -> Any:
    """Return events [n, 3] (tick, sample, index) if they fit a run.

    Raises:
        BadInput: If they do not.
    """
    events = np.asarray(events)
    if events.size == 0:
        return np.zeros((0, 3), np.int64)
    if events.ndim != 2 or events.shape[1] != 3 or events.dtype.kind not in "iu":
        raise BadInput(f"events of '{name}' are not whole [n, 3]: tick, sample, index")
    if len(events) > MOST_IN_ALL:
        raise BadInput(f"input '{name}' has more than {MOST_IN_ALL} events")
    if (events < 0).any() or (events >= np.array([ticks, samples, size])).any():
        raise BadInput(f"an event of '{name}' is outside of the run or of its {size} channels")
    return events.astype(np.int64)


def steps_of(tick: Any, steps: int, step_ticks: float) -> Any:
    """Return the step in which each tick is."""
    return np.searchsorted(np.arange(steps) * step_ticks, tick, "right") - 1


def sent_counts(events: Any, steps: int, step_ticks: float, batch: int, size: int) -> Any:
    """Return counts [steps, batch, size] of what the host sends, [n, 3], by whose events they are.

    The tick of a step's events is rounded, so that it may be one of the step before.
    """
    begin = np.floor(np.arange(steps + 1) * step_ticks + 0.5)
    step = np.searchsorted(begin, events[:, 0], "right") - 1
    within = step < steps
    own = np.column_stack([step[within], events[within, 1:]])
    return counted(own, steps, 1.0, batch, size)


def counted(events: Any, steps: int, step_ticks: float, batch: int, size: int) -> Any:
    """Return counts [steps, batch, size] of events [n, 3]."""
    tick, sample, index = events.T
    place = (steps_of(tick, steps, step_ticks) * batch + sample) * size + index
    flat = np.bincount(place, minlength=steps * batch * size)
    return flat.reshape(steps, batch, size).astype(np.float32)


def regular(population: PopulationFacts, ticks: int) -> Any:
    """Return the ticks of a constant's events before `ticks`, rounded half up."""
    start, period = population.start_ticks, population.period_ticks
    number = max(0, math.ceil((ticks - start) / period) + 1)
    if number > MOST_IN_ALL:
        raise BadInput(f"'{population.name}' has more than {MOST_IN_ALL} events in this time")
    found = np.floor(start + np.arange(number) * period + 0.5).astype(np.int64)
    return found[found < ticks]


class Sender:
    """The host's side of one execution, and the generators'.

    Args:
        config: Whose populations these are.
        setup: The execution.
        units: Number of its neurons, whose packets come first.
    """

    def __init__(self, config: Config, setup: Setup, units: int) -> None:
        self.config, self.setup = config, setup
        self.table: dict[str, tuple[Any, Any]] = {}
        packet = units
        for name, index, labels in setup.events:
            if name not in self.table:
                size = config.populations[name].size
                self.table[name] = np.zeros(size, np.int64), np.zeros(size, np.int64)
            first, count = self.table[name]
            first[index], count[index] = packet, len(labels)
            packet += len(labels)
        self.first_generator = packet

    def packets(self, events: Mapping[str, Any], ticks: int, samples: int, serial: bool) -> Any:
        """Return what enters the chip.

        Args:
            events: [n, 3] (tick, sample, index) by population.
            ticks: Length of the run.
            samples: How many.
            serial: Whether packets that the link cannot carry in a tick wait for the next.

        Returns:
            A list of (ticks, packets), one for each sample, in order, and how many packets came
            to a link that had no room in their tick.
        """
        parts = [np.zeros((0, 3), np.int64)]
        for name, (first, count) in self.table.items():
            found = self._events(name, events, ticks, samples)
            tick, sample, index = found.T
            times = count[index]
            if times.sum() > MOST_IN_ALL:
                raise BadInput(f"events of '{name}' are more than {MOST_IN_ALL} packets")
            begin = np.cumsum(times) - times
            packet = np.arange(times.sum()) + np.repeat(first[index] - begin, times)
            parts.append(np.stack([np.repeat(tick, times), np.repeat(sample, times), packet], 1))
        table = np.concatenate(parts)
        table = table[np.lexsort((table[:, 2], table[:, 0], table[:, 1]))]
        ends = np.searchsorted(table[:, 1], np.arange(samples + 1))
        own = self._generated(ticks)
        crowded, result = 0, []
        for sample in range(samples):
            tick, _, packet = table[ends[sample] : ends[sample + 1]].T
            crowded += int(
                np.sum(np.maximum(np.unique(tick, return_counts=True)[1] - EVENTS_PER_TICK, 0))
            )
            tick = spread(tick) if serial else tick
            tick, packet = np.append(tick, own[0]), np.append(packet, own[1])
            order = np.argsort(tick, kind="stable")
            result.append((tick[order], packet[order]))
        return result, crowded

    def _events(self, name: str, events: Mapping[str, Any], ticks: int, samples: int) -> Any:
        population = self.config.populations[name]
        if population.kind != "constant":
            found = events.get(name, np.zeros((0, 3), np.int64))
            if population.kind == "neurons":  # as late as spikes of the same chip would be
                found = found + np.array([self.config.latency, 0, 0])
            return found[found[:, 0] < ticks]
        tick = regular(population, ticks)
        if len(tick) * samples > MOST_IN_ALL:
            raise BadInput(f"'{name}' has more than {MOST_IN_ALL} events in this time")
        sample = np.repeat(np.arange(samples), len(tick))
        return np.stack([np.tile(tick, samples), sample, np.zeros_like(sample)], 1)

    def _generated(self, ticks: int) -> tuple[Any, Any]:
        parts = [np.zeros((0, 2), np.int64)]
        counts = [max(0, ticks - one.start) // one.period for one in self.setup.generators]
        if sum(counts) > MOST_IN_ALL:
            raise BadInput(f"generators have more than {MOST_IN_ALL} events in this time")
        for k, generator in enumerate(self.setup.generators):
            tick = np.arange(generator.start, ticks, generator.period)
            parts.append(np.stack([tick, np.full(len(tick), self.first_generator + k)], 1))
        table = np.concatenate(parts)
        return table[:, 0], table[:, 1]


def spread(tick: Any) -> Any:
    """Return ascending ticks with no more at once than the link carries; the rest wait."""
    late = np.array(tick)
    for lane in range(EVENTS_PER_TICK):  # every n-th packet comes at least a tick after the last
        own = late[lane::EVENTS_PER_TICK]
        place = np.arange(len(own))
        if len(own):
            late[lane::EVENTS_PER_TICK] = np.maximum.accumulate(own - place) + place
    return late
