"""`--target ipu`: programs for Graphcore's IPU, with a plan of its tiles and an emulator."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.errors import Diagnostic, SnnirError, error, warn
from snnir.ir.graph import Graph
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport
from snnir.pipeline import LEVELS, PipelineResult
from snnir.progress import progress
from snnir.running import Result, check_batch, check_inputs, check_record, spike_stats
from snnir.target import Compiled, Content, Target, still_continuous
from snnir.targets.ipu.artefact import facts_of, model_source, program_files
from snnir.targets.ipu.emulator import Emulation, Facts, Failed, emulate
from snnir.targets.ipu.forms import EVENTS
from snnir.targets.ipu.half import halved, too_large
from snnir.targets.ipu.losses import loss_report
from snnir.targets.ipu.machine import MOST_IPUS, Machine
from snnir.targets.ipu.partition import Wishes, partition
from snnir.targets.ipu.picture import pictures
from snnir.targets.ipu.plan import Plan
from snnir.targets.ipu.plan_json import plan_text
from snnir.targets.ipu.poptorch.fit import unsupported
from snnir.targets.ipu.poptorch.script import WEIGHTS, ScriptOptions, poptorch_files
from snnir.targets.ipu.refusals import refused
from snnir.targets.ipu.report import tables
from snnir.targets.ipu.structure import Structure

PRECISIONS = ("float32", "half")


@dataclass(frozen=True)
class IpuTarget(Target):
    """A program for IPUs of the second generation.

    Options:
        ipus: IPUs of the machine, a power of two; a model that needs several is split.
        replicas: Copies of the model, each for other samples of a batch; they share the IPUs.
        batch: Samples that a copy steps together.
        precision: `float32`, or `half`: synaptic weights and biases are rounded to 16 bits;
            everything is computed in float32.
        reserve: Share of every tile that the plan leaves to what only the vendor's compiler
            knows: code, stacks, message buffers.
        keep: Keep every op's result, so that all of them can be recorded.
        events: Form in which spikes travel where they can: `lists` of those that fired, `bits`, or
            `auto`: what is estimated to be faster.
        activity: Share of spikes that estimates take to be 1.
    """

    name: ClassVar[str] = "ipu"
    summary: ClassVar[str] = "Poplar and PopTorch programs for Graphcore's IPU, with an emulator"
    ipus: int = 1
    replicas: int = 1
    batch: int = 1
    precision: str = "float32"
    reserve: float = 0.15
    keep: bool = False
    events: str = "auto"
    activity: float = 0.1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            self._refuse("precision", f"use one of {', '.join(PRECISIONS)}")
        if self.events not in EVENTS:
            self._refuse("events", f"use one of {', '.join(EVENTS)}")
        if self.ipus not in (1, 2, 4, 8, 16, 32, MOST_IPUS):
            self._refuse("ipus", f"machines have 1, 2, 4 ... {MOST_IPUS} IPUs")
        if self.replicas < 1 or self.ipus % self.replicas:
            self._refuse("replicas", f"each needs as many of the {self.ipus} IPUs: 1, 2, 4 ...")
        if self.batch < 1:
            self._refuse("batch", "it is 1 or more")
        if not 0 <= self.reserve < 1:
            self._refuse("reserve", "it is a share of a tile, from 0 to less than 1")
        if not 0 <= self.activity <= 1:
            self._refuse("activity", "it is a share of spikes, from 0 to 1")

    def _refuse(self, option: str, hint: str) -> None:
        what = f"target 'ipu': {option} is {getattr(self, option)!r}"
        raise error("SNN503", what, hint=hint)

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline."""
        return LEVELS[level]

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return everything that does not fit."""
        continuous = still_continuous(graph)
        if continuous:
            return continuous
        found = refused(Structure(graph, self.keep))
        found += too_large(graph) if self.precision == "half" else []
        return found or self._plan(graph)[1]

    def losses(self, graph: Graph) -> LossReport:
        """Return what is kept of every node; half precision rounds weights."""
        return loss_report(graph, self.precision == "half")

    @property
    def machine(self) -> Machine:
        """What a replica may use."""
        return Machine(self.ipus // self.replicas, self.reserve)

    def _plan(self, graph: Graph) -> tuple[Plan | None, list[Diagnostic]]:
        wishes = Wishes(
            self.batch, self.replicas, self.precision == "half", self.events, self.activity
        )
        return partition(Structure(graph, self.keep), self.machine, wishes)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the program and its folder."""
        report, kept = self.losses(graph), graph
        if self.precision == "half":
            kept = halved(graph)
        plan, problems = self._plan(kept)
        if plan is None:
            raise SnnirError(problems)
        facts = facts_of(plan, kept)
        files = program_files(plan, kept.name)
        options = {item.name: getattr(self, item.name) for item in fields(self)}
        files["plan.json"] = plan_text(plan, kept.name, options).encode()
        files["model.py"] = model_source(facts).encode()
        without = unsupported(kept, self.precision == "half")
        for problem in without:
            warn(replace(problem, message=f"{problem.message}: no PopTorch script is written"))
        if not without:
            files |= poptorch_files(kept, self._script(plan))
        return IpuCompiled(
            kept, self, files, history, "model.py", plan, facts, report, tables=tables(plan),
            pictures=pictures(plan),
        )  # fmt: skip

    def _script(self, plan: Plan) -> ScriptOptions:
        half = self.precision == "half"
        return ScriptOptions(half=half, replicas=self.replicas, ipus=plan.machine.ipus)


@dataclass(frozen=True)
class IpuCompiled(Compiled):
    """A program for IPUs, emulated.

    Attributes:
        plan: What lies where.
        facts: What a caller has to know of the program.
        report: What was kept of every node of the graph as it was given.
    """

    plan: Any = field(default=None, repr=False)
    facts: Any = field(default=None, repr=False)
    report: Any = field(default=None, repr=False)

    @cached_property
    def losses(self) -> LossReport:
        """What was kept of every node."""
        found: LossReport = self.report
        return found

    @cached_property
    def _memory(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _folder(self) -> Path:
        """The files that the emulator needs, for as long as this object lives."""
        made = Path(tempfile.mkdtemp(prefix="snnir-ipu-"))
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        for name, content in self.files.items():
            if name != WEIGHTS:  # of the PopTorch script, as large as all else
                _write(made / name, content)
        return made

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Emulate the program.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest; what went before is
                computed again.
            lasting: Nothing lasts on this target.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node cannot be recorded, SNN503 if
                there is no compiler, SNN502 if the program breaks a rule of the machine.
        """
        check_lasting(self.graph, lasting, resume=resume)
        facts: Facts = self.facts
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        for name in record:
            if name not in facts.records:
                hint = "compile with --set keep=true"
                raise error("SNN602", "has no memory of its own to record", node=name, hint=hint)
        steps, batch = next(iter(inputs.values())).shape[:2]
        before = self._memory.get("inputs") if resume else None
        check_batch(batch, None if before is None else self._memory["batch"])
        whole = dict(inputs)
        if before is not None:
            whole = {name: np.concatenate([before[name], inputs[name]]) for name in inputs}
        made = self.emulate(whole, record)
        self._memory.update(batch=batch, inputs=whole)
        sums = dict(made.sums)
        if before is not None:
            for name, total in self._memory["sums"].items():
                sums[name] -= total
        self._memory["sums"] = made.sums
        outputs, records = (
            {name: y[-steps:] for name, y in side.items()} for side in (made.outputs, made.records)
        )
        return Result(outputs, records, spike_stats(populations(self.graph), sums, steps * batch))

    def emulate(self, inputs: Mapping[str, Any], record: Sequence[str] = ()) -> Emulation:
        """Run the program in the emulator from rest, and return what it measured as well.

        Raises:
            SnnirError: SNN601 if the inputs do not fit, SNN503 if there is no compiler, SNN502 if
                the program breaks a rule.
        """
        try:
            with progress("compiling the program and emulating the IPU"):
                given = check_inputs(inputs, self.graph.inputs)
                return emulate(self._folder, self.facts, given, record)
        except NoCompiler as problem:
            raise error("SNN503", f"target 'ipu': {problem}") from None
        except Failed as problem:
            raise error("SNN502", f"target 'ipu': {problem}") from None


def _write(path: Path, content: Content) -> None:
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
