"""A network as a function of weights and inputs on arrays, with its derivative; no JAX here."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.events.adjoint_host import gradients
from snnir.targets.events.adjoint_plan import Sample
from snnir.targets.events.batches import (
    Slots,
    Stimuli,
    by_spike,
    firsts,
    largest,
    listed,
    stimuli_of,
)
from snnir.targets.events.forward import Forward
from snnir.targets.events.network import Block, EventNetwork, EventRecord

Array = npt.NDArray[Any]

#: Runs that are remembered, so that the backward run need not repeat the forward run.
_REMEMBERED = 4


@dataclass(frozen=True)
class Given:
    """Arguments of a run.

    Attributes:
        weight: [synapses].
        values, indices: Per input block, see `batches.stimuli_of`.
    """

    weight: Array
    values: Sequence[Array]
    indices: Sequence[Array]

    def digest(self) -> bytes:
        """Return what tells these arguments from others."""
        sums = hashlib.blake2b(digest_size=16)
        for array in (self.weight, *self.values, *self.indices):
            ready = np.ascontiguousarray(array)
            sums.update(f"{ready.dtype}{ready.shape}".encode())
            sums.update(ready.tobytes())
        return sums.digest()


@dataclass
class HostFunction:
    """Runs batches and their gradients.

    Attributes:
        network: The network.
        duration: Seconds.
        clip: Largest |dt/dv| of a crossing.
        most: Spikes in a sample after which a run is given up.
        threads: How many; all processors if None.
    """

    network: EventNetwork
    duration: float
    clip: float
    most: int
    threads: int | None
    _known: OrderedDict[bytes, tuple[Stimuli, list[EventRecord]]] = field(
        default_factory=OrderedDict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._forward = Forward(self.network, self.duration, self.most)
        self.threads = self.threads or os.cpu_count() or 1

    def run(self, given: Given) -> tuple[Stimuli, list[EventRecord]]:
        """Return what went in and what fired; the latest runs are remembered.

        Raises:
            SnnirError: SNN601 for inputs that do not fit, SNN603 for a run that is given up.
        """
        key = given.digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        stimuli = stimuli_of(self.network, given.values, given.indices)
        weight = np.asarray(given.weight, np.float64)
        records = self._forward.run(weight, stimuli.samples, self.threads or 1)
        with self._lock:
            self._known[key] = stimuli, records
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return stimuli, records

    def block(self, output: str) -> Block:
        """Return the population that an output is."""
        name = self.network.outputs[output]
        return next(block for block in self.network.blocks if block.name == name)

    def most_spikes(self, given: Given, outputs: Sequence[str]) -> int:
        """Return the most spikes of an output in a sample."""
        _, records = self.run(given)
        return max((largest(records, self.block(name)) for name in outputs), default=0)

    def slots(self, given: Given, outputs: Sequence[str], capacity: int) -> dict[str, Slots]:
        """Return spikes by output: all in order, or the first of each neuron if capacity is 0.

        Raises:
            SnnirError: SNN601 if there are more spikes than slots, and what `run` raises.
        """
        _, records = self.run(given)
        return _slots(records, {name: self.block(name) for name in outputs}, capacity)

    def gradients(
        self, given: Given, capacity: int, by_time: Mapping[str, Array]
    ) -> tuple[Array, list[Array]]:
        """Return derivatives of a loss by weights and by inputs.

        Args:
            given: Arguments of the run.
            capacity: As in `slots`.
            by_time: Derivatives by the times of the slots, by output.
        """
        stimuli, records = self.run(given)
        slots = _slots(records, {name: self.block(name) for name in by_time}, capacity)
        times = by_spike(records, slots, by_time)
        samples = [Sample(*each) for each in zip(stimuli.samples, records, times, strict=True)]
        plan = self._forward.planned(np.asarray(given.weight, np.float64))
        found = gradients(plan, samples, self.clip, self.threads)
        return found.weight, stimuli.gradients(found.inputs)


def _slots(
    records: Sequence[EventRecord], blocks: Mapping[str, Block], capacity: int
) -> dict[str, Slots]:
    return {
        name: listed(records, block, capacity) if capacity else firsts(records, block)
        for name, block in blocks.items()
    }
