"""The layout run in real numbers, with the chip's timing, decays and resets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.streams import Kind, Signal
from snnir.targets.xylo.emulator import MOST_EVENTS, MOST_OUTPUTS, MOST_SPIKES
from snnir.targets.xylo.layout import Layout, Synapses

Array = npt.NDArray[Any]

#: Steps and rates of the events assumed where no input is given, two samples each.
ASSUMED_STEPS, ASSUMED_RATES = 128, (0.1, 0.4)
#: How much larger than seen states may get: on assumed events, and on given ones.
MARGIN_ASSUMED, MARGIN_GIVEN = 2.0, 1.25
#: Thresholds below zero down to which there is room for membranes.
DEEPEST = 64.0


@dataclass
class Seen:
    """What a population does in a rehearsal.

    Attributes:
        peak: [neurons], the largest current or membrane, in the graph's units.
        depth: [neurons], how far below zero its membrane gets.
        spikes: [T, B, neurons].
    """

    peak: Array
    depth: Array
    spikes: Array


@dataclass
class _State:
    """States of a population [B, neurons], and what was seen."""

    own: Synapses
    most: int
    i: Array
    v: Array
    last: Array
    seen: Seen

    def step(self, now: int, drive: Array, passed: Array) -> None:
        """Go on by a step.

        Args:
            now: Its number.
            drive: [B, neurons], the sum of all events.
            passed: [B, neurons], the largest size of this sum while events are added: currents
                saturate in between as well.
        """
        a, b = (1.0 - 2.0**-d for d in (self.own.fit.dash_syn, self.own.fit.dash_mem))
        before = self.i + drive
        current = before * a
        self.i = np.zeros_like(current) if self.own.direct else current
        v = b * self.v + current + self.own.fit.bias
        # A membrane far below its threshold may saturate there: it comes back a little earlier.
        deep = np.minimum(np.abs(v), np.where(v < 0, DEEPEST * self.own.threshold, np.inf))
        between = np.abs(self.i) + passed
        peak = np.maximum(np.maximum(np.abs(before), between), deep).max(axis=0)
        self.seen.peak = np.maximum(self.seen.peak, peak)
        self.seen.depth = np.maximum(self.seen.depth, -v.min(axis=0))
        n = np.clip(np.floor(v / self.own.threshold), 0, self.most)
        self.v = v - np.where(n > 0, n * np.where(n > 0, self.own.threshold, 0.0), 0.0)
        self.last = self.seen.spikes[now] = n


def assumed_events(inputs: Mapping[str, Signal]) -> Array:
    """Return random events [T, B, channels], the same each time: spikes, or counts of any size."""
    most = np.repeat(
        [MOST_EVENTS if signal.kind is Kind.COUNTS else 1 for signal in inputs.values()],
        [signal.size for signal in inputs.values()],
    )
    rng = np.random.default_rng(0)
    rates = np.repeat(ASSUMED_RATES, 2)[None, :, None]
    shape = (ASSUMED_STEPS, rates.size, len(most))
    events: Array = (rng.random(shape) < rates) * rng.integers(1, most + 1, shape)
    return events.astype(np.float64)


def rehearse(layout: Layout, events: Array) -> dict[str, Seen]:
    """Run a layout on events [T, B, channels] in real numbers; return what populations do."""
    states = {name: _start(layout, name, *events.shape[:2]) for name in layout.synapses}
    for step, now in enumerate(events):
        drives = {name: _drive(layout, state, now, states) for name, state in states.items()}
        for name, state in states.items():
            state.step(step, *drives[name])
    return {name: state.seen for name, state in states.items()}


def room_for(layout: Layout, seen: dict[str, Seen], given: bool) -> dict[str, Array]:
    """Return, per neuron, the largest state that there should be room for, in the graph's units.

    What one neuron of a population reaches, relative to its threshold, all of it may.

    Args:
        layout: What was rehearsed.
        seen: What it did.
        given: Whether the events were given, rather than assumed.
    """
    margin = MARGIN_GIVEN if given else MARGIN_ASSUMED
    found = {}
    for name, own in layout.synapses.items():
        unit = np.where(np.isinf(own.threshold), 1.0, own.threshold)
        found[name] = margin * (seen[name].peak / unit).max(initial=1e-6) * unit
    return found


def _start(layout: Layout, name: str, steps: int, batch: int) -> _State:
    own = layout.synapses[name]
    most = MOST_SPIKES if layout.groups[name].block == "hidden" else MOST_OUTPUTS
    zero = np.zeros((batch, len(own.threshold)))
    peak, depth = np.zeros((2, len(own.threshold)))
    seen = Seen(peak, depth, np.zeros((steps, *zero.shape), np.float32))
    return _State(own, most, zero, zero, zero, seen)


def _drive(
    layout: Layout, state: _State, now: Array, states: dict[str, _State]
) -> tuple[Array, Array]:
    """Return what a population reads: inputs of this step, spikes of the last one.

    Returns:
        The sum, and the largest size it has while events are added in the order of the chip.
    """
    drive, passed = np.zeros_like(state.v), np.zeros_like(state.v)
    for source in sorted(state.own.matrices, key=lambda name: _place(layout, name)):
        matrix = state.own.matrices[source]
        if source in layout.channels:
            first = layout.channels[source]
            events = now[:, first : first + len(matrix)]
        else:
            events = states[source].last
        for active in np.flatnonzero(events.any(axis=0)):
            drive = drive + events[:, active, None] * matrix[active]
            passed = np.maximum(passed, np.abs(drive))
    return drive, passed


def _place(layout: Layout, source: str) -> tuple[bool, int]:
    """Return when a source's events are added: inputs first, then neurons by number."""
    if source in layout.channels:
        return False, layout.channels[source]
    return True, layout.groups[source].first
