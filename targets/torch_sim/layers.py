"""Compiled layers: a linear layer and the population that reads it, in one call each way."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnir.network import Step
from snnir.targets.torch_sim.compiled import (
    TILE,
    WIDE,
    Events,
    EventSums,
    address,
    bind,
    is_turned,
    near,
    pointers,
    row_length,
    share,
    turned,
)
from snnir.targets.torch_sim.memory import MEMORY
from snnir.targets.torch_sim.scans import split


class CompiledLayer:
    """A population joined to the linear layer before it.

    Args:
        step: The population's step.
        sums: The compiled kernels.
    """

    def __init__(self, step: Step, sums: EventSums) -> None:
        self.step, self.sums = step, sums
        self.kept = ctypes.c_int32.in_dll(sums.code, f"{step.name}_kept").value
        self._forward = bind(getattr(sums.code, f"{step.name}_layer"), "qqqqqppppqpppppppqp")
        back = getattr(sums.code, f"{step.name}_layer_back")
        self._backward = bind(back, "qqqqqpppqqpppppppppqp")

    def forward(
        self, events: Events, weight: Tensor, bias: Tensor | None, states: Sequence[Tensor],
        params: Sequence[Tensor], time: int, keep: bool,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
        """Run all steps.

        Args:
            events: Of the input, [T * B, width].
            weight: [neurons, width].
            bias: [neurons].
            states: Before the first step, [B, neurons] each.
            params: Each broadcastable to [neurons].
            time: T.
            keep: Whether to return what the gradient needs.

        Returns:
            Outputs [T, B, neurons], states after the last step, and what was kept.
        """
        rows, neurons = events.shape[0], len(weight)
        batch = rows // time
        table = weight.detach() if is_turned(weight) else turned(weight)
        own = [v.clone(memory_format=torch.contiguous_format) for v in states]
        outputs = [MEMORY.empty(time, batch, neurons) for _ in range(self.step.outputs)]
        blocks = -(-neurons // 16)
        kept = [MEMORY.empty(blocks * rows * 16) for _ in range(self.kept if keep else 0)]
        arrays, each = self.params(params, neurons)
        rest = [
            time, batch, neurons, *events.addresses, address(table), table.stride(1),
            address(bias), pointers(arrays), each, pointers(own), pointers(outputs),
            pointers(kept) if keep else None,
        ]  # fmt: skip

        def part(first: int, last: int) -> None:
            work = torch.zeros(max(1, len(own)) * batch, WIDE)
            room = near(events)
            self._forward(first, last, *rest, address(work), events.shape[1], address(room))

        share(part, -(-neurons // WIDE), (events.count + rows) * neurons)
        return outputs, own, kept

    @staticmethod
    def params(params: Sequence[Tensor], neurons: int) -> tuple[list[Tensor], Any]:
        """Return parameters as arrays, and which of them have one value per neuron."""
        many = [p.numel() != 1 for p in params]
        arrays = [
            (p.expand(neurons) if varies else p.reshape(1)).detach().contiguous()
            for p, varies in zip(params, many, strict=True)
        ]
        return arrays, (ctypes.c_int32 * max(1, len(many)))(*many)

    def backward(
        self, events: Events, weight: Tensor, kept: Sequence[Tensor], params: Sequence[Tensor],
        g_outputs: Sequence[Tensor], g_states: Sequence[Tensor], wanted: Sequence[bool],
    ) -> tuple[list[Tensor | None], list[Tensor]]:  # fmt: skip
        """Go back over all steps.

        Args:
            events: As given to `forward`.
            weight: As given to `forward`.
            kept: What `forward` kept.
            params: As given to `forward`.
            g_outputs: Gradients of the outputs, [T, B, neurons].
            g_states: Gradients of the states after the last step.
            wanted: Whether input, weight and bias need their gradient.

        Returns:
            Gradients of input, weight and bias, and of the states before the first step.
        """
        (rows, width), (time, batch, neurons) = events.shape, g_outputs[0].shape
        given = [_by_sample(g) for g in g_outputs]
        strides = [stride for g in given for stride in g.stride()[:2]]
        own = [g.clone(memory_format=torch.contiguous_format) for g in g_states]
        d = MEMORY.empty(rows, neurons) if wanted[0] else None
        table = MEMORY.zeros(width, row_length(neurons)) if wanted[1] else None
        g_bias = torch.empty(neurons) if wanted[2] else None
        tile = batch * max(1, min(time, TILE // batch))
        by_input = events.turned(tile) if wanted[1] else [None] * 3
        arrays, each = self.params(params, neurons)
        rest = [
            rows, batch, neurons, *(address(x) for x in by_input), width, tile, pointers(kept),
            pointers(arrays), each, pointers(given), (ctypes.c_int64 * len(strides))(*strides),
            pointers(own), address(d), address(g_bias), address(table), row_length(neurons),
        ]  # fmt: skip

        def part(first: int, last: int) -> None:
            work = torch.zeros(tile + len(own) * batch, WIDE)
            self._backward(first, last, *rest, address(work))

        share(part, -(-neurons // WIDE), 2 * (events.count + rows) * neurons)
        g_x = None if d is None else self.sums.spread(d, weight)
        return [g_x, None if table is None else table[:, :neurons].t(), g_bias], own


def _by_sample(g: Tensor) -> Tensor:
    """Return a gradient [T, B, neurons] with neighbours side by side; what repeats stays once."""
    if g.stride(2) == 1:
        return g
    once = g[: 1 if g.stride(0) == 0 else None, : 1 if g.stride(1) == 0 else None]
    return once.contiguous().expand_as(g)


class LayerScan(torch.autograd.Function):
    """A linear layer whose input is known by its events, and its population, over time."""

    @staticmethod
    def forward(
        ctx: Any, layer: CompiledLayer, events: Events, x: Tensor, weight: Tensor,
        bias: Tensor | None, *rest: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the outputs [T, B, neurons] and the states after the last step.

        Args:
            ctx: Of autograd.
            layer: The layer.
            events: Of x.
            x: [T, B, width].
            weight: [neurons, width].
            bias: [neurons].
            rest: States before the first step, parameters of the neurons.
        """
        step = layer.step
        states, params = split(rest, len(step.states), len(step.params))
        outputs, final, kept = layer.forward(events, weight, bias, states, params, len(x), True)
        ctx.layer, ctx.events, ctx.shape = layer, events, x.shape
        ctx.save_for_backward(weight, *params, *kept)
        return (*outputs, *final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of input, weight, bias and states."""
        layer, step = ctx.layer, ctx.layer.step
        (weight,), params, kept = split(ctx.saved_tensors, 1, len(step.params), layer.kept)
        g_outputs, g_states = split(gradients, step.outputs, len(step.states))
        (g_x, *found), own = layer.backward(
            ctx.events, weight, kept, params, g_outputs, g_states, ctx.needs_input_grad[2:5]
        )
        g_x = None if g_x is None else g_x.reshape(ctx.shape)
        return (None, None, g_x, *found, *own, *(None for _ in params))
