"""Learning rules beside BindsNET's own run: weights, traces and spikes in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Linear
from tests.bindsnet_nets.nets import (
    RNG,
    Network,
    connect,
    learning,
    nodes,
    run_both,
    spikes,
    torch,
    weights,
)

pytestmark = pytest.mark.framework

STEPS = 500
PRE, POST = 7, 5
RATES = {"nu": (2.0**-7, 2.0**-6)}


def rule_cases(rng: Any, batch: int) -> dict[str, dict[str, Any]]:
    """Return the options of a connection by a name of the case."""
    lower = torch.tensor(rng.uniform(0, 1, (PRE, POST)), dtype=torch.float32)
    mask_free = {"wmin": 0.0, "wmax": 6.0}
    cases: dict[str, dict[str, Any]] = {
        "postpre": {"update_rule": learning.PostPre, **RATES, **mask_free, "norm": 14.0},
        "tensors": {
            "update_rule": learning.PostPre, "wmin": lower, "wmax": 2.0 * lower + 1,
            "nu": [torch.tensor([2.0**-k for k in range(3, 3 + POST)])] * 2,
        },
        "weight": {"update_rule": learning.WeightDependentPostPre, **RATES, **mask_free},
        "hebbian": {"update_rule": learning.Hebbian, **RATES, "wmax": 4.0},
        "mean": {"update_rule": learning.Hebbian, **RATES, **mask_free, "reduction": torch.mean},
        "cook": {
            "update_rule": learning.DiehlAndCook, "nu": 0.01, **mask_free, "x_tar": 0.4, "mu": 2.0,
        },
        "mstdp": {"update_rule": learning.MSTDP, "nu": 0.013, **mask_free, "tc_plus": 9.0},
        "nolag": {"update_rule": learning.MSTDP, "nu": 0.021, "wmax": 9.0, "zero_lag": True},
        "mstdpet": {"update_rule": learning.MSTDPET, "nu": 0.3, "wmin": -1.0, "tc_e_trace": 12.0},
        "etnolag": {"update_rule": learning.MSTDPET, "nu": 0.2, **mask_free, "zero_lag": True},
        "still": {"norm": 9.0},
    }  # fmt: skip
    if batch == 1:
        cases["postpre"]["nu"] = (1.3e-3, 1e-2)
        cases["hebbian"]["nu"] = (1.1e-3, 7e-4)
        cases["wane"] = {"weight_decay": 2.0**-9}
        cases["decaying"] = {"update_rule": learning.PostPre, "nu": 0.04, "weight_decay": 0.013}
    return cases


#: Sources and targets that the cases share out among them.
WAYS = 4


def alone(seed: int) -> tuple[Any, dict[str, Any]]:
    """Return a network with a connection for every case, for one sample, and its input."""
    rng = RNG(seed)
    net = Network(dt=(1.0, 0.5, 2.0)[seed])
    x = {f"X{way}": spikes(rng, STEPS, 1, (PRE,), 0.15) for way in range(WAYS)}
    for way in range(WAYS):
        net.add_layer(nodes.Input(PRE, traces=True, traces_additive=True), f"X{way}")
        layer = nodes.LIFNodes(POST, traces=True, traces_additive=way > 1, thresh=-58.0)
        net.add_layer(layer, f"A{way}")
    cases = rule_cases(rng, 1)
    few = weights(rng, PRE, POST, 4.0, dyadic=False)
    few[few < 2] = 0
    sparse = {"update_rule": learning.PostPre, "nu": (1e-3, 1e-2), "w": few}
    for place, options in enumerate([*cases.values(), sparse]):
        start = {"w": weights(rng, PRE, POST, 4.0, dyadic=False)}
        kind = "SparseConnection" if options is sparse else "Connection"
        connect(net, f"X{place % WAYS}", f"A{place // WAYS}", kind, **(start | options))
    return net, x


def together(seed: int, batch: int) -> tuple[Any, dict[str, Any]]:
    """Return the same for several samples.

    Torch then adds currents, and pairs of spikes of different samples, up in orders that depend on
    the machine. So no weight decides a spike here, and what is learned are whole multiples of a
    power of two: traces are halved in a step, and every neuron fires in every sixth step.
    """
    rng = RNG(seed)
    net = Network(dt=1.0, batch_size=batch)
    x = {f"X{way}": spikes(rng, STEPS, batch, (PRE,)) for way in range(WAYS)}
    for way in range(WAYS):
        x[f"X{way}"][5 - seed :: 6] = 1.0
        net.add_layer(nodes.Input(PRE, traces=True), f"X{way}")
        net.add_layer(nodes.McCullochPitts(POST, traces=True, thresh=500.0), f"A{way}")
        drive = np.where(rng.random((STEPS, batch, POST)) < 0.2, 1024.0, -1024.0)
        drive[seed::6] = 1024.0
        x[f"A{way}.input"] = drive.astype(np.float32)
    for layer in net.layers.values():
        layer.trace_decay = torch.tensor(0.5)
    for place, options in enumerate(rule_cases(rng, batch).values()):
        start = weights(rng, PRE, POST, 4.0, dyadic=True)
        connect(net, f"X{place % WAYS}", f"A{place // WAYS}", w=start, **options)
    return net, x


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_every_rule(seed: int, batch: int) -> None:
    net, x = alone(seed) if batch == 1 else together(seed, batch)
    edges = net.connections.items()
    before = {f"{a}_to_{b}": c.w.to_dense().numpy().T.copy() for (a, b), c in edges}
    minus = next(edge for edge, c in edges if getattr(c.update_rule, "zero_lag", False))
    graph, found = run_both(
        net, x, seed, reward=0.75, loose=lambda name: batch > 1 and name.endswith(":v"),
        a_plus=0.9, a_minus={minus: -0.4},
        inputs=[name.removesuffix(".input") for name in x if name.endswith(".input")],
    )  # fmt: skip
    assert len(found) > 10
    assert all(np.any(found[name] != before[name]) for name in found)
    assert graph.inputs["reward"].shape == (1,)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rmax(seed: int) -> None:
    """With torch's exp, in the target `torch`, all is the same; in NumPy's to rounding."""
    rng = RNG(seed)
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(PRE, traces=True, traces_additive=True), "X")
    net.add_layer(nodes.SRM0Nodes(POST, traces=True), "A")
    start = weights(rng, PRE, POST, 9.0, dyadic=False)
    connect(net, "X", "A", w=start, update_rule=learning.Rmax, nu=0.02, wmax=20.0)
    x = {"X": spikes(rng, STEPS, 1, (PRE,))}
    run_both(net, x, seed, reward=0.5, target="torch")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nearest_traces_masks_and_bounds(seed: int) -> None:
    """Traces of the last spike, a mask, Dale's rule as BindsNET has it, local connections."""
    rng = RNG(seed)
    np.random.seed(seed)
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(16, traces=True, trace_scale=0.5), "X")
    for name in ("masked", "dale", "local"):
        layer = nodes.AdaptiveLIFNodes(4, traces=True, trace_scale=2.0, thresh=-60.0)
        net.add_layer(layer, name)
    start = weights(rng, 16, 4, 3.0, dyadic=False)
    learns = {"update_rule": learning.PostPre, "nu": (1e-3, 1e-2), "wmin": 0.0, "wmax": 4.0}
    connect(net, "X", "masked", w=start.clone(), **learns)
    dale = torch.tensor(rng.random((16, 4)) < 0.5)
    connect(net, "X", "dale", w=start.clone(), Dales_rule=dale, **learns)
    connect(
        net, "X", "local", "LocalConnection", kernel_size=2, stride=2, n_filters=1, norm=1.0,
        **learns,
    )  # fmt: skip
    connect(net, "masked", "dale", w=weights(rng, 4, 4, 9.0, dyadic=False))
    mask = torch.tensor(rng.random((16, 4)) < 0.3)
    x = {"X": spikes(rng, STEPS, 1, (16,))}
    graph, found = run_both(net, x, seed, masks={("X", "masked"): mask})
    assert not found["X_to_masked"][mask.numpy().T].any()
    assert not found["X_to_dale"].any()
    assert not found["X_to_local"][net.connections["X", "local"].mask.numpy().T].any()
    assert any("Dales_rule" in note for note in graph.provenance.notes)


def test_frozen() -> None:
    """A network that does not learn keeps weights and thresholds; normalisation goes on."""
    net, x = alone(1)
    net.add_layer(nodes.AdaptiveLIFNodes(POST, traces=True, thresh=-60.0), "theta")
    net.layers["theta"].theta = torch.linspace(0, 2, POST)
    connect(net, "X0", "theta", w=weights(RNG(3), PRE, POST, 8.0, dyadic=True))
    net.train(False)
    graph, found = run_both(net, {name: array[:200] for name, array in x.items()})
    assert "reward" not in graph.inputs
    assert isinstance(graph.nodes["X0_to_theta"].op, Linear)
    still = next(edge for edge, c in net.connections.items() if c.norm == 9.0)
    np.testing.assert_allclose(found["_to_".join(still)].sum(axis=1), 9.0, rtol=1e-6)
    assert not graph.nodes["theta"].op.program.lasting  # type: ignore[attr-defined]


def test_what_lasts_is_what_bindsnet_keeps() -> None:
    """Three samples one after the other: weights and thresholds go on, the rest starts anew."""
    rng = RNG(4)
    net = Network(dt=1.0)
    net.add_layer(nodes.Input(PRE, traces=True), "X")
    net.add_layer(nodes.DiehlAndCookNodes(POST, traces=True, thresh=-60.0), "A")
    net.add_layer(nodes.LIFNodes(POST, traces=True), "B")
    connect(
        net, "X", "A", w=weights(rng, PRE, POST, 6.0, dyadic=False), norm=20.0, wmin=0.0, wmax=8.0,
        update_rule=learning.PostPre, nu=(1e-3, 1e-2),
    )  # fmt: skip
    connect(net, "A", "B", w=22.5 * torch.eye(POST))
    connect(net, "B", "A", w=-120.0 * (1 - torch.eye(POST)))
    graph = snnir.from_bindsnet(net, draws="input")
    network_of_graph = snnir.compile(graph)
    lasting: Any = None
    for sample in range(3):
        torch.manual_seed(sample)
        x = spikes(rng, 100, 1, (PRE,), 0.5)
        draws = snnir.bindsnet_draws(net, x)
        net.reset_state_variables()
        net.run({"X": torch.tensor(x)}, time=100)
        lasting = network_of_graph.run({"X": x, **draws}, lasting=lasting).lasting
        w = net.connections["X", "A"].w
        assert np.array_equal(lasting["X_to_A:w"], w.numpy().T)
        assert np.array_equal(lasting["A:theta"], net.layers["A"].theta.numpy())
    assert lasting["A:theta"].any()
