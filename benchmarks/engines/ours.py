"""Our targets on the workloads, called as their users would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snnir
from benchmarks.engines.torch_peers import Made
from benchmarks.engines.workloads import Workload, graph

SURROGATE = "fast_sigmoid{slope=25}"


def with_torch(work: Workload, **options: Any) -> Made:
    """Return the torch target's module."""
    import torch

    net = snnir.to_torch(graph(work), surrogate=SURROGATE, **options)
    names = [name for name in net.tensor_names() if name.endswith(".weight")]
    return net, torch.from_numpy(work.x), [net.tensor(name) for name in names]


def with_numpy(work: Workload) -> Callable[[], Any]:
    """Return the NumPy target's run, with plain float32 sums."""
    made = snnir.compile(graph(work), "numpy", precision="float32")
    return lambda: made.run(work.x).output


def with_xla(work: Workload, exact: bool = True) -> Callable[[], Any]:
    """Return the XLA target's function, jitted."""
    import jax
    import jax.numpy as jnp

    made: Any = snnir.compile(graph(work), "xla", exact=exact, surrogate=SURROGATE)
    tensors, x, run = made.simulator.tensors, {"input": jnp.asarray(work.x)}, made.function

    def loss(tensors: Any) -> Any:
        y = run(tensors, x)["output"]
        return (y.sum(0) ** 2).mean(), y

    if work.train:
        step = jax.jit(jax.grad(loss, has_aux=True))
        return lambda: jax.block_until_ready(step(tensors))[1]
    jitted = jax.jit(run)
    return lambda: jax.block_until_ready(jitted(tensors, x))["output"]
