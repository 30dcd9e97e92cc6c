"""`--target native`: C99 for hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from snnir import c_build, folder_program
from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.c_layout import Layout
from snnir.embedding import folder_source
from snnir.errors import Diagnostic, error
from snnir.integers import whole_outputs
from snnir.ir.graph import Graph, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.lasting import check_lasting
from snnir.network_source import literal
from snnir.pipeline import LEVELS, PipelineResult
from snnir.progress import progress
from snnir.running import Result, check_batch, check_inputs, check_record, spike_stats
from snnir.target import Compiled, Content, Target, still_learning
from snnir.targets.native import command, host
from snnir.targets.native.emit import emitted
from snnir.targets.native.nodes import is_known
from snnir.targets.native.program import Port, Program
from snnir.targets.native.sizes import budget, check_sizes
from snnir.targets.native.writer import padded

MAKEFILE = """\
CC ?= cc
CFLAGS ?= -std=c99 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -pedantic

all: snn libsnn.so

snn: snn.c main.c snn.h
\t$(CC) $(CFLAGS) -o $@ snn.c main.c -lm

libsnn.so: snn.c snn.h
\t$(CC) $(CFLAGS) -fPIC -shared -o $@ snn.c -lm

clean:
\trm -f snn libsnn.so
"""
PROFILES = ("host", "embedded")
PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class NativeTarget(Target):
    """A C99 program.

    Options:
        profile: `host`, or `embedded`: one sample and one step at a time, weights in the program,
            integers only, no math library. Outputs that are real numbers in the graph are whole
            ones there; `readout.json` says of what.
        precision: `float32` or `float64`, of real streams and states; graphs of integers compute
            with integers.
        threads: Threads that share a run.
        flash, ram: What a device has, in bytes or as `64K`, `1M`: what does not fit is refused
            before anything is compiled. Flash is that of weights and tables; code, about 1 KB per
            node, comes on top.
    """

    name: ClassVar[str] = "native"
    learns: ClassVar[bool] = True
    summary: ClassVar[str] = "C99 program; runs compiled, in memory and from its folder"
    profile: str = "host"
    precision: str = "float32"
    threads: int = 1
    flash: str = ""
    ram: str = ""

    def __post_init__(self) -> None:
        for option, allowed in (("profile", PROFILES), ("precision", PRECISIONS)):
            if getattr(self, option) not in allowed:
                what = f"target 'native': {option} is '{getattr(self, option)}'"
                raise error("SNN503", what, hint=f"use one of {', '.join(allowed)}")
        for option in ("flash", "ram"):
            budget(option, getattr(self, option))
        if self.threads < 1:
            what = f"target 'native': threads is {self.threads}"
            raise error("SNN503", what, hint="use 1 or more")

    def pipeline(self, level: int) -> str:
        """Return the standard pipeline; float64 keeps its parameters in float64."""
        if self.precision != "float64":
            return LEVELS[level]
        return LEVELS[level].replace("discretize", "discretize{dtype=f64}")

    def check(self, graph: Graph) -> list[Diagnostic]:
        """Everything discrete is supported, except ops of plug-ins."""
        problems = []
        for node in graph.nodes.values():
            if isinstance(node.op, Neuron):
                hint = "run the pass discretize"
                problems.append(Diagnostic("SNN501", "is still continuous", node.name, hint=hint))
            elif not isinstance(node.op, (Input, Delay, Step)) and not is_known(node.op):
                what = f"op '{node.op.name}' has no form in target 'native'"
                problems.append(Diagnostic("SNN501", what, node.name))
        if problems or self.profile != "embedded":
            return problems
        return still_learning(graph, "native with profile=embedded") or real_numbers(graph)

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the program and its folder."""
        embedded = self.profile == "embedded"
        program = Program(graph, self.precision, embedded)
        check_sizes(program, {name: getattr(self, name) for name in ("flash", "ram")})
        texts = emitted(program, graph.name)
        facts = facts_of(program)
        files: dict[str, Content] = {name: text.encode() for name, text in texts.items()}
        if embedded:
            files["readout.json"] = json.dumps(readouts(program), indent=2).encode()
        else:
            files["weights.bin"] = partial(write_weights, program)
        files["Makefile"] = MAKEFILE.encode()
        files["model.py"] = command_source(facts).encode()
        return NativeCompiled(graph, self, files, history, "model.py", program, facts)


def weight_data(program: Program) -> Iterator[bytes]:
    """Yield every array, filled up to a multiple of 64 bytes."""
    for array in program.writer.weights.values():
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        yield data.ljust(padded(len(data)), b"\0")


def write_weights(program: Program, file: BinaryIO) -> None:
    """Write the weights file."""
    file.writelines(weight_data(program))


def real_numbers(graph: Graph) -> list[Diagnostic]:
    """Return the nodes that would compute with real numbers on a device that only has integers."""
    rest, _ = whole_outputs(graph)
    layout = Layout(rest, whole_outputs=True)
    found = []
    for node in rest.nodes.values():
        own = [layout.ctype(Value(node.name, k)) for k in range(len(results_of(node.op)))]
        own += [layout.kind_of(node.op)] if isinstance(node.op, Step) else []
        if any(kind in ("float", "double") for kind in own):
            given = isinstance(node.op, Input)
            what = "is an input of real numbers" if given else "computes with real numbers"
            hint = "say what it carries with declare-inputs" if given else "run the pass quantize"
            found.append(Diagnostic("SNN501", what, node.name, hint=hint))
    return found


def results_of(op: Any) -> tuple[Any, ...]:
    """Return one entry per result of an op."""
    return op.program.outputs if isinstance(op, Step) else (None,)


def readouts(program: Program) -> dict[str, Any]:
    """Return what outputs of whole numbers stand for."""
    return {
        port.name: {"unit": list(port.unit), "bias": list(port.bias)}
        for port in facts_of(program).outputs
        if port.unit
    }


def facts_of(program: Program) -> host.Facts:
    """Return what callers of a program have to know."""
    graph = program.graph
    real = "float64" if program.layout.real == "double" else "float32"
    ports = [tuple(map(_port, side)) for side in (program.inputs, program.outputs)]
    return host.Facts(
        ports[0], ports[1],
        {
            name: host.Record(known.number, known.shape, known.dtype or real, known.lasts)
            for name, known in program.writer.records.items()
        },
        tuple(populations(graph)),
        tuple(not stage.records for stage in program.calls()), real, graph.record_offset,
        {
            name: host.Lasting(known.kind, known.shape)
            for name, known in program.writer.exchanged.items()
        },
    )  # fmt: skip


def _port(port: Port) -> host.Port:
    own = port.name, port.ctype, tuple(port.shape)
    if port.readout is None:
        return host.Port(*own)
    unit, bias = (
        () if array is None else tuple(_broadcast(array, port.shape).tolist())
        for array in (port.readout.unit, port.readout.bias)
    )
    return host.Port(*own, unit, bias)


def _broadcast(array: Any, shape: tuple[int, ...]) -> Any:
    return array.reshape(-1) if array.size == 1 else np.broadcast_to(array, shape).reshape(-1)


def command_source(facts: host.Facts) -> str:
    """Return `model.py`, which compiles and runs the program beside it."""
    text = f"\n\nFACTS = {literal(facts)}\n"
    return folder_source(command, (c_build, host, folder_program), text)


@dataclass(frozen=True)
class NativeCompiled(Compiled):
    """A network as a C program.

    Attributes:
        program: The C source in parts, and the arrays it reads.
        facts: Names, shapes and bytes of what goes in and comes out, as the host calls it.
    """

    program: Any = field(default=None, repr=False)
    facts: Any = field(default=None, repr=False)

    @cached_property
    def simulator(self) -> host.Program:
        """The compiled program; it keeps the state between calls.

        Raises:
            SnnirError: SNN503 if there is no compiler.
        """
        assert isinstance(self.target, NativeTarget)
        texts = emitted(self.program, self.graph.name)
        weights = b"".join(weight_data(self.program)) if "weights.bin" in self.files else b""
        source = host.joined(texts["snn.h"], texts["snn.c"])
        try:
            with progress("compiling the C program"):
                return host.Program(source, self.facts, weights, self.target.threads)
        except NoCompiler as problem:
            raise error("SNN503", f"target 'native': {problem}") from None

    @cached_property
    def _memory(self) -> dict[str, int]:
        return {}

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Compile the program if it was not, and run it.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.
            lasting: What lasts of an earlier run (`Result.lasting`) instead of what the graph has.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist, SNN503
                if there is no compiler.
        """
        kept = check_lasting(self.graph, lasting, resume=resume)
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        steps, batch = next(iter(inputs.values())).shape[:2]
        check_batch(batch, self._memory.get("batch") if resume else None)
        self._memory["batch"] = batch
        simulator = self.simulator
        with np.errstate(all="ignore"), progress(f"running {steps} steps in C"):
            outputs, recorded, sums = simulator.run(inputs, list(record), resume, kept)
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        return Result(outputs, recorded, stats, lasting=self.simulator.lasting())
