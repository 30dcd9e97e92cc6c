"""What this machine could do at best: its memory and its matrix products, measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.engines.workloads import Workload


@dataclass(frozen=True)
class Machine:
    """Measured rates of one thread.

    Attributes:
        gemm: Multiply-adds per second of a float32 matrix product.
        near: Bytes per second read from 1 MB, which the second cache holds.
        far: Bytes per second read from memory.
    """

    gemm: float
    near: float
    far: float


def best(call: Any, repeats: int = 7) -> float:
    """Return the shortest time of a call in seconds."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def measure() -> Machine:
    """Measure this machine with one thread."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    near, far = torch.randn(1 << 18), torch.randn(1 << 26)
    out = torch.empty(())
    return Machine(
        gemm=1024**3 / best(lambda: a @ b),
        near=100
        * 4
        * near.numel()
        / best(lambda: [torch.sum(near, 0, out=out) for _ in range(100)]),
        far=4 * far.numel() / best(lambda: torch.sum(far, 0, out=out)),
    )


def floor(work: Workload, activity: list[Any], machine: Machine) -> float:
    """Return the seconds that the work itself needs.

    Per layer the lesser of the dense product at the measured rate and one addition per spike and
    target at the rate the weights can be read from cache; plus the bytes of every neuron's input
    and state at memory speed. A convolution counts 25 targets a channel and spike.

    Args:
        work: The workload.
        activity: Spikes [T, B, ...] that each weight array reads.
        machine: The measured rates.
    """
    total = 0.0
    time, batch = work.x.shape[:2]
    for weight, spikes in zip(work.weights, activity, strict=True):
        events = float(np.count_nonzero(spikes))
        if weight.ndim == 4:
            outputs, inputs = weight.shape[:2]
            places = (spikes.shape[-1] - 4) ** 2
            dense, sparse = time * batch * places * outputs * inputs * 25, events * 25 * outputs
            neurons = time * batch * outputs * places
        else:
            dense = time * batch * weight.size
            sparse = events * weight.shape[1]
            neurons = time * batch * weight.shape[1]
        total += min(dense / machine.gemm, 4 * sparse / machine.near) + 8 * neurons / machine.far
    return total
