"""Functions that a script's network calls; those it needs are copied into it.

Everything is of torch 2.0 and in the stand-in's list of what PopTorch has. Sequences are
[batch, steps, *shape]: PopTorch splits the first axis between replicas.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: The script's; here for the checker of types alone.
poptorch: Any = None


def constant(array: Any) -> Any:
    """Return an array of the weights as a tensor that is not trained."""
    return nn.Parameter(torch.from_numpy(array), requires_grad=False)


def at(sequence: Any, t: Any) -> Any:
    """Return element t of the second axis; t is an int32 tensor [1]."""
    return poptorch.dynamic_slice(sequence, 1, t, 1, 1).squeeze(1)


def put(sequence: Any, value: Any, t: Any) -> Any:
    """Return the sequence with a value as element t of the second axis."""
    return poptorch.dynamic_update(sequence, value.unsqueeze(1), 1, t, 1)


def turn(slot: Any, length: int) -> Any:
    """Return the next slot of a ring: 0 after length - 1."""
    return (slot + 1) * (slot < length - 1).int()


def pick(line: Any, index: Any) -> Any:
    """Return one earlier value per element; `index` points into the line with its axes merged."""
    batch = line.shape[0]
    return line.reshape(batch, -1).index_select(1, index).reshape(batch, *line.shape[2:])


def later(sequence: Any, steps: int) -> Any:
    """Return the sequence as many steps late, zero before."""
    count = sequence.shape[1]
    if steps >= count:
        return torch.zeros_like(sequence)
    return torch.cat([torch.zeros_like(sequence[:, :steps]), sequence[:, : count - steps]], 1)


def sparse_linear(x: Any, columns: Any, values: Any, outputs: int) -> Any:
    """Return the product with a matrix of few weights.

    Each of `groups` groups of `block` rows has `most` columns and their weights [groups, most,
    block]; the column after the last of x is zero.
    """
    groups, most, block = values.shape
    taken = functional.pad(x, [0, 1]).index_select(x.dim() - 1, columns)
    terms = taken.reshape(*x.shape[:-1], groups, most, 1) * values
    return terms.sum(-2).reshape(*x.shape[:-1], groups * block)[..., :outputs]


def sum_pool(x: Any, kernel: Any, stride: Any) -> Any:
    """Return the sum over windows: a convolution of every channel with ones."""
    channels = x.shape[1]
    ones = torch.ones(channels, 1, *kernel)
    return functional.conv2d(x, ones, None, stride, (0, 0), (1, 1), channels)


def trunc(x: Any) -> Any:
    """Return x without its fraction; PopTorch's own goes through int32 and back."""
    return torch.where(x < 0.0, -torch.floor(-x), torch.floor(x))


def shifted(x: Any, bits: int) -> Any:
    """Return x / 2**bits rounded down, both int32; float32 holds it exactly."""
    whole = x - torch.bitwise_and(x, 2**bits - 1)
    return (whole.float() * 2.0**-bits).int()


def quotient(x: Any, y: Any) -> Any:
    """Return x / y rounded down, all int32 and below 2**24."""
    return torch.floor(x.float() / y.float()).int()


def winner(x: Any) -> Any:
    """Return 1 for the first largest element of each row if it is above 0, else 0."""
    largest = (x == torch.amax(x, 1, keepdim=True)).float()
    first = largest * (torch.cumsum(largest, 1) == 1).float()
    return first * (x > 0).float()
