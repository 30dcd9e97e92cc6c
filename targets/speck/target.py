"""`--target speck`: configurations of Speck chips, and what emulates them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir import c_build, folder_program
from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.embedding import folder_source
from snnir.errors import Diagnostic, SnnirError, error, warn
from snnir.ir.graph import Graph
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport, NodeLoss, report
from snnir.pipeline import APPROXIMATE, PipelineResult
from snnir.progress import progress
from snnir.running import Result, check_batch, check_inputs, spike_stats
from snnir.streams import Kind, Signal
from snnir.suggest import hint
from snnir.target import Compiled, Content, Target, still_continuous
from snnir.targets.speck import (
    chip_reader,
    chips,
    command,
    emulator,
    engine,
    layout,
    loader,
)
from snnir.targets.speck.chips import CHIPS
from snnir.targets.speck.configuration import config_text
from snnir.targets.speck.emulator import MOST_TICKS, BadInput
from snnir.targets.speck.memory import words
from snnir.targets.speck.placement import placement_facts
from snnir.targets.speck.plan import Plan, Wishes, make_plan
from snnir.targets.speck.report import pictures, semantics_facts, tables
from snnir.targets.speck.sensor import View, origin_of
from snnir.targets.speck.vendor_json import vendor_json

#: What `model.py` is made of.
EMBEDDED = (c_build, chips, layout, folder_program, engine, chip_reader, emulator)
PIPELINE = (
    "canonicalize,discretize,densify,eliminate-reshape,fold-batchnorm,fuse-linear,"
    "declare-inputs{kind=counts},remove-identity,dead-code"
)


@dataclass(frozen=True)
class SpeckTarget(Target):
    """A Speck chip of SynSense: up to nine convolutional layers of integrate-and-fire neurons.

    Options:
        chip: `speck2f`, `speck2e` or `speck2b`.
        slow_clock: Ticks of the slow clock per second of the model's time (its dt says how long a
            step is). Every tick adds the biases once; without, biases are refused.
        readout: Send the classes to the readout block; on 2e and 2f they are spread over every
            fourth channel, where the block looks for them.
        dvs: Let the chip's own sensor be the input; the following say how.
        origin: Pixel `X,Y` of the sensor where the model's picture begins.
        mirror: `x`, `y` or `xy`: turn the picture round.
        swap: Exchange x and y, after all else.
        polarity: `both`, `merge`, `on` or `off`; by default what the model's channels say.
    """

    name: ClassVar[str] = "speck"
    summary: ClassVar[str] = "configuration of a Speck chip, with emulators"
    between: ClassVar[Mapping[str, str]] = {"membrane": "integrate"}
    chip: str = "speck2f"
    slow_clock: float = 0.0
    readout: bool = False
    dvs: bool = False
    origin: str = "0,0"
    mirror: str = ""
    swap: bool = False
    polarity: str = ""

    def __post_init__(self) -> None:
        if self.chip not in CHIPS:
            what = f"target 'speck': chip is '{self.chip}'"
            raise error("SNN503", what, hint=f"use one of {', '.join(CHIPS)}")
        if not (0 <= self.slow_clock < float("inf")):
            what = f"target 'speck': slow-clock is {self.slow_clock}"
            raise error("SNN503", what, hint="it is a frequency in hertz")
        if self.view != View() and not self.dvs:
            what = "target 'speck': origin, mirror, swap and polarity are the sensor's"
            raise error("SNN503", what, hint="add --set dvs=true")

    @property
    def view(self) -> View:
        """How the model looks at the sensor."""
        return View(origin_of(self.origin), self.mirror, self.swap, self.polarity)

    def wishes(self, graph: Graph) -> Wishes:
        """Return what was asked for."""
        ticks = self.slow_clock * graph.dt if graph.dt is not None else 0.0
        return Wishes(CHIPS[self.chip], ticks, self.readout, self.view if self.dvs else None)

    def pipeline(self, level: int) -> str:
        """Return what every level needs: a core has one matrix and no constants of its own."""
        return PIPELINE

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return everything that does not fit, each with what is needed and there."""
        continuous = still_continuous(graph)
        if continuous:
            return continuous
        if self.slow_clock and graph.dt is None:
            hint = "give the model a dt"
            return [Diagnostic("SNN501", "slow-clock needs the length of a step", hint=hint)]
        if self.slow_clock * (graph.dt or 0.0) > MOST_TICKS:
            what = f"slow-clock ticks more than {MOST_TICKS} times in a step of {graph.dt} s"
            return [Diagnostic("SNN501", what, hint="use a slower clock")]
        return make_plan(graph, self.wishes(graph))[1]

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the configuration and its emulator."""
        plan, problems = make_plan(graph, self.wishes(graph))
        if plan is None:
            raise SnnirError(problems)
        net, ports = plan.network, plan.ports(graph)
        inputs = dict(graph.inputs)
        if self.dvs:
            sensor = Signal(Kind.COUNTS, (2, chips.SENSOR, chips.SENSOR))
            inputs = dict.fromkeys(inputs, sensor)
        outputs = {
            name: replace(graph.signals[value], kind=Kind.COUNTS)
            for name, value in graph.outputs.items()
        }
        for name, port in ports["inputs"].items():
            port["shape"] = list(inputs[name].shape)
        geometries = {n: net.cores[core].geometry for n, core in plan.placement.cores.items()}
        rows = placement_facts(plan.placement, geometries, net.chip)
        roundings = {name: found.facts() for name, found in plan.roundings.items()}
        files: dict[str, Content] = {
            "config.json": config_text(net).encode(),
            "memory.bin": words(net).astype("<u4").tobytes(),
            "ports.json": _json(ports),
            "placement.json": _json(rows),
            "quantization.json": _json(roundings),
            "semantics.json": _json(semantics_facts(plan)),
            "load_samna.py": inspect.getsource(loader).encode(),
            "model.py": folder_source(command, EMBEDDED).encode(),
        }
        if net.chip.name == "speck2b":
            files["samna_speck2b.json"] = vendor_json(net).encode()
        return SpeckCompiled(
            graph, self, files, history, "model.py",
            inputs=inputs, outputs=outputs, tables=tables(plan),
            pictures=pictures(plan), plan=plan, ports=ports,
        )  # fmt: skip

    def losses(self, graph: Graph) -> LossReport:
        """Return what the chip does otherwise than the model, by population."""
        plan, problems = make_plan(graph, self.wishes(graph))
        if plan is None:
            found = [NodeLoss(p.node or graph.name, "refused", p.message) for p in problems]
            return report(graph, self.name, found)
        return loss_report(graph, plan)


def _json(facts: Any) -> bytes:
    return (json.dumps(facts, indent=2) + "\n").encode()


def loss_report(graph: Graph, plan: Plan) -> LossReport:
    """Return what a configured chip does otherwise than its graph, by population."""
    special = []
    for name, layer in plan.model.layers.items():
        told = [
            "takes events one at a time, not step by step, and spikes once for each at most",
            *plan.roundings[name].told(),
            *layer.neuron.losses,
        ]
        special.append(NodeLoss(name, APPROXIMATE, "; ".join(told)))
    return report(graph, SpeckTarget.name, special)


@dataclass(frozen=True)
class SpeckCompiled(Compiled):
    """A configured chip.

    Attributes:
        plan: Which layer is on which core, with its weights, and where its events go.
        ports: Inputs and outputs of the graph, with the layers and sizes they are on the chip.
    """

    plan: Plan = field(kw_only=True, repr=False)
    ports: Mapping[str, Any] = field(kw_only=True, repr=False)

    @cached_property
    def losses(self) -> LossReport:
        """What the chip does otherwise than the model."""
        return loss_report(self.graph, self.plan)

    @cached_property
    def _models(self) -> dict[str, emulator.Model]:
        return {}

    def model(self, form: str = "config") -> emulator.Model:
        """Return the emulated chip, which keeps its state between calls.

        Args:
            form: What it is read from: `config` (`config.json`) or `memory` (`memory.bin`).
        """
        if form not in ("config", "memory"):
            raise error("SNN503", f"a chip is read from 'config' or 'memory', not '{form}'")
        if form not in self._models:
            self._models[form] = self._read(form)
        return self._models[form]

    def _read(self, form: str) -> emulator.Model:
        content = self.files["memory.bin" if form == "memory" else "config.json"]
        assert isinstance(content, bytes)
        if form == "memory":
            chip = chip_reader.chip_of_words(np.frombuffer(content, "<u4"))
        else:
            chip = chip_reader.chip_of_config(content.decode())
        try:
            return emulator.Model(chip, self.ports)
        except NoCompiler as problem:
            what = f"target 'speck': {problem}; the emulator runs in Python, slowly"
            warn(Diagnostic("SNN503", what))
            return emulator.Model(chip, self.ports, compiled=False)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
        form: str = "config",
        reverse: bool = False,
    ) -> Result:
        """Send events through the emulated chip.

        Args:
            x: Counts [T, B, *shape]; within a step events are sent by row, column and channel.
                With `dvs` the shape is that of the sensor, [2, 128, 128] (off, on).
            record: Populations whose spikes are returned as well.
            resume: Go on from the states of the last call.
            lasting: Nothing lasts on this target.
            form: What the chip is read from, `config` or `memory`.
            reverse: Visit the neurons that an event reaches in the opposite order: what changes
                is what depends on an order that the vendor does not publish.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a record is no population.
        """
        check_lasting(self.graph, lasting, resume=resume)
        inputs = check_inputs(x, self.inputs)
        for name in record:
            if name not in self.ports["populations"]:
                meant = hint(name, self.ports["populations"], "populations")
                raise error("SNN602", "is no population of the chip", node=name, hint=meant)
        model = self.model(form)
        steps, batch = next(iter(inputs.values())).shape[:2]
        check_batch(batch, model.batch if resume else None)
        model.emulator.reverse = reverse
        try:
            with progress(f"running {steps} steps on the emulated chip"):
                outputs, recorded, sums = model.run(inputs, list(record), resume)
        except BadInput as problem:
            raise error("SNN601", str(problem)) from None
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        return Result(outputs, recorded, stats)
