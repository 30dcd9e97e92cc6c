"""`--target bss2`: networks on a BrainScaleS-2 chip, and what emulates them."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.loss_report import REFUSED, LossReport, NodeLoss, report
from snnir.pipeline import PipelineResult
from snnir.running import check_inputs, read_array
from snnir.streams import Kind, Signal
from snnir.target import Compiled, Content, Target
from snnir.targets.bss2.artefact import FILE, artefact, artefact_text
from snnir.targets.bss2.compiled import Bss2Compiled
from snnir.targets.bss2.emulation.program import program_source
from snnir.targets.bss2.mapping.calibration import NOMINAL_GAIN, REFRACTORY, TAU_SYN
from snnir.targets.bss2.plan import Plan, Wishes, make_plan, with_reach
from snnir.targets.bss2.report import loss_report, pictures, tables
from snnir.targets.bss2.scripts.files import nir_content, nir_problems, script_files

PIPELINE = (
    "canonicalize,densify,eliminate-reshape,fold-batchnorm,fuse-linear,remove-identity,dead-code"
)
BIASES = ("host", "generator", "refuse")
SCALES = ("neuron", "population")


@dataclass(frozen=True)
class Bss2Target(Target):
    """A network on HICANN-X, the BrainScaleS-2 chip: analogue current-based LIF neurons.

    Options:
        speedup: How much faster than the model's time the chip runs.
        gain: How fast a membrane of full capacitance begins to rise after an event of weight 1, in
            CADC LSB per microsecond; measured on the calibrated chip. The default is nominal.
        tau_syn: Microseconds; neurons without a synaptic current (LIF, LI) get one. 0: refuse them.
        refractory: Microseconds, for neurons whose model has no refractory time. 0: half a step,
            by which a stepped neuron's resets are late on average.
        scale: `neuron`: every neuron has the threshold distance with which its largest weight
            uses six bits; `population`: a population has one, as hxtorch's NIR needs.
        bias: `host`: biases are events that the host sends; `generator`: of a background generator
            on the chip; `refuse`.
        bias_every: Steps between them; 0: as many as keep their weights no larger than others.
        calibrate: File of inputs (`.npy`, `.npz`) on which it is measured how far membranes that
            are read move, so that the CADC covers it.
        hxtorch: Also write a script for hxtorch (feed-forward networks).
        hxtorch_nir: Also write a NIR file that hxtorch imports, for training in its software mode.
    """

    name: ClassVar[str] = "bss2"
    summary: ClassVar[str] = "BrainScaleS-2: placement, routing and calibration, with an emulator"
    between: ClassVar[Mapping[str, str]] = {"membrane": "factor", "synapse": "factor"}
    speedup: float = 1000.0
    gain: float = NOMINAL_GAIN
    tau_syn: float = 0.0
    refractory: float = 0.0
    scale: str = "neuron"
    bias: str = "host"
    bias_every: int = 0
    calibrate: str = ""
    hxtorch: bool = False
    hxtorch_nir: bool = False

    def __post_init__(self) -> None:
        for option, allowed in (("bias", BIASES), ("scale", SCALES)):
            if getattr(self, option) not in allowed:
                what = f"target 'bss2': {option} is '{getattr(self, option)}'"
                raise error("SNN503", what, hint=f"use one of {', '.join(allowed)}")
        ranges = {
            "speedup": (1e-3, 1e9), "gain": (1e-6, 1e6), "bias_every": (0, 2**20),
        }  # fmt: skip
        if self.tau_syn:
            ranges["tau_syn"] = TAU_SYN
        if self.refractory:
            ranges["refractory"] = REFRACTORY
        for option, (low, high) in ranges.items():
            if not low <= getattr(self, option) <= high:
                what = f"target 'bss2': {option} is {getattr(self, option):g}"
                raise error("SNN503", what, hint=f"it is from {low:g} to {high:g}")

    def wishes(self) -> Wishes:
        """Return what was asked for, but for what `calibrate` measures."""
        return Wishes(
            speedup=self.speedup, gain=self.gain, tau_syn=self.tau_syn or None,
            refractory=self.refractory, common=self.scale == "population", bias=self.bias,
            bias_every=self.bias_every,
        )  # fmt: skip

    def pipeline(self, level: int) -> str:
        """Return what every level needs; neurons stay equations, which the chip solves."""
        return PIPELINE

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return everything that does not fit, each with what is needed and there."""
        plan, problems = self._planned(graph)
        if plan is not None and self.hxtorch_nir:
            return nir_problems(artefact(plan, graph))
        return problems

    def plan(self, graph: Graph) -> Plan:
        """Return a graph on the chip.

        Raises:
            SnnirError: Everything that does not fit, or SNN601 for inputs to calibrate with.
        """
        plan, problems = self._planned(graph)
        if plan is None:
            raise SnnirError(problems)
        return plan

    def _planned(self, graph: Graph) -> tuple[Plan | None, list[Diagnostic]]:
        """Return the plan; that of the last graph is kept, since checking makes it already."""
        global _LAST  # noqa: PLW0603
        given = _digest(self.calibrate)
        if _LAST is None or _LAST[0] is not graph or _LAST[1:3] != (self, given):
            wishes = self.wishes()
            if self.calibrate:
                wishes = with_reach(wishes, _reach(graph, self.calibrate))
            _LAST = graph, self, given, make_plan(graph, wishes)
        return _LAST[3]

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the artefact and its emulator."""
        plan = self.plan(graph)
        facts = artefact(plan, graph)
        outputs = {
            name: Signal(Kind.COUNTS, graph.signals[value].shape)
            if plan.network.cells[output.population].spiking
            else graph.signals[value]
            for (name, value), output in zip(graph.outputs.items(), plan.model.outputs, strict=True)
        }
        files: dict[str, Content] = {
            FILE: artefact_text(facts).encode(),
            "model.py": program_source().encode(),
            **script_files(self.hxtorch),
        }
        if self.hxtorch_nir:
            files["hxtorch.nir"] = nir_content(facts)
        inputs = {name: replace(signal, kind=Kind.COUNTS) for name, signal in graph.inputs.items()}
        return Bss2Compiled(
            graph, self, files, history, "model.py",
            inputs=inputs, outputs=outputs, tables=tables(plan), pictures=pictures(plan),
            plan=plan, facts=facts,
        )  # fmt: skip

    def losses(self, graph: Graph) -> LossReport:
        """Return what every population loses; what does not fit is refused."""
        plan, problems = self._planned(graph)
        if plan is None:
            found = [NodeLoss(p.node or graph.name, REFUSED, p.message) for p in problems]
            return report(graph, self.name, found)
        return loss_report(graph, plan)


#: The last graph, target, digest of the inputs to calibrate with, and result of planning.
_LAST: tuple[Graph, Bss2Target, str, tuple[Plan | None, list[Diagnostic]]] | None = None


def _digest(path: str) -> str:
    """Return what a file holds now, or nothing if it cannot be read, which its reader says."""
    try:
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() if path else ""
    except (OSError, ValueError):
        return ""


def _reach(graph: Graph, path: str) -> dict[str, tuple[float, float]]:
    """Return how far membranes that are read get below and above rest, on inputs."""
    from snnir.driver import compile as build

    given = check_inputs(read_array(path), graph.inputs)
    stepped = build(graph, "numpy", level=0)
    analog = [
        name
        for name in graph.order
        if isinstance(graph.nodes[name].op, (Neuron, Step))
        and graph.signal(name).kind is Kind.ANALOG
    ]
    recorded = stepped.run(given, analog).recorded
    calm = stepped.run({name: np.zeros_like(x) for name, x in given.items()}, analog).recorded
    found = {}
    for name in analog:
        moved = recorded[name] - calm[name][-1:]
        found[name] = max(-float(moved.min()), 0.0), max(float(moved.max()), 0.0)
    return found
