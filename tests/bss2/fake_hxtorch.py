"""A stand-in for `hxtorch` that knows what the vendor's modules take, and steps as they do.

Names, keywords and defaults are those of hxtorch 3bfc7aa (`hxtorch/spiking`: modules/neuron.py,
modules/synapse.py, modules/sparse_synapse.py, parameter.py, experiment.py, execution_instance.py,
morphology.py). Everything is computed as with `mock=True`; what would go to a chip is recorded.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

#: Ranges that calibration accepts without a warning (calix: spiking/neuron.py), in our units.
RANGES = {
    "leak": (50, 160), "reset": (50, 160), "threshold": (50, 220), "tau_mem": (0.5e-6, 60e-6),
    "tau_syn": (0.3e-6, 30e-6), "i_synin_gm": (30, 800), "membrane_capacitance": (0, 63),
    "refractory_time": (0.04e-6, 32e-6), "synapse_dac_bias": (30, 1022), "holdoff_time": (0, 4e-6),
}  # fmt: skip


class HXParameter:
    def __init__(self, value: Any) -> None:
        self.model_value = self.hardware_value = value


class MixedHXModelParameter:
    def __init__(self, model_value: Any, hardware_value: Any) -> None:
        self.model_value, self.hardware_value = model_value, hardware_value


class LIFObservables:
    def __init__(
        self, spikes: Any = None, membrane_cadc: Any = None, current: Any = None,
        membrane_madc: Any = None,
    ) -> None:  # fmt: skip
        self.spikes, self.membrane_cadc = spikes, membrane_cadc
        self.current, self.membrane_madc = current, membrane_madc


class SingleCompartmentNeuron:
    def __init__(self, size: int, expand_horizontally: bool = False) -> None:
        """Positions in a grid of 2 rows: along the row, or column by column."""
        across = [(0, i) for i in range(size)]
        down = [(i % 2, i // 2) for i in range(size)]
        self.compartments = tuple(across if expand_horizontally else down)


class LogicalNeuronOnDLS:
    def __init__(self, compartments: Any, anchor: int) -> None:
        row, column = divmod(anchor, 256)
        self.circuits = [(row + r) * 256 + column + c for r, c in compartments]
        assert all(row + r < 2 for r, _ in compartments)
        assert len({(column + c) // 128 for _, c in compartments}) == 1


class Instance:
    def __init__(
        self, calib_path: Any = None, calib_cache_dir: Any = None, input_loopback: bool = False
    ) -> None:
        self.calib_path = calib_path

    def load_calib(self, calib_path: Any) -> None:
        self.calib_path = calib_path


class Experiment:
    made: list[Experiment]

    def __init__(self, mock: bool = False, dt: float = 1e-6, hw_routing_func: Any = None) -> None:
        self.mock, self.dt = mock, dt
        self.default_execution_instance = Instance()
        self.synapses: list[Synapse] = []
        self.neurons: list[Neurons] = []
        self.calls: list[tuple[Any, tuple[Any, ...], Any]] = []
        self.ran = 0
        Experiment.made.append(self)


class Module:
    """Is called with handles, and computes when the experiment is run."""

    experiment: Experiment
    execution_instance: Instance | None

    def __call__(self, *inputs: Any) -> Any:
        output = LIFObservables()
        self.experiment.calls.append((self, inputs, output))
        return output


class Synapse(Module):
    def __init__(
        self, in_features: int, out_features: int, experiment: Experiment,
        execution_instance: Instance | None = None, chip_coordinate: None = None,
        device: None = None, dtype: None = None, transform: Any = None,
        plasticity_rule: None = None,
    ) -> None:  # fmt: skip
        self.experiment, self.execution_instance = experiment, execution_instance
        self.weight = torch.nn.Parameter(torch.full((out_features, in_features), torch.nan))
        self.mask: Any = torch.ones(out_features, in_features)
        self.transform = transform
        experiment.synapses.append(self)

    def on_chip(self) -> Any:
        """Weights as they are rounded for the chip: half away from zero."""
        values = self.transform(self.weight.data).numpy()
        return (np.sign(values) * np.floor(np.abs(values) + 0.5)).astype(int)

    def step(self, inputs: tuple[Any, ...], output: Any) -> None:
        (handle,) = inputs
        output.graded = torch.nn.functional.linear(handle.spikes, self.weight.data * self.mask)


class SparseSynapse(Synapse):
    def __init__(
        self, connections: Any, experiment: Experiment,
        execution_instance: Instance | None = None, chip_coordinate: None = None,
        device: None = None, dtype: None = None, transform: Any = None,
    ) -> None:  # fmt: skip
        pre, post = connections.shape
        super().__init__(pre, post, experiment, execution_instance, transform=transform)
        assert execution_instance is None  # the vendor's fails between instances
        self.mask = connections.T


class Neurons(Module):
    fire = True

    def __init__(self, size: int, experiment: Experiment, given: dict[str, Any]) -> None:
        self.size, self.experiment = size, experiment
        self.execution_instance = given.pop("execution_instance")
        self.structure = given.pop("neuron_structure")
        placed = given.pop("placement_constraint")
        assert len(placed) == size
        self.circuits = [neuron.circuits for neuron in placed]
        self.cadc = given.pop("enable_cadc_recording")
        self.parameters = given
        for name, parameter in given.items():
            value = parameter.hardware_value
            array = np.asarray(value, np.float64)
            shapes: dict[str, Any] = {
                "i_synin_gm": [(2,)],
                "synapse_dac_bias": [()],
                "tau_syn": [(2, size)],
            }
            assert array.shape in shapes.get(name, [(size,)]), name
            low, high = RANGES[name]
            assert np.all((array >= low * (1 - 1e-6)) & (array <= high * (1 + 1e-6))), name
            if name in ("leak", "reset", "threshold", "membrane_capacitance"):
                assert value.dtype == torch.int64, name
        experiment.neurons.append(self)

    def step(self, inputs: tuple[Any, ...], output: Any) -> None:
        p = {name: parameter.model_value for name, parameter in self.parameters.items()}
        graded = torch.stack([handle.graded for handle in inputs]).sum(0)
        dt, c = self.experiment.dt, p["membrane_capacitance"]
        g_l = c / p["tau_mem"]
        v = torch.zeros_like(graded[0])
        v[:] = p["leak"]
        i = torch.zeros_like(v)
        left = torch.zeros_like(v)
        membranes, spikes = [], []
        for now in graded:
            dv = dt / c * (i + g_l * (p["leak"] - v))
            i = i * (1 - dt / p["tau_syn"]) + now
            v = v + dv
            if self.fire:
                held = (left > 0).to(v.dtype)
                z = (v > p["threshold"]).to(v.dtype) * (1 - held)
                v = torch.where((z + held) > 0, p["reset"], v)
                left = (1 - z) * torch.relu(left - held) + z * p["refractory_time"] / dt
                spikes.append(z)
            membranes.append(v)
        output.membrane_cadc = torch.stack(membranes) if self.cadc else None
        output.spikes = torch.stack(spikes) if self.fire else None


class LIF(Neurons):
    def __init__(
        self, size: int, experiment: Experiment, *, leak: Any, reset: Any, threshold: Any,
        tau_mem: Any, tau_syn: Any, i_synin_gm: Any, membrane_capacitance: Any,
        refractory_time: Any, synapse_dac_bias: Any, holdoff_time: Any,
        execution_instance: Any = None, enable_cadc_recording: bool = True,
        placement_constraint: Any = None, neuron_structure: Any = None,
    ) -> None:  # fmt: skip
        given = {
            k: v
            for k, v in locals().items()
            if k not in ("self", "size", "experiment", "__class__")
        }
        super().__init__(size, experiment, given)


class LI(Neurons):
    fire = False

    def __init__(
        self, size: int, experiment: Experiment, *, leak: Any, tau_mem: Any, tau_syn: Any,
        i_synin_gm: Any, membrane_capacitance: Any, synapse_dac_bias: Any,
        execution_instance: Any = None, enable_cadc_recording: bool = True,
        placement_constraint: Any = None, neuron_structure: Any = None,
    ) -> None:  # fmt: skip
        given = {
            k: v
            for k, v in locals().items()
            if k not in ("self", "size", "experiment", "__class__")
        }
        super().__init__(size, experiment, given)


def run(experiment: Experiment, runtime: int | None) -> None:
    assert type(runtime) is int
    assert Hardware.initialised != experiment.mock
    for module, inputs, output in experiment.calls:
        module.step(inputs, output)
    experiment.ran += 1


def linear_saturating(
    weight: Any, scale: float = 1.0, min_weight: float = -63.0, max_weight: float = 63.0
) -> Any:
    return torch.clamp(scale * weight, min_weight, max_weight)


class Hardware:
    initialised = False

    @classmethod
    def init_hardware(cls) -> None:
        assert not cls.initialised
        cls.initialised = True

    @classmethod
    def release_hardware(cls) -> None:
        assert cls.initialised
        cls.initialised = False


def install(monkeypatch: Any, older: bool = False) -> list[Experiment]:
    """Make imports find the stand-in; return the experiments that are made.

    Args:
        monkeypatch: Of the test.
        older: Under the names of releases before `hxtorch.spiking`.
    """
    Experiment.made, Hardware.initialised = [], False
    base = "hxtorch.snn" if older else "hxtorch.spiking"
    found = {
        name: ModuleType(name)
        for name in ("hxtorch", base, f"{base}.transforms", f"{base}.transforms.weight_transforms",
                     f"{base}.morphology", "dlens_vx_v3")
    }  # fmt: skip
    for name, module in found.items():
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    names = {"lif": "Neuron", "li": "ReadoutNeuron", "spikes": "NeuronHandle"}
    if not older:
        names = {"lif": "LIF", "li": "LI", "spikes": "LIFObservables"}
    vars(found[base]).update(
        {names["lif"]: LIF, names["li"]: LI, names["spikes"]: LIFObservables},
        Experiment=Experiment, Synapse=Synapse, SparseSynapse=SparseSynapse, run=run,
        ExecutionInstance=Instance, HXParameter=HXParameter,
        MixedHXModelParameter=MixedHXModelParameter,
    )  # fmt: skip
    vars(found["hxtorch"]).update(
        init_hardware=Hardware.init_hardware, release_hardware=Hardware.release_hardware
    )
    vars(found[f"{base}.transforms.weight_transforms"])["linear_saturating"] = linear_saturating
    vars(found[f"{base}.morphology"])["SingleCompartmentNeuron"] = SingleCompartmentNeuron

    def enum(value: int) -> int:
        assert 0 <= value < 512
        return value

    vars(found["dlens_vx_v3"])["halco"] = SimpleNamespace(
        LogicalNeuronOnDLS=LogicalNeuronOnDLS, AtomicNeuronOnDLS=lambda place: place,
        common=SimpleNamespace(Enum=enum),
    )  # fmt: skip
    return Experiment.made


def rebuilt(experiment: Experiment) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the neurons (circuits and what calibration would get) and the weights on the chip."""
    neurons = [
        {"circuits": layer.circuits, "instance": layer.execution_instance, "fire": layer.fire}
        | {name: np.asarray(p.hardware_value) for name, p in layer.parameters.items()}
        for layer in experiment.neurons
    ]
    return neurons, [synapse.on_chip() for synapse in experiment.synapses]
