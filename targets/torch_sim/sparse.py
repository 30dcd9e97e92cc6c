"""Sparse matrices whose input is known by its events."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnir.targets.torch_sim.compiled import Events, EventSums, address, share
from snnir.targets.torch_sim.kernels import SparseSums, by_input


class ByInput:
    """The blocks of a sparse matrix in the order of their inputs.

    Attributes:
        starts: Where the blocks of each input begin, and the end of the last, int64.
        group: Group of rows of each block, int32.
        order: Place of each block in the order of the graph.
    """

    def __init__(self, columns: Tensor, starts: Tensor, inputs: int) -> None:
        self.order, group, self.starts = by_input(columns, starts, inputs)
        self.group = group.to(torch.int32)
        self._last: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    def sorted(self, values: Tensor) -> Tensor:
        """Return the blocks in this order; remembered as long as they do not change."""
        last, version = self._last, values._version
        if last is not None and last[0]() is values and last[1] == version:
            return last[2]
        made = values.detach()[self.order].contiguous()
        self._last = weakref.ref(values), version, made
        return made


class Orders:
    """Remembers the order by input of matrices, whose layout never changes."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], ByInput]] = {}

    def of(self, columns: Tensor, starts: Tensor, inputs: int) -> ByInput:
        """Return the order of a matrix."""
        known = self._known.get(id(columns))
        if known is not None and known[0]() is columns:
            return known[1]
        made = ByInput(columns, starts, inputs)
        self._known[id(columns)] = weakref.ref(columns), made
        return made


def gathered(
    sums: EventSums, events: Events, order: ByInput, values: Tensor, groups: int
) -> Tensor:
    """Return the sums [rows, groups, block] over events."""
    rows, block = len(events.begin) - 1, values.shape[1]
    own, out = order.sorted(values), torch.zeros(rows, groups, block)
    rest = [
        *events.addresses, address(order.starts), address(order.group), address(own), block,
        groups * block, address(out),
    ]  # fmt: skip

    def part(first: int, last: int) -> None:
        sums.code.snn_sparse(first, last, *rest)

    share(part, rows, events.count * max(1, values.numel() // len(order.starts)))
    return out


def scattered(sums: EventSums, events: Events, order: ByInput, d: Tensor) -> Tensor:
    """Return the gradient of the weights, [blocks, block], from that of the sums."""
    rows, groups, block = d.shape
    found, inputs = torch.zeros(len(order.group), block), len(order.starts) - 1
    rest = [
        *events.addresses, address(order.starts), address(order.group), address(d), block,
        groups * block, rows, address(found),
    ]  # fmt: skip

    def part(first: int, last: int) -> None:
        sums.code.snn_sparse_back(first, last, *rest)

    share(part, inputs, events.count * max(1, found.numel() // inputs))
    return torch.empty_like(found).index_copy_(0, order.order, found)


class EventSparse(torch.autograd.Function):
    """A product with a sparse matrix whose input is known by its events."""

    @staticmethod
    def forward(
        ctx: Any, sums: EventSums, events: Events, order: ByInput, x: Tensor, values: Tensor,
        groups: int,
    ) -> Tensor:  # fmt: skip
        """Return [rows, groups, block]."""
        ctx.sums, ctx.events, ctx.order = sums, events, order
        ctx.save_for_backward(values)
        return gathered(sums, events, order, values, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of x and values."""
        (values,), order = ctx.saved_tensors, ctx.order
        d = gradients[0].contiguous()
        layout = order.order, order.group, order.starts
        x_too, values_too = ctx.needs_input_grad[3:5]
        g_x = SparseSums.of_input(d, values, layout) if x_too else None
        g_values = scattered(ctx.sums, ctx.events, order, d) if values_too else None
        return None, None, None, g_x, g_values, None
