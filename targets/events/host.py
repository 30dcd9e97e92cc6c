"""Running networks of events on inputs, and reading what they did; copied into emitted folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from snnir.c_build import NoCompiler
from snnir.events import Events
from snnir.targets.events.engine_c import ENGINE
from snnir.targets.events.engine_host import engine, run_c
from snnir.targets.events.engine_python import run_python
from snnir.targets.events.network import Block, EventNetwork, EventRecord
from snnir.targets.events.plan import Job, Plan, RunError, Trace, on_steps, plan_of

#: Spikes of neurons in one sample after which a run is given up, unless it is told otherwise.
MOST_EVENTS = 10_000_000


@dataclass(frozen=True)
class Readings:
    """What is read of membranes.

    Attributes:
        time: [p] float64, ascending, seconds: read before what happens then.
        neuron: [q], numbers of neurons.
    """

    time: Any = field(default_factory=lambda: np.zeros(0))
    neuron: Any = field(default_factory=lambda: np.zeros(0, np.int32))


class Simulator:
    """A network ready to run.

    Args:
        network: The network.
        kind: `c`, `python`, or `auto`: C where there is a compiler.
        most: Spikes of neurons in one sample after which a run is given up.
        threads: Samples that are run at once by the C engine.
        source: The C engine's source.

    Attributes:
        kind: The engine that is used.

    Raises:
        NoCompiler: If the kind is `c` and there is no compiler.
    """

    def __init__(
        self, network: EventNetwork, kind: str = "auto", most: int = MOST_EVENTS, threads: int = 1,
        source: str = ENGINE,
    ) -> None:  # fmt: skip
        self.network, self.most, self.threads, self.source = network, most, threads, source
        self.kind = kind
        if kind != "python":
            try:
                engine(source)
                self.kind = "c"
            except NoCompiler:
                if kind == "c":
                    raise
                self.kind = "python"

    @cached_property
    def plan(self) -> Plan:
        """The network as engines take it."""
        neurons, synapses = vars(self.network.neurons), vars(self.network.synapses)
        own = self.network
        return plan_of(neurons, synapses, own.input_units, own.pulse, own.dt)

    @cached_property
    def inputs(self) -> dict[str, Block]:
        """Blocks of channels by name."""
        blocks = self.network.blocks
        return {block.name: block for block in blocks if block.kind in ("input", "current")}

    def run(
        self,
        given: Mapping[str, Any],
        samples: int,
        duration: float,
        readings: Readings | None = None,
    ) -> list[Trace]:
        """Run samples.

        Args:
            given: By input name: `Events`, or an array [T, B, *shape]. Elements of arrays are
                counts of spikes at the starts of their steps for blocks of kind `input`, and
                currents held for their steps for those of kind `current`.
            samples: How many; events of others are errors.
            duration: Seconds; what comes at this time or later is left out.
            readings: What is read of membranes.

        Raises:
            RunError: If a sample was given up.
        """
        parts = [self._entries(self.inputs[name], x) for name, x in given.items()]
        sample, time, unit, value, kind, change = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        order = np.lexsort((kind, unit, time, sample))
        bounds = np.searchsorted(sample[order], np.arange(samples + 1))
        read = readings or Readings()
        jobs = []
        for own in np.split(order, bounds[1:-1]):
            jobs.append(
                Job(time[own], unit[own], value[own], kind[own], change[own], float(duration),
                    read.time, read.neuron, self.most)
            )  # fmt: skip
        return self.run_jobs(jobs)

    def run_jobs(self, jobs: Sequence[Job]) -> list[Trace]:
        """Run samples that are ready."""
        if self.kind == "python":
            return [run_python(self.plan, job) for job in jobs]
        if self.threads == 1 or len(jobs) < 2:
            return [run_c(self.plan, job, self.source) for job in jobs]
        plan = self.plan
        with ThreadPoolExecutor(min(self.threads, len(jobs))) as pool:
            return list(pool.map(lambda job: run_c(plan, job, self.source), jobs))

    def _entries(self, block: Block, x: Any) -> tuple[Any, ...]:
        """Return sample, time, unit, value, kind and change of what enters a block."""
        if not isinstance(x, Events) and block.kind == "current":
            return self._held(block, np.asarray(x, np.float64))
        events = x if isinstance(x, Events) else Events.of_grid(x, self.network.dt)
        count = len(events)
        return (
            events.sample, on_steps(events.time, self.network.dt), block.start + events.index,
            np.ones(count), np.zeros(count, np.int8), np.ones(count, np.int8),
        )  # fmt: skip

    def _held(self, block: Block, x: Any) -> tuple[Any, ...]:
        """Return the changes of currents that are held for steps; they end with the array."""
        flat = x.reshape(*x.shape[:2], -1)
        line = np.concatenate([np.zeros_like(flat[:1]), flat, np.zeros_like(flat[:1])])
        before, after = line[:-1], line[1:]
        step, sample, index = np.nonzero(before != after)
        was, now = before[step, sample, index], after[step, sample, index]
        change = (now != 0).astype(np.int8) - (was != 0).astype(np.int8)
        return (
            sample, step * self.network.dt, block.start + index, now - was,
            np.full(len(step), 2, np.int8), change,
        )  # fmt: skip

    def explained(self, problem: RunError) -> str:
        """Return why a run was given up, with the population."""
        for block in self.network.blocks:
            if block.start <= problem.unit < block.start + block.size:
                return f"{problem}, in neuron {problem.unit - block.start} of '{block.name}'"
        return str(problem)

    # --- What a run gave -------------------------------------------------------------------------

    def block(self, name: str) -> Block:
        """Return the block of a name."""
        return next(block for block in self.network.blocks if block.name == name)

    def neurons(self, block: Block) -> Any:
        """Return the numbers of a population's neurons."""
        return np.arange(block.size, dtype=np.int32) + np.int32(block.start - self.plan.inputs)

    def events(self, traces: Sequence[Trace], block: Block) -> Events:
        """Return the spikes of a population, samples one after the other, each in order of time."""
        found = [np.flatnonzero(self._is_in(trace.unit, block)) for trace in traces]
        sample = np.repeat(np.arange(len(traces)), [len(own) for own in found])
        time = [trace.time[own] for trace, own in zip(traces, found, strict=True)]
        unit = [trace.unit[own] for trace, own in zip(traces, found, strict=True)]
        return Events(np.concatenate(time), np.concatenate(unit) - block.start, sample)

    @staticmethod
    def _is_in(unit: Any, block: Block) -> Any:
        return (unit >= block.start) & (unit < block.start + block.size)


def record_of(trace: Trace) -> EventRecord:
    """Return what fired in a sample, as gradients need it."""
    return EventRecord(trace.time, trace.unit, trace.current, trace.drive, trace.v)
