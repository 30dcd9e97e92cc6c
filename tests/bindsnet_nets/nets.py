"""Networks of BindsNET, and runs of them by BindsNET beside runs of their graphs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
if importlib.util.find_spec("bindsnet") is None:
    pytest.skip("needs bindsnet", allow_module_level=True)

import snnir
from snnir.ir import Plastic, Step
from tests.learning.bindsnet_rules import bindsnet

network_module = bindsnet("network")
nodes = bindsnet("network.nodes")
topology = bindsnet("network.topology")
monitors = bindsnet("network.monitors")
learning = bindsnet("learning")
Network = network_module.Network

Array = Any
Net = Any
RNG = np.random.default_rng

#: What BindsNET keeps of its layers; `s` is compared with the graph's output.
STATES = ("v", "refrac_count", "i", "u", "x", "theta", "summed", "s_prob")


def weights(rng: Any, pre: int, post: int, scale: float, dyadic: bool, sign: bool = False) -> Any:
    """Return weights [pre, post] from 0 to `scale`, of either sign on demand."""
    values = rng.random((pre, post)) * scale
    if sign:
        values = values * rng.choice([-1.0, 1.0], (pre, post))
    if dyadic:
        values = np.rint(values * 64) / 64
    return torch.tensor(values, dtype=torch.float32)


def connect(net: Net, source: str, target: str, kind: str = "Connection", **options: Any) -> Any:
    """Add a connection between two layers."""
    made = getattr(topology, kind)(net.layers[source], net.layers[target], **options)
    net.add_connection(made, source, target)
    return made


def spikes(rng: Any, steps: int, batch: int, shape: tuple[int, ...], rate: float = 0.3) -> Array:
    """Return random spikes [steps, batch, *shape]."""
    return (rng.random((steps, batch, *shape)) < rate).astype(np.float32)


def run_both(
    net: Net,
    x: Mapping[str, Array],
    seed: int = 0,
    close: tuple[str, ...] = (),
    loose: Callable[[str], bool] = lambda name: False,
    reward: float | None = None,
    target: str = "numpy",
    **options: Any,
) -> tuple[snnir.Graph, dict[str, Array]]:
    """Run a network and its graph, and compare spikes, states and weights.

    Args:
        net: The network, at rest.
        x: The inputs of the graph, [T, B, *shape], without reward and draws.
        seed: Torch's, before the run.
        close: States and weights that need not be equal in every bit.
        loose: Says of states that they are not compared.
        reward: Of the run.
        target: What runs the graph.
        options: Those of `from_bindsnet`.

    Returns:
        The graph, and the final weights of its synapses.
    """
    graph = snnir.from_bindsnet(net, draws="input", **options)
    steps, batch = next(iter(x.values())).shape[:2]
    given = dict(x)
    if reward is not None:
        given["reward"] = np.full((steps, batch, 1), reward, np.float32)
    torch.manual_seed(seed)
    draws = snnir.bindsnet_draws(net, given, **options)
    given |= draws
    watched = {name: _watch(net, name) for name in net.layers}
    fed = {name.removesuffix(".input"): torch.tensor(value) for name, value in x.items()}
    run = {k: v for k, v in options.items() if k in ("one_step", "a_plus", "a_minus", "masks")}
    net.run(inputs=fed, time=(steps + 0.5) * net.dt, reward=reward, **run)
    records = [
        f"{name}:{state}"
        for name, watch in watched.items()
        for state in watch.state_vars
        if state != "s" and _has(graph, name, state)
    ]
    result = snnir.compile(graph, target, level=0).run(given, records)
    for name, watch in watched.items():
        if name in graph.outputs:
            theirs = watch.get("s").numpy()
            assert theirs.any() or name in close, f"{name} never fires"
            assert np.array_equal(theirs, result.outputs[name]), name
    for record in records:
        name, _, state = record.partition(":")
        if not loose(record):
            _compare(record, watched[name].get(state).numpy(), result.recorded[record], close)
    return graph, _compare_weights(net, graph, result.lasting, close)


def _watch(net: Net, name: str) -> Any:
    layer = net.layers[name]
    states = [s for s in STATES if getattr(layer, s, None) is not None]
    watch = monitors.Monitor(layer, ["s", *dict.fromkeys(states)])
    net.add_monitor(watch, name)
    return watch


def _has(graph: snnir.Graph, name: str, state: str) -> bool:
    op = graph.nodes[name].op
    return isinstance(op, Step) and state in [s.name for s in op.program.states]


def _compare(name: str, theirs: Array, ours: Array, close: tuple[str, ...]) -> None:
    if theirs.ndim < ours.ndim:  # what all samples share has no axis for them in BindsNET
        ours = ours[:, 0]
    if name in close:
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6, err_msg=name)
        return
    wrong = np.argwhere(~np.equal(theirs, ours))
    assert not len(wrong), f"{name} first at {wrong[0]}: {theirs[tuple(wrong[0])]!r}"


def _compare_weights(
    net: Net, graph: snnir.Graph, lasting: Mapping[str, Array], close: tuple[str, ...]
) -> dict[str, Array]:
    found = {}
    for (source, target), connection in net.connections.items():
        name = f"{source}_to_{target}"
        if not isinstance(graph.nodes[name].op, Plastic):
            continue
        theirs = connection.w.detach()
        theirs = (theirs.to_dense() if theirs.is_sparse else theirs).numpy()
        found[name] = lasting[f"{name}:w"]
        _compare(name, theirs.reshape(connection.source.n, -1).T, found[name], close)
    return found
