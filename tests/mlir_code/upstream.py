"""Modules of the `mlir` target through upstream MLIR: its passes, its just-in-time compiler.

Nothing here knows IREE, or snnir's own way of calling a module.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from snnir.ir import Graph
from snnir.targets.mlir_code.code import DTYPES
from snnir.targets.mlir_code.host import Facts
from snnir.targets.mlir_code.lowering import Lowering

ir: Any = pytest.importorskip("torch_mlir.ir")
engines: Any = pytest.importorskip("torch_mlir.execution_engine")
passes: Any = pytest.importorskip("torch_mlir.passmanager")
runtime: Any = pytest.importorskip("torch_mlir.runtime")
linalg: Any = pytest.importorskip("torch_mlir.dialects.linalg")

#: From tensors to buffers. Without `modify-public-functions` callers would be given no results.
TO_BUFFERS = (
    "one-shot-bufferize{bufferize-function-boundaries=true allow-return-allocs-from-loops=true "
    "function-boundary-type-conversion=identity-layout-map}",
    "buffer-results-to-out-params{modify-public-functions=true}",
    "buffer-deallocation-pipeline",
    "convert-bufferization-to-memref",
)
#: From buffers to the dialect of LLVM.
TO_LLVM = (
    "func.func(convert-linalg-to-loops)",
    "fold-memref-alias-ops",
    "expand-strided-metadata",
    "lower-affine",
    "convert-scf-to-cf",
    "func.func(llvm-request-c-wrappers)",
    "convert-math-to-llvm",
    "convert-math-to-libm",
    "convert-to-llvm",
    "reconcile-unrealized-casts",
)


def run_passes(module: Any, names: Sequence[str]) -> None:
    """Run passes over a module, in order."""
    passes.PassManager.parse(f"builtin.module({','.join(names)})").run(module.operation)


def copies_as_loops(module: Any) -> None:
    """Replace every copy of a buffer by one in linalg, which needs no library at run time."""
    found = []

    def note(operation: Any) -> Any:
        if operation.name == "memref.copy":
            found.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(note)
    for copy in found:
        with ir.InsertionPoint(copy), ir.Location.unknown():
            linalg.copy(copy.operands[0], outs=[copy.operands[1]])
        copy.erase()


def lower(module: Any) -> None:
    """Take a module from tensors to the dialect of LLVM."""
    run_passes(module, TO_BUFFERS)
    copies_as_loops(module)
    run_passes(module, TO_LLVM)


class Compiled:
    """A module compiled for this process.

    Args:
        text: The module.
    """

    def __init__(self, text: str) -> None:
        with ir.Context():
            module = ir.Module.parse(text)
            module.operation.verify()
            self.results = {f.name.value: _results(f) for f in module.body.operations}
            lower(module)
            self.engine = engines.ExecutionEngine(module, opt_level=1)

    def call(self, name: str, *arguments: Any) -> list[Any]:
        """Call a function on arrays and integers; return its results.

        The results are first filled with a pattern, so that none is right by being zero.
        """
        arrays = [np.full(dims, 77, DTYPES[element]) for dims, element in self.results[name]]
        given: list[Any] = []
        for argument in (*arguments, *arrays):
            if isinstance(argument, int):
                given.append(ctypes.pointer(ctypes.c_int64(argument)))
            else:
                descriptor = runtime.get_ranked_memref_descriptor(argument)
                given.append(ctypes.pointer(ctypes.pointer(descriptor)))
        self.engine.invoke(name, *given)
        return arrays


def _results(function: Any) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(kind.shape), str(kind.element_type)) for kind in function.type.results]


class Network:
    """A graph as a compiled module that is called as `interface.json` says.

    Args:
        graph: A graph of step programs.
        steps, batch: Steps and samples of one call.
        precision: Of what is real.
        traced: False for `run`, True for `trace`.
    """

    def __init__(
        self, graph: Graph, steps: int, batch: int, precision: str = "float32",
        traced: Sequence[bool] = (False, True),
    ) -> None:  # fmt: skip
        lowering = Lowering(graph, precision, True, steps, batch)
        self.compiled = Compiled(lowering.module(traced))
        self.facts: Facts = lowering.facts()
        self.weights = [lowering.weights.arrays[name] for name in self.facts.weights]
        self.states: list[Any] = []

    def rest(self) -> None:
        """Go to the states before the first step."""
        self.states = self.compiled.call("initial", *self.weights)

    def run(
        self, inputs: Mapping[str, Any], name: str
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Run `run` or `trace` over inputs [T, B, *shape] in as many calls as it takes.

        Returns:
            Outputs, traces (of `trace`) and spike counts of every sample, by name.
        """
        facts = self.facts
        outputs: dict[str, list[Any]] = {port.name: [] for port in facts.outputs}
        traces: dict[str, list[Any]] = {port.name: [] for port in facts.traces if name == "trace"}
        spikes = {population: np.zeros(facts.batch) for population in facts.populations}
        total = len(next(iter(inputs.values())))
        for first in range(0, total, facts.steps):
            count = min(facts.steps, total - first)
            results = iter(self.call(name, inputs, first, count))
            for values in outputs.values():
                values.append(next(results)[:count])
            for population in facts.populations:
                spikes[population] += next(results)
            self.states = [next(results) for _ in facts.states]
            for values in traces.values():
                values.append(next(results)[:count])
        return _whole(outputs), _whole(traces), spikes

    def call(self, name: str, inputs: Mapping[str, Any], first: int, count: int) -> list[Any]:
        """Make one call; whatever it is given is as it was afterwards."""
        facts = self.facts
        xs = []
        for port in facts.inputs:
            room = np.full((facts.steps, facts.batch, *port.shape), 1, DTYPES[port.element])
            room[:count] = inputs[port.name][first : first + count]
            xs.append(room)
        given = [*xs, *self.states, *self.weights, np.array(0, np.int32)]
        before = [array.copy() for array in given]
        made = self.compiled.call(name, count, *given)
        for array, old in zip(given, before, strict=True):
            np.testing.assert_array_equal(array, old)
        return made


def _whole(parts: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {name: np.concatenate(values) for name, values in parts.items()}
