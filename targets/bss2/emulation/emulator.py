"""A BrainScaleS-2 chip, event by event; copied into emitted folders.

The digital part is what the registers say (`delivery`); the analogue part is the differential
equations of `docs/bss2-format.md`, solved between events (`engine`). Two limits of the chip are
simple models: a bus takes two events in a tick (one per cycle of the chip's clock) and, with
`arbitrate`, drops the rest; the host's link carries two in a tick and, with `serial`, delays the
rest.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.targets.bss2.emulation.circuits import CLoop, Job, TooMany, c_loop
from snnir.targets.bss2.emulation.conditions import Conditions, analogue_chip
from snnir.targets.bss2.emulation.config_reader import read_config
from snnir.targets.bss2.emulation.config_types import Config, Setup
from snnir.targets.bss2.emulation.delivery import Delivery, deliveries
from snnir.targets.bss2.emulation.engine_python import run_python
from snnir.targets.bss2.emulation.euler import euler_run
from snnir.targets.bss2.emulation.readout import converted, interpolated, sample_ticks
from snnir.targets.bss2.emulation.schedule import (
    Sender,
    checked_events,
    counted,
    duration,
    events_of_counts,
)
from snnir.targets.bss2.emulation.variation import (
    BadInput,
    VirtualChip,
    cadc_normals,
    draw_chip,
    ideal_chip,
)


@dataclass
class _Run:
    """What a run of all executions takes and gives."""

    ticks: int
    samples: int
    how: Conditions
    events: dict[str, Any]
    probe_ticks: Any
    probed: frozenset[str] = frozenset()
    membranes: dict[str, Any] = field(default_factory=dict)


class Model:
    """A chip and the host's side of it.

    Args:
        config: Content of `model.bss2.json`.
        compiled: Whether to run compiled; the same in Python is some hundred times slower.

    Attributes:
        stats: Of the last run: `packets` that the host sent, `host_excess` of them beyond what the
            link carries in their tick, `spikes` of neurons, `unrecorded` ones of them, `bus_excess`
            events that came to a bus beyond what it takes in a tick, `bus_dropped` ones of them,
            `cadc_saturated` samples out of the converter's range.

    Raises:
        BadFolder: If labels are ambiguous.
        NoCompiler: If it is to run compiled and there is no compiler.
    """

    def __init__(self, config: Config, compiled: bool = True) -> None:
        self.config = config
        self.function: Any = c_loop() if compiled else None
        self.deliveries = [deliveries(setup) for setup in config.executions]
        self.senders = [
            Sender(config, setup, len(setup.neurons.index)) for setup in config.executions
        ]
        self.stats: dict[str, int] = {}

    @classmethod
    def load(cls, folder: pathlib.Path, compiled: bool = True) -> Model:
        """Read a folder.

        Raises:
            BadFolder: If its `model.bss2.json` is not what it should be.
        """
        return cls(read_config(pathlib.Path(folder) / "model.bss2.json"), compiled)

    @property
    def recordable(self) -> list[str]:
        """What can be recorded: spikes of populations, and their membranes as `name:v`."""
        names = [p for p in self.config.populations.values() if p.kind == "neurons"]
        return [p.name for p in names if p.spiking] + [f"{p.name}:v" for p in names]

    def run(
        self, inputs: Mapping[str, Any], record: Sequence[str] = (), how: Conditions | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
        """Run counts [T, B, *shape] by input.

        Args:
            inputs: By name.
            record: Names out of `recordable`.
            how: See `Conditions`.

        Returns:
            Outputs and records by name, [T, B, *shape] (spikes are counts, membranes are in the
            model's units), and the number of recorded spikes by population.

        Raises:
            BadInput: If inputs are no counts or do not fit, or a name is none.
        """
        how = how or Conditions()
        for name in record:
            if name not in self.recordable:
                raise BadInput(f"'{name}' cannot be recorded; {', '.join(self.recordable)} can")
        steps, batch, events = self._inputs(inputs)
        ports = self.config.outputs.values()
        wanted = {port.population for port in ports if port.kind == "membrane"}
        wanted |= {name[:-2] for name in record if name not in self.config.populations}
        spikes, membranes = self._results(events, (steps, batch), frozenset(wanted), how)
        outputs = {
            port.name: (spikes if port.kind == "spikes" else membranes)[port.population].reshape(
                steps, batch, *port.shape
            )
            for port in ports
        }
        records = {}
        for name in record:
            known = name in self.config.populations
            found = spikes[name] if known else membranes[name[:-2]]
            shape = self.config.populations[name if known else name[:-2]].shape
            records[name] = found.reshape(steps, batch, *shape)
        return outputs, records, {name: float(x.sum(dtype=float)) for name, x in spikes.items()}

    def run_events(
        self, events: Mapping[str, Any], ticks: int, samples: int = 1,
        how: Conditions | None = None,
    ) -> tuple[Any, Any, Any, Any]:  # fmt: skip
        """Run lists of events, as they are sent and recorded.

        Args:
            events: Whole [n, 3] (tick, sample, index) by input.
            ticks: Length of the run.
            samples: How many samples.
            how: See `Conditions`; not in `euler` mode.

        Returns:
            Ticks, samples, populations (names) and indices of all recorded spikes, in the order
            of samples and ticks.

        Raises:
            BadInput: If events or ticks are not possible.
        """
        how = how or Conditions()
        if how.mode == "euler":
            raise BadInput("mode 'euler' has steps, not events")
        ticks = duration(max(ticks, 1), 1.0)
        known: dict[str, Any] = {}
        for name, port in self.config.inputs.items():
            size = self.config.populations[port.population].size
            found = checked_events(name, events.get(name, ()), size, ticks, samples)
            known[port.population] = np.concatenate([known.get(port.population, found[:0]), found])
        run = _Run(ticks, samples, how, known, np.zeros(0, np.int64))
        recorded = self._simulate(run)
        table = np.concatenate([np.zeros((0, 3), np.int64), *recorded.values()])
        names = np.array(list(recorded), str)
        population = np.repeat(names, [len(found) for found in recorded.values()])
        order = np.lexsort((table[:, 2], table[:, 0], table[:, 1]))
        tick, sample, index = table[order].T
        return tick, sample, population[order], index

    def _inputs(self, inputs: Mapping[str, Any]) -> tuple[int, int, dict[str, Any]]:
        sizes: set[tuple[int, ...]] = set()
        events: dict[str, Any] = {}
        for name, port in self.config.inputs.items():
            if name not in inputs:
                raise BadInput(f"input '{name}' is not given")
            counts = np.asarray(inputs[name])
            if counts.ndim < 2 or counts.shape[2:] != port.shape or 0 in counts.shape[:2]:
                what = f"[T, B, {', '.join(map(str, port.shape))}]"
                raise BadInput(f"input '{name}' must be {what}, is {list(counts.shape)}")
            sizes.add(counts.shape[:2])
            flat = counts.reshape(*counts.shape[:2], -1)
            found = events_of_counts(name, flat, self.config.step_ticks)
            before = events.get(port.population, found[:0])
            events[port.population] = np.concatenate([before, found])
        if len(sizes) != 1:
            raise BadInput("inputs differ in steps or samples")
        ((steps, batch),) = sizes
        duration(steps, self.config.step_ticks)
        return steps, batch, events

    def _results(
        self, events: dict[str, Any], size: tuple[int, int], wanted: frozenset[str],
        how: Conditions,
    ) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
        """Return spikes and membranes (in the model's units) by population, [T, B, n]."""
        (steps, batch), step_ticks = size, self.config.step_ticks
        populations = self.config.populations
        neurons = [p for p in populations.values() if p.kind == "neurons"]
        if how.mode == "euler":
            self.stats = {}
            spikes, membranes = euler_run(self.config, events, steps, batch)
        else:
            ticks, ends = duration(steps, step_ticks), np.arange(1, steps + 1) * step_ticks
            probes = np.ceil(ends).astype(np.int64)
            if how.cadc == "sampled":
                probes = sample_ticks(ticks, how.cadc_period)
            run = _Run(ticks, batch, how, dict(events), probes if wanted else probes[:0], wanted)
            recorded = self._simulate(run)
            spikes = {
                name: counted(found, steps, step_ticks, batch, populations[name].size)
                for name, found in recorded.items()
            }
            membranes = {
                name: v if how.cadc == "ideal" else interpolated(probes, v, ends)
                for name, v in run.membranes.items()
            }
        membranes = {
            name: (populations[name].offset + populations[name].factor * membranes[name]).astype(
                np.float32
            )
            for name in wanted
        }
        return {p.name: spikes[p.name] for p in neurons if p.spiking}, membranes

    def _simulate(self, run: _Run) -> dict[str, Any]:
        """Run all executions; return recorded spikes [n, 3] (tick, sample, index)."""
        self.stats = dict.fromkeys(
            ("packets", "host_excess", "spikes", "unrecorded", "bus_excess", "bus_dropped",
             "cadc_saturated"), 0,
        )  # fmt: skip
        populations = self.config.populations
        spiking = [p.name for p in populations.values() if p.kind == "neurons" and p.spiking]
        for name in spiking:
            run.events[name] = np.zeros((0, 3), np.int64)
        for name in run.probed:
            size = (len(run.probe_ticks), run.samples, populations[name].size)
            run.membranes[name] = np.zeros(size)
        chip = ideal_chip()
        if run.how.mode == "mismatch":
            chip = draw_chip(run.how.seed, run.how.sigmas)
        for number in range(len(self.config.executions)):
            self._execute(number, run, chip)
        return {name: run.events[name] for name in spiking}

    def _execute(self, number: int, run: _Run, chip: VirtualChip) -> None:
        setup, delivery, how = self.config.executions[number], self.deliveries[number], run.how
        neurons = setup.neurons
        sent, excess = self.senders[number].packets(
            run.events, run.ticks, run.samples, how.serial
        )  # fmt: skip
        analogue = analogue_chip(self.config, setup, delivery, chip, how)
        loop = CLoop(self.function, analogue) if self.function else None
        probed = np.array(
            [unit for unit, name in enumerate(neurons.population) if name in run.probed], np.int64
        )
        table, crowded = [np.zeros((0, 3), np.int64)], 0
        for sample, (tick, packet) in enumerate(sent):
            place = (number << 32) + sample
            job = Job(place, run.ticks, tick, packet, run.probe_ticks, probed)
            try:
                when, unit, v, full = loop.run(job) if loop else run_python(analogue, job)
            except TooMany as problem:
                raise BadInput(str(problem)) from None
            table.append(np.stack([when, np.full(len(when), sample), unit], 1))
            crowded += full
            if len(probed):
                self._read(run, setup, (sample, place), probed, v, chip)
            self.stats["packets"] += int(np.sum(packet < self.senders[number].first_generator))
        self.stats["host_excess"] += excess
        self.stats["bus_excess"] += crowded
        self.stats["bus_dropped"] += crowded if how.arbitrate else 0
        self._record(run, setup, delivery, np.concatenate(table))

    def _read(
        self, run: _Run, setup: Setup, sample: tuple[int, int], probed: Any, v: Any,
        chip: VirtualChip,
    ) -> None:  # fmt: skip
        """Keep membranes [probes, probed] of a sample, as the converter sees them."""
        if run.how.cadc == "sampled":
            circuits = [setup.neurons.circuits[unit][0] for unit in probed.tolist()]
            v = v + chip.cadc_offset[circuits]
            if run.how.noise_seed is not None and run.how.sigmas.noise_cadc:
                noise = cadc_normals(run.how.noise_seed, sample[1], circuits, len(v))
                v = v + run.how.sigmas.noise_cadc * noise
            v, saturated = converted(v)
            self.stats["cadc_saturated"] += saturated
        for column, unit in enumerate(probed.tolist()):
            name, index = setup.neurons.population[unit], setup.neurons.index[unit]
            run.membranes[name][:, sample[0], index] = v[:, column]

    def _record(self, run: _Run, setup: Setup, delivery: Delivery, table: Any) -> None:
        """Keep the spikes that the host sees, by population and in order."""
        seen = delivery.recorded[table[:, 2]]
        self.stats["spikes"] += len(table)
        self.stats["unrecorded"] += int(np.sum(~seen))
        table = table[seen & (table[:, 0] < run.ticks)]
        names = np.array(setup.neurons.population)
        for name in sorted(set(setup.neurons.population)):
            if not self.config.populations[name].spiking:
                continue
            own = table[names[table[:, 2]] == name]
            own[:, 2] = setup.neurons.index[own[:, 2]]
            together = np.concatenate([run.events[name], own])
            order = np.lexsort((together[:, 2], together[:, 0], together[:, 1]))
            run.events[name] = together[order]
