"""Topologies of jaxsnn, those of its examples among them, and runs of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jaxsnn", reason="needs jaxsnn")
logging.getLogger("jaxsnn").setLevel(logging.ERROR)

import jax
import jax.numpy as jnp
from jaxsnn.discrete import modules as steps
from jaxsnn.discrete.functional import LIFParameters, LIParameters
from jaxsnn.discrete.topology import Topology
from jaxsnn.event import modules as events
from jaxsnn.event.topology import Topology as EventTopology
from jaxsnn.event.types import Spike

from tests.helpers import dyadic

Array = Any


def finished(topology: Any, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return a topology, its apply function and its parameters."""
    init, apply = topology.done()
    return topology, apply, init(jax.random.PRNGKey(seed))


def on_grid(source: int, target: int, seed: int) -> Any:
    """Return a projection whose sums are exact in every order."""
    return steps.Linear(pre_weights=jnp.asarray(dyadic((source, target), seed)))


def yinyang(on: bool = True, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return the network of jaxsnn's discrete example: 5, 120 recurrent, 3."""
    net = Topology(dt=5e-4, record_states=True)
    made = {
        "syn_ih": on_grid(5, 120, 3 * seed) if on else steps.Linear(mean=0.0, std=0.7),
        "syn_hh": on_grid(120, 120, 3 * seed + 1) if on else steps.Linear(mean=0.0, std=0.2),
        "syn_ho": on_grid(120, 3, 3 * seed + 2) if on else steps.Linear(mean=0.0, std=0.2),
    }
    net.add(
        {
            "inp": steps.Input(5),
            "lif": steps.LIF(120, LIFParameters(tau_syn=5e-3, tau_mem=1e-2, v_th=0.6)),
            "li": steps.LI(3, LIParameters(tau_syn=5e-3, tau_mem=1e-2)),
            **made,
        }
    )
    net.connect(
        [
            ("inp", "syn_ih"),
            ("syn_ih", "lif"),
            ("lif", "syn_hh"),
            ("syn_hh", "lif"),
            ("lif", "syn_ho"),
            ("syn_ho", "li"),
        ]
    )
    return finished(net, seed)


def run_steps(apply: Any, params: Any, inputs: Mapping[str, Array]) -> tuple[Any, Any]:
    """Return states and outputs [T, B, size] of a discrete topology, under jit."""
    batched = jax.jit(jax.vmap(apply, in_axes=(dict.fromkeys(inputs, 1), None), out_axes=1))
    states, outputs = batched({name: jnp.asarray(x) for name, x in inputs.items()}, params)
    return states, outputs


def event_yinyang(
    recurrent: bool, hidden: int = 6, slots: int = 16, delay: float = 0.0
) -> tuple[Any, Any, Any]:
    """Return the networks of jaxsnn's event examples, smaller: layered or recurrent."""
    neurons = events.LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=5e-3, tau_mem=1e-2)
    net = EventTopology(t_max=2e-2, backprop_method="eventprop")
    net.add(
        {
            "inp": events.Source(5),
            "lif1": events.LIF(hidden, slots, neurons),
            "lif2": events.LIF(3, slots + 5, neurons),
            "syn1": events.Linear(mean=3.0, std=1.6, min_delay=delay),
            "syn2": events.Linear(mean=1.5, std=0.8),
        }
    )
    net.connect([("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn2"), ("syn2", "lif2")])
    if recurrent:
        net.add({"syn3": events.Linear(mean=0.0, std=0.1)})
        net.connect([("lif1", "syn3"), ("syn3", "lif1")])
    return finished(net)


def some_events(seed: int = 0, batch: int = 2) -> Any:
    """Return one spike of each of five channels in the first 10 ms."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0, 0.01, (batch, 5)), axis=1).astype(np.float32)
    index = np.stack([rng.permutation(5) for _ in range(batch)])
    zeros = jnp.zeros((batch, 5))
    return Spike(
        jnp.asarray(time), jnp.asarray(index), zeros, zeros.astype(int), jnp.ones((batch, 5), bool)
    )
