"""A Speck, event by event; copied into emitted folders.

The rules are those of the Speck user guide (3.2.4.6) as `docs/speck.md` states them; what the
guide leaves open is fixed there too. States are kept in 16 bits. An event of channel c at (y, x)
visits the neurons under its window in the order y, x, channel: the weight is added, the sum is
kept between the lower bound and 32767, and if it reaches the threshold the neuron spikes once and
the threshold is subtracted (or the state set to 0). Spikes wait in one queue, first in first out;
the next input event comes when it is empty.
"""

from __future__ import annotations

import ctypes
import json
import pathlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snnir.c_build import shared_library
from snnir.targets.speck.chip_reader import (
    BadFolder,
    Core,
    Sensor,
    chip_of_config,
    chip_of_words,
)
from snnir.targets.speck.chips import CORES, READOUT, SENSOR
from snnir.targets.speck.engine import ENGINE

LARGEST = 32767
#: What nothing real exceeds: spikes that wait, events of a channel in a step, ticks in a step.
MOST_WAITING, MOST_EVENTS, MOST_TICKS = 1 << 24, 65535, 1000
#: An input event that is followed by others of the same spike is queued, and nothing else done.
MORE = 1 << 40


# --- Running -------------------------------------------------------------------------------------


_ENDLESS = "its spikes make ever more spikes"


class _CCore(ctypes.Structure):
    """`core` of the engine."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "kernel", "stride_y", "stride_x", "padding_y", "padding_x", "height", "width",
            "channels", "high", "low", "to_zero", "leak", "targets",
        )),
        *((name, ctypes.c_int32 * 2) for name in ("layer", "pooling", "shift")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "state", "out")),
        ("spikes", ctypes.c_int64),
    ]  # fmt: skip


def c_engine() -> Any:
    """Return the compiled engine.

    Raises:
        NoCompiler: If there is no C compiler.
    """
    function = ctypes.CDLL(str(shared_library(ENGINE))).run
    function.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_int]
    return function


class Emulator:
    """A configured chip that takes events.

    Args:
        cores: By number.
        sensor: The sensor's block.
        compiled: Whether to run compiled; the same in Python is some hundred times slower.

    Attributes:
        reverse: Whether the neurons that an event reaches are visited in the opposite order.

    Raises:
        NoCompiler: If it is to run compiled and there is no compiler.
    """

    def __init__(self, cores: Mapping[int, Core], sensor: Sensor, compiled: bool = True) -> None:
        self.cores, self.sensor = dict(cores), sensor
        self.engine: Any = c_engine() if compiled else None
        self.weights = {n: np.ascontiguousarray(core.weights) for n, core in cores.items()}
        self.states: dict[tuple[int, int], Any] = {}
        self.reverse = False

    def reset(self) -> None:
        """Forget all states."""
        self.states = {}

    def state(self, sample: int, core: int) -> Any:
        """Return the state of a core for one sample, [y, x, channel]; it is changed in place."""
        if (sample, core) not in self.states:
            self.states[sample, core] = np.ascontiguousarray(self.cores[core].initial).copy()
        return self.states[sample, core]

    def run(
        self, events: Any, steps: int, sample: int = 0, ticks: Any = None,
        record: Sequence[int] = (),
    ) -> tuple[dict[int, Any], dict[int, int]]:  # fmt: skip
        """Run one sample from its present state.

        Args:
            events: [n, 6]: step, core, channel, y, x, and whether the next event is the same
                spike for another core: all of a spike's are queued before any is taken.
            steps: How many steps there are.
            sample: Whose state is used.
            ticks: [steps]: ticks of the slow clock at the start of each step.
            record: Cores whose spikes are returned.

        Raises:
            BadFolder: If events go where nothing is.

        Returns:
            Spikes [steps, channels, height, width] of the recorded cores, and the number of
            spikes of every core.
        """
        events = np.asarray(events, np.int64).reshape(-1, 6)
        self._check(events)
        ticks = np.zeros(steps, np.int32) if ticks is None else np.asarray(ticks, np.int32)
        shapes = {n: (steps, *self.cores[n].shape) for n in record}
        spikes = {n: np.zeros(shape, np.float32) for n, shape in shapes.items()}
        run = self._run_compiled if self.engine else self._run_python
        return spikes, run(events, steps, sample, ticks, spikes)

    def _check(self, events: Any) -> None:
        """Raise `BadFolder` for events that no core can take."""
        inputs = np.zeros(256, np.int64)
        inputs[list(self.cores)] = [core.weights.shape[0] for core in self.cores.values()]
        _, core, channel, y, x, _ = events.T
        inside = (core >= 0) & (core < 256) & (channel >= 0) & (np.minimum(y, x) >= 0)
        inside &= np.maximum(y, x) < 256
        if not inside.all() or (channel >= inputs[core]).any():
            raise BadFolder("events go to cores or channels that are not there")

    def _run_compiled(
        self, events: Any, steps: int, sample: int, ticks: Any, spikes: dict[int, Any]
    ) -> dict[int, int]:
        table = (_CCore * CORES)()
        biases = {n: np.ascontiguousarray(core.biases) for n, core in self.cores.items()}
        for n, core in self.cores.items():
            entry, (channels, height, width) = table[n], core.shape
            entry.kernel, entry.channels, entry.height, entry.width = (
                core.kernel, channels, height, width,
            )  # fmt: skip
            entry.stride_y, entry.stride_x = core.stride
            entry.padding_y, entry.padding_x = core.padding
            entry.high, entry.low = core.high, core.low
            entry.to_zero, entry.leak, entry.targets = core.to_zero, core.leak, len(core.targets)
            for slot, (layer, pooling, shift) in enumerate(core.targets):
                entry.layer[slot], entry.pooling[slot], entry.shift[slot] = layer, pooling, shift
            entry.weight = self.weights[n].ctypes.data
            entry.bias = biases[n].ctypes.data
            entry.state = self.state(sample, n).ctypes.data
            entry.out = spikes[n].ctypes.data if n in spikes else None
        packed = events[:, 1] << 32 | events[:, 2] << 16 | events[:, 3] << 8 | events[:, 4]
        packed = np.ascontiguousarray(packed | events[:, 5] * MORE, np.uint64)
        ends = np.searchsorted(events[:, 0], np.arange(steps), "right").astype(np.int64)
        ticks = np.ascontiguousarray(ticks, np.int32)
        pointers = (packed.ctypes.data, ends.ctypes.data, ticks.ctypes.data)
        if self.engine(ctypes.addressof(table), *pointers, steps, self.reverse):
            raise BadFolder(_ENDLESS)
        return {n: int(table[n].spikes) for n in self.cores}

    def _run_python(
        self, events: Any, steps: int, sample: int, ticks: Any, spikes: dict[int, Any]
    ) -> dict[int, int]:
        sums = dict.fromkeys(self.cores, 0)
        queue: deque[tuple[int, int, int, int]] = deque()

        def fire(step: int, n: int, state: Any, top: int, left: int) -> None:
            core = self.cores[n]
            found = np.argwhere(state >= core.high).tolist()
            for y, x, channel in reversed(found) if self.reverse else found:
                state[y, x, channel] = 0 if core.to_zero else state[y, x, channel] - core.high
                sums[n] += 1
                if n in spikes:
                    spikes[n][step, channel, top + y, left + x] += 1
                if len(queue) > MOST_WAITING:
                    raise BadFolder(_ENDLESS)
                for layer, pooling, shift in core.targets:
                    place = (top + y) // pooling, (left + x) // pooling
                    queue.append((layer, channel + shift, *place))

        def settle(step: int) -> None:
            while queue:
                n, channel, *place = queue.popleft()
                if n == READOUT:
                    continue
                core = self.cores[n]
                rows, columns = (self._window(core, axis, place[axis]) for axis in (0, 1))
                if not rows or not columns:
                    continue
                taps = np.ix_([k for _, k in rows], [k for _, k in columns])
                state = self.state(sample, n)
                window = state[rows[0][0] : rows[-1][0] + 1, columns[0][0] : columns[-1][0] + 1]
                _add(window, self.weights[n][channel][taps], core.low)
                fire(step, n, window, rows[0][0], columns[0][0])

        at = 0
        for step in range(steps):
            for _ in range(int(ticks[step])):
                for n in sorted(self.cores):
                    if self.cores[n].leak:
                        state = self.state(sample, n)
                        _add(state, self.cores[n].biases, self.cores[n].low)
                        fire(step, n, state, 0, 0)
                settle(step)
            while at < len(events) and events[at, 0] == step:
                *event, more = events[at, 1:].tolist()
                queue.append(tuple(event))
                if not more:
                    settle(step)
                at += 1
        return sums

    def _window(self, core: Core, axis: int, place: int) -> list[tuple[int, int]]:
        """Return the outputs along an axis that see a place, each with the tap it sees it by."""
        extent, stride, padding = core.initial.shape[axis], core.stride[axis], core.padding[axis]
        taps = ((out, place + padding - out * stride) for out in range(extent))
        return [(out, tap) for out, tap in taps if 0 <= tap < core.kernel]


def _add(state: Any, term: Any, low: int) -> None:
    state[...] = np.clip(state.astype(np.int32) + term, low, LARGEST)


class BadInput(ValueError):
    """What is to be run is no input of the chip."""


# --- Whole inputs --------------------------------------------------------------------------------


def listed(counts: Any) -> Any:
    """Return the events [step, channel, y, x] of counts [T, channels, height, width].

    Within a step they are ordered by y, x, channel; a count n is n events one after the other.

    Raises:
        BadInput: If they are not whole numbers that a step can have.
    """
    fine = np.isfinite(counts) & (counts >= 0) & (counts <= MOST_EVENTS)
    if not fine.all() or (counts != np.rint(counts)).any():
        raise BadInput(f"inputs are counts of events, whole numbers from 0 to {MOST_EVENTS}")
    order = counts.transpose(0, 2, 3, 1)
    step, y, x, channel = np.nonzero(order)
    events = np.stack([step, channel, y, x], 1)
    return np.repeat(events, order[step, y, x, channel].astype(np.int64), axis=0)


def routed(events: Any, targets: Sequence[Sequence[int]], size: Sequence[int]) -> Any:
    """Return the events that `Emulator.run` takes, one for every target of each.

    Args:
        events: [step, channel, y, x].
        targets: (core, pooling, shift of the channel).
        size: Height and width of the maps; what no whole window of a target covers is dropped.
    """
    step, channel, y, x = events.T
    parts = []
    for core, pooling, shift in sorted(map(tuple, targets)):
        columns = (step, step * 0 + core, channel + shift, y // pooling, x // pooling)
        inside = (y // pooling < size[0] // pooling) & (x // pooling < size[1] // pooling)
        parts.append(np.stack([*columns, inside], 1))
    together = np.stack(parts, 1) if parts else np.zeros((0, 0, 6), np.int64)
    spike = np.repeat(np.arange(len(together)), together.shape[1])
    kept = together[..., 5].reshape(-1) != 0
    found, spike = together.reshape(-1, 6)[kept], spike[kept]
    found[:, 5] = np.append(spike[1:] == spike[:-1], [False])[: len(found)]
    return found


def checked_ports(ports: Any, cores: Mapping[int, Core]) -> Any:
    """Return the content of `ports.json` if it fits the chip.

    Raises:
        BadFolder: If it does not.
    """
    try:
        (port,) = ports["inputs"].values()
        fine = 0 <= ports["ticks_per_step"] <= MOST_TICKS and len(port["maps"]) == 3
        fine &= _size(port["maps"]) == _size(port["shape"]) > 0
        for core, pooling, shift in port["destinations"]:
            fine &= core in cores and 1 <= pooling <= SENSOR and 0 <= shift < 1024
        for facts in ports["populations"].values():
            channels, height, width = cores[facts["core"]].shape
            fine &= len(facts["channels"]) == facts["maps"][0]
            fine &= all(0 <= channel < channels for channel in facts["channels"])
            fine &= height <= facts["maps"][1] <= 64 and width <= facts["maps"][2] <= 64
            fine &= _size(facts["maps"]) == _size(facts["shape"])
        for exit_ in ports["outputs"].values():
            facts = ports["populations"][exit_["population"]]
            fine &= _size(exit_["shape"]) == _size(facts["shape"])
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise BadFolder(f"ports.json does not fit the chip: {problem!r}") from None
    if not fine:
        raise BadFolder("ports.json does not fit the chip")
    return ports


def _size(shape: Sequence[int]) -> int:
    if not all(type(extent) is int and 0 < extent <= 65536 for extent in shape):
        raise ValueError(f"{shape} is no shape")
    return int(np.prod(shape, dtype=object))


class Model:
    """A chip and the host's side of it.

    Args:
        chip: Cores and sensor.
        ports: Content of `ports.json`: where inputs go and outputs come from.
        compiled: See `Emulator`.

    Raises:
        BadFolder: If the two do not fit.
    """

    def __init__(
        self, chip: tuple[dict[int, Core], Sensor], ports: Mapping[str, Any], compiled: bool = True
    ) -> None:
        self.emulator = Emulator(*chip, compiled)
        self.ports = checked_ports(ports, self.emulator.cores)
        self.begun, self.batch = 0, 0

    @classmethod
    def load(cls, folder: pathlib.Path, form: str = "config", compiled: bool = True) -> Model:
        """Read a folder: its configuration, or the memory writes alone.

        Raises:
            BadFolder: If the files are not what they should be.
        """
        try:
            ports = json.loads((folder / "ports.json").read_text("utf-8"))
            if form == "memory":
                chip = chip_of_words(np.fromfile(folder / "memory.bin", "<u4"))
            else:
                chip = chip_of_config((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise problem if isinstance(problem, BadFolder) else BadFolder(str(problem)) from None
        return cls(chip, ports, compiled)

    def run(
        self, inputs: Mapping[str, Any], record: Sequence[str] = (), resume: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
        """Run counts [T, B, *shape] by input; return outputs, records and spikes by population.

        Raises:
            BadInput: If they are no counts.
        """
        ((name, port),) = self.ports["inputs"].items()
        counts = np.asarray(inputs[name])
        steps, batch = counts.shape[:2]
        if not steps or not batch:
            raise BadInput(f"input '{name}' is empty")
        self.batch = batch
        if not resume:
            self.emulator.reset()
            self.begun = 0
        counts = counts.reshape(steps, batch, *port["maps"])
        ticks = self._ticks(steps)
        populations = self.ports["populations"]
        exits = {name: port["population"] for name, port in self.ports["outputs"].items()}
        wanted = {*exits.values(), *record}
        cores = {populations[p]["core"] for p in wanted}
        spikes: dict[int, list[Any]] = {core: [] for core in cores}
        sums = dict.fromkeys(populations, 0.0)
        for sample in range(batch):
            events = self._events(counts[:, sample], port)
            found, total = self.emulator.run(events, steps, sample, ticks, sorted(cores))
            for core in cores:
                spikes[core].append(found[core])
            for population, facts in populations.items():
                sums[population] += total[facts["core"]]
        self.begun += steps
        arrays = {}
        for population in wanted:
            facts = populations[population]
            stacked = np.stack(spikes[facts["core"]], 1)[:, :, facts["channels"]]
            # Neurons that nothing reads are not on the chip; they are silent.
            whole = np.zeros((steps, batch, *facts["maps"]), np.float32)
            whole[..., : stacked.shape[3], : stacked.shape[4]] = stacked
            arrays[population] = whole.reshape(steps, batch, *facts["shape"])
        outputs = {
            name: arrays[population].reshape(steps, batch, *self.ports["outputs"][name]["shape"])
            for name, population in exits.items()
        }
        return outputs, {p: arrays[p] for p in record}, sums

    def _events(self, counts: Any, port: Mapping[str, Any]) -> Any:
        events = listed(counts)
        if port["sensor"]:
            sensor = self.emulator.sensor
            size = sensor.size[::-1] if sensor.swap else sensor.size
            return routed(sensor.seen(events), sensor.targets, size)
        return routed(events, port["destinations"], port["maps"][1:])

    def _ticks(self, steps: int) -> Any:
        """Return how often the slow clock ticks at the start of each step."""
        per_step = self.ports["ticks_per_step"]
        ends = np.floor(np.arange(self.begun, self.begun + steps + 1) * per_step + 1e-9)
        return np.diff(ends).astype(np.int32)
