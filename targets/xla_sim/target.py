"""`--target xla`: a jitted program, its export as StableHLO, and a folder that runs with JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, BinaryIO, ClassVar

import numpy.typing as npt

from snnir.artefact import populations
from snnir.dynamics.surrogate import DEFAULT, surrogate
from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.safetensors_io import write_tensors
from snnir.lasting import check_lasting, lasting_table
from snnir.loss_report import LossReport, rounding_report
from snnir.network_build import PRECISIONS
from snnir.pipeline import LEVELS, PipelineResult
from snnir.progress import progress
from snnir.running import Result, check_inputs, check_record, spike_stats
from snnir.target import Compiled, Content, Target, still_continuous

DETACH: dict[str, bool | str] = {"true": True, "false": False, "late": "late"}
PROGRAM, WEIGHTS = "model.py", "weights.safetensors"
EXPORTED, STABLEHLO = "forward.jax_export", "forward.stablehlo.mlir"


@dataclass(frozen=True)
class XlaTarget(Target):
    """A network compiled by XLA.

    Options:
        exact: Round every product and every sum on its own, as the NumPy target; false lets XLA
            fuse them, which is faster and changes last digits.
        precision: `float32` (sums as XLA orders them), `reproducible` (sums in float64, rounded
            once, as the NumPy target) or `float64`.
        surrogate: Derivative of a spike, such as `atan{alpha=2}`.
        detach_reset: Whether gradients take resets as constants: `true`, `false`, or `late`: only
            resets by spikes of the last step (snnTorch with `reset_delay=False`).
        mesh: Devices to spread over, such as `batch:4` or `batch:2,neurons:4`; empty for one.
    """

    name: ClassVar[str] = "xla"
    summary: ClassVar[str] = "compiled by XLA; exported StableHLO and a folder that runs with JAX"
    learns: ClassVar[bool] = True
    exact: bool = True
    precision: str = "float32"
    surrogate: str = DEFAULT
    detach_reset: str = "true"
    mesh: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detach_reset", str(self.detach_reset).lower())
        choices = {"precision": tuple(PRECISIONS), "detach_reset": tuple(DETACH)}
        for option, allowed in choices.items():
            value = getattr(self, option)
            if value not in allowed:
                hint = f"use one of {', '.join(allowed)}"
                raise error("SNN503", f"target 'xla': {option} is '{value}'", hint=hint)
        surrogate(self.surrogate)
        mesh_shape(self.mesh)

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline; float64 keeps its parameters in float64."""
        if self.precision != "float64":
            return LEVELS[level]
        return LEVELS[level].replace("discretize", "discretize{dtype=f64}")

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything discrete is supported, except ops of plug-ins."""
        _need_jax()
        from snnir.network_build import unsupported
        from snnir.targets.xla_sim import kernels

        return still_continuous(graph) or unsupported(graph, vars(kernels), self.name)

    def losses(self, graph: Graph) -> LossReport:
        """Return what is kept: without `exact`, products and sums are rounded together."""
        return rounding_report(graph, self.name, self.exact, flushes=True)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the program and its folder."""
        _need_jax()
        from snnir.targets.xla_sim.emit import Source

        source = Source.of(graph, self)
        files: dict[str, Content] = {
            PROGRAM: source.program().encode("utf-8"),
            WEIGHTS: partial(_write_weights, source),
            EXPORTED: partial(_write_export, source),
            STABLEHLO: partial(_write_text, source),
        }
        return XlaCompiled(graph, self, files, history, PROGRAM)


def _write_weights(source: Any, file: BinaryIO) -> None:
    write_tensors(source.tensors(), file)


def _write_export(source: Any, file: BinaryIO) -> None:
    try:
        file.write(source.exported.serialize())
    except ImportError as missing:
        hint = "pip install 'snnir[jax]'"
        raise error("SNN503", f"target 'xla' cannot export ({missing})", hint=hint) from None


def _write_text(source: Any, file: BinaryIO) -> None:
    file.write(source.exported.mlir_module().encode("utf-8"))


def _need_jax() -> None:
    try:
        import jax  # noqa: F401
    except ImportError as missing:
        hint = "pip install 'snnir[jax]'"
        raise error("SNN503", f"target 'xla' needs jax ({missing})", hint=hint) from None


def mesh_shape(text: str) -> tuple[int, int]:
    """Return (parts of the batch, parts of the neurons) of a text such as `batch:2,neurons:4`.

    Raises:
        SnnirError: SNN503 if it is not such a text.
    """
    sizes = {"batch": 1, "neurons": 1}
    for part in filter(None, text.split(",")):
        axis, _, number = part.strip().partition(":")
        if axis not in sizes or not number.isdigit() or int(number) < 1:
            hint = "write batch:N, neurons:N or both with a comma"
            raise error("SNN503", f"target 'xla': mesh is '{text}'", hint=hint)
        sizes[axis] = int(number)
    return sizes["batch"], sizes["neurons"]


@dataclass(frozen=True)
class XlaCompiled(Compiled):
    """A network compiled by XLA."""

    @cached_property
    def simulator(self) -> Any:
        """What runs on NumPy arrays; it keeps the state between calls.

        Raises:
            SnnirError: SNN503 if there are fewer devices than the mesh has places.
        """
        from snnir.targets.xla_sim.emit import Source
        from snnir.targets.xla_sim.host import TooFewDevices

        assert isinstance(self.target, XlaTarget)
        try:
            return Source.of(self.graph, self.target).simulator()
        except TooFewDevices as problem:
            raise error("SNN503", f"target 'xla': {problem}") from None

    @cached_property
    def function(self) -> Any:
        """The network as a pure function: (tensors, inputs) to outputs, all [T, B, *shape].

        It starts at rest, and can be jitted, differentiated and vectorised; `tensors` are those
        of `simulator.tensors` by `node.attribute`, `inputs` a mapping by name. Where something
        lasts, it is (tensors, inputs, lasting) to (outputs, lasting); `lasting` may be left out,
        and is constant to gradients.
        """
        from snnir.targets.xla_sim.host import forward, unknown_low, whole_tile

        program = self.simulator.program
        assert isinstance(self.target, XlaTarget)
        exact = self.target.exact

        def run(tensors: Any, inputs: Any, lasting: Any = None) -> Any:
            low = unknown_low(next(iter(inputs.values()))) if exact else None
            tile = whole_tile(*next(iter(inputs.values())).shape[:2])
            outputs, kept = forward(program, tensors, low, inputs, tile, lasting)
            return (outputs, kept) if kept else outputs

        return run

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the network.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.
            lasting: What lasts of an earlier run (`Result.lasting`) instead of what the graph has.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist.
        """
        from snnir.targets.xla_sim.host import as_given

        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        kept = check_lasting(self.graph, lasting, resume=resume)
        steps, batch = next(iter(inputs.values())).shape[:2]
        try:
            with progress(f"compiling by XLA and running {steps} steps"):
                outputs, recorded, sums = self.simulator.run(inputs, list(record), resume, kept)
        except ValueError as problem:
            if not str(problem).startswith("resumes"):
                raise
            raise error("SNN601", str(problem)) from None
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        learned = as_given(self.simulator.lasting(), lasting_table(self.graph))
        return Result(outputs, recorded, stats, lasting=learned)
