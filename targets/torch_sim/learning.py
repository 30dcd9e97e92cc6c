"""Synapses that learn, random numbers and what outlives a run, with torch.

This module depends on torch and `snnir.network` alone and is copied into emitted folders. What it
computes is what `snnir.kernels_learning` computes, in every bit and on every device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnir.network import Model, Step, Unit
from snnir.targets.torch_sim.scans import full

#: Rotations of Threefry-2x32, the constant that its third key word is made with, and a word's bits.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY, WORD = 0x1BD11BDA, 0xFFFFFFFF
#: Products that are held at once while inputs are added up.
PRODUCTS = 1 << 22


# --- Synapses that learn -------------------------------------------------------------------------


class PlasticSums(torch.autograd.Function):
    """Currents through synapses that learn; their weights count as constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Return x W^T, [batch, post] from x [batch, pre], in the dtype of x."""
        ctx.save_for_backward(weight)
        return plastic_sum(x, weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x."""
        (weight,) = ctx.saved_tensors
        return (gradients[0].to(weight.dtype) @ weight).to(gradients[0].dtype), None


def plastic_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Return x W^T, added up in the order of the inputs; zeros of x add nothing.

    Args:
        x: [batch, pre].
        weight: [post, pre], in the dtype of the sum.
    """
    wide, rows = x.to(weight.dtype), weight.t()
    y = weight.new_zeros(len(x), len(weight))
    active = (wide != 0).any(0).nonzero()[:, 0]
    for columns in active.split(max(1, PRODUCTS // max(1, y.numel()))):
        given = wide[:, columns].t()[:, :, None]
        # Of a sample where the input is 0, a product may be NaN; a sum from 0 on is never -0.
        products = torch.where(given != 0, rows[columns][:, None] * given, 0.0)
        for product in products:
            y += product
    return y


def spread(x: Tensor, read: str) -> Tensor:
    """Return an input of a rule [batch, n] so that it broadcasts to [batch, post, pre]."""
    return x[:, None] if read == "pre" else x[:, :, None]


def learned(
    step: Step, inputs: Sequence[Tensor], reads: Sequence[str], own: Mapping[str, Tensor],
    params: Sequence[Tensor],
) -> dict[str, Tensor]:  # fmt: skip
    """Return the states of synapses after their rule has run; nothing of it has a gradient.

    Args:
        step: The rule.
        inputs: [batch, n] each.
        reads: What each of them has one value of; see `spread`.
        own: The states, [batch, post, pre], or [1, post, pre] if they last.
        params: The rule's parameters, each broadcastable to [post, pre].
    """
    states = [own[key] for key in step.states]
    inner = states[0].dtype
    with torch.no_grad():
        given = [spread(x, read).to(inner) for x, read in zip(inputs, reads, strict=True)]
        made = step.forward(*given, *states, *(p.to(inner) for p in params))
        pairs = zip(made, states, strict=True)
        new = [full(value, before, inner) for value, before in pairs]
    return dict(zip(step.states, new, strict=True))


def normalised(weight: Tensor, total: Tensor, sums: str) -> Tensor:
    """Return weights [post, pre] with sizes that add up to `total` (one, or one per row).

    See `snnir.kernels_learning.normalised`.
    """
    found = row_sums(weight.abs(), sums)
    found = torch.where(found == 0, 1.0, found)
    wanted = total.to(weight.dtype).reshape(-1)
    factor = found.reciprocal() * wanted if sums == "cascade" else wanted / found
    return weight * factor[:, None]


def row_sums(x: Tensor, sums: str) -> Tensor:
    """Return the sum of every row of x [rows, terms]; see `snnir.kernels_learning.row_sums`."""
    terms = x.t().contiguous()
    if sums == "order":
        total = torch.zeros_like(x[:, 0])
        for row in terms:
            total = total + row
        return total
    wide = 32 if len(x) >= 8 else 4
    whole = len(x) - len(x) % wide
    parts = [cascade(terms[:, :whole])] if whole else []
    if whole < len(x):
        parts.append(interleaved(terms[:, whole:]))
    return torch.cat(parts)


def cascade(terms: Tensor) -> Tensor:
    """Sum over the first axis with partial sums of 16, 256, ... terms."""
    levels = 4
    power = max(4, -(-max(len(terms) - 1, 1).bit_length() // levels))
    held = terms.new_zeros(levels, *terms.shape[1:])
    count = 0
    while count + (1 << power) <= len(terms):
        for row in terms[count : count + (1 << power)]:
            held[0] += row
        count += 1 << power
        for level in range(1, levels):
            held[level] += held[level - 1]
            held[level - 1] = 0
            if count & (((1 << power) - 1) << (level * power)):
                break
    for row in terms[count:]:
        held[0] += row
    for level in range(1, levels):
        held[0] += held[level]
    return held[0]


def interleaved(terms: Tensor) -> Tensor:
    """Sum over the first axis in four parts: every fourth term from 0, 1, 2 and 3."""
    whole = len(terms) // 4
    parts = cascade(terms[: 4 * whole].reshape(whole, 4, terms.shape[1]))
    total = parts[0]
    for row in terms[4 * whole :]:
        total = total + row
    for part in parts[1:]:
        total = total + part
    return total


# --- Random numbers ------------------------------------------------------------------------------


def uniform(
    seed: int, steps: Tensor, batch: int, shape: Sequence[int], kind: torch.dtype
) -> Tensor:
    """Return random numbers in (0, 1], [time, batch, *shape]; see the op `uniform`.

    Args:
        seed: From 0 to 2**64 - 1.
        steps: Numbers of the steps, int64 [time].
        batch: Samples.
        shape: Of one sample.
        kind: Element type.
    """
    count = batch * int(torch.Size(shape).numel())
    places = torch.arange(count, dtype=torch.int64, device=steps.device) & WORD
    word = threefry((seed & WORD, seed >> 32), steps[:, None] & WORD, places)
    return ((word >> 8) + 1).to(kind).reshape(len(steps), batch, *shape) * 2.0**-24


def threefry(key: tuple[int, int], first: Tensor, second: Tensor) -> Tensor:
    """Return the first word of Threefry-2x32 with 20 rounds, by int64 arithmetic.

    Args:
        key: Two words.
        first: First words of the counters.
        second: Second words, broadcastable with the first.
    """
    keys = [*key, key[0] ^ key[1] ^ PARITY]
    first, second = (first + keys[0]) & WORD, (second + keys[1]) & WORD
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            first = (first + second) & WORD
            second = ((second << turn) | (second >> (32 - turn))) & WORD ^ first
        first = (first + keys[(group + 1) % 3]) & WORD
        second = (second + keys[(group + 2) % 3] + group + 1) & WORD
    return first


# --- What outlives a run -------------------------------------------------------------------------


def inner_dtype(model: Model, steps: Mapping[str, Step], unit: Unit) -> torch.dtype:
    """Return the element type of the states of a unit."""
    if unit.kind == "random":
        return torch.int64
    kind: torch.dtype = getattr(torch, model.dtype)
    return torch.float64 if unit.function in steps and steps[unit.function].wide else kind


def only_starts(model: Model, steps: Mapping[str, Step]) -> set[str]:
    """Return the tensors that nothing reads but the lasting states that start at them."""
    found = set()
    for unit in model.units.values():
        for key in unit.lasting:
            name = unit.initial[key]
            if isinstance(name, str) and name not in steps[unit.function].params:
                found.add(unit.tensors[name])
    return found


def first_lasting(
    model: Model, steps: Mapping[str, Step], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return what lasts as the graph has it, by `node:state`."""
    found = {}
    for unit in model.units.values():
        kind = inner_dtype(model, steps, unit)
        for key, shape in unit.lasting.items():
            start = unit.initial[key]
            value = tensors[unit.tensors[start]] if isinstance(start, str) else start
            whole = torch.as_tensor(value, dtype=kind).expand(shape)
            found[f"{unit.name}:{key}"] = whole.clone(memory_format=torch.contiguous_format)
    return found
