"""What the analogue loop takes, and the loop in C; copied into emitted folders."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.c_build import shared_library
from snnir.targets.bss2.chips import EVENTS_PER_TICK
from snnir.targets.bss2.emulation.engine import ENGINE

#: Spikes of one sample that memory is kept for at most.
MOST_SPIKES = 1 << 27


class TooMany(RuntimeError):
    """A sample has more spikes than memory is kept for."""


@dataclass(frozen=True)
class AnalogueChip:
    """Neurons with the values that they have, in ticks, and what packets do to them.

    Attributes:
        values: [units, 8]: leak, reset, threshold [LSB], rates of membrane, excitation and
            inhibition [1 / tick], gains of the two [LSB / tick].
        clocks: [units, 4], whole: ticks of hold and refractory time, circuit, whether it spikes.
        legs, bus, entries, entry_unit, exc, inh: See `Delivery`.
        latency: Ticks.
        threshold_noise, jitter: Standard deviations, LSB and ticks.
        seed: Of the noise.
        arbitrate: Whether a bus drops what it cannot take.
        bus_limit: Events that it takes in a tick.
    """

    values: Any
    clocks: Any
    legs: Any
    bus: Any
    entries: Any
    entry_unit: Any
    exc: Any
    inh: Any
    latency: int
    threshold_noise: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    arbitrate: bool = False
    bus_limit: int = EVENTS_PER_TICK


@dataclass(frozen=True)
class Job:
    """One sample.

    Attributes:
        sample: Its number, for the noise.
        ticks: Events from this tick on are not there any more.
        event_tick, event_packet: In order of time.
        probe_tick: At which ticks membranes are read, ascending, `ticks` at most; what happens in
            that tick is not seen yet.
        probe_unit: Of which neurons.
    """

    sample: int
    ticks: int
    event_tick: Any
    event_packet: Any
    probe_tick: Any
    probe_unit: Any


class _CChip(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("units", "latency", "bus_limit", "arbitrate")),
        *((name, ctypes.c_void_p) for name in (
            "values", "clocks", "legs", "bus", "entries", "entry_unit", "exc", "inh",
        )),
        ("threshold_noise", ctypes.c_double), ("jitter", ctypes.c_double),
        ("seed", ctypes.c_uint64),
    ]  # fmt: skip


class _CJob(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "sample", "ticks", "events", "probes", "probed", "room",
        )),
        *((name, ctypes.c_void_p) for name in (
            "event_tick", "event_packet", "probe_tick", "probe_unit", "probe", "spike_tick",
            "spike_unit",
        )),
        ("found", ctypes.c_int64), ("crowded", ctypes.c_int64),
    ]  # fmt: skip


def c_loop() -> Any:
    """Return the compiled loop.

    Raises:
        NoCompiler: If there is no C compiler.
    """
    function = ctypes.CDLL(str(shared_library(ENGINE))).run
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return function


class CLoop:
    """A chip as the compiled loop takes it."""

    def __init__(self, function: Any, chip: AnalogueChip) -> None:
        self.function, self.room = function, 1 << 12
        tables = {
            name: np.ascontiguousarray(getattr(chip, name), kind)
            for name, kind in (
                ("values", np.float64), ("clocks", np.int64), ("legs", np.int64),
                ("bus", np.int64), ("entries", np.int64), ("entry_unit", np.int64),
                ("exc", np.float64), ("inh", np.float64),
            )
        }  # fmt: skip
        self.kept = tables
        self.chip = _CChip(
            units=len(chip.values), latency=chip.latency, bus_limit=chip.bus_limit,
            arbitrate=chip.arbitrate, threshold_noise=chip.threshold_noise, jitter=chip.jitter,
            seed=chip.seed, **{name: table.ctypes.data for name, table in tables.items()},
        )  # fmt: skip

    def run(self, job: Job) -> tuple[Any, Any, Any, int]:
        """Run a sample.

        Raises:
            TooMany: If there is no end of spikes.

        Returns:
            Ticks and neurons of the spikes, membranes [probes, neurons], and how many events
            came to a bus that had taken all it can in their tick.
        """
        given = {
            name: np.ascontiguousarray(getattr(job, name), np.int64)
            for name in ("event_tick", "event_packet", "probe_tick", "probe_unit")
        }
        probes = np.zeros((len(given["probe_tick"]), len(given["probe_unit"])))
        while True:
            spikes = np.empty((2, self.room), np.int64)
            call = _CJob(
                sample=job.sample, ticks=job.ticks, events=len(given["event_tick"]),
                probes=len(probes), probed=probes.shape[1], room=self.room,
                probe=probes.ctypes.data, spike_tick=spikes[0].ctypes.data,
                spike_unit=spikes[1].ctypes.data,
                **{name: array.ctypes.data for name, array in given.items()},
            )  # fmt: skip
            if not self.function(ctypes.addressof(self.chip), ctypes.addressof(call)):
                found = spikes[:, : call.found].copy()
                return found[0], found[1], probes, int(call.crowded)
            self.room *= 4
            if self.room > MOST_SPIKES:
                raise TooMany(f"a sample has more than {self.room // 4} spikes")
