"""A configured chip, emulated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt

from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.errors import Diagnostic, error, warn
from snnir.lasting import check_lasting
from snnir.loss_report import LossReport
from snnir.progress import Task
from snnir.progress_bars import show_progress
from snnir.running import Result, check_inputs, spike_stats
from snnir.suggest import hint
from snnir.target import Compiled
from snnir.targets.bss2.artefact import FILE
from snnir.targets.bss2.emulation import emulator, monte_carlo
from snnir.targets.bss2.emulation.conditions import Conditions
from snnir.targets.bss2.emulation.config_reader import config_of
from snnir.targets.bss2.emulation.variation import BadInput
from snnir.targets.bss2.plan import Plan
from snnir.targets.bss2.report import loss_report


@dataclass(frozen=True)
class Bss2Compiled(Compiled):
    """A configured chip, emulated.

    Attributes:
        plan: Populations, integers, places and routes.
        facts: The content of `model.bss2.json`.
    """

    plan: Plan = field(kw_only=True, repr=False)
    facts: dict[str, Any] = field(kw_only=True, repr=False)

    @cached_property
    def losses(self) -> LossReport:
        """What the chip does otherwise than the model."""
        return loss_report(self.graph, self.plan)

    @cached_property
    def model(self) -> emulator.Model:
        """The emulated chip, read from `model.bss2.json`."""
        content = self.files[FILE]
        assert isinstance(content, bytes)
        config = config_of(json.loads(content))
        try:
            return emulator.Model(config)
        except NoCompiler as problem:
            what = f"target 'bss2': {problem}; the emulator runs in Python, slowly"
            warn(Diagnostic("SNN503", what))
            return emulator.Model(config, compiled=False)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
        **conditions: Any,
    ) -> Result:
        """Run events on the emulated chip, which starts at rest.

        Args:
            x: Counts of events [T, B, *shape] (or [T, *shape]), or one such array per input name.
            record: Populations, for their spikes, and `NAME:v` for their membranes.
            resume: Not possible: what is in a chip's circuits cannot be kept.
            lasting: Nothing lasts on this target.
            conditions: Fields of `Conditions`: `mode` (`ideal`, `mismatch`, `euler`), `seed` of the
                virtual chip, `noise_seed` of the trial, `sigmas` (a text such as
                `threshold=2,tau_mem=0.1`), `arbitrate`, `serial`, `cadc`, `cadc_period`.

        Returns:
            Spikes are counted in the steps in which they come; membranes are in the model's units.

        Raises:
            SnnirError: SNN601 if x does not fit or a condition is none, SNN602 if a record is none.
        """
        check_lasting(self.graph, lasting, resume=resume)
        if resume:
            raise error("SNN601", "a chip starts at rest; give the whole input in one run")
        inputs = check_inputs(x, self.inputs)
        self._check_record(record)
        try:
            with Task("running on the emulated chip"):
                outputs, records, sums = self.model.run(
                    inputs, list(record), Conditions.of(conditions)
                )
        except BadInput as problem:
            raise error("SNN601", str(problem)) from None
        steps, batch = next(iter(inputs.values())).shape[:2]
        return Result(outputs, records, spike_stats(populations(self.graph), sums, steps * batch))

    def monte_carlo(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        chips: int,
        reduce: Callable[[Result], Any] | None = None,
        *,
        progress: bool = True,
        **conditions: Any,
    ) -> list[Any]:
        """Run the same input on several virtual chips.

        Args:
            x: As in `run`.
            chips: How many; chip k is that of `seed` + k.
            reduce: Makes of a chip's result what is kept, such as an accuracy.
            progress: Whether to show a bar on stderr, if that is a terminal.
            conditions: As in `run`.

        Returns:
            What is kept of every chip.

        Raises:
            SnnirError: SNN601 as `run` does.
        """
        if chips < 1:
            raise error("SNN601", f"{chips} virtual chips are none")
        inputs = check_inputs(x, self.inputs)
        steps, batch = next(iter(inputs.values())).shape[:2]
        names = populations(self.graph)

        def keep(outputs: Any, records: Any, sums: Any) -> Any:
            found = Result(outputs, records, spike_stats(names, sums, steps * batch))
            kept = reduce(found) if reduce else found
            step()
            return kept

        shown = show_progress() if progress else nullcontext()
        try:
            with shown, Task("running virtual chips", chips) as step:
                return monte_carlo.monte_carlo(
                    self.model, inputs, chips, Conditions.of(conditions), reduce=keep
                )
        except BadInput as problem:
            raise error("SNN601", str(problem)) from None

    def _check_record(self, record: Sequence[str]) -> None:
        for name in record:
            if name not in self.model.recordable:
                meant = hint(name, self.model.recordable, "what can be")
                raise error("SNN602", "cannot be recorded on the chip", node=name, hint=meant)
