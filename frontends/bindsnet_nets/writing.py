"""Writing the step program of a layer down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from snnir.dynamics import Dynamics, State
from snnir.dynamics.trace import Builder, Number, Symbol
from snnir.frontends.bindsnet_nets.values import (
    Array,
    Unsupported,
    float32_of,
    tensor_of,
    without_batch,
)
from snnir.ir import FrozenDict, Step, Tensor
from snnir.streams import Kind


@dataclass(frozen=True)
class Written:
    """A layer's step program, and which of its results is what.

    Attributes:
        step: The op.
        results: Names of its results in order: `s` (spikes), `score`, `x`, `s_prob`.
        inputs: Names of its inputs in order: `drive`, `draw`.
    """

    step: Step
    results: tuple[str, ...]
    inputs: tuple[str, ...]


class CellWriter:
    """Asks a layer for its numbers and records what a step does.

    Args:
        layer: A layer of BindsNET.
        name: Name of the program.
    """

    def __init__(self, layer: Any, name: str) -> None:
        self.layer, self.name = layer, name
        self.shape = tuple(int(extent) for extent in layer.shape)
        self.builder = Builder()
        self._inputs: list[str] = []
        self._params: dict[str, Tensor] = {}
        self._states: dict[str, State] = {}
        self._updates: dict[str, Number] = {}
        self._known: dict[str, Symbol] = {}

    def _symbol(self, name: str) -> Symbol:
        if name not in self._known:
            self._known[name] = self.builder.symbol(name)
        return self._known[name]

    def input(self, name: str) -> Symbol:
        """Return an input."""
        if name not in self._inputs:
            self._inputs.append(name)
        return self._symbol(name)

    def number(self, attribute: str) -> Array:
        """Return an attribute of the layer, without an axis for the batch."""
        found = getattr(self.layer, attribute, None)
        if found is None:
            hint = "add the layer to the network before it is read"
            raise Unsupported(f"has no {attribute}", hint)
        return without_batch(float32_of(found, attribute), len(self.shape))

    def value(self, attribute: str) -> Symbol:
        """Return an attribute of the layer as a parameter of that name."""
        if attribute not in self._params:
            self.param(attribute, self.number(attribute))
        return self._symbol(attribute)

    def param(self, name: str, value: Array) -> Symbol:
        """Return a parameter of this value."""
        self._params[name] = tensor_of(value)
        return self._symbol(name)

    def state(
        self, name: str, start: float | tuple[str, Array] = 0.0, lasting: bool = False
    ) -> Symbol:
        """Return a state.

        Args:
            name: Its name.
            start: Its value at first: a number, or name and value of a parameter.
            lasting: It outlives a run.
        """
        if isinstance(start, tuple):
            start_name, value = start
            if start_name not in self._params:
                self.param(start_name, value)
            self._states[name] = State(name, start_name, lasting)
        else:
            self._states[name] = State(name, start, lasting)
        return self._symbol(name)

    def update(self, name: str, value: Number) -> None:
        """Give a state its new value."""
        self._updates[name] = value

    def written(self, results: dict[str, tuple[Symbol, Kind]]) -> Written:
        """Return the layer's op with these results."""
        updates = tuple((name, self._operand(value)) for name, value in self._updates.items())
        outputs = tuple((str(self._operand(s)), kind) for s, kind in results.values())
        program = Dynamics(
            name=self.name,
            inputs=tuple(self._inputs),
            params=tuple((name, "1") for name in self._params),
            states=tuple(self._states.values()),
            body=tuple(self.builder.body),
            updates=updates,
            outputs=outputs,
        )
        program.types()
        step = Step(program, FrozenDict(self._params))
        return Written(step, tuple(results), tuple(self._inputs))

    def _operand(self, value: Number) -> str | float:
        if not isinstance(value, Symbol):
            return float(value)
        if value.kind == "bool":
            value = self.builder.apply("cast", value)
        return value.name
