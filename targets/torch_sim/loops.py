"""Compiled recurrences: calling the C functions of a loop, forward and backward."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnir.network import Loop, Model, Unit
from snnir.targets.torch_sim.compiled import SMALL, bind, packed, pointers, pool
from snnir.targets.torch_sim.memory import MEMORY
from snnir.targets.torch_sim.scans import split


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

    @staticmethod
    def operand(unit: Unit, key: str, value: Tensor) -> Tensor:
        """Return a tensor as the C function reads it."""
        if key == "weight" and unit.function == "linear":
            return packed(value.detach().float())
        return value.detach().float().expand(unit.shape).contiguous()

    def forward(
        self, inputs: Sequence[Tensor], states: Sequence[Tensor], lines: Sequence[Tensor],
        tensors: Sequence[Tensor], wanted: Sequence[bool], trained: Sequence[bool] | None = None,
        traced: bool = False,
    ) -> tuple[list[Tensor | None], list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Run the loop.

        Args:
            inputs: What comes from outside, [T, B, *shape] each.
            states: Before the first step, [B, *shape] each.
            lines: What the delays hold, oldest first, [steps, B, *shape] each.
            tensors: Weights and parameters.
            wanted: Which values to return.
            trained: Which tensors get gradients; None if nothing is to be kept for gradients.
            traced: Whether to return the states before every step; then nothing else is kept.

        Returns:
            Values [T, B, *shape] or None, states and lines after the last step, and what is kept.
        """
        time, batch = inputs[0].shape[:2]
        xs = [x.contiguous() for x in inputs]
        own = [v.clone(memory_format=torch.contiguous_format) for v in states]
        held = [v.clone(memory_format=torch.contiguous_format) for v in lines]
        given = [self.operand(*self.place(i), value) for i, value in enumerate(tensors)]
        out = [
            MEMORY.empty(time, batch, *self.shapes[name]) if want else None
            for name, want in zip(self.loop.values, wanted, strict=True)
        ]
        kept = [] if trained is None else self.room(time, batch, trained)
        history: list[Tensor | None] = [torch.empty(time, *v.shape) for v in own if traced]
        arguments = [
            pointers(xs), pointers(given), pointers(out), pointers(kept) if kept else None,
            pointers(history) if history else None, pointers(own), pointers(held),
        ]  # fmt: skip
        self.share(batch, time, lambda first, last, _: self.call(
            self._forward, first, last, time, batch, arguments
        ))  # fmt: skip
        return out, own, held, history if traced else kept

    def room(self, time: int, batch: int, trained: Sequence[bool]) -> list[Tensor | None]:
        """Return arrays for what is kept of every step, [B, T, *shape]."""
        some = {n for (n, _), want in zip(self.loop.tensors, trained, strict=True) if want}
        return [
            MEMORY.empty(batch, time, *self.units[name].shape)
            if name in some or not for_params
            else None
            for name, for_params in self.loop.kept
        ]

    def scan(
        self, wanted: Sequence[bool], *tensors: Tensor
    ) -> tuple[list[Tensor | None], list[Tensor], list[Tensor]]:
        """Return the wanted values, the last states and the last lines, with their gradients."""
        made: tuple[Tensor, ...] = LoopScan.apply(self, wanted, *tensors)
        values, own, held = split(made, sum(wanted), len(self.loop.states), len(self.loop.delays))
        found = iter(values)
        return [next(found) if want else None for want in wanted], own, held

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
        self, inputs: Sequence[Tensor], lines: Sequence[Tensor], values: Sequence[Tensor | None],
        kept: Sequence[Tensor | None], tensors: Sequence[Tensor],
        gradients: Sequence[Tensor | None], wanted: Sequence[bool],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Run the loop backwards.

        Args:
            inputs: As given to `forward`.
            lines: As given to `forward`.
            values: The values, None where they are not needed.
            kept: What `forward` kept.
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
            packed(value.detach().float().t()) if self.place(i)[1] == "weight" else None
            for i, value in enumerate(tensors)
        ]
        g_out, g_states, g_lines = split(
            gradients, len(self.loop.values), len(self.loop.states), len(self.loop.delays)
        )
        g_out = [None if g is None else g.contiguous() for g in g_out]
        own = [
            _gradient(g, (batch, *self.units[name].shape))
            for g, (name, _) in zip(g_states, self.loop.states, strict=True)
        ]
        held = [_gradient(g, line.shape) for g, line in zip(g_lines, lines, strict=True)]
        g_in = [MEMORY.empty(*x.shape) for x in xs]
        tables = self.tables(given, self.together(wanted), self.threads(batch, time))
        before = [line.contiguous() for line in lines]
        common = [
            pointers(xs), pointers(given), pointers(values), pointers(kept), pointers(before),
            pointers(turned), pointers(g_out), pointers(g_in), pointers(own), pointers(held),
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
        self, given: Sequence[Tensor], wanted: Sequence[bool], threads: int
    ) -> list[Tensor | None]:
        """Return zeros for the gradients of tensors, one copy per thread."""
        return [
            torch.zeros(threads, *value.shape) if want else None
            for value, want in zip(given, wanted, strict=True)
        ]

    def unpacked(self, index: int, table: Tensor, value: Tensor) -> Tensor:
        """Return the gradient of a tensor from what the C function summed."""
        unit, key = self.place(index)
        if key == "weight" and unit.function == "linear":
            blocks, width, wide = table.shape
            return table.transpose(1, 2).reshape(blocks * wide, width)[: len(value)]
        return table.sum_to_size(value.shape).to(value.dtype)


def _gradient(g: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Return a gradient that may be written to."""
    return torch.zeros(shape) if g is None else g.clone(memory_format=torch.contiguous_format)


class LoopScan(torch.autograd.Function):
    """A compiled recurrence with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, runner: CompiledLoop, wanted: Sequence[bool], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the wanted values, the last states and the last lines."""
        loop = runner.loop
        sizes = [len(loop.outside), len(loop.states), len(loop.delays), len(loop.tensors)]
        inputs, states, lines, weights = split(tensors, *sizes)
        first = 2 + sum(sizes[:3])
        computed = [
            want or name in loop.needed for name, want in zip(loop.values, wanted, strict=True)
        ]
        values, own, held, kept = runner.forward(
            inputs, states, lines, weights, computed, ctx.needs_input_grad[first:]
        )
        ctx.runner, ctx.wanted = runner, wanted
        ctx.set_materialize_grads(False)
        used = [
            v if name in loop.needed else None for name, v in zip(loop.values, values, strict=True)
        ]
        ctx.save_for_backward(*inputs, *lines, *weights, *used, *kept)
        given = (v for v, want in zip(values, wanted, strict=True) if want and v is not None)
        return (*given, *own, *held)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of everything given."""
        loop = ctx.runner.loop
        sizes = [len(loop.outside), len(loop.delays), len(loop.tensors), len(loop.values)]
        inputs, lines, weights, values, kept = split(ctx.saved_tensors, *sizes, len(loop.kept))
        wanted = ctx.needs_input_grad[2 + len(inputs) + len(loop.states) + len(lines) :]
        found = iter(gradients)
        given = [next(found) if want else None for want in ctx.wanted]
        made = ctx.runner.backward(inputs, lines, values, kept, weights, [*given, *found], wanted)
        return (None, None, *(g for part in made for g in part))
