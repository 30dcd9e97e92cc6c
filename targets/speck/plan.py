"""From a graph to a configured chip: layers, integers, cores, and the host's side of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph
from snnir.targets.speck import chips
from snnir.targets.speck.chips import Chip
from snnir.targets.speck.core import CoreLayer, Destination, Network, Sensor, Shape, network_faults
from snnir.targets.speck.layers import Layer, Legalizer, Model, Term
from snnir.targets.speck.neurons import NotFit
from snnir.targets.speck.placement import Placement, place
from snnir.targets.speck.quantizer import Rounding, quantize
from snnir.targets.speck.sensor import View, sensor_for


@dataclass(frozen=True)
class Wishes:
    """What the user asked for besides the graph.

    Attributes:
        chip: Which chip.
        ticks_per_step: Ticks of the slow clock in one step of the model.
        readout: Whether classes go to the readout block.
        view: How the sensor sees the model's input, or None if the host sends events.
    """

    chip: Chip
    ticks_per_step: float = 0.0
    readout: bool = False
    view: View | None = None


@dataclass(frozen=True)
class Plan:
    """A configured chip.

    Attributes:
        network: All of its configuration.
        model: Layers in real numbers.
        placement: Where they are.
        roundings: What became of their numbers.
        channels: By population, the channels of its core that are its own.
        wishes: What was asked for.
    """

    network: Network
    model: Model
    placement: Placement
    roundings: Mapping[str, Rounding]
    channels: Mapping[str, list[int]]
    wishes: Wishes

    def ports(self, graph: Graph) -> dict[str, Any]:
        """Return where inputs go and outputs come from: the content of `ports.json`."""
        inputs = {}
        for name, shape in self.model.inputs.items():
            maps = [shape.channels, shape.height, shape.width]
            routes = [list(route) for route in self._routes(name)]
            inputs[name] = {"maps": maps, "sensor": False, "destinations": routes}
            if self.wishes.view is not None:
                maps = [2, chips.SENSOR, chips.SENSOR]
                inputs[name] = {"maps": maps, "sensor": True, "destinations": []}
        populations = {}
        for name, layer in self.model.layers.items():
            populations[name] = {
                "core": self.placement.cores[name],
                "channels": self.channels[name],
                "maps": [layer.shape.channels, layer.shape.height, layer.shape.width],
                "shape": list(graph.signal(name).shape),
            }
        return {
            "ticks_per_step": self.wishes.ticks_per_step,
            "inputs": inputs,
            "outputs": {
                name: {"population": self.model.outputs[name], "shape": list(signal.shape)}
                for name, signal in ((n, graph.signals[v]) for n, v in graph.outputs.items())
            },
            "populations": populations,
        }

    def _routes(self, source: str) -> list[tuple[int, int, int]]:
        return [
            (self.placement.cores[layer.name], term.pooling, shift)
            for layer in self.model.layers.values()
            for term, shift in shifts(layer)
            if term.source == source
        ]


def shifts(layer: Layer) -> list[tuple[Term, int]]:
    """Return the terms of a layer, each with the first of its channels."""
    found, first = [], 0
    for term in layer.terms:
        found.append((term, first))
        first += term.shape.channels
    return found


def make_plan(graph: Graph, wishes: Wishes) -> tuple[Plan | None, list[Diagnostic]]:
    """Return the configuration of a chip for a graph, or everything that does not fit."""
    legalizer = Legalizer(graph)
    model = legalizer.run()
    if legalizer.problems:
        return None, legalizer.problems
    maker = _Maker(model, wishes, legalizer)
    plan = maker.plan()
    return (None if maker.problems else plan), maker.problems


class _Maker:
    def __init__(self, model: Model, wishes: Wishes, legalizer: Legalizer) -> None:
        self.model, self.wishes, self.legalizer = model, wishes, legalizer
        self.chip = wishes.chip

    @property
    def problems(self) -> list[Diagnostic]:
        """Everything found so far."""
        return self.legalizer.problems

    def plan(self) -> Plan | None:
        """Return the plan; see `problems`."""
        integers: dict[str, tuple[CoreLayer, Rounding]] = {}
        for name, layer in self.model.layers.items():
            try:
                integers[name] = quantize(layer, self.wishes.ticks_per_step)
            except NotFit as problem:
                self.legalizer.refuse(problem, name)
            faults = list(layer.geometry.faults())
            for fault in faults:
                self.legalizer.refuse(NotFit(fault), name)
            if faults:
                integers.pop(name, None)
        channels = {n: list(range(c.geometry.target.channels)) for n, (c, _) in integers.items()}
        if self.wishes.readout:
            exits = sorted(set(self.model.outputs.values()) & set(integers))
            if len(exits) > 1:
                what = f"is one of {len(exits)} outputs; the readout takes one"
                self.legalizer.refuse(NotFit(what, "leave out the others"), exits[1])
            for name in exits:
                channels[name] = self._spread(name, integers)
        geometries = {name: core.geometry for name, (core, _) in integers.items()}
        placed = place(geometries, self.chip)
        for refusal in placed.refusals:
            self.legalizer.refuse(NotFit(refusal.message, refusal.hint), refusal.layer)
        self._check_pools()
        self._check_sources()
        routes = self._destinations()
        sensor = self._sensor()
        if self.problems:
            return None
        cores = {}
        for name, (core, _) in integers.items():
            monitor = name in self.model.outputs.values()
            targets = tuple(
                replace(target, layer=placed.cores[reader] if reader else chips.READOUT)
                for reader, target in routes[name]
            )
            cores[placed.cores[name]] = replace(core, destinations=targets, monitor_enable=monitor)
        readers = sorted(placed.cores[name] for name in self._readers_of_inputs())
        sensor = replace(sensor, destinations=tuple(readers)) if sensor.enabled else sensor
        network = Network(self.chip, dict(sorted(cores.items())), sensor, self.wishes.readout)
        for fault in network_faults(network):
            self.legalizer.refuse(NotFit(f"breaks a rule of the chip: {fault}"), "")
        roundings = {name: rounding for name, (_, rounding) in integers.items()}
        return Plan(network, self.model, placed, roundings, channels, self.wishes)

    def _check_pools(self) -> None:
        for name, layer in self.model.layers.items():
            for term in layer.terms:
                if term.source in self.model.inputs or term.pooling in self.chip.pooling:
                    continue
                listed = ", ".join(map(str, self.chip.pooling))
                what = f"is pooled over {term.pooling}x{term.pooling} for '{name}'"
                problem = NotFit(f"{what}; {self.chip.name} pools over {listed}", "use one of them")
                self.legalizer.refuse(problem, term.source)

    def _check_sources(self) -> None:
        """Refuse layers that the host and another core feed: only one of them is routed."""
        for name, layer in self.model.layers.items():
            given = [term.source in self.model.inputs for term in layer.terms]
            if any(given) and not all(given) and self.wishes.view is None:
                what = "joins events of the host with those of a core"
                hint = "let the input pass a layer of its own, or be the sensor (--set dvs=true)"
                self.legalizer.refuse(NotFit(what, hint), name)

    def _destinations(self) -> dict[str, list[tuple[str, Destination]]]:
        """Return where each population's spikes go; no reader's name is the readout."""
        routes: dict[str, list[tuple[str, Destination]]] = {n: [] for n in self.model.layers}
        for name, layer in self.model.layers.items():
            for term, shift in shifts(layer):
                if term.source in routes:
                    target = Destination(0, term.pooling, shift)
                    routes[term.source].append((name, target))
        if self.wishes.readout:
            for name in sorted(set(self.model.outputs.values()) & set(routes)):
                routes[name].append(("", Destination(chips.READOUT)))
        for name, found in routes.items():
            if len(found) > chips.DESTINATIONS:
                listed = ", ".join(f"'{reader}'" if reader else "readout" for reader, _ in found)
                what = f"is read by {len(found)} layers ({listed}); a core sends to two"
                self.legalizer.refuse(NotFit(what, "let at most two layers read it"), name)
        return routes

    def _spread(self, name: str, integers: dict[str, tuple[CoreLayer, Rounding]]) -> list[int]:
        """Move the classes of an output to where the readout block looks for them."""
        core, rounding = integers[name]
        shape, step = core.geometry.target, self.chip.readout_spread
        classes = shape.channels
        problem = None
        if not step:
            problem = NotFit(f"the readout of {self.chip.name} cannot be reached by a layer")
        elif (shape.height, shape.width) != (1, 1):
            problem = NotFit(f"has maps of {shape}; the readout takes one pixel of each class")
        elif classes > chips.CLASSES:
            problem = NotFit(f"has {classes} classes; the readout takes {chips.CLASSES}")
        if problem is not None:
            self.legalizer.refuse(problem, name)
            return list(range(classes))
        channels = [step * index for index in range(classes)]
        wide = Shape(channels[-1] + 1, 1, 1)
        made = replace(
            core, geometry=replace(core.geometry, target=wide),
            weights=_spaced(core.weights, channels), biases=_spaced(core.biases, channels),
            initial=_spaced(core.initial, channels),
        )  # fmt: skip
        integers[name] = made, rounding
        return channels

    def _readers_of_inputs(self) -> list[str]:
        return [
            name
            for name, layer in self.model.layers.items()
            if any(term.source in self.model.inputs for term in layer.terms)
        ]

    def _sensor(self) -> Sensor:
        """Return the sensor's block."""
        if not self.model.inputs:
            self.legalizer.refuse(NotFit("has no input; the chip takes events"), "")
            return Sensor()
        if len(self.model.inputs) > 1:
            what = f"has {len(self.model.inputs)} inputs; the events of a chip have one source"
            self.legalizer.refuse(NotFit(what, "join them to one"), list(self.model.inputs)[1])
            return Sensor()
        if self.wishes.view is None:
            return Sensor()
        poolings = {
            term.pooling
            for layer in self.model.layers.values()
            for term in layer.terms
            if term.source in self.model.inputs
        }
        (name,) = list(self.model.inputs)[:1]
        try:
            if len(self._readers_of_inputs()) > chips.DESTINATIONS:
                raise NotFit("is read by more than two layers; the sensor sends to two")
            if any(
                shift
                for layer in self.model.layers.values()
                for term, shift in shifts(layer)
                if term.source in self.model.inputs
            ):
                raise NotFit("is joined behind other maps; the sensor's are the first channels")
            return sensor_for(self.wishes.view, self.model.inputs[name], poolings)
        except NotFit as problem:
            self.legalizer.refuse(problem, name)
            return Sensor()


def _spaced(array: Any, places: list[int]) -> Any:
    wide = np.zeros((places[-1] + 1, *array.shape[1:]), array.dtype)
    wide[places] = array
    return wide
