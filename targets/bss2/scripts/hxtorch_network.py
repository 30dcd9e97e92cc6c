"""The artefact's network as modules of the vendor's hxtorch.spiking; copied into a script."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from snnir.targets.bss2.scripts.script_io import (
    PER_US,
    by_name,
    constant_train,
    nearest,
    sent_counts,
)

Json = dict[str, Any]


class Library:
    """The vendor's modules, under the names of its releases.

    Attributes:
        api: `hxtorch.spiking`, or `hxtorch.snn` of older releases.
        lif, li: Classes of spiking neurons and of readouts.
        observables: Class of handles of spikes.
    """

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")
        self.hxtorch = importlib.import_module("hxtorch")
        try:
            self.api = importlib.import_module("hxtorch.spiking")
        except ImportError:
            self.api = importlib.import_module("hxtorch.snn")
        base = self.api.__name__
        self.transforms = importlib.import_module(f"{base}.transforms.weight_transforms")
        self.morphology = importlib.import_module(f"{base}.morphology")
        self.halco = importlib.import_module("dlens_vx_v3").halco
        self.lif = getattr(self.api, "LIF", None) or self.api.Neuron
        self.li = getattr(self.api, "LI", None) or self.api.ReadoutNeuron
        self.observables = getattr(self.api, "LIFObservables", None) or self.api.NeuronHandle


def horizontal(circuits: Sequence[int]) -> bool | None:
    """Whether the circuits of a neuron follow each other in a row, else column by column.

    Returns:
        None where they do neither, as hxtorch's neurons of one compartment must.
    """
    first = circuits[0]
    if list(circuits) == [first + i for i in range(len(circuits))]:
        return True
    down = [first + i // 2 + 256 * (i % 2) for i in range(len(circuits))]
    return False if list(circuits) == down and first < 256 else None


def populations_in_order(artefact: Json) -> list[str]:
    """Return the populations of neurons from inputs to outputs, as far as there are no loops."""
    wanted = [p["name"] for p in artefact["populations"] if p["kind"] == "neurons"]
    ready = [p["name"] for p in artefact["populations"] if p["kind"] != "neurons"]
    needs: dict[str, set[str]] = {name: set() for name in wanted}
    for item in all_projections(artefact):
        needs[item["target"]].add(item["source"])
    found: list[str] = []
    while True:
        free = [n for n in wanted if n not in found and needs[n] <= {*ready, *found}]
        if not free:
            return found
        found.append(free[0])


def all_projections(artefact: Json) -> list[Json]:
    """Return the projections of all executions."""
    return [item for execution in artefact["executions"] for item in execution["projections"]]


def problems(artefact: Json) -> list[str]:
    """Return why this layer cannot run the network; nothing where it can."""
    found = []
    populations = by_name(artefact["populations"])
    neurons = [n for n, p in populations.items() if p["kind"] == "neurons"]
    loops = [name for name in neurons if name not in populations_in_order(artefact)]
    if loops:
        told = "recurrent, or fed by what is; run_pynn.py runs such networks"
        found.append(f"{', '.join(loops)}: {told}")
    for name in neurons:
        homes = [
            execution["id"]
            for execution in artefact["executions"]
            if any(n["population"] == name for n in execution["neurons"])
        ]
        if len(homes) > 1:
            found.append(f"{name}: spread over executions; a layer of hxtorch is in one")
        mine = [n for e in artefact["executions"] for n in e["neurons"] if n["population"] == name]
        shapes = {(len(n["circuits"]), horizontal(n["circuits"])) for n in mine}
        if len(shapes) > 1 or any(side is None for _, side in shapes):
            found.append(f"{name}: its neurons are not all of one shape that hxtorch makes")
    worst = max((abs(w) for item in all_projections(artefact) for w in item["weight"]), default=0)
    if worst > 63:
        found.append(f"weights of up to {worst}: hxtorch clips weights at 63")
    return found


class Network:
    """Modules of all executions.

    Attributes:
        experiment: The vendor's.
        layers: Modules of neurons by population.
    """

    def __init__(
        self, library: Library, artefact: Json, mock: bool, calibration: str | None
    ) -> None:
        self.library, self.artefact = library, artefact
        self.populations = by_name(artefact["populations"])
        self.dt = artefact["meta"]["step_ticks"] / PER_US * 1e-6
        self.experiment = library.api.Experiment(mock=mock, dt=self.dt)
        self.layers: dict[str, Any] = {}
        self.synapses: dict[tuple[str, str], Any] = {}
        single = len(artefact["executions"]) == 1
        for execution in artefact["executions"]:
            instance = None
            if not mock and single and calibration is not None:
                self.experiment.default_execution_instance.load_calib(calibration)
            elif not mock and not single:
                instance = library.api.ExecutionInstance(calib_path=calibration)
            for name in {n["population"]: None for n in execution["neurons"]}:
                mine = [n for n in execution["neurons"] if n["population"] == name]
                self.layers[name] = self.layer(name, mine, execution["clocks"], instance)
            for item in execution["projections"]:
                pair = item["source"], item["target"]
                self.synapses[pair] = self.synapse(item, instance, single)

    def tensor(self, values: Any) -> Any:
        """Return a float32 tensor."""
        return self.library.torch.tensor(np.asarray(values, np.float32))

    def layer(self, name: str, neurons: list[Json], clocks: Json, instance: Any) -> Any:
        """Return the module of a population; its parameters differ by neuron.

        Model values are in LSB and seconds: with this capacitance, a weight w makes the membrane
        rise by w * gain * 63 / C LSB per microsecond.
        """
        api, found = self.library.api, self.populations[name]
        neurons = sorted(neurons, key=lambda n: int(n["index"]))
        capacitance = np.array([n["membrane_capacitance"] for n in neurons])
        per_second = self.artefact["meta"]["gain"] * 1e6
        tau_syn = np.array([n["tau_syn"] for n in neurons]).T * 1e-6
        shared = self.artefact["global"]
        keywords: Json = {
            "leak": self.potential(neurons, "leak"),
            "tau_mem": self.targets(neurons, "tau_mem"),
            "tau_syn": api.MixedHXModelParameter(self.tensor(tau_syn[0]), self.tensor(tau_syn)),
            "i_synin_gm": api.HXParameter(self.library.torch.tensor(shared["i_synin_gm"])),
            "synapse_dac_bias": api.HXParameter(shared["synapse_dac_bias"]),
            "membrane_capacitance": api.MixedHXModelParameter(
                self.tensor(capacitance / 63 / per_second),
                self.library.torch.tensor(capacitance),
            ),
            "enable_cadc_recording": name in self.membranes,
            "placement_constraint": self.placement(neurons),
            "neuron_structure": self.structure(neurons),
            "execution_instance": instance,
        }
        if not found["spiking"]:
            return self.library.li(found["size"], self.experiment, **keywords)
        ticks = [n["holdoff_count"] * 2 ** clocks[n["refractory_clock"]] for n in neurons]
        keywords |= {
            "reset": self.potential(neurons, "reset"),
            "threshold": self.potential(neurons, "threshold"),
            "refractory_time": self.targets(neurons, "refractory_time"),
            "holdoff_time": api.HXParameter(self.tensor(np.array(ticks) / PER_US * 1e-6)),
        }
        return self.library.lif(found["size"], self.experiment, **keywords)

    @property
    def membranes(self) -> set[str]:
        """Populations whose membranes are read."""
        outputs = self.artefact["outputs"]
        return {o["population"] for o in outputs if o["kind"] == "membrane"}

    def targets(self, neurons: list[Json], key: str) -> Any:
        """Return a time in seconds, the same to the chip and to the model."""
        return self.library.api.HXParameter(self.tensor([n[key] * 1e-6 for n in neurons]))

    def potential(self, neurons: list[Json], key: str) -> Any:
        """Return a potential; calibration takes whole LSB, and truncates what is given to it."""
        values = [n[key] for n in neurons]
        whole = self.library.torch.tensor([nearest(value) for value in values])
        return self.library.api.MixedHXModelParameter(self.tensor(values), whole)

    def structure(self, neurons: list[Json]) -> Any:
        """Return how circuits are joined."""
        circuits = neurons[0]["circuits"]
        return self.library.morphology.SingleCompartmentNeuron(
            len(circuits), expand_horizontally=bool(horizontal(circuits))
        )

    def placement(self, neurons: list[Json]) -> list[Any]:
        """Return where the neurons are."""
        halco, shape = self.library.halco, self.structure(neurons).compartments
        return [
            halco.LogicalNeuronOnDLS(
                shape, halco.AtomicNeuronOnDLS(halco.common.Enum(n["circuits"][0]))
            )
            for n in neurons
        ]

    def synapse(self, item: Json, instance: Any, single: bool) -> Any:
        """Return the module of a projection, whose weights go to the chip as they are.

        Sparse modules need less room, but fail between executions.
        """
        sizes = [self.populations[item[end]]["size"] for end in ("target", "source")]
        weights = np.zeros(sizes, np.float32)
        weights[item["post"], item["pre"]] = item["weight"]
        keywords = {
            "execution_instance": instance,
            "transform": partial(self.library.transforms.linear_saturating, scale=1.0),
        }
        if single and not weights.all():
            mask = self.library.torch.tensor((weights != 0).T.astype(np.float32))
            made = self.library.api.SparseSynapse(mask, self.experiment, **keywords)
        else:
            made = self.library.api.Synapse(*sizes[::-1], self.experiment, **keywords)
        made.weight.data = self.tensor(weights)
        return made

    def run(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return outputs [T, B, *shape] for inputs [T, B, *shape]."""
        steps, batch = next(iter(given.values())).shape[:2]
        handles: dict[str, Any] = {}
        for port in self.artefact["inputs"]:
            spikes = self.tensor(given[port["name"]].reshape(steps, batch, -1))
            handles[port["population"]] = self.library.observables(spikes=spikes)
        for name, population in self.populations.items():
            if population["kind"] == "constant":
                step_ticks = self.artefact["meta"]["step_ticks"]
                train = constant_train(population, nearest(steps * step_ticks))
                column = sent_counts(train, step_ticks, steps)[:, None, None]
                spikes = self.tensor(np.repeat(column, batch, axis=1))
                handles[name] = self.library.observables(spikes=spikes)
        for name in populations_in_order(self.artefact):
            currents = [
                synapse(handles[source])
                for (source, target), synapse in self.synapses.items()
                if target == name
            ]
            handles[name] = self.layers[name](*currents)
        self.library.api.run(self.experiment, int(steps))
        return {port["name"]: self.output(port, handles) for port in self.artefact["outputs"]}

    def output(self, port: Json, handles: dict[str, Any]) -> Any:
        """Return an output in the model's units."""
        found, handle = self.populations[port["population"]], handles[port["population"]]
        if port["kind"] == "spikes":
            values = handle.spikes.detach().cpu().numpy()
        else:
            lsb = handle.membrane_cadc.detach().cpu().numpy().astype(np.float64)
            values = np.array(found["offset"]) + np.array(found["factor"]) * lsb
        return values.astype(np.float32).reshape(*values.shape[:2], *port["shape"])
