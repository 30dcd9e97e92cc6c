"""Weights are normalised as torch does it, on every target, in every bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from snnir.kernels_learning import normalised

Array = Any
TOTAL = np.float32(78.4)
#: More and less columns than a vector has, sums of less than a block, of whole blocks, of both.
SHAPES = [(3, 784), (8, 20), (37, 784), (40, 5), (33, 300)]


def weights(post: int, pre: int) -> Array:
    drawn = np.random.default_rng(post).standard_normal((post, pre)).astype(np.float32)
    drawn[0] = 0
    return drawn


def with_torch(given: Array) -> Array:
    import torch

    from snnir.targets.torch_sim import learning

    return learning.normalised(torch.from_numpy(given), torch.tensor(TOTAL), "cascade").numpy()


def with_xla(given: Array) -> Array:
    import jax

    from snnir.targets.xla_sim import learning

    def run(weight: Array, total: Array, low: Array) -> Array:
        return learning.normalised(weight, total, "cascade", low)

    return np.asarray(jax.jit(run)(given, TOTAL, np.float32(-np.inf)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_torch_divides_a_number_by_sums(shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    given = weights(*shape)
    w = torch.from_numpy(np.ascontiguousarray(given.T))
    sums = w.abs().sum(0).unsqueeze(0)
    sums[sums == 0] = 1.0
    theirs = (w * (78.4 / sums)).numpy().T
    ours = normalised(given, TOTAL, "cascade")
    np.testing.assert_array_equal(ours.view(np.int32), np.ascontiguousarray(theirs).view(np.int32))
    assert not np.array_equal(ours[1:], normalised(given, TOTAL, "order")[1:])


@pytest.mark.parametrize("run", [with_torch, with_xla])
def test_other_targets(run: Callable[[Array], Array]) -> None:
    pytest.importorskip("torch" if run is with_torch else "jax")
    for shape in SHAPES[::2]:
        given = weights(*shape)
        ours = normalised(given, TOTAL, "cascade")
        np.testing.assert_array_equal(run(given).view(np.int32), ours.view(np.int32))
