"""`--target numpy`: the reference simulator, and a folder that runs with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy.typing as npt

from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.pipeline import LEVELS, PipelineResult
from snnir.running import Result
from snnir.target import Compiled, Target, still_continuous
from snnir.targets.numpy_sim.build import PRECISIONS
from snnir.targets.numpy_sim.emit import PROGRAM, emit_files
from snnir.targets.numpy_sim.simulator import NumpySimulator


@dataclass(frozen=True)
class NumpyTarget(Target):
    """The NumPy simulator.

    Options:
        precision: `reproducible` (float32; sums in float64, rounded once), `float32` (plain
            float32 sums, in whatever order BLAS takes) or `float64`.
    """

    name: ClassVar[str] = "numpy"
    summary: ClassVar[str] = "reference simulator; folder with a NumPy program"
    learns: ClassVar[bool] = True
    precision: str = "reproducible"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise error(
                "SNN503",
                f"target 'numpy': precision is '{self.precision}'",
                hint=f"use one of {', '.join(PRECISIONS)}",
            )

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline; float64 keeps its parameters in float64."""
        if self.precision != "float64":
            return LEVELS[level]
        return LEVELS[level].replace("discretize", "discretize{dtype=f64}")

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything discrete is supported."""
        return still_continuous(graph)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the simulator."""
        return NumpyCompiled(graph, self, emit_files(graph, self.precision), history, PROGRAM)


@dataclass(frozen=True)
class NumpyCompiled(Compiled):
    """A network ready to run with NumPy."""

    @cached_property
    def simulator(self) -> NumpySimulator:
        """The in-process simulator; it keeps the state between calls."""
        assert isinstance(self.target, NumpyTarget)
        return NumpySimulator(self.graph, self.target.precision)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the network; see `NumpySimulator.run`."""
        return self.simulator.run(x, record, resume=resume, lasting=lasting)
