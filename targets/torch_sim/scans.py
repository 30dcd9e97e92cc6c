"""Neuron populations over time in plain torch, and the gradient of every scan.

This module depends on torch and `snnir.network` alone and is copied into emitted folders. Gradients
of neurons are those of `Step.backward`, whichever backend runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnir.network import Step


def constant(value: float, kind: torch.dtype, device: torch.device) -> Tensor:
    """Return a literal of a step program as a tensor."""
    return _constant(value, str(value), kind, device)


@lru_cache(maxsize=4096)
def _constant(value: float, text: str, kind: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor that is made once; the text tells -0 from 0, which are equal."""
    return torch.tensor(value, dtype=kind, device=device)


def full(value: Any, like: Tensor, kind: torch.dtype) -> Tensor:
    """Return a value in the shape of `like`."""
    if isinstance(value, Tensor) and value.shape == like.shape:
        return value.to(kind)
    return torch.as_tensor(value, dtype=kind, device=like.device).expand(like.shape)


class Eager:
    """Scans as loops of torch operations: for every device, and the meaning of the others."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def forward(
        self, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
        keep: bool,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
        """Scan over time.

        Args:
            inputs: [T, B, *shape] each.
            states: Before the first step, [B, *shape] each, [1, *shape] if they last.
            params: Each broadcastable to [B, *shape].
            keep: Whether to return the states before every step.

        Returns:
            Outputs [T, B, *shape], states after the last step, states before every step.
        """
        count, kind = self.step.outputs, inputs[0].dtype
        inner = states[0].dtype if states else torch.float64 if self.step.wide else kind
        own = list(states)
        params = [p.to(inner) for p in params]
        results: list[tuple[Tensor, ...]] = []
        history: list[list[Tensor]] = []
        for now in zip(*inputs, strict=True):
            if keep:
                history.append(own)
            made = self.step.forward(*(x.to(inner) for x in now), *own, *params)
            results.append(tuple(full(y, now[0], kind) for y in made[:count]))
            own = [full(v, old, inner) for v, old in zip(made[count:], own, strict=True)]
        outputs = [torch.stack(steps) for steps in zip(*results, strict=True)]
        kept = [torch.stack(steps) for steps in zip(*history, strict=True)] if history else []
        return outputs, own, kept

    def backward(
        self, inputs: Sequence[Tensor], history: Sequence[Tensor], params: Sequence[Tensor],
        g_outputs: Sequence[Tensor], g_states: Sequence[Tensor],
        g_traces: Sequence[Tensor | None] = (), wanted: Sequence[bool] = (),
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:  # fmt: skip
        """Scan backwards over time.

        Args:
            inputs: As given to `forward`.
            history: States before every step.
            params: As given to `forward`.
            g_outputs: Gradients of the outputs, [T, B, *shape].
            g_states: Gradients of the states after the last step.
            g_traces: Gradients of the states after every step, where there are any.
            wanted: Which parameters need their gradient.

        Returns:
            Gradients of the inputs, of the states before the first step, and of the parameters.
        """
        kind = inputs[0].dtype
        inner = history[0].dtype if history else torch.float64 if self.step.wide else kind
        own = [g.to(inner) for g in g_states]
        wide = [p.to(inner) for p in params]
        g_params: list[Tensor | None] = [
            torch.zeros_like(p) if want else None for p, want in zip(wide, wanted, strict=True)
        ]
        found: list[list[Tensor]] = []
        some = inputs[0][0]
        for t in range(len(inputs[0]) - 1, -1, -1):
            for index, trace in enumerate(g_traces):
                own[index] = own[index] if trace is None else own[index] + trace[t]
            given = [*(x[t] for x in inputs), *(h[t] for h in history)]
            gradients = self.step.backward(
                *(x.to(inner) for x in given), *wide, *(g[t].to(inner) for g in g_outputs), *own
            )
            first, second = len(inputs), len(inputs) + len(history)
            found.append([full(g, some, kind) for g in gradients[:first]])
            pairs = zip(gradients[first:second], history, strict=True)
            own = [full(g, h[t], inner) for g, h in pairs]
            for index, g in enumerate(gradients[second:]):
                total = g_params[index]
                if total is not None:
                    g_params[index] = total + full(g, some, inner).sum_to_size(total.shape)
        g_inputs = [torch.stack(steps[::-1]) for steps in zip(*found, strict=True)]
        done = [g if g is None else g.to(p.dtype) for g, p in zip(g_params, params, strict=True)]
        return g_inputs, own, done


class Scan(torch.autograd.Function):
    """A neuron population over time, with the gradient of its step."""

    @staticmethod
    def forward(ctx: Any, runner: Any, traced: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return outputs, states after the last step and, if traced, after every step."""
        step = runner.step
        inputs, states, params = split(tensors, step.inputs, len(step.states), len(step.params))
        outputs, final, history = runner.forward(inputs, states, params, True)
        traces = after(history, final) if traced else []
        ctx.runner, ctx.traced = runner, traced
        ctx.save_for_backward(*inputs, *params, *history)
        lasts = [name in step.lasting for name in step.states]
        constant = (v for part in (final, traces) for v, no in zip(part, lasts, strict=False) if no)
        ctx.mark_non_differentiable(*constant)
        return (*outputs, *final, *traces)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of inputs, states and parameters."""
        step = ctx.runner.step
        sizes = step.inputs, len(step.params), len(step.states)
        inputs, params, history = split(ctx.saved_tensors, *sizes)
        g_outputs, g_states, g_traces = split(
            gradients, step.outputs, len(step.states), len(step.states) if ctx.traced else 0
        )
        wanted = ctx.needs_input_grad[2 + step.inputs + len(step.states) :]
        runner = Eager(step) if ctx.traced else ctx.runner
        g_inputs, g_initial, g_params = runner.backward(
            inputs, history, params, g_outputs, g_states, g_traces, wanted
        )
        return (None, None, *g_inputs, *g_initial, *g_params)


def after(history: Sequence[Tensor], final: Sequence[Tensor]) -> list[Tensor]:
    """Return the states after every step from those before every step and the last."""
    return [torch.cat([h[1:], v[None]]) for h, v in zip(history, final, strict=True)]


def split(items: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """Return consecutive parts of the given sizes."""
    parts, first = [], 0
    for size in sizes:
        parts.append(list(items[first : first + size]))
        first += size
    return parts
