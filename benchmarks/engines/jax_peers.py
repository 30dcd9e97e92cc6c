"""The JAX frameworks on the same work. Their neurons differ a little, so spikes may too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.engines.workloads import BETA, THRESHOLD, Workload


class CannotExpressError(RuntimeError):
    """The framework has no form for this workload."""


def jaxsnn(work: Workload) -> Callable[[], Any]:
    """jaxsnn.discrete: tau_syn = dt makes its current last one step; layers are a step late."""
    logging.disable(logging.ERROR)
    from jaxsnn.discrete.functional.lif import LIFParameters
    from jaxsnn.discrete.modules import LIF, Input, Linear
    from jaxsnn.discrete.topology import Topology

    if work.kind == "conv" or work.train:
        raise CannotExpressError("no convolution, and no training of this net in one call")
    neuron = LIFParameters(tau_syn=1e-3, tau_mem=16e-3, v_th=THRESHOLD, v_leak=0.0, v_reset=0.0)
    matrices = [jnp.asarray(weight * 16) for weight in work.weights]
    recurrent = work.kind == "recurrent"
    chain = [matrices[0], matrices[2]] if recurrent else matrices
    parts: dict[str, Any] = {"L0": Input(len(work.weights[0]))}
    edges = []
    for index, matrix in enumerate(chain, 1):
        parts[f"w{index}"] = Linear(pre_weights=matrix)
        parts[f"L{index}"] = LIF(matrix.shape[1], neuron)
        edges += [(f"L{index - 1}", f"w{index}"), (f"w{index}", f"L{index}")]
    if recurrent:
        parts["back"] = Linear(pre_weights=matrices[1])
        edges += [("L1", "back"), ("back", "L1")]
    net = Topology(time_steps=len(work.x), dt=1e-3, record_states=False)
    net.add(parts)
    net.connect(edges)
    start, run = net.done()
    tensors, x = start(jax.random.PRNGKey(0)), jnp.asarray(work.x)

    def one(x: Any, tensors: Any) -> Any:
        return run({"L0": x}, tensors)[1][f"L{len(chain)}"]

    many = jax.jit(jax.vmap(one, in_axes=(1, None), out_axes=1))
    return lambda: jax.block_until_ready(many(x, tensors))


def spyx(work: Workload) -> Callable[[], Any]:
    """Spyx: its LIF fires by the membrane of the step before and resets by subtraction."""
    import spyx.axn
    import spyx.nn
    from flax import nnx

    if work.kind == "conv":
        raise CannotExpressError("its convolutions are those of another library")
    matrices = [jnp.asarray(weight) for weight in work.weights]
    recurrent = work.kind == "recurrent"
    sizes = [m.shape[1] for m in (matrices[::2] if recurrent else matrices)]
    cells = [
        spyx.nn.LIF(
            (size,), beta=BETA, threshold=THRESHOLD, activation=spyx.axn.superspike(25.0),
            rngs=nnx.Rngs(0),
        )
        for size in sizes
    ]  # fmt: skip
    x = jnp.asarray(work.x)
    rest = tuple(jnp.zeros((x.shape[1], size)) for size in sizes)

    def dense(matrices: Any, x: Any) -> Any:
        def step(states: Any, now: Any) -> Any:
            h, after = now, []
            for matrix, cell, v in zip(matrices, cells, states, strict=True):
                h, new = cell(h @ matrix, v)
                after.append(new)
            return tuple(after), h

        return jax.lax.scan(step, rest, x)[1]

    def looped(matrices: Any, x: Any) -> Any:
        def step(carry: Any, now: Any) -> Any:
            spikes, one, two = carry
            spikes, one = cells[0](now @ matrices[0] + spikes @ matrices[1], one)
            out, two = cells[1](spikes @ matrices[2], two)
            return (spikes, one, two), out

        return jax.lax.scan(step, (rest[0], *rest), x)[1]

    run = looped if recurrent else dense
    if work.train:
        step = jax.jit(jax.grad(lambda matrices, x: (run(matrices, x).sum(0) ** 2).mean()))
        return lambda: (jax.block_until_ready(step(matrices, x)), None)[1]
    jitted = jax.jit(run)
    return lambda: jax.block_until_ready(jitted(matrices, x))
