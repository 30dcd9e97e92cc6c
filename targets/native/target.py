"""`--target native`: C99 for hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from snnir import c_build, folder_program
from snnir.artefact import populations
from snnir.c_build import NoCompiler
from snnir.embedding import module_body
from snnir.errors import Diagnostic, error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.network_source import literal
from snnir.pipeline import LEVELS, PipelineResult
from snnir.running import Result, check_inputs, check_record
from snnir.target import Compiled, Content, Target
from snnir.targets.native import command, host
from snnir.targets.native.emit import emitted
from snnir.targets.native.nodes import is_known
from snnir.targets.native.program import Program

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
PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class NativeTarget(Target):
    """A C99 program.

    Options:
        precision: `float32` or `float64`, of real streams and states; graphs of integers compute
            with integers.
        threads: Threads that share a run.
    """

    name: ClassVar[str] = "native"
    summary: ClassVar[str] = "C99 program; runs compiled, in memory and from its folder"
    precision: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            what = f"target 'native': precision is '{self.precision}'"
            raise error("SNN503", what, hint=f"use one of {', '.join(PRECISIONS)}")
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
        return problems

    def build(self, graph: Graph, history: PipelineResult) -> Compiled:
        """Return the program and its folder."""
        program = Program(graph, self.precision)
        texts = emitted(program, graph.name)
        facts = facts_of(program)
        files: dict[str, Content] = {name: text.encode() for name, text in texts.items()}
        files["weights.bin"] = partial(write_weights, program)
        files["Makefile"] = MAKEFILE.encode()
        files["model.py"] = command_source(facts).encode()
        return NativeCompiled(graph, self, files, history, "model.py", program, facts)


def write_weights(program: Program, file: BinaryIO) -> None:
    """Write every array at a multiple of 64 bytes."""
    for array in program.writer.weights.values():
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        file.write(data + b"\0" * (-len(data) % 64))


def facts_of(program: Program) -> host.Facts:
    """Return what callers of a program have to know."""
    graph = program.graph
    real = "float64" if program.layout.real == "double" else "float32"
    ports = [
        tuple(host.Port(p.name, p.ctype, tuple(p.shape)) for p in side)
        for side in (program.inputs, program.outputs)
    ]
    return host.Facts(
        ports[0], ports[1],
        {
            name: host.Record(number, tuple(graph.signal(node).shape), kind or real)
            for name, (number, node, kind) in program.writer.records.items()
        },
        tuple(populations(graph)), len(program.calls()), real, graph.record_offset,
    )  # fmt: skip


def command_source(facts: host.Facts) -> str:
    """Return `model.py`, which compiles and runs the program beside it."""
    body = module_body(command)
    parts = [
        command.HEAD, "\n\n", module_body(c_build), "\n\n", module_body(host), "\n\n",
        module_body(folder_program), f"\n\nFACTS = {literal(facts)}\n",
        body[body.index("\n\ndef main") :],
        '\n\nif __name__ == "__main__":\n    main()\n',
    ]  # fmt: skip
    return "".join(parts)


@dataclass(frozen=True)
class NativeCompiled(Compiled):
    """A network as a C program."""

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
        weights = b"".join(
            data + b"\0" * (-len(data) % 64)
            for data in (array.tobytes() for array in self.program.writer.weights.values())
        )
        source = host.joined(texts["snn.h"], texts["snn.c"])
        try:
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
    ) -> Result:
        """Compile the program if it was not, and run it.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist, SNN503
                if there is no compiler.
        """
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        steps, batch = next(iter(inputs.values())).shape[:2]
        known = self._memory.get("batch")
        if resume and known is not None and known != batch:
            raise error("SNN601", f"resumes with a batch of {batch}, the run had {known}")
        self._memory["batch"] = batch
        with np.errstate(all="ignore"):
            outputs, recorded, sums = self.simulator.run(inputs, list(record), resume)
        stats = {
            name: {
                "neurons": size,
                "spikes": int(sums[name]),
                "rate": sums[name] / (size * steps * batch),
            }
            for name, size in populations(self.graph).items()
        }
        return Result(outputs, recorded, stats)
