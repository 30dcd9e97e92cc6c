"""Compiled recurrences: calling the C functions of a loop, forward and backward."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from snnir.network import Loop, Model, Unit
from snnir.targets.torch_sim.compiled import SMALL, bind, packed, pointers, pool
from snnir.targets.torch_sim.engine import split


class CompiledLoop:
    """One recurrence in C.

    Args:
        loop: Its nodes and what the C functions take, in order.
        model: The network.
        code: The compiled kernels.
    """

    def __init__(self, loop: Loop, model: Model, code: ctypes.CDLL) -> None:
        self.loop = loop
        self.units = {name: model.units[name] for name in loop.units}
        self.owner = {value: unit for unit in self.units.values() for value in unit.results}
        self.shapes = {value: self.owner[value].shape for value in loop.values}
        self._forward = bind(getattr(code, f"{loop.name}_forward"), "qqqq" + "p" * 7)
        self._backward = bind(getattr(code, f"{loop.name}_backward"), "qqqq" + "p" * 11)

    def operand(self, unit: Unit, key: str, value: Tensor) -> tuple[Tensor, bool]:
        """Return a tensor as the C function reads it, and whether it has one value per neuron."""
        value = value.detach()
        if key == "weight" and unit.function == "linear":
            return packed(value), True
        if unit.kind == "neuron" and value.numel() == 1:
            return value.reshape(1).float(), False
        return value.float().expand(unit.shape).contiguous(), True

    def forward(
        self, inputs: Sequence[Tensor], states: Sequence[Tensor], lines: Sequence[Tensor],
        tensors: Sequence[Tensor], wanted: Sequence[bool], keep: bool,
    ) -> tuple[list[Tensor | None], list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
        """Run the loop.

        Args:
            inputs: What comes from outside, [T, B, *shape] each.
            states: Before the first step, [B, *shape] each.
            lines: What the delays hold, oldest first, [steps, B, *shape] each.
            tensors: Weights and parameters.
            wanted: Which values to return.
            keep: Whether to return the states before every step.

        Returns:
            Values [T, B, *shape] or None, states and lines after the last step, states before
            every step.
        """
        time, batch = inputs[0].shape[:2]
        xs = [x.contiguous() for x in inputs]
        own = [v.clone(memory_format=torch.contiguous_format) for v in states]
        held = [v.clone(memory_format=torch.contiguous_format) for v in lines]
        given = [self.operand(*self.place(i), value) for i, value in enumerate(tensors)]
        out = [
            torch.empty(time, batch, *self.shapes[name]) if want else None
            for name, want in zip(self.loop.values, wanted, strict=True)
        ]
        history = [torch.empty(time, *v.shape) for v in own] if keep else []
        each = (ctypes.c_int32 * max(1, len(given)))(*(flag for _, flag in given))
        arguments = [
            pointers(xs), pointers([value for value, _ in given]), each, pointers(out),
            pointers(own), pointers(history) if keep else None, pointers(held),
        ]  # fmt: skip
        self.share(batch, time, lambda first, last, _: self.call(
            self._forward, first, last, time, batch, arguments
        ))  # fmt: skip
        return out, own, held, history

    def scan(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return all values, the last states and the last lines, with their gradients."""
        made: tuple[Tensor, ...] = LoopScan.apply(self, *tensors)
        return made

    def place(self, index: int) -> tuple[Unit, str]:
        """Return the node and the argument that a tensor of the loop is."""
        name, key = self.loop.tensors[index]
        return self.units[name], key

    @staticmethod
    def call(function: Any, first: int, last: int, time: int, batch: int, rest: list[Any]) -> None:
        """Call a C function on some samples."""
        if function(first, last, time, batch, *rest):
            raise MemoryError("no memory for the loop")

    def share(self, batch: int, time: int, call: Callable[[int, int, int], Any]) -> None:
        """Call on all samples, split over threads; the third argument numbers the thread."""
        threads = self.threads(batch, time)
        if threads == 1:
            call(0, batch, 0)
            return
        cuts = [batch * k // threads for k in range(threads + 1)]
        list(pool().map(call, cuts[:-1], cuts[1:], range(threads)))

    def threads(self, batch: int, time: int) -> int:
        """Return how many threads share a call."""
        work = time * batch * sum(prod(shape) for shape in self.shapes.values())
        return max(1, min(batch, int(torch.get_num_threads()), 1 + work // SMALL))

    def backward(
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], history: Sequence[Tensor],
        tensors: Sequence[Tensor], gradients: Sequence[Tensor | None], wanted: Sequence[bool],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Run the loop backwards.

        Args:
            inputs: As given to `forward`.
            kept: All values.
            history: States before every step.
            tensors: As given to `forward`.
            gradients: Of the values, of the last states, of the last lines; None is zero.
            wanted: Which tensors need their gradient.

        Returns:
            Gradients of inputs, of the first states, of the first lines, and of the tensors.
        """
        time, batch = inputs[0].shape[:2]
        xs = [x.contiguous() for x in inputs]
        given = [self.operand(*self.place(i), value) for i, value in enumerate(tensors)]
        turned = [
            packed(value.detach().t()) if self.place(i)[1] == "weight" else None
            for i, value in enumerate(tensors)
        ]
        g_out, g_states, g_lines = split(
            gradients, len(self.loop.values), len(self.loop.states), len(self.loop.delays)
        )
        g_out = [None if g is None else g.contiguous() for g in g_out]
        own = [_gradient(g, h[0]) for g, h in zip(g_states, history, strict=True)]
        held = [
            _gradient(g, torch.empty(steps, batch, *self.units[name].shape))
            for g, (name, steps) in zip(g_lines, self.loop.delays, strict=True)
        ]
        g_in = [torch.empty_like(x) for x in xs]
        tables = self.tables(given, self.together(wanted), self.threads(batch, time))
        each = (ctypes.c_int32 * max(1, len(given)))(*(flag for _, flag in given))
        common = [
            pointers(xs), pointers([value for value, _ in given]), each, pointers(kept),
            pointers(history), pointers(turned), pointers(g_out), pointers(g_in), pointers(own),
            pointers(held),
        ]  # fmt: skip

        def part(first: int, last: int, thread: int) -> None:
            mine = pointers([None if table is None else table[thread] for table in tables])
            self.call(self._backward, first, last, time, batch, [*common, mine])

        self.share(batch, time, part)
        g_tensors = [
            None if table is None or not want else self.unpacked(i, table.sum(0), tensors[i])
            for i, (table, want) in enumerate(zip(tables, wanted, strict=True))
        ]
        return g_in, own, held, g_tensors

    def together(self, wanted: Sequence[bool]) -> list[bool]:
        """Return which gradients are computed: a neuron's parameters all or none."""
        some = {name for (name, _), want in zip(self.loop.tensors, wanted, strict=True) if want}
        return [
            want or (self.units[name].kind == "neuron" and name in some)
            for (name, _), want in zip(self.loop.tensors, wanted, strict=True)
        ]

    def tables(
        self, given: Sequence[tuple[Tensor, bool]], wanted: Sequence[bool], threads: int
    ) -> list[Tensor | None]:
        """Return zeros for the gradients of tensors, one copy per thread."""
        found: list[Tensor | None] = []
        for index, ((value, _), want) in enumerate(zip(given, wanted, strict=True)):
            unit, _ = self.place(index)
            shape = unit.shape if unit.kind == "neuron" else value.shape
            found.append(torch.zeros(threads, *shape) if want else None)
        return found

    def unpacked(self, index: int, table: Tensor, value: Tensor) -> Tensor:
        """Return the gradient of a tensor from what the C function summed."""
        unit, key = self.place(index)
        if key == "weight" and unit.function == "linear":
            blocks, width, wide = table.shape
            return table.transpose(1, 2).reshape(blocks * wide, width)[: len(value)]
        return table.sum_to_size(value.shape).to(value.dtype)


def _gradient(g: Tensor | None, like: Tensor) -> Tensor:
    """Return a gradient that may be written to."""
    if g is None:
        return torch.zeros(like.shape)
    return g.clone(memory_format=torch.contiguous_format)


class LoopScan(torch.autograd.Function):
    """A compiled recurrence with its gradient."""

    @staticmethod
    def forward(ctx: Any, runner: CompiledLoop, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return all values, the last states and the last lines."""
        loop = runner.loop
        sizes = [len(loop.outside), len(loop.states), len(loop.delays), len(loop.tensors)]
        inputs, states, lines, weights = split(tensors, *sizes)
        values, own, held, history = runner.forward(
            inputs, states, lines, weights, [True] * len(loop.values), True
        )
        kept = [value for value in values if value is not None]
        ctx.runner = runner
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *kept, *history, *weights)
        return (*kept, *own, *held)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of everything given."""
        loop = ctx.runner.loop
        sizes = [len(loop.outside), len(loop.values), len(loop.states), len(loop.tensors)]
        inputs, kept, history, weights = split(ctx.saved_tensors, *sizes)
        wanted = ctx.needs_input_grad[1 + len(loop.outside) + len(loop.states) + len(loop.delays) :]
        made = ctx.runner.backward(inputs, kept, history, weights, gradients, wanted)
        return (None, *(g for part in made for g in part))
