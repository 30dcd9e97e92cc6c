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


def with_native(work: Workload, whole: bool = False) -> Callable[[], Any]:
    """Return the native target's run on spikes as bytes.

    Args:
        work: The workload.
        whole: Whether weights are bytes; those of the workloads are whole numbers of a unit.
    """
    import numpy as np

    net = graph(work)
    made: Any = snnir.compile(whole_weights(net) if whole else net, "native", level=0)
    program, x = made.simulator, {"input": work.x.astype(np.uint8)}
    return lambda: next(iter(program.run(x)[0].values()))


def whole_weights(net: snnir.Graph) -> snnir.Graph:
    """Return a network whose weights are bytes of a power of two, scaled back before neurons."""
    import numpy as np

    from snnir.ir import Conv2d, Linear, MaxPool2d, Scale, Value

    editor = net.edit()
    for node in net.nodes.values():
        if isinstance(node.op, (Linear, Conv2d)):
            weight = node.op.weight.numpy()
            fine = next(2.0**k for k in range(24) if np.all(weight * 2.0**k % 1 == 0))
            op = type(node.op)(snnir.Tensor((weight * fine).astype(np.int8)))
            editor.set_op(node.name, op)
            last = node.name
            while isinstance(net.nodes[net.uses[last][0][0]].op, MaxPool2d):
                last = net.uses[last][0][0]
            size = Value(f"{last}.size")
            editor.rewire(Value(last), size)
            editor.add(size.node, Scale(snnir.tensor(np.float32(1 / fine))), [last])
    return editor.graph().verify()


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


def with_mlir(work: Workload) -> Callable[[], Any]:
    """Return the mlir target's run, compiled by IREE for this processor."""
    made: Any = snnir.compile(graph(work), "mlir")
    program, x = made.simulator(work.x.shape[1]), {"input": work.x}
    return lambda: next(iter(program.run(x)[0].values()))
