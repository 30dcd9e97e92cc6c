"""A stand-in for `pynn_brainscales.brainscales2` that knows what the vendor's layer takes.

Names, keywords and ranges are those of pynn-brainscales fd4f926 (`brainscales2/__init__.py`,
`populations.py`, `projections.py`, `standardmodels/cells.py`, `connectors.py`); whatever else is
asked for raises. Calls are recorded; `Chip.networks` has them, and `rebuilt` what they make up.
Spikes and membranes are those that a function given to `Chip` returns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import Enum, auto
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

#: Ranges that calibration accepts without a warning (pynn-brainscales: cells.py).
RANGES = {
    "v_rest": (50, 160), "v_reset": (50, 160), "v_thresh": (50, 220), "tau_m": (0.5, 60),
    "tau_syn_E": (0.3, 30), "tau_syn_I": (0.3, 30), "cm": (0, 63), "tau_refrac": (0.04, 32),
    "i_synin_gm_E": (30, 800), "i_synin_gm_I": (30, 800), "synapse_dac_bias": (30, 1022),
}  # fmt: skip
#: What the layer truncates to whole numbers.
WHOLE = ("v_rest", "v_reset", "v_thresh", "i_synin_gm_E", "i_synin_gm_I", "synapse_dac_bias")
TICKS_PER_MS = 125_000


class ConnectionError(Exception):
    """A weight of the wrong sign."""


class Quantity(SimpleNamespace):
    """Times with a unit."""

    def rescale(self, unit: str) -> Quantity:
        factor = {"s": 1e-3, "ms": 1.0, "us": 1e3}[unit]
        return Quantity(
            ms=self.ms, magnitude=self.ms * factor, annotations=self.__dict__.get("annotations")
        )


class Calibrated:
    """CalibHXNeuronCuba."""

    names = tuple(RANGES)

    def __init__(
        self, plasticity_rule: None = None, *,
        v_rest: Any = None, v_reset: Any = None, v_thresh: Any = None, tau_m: Any = None,
        tau_syn_E: Any = None, tau_syn_I: Any = None, cm: Any = None, tau_refrac: Any = None,
        i_synin_gm_E: Any = None, i_synin_gm_I: Any = None, synapse_dac_bias: Any = None,
    ) -> None:  # fmt: skip
        assert plasticity_rule is None
        given = {k: v for k, v in locals().items() if k in RANGES and v is not None}
        self.parameters: dict[str, list[float]] = {}
        for name, values in given.items():
            assert isinstance(values, list), name
            low, high = RANGES[name]
            for value in values:
                assert isinstance(value, int | float), (name, value)
                assert not isinstance(value, bool | np.generic), (name, value)
                assert low <= value <= high, (name, value)
                assert name not in WHOLE or value == int(value), (name, value)
            self.parameters[name] = values
        for name in ("i_synin_gm_E", "i_synin_gm_I", "synapse_dac_bias"):
            assert len(set(self.parameters[name])) == 1, name  # RuntimeError of the vendor's


class SpikeSourceArray:
    """Events at given times in ms; truncated to ticks."""

    def __init__(self, spike_times: Sequence[float] = ()) -> None:
        self.trains = spike_times


class StaticSynapse:
    """A weight in LSB; delays cannot be chosen."""

    def __init__(self, weight: float = 0.0, delay: float = 0.0) -> None:
        assert delay == 0
        assert isinstance(weight, int | float)
        self.weight = weight


class ArrayConnector:
    """Which connections there are, [pre, post]."""

    def __init__(
        self, array: Any, safe: bool = True, callback: None = None, *,
        location_selector: None = None, source_location_selector: None = None,
    ) -> None:  # fmt: skip
        assert array.dtype == bool
        self.array = array

    def mask(self, shape: tuple[int, int]) -> Any:
        assert self.array.shape == shape
        return self.array


class AllToAllConnector:
    """All connections."""

    def __init__(
        self, allow_self_connections: bool = True, safe: bool = True, callback: None = None, *,
        location_selector: None = None, source_location_selector: None = None,
    ) -> None:  # fmt: skip
        assert allow_self_connections

    def mask(self, shape: tuple[int, int]) -> Any:
        return np.ones(shape, bool)


class RunCommand(Enum):
    PREPARE = auto()
    APPEND = auto()
    EXECUTE = auto()


class Net:
    """One setup: what was made, and each run's events (`sent`: ticks by label of the source)."""

    def __init__(self, permutation: list[int]) -> None:
        self.permutation = permutation
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.runs: list[dict[str, Any]] = []
        self.running = self.ended = False
        self.played: Any = None


class Chip:
    """Installs itself as the vendor's module.

    Args:
        play: From the network and a run ({`sent`: events by label, `end`: ticks}) to spikes in
            ticks, by label and neuron, and to membranes as (microseconds, LSB) alike.
    """

    def __init__(
        self, play: Callable[[Net, dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]
    ) -> None:
        self.play = play
        self.networks: list[Net] = []

    @property
    def net(self) -> Net:
        assert self.networks, "setup comes first"
        assert not self.networks[-1].ended, "setup comes first"
        return self.networks[-1]

    def setup(
        self, timestep: float = 3.4e-5, min_delay: Any = "auto", *,
        neuronPermutation: Sequence[int] = tuple(range(512)),
    ) -> None:  # fmt: skip
        found = list(neuronPermutation)
        assert len(set(found)) == len(found)
        assert all(type(n) is int and 0 <= n < 512 for n in found)
        assert not self.networks or self.networks[-1].ended, "one network at a time"
        self.networks.append(Net(found))

    def run(self, runtime: float | None, command: RunCommand = RunCommand.EXECUTE) -> None:
        net = self.net
        if command is RunCommand.PREPARE:
            for population in net.populations:
                population.prepare()
            return
        assert command is RunCommand.EXECUTE
        assert runtime is not None
        if net.running:
            raise RuntimeError("Call `pynn.reset()` before calling `pynn.run()` again.")
        net.running = True
        for population in net.populations:
            if population.actual is None:
                population.prepare()
        end = int(runtime * TICKS_PER_MS)
        sent = {p.label: p.ticks(end) for p in net.populations if p.is_source}
        net.runs.append(
            {"sent": sent, "end": end, "silent": [p.label for p in net.populations if p.silent]}
        )
        net.played = self.play(net, net.runs[-1])

    def reset(self) -> None:
        self.net.running = False
        for population in self.net.populations:
            population.actual = None

    def end(self) -> None:
        self.net.ended = True

    def module(self) -> ModuleType:
        """Return the module."""
        made = ModuleType("pynn_brainscales.brainscales2")
        chip = self

        class MadePopulation(Population):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(chip.net, *args, **kwargs)

        class MadeProjection(Projection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(chip.net, *args, **kwargs)

        cells = SimpleNamespace(CalibHXNeuronCuba=Calibrated, SpikeSourceArray=SpikeSourceArray)
        synapses = SimpleNamespace(StaticSynapse=StaticSynapse)
        vars(made).update(
            setup=self.setup, run=self.run, reset=self.reset, end=self.end, RunCommand=RunCommand,
            Population=MadePopulation, Projection=MadeProjection, cells=cells,
            ArrayConnector=ArrayConnector, AllToAllConnector=AllToAllConnector,
            standardmodels=SimpleNamespace(cells=cells, synapses=synapses),
        )  # fmt: skip
        return made

    def install(self, monkeypatch: Any) -> None:
        """Make imports find the stand-in."""
        package = ModuleType("pynn_brainscales")
        package.__path__ = []
        module = self.module()
        monkeypatch.setattr(package, "brainscales2", module, raising=False)
        monkeypatch.setitem(sys.modules, "pynn_brainscales", package)
        monkeypatch.setitem(sys.modules, "pynn_brainscales.brainscales2", module)


class Population:
    """Neurons or sources."""

    def __init__(
        self, net: Net, size: int, cellclass: Any, cellparams: None = None, structure: None = None,
        initial_values: dict[str, Any] | None = None, label: str | None = None,
    ) -> None:  # fmt: skip
        assert cellparams is None
        assert structure is None
        assert not initial_values
        assert isinstance(size, int)
        assert size > 0
        self.net, self.size, self.cell = net, size, cellclass
        self.label = label or f"population{len(net.populations)}"
        self.is_source = isinstance(cellclass, SpikeSourceArray)
        self.recorded: dict[str, str] = {}
        self.actual: list[Any] | None = None
        self.first = sum(p.size for p in net.populations if not p.is_source)
        if not self.is_source:
            assert isinstance(cellclass, Calibrated)
            assert all(len(v) == size for v in cellclass.parameters.values())
            assert self.first + size <= len(net.permutation)
        net.populations.append(self)

    @property
    def circuits(self) -> list[int]:
        """Where `neuronPermutation` puts them: neuron populations in the order they were made."""
        return self.net.permutation[self.first : self.first + self.size]

    @property
    def silent(self) -> bool:
        return bool(self.actual) and not any(n.threshold.enable for n in self.actual or ())

    def prepare(self) -> None:
        if not self.is_source:
            self.actual = [
                SimpleNamespace(threshold=SimpleNamespace(enable=True)) for _ in range(self.size)
            ]

    @property
    def actual_hwparams(self) -> tuple[Any, ...]:
        if self.actual is None:
            raise AttributeError("actual_hwparams only available after pynn.run() call.")
        return tuple(self.actual)

    def set(self, *, spike_times: Sequence[Any]) -> None:
        assert self.is_source
        assert not self.net.running
        assert len(spike_times) == self.size
        assert all(isinstance(train, list) for train in spike_times)
        self.cell.trains = spike_times

    def ticks(self, end: int) -> list[list[int]]:
        """Truncate as the vendor does."""
        return [
            [int(t * 1000.0 * 125) for t in train if 0 <= t < end / TICKS_PER_MS]
            for train in self.cell.trains
        ]

    def record(
        self, variables: Any, to_file: None = None, sampling_interval: None = None,
        locations: None = None, *, device: str = "madc",
    ) -> None:  # fmt: skip
        assert to_file is None
        assert sampling_interval is None
        assert locations is None
        assert device in ("madc", "cadc")
        for name in variables:
            assert name in (("spikes",) if self.is_source else ("spikes", "v"))
            assert name != "v" or device == "cadc" or self.size == 1
            self.recorded[name] = device

    def get_data(self, variables: str) -> Any:
        assert variables in self.recorded, "nothing of it was recorded"
        assert self.net.running
        spikes, membranes = self.net.played
        segment = SimpleNamespace(spiketrains=[], irregularlysampledsignals=[])
        if variables == "spikes":
            for index, ticks in sorted(spikes.get(self.label, {}).items(), reverse=True):
                times = np.asarray(ticks, np.float64) / TICKS_PER_MS
                segment.spiketrains.append(Quantity(ms=times, annotations={"source_index": index}))
        else:
            for index, (times, values) in sorted(membranes.get(self.label, {}).items()):
                signal = SimpleNamespace(
                    times=Quantity(ms=np.asarray(times) / 1000),
                    magnitude=np.asarray(values, np.float32).reshape(-1, 1),
                    array_annotations={"channel_index": np.array([index])},
                )
                segment.irregularlysampledsignals.append(signal)
        return SimpleNamespace(segments=[segment])


class Projection:
    """Synapses of one sign."""

    def __init__(
        self, net: Net, presynaptic_neurons: Population, postsynaptic_neurons: Population,
        connector: Any, synapse_type: Any = None, source: None = None,
        receptor_type: str = "excitatory", space: None = None, label: str | None = None,
    ) -> None:  # fmt: skip
        assert receptor_type in ("excitatory", "inhibitory")
        assert not postsynaptic_neurons.is_source
        self.pre, self.post = presynaptic_neurons, postsynaptic_neurons
        self.sign = 1 if receptor_type == "excitatory" else -1
        self.mask = connector.mask((self.pre.size, self.post.size))
        self.weights = np.zeros(self.mask.shape)
        self.set(weight=synapse_type.weight)
        net.projections.append(self)

    def set(self, *, weight: Any) -> None:
        values = np.broadcast_to(np.asarray(weight, np.float64), self.mask.shape)[self.mask]
        if np.any(np.rint(values) * self.sign < 0):
            raise ConnectionError("Weights must be positive for excitatory synapses")
        assert np.array_equal(values, np.rint(values))
        self.weights = np.zeros(self.mask.shape)
        self.weights[self.mask] = values


def rebuilt(net: Net) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Return what was made.

    Returns:
        By label of neurons, their circuits and parameters; by labels of source and target (those
        of sources end in `*`), the sum of all weights, [post, pre].
    """
    neurons = {
        p.label: {"circuits": p.circuits, **p.cell.parameters}
        for p in net.populations
        if not p.is_source
    }
    matrices: dict[tuple[str, str], Any] = {}
    for projection in net.projections:
        name = projection.pre.label + "*" * projection.pre.is_source
        key = name, projection.post.label
        matrices[key] = matrices.get(key, 0) + projection.weights.T
    return neurons, matrices
