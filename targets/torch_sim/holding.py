"""The tensors of a network as parameters and buffers of a module.

This module depends on torch and `snnir.network` alone and is copied into emitted folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnir.network import Model, Step
from snnir.targets.torch_sim.learning import first_lasting, only_starts

State = dict[str, dict[str, Tensor]]
Values = dict[str, Tensor]
#: Name and value of a tensor to the value in the memory layout that is wanted.
Layout = Callable[[str, Tensor], Tensor]


class Rounded(torch.autograd.Function):
    """Whole numbers of a unit, within limits; gradients pass where nothing is cut off."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, unit: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        """Return value / unit + zero, rounded to even."""
        exact = value / unit + zero
        ctx.save_for_backward((exact >= low - 0.5) & (exact <= high + 0.5), unit)
        return exact.round().clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as if nothing had been rounded."""
        inside, unit = ctx.saved_tensors
        return gradient * inside / unit, None, None, None, None


class Scope(nn.Module):
    """A part of a node's dotted name."""


def by_row(unit: Tensor, like: Tensor) -> Tensor:
    """Return units, one or one per index of the first axis, so that they broadcast."""
    one_axis = unit.ndim == 1 and like.ndim > 1
    return unit.reshape(-1, *(1,) * (like.ndim - 1)) if one_axis else unit


class Holder(nn.Module):
    """The tensors of a network, by the names of the graph.

    Parameters are called `node.attribute`. Those of whole numbers hold real numbers that are
    rounded whenever they are used (straight through), so that what is trained is what the graph of
    integers gets. States that outlive a run are buffers `node.state`.

    Args:
        model: What is run.
        steps: The step programs by name.
        tensors: Value of every tensor by `node.attribute`.
        trained: Names of the tensors that are trained; the others are parameters without a
            gradient, or buffers where they are whole numbers.
        layout: How tensors are stored.
    """

    def __init__(
        self, model: Model, steps: Mapping[str, Step], tensors: Mapping[str, Tensor],
        trained: Sequence[str], layout: Layout,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model = model
        self._given: Values = {}
        self._recorded: Values = {}
        self._places: dict[str, tuple[dict[str, Any], str]] = {}
        self._lasting: dict[str, tuple[dict[str, Any], str]] = {}
        unread = only_starts(model, steps)
        for name, value in tensors.items():
            if name in unread:
                continue
            real = value
            facts = model.whole.get(name)
            if facts is not None:
                zero = by_row(tensors[facts.zero], value) if facts.zero else 0
                real = (value.float() - zero) * by_row(tensors[facts.unit], value)
            self._place(name, layout(name, real), name in trained)
        for name, value in first_lasting(model, steps, tensors).items():
            node, _, key = name.rpartition(":")
            scope, last = self._free(f"{node}.{key}")
            scope.register_buffer(last, value)
            self._lasting[name] = (scope._buffers, last)

    def _free(self, name: str) -> tuple[nn.Module, str]:
        """Return the place of a dotted name; names that are taken get a `_`."""
        *path, last = name.split(".")
        scope: nn.Module = self
        for part in path:
            label = part or "_"
            while not isinstance(scope._modules.get(label), Scope) and hasattr(scope, label):
                label += "_"
            if label not in scope._modules:
                scope.add_module(label, Scope())
            scope = scope._modules[label]
        while hasattr(scope, last):
            last += "_"
        return scope, last

    def _place(self, name: str, value: Tensor, trained: bool) -> None:
        """Register a tensor under its dotted name."""
        scope, last = self._free(name)
        if value.is_floating_point():
            scope.register_parameter(last, nn.Parameter(value, requires_grad=trained))
            self._places[name] = (scope._parameters, last)
        else:
            scope.register_buffer(last, value)
            self._places[name] = (scope._buffers, last)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the graph by `node.attribute`."""
        if name in self._given:
            return self._given[name]
        holder, last = self._places[name]
        value: Tensor = holder[last]
        facts = self.model.whole.get(name)
        if facts is None:
            return value
        unit = by_row(self.tensor(facts.unit), value)
        zero = by_row(self.tensor(facts.zero), value) if facts.zero else unit.new_zeros(())
        whole: Tensor = Rounded.apply(value, unit, zero, facts.low, facts.high)
        return whole

    def start_at(self, weights: Mapping[str, Any]) -> None:
        """Take real numbers, by `node.attribute`, as what is rounded to whole weights.

        Raises:
            ValueError: If a tensor has another shape.
        """
        for name in self.model.whole:
            if name not in weights:
                continue
            holder, last = self._places[name]
            given = torch.tensor(weights[name], dtype=torch.float32)
            shape = holder[last].shape
            if given.numel() != 1 and given.shape != shape:
                shapes = f"{list(given.shape)}, must be {list(shape)}"
                raise ValueError(f"'{name}' has shape {shapes}")
            with torch.no_grad():
                holder[last].copy_(given)

    @contextmanager
    def using(
        self,
        tensors: Mapping[str, Tensor] | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> Iterator[None]:
        """Run with other tensors and with recorded values, until the block is left.

        Args:
            tensors: What is used instead of the own ones, by `node.attribute`. Gradients go to
                what they were computed from.
            values: What neurons yield, [T, B, *shape] by name. It takes the place of what the
                network computes; the gradient is that of the computed values (the value of a chip,
                the gradient of its model).

        Raises:
            ValueError: If a name is not known or a tensor has another shape.
        """
        own = {name for unit in self.model.units.values() if unit.kind == "neuron"
               for name in unit.results}  # fmt: skip
        for name in values or ():
            if name not in own:
                raise ValueError(f"'{name}' is not a population of neurons")
        for name, value in (tensors or {}).items():
            if name not in self._places:
                raise ValueError(f"there is no tensor '{name}'")
            shape = self.tensor(name).shape
            if value.shape != shape:
                shapes = f"{list(value.shape)}, must be {list(shape)}"
                raise ValueError(f"'{name}' has shape {shapes}")
        before = self._given, self._recorded
        self._given = {**self._given, **(tensors or {})}
        self._recorded = {**self._recorded, **(values or {})}
        try:
            yield
        finally:
            self._given, self._recorded = before

    def tensor_names(self) -> Iterator[str]:
        """Yield the name of every tensor as the graph has it."""
        yield from self._places

    @property
    def lasting(self) -> dict[str, Tensor]:
        """What outlives a run, by `node:state`: copies of the buffers."""
        return {name: holder[last].clone() for name, (holder, last) in self._lasting.items()}

    def set_lasting(self, lasting: Mapping[str, Any]) -> None:
        """Let the next call start from other lasting states.

        Args:
            lasting: Tensors or arrays by `node:state`; those that are not given stay.

        Raises:
            ValueError: If there is no such state or it has another shape.
        """
        given = {name: torch.as_tensor(value).detach() for name, value in lasting.items()}
        for name, value in given.items():
            if name not in self._lasting:
                listed = ", ".join(list(self._lasting)[:8]) or "nothing"
                raise ValueError(f"there is no lasting state '{name}'; what lasts is {listed}")
            holder, last = self._lasting[name]
            if value.shape != holder[last].shape:
                shapes = f"{list(value.shape)}, must be {list(holder[last].shape)}"
                raise ValueError(f"lasting state '{name}' has shape {shapes}")
        for name, value in given.items():
            holder, last = self._lasting[name]
            holder[last].copy_(value)

    def renewed(self, state: State) -> State:
        """Return a state with what lasts as the buffers have it."""
        state = dict(state)
        for name, value in self.lasting.items():
            node, _, key = name.rpartition(":")
            state[node] = {**state[node], key: value[None]}
        return state

    def lasting_of(self, state: State) -> Values:
        """Return what lasts of a run, by `node:state`, from the state after it."""
        parts = ((name, *name.rpartition(":")) for name in self._lasting)
        return {name: state[node][key][0].detach() for name, node, _, key in parts}
