"""The stateless ops in torch: the same functions as `snnir.kernels`, differentiable.

Tensors carry one leading axis of rows (time and batch merged): `[rows, *shape]`. `acc` is the dtype
in which sums are accumulated before they are rounded to the dtype of `x`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


def add(*xs: Tensor) -> Tensor:
    """Return the left-to-right sum."""
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def concat(*xs: Tensor, axis: int) -> Tensor:
    """Join along a feature axis."""
    return torch.cat(xs, dim=axis + 1)


def slice_axis(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Return x[..., start:stop, ...]."""
    return x.narrow(axis + 1, start, stop - start)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Reshape the features."""
    return x.reshape(x.shape[0], *shape)


def permute(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Reorder the feature axes."""
    return x.permute(0, *(axis + 1 for axis in axes))


def pad(x: Tensor, widths: Sequence[Sequence[int]], value: float = 0.0) -> Tensor:
    """Surround the features with a value."""
    if not any(width for pair in widths for width in pair):
        return x
    return functional.pad(x, [width for pair in reversed(widths) for width in pair], value=value)


def scale(x: Tensor, factor: Tensor) -> Tensor:
    """Return factor * x, both in x's dtype."""
    return factor.to(x.dtype) * x


def offset(x: Tensor, bias: Tensor) -> Tensor:
    """Return x + bias, both in x's dtype."""
    return x + bias.to(x.dtype)


def batch_norm(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Per-channel affine map; its two constants are computed in float64 and rounded once."""
    wide = torch.float64
    gain = (1.0 if gamma is None else gamma.to(wide)) / torch.sqrt(var.to(wide) + eps)
    shift = (0.0 if beta is None else beta.to(wide)) - mean.to(wide) * gain
    channels = (-1,) + (1,) * (x.ndim - 2)
    return x * gain.to(x.dtype).reshape(channels) + shift.to(x.dtype).reshape(channels)


def centred(weight: Tensor, zero: Tensor | None) -> Tensor:
    """Return whole weights less what stands for 0, one number or one per row."""
    return weight if zero is None else weight - zero.reshape(-1, *(1,) * (weight.ndim - 1))


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, zero: Tensor | None = None,
    acc: str = "float64",
) -> Tensor:  # fmt: skip
    """Return x (W - zero)^T + bias over the last axis; the bias is added after rounding."""
    kind, weight = getattr(torch, acc), centred(weight, zero)
    y = functional.linear(x.to(kind), weight.to(kind)).to(x.dtype)
    return y if bias is None else y + bias.to(y.dtype)


def compressed(starts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    """Return a matrix of torch's in the CSR layout."""
    size, kind = (len(starts) - 1, width), starts.dtype
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            starts, columns.to(kind), values, size, check_invariants=False
        )


def by_input(columns: Tensor, starts: Tensor, inputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the order of blocks by input, the group of each, and where those of each input begin.

    The last has one more element than there are inputs.
    """
    order = columns.argsort(stable=True)
    counts = columns.bincount(minlength=inputs)
    begins = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return order, torch.repeat_interleave(starts.diff())[order], begins


class SparseSums(torch.autograd.Function):
    """Products with a sparse matrix; only the weights that are there have gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, columns: Tensor, starts: Tensor) -> Tensor:
        """Return [rows, groups, block] from x [rows, inputs]."""
        ctx.save_for_backward(x, values, columns, starts)
        turned, lanes = x.t().contiguous(), values.t().contiguous()
        matrices = (compressed(starts, columns, lane, x.shape[1]) for lane in lanes)
        return torch.stack([torch.sparse.mm(each, turned).t() for each in matrices], 2)

    @staticmethod
    def of_input(d: Tensor, values: Tensor, layout: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the gradient of the input from that of the sums, [rows, groups, block].

        Args:
            d: Gradient of the sums.
            values: The blocks.
            layout: What `by_input` gives.
        """
        order, group, begins = layout
        found = d.new_zeros(len(begins) - 1, len(d))
        for lane, weights in enumerate(values[order].t().contiguous()):
            matrix = compressed(begins, group, weights, d.shape[1])
            found += torch.sparse.mm(matrix, d[:, :, lane].t().contiguous())
        return found.t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and values."""
        x, values, columns, starts = ctx.saved_tensors
        d = gradients[0]
        x_too, values_too = ctx.needs_input_grad[:2]
        g_x = g_values = None
        if x_too:
            g_x = SparseSums.of_input(d, values, by_input(columns, starts, x.shape[1]))
        if values_too:
            pattern = compressed(starts, columns, torch.zeros_like(values[:, 0]), x.shape[1])
            lanes = (d[:, :, lane].t().contiguous() for lane in range(values.shape[1]))
            terms = (torch.sparse.sampled_addmm(pattern, lane, x) for lane in lanes)
            g_values = torch.stack([term.values() for term in terms], 1)
        return g_x, g_values, None, None


def sparse_linear(
    x: Tensor, values: Tensor, columns: Tensor, starts: Tensor, bias: Tensor | None = None,
    outputs: int = 0, acc: str = "float64",
) -> Tensor:  # fmt: skip
    """Return x W^T + bias over the last axis; see `snnir.kernels.sparse_linear`."""
    kind = getattr(torch, acc)
    rows = x.reshape(-1, x.shape[-1]).to(kind)
    y: Tensor = SparseSums.apply(rows, values.to(kind), columns, starts)
    y = y.reshape(*x.shape[:-1], -1)[..., :outputs].to(x.dtype)
    return y if bias is None else y + bias.to(y.dtype)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[Sequence[int]] = ((0, 0),),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
    zero: Tensor | None = None,
    acc: str = "float64",
) -> Tensor:
    """Cross-correlation over the axes after the channels; the bias is added after rounding."""
    kind, weight = getattr(torch, acc), centred(weight, zero)
    convolve = functional.conv1d if x.ndim == 3 else functional.conv2d
    even = all(before == after for before, after in padding)
    inside = [before for before, _ in padding] if even else [0] * len(padding)
    x = x if even else pad(x, ((0, 0), *padding))
    options = {"padding": inside, "dilation": list(dilation), "groups": groups}
    y = convolve(x.to(kind), weight.to(kind), None, list(stride), **options).to(x.dtype)
    return y if bias is None else y + bias.to(y.dtype).reshape((-1,) + (1,) * (x.ndim - 2))


def sum_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    acc: str = "float64",
) -> Tensor:
    """Sum over windows."""
    wide = pad(x, ((0, 0), *padding)).to(getattr(torch, acc))
    pooled = functional.avg_pool2d(wide, tuple(kernel), tuple(stride), divisor_override=1)
    return pooled.to(x.dtype)


def mean_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
    acc: str = "float64",
) -> Tensor:
    """Mean over windows, padding counted; the sum is rounded before the division."""
    return sum_pool(x, kernel, stride, padding, acc) / float(kernel[0] * kernel[1])


def max_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Sequence[int]]
) -> Tensor:
    """Largest element of each window."""
    padded = pad(x, ((0, 0), *padding), -torch.inf)
    return functional.max_pool2d(padded, tuple(kernel), tuple(stride))


def pick_max_pool(
    scores: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Sequence[int]],
) -> Tensor:
    """The element of x where each window of the scores has its first largest."""
    ranked, given = (
        pad(a, ((0, 0), *padding), fill)
        .unfold(2, kernel[0], stride[0])
        .unfold(3, kernel[1], stride[1])
        .flatten(4)
        for a, fill in ((scores, -torch.inf), (x, 0.0))
    )
    return given.gather(4, ranked.argmax(4, keepdim=True))[..., 0]


def winner(x: Tensor) -> Tensor:
    """1 for the first largest element of each row if it is above 0, else 0."""
    best = functional.one_hot(x.argmax(1), x.shape[1])
    return ((x > 0) & (best > 0)).to(x.dtype)
