"""From a graph to a module of linalg, scf, arith and math."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.artefact import populations
from snnir.c_layout import Layout
from snnir.embedding import plain_text
from snnir.ir.graph import Graph, Value
from snnir.ir.neuron import Step
from snnir.ir.timing import Delay
from snnir.network_build import value_name
from snnir.targets.mlir_code.code import DTYPES, Code, is_real
from snnir.targets.mlir_code.function import INITIAL, Function, States, Written
from snnir.targets.mlir_code.host import Facts, Port
from snnir.targets.mlir_code.loops import past
from snnir.targets.mlir_code.populations import Elements, Population, results_of
from snnir.targets.mlir_code.weights import Weights

#: Type in which sums of real streams are made, by precision.
SUMS = {"float32": "f32", "reproducible": "f64", "float64": "f64"}


@dataclass(frozen=True)
class Lowering:
    """A graph in the form of a module.

    Args:
        graph: A verified graph of step programs.
        precision: `float32`, `reproducible` or `float64`, of what is real.
        exact: Whether products and sums must not be rounded together.
        steps, batch: Steps and samples of one call.
    """

    graph: Graph
    precision: str = "float32"
    exact: bool = True
    steps: int = 16
    batch: int = 1
    weights: Weights = field(default_factory=Weights)

    @cached_property
    def elements(self) -> Elements:
        """Element types of streams and states."""
        precision = "float64" if self.precision == "float64" else "float32"
        return Elements(Layout(self.graph, precision))

    def accumulator(self, element: str) -> str:
        """Return the type in which sums are made that are given in some type."""
        if not is_real(element) or self.elements.real == "f64":
            return element
        return SUMS[self.precision]

    @property
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The tensors that are arguments, by name and in order."""
        assert self.functions
        return self.weights.arrays

    # --- What the functions take and give --------------------------------------------------------

    def inputs(self) -> list[Port]:
        """Return the inputs."""
        return [self.port(name, Value(name)) for name in self.graph.inputs]

    def outputs(self) -> list[Port]:
        """Return the outputs."""
        found = []
        for name, value in self.graph.outputs.items():
            node = None if value.result else value.node
            found.append(replace(self.port(name, value), node=node))
        return found

    def port(self, name: str, value: Value) -> Port:
        """Return how a stream goes in or out."""
        shape = tuple(self.graph.signals[value].shape)
        return Port(name, self.elements.of(value), shape)

    def states(self) -> list[Port]:
        """Return what is carried from call to call: `node:state`, and `node:past` of a delay."""
        found = []
        for name in self.graph.order:
            op, shape = self.graph.nodes[name].op, tuple(self.graph.signal(name).shape)
            if isinstance(op, Step):
                element = self.elements.inner(op)
                kind = str(np.dtype(DTYPES[element] if is_real(element) else np.int64))
                names = (f"{name}:{state.name}" for state in op.program.states)
                found += [Port(each, element, shape, 0, kind) for each in names]
            elif isinstance(op, Delay) and op.longest:
                found.append(Port(past(name), self.elements.of(Value(name)), shape, op.longest))
        return found

    def streams(self) -> dict[str, Value]:
        """Return every stream by its name."""
        found: dict[str, Value] = {}
        for node in self.graph.nodes.values():
            found |= {value_name(value): value for value in results_of(node)}
        # A node may be called as the second stream of another.
        return found | {name: Value(name) for name in found if name in self.graph.nodes}

    def traces(self) -> list[Port]:
        """Return everything that can be recorded, in the order `trace` gives it.

        A node whose name reads like another's state hides that state, as for all targets.
        """
        streams = {name: self.port(name, value) for name, value in self.streams().items()}
        states = [state for state in self.states() if not state.steps]
        return [*streams.values(), *(state for state in states if state.name not in streams)]

    def facts(self) -> Facts:
        """Return what a caller has to know."""
        return Facts(
            tuple(self.inputs()), tuple(self.outputs()), tuple(self.states()),
            tuple(self.traces()), tuple(populations(self.graph)), tuple(self.tensors),
            self.steps, self.batch,
            str(np.dtype(DTYPES[self.elements.real])), self.graph.record_offset, self.exact,
        )  # fmt: skip

    # --- The module ------------------------------------------------------------------------------

    def module(self, traced: Sequence[bool] = (False, True)) -> str:
        """Return the text of the module with `initial`, `run` and `trace`.

        Args:
            traced: Which of the last two: False for `run`, True for `trace`.
        """
        start, *functions = self.functions
        written = [start, *(functions[each] for each in traced)]
        weights = [f"{name}: {kind}" for name, kind in self.weights.types()]
        head = f"// {plain_text(self.graph.name)}, written by snnir"
        texts = [line for each in written for line in each.lines(weights)]
        return "\n".join([head, "module {", *texts, "}", ""])

    @cached_property
    def functions(self) -> list[Written]:
        """`initial`, `run` and `trace`; with them the arguments with tensors are known."""
        return [self.initial(), *(Function(self, traced).write() for traced in (False, True))]

    def initial(self) -> Written:
        """Return the function that gives the states before the first step."""
        code = Code()
        found: States = {}
        for name in self.graph.order:
            node = self.graph.nodes[name]
            dims = (self.batch, *self.graph.signal(name).shape)
            if isinstance(node.op, Step):
                population = Population(self.elements, self.weights, node)
                made = population.initial(code, dims)
                found |= {f"{name}:{key}": array for key, array in made.items()}
            elif isinstance(node.op, Delay) and node.op.longest:
                zero = code.number(0, self.elements.of(Value(name)))
                found[past(name)] = code.filled((node.op.longest, *dims), zero)
        return Written(INITIAL, [], [], code.body(), list(found.values()))
