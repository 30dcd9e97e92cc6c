"""Step functions of public packages, as they are: Spyx's layers and jaxsnn's cells."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp

import snnir
from snnir.ir import Graph
from snnir.streams import Kind
from tests.step_functions.cells import weights

STEPS, BATCH = 100, 3


def sequence(features: int, seed: int = 0) -> Any:
    """Return [T, B, features]: spikes of weight 1/2 to 3/2."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (STEPS, BATCH, features)) * rng.integers(1, 4, (1, 1, features)) / 2
    return jnp.asarray(x, jnp.float32)


@pytest.fixture(scope="module")
def spyx() -> Any:
    for name in ("flax", "spyx"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    return importlib.import_module("spyx.nn")  # where it is installed it has to work


def layer(spyx: Any, name: str) -> Any:
    """Return a layer of six neurons as it is initialised, recurrent weights made dyadic."""
    from flax import nnx

    made = getattr(spyx, name)((6,), rngs=nnx.Rngs(1))
    if hasattr(made, "recurrent_w"):
        made.recurrent_w[...] = weights((6, 6), 4)
    return made


def network(spyx: Any) -> Any:
    from flax import nnx

    rngs = nnx.Rngs(2)
    plain = {"kernel_init": nnx.initializers.zeros, "rngs": rngs}
    net = spyx.Sequential(
        nnx.Linear(6, 8, **plain), spyx.LIF((8,), beta=0.9, rngs=rngs),
        nnx.Linear(8, 5, use_bias=False, **plain), spyx.RLIF((5,), beta=0.8, rngs=rngs),
        nnx.Linear(5, 3, use_bias=False, **plain), spyx.LI((3,), rngs=rngs),
    )  # fmt: skip
    for at, shape in ((0, (6, 8)), (2, (8, 5)), (4, (5, 3))):
        net.layers[at].kernel[...] = weights(shape, at)
    net.layers[3].recurrent_w[...] = weights((5, 5), 9)
    return net


def step_of(model: Any) -> Callable[[Any, Any], Any]:
    """Return Spyx's (input, state) to (output, state) the other way round."""

    def step(state: Any, x: Any) -> Any:
        out, state = model(x, state)
        return state, out

    return step


NAMES = ["LIF", "ALIF", "CuBaLIF", "RIF", "RLIF", "RCuBaLIF"]


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_spyx(spyx: Any, name: str) -> None:
    made = layer(spyx, name)
    state = made.initial_state(BATCH)
    x = sequence(6)
    graph = snnir.from_jax(step_of(made), state, x[0], batched=True, name=name)
    assert "all states equal" in graph.provenance.notes[-1]
    outputs, _ = jax.jit(partial(spyx.run, made))(x)
    result = snnir.run(graph, x)
    assert np.array_equal(result.output, outputs)
    assert outputs.sum() > 100
    assert graph.signals[graph.outputs["output"]].kind is Kind.SPIKES


def test_a_network_of_spyx_run_by_its_own_loop(spyx: Any) -> None:
    net = network(spyx)
    x = sequence(6, 3)

    def run(state: Any, xs: Any) -> Any:
        outputs, state = spyx.run(net, xs, state)
        return state, outputs

    graph = snnir.from_jax(run, net.initial_state(BATCH), x, batched=True)
    assert "all states equal" in graph.provenance.notes[-1]
    ops = [node.op.name for node in graph.nodes.values()]
    assert (ops.count("step"), ops.count("linear"), ops.count("delay")) == (3, 4, 1)
    compiled = jax.jit(partial(spyx.run, net))
    for seed in (3, 4):
        xs = sequence(6, seed)
        assert np.array_equal(snnir.run(graph, xs).output, compiled(xs)[0])


@pytest.fixture(scope="module")
def cells() -> dict[str, tuple[Any, Any]]:
    """Return steps of jaxsnn with their first state."""
    pytest.importorskip("jaxsnn", reason="needs jaxsnn")
    from jaxsnn.discrete.functional.li import LIState, li_step
    from jaxsnn.discrete.functional.lif import LIFState, lif_step
    from jaxsnn.discrete.functional.threshold import superspike

    zero = jnp.zeros(4)
    times = {"v_leak": 0.0, "tau_mem": 1e-2, "tau_syn": 5e-3, "dt": 1e-3}
    lif = partial(lif_step, parameters=None, method=superspike, v_th=0.6, v_reset=0.0, **times)
    li = partial(li_step, parameters=None, **times)
    weight = weights((6, 4), 2, 4)
    return {
        "lif": (lambda s, x: lif({"input": x @ weight}, s), LIFState(V=zero, I=zero)),
        "li": (lambda s, x: li({"input": x @ weight}, s), LIState(V=zero, I=zero)),
    }


@pytest.mark.parametrize("name", ["lif", "li"])
def test_cells_of_jaxsnn(cells: dict[str, tuple[Any, Any]], name: str) -> None:
    step, state = cells[name]
    x = sequence(6)[:, 0]
    graph: Graph = snnir.from_jax(step, state, x[0], dt=1e-3)
    assert "all states equal" in graph.provenance.notes[-1]
    _, out = jax.jit(lambda xs: jax.lax.scan(step, state, xs))(x)
    assert np.array_equal(snnir.run(graph, x[:, None]).output[:, 0], out)
    assert np.asarray(out).any()
