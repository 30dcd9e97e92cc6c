"""`--to jaxsnn`: a topology of jaxsnn with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO, ClassVar

import numpy.typing as npt

from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.ir.safetensors_io import write_tensors
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport, NodeLoss, report
from snnir.pipeline import LEVELS, PipelineResult
from snnir.running import Result, check_inputs, check_record
from snnir.streams import Kind
from snnir.target import Compiled, Content, Target
from snnir.targets.jaxsnn_nets.discrete import Plan, losses_discrete, plan_discrete
from snnir.targets.jaxsnn_nets.event import EventPlanner, losses_event
from snnir.targets.jaxsnn_nets.nir_subset import nir_bytes, nir_problems
from snnir.targets.jaxsnn_nets.source import PROGRAM, WEIGHTS, live, module_source
from snnir.tensors import Tensor

PARADIGMS = ("", "discrete", "event")
NIR_FILE = "jaxsnn.nir"


@dataclass(frozen=True)
class JaxsnnTarget(Target):
    """A topology of jaxsnn.

    Options:
        paradigm: `discrete` (step programs; continuous neurons are discretised) or `event`
            (continuous neurons); by default what the graph has.
        t_max: Of event topologies: seconds to simulate; by default as the graph's import noted.
        n_steps: Of event topologies: slots for events of every population, those it receives
            included; by default as noted.
        nir: Also write `jaxsnn.nir`, which jaxsnn's own reader takes (event topologies).
    """

    name: ClassVar[str] = "jaxsnn"
    summary: ClassVar[str] = "jaxsnn topology (Python file and safetensors), discrete or event"
    paradigm: str = ""
    t_max: float = 0.0
    n_steps: int = 0
    nir: bool = False

    def __post_init__(self) -> None:
        if self.paradigm not in PARADIGMS:
            message = f"target 'jaxsnn': paradigm is '{self.paradigm}'"
            raise error("SNN503", message, hint="use discrete or event")
        if not 0 <= self.t_max < float("inf") or self.n_steps < 0:
            raise error("SNN503", "target 'jaxsnn': t_max and n_steps cannot be negative")

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline for `discrete`; otherwise neurons stay what they are."""
        if self.paradigm == "discrete":
            return LEVELS[level]
        names = [name for name in LEVELS[level].split(",") if name != "discretize"]
        return ",".join(names) or "infer"

    def paradigm_of(self, graph: Graph) -> str:
        """Return the paradigm of a graph."""
        if self.paradigm:
            return self.paradigm
        is_continuous = any(isinstance(node.op, Neuron) for node in graph.nodes.values())
        return "event" if is_continuous else "discrete"

    def plan(self, graph: Graph) -> Plan:
        """Return the plan of the topology; its problems say what cannot be written."""
        if self.paradigm_of(graph) == "event":
            return EventPlanner(graph, self.t_max, self.n_steps).plan
        return plan_discrete(graph)

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return every node that jaxsnn has no form for."""
        late = []
        if graph.record_offset:
            late = [Diagnostic("SNN501", "the graph reports its outputs late (record_offset)")]
        problems = [*late, *self._mixed(graph), *self.plan(graph).problems]
        return problems or (nir_problems(graph, self.paradigm_of(graph)) if self.nir else [])

    def _mixed(self, graph: Graph) -> list[Diagnostic]:
        """Return the step programs beside continuous neurons."""
        if self.paradigm_of(graph) == "discrete":
            return []
        hint = "paradigm=discrete makes step programs of all"
        return [
            Diagnostic("SNN501", "is a step program, which has no events", node.name, hint=hint)
            for node in graph.nodes.values()
            if isinstance(node.op, Step)
        ]

    def losses(self, graph: Graph) -> LossReport:
        """Return what became of every node."""
        plan = self.plan(graph)
        special: list[NodeLoss] = [
            NodeLoss(p.node, "refused", p.message) for p in plan.problems if p.node is not None
        ]
        if not plan.problems:
            is_event = self.paradigm_of(graph) == "event"
            special = losses_event(plan) if is_event else losses_discrete(graph, plan)
        return report(graph, self.name, special, flushes=True)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the topology's source and weights."""
        plan, paradigm = self.plan(graph), self.paradigm_of(graph)
        files: dict[str, Content] = {
            PROGRAM: module_source(plan, graph, paradigm).encode("utf-8"),
            WEIGHTS: partial(_write_weights, plan),
        }
        if self.nir:
            files[NIR_FILE] = partial(nir_bytes, graph)
        outputs = {name: graph.signals[value] for name, value in graph.outputs.items()}
        if paradigm == "event":  # a step of the grid may hold several events
            outputs = {n: replace(s, kind=Kind.COUNTS) for n, s in outputs.items()}
        return JaxsnnCompiled(graph, self, files, history, PROGRAM, outputs=outputs)


def _write_weights(plan: Plan, file: BinaryIO) -> None:
    write_tensors({name: Tensor(data) for name, data in plan.weights.items()}, file)


@dataclass(frozen=True)
class JaxsnnCompiled(Compiled):
    """A topology that can be made live."""

    def module(self) -> tuple[Any, Any]:
        """Return the live topology, finished, and its parameters.

        Raises:
            SnnirError: SNN503 if jaxsnn is not installed.
        """
        names = self._live()
        return names["net"], names["params"]

    def _live(self) -> dict[str, Any]:
        assert isinstance(self.target, JaxsnnTarget)
        plan = self.target.plan(self.graph)
        source = module_source(plan, self.graph, self.target.paradigm_of(self.graph))
        try:
            return live(source, plan.weights)
        except ImportError as missing:
            hint = "pip install 'snnir[jaxsnn]'"
            raise error("SNN503", f"jaxsnn cannot be imported ({missing})", hint=hint) from None

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the topology by jaxsnn, from rest.

        Args:
            x: [T, B, size] or one such array per input name; for event topologies spikes or
                counts, each at the start of its step.
            record: Populations.
            resume: Not possible.
            lasting: Nothing lasts on this target.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 for a record that is no population,
                SNN501 if a population of events has too few slots.
        """
        check_lasting(self.graph, lasting, resume=resume)
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        if resume:
            raise error("SNN601", "an exported topology starts every run at rest")
        names = self._live()
        for name in record:
            if name not in names["NODES"]:
                raise error("SNN602", "only populations can be recorded", node=name)
        try:
            found = names["run"](names["net"], names["params"], inputs)
        except SystemExit as failure:
            hint = "give n_steps=N"
            raise error("SNN501", str(failure), hint=hint) from None
        outputs = {name: found[node] for name, node in names["OUTPUTS"].items()}
        return Result(outputs, {name: found[name] for name in record})
