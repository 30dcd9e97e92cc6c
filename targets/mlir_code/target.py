"""`--target mlir`: code of upstream MLIR, and a module that IREE compiled."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, BinaryIO, ClassVar

from snnir import folder_program, folder_weights
from snnir.embedding import folder_source
from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.ir.safetensors_io import write_tensors
from snnir.loss_report import LossReport, rounding_report
from snnir.network_build import PRECISIONS, unsupported
from snnir.pipeline import LEVELS, PipelineResult
from snnir.progress import progress
from snnir.target import Compiled, Content, Target, still_continuous
from snnir.targets.mlir_code import command, host, kernels
from snnir.targets.mlir_code.artefact import STEPS, MlirCompiled, failures_explained
from snnir.targets.mlir_code.host import INTERFACE, MODULE, WEIGHTS
from snnir.targets.mlir_code.iree import CPU, DRIVERS, THREADED, NotCompiled, compiled
from snnir.targets.mlir_code.lowering import Lowering
from snnir.targets.mlir_code.populations import most_buffers
from snnir.targets.mlir_code.upstream import bytecode
from snnir.tensors import Tensor

TEXT, BYTECODE, PROGRAM = "model.mlir", "model.mlirbc", "model.py"
NONE = "none"
#: The most steps or samples of one call.
MOST = 4096
#: Buffers that IREE can give one operation.
MOST_BUFFERS = 32
#: What computes `math.fma` as a product and a sum, or is free to.
TWICE = ("vmvx", "vulkan-spirv")


@dataclass(frozen=True)
class MlirTarget(Target):
    """Code in linalg, scf, arith and math, for MLIR's tools; where IREE is, a compiled module.

    Options:
        precision: Of what is real: `float32` (sums in whatever order), `reproducible` (sums in
            float64, rounded once, as the NumPy target) or `float64`.
        exact: Keep products and sums from being rounded together.
        backend: What IREE compiles for: `llvm-cpu`, `vmvx`, `cuda`, `rocm`, `vulkan-spirv` or
            `metal-spirv`; `none` for the code alone, which is also what there is without IREE.
        cpu: Of `llvm-cpu`: a processor as clang calls it, `generic` or `host`; by default generic
            in a folder and host in memory.
        features: Of `llvm-cpu`: features of the processor such as `+avx2,+fma`.
        flags: Further flags of `iree-compile`, separated by spaces.
        steps, batch: Steps and samples that one call takes; longer and larger runs are several
            calls. By default 16 steps of one sample in a folder, and what suits the input in
            memory.
        threads: Of `llvm-cpu`: 1, or more for as many as IREE takes.
        bytecode: Write the code as MLIR bytecode too; this needs torch-mlir.
    """

    name: ClassVar[str] = "mlir"
    summary: ClassVar[str] = "linalg, scf, arith and math of MLIR; runs compiled by IREE"
    precision: str = "float32"
    exact: bool = True
    backend: str = CPU
    cpu: str = ""
    features: str = ""
    flags: str = ""
    steps: int = 0
    batch: int = 0
    threads: int = 1
    bytecode: bool = False

    def __post_init__(self) -> None:
        choices = {"precision": tuple(PRECISIONS), "backend": (*DRIVERS, NONE)}
        for option, allowed in choices.items():
            value = getattr(self, option)
            if value not in allowed:
                hint = f"use one of {', '.join(allowed)}"
                raise error("SNN503", f"target 'mlir': {option} is '{value}'", hint=hint)
        for option in ("steps", "batch"):
            if not 0 <= getattr(self, option) <= MOST:
                what = f"target 'mlir': {option} is {getattr(self, option)}"
                raise error("SNN503", what, hint=f"use 1 to {MOST}, or 0 for what suits")
        if self.threads < 1 or (self.threads > 1 and self.backend != CPU):
            what = f"target 'mlir': threads is {self.threads} with backend '{self.backend}'"
            raise error("SNN503", what, hint=f"use 1, or more with backend={CPU}")
        if self.backend == "vmvx" and self.precision != "float32":
            what = f"target 'mlir': precision is '{self.precision}', vmvx has no float64"
            raise error("SNN503", what, hint="use float32, or another backend")
        if "\0" in self.cpu + self.features + self.flags:
            raise error("SNN503", "target 'mlir': an option has a NUL in it")
        if self.backend != CPU and (self.cpu or self.features):
            what = f"target 'mlir': backend '{self.backend}' knows no cpu or features"
            raise error("SNN503", what, hint=f"they are of backend={CPU}")

    @property
    def driver(self) -> str:
        """Name of the runtime's driver, "" if nothing runs."""
        return THREADED if self.threads > 1 else DRIVERS.get(self.backend, "")

    @property
    def compiles(self) -> bool:
        """Whether IREE compiles the code."""
        return self.backend != NONE and is_there("iree.compiler")

    @property
    def runs_here(self) -> bool:
        """Whether this machine runs the module of a folder."""
        known = self.backend == CPU and self.cpu in ("", "generic", "host") and not self.features
        return known and not self.flags and is_there("iree.runtime")

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline; float64 keeps its parameters in float64."""
        if self.precision != "float64":
            return LEVELS[level]
        return LEVELS[level].replace("discretize", "discretize{dtype=f64}")

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything discrete is supported, except ops of plug-ins."""
        problems = still_continuous(graph) or unsupported(graph, vars(kernels), self.name)
        problems = problems or (rounded_twice(graph, self.backend) if self.backend in TWICE else [])
        return problems or (too_many_buffers(graph) if self.compiles else [])

    def losses(self, graph: Graph) -> LossReport:
        """Return what is kept: without `exact`, products and sums are rounded together."""
        return rounding_report(graph, self.name, self.exact, flushes=self.backend != NONE)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the code and its folder."""
        lowering = self.lowering(graph, self.steps or STEPS, self.batch or 1)
        text = lowering.module()
        facts = replace(lowering.facts(), driver=self.driver)
        files: dict[str, Content] = {
            TEXT: text.encode(),
            WEIGHTS: partial(write_weights, lowering),
            INTERFACE: json.dumps(asdict(facts), indent=1).encode(),
        }
        if self.bytecode:
            files[BYTECODE] = bytecode(text)
        if not self.compiles:
            return MlirCompiled(graph, self, files, history)
        files[MODULE] = partial(self.write_module, text, facts, lowering.tensors)
        files[PROGRAM] = folder_source(command, (host, folder_program, folder_weights)).encode()
        return MlirCompiled(graph, self, files, history, PROGRAM)

    def lowering(self, graph: Graph, steps: int, batch: int) -> Lowering:
        """Return the code for so many steps and samples."""
        return Lowering(graph, self.precision, self.exact, steps, batch)

    def write_module(
        self, text: str, facts: host.Facts, weights: Mapping[str, Any], file: BinaryIO
    ) -> None:
        """Write the module of a folder; it takes a step here first, where it can."""
        module = self.module(text, self.cpu or "generic")
        if self.runs_here:
            with failures_explained():
                host.Program(lambda _: module, facts, weights).rehearse()
        file.write(module)

    def module(self, text: str, cpu: str) -> bytes:
        """Return the code compiled by IREE.

        Raises:
            SnnirError: SNN503 if IREE refuses it or an option.
        """
        try:
            with progress("compiling by IREE"):
                return compiled(text, self.backend, cpu, self.features, self.flags.split())
        except NotCompiled as problem:
            hint = "check backend, cpu, features and flags, or set backend=none"
            raise error("SNN503", f"target 'mlir': {problem}", hint=hint) from None


def is_there(module: str) -> bool:
    """Whether a part of IREE is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # `iree` itself is missing
        return False


def too_many_buffers(graph: Graph) -> list[Diagnostic]:
    """Return the populations that read and write more tensors than one operation of IREE can."""
    found = []
    for node in graph.nodes.values():
        if isinstance(node.op, Step) and most_buffers(node.op) > MOST_BUFFERS:
            what = f"needs {most_buffers(node.op)} buffers for its states, IREE has {MOST_BUFFERS}"
            hint = "set backend=none for the code alone"
            found.append(Diagnostic("SNN501", what, node.name, hint=hint))
    return found


def rounded_twice(graph: Graph, backend: str) -> list[Diagnostic]:
    """Return the populations whose products and sums would not be rounded together."""
    what = f"needs a product and a sum rounded once, {backend} may round twice"
    hint = "take another backend, or write a * b + c"
    nodes = graph.nodes.values()
    fused = [n.name for n in nodes if isinstance(n.op, Step) and n.op.program.is_fused]
    return [Diagnostic("SNN501", what, name, hint=hint) for name in fused]


def write_weights(lowering: Lowering, file: BinaryIO) -> None:
    """Write the tensors that are arguments."""
    write_tensors({name: Tensor(array) for name, array in lowering.tensors.items()}, file)
