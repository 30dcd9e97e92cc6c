"""`--target events`: continuous time, from threshold crossing to threshold crossing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, BinaryIO, ClassVar

import numpy.typing as npt

from snnir import c_build, events, folder_program, folder_weights
from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.embedding import folder_source
from snnir.errors import Diagnostic, SnnirError, error, warn
from snnir.events import Events
from snnir.ir.graph import Graph
from snnir.ir.safetensors_io import write_tensors
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport
from snnir.pipeline import PipelineResult
from snnir.progress import progress
from snnir.running import EventResult, check_streams, spike_stats
from snnir.streams import Kind
from snnir.suggest import hint
from snnir.target import Compiled, Content, Target
from snnir.targets.events import (
    command,
    crossing,
    engine_host,
    engine_python,
    folder,
    host,
    inputs,
    network,
    outcome,
    plan,
)
from snnir.targets.events.build import build_network, find_problems
from snnir.targets.events.engine_c import ENGINE, FILE
from snnir.targets.events.network import EventNetwork
from snnir.targets.events.report import loss_report, tables
from snnir.tensors import Tensor

PULSES = ("kick", "held")
ENGINES = ("auto", "c", "python")
#: Modules copied into emitted folders, each after what it uses at once.
EMBEDDED = (
    c_build, folder_program, folder_weights, events, network, plan, crossing, engine_python,
    engine_host, host, outcome, folder, inputs,
)  # fmt: skip


@dataclass(frozen=True)
class EventsTarget(Target):
    """A simulation in continuous time.

    Options:
        pulse: What a spike is to a neuron whose synapse does not jump: `kick`, an impulse of the
            area of one step; `held`, its weight held for one step, as the stepped forms have it.
        engine: `c`, `python`, or `auto`: C where there is a compiler. Their times are equal.
        max_events: Spikes of neurons in one sample after which a run is given up.
        threads: Samples that the C engine runs at once.
    """

    name: ClassVar[str] = "events"
    summary: ClassVar[str] = "events in continuous time, exact; runs in memory and from its folder"
    continuous: ClassVar[bool] = True
    pulse: str = "kick"
    engine: str = "auto"
    max_events: int = host.MOST_EVENTS
    threads: int = 1

    def __post_init__(self) -> None:
        for option, allowed in (("pulse", PULSES), ("engine", ENGINES)):
            if getattr(self, option) not in allowed:
                what = f"target 'events': {option} is '{getattr(self, option)}'"
                raise error("SNN503", what, hint=f"use one of {', '.join(allowed)}")
        for option in ("max_events", "threads"):
            if not 1 <= getattr(self, option) < 2**62:
                what = f"target 'events': {option} is {getattr(self, option)}"
                raise error("SNN503", what, hint="use 1 or more")

    def pipeline(self, level: int) -> str:
        """Return passes that leave neurons continuous and keep the names of weights."""
        return "canonicalize,dead-code" if level else "canonicalize"

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything that has no form in continuous time."""
        return find_problems(graph)

    def network(self, graph: Graph) -> EventNetwork:
        """Return the network of a graph.

        Raises:
            SnnirError: Everything that has no form in continuous time, at once.
        """
        return build_network(graph, held=self.pulse == "held")

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the network and its folder."""
        made = self.network(graph)
        files: dict[str, Content] = {
            folder.INTERFACE: _json(folder.interface(made, self.max_events)),
            folder.ARRAYS: partial(_write_arrays, made),
            FILE: ENGINE.encode(),
            "model.py": folder_source(command, EMBEDDED).encode(),
        }
        outputs = {
            name: replace(signal, kind=Kind.COUNTS) if signal.kind is Kind.SPIKES else signal
            for name, signal in ((n, graph.signals[v]) for n, v in graph.outputs.items())
        }
        return EventsCompiled(
            graph, self, files, history, "model.py", outputs=outputs, tables=tables(graph, made),
            network=made,
        )  # fmt: skip

    def losses(self, graph: Graph) -> LossReport:
        """Return what every node is here; neurons are exact in continuous time."""
        problems = find_problems(graph)
        return loss_report(graph, self.name, self.pulse == "held", problems)


def _json(facts: Any) -> bytes:
    return (json.dumps(facts, indent=2) + "\n").encode()


def _write_arrays(made: EventNetwork, file: BinaryIO) -> None:
    write_tensors({name: Tensor(array) for name, array in folder.arrays(made).items()}, file)


@dataclass(frozen=True)
class EventsCompiled(Compiled):
    """A network in continuous time.

    Attributes:
        network: Its populations and synapses as arrays, as the engine reads them.
    """

    network: EventNetwork = field(kw_only=True, repr=False)

    @cached_property
    def simulator(self) -> host.Simulator:
        """The network, ready to run.

        Raises:
            SnnirError: SNN503 if the engine is `c` and there is no compiler.
        """
        target = self.target
        assert isinstance(target, EventsTarget)
        try:
            sim = host.Simulator(self.network, target.engine, target.max_events, target.threads)
        except NoCompiler as problem:
            raise error("SNN503", f"target 'events': {problem}") from None
        if sim.kind != target.engine and sim.kind == "python":
            what = "target 'events': there is no C compiler; it runs in Python, slowly"
            warn(Diagnostic("SNN503", what))
        return sim

    def run(
        self,
        x: npt.ArrayLike | Events | Mapping[str, Any],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
        duration: float | None = None,
        samples: int | None = None,
    ) -> EventResult:
        """Run the network from event to event.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one): spikes or counts at the starts of
                their steps, real numbers as currents held for their steps. Or `Events`. Or one of
                them per input name; `NAME.time`, `NAME.index` and `NAME.sample` are events, too.
            record: Populations, for their spikes, and `NAME:v` or `NAME:i` for their states at
                the end of every step.
            resume: Not possible: a run begins at rest.
            lasting: Nothing lasts on this target.
            duration: Seconds; that of the arrays if None. What happens at this time or later is
                left out.
            samples: Number of samples where only events are given; as many as they have if None.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a record is none, SNN603 if the run was
                given up (more than max_events spikes, spikes without delay that cause each other
                for ever, a state that is not finite), SNN503 if there is no compiler.
        """
        check_lasting(self.graph, lasting, resume=resume)
        if resume:
            raise error("SNN601", "a run of events begins at rest; give the whole input at once")
        sim = self.simulator
        known = outcome.recordable(sim)
        for name in record:
            if name not in known:
                meant = hint(name, sorted(known), "what can be")
                raise error("SNN602", "cannot be recorded", node=name, hint=meant)
        given = check_streams(x, self.inputs)
        try:
            with progress("running from event to event"):
                found = outcome.run_network(sim, given, record, duration, samples)
        except outcome.BadRun as problem:
            raise error("SNN601", str(problem)) from None
        except plan.RunError as problem:
            raise _given_up(sim, problem) from None
        stats = spike_stats(populations(self.graph), found.sums, found.steps * found.samples)
        records = tuple(host.record_of(trace) for trace in found.traces)
        return EventResult(found.outputs, found.recorded, stats, found.events, records)


def _given_up(sim: host.Simulator, problem: plan.RunError) -> SnnirError:
    hints = {
        plan.REASONS[2]: "shorten the run, weaken the weights, or raise max_events",
        plan.REASONS[3]: "give the recurrence a delay, or its neurons a synapse",
    }
    return error("SNN603", sim.explained(problem), hint=hints.get(problem.reason))
