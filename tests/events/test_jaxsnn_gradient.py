"""One layer against the gradient of jaxsnn, which has EventProp in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Value

jax = pytest.importorskip("jax", reason="the function is JAX's")
jaxsnn = pytest.importorskip("jaxsnn", reason="compared with jaxsnn")
pytestmark = [pytest.mark.framework, pytest.mark.slow]
jnp = jax.numpy

TAU_MEM, TAU_SYN, THRESHOLD, END = 10e-3, 5e-3, 0.25, 0.03
TIMES = np.array([0.5e-3, 1e-3, 1.7e-3, 2.2e-3], np.float32)
FACTORS = np.array([1.0, 2.0, 3.0], np.float32)


def theirs(weight: np.ndarray) -> Any:
    """Return value and gradient of jaxsnn's own run, weights [inputs, neurons]."""
    from jaxsnn.event.loss import first_spike
    from jaxsnn.event.types import Spike
    from jaxsnn.examples.event import yinyang_layered_event_prop as parts

    cells = parts.LIFParameters(v_reset=0.0, v_th=THRESHOLD, tau_syn=TAU_SYN, tau_mem=TAU_MEM)
    topology = parts.Topology(t_max=END, backprop_method="eventprop")
    topology.add(
        {
            "inp": parts.Source(4),
            "lif": parts.LIF(3, 20, cells),
            "syn": parts.Linear(mean=1.0, std=0.3, min_delay=0.0),
        }
    )
    topology.connect([("inp", "syn"), ("syn", "lif")])
    _, apply = topology.done()
    count = len(TIMES)
    spikes = Spike(
        jnp.asarray(TIMES)[None], jnp.arange(count)[None], jnp.zeros((1, count)),
        jnp.zeros((1, count), int), jnp.ones((1, count), bool),
    )  # fmt: skip

    def loss(syn: Any) -> Any:
        out = apply({"inp": spikes}, {"inp": None, "lif": None, "syn": syn})["lif"]
        first = jax.vmap(first_spike, in_axes=(0, None))(out, 3)
        return jnp.sum(jnp.minimum(first, END) * FACTORS)

    return jax.value_and_grad(loss)(jnp.asarray(weight))


def ours(weight: np.ndarray) -> Any:
    """Return value and gradient of `to_jax`, weights [neurons, inputs]."""
    values = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "r": 1.0, "v_leak": 0.0}
    values |= {"v_threshold": THRESHOLD}
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in values.items()})
    nodes = {
        "input": Node("input", Input(snnir.Signal(snnir.Kind.SPIKES, (4,))), ()),
        "fc": Node("fc", Linear(snnir.tensor(weight)), (Value("input"),)),
        "lif": Node(
            "lif", Neuron("cubalif", params, snnir.Stepping(synapse_jump=True)), (Value("fc"),)
        ),
    }
    graph = Graph(nodes, {"output": Value("lif")}, name="layer", dt=1e-3).verify()
    f = snnir.to_jax(graph, duration=END)

    def loss(params: Any) -> Any:
        first = f.first_spikes(params, TIMES[None])["output"]
        return jnp.sum(jnp.minimum(first, END) * FACTORS)

    return jax.value_and_grad(loss)(f.params)


def test_one_layer() -> None:
    weight = np.random.default_rng(1).uniform(0.4, 0.9, (4, 3)).astype(np.float32)
    value, gradient = theirs(weight)
    own_value, own = ours(weight.T)
    assert 0 < float(own_value) < END * FACTORS.sum()
    np.testing.assert_allclose(own_value, value, rtol=1e-5)
    largest = np.abs(gradient).max()
    assert largest > 0
    np.testing.assert_allclose(own["fc.weight"].T, gradient, atol=1e-5 * float(largest))
