"""`--target xylo`: configurations of SynSense's Xylo chips."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir import folder_program
from snnir.artefact import populations
from snnir.embedding import folder_source
from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir.graph import Graph
from snnir.lasting import check_lasting
from snnir.loss_report import REFUSED, LossReport, NodeLoss, report
from snnir.pipeline import PipelineResult
from snnir.progress import progress
from snnir.reporting.pictures import Pictures
from snnir.running import (
    Result,
    check_batch,
    check_inputs,
    read_array,
    spike_stats,
)
from snnir.suggest import hint
from snnir.target import Compiled, Content, Target
from snnir.targets.xylo import chips, command, configuration, emulator, load_xylosim
from snnir.targets.xylo.chips import CHIPS, Chip
from snnir.targets.xylo.configuration import InputError, Network, check_events, read_config
from snnir.targets.xylo.losses import loss_report, report_of
from snnir.targets.xylo.picture import weights_picture
from snnir.targets.xylo.plan import Plan, config_of, fits, json_text, make_plan

#: What `model.py` is made of.
EMBEDDED = (chips, emulator, configuration, folder_program)
TAILS = ("auto", "cancel", "keep")
PIPELINE = "canonicalize,discretize,cse,merge-delays,remove-identity,dead-code"


@dataclass(frozen=True)
class XyloTarget(Target):
    """A configuration of a Xylo chip, with its emulator.

    Options:
        chip: `xylo-audio-2`, `xylo-imu` or `xylo-audio-3`.
        tails: What becomes of neurons without a synapse, which the chip does not have: `cancel`
            what its synapses leave of an event after a step, with copies of the sources; `keep`
            it; `auto`: cancel where the copies fit.
        calibrate: File of inputs (`.npy`, `.npz`) by which decays are chosen and room for states
            is measured; without it, the nearest decays are taken, and random events measure.
    """

    name: ClassVar[str] = "xylo"
    summary: ClassVar[str] = "configuration of a Xylo chip, with its emulator; integers"
    between: ClassVar[Mapping[str, str]] = {"membrane": "factor"}
    chip: str = "xylo-audio-2"
    tails: str = "auto"
    calibrate: str = ""

    def __post_init__(self) -> None:
        for option, allowed in (("chip", tuple(CHIPS)), ("tails", TAILS)):
            if getattr(self, option) not in allowed:
                what = f"target 'xylo': {option} is '{getattr(self, option)}'"
                raise error("SNN503", what, hint=f"use one of {', '.join(allowed)}")

    @property
    def device(self) -> Chip:
        """The chip."""
        return CHIPS[self.chip]

    def pipeline(self, level: int) -> str:
        """Return the exact passes; the target folds linear ops itself, in float64."""
        return PIPELINE if level else "discretize,dead-code"

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Return everything that has no form on the chip, or no room."""
        return fits(graph, self.device, self.tails)[1]

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the configuration and its folder."""
        plan = self.plan(graph)
        text = json_text(config_of(plan)) + "\n"
        files: dict[str, Content] = {
            "config.json": text.encode(),
            "quantization.json": (json_text(report_of(plan)) + "\n").encode(),
            "model.py": folder_source(command, EMBEDDED).encode(),
            "load_xylosim.py": inspect.getsource(load_xylosim).encode(),
        }
        drawn = Pictures({f"Weights on {self.device.name}": lambda: weights_picture(plan)})
        return XyloCompiled(
            graph, self, files, history, "model.py", plan, read_config(text), pictures=drawn
        )

    def plan(self, graph: Graph) -> Plan:
        """Return the integers for a graph.

        Raises:
            SnnirError: Everything that does not fit, or SNN601 for inputs to calibrate with.
        """
        layout, problems = fits(graph, self.device, self.tails)
        if problems or layout is None:
            raise SnnirError(problems)
        return make_plan(layout, self._events(graph))

    def losses(self, graph: Graph) -> LossReport:
        """Return what every population loses; what does not fit is refused."""
        problems = self.check(graph)
        if not problems:
            return loss_report(self.plan(graph))
        wrong: dict[str, list[str]] = {}
        for problem in problems:
            wrong.setdefault(problem.node or "", []).append(problem.message)
        entries = [NodeLoss(name, REFUSED, "; ".join(what)) for name, what in wrong.items()]
        return report(graph, self.name, entries)

    def _events(self, graph: Graph) -> Any:
        if not self.calibrate:
            return None
        given = check_inputs(read_array(self.calibrate), graph.inputs)
        try:
            for name, values in given.items():
                check_events(name, values)
        except InputError as problem:
            raise error("SNN601", str(problem), source=self.calibrate) from None
        parts = [given[name].reshape(*given[name].shape[:2], -1) for name in graph.inputs]
        return np.concatenate(parts, axis=2).astype(np.float64)


@dataclass(frozen=True)
class XyloCompiled(Compiled):
    """A configured chip, emulated.

    Attributes:
        plan: How the integers came about.
        network: What is emulated, as read from the folder's configuration.
    """

    plan: Any = field(default=None, repr=False)
    network: Any = field(default=None, repr=False)

    @cached_property
    def losses(self) -> LossReport:
        """What every population loses."""
        return loss_report(self.plan)

    @cached_property
    def _memory(self) -> dict[str, Any]:
        return {}

    @property
    def latency(self) -> dict[str, int]:
        """Steps by which the chip is later than the graph, by population and `output:NAME`."""
        net: Network = self.network
        found = {span.name: span.latency for span in net.populations}
        return found | {f"output:{span.name}": span.latency for span in net.outputs}

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Emulate the chip.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name;
                whole numbers of events from 0 to 15.
            record: Populations, or their states as `NAME:v` and `NAME:i`, in the chip's units.
            resume: Go on from where the last call ended instead of from rest.
            lasting: Nothing lasts on this target.

        Returns:
            Everything in the chip's time; `latency` says how late that is.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a name cannot be recorded.
        """
        check_lasting(self.graph, lasting, resume=resume)
        net: Network = self.network
        inputs = check_inputs(x, self.graph.inputs)
        for name in record:
            if name not in net.records:
                meant = hint(name, net.records, "what can be")
                raise error("SNN602", "cannot be recorded on the chip", node=name, hint=meant)
        steps, batch = next(iter(inputs.values())).shape[:2]
        check_batch(batch, self._memory.get("batch") if resume else None)
        if not resume or "state" not in self._memory:
            self._memory.update(batch=batch, state=net.core.start(batch))
        try:
            with progress(f"running {steps} steps on the emulated chip"):
                outputs, records, sums = net.run(inputs, record, self._memory["state"])
        except InputError as problem:
            raise error("SNN601", str(problem)) from None
        return Result(outputs, records, spike_stats(populations(self.graph), sums, steps * batch))
