"""The emulated chip in place of a real one: what populations do there while they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.c_build import NoCompiler
from snnir.errors import SnnirError, error
from snnir.ir.graph import Graph
from snnir.pipeline import run_pipeline
from snnir.targets.bss2.artefact import artefact
from snnir.targets.bss2.emulation.conditions import Conditions
from snnir.targets.bss2.emulation.config_reader import config_of
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.variation import BadInput
from snnir.targets.bss2.target import Bss2Target
from snnir.targets.bss2.training.variations import sigmas_of

Array = npt.NDArray[Any]


class EmulatedChip:
    """Compiles a graph as the target does and runs it under some conditions, again for every batch.

    Args:
        target: The target with its options.
        conditions: Fields of `Conditions`; with a `noise_seed`, every run is another trial, the
            first has this seed. True: those of an ideal chip.

    Attributes:
        conditions: Of the next run.
        model: The chip of the last run; its `stats` say what was sent and lost.

    Raises:
        SnnirError: SNN503 for what is no condition.
    """

    def __init__(self, target: Bss2Target, conditions: Mapping[str, Any] | bool = True) -> None:
        self.target = target
        self.conditions = _conditions({} if isinstance(conditions, bool) else dict(conditions))
        self.model: Model | None = None

    def __call__(self, graph: Graph, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Return what all populations do.

        Args:
            graph: With the present weights.
            x: Counts of events [T, B, *shape], by input if there are several.

        Returns:
            By population [T, B, N]: how many spikes came in each step, or the membrane at its end
            as the CADC shows it, in the graph's units.

        Raises:
            SnnirError: SNN501 if the graph does not fit the chip, SNN601 if x does not fit it.
        """
        given = x if isinstance(x, Mapping) else {next(iter(graph.inputs)): x}
        model = self.model = self._model(graph)
        populations = [p for p in model.config.populations.values() if p.kind == "neurons"]
        record = {p.name: p.name if p.spiking else f"{p.name}:v" for p in populations}
        try:
            _, found, _ = model.run(given, list(record.values()), self.conditions)
        except BadInput as problem:
            raise error("SNN601", str(problem)) from None
        if self.conditions.noise_seed is not None:
            seed = self.conditions.noise_seed + 1
            self.conditions = replace(self.conditions, noise_seed=seed)
        return {
            name: found[what].reshape(*found[what].shape[:2], -1).astype(np.float32)
            for name, what in record.items()
        }

    def _model(self, graph: Graph) -> Model:
        """Return the chip of a graph, without the folder that compiling writes."""
        ready = run_pipeline(graph, self.target.pipeline(0)).graph
        config = config_of(artefact(self.target.plan(ready), ready))
        try:
            return Model(config)
        except NoCompiler:
            return Model(config, compiled=False)


def _conditions(given: dict[str, Any]) -> Conditions:
    if "sigmas" in given:
        given["sigmas"] = sigmas_of(given["sigmas"] or {})
    try:
        return Conditions.of(given)
    except BadInput as problem:
        raise _wrong(str(problem), "see `snnir.compile(...).run` of the target") from None


def _wrong(problem: str, hint: str) -> SnnirError:
    return error("SNN503", f"training for 'bss2', in the loop: {problem}", hint=hint)
