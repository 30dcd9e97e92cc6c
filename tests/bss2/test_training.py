"""Training for the chip: weights of 6 bits, variation of neurons, recorded spikes in the loop."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

import snnir
from snnir.ir import Add, Delay, Graph, Input, Linear, Neuron, Op, Step
from snnir.streams import Kind, Signal
from snnir.targets.bss2.emulation.variation import Sigmas
from snnir.targets.bss2.target import Bss2Target
from snnir.targets.bss2.training.chip_net import ChipNet
from snnir.targets.bss2.training.grid import Grid
from snnir.targets.bss2.training.trainable import coupling, populations_of
from snnir.targets.bss2.training.variations import draw
from tests.helpers import feed_forward, graph, params, spikes

pytestmark = pytest.mark.framework

FAMILY = {item.name: 0.0 for item in fields(Sigmas)}
JUMP = snnir.Stepping(integrator="exponential_euler")


def neurons(model: str, stepping: snnir.Stepping = JUMP, **changes: float) -> Neuron:
    values = {"tau_mem": 8e-3, "tau_syn": 5e-3, "r": 1.0, "v_leak": 0.0, "w_in": 6.0}
    if model == "cubalif":
        values |= {"v_threshold": 1.0, "v_reset": 0.0}
    given = {name: np.float64(changes.get(name, v)) for name, v in values.items()}
    return Neuron(model, params(**given), stepping)


def net_of(seed: int = 0, size: int = 6, recurrent: bool = False, **options: Any) -> Graph:
    """8 channels, `size` neurons (that also feed each other), 2 readouts."""
    rng = np.random.default_rng(seed)

    def linear(out: int, width: int, mean: float = 0.1) -> Linear:
        return Linear(snnir.tensor(rng.normal(mean, 0.4, (out, width)).astype(np.float32)))

    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(Kind.SPIKES, (8,))), []),
        "fc1": (linear(size, 8, 0.4), ["input"]),
        "hidden": (neurons("cubalif", **options), ["fc1"]),
        "fc2": (linear(2, size), ["hidden"]),
        "readout": (neurons("cubali", **options), ["fc2"]),
    }
    if recurrent:
        nodes |= {
            "late": (Delay(1), ["hidden"]),
            "rec": (linear(size, size), ["late"]),
            "sum": (Add(), ["fc1", "rec"]),
            "hidden": (neurons("cubalif", **options), ["sum"]),
        }
    return graph(nodes, "readout", dt=1e-3).verify()


def x_of(steps: int = 20, batch: int = 4, seed: int = 0) -> Any:
    return torch.from_numpy(spikes((steps, batch, 8), 0.3, seed))


def weight(built: Graph, name: str) -> Any:
    return built.nodes[name].op.tensors()["weight"].numpy()


# --- Weights -------------------------------------------------------------------------------------


def test_gradients_pass_the_rounding() -> None:
    built, x = net_of(), x_of()
    net = snnir.train_for(built, "bss2")
    plain = snnir.to_torch(net.graph())
    assert not np.array_equal(weight(net.graph(), "fc1"), weight(built, "fc1"))
    for own in (net, plain):
        own(x).pow(2).sum().backward()
    for name in ("fc1.weight", "fc2.weight"):
        found, wanted = net.net.tensor(name).grad, plain.tensor(name).grad
        assert float(wanted.abs().max()) > 0
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_every_neuron_has_its_unit_over_all_synapses() -> None:
    built = net_of(recurrent=True)
    net = snnir.train_for(built, "bss2")
    after, unit = net.graph(), net.units()["hidden"][:, None]
    rows = np.concatenate([weight(built, "fc1"), weight(built, "rec")], axis=1)
    found = np.concatenate([weight(after, "fc1"), weight(after, "rec")], axis=1)
    whole = found / unit
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-4)
    assert 60 <= np.abs(np.rint(whole)).max(1).min() <= np.abs(np.rint(whole)).max() <= 63
    assert len(np.unique(unit)) == 6
    error = np.abs(found - rows) / unit
    # The largest may be cut to 63, where the grid became finer.
    assert 0.4 < error.max() < 1.2
    assert np.sort(error.ravel())[-7] <= 0.5001


def with_biases(built: Graph, size: float) -> Graph:
    rng = np.random.default_rng(7)
    editor = built.edit()
    for name in ("fc1", "fc2"):
        op = built.nodes[name].op
        assert isinstance(op, Linear)
        bias = (size * rng.normal(0, 1, op.weight.shape[0])).astype(np.float32)
        editor.set_op(name, replace(op, bias=snnir.tensor(bias)))
    return editor.graph().verify()


@pytest.mark.parametrize("size", [0.0, 0.003, 0.3])
@pytest.mark.parametrize(
    "options", [{}, {"gain": 0.03}, {"gain": 0.6}, {"scale": "population"}, {"speedup": 700.0}]
)
def test_compiling_finds_the_integers_of_training(options: Any, size: float) -> None:
    """For every number of the chip: weights, events of biases, distances of thresholds."""
    for seed in range(2):
        built = net_of(seed, size=20, recurrent=seed == 1, v_reset=-0.25 * seed)
        built = with_biases(built, size) if size else built
        net = snnir.train_for(built, "bss2", **options)
        used, mapped = net._settled()
        compiled: Any = snnir.compile(net.graph(), "bss2", **options)
        plan = compiled.plan
        assert plan.every == mapped.every
        for name, own in plan.targets.items():
            for source, whole in own.weights.items():
                np.testing.assert_array_equal(whole, mapped.targets[name].weights[source])
            np.testing.assert_array_equal(own.constant, mapped.targets[name].constant)
        hidden, lsb = plan.targets["hidden"], net.lsb_per_unit()["hidden"]
        np.testing.assert_allclose(hidden.threshold - hidden.leak, lsb)
        np.testing.assert_allclose(hidden.weights["input"] * net.units()["hidden"][:, None],
                                   used["fc1.weight"], rtol=2e-6, atol=1e-9)  # fmt: skip
        if size:
            bias = built.nodes["fc1"].op.tensors()["bias"].numpy()
            error = np.abs(used["fc1.bias"] - bias) * plan.every / net.units()["hidden"]
            assert 0.2 < error.max() < 0.501
            assert size == 0.3 or plan.every > 1
        assert np.abs(hidden.weights["input"]).max() > (20 if size < 0.3 else 5)


def test_grids_settle_for_weights_of_any_size() -> None:
    """Small and large distances, less capacitance, several synapses: none moves when rounded."""
    size = 4000
    built = net_of(size=size)
    synapses = {"hidden": ("fc1",), "readout": ("fc2",)}
    grid = Grid(built, Bss2Target().wishes(), synapses)
    scale = np.logspace(-2, 2, size)[:, None].astype(np.float32)
    tensors = {f"{name}.weight": weight(built, name) for name in ("fc1", "fc2")}
    tensors["fc1.weight"] = tensors["fc1.weight"] * scale
    used, mapped = grid.settled(tensors)
    assert mapped.same(grid.mapped(used))
    again, _ = grid.settled(used)
    for name, value in used.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-6)
    own, exact = mapped.targets["hidden"], grid.mapped(tensors).targets["hidden"]
    assert {16, 63} <= set(own.capacitance.tolist())
    largest = np.abs(own.weights["input"]).max(1)
    assert largest.max() > 100
    assert largest[np.abs(exact.weights["input"]).max(1) <= 63].max() == 63
    error = np.abs(used["fc1.weight"] - tensors["fc1.weight"]) * own.per_unit[:, None]
    assert error.max() < 1.1
    assert np.mean(error > 0.50001) < 0.01


def test_a_bias_of_all_is_one_per_neuron() -> None:
    built = net_of()
    op = built.nodes["fc1"].op
    assert isinstance(op, Linear)
    editor = built.edit()
    editor.set_op("fc1", replace(op, bias=snnir.tensor(np.float32(0.02))))
    net = snnir.train_for(editor.graph().verify(), "bss2")
    bias = net.graph().nodes["fc1"].op.tensors()["bias"].numpy()
    whole = bias * net._settled()[1].every / net.units()["hidden"]
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-4)
    assert np.rint(whole).min() > 0


def test_rounded_weights_stay_what_they_are() -> None:
    once = snnir.train_for(net_of(), "bss2").graph()
    twice = snnir.train_for(once, "bss2").graph()
    for name in ("fc1", "fc2"):
        np.testing.assert_array_equal(weight(once, name), weight(twice, name))
    assert not np.array_equal(weight(once, "fc1"), weight(net_of(), "fc1"))


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    "rules",
    [
        {"integrator": "exact"},
        {"integrator": "exponential_euler"},
        {"integrator": "euler", "synapse_order": "late"},
        {"integrator": "exponential_euler", "synapse_order": "decay-input", "refractory": 2},
    ],
)
def test_a_chip_without_mismatch_runs_the_graph(recurrent: bool, rules: Any) -> None:
    stepping = snnir.Stepping(start="leak", **rules)
    built = net_of(recurrent=recurrent, stepping=stepping, v_leak=0.125, v_reset=-0.25)
    net = snnir.train_for(built, "bss2", precision="reproducible")
    x = x_of()
    with torch.no_grad():
        found = net(x).numpy()
    wanted = snnir.compile(net.graph(), level=0).run(x.numpy(), ["hidden"])
    assert wanted.recorded["hidden"].sum() > 20
    np.testing.assert_allclose(found, wanted.output, atol=1e-4)


def test_real_weights_without_bits() -> None:
    built = net_of()
    after = snnir.train_for(built, "bss2", weight_bits=None).graph()
    np.testing.assert_array_equal(weight(after, "fc1"), weight(built, "fc1"))


# --- Variation -----------------------------------------------------------------------------------


def test_draws_have_the_sigmas_and_repeat() -> None:
    sigmas = Sigmas(2, 1, 3, 0.1, 0.05, 0.02, 0.03, 4)
    shapes = {"w": (300, 100), "b": ()}
    size = 20_000
    one, again, other = (draw(size, shapes, sigmas, 7, k) for k in (0, 0, 1))
    wanted = {"leak": (0, 2), "reset": (0, 1), "threshold": (0, 3), "cadc_offset": (0, 4),
              "tau_mem": (1, 0.1), "tau_syn": (1, 0.05), "gain": (1, 0.02)}  # fmt: skip
    rows = []
    for name, (mean, sigma) in wanted.items():
        value = getattr(one, name)
        assert abs(value.mean() - mean) < 0.03 * sigma
        assert abs(value.std() / sigma - 1) < 0.03
        np.testing.assert_array_equal(value, getattr(again, name))
        assert not np.array_equal(value, getattr(other, name))
        rows += list(value) if value.ndim == 2 else [value]
    related = np.corrcoef(np.stack(rows)) - np.eye(8)
    assert np.abs(related).max() < 0.03
    assert abs(one.synapses["w"].std() / 0.03 - 1) < 0.03
    assert one.synapses["w"].shape == (300, 100)
    assert one.synapses["b"].shape == ()
    np.testing.assert_array_equal(one.synapses["w"], again.synapses["w"])


def test_wild_draws_stay_positive() -> None:
    found = draw(1000, {}, Sigmas(tau_mem=2, gain=2), 0)
    assert found.tau_mem.min() == found.gain.min() == 0.1


def run(net: Any, x: Any) -> Any:
    with torch.no_grad():
        return net(x).numpy()


def test_chips_differ_and_repeat() -> None:
    x = x_of()
    net = snnir.train_for(net_of(), "bss2", mismatch=True, seed=3)
    first, second = run(net, x), run(net, x)
    assert not np.array_equal(first, second)
    other = snnir.train_for(net_of(), "bss2", mismatch=True, seed=3)
    np.testing.assert_array_equal(first, run(other, x))
    net.eval()
    plain = snnir.train_for(net_of(), "bss2")
    np.testing.assert_array_equal(run(net, x), run(plain, x))
    net.chip = 5
    chip = run(net, x)
    np.testing.assert_array_equal(chip, run(net, x))
    assert not np.array_equal(chip, run(plain, x))
    fixed = snnir.train_for(net_of(), "bss2", mismatch=True, resample="fixed", seed=5)
    np.testing.assert_array_equal(chip, run(fixed, x))
    np.testing.assert_array_equal(chip, run(fixed, x))


def test_what_a_mismatch_does_to_a_membrane() -> None:
    """A readout against the closed solution of its equations with other constants."""
    built = net_of()
    sigmas = {**FAMILY, "tau_mem": 0.2, "tau_syn": 0.2, "leak": 4.0, "gain": 0.1,
              "synapse": 0.1, "cadc_offset": 3.0}  # fmt: skip
    net = snnir.train_for(built, "bss2", mismatch=sigmas, resample="fixed", seed=2)
    lsb = net.lsb_per_unit()["readout"]
    varied = draw(2, {"fc2.weight": (2, 6)}, Sigmas(**sigmas), 2, 1)
    observed = {"hidden": torch.zeros(30, 1, 6)}
    observed["hidden"][4, 0, 1] = 1  # one spike at the begin of step 4
    with torch.no_grad():
        found = net(x_of(30, 1), observed)[:, 0].numpy()
    w = weight(net.graph(), "fc2")[:, 1]
    w = w * np.where(w > 0, varied.gain[0], varied.gain[1]) * varied.synapses["fc2.weight"][:, 1]
    tau_m, tau_s = 8 * varied.tau_mem, 5 * varied.tau_syn  # steps
    # The slope of a membrane of the nominal constants, by which the model's step says it.
    jump, moved = 6 * (1 - np.exp(-1 / 5)), 1 - np.exp(-1 / 8)
    slope = jump * moved / ((np.exp(-1 / 8) - np.exp(-1 / 5)) / (1 / 5 - 1 / 8))
    t = np.arange(1, 27)[:, None]  # since the spike, at ends of steps
    psp = slope * (np.exp(-t / tau_m) - np.exp(-t / tau_s)) / (1 / tau_s - 1 / tau_m)
    leak = (varied.leak + varied.cadc_offset) / lsb
    np.testing.assert_allclose(found[:4], np.broadcast_to(leak, (4, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[4:], w * psp + leak, rtol=1e-4, atol=1e-6)


def test_what_neurons_did_is_what_the_chip_of_a_number_does() -> None:
    net = snnir.train_for(net_of(), "bss2", mismatch=True, resample="fixed", seed=4)
    x = x_of()
    did = net.activity(x)
    assert torch.equal(did["readout"], torch.from_numpy(run(net, x)))
    assert set(did["hidden"].unique().tolist()) == {0.0, 1.0}
    plain = snnir.train_for(net_of(), "bss2")
    assert not torch.equal(did["hidden"], plain.activity(x)["hidden"])


@pytest.mark.parametrize(
    ("sigma", "param"), [("threshold", "threshold"), ("reset", "v_reset"), ("leak", "v_start")]
)
def test_potentials_vary_by_lsb_of_the_chip(sigma: str, param: str) -> None:
    """Twice the gain of the chip is twice the LSB to the threshold: half the mismatch."""
    built = net_of(size=40)
    nominal = 1.0 if sigma == "threshold" else 0.0
    found = []
    for gain in (0.1, 0.2):
        net = ChipNet(built, mismatch={**FAMILY, sigma: 2.0}, resample="fixed", gain=gain)
        assert net.mismatch is not None
        own = net._tensors(net._variation())[f"hidden.{param}"].numpy() - nominal
        shift = getattr(draw(40, {}, net.mismatch, 0, 0), sigma)
        np.testing.assert_allclose(own * net.lsb_per_unit()["hidden"], shift, rtol=1e-4, atol=1e-4)
        found.append(net.lsb_per_unit()["hidden"])
    free = (found[0] > 40) & (found[1] < 140)
    assert free.any()
    np.testing.assert_allclose(found[1][free] / found[0][free], 2.0, rtol=0.05)


def test_coupling_is_an_integral() -> None:
    t = (np.arange(100_000) + 0.5) / 100_000
    for tau_s, tau_m in ((5.0, 8.0), (6.0, 6.0), (8.0, 2.0)):
        wanted = np.mean(np.exp(-t / tau_s) * np.exp(-(1 - t) / tau_m))
        found = coupling(np.exp(-1 / np.array(tau_s)), np.exp(-1 / np.array(tau_m)))
        assert abs(found - wanted) < 1e-9


# --- In the loop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["eager", "auto"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_value_of_the_chip_and_the_gradient_of_the_model(backend: str, recurrent: bool) -> None:
    built, x = net_of(recurrent=recurrent), x_of()
    did = {
        "hidden": torch.from_numpy(spikes((20, 4, 6), 0.4, 9)),
        "readout": torch.randn(20, 4, 2, generator=torch.Generator().manual_seed(1)),
    }
    net = snnir.train_for(built, "bss2", backend=backend)
    found = net(x, did)
    assert torch.equal(found, did["readout"])
    with net.net.using(net._tensors(None), did):
        _, recorded, _ = net.net.simulate({"input": x}, ["hidden"])
    assert torch.equal(recorded["hidden"], did["hidden"])
    found.pow(2).sum().backward()
    grads = {name: p.grad for name, p in net.net.named_parameters() if p.grad is not None}
    assert all(float(g.abs().max()) > 0 for g in grads.values())
    # The readout's sum reads what was recorded: its gradient is known in closed form.
    alpha, beta = np.exp(-1 / 5), np.exp(-1 / 8)
    gain = (1 - beta) * 6 * (1 - alpha)
    upstream = (2 * did["readout"]).double().numpy()
    g_i, g_v = np.zeros((4, 2)), np.zeros((4, 2))
    wanted = np.zeros((2, 6))
    for t in range(19, -1, -1):
        g_v = beta * g_v + upstream[t]
        g_i = alpha * g_i + gain * g_v
        wanted += g_i.T @ did["hidden"][t].double().numpy()
    np.testing.assert_allclose(grads["fc2.weight"].numpy(), wanted, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("recurrent", [False, True])
def test_recording_what_the_model_does_changes_nothing(recurrent: bool) -> None:
    built, x = net_of(recurrent=recurrent), x_of()
    results = []
    for loop in (False, True):
        net = snnir.train_for(built, "bss2", precision="reproducible")
        did = {}
        if loop:
            with torch.no_grad(), net.net.using(net._tensors(None)):
                did = net.net.simulate({"input": x}, ["hidden", "readout"])[1]
        y = net(x, did)
        y.pow(2).sum().backward()
        results.append((y, [p.grad for p in net.parameters() if p.grad is not None]))
    (one, own), (two, others) = results
    assert torch.equal(one, two)
    for a, b in zip(own, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_an_observer_gets_the_graph_of_now() -> None:
    built, x = net_of(), x_of()
    asked = []

    def observe(now: Graph, given: Any) -> dict[str, Any]:
        asked.append(weight(now, "fc1"))
        return dict(snnir.compile(now, level=0).run(given, ["hidden"]).recorded)

    net = snnir.train_for(built, "bss2", observe=observe)
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        net(x).pow(2).mean().backward()
        optimiser.step()
    assert not np.array_equal(asked[0], asked[1])
    np.testing.assert_array_equal(asked[0], weight(snnir.train_for(built, "bss2").graph(), "fc1"))


def test_observations_that_do_not_fit() -> None:
    net, x = snnir.train_for(net_of(), "bss2"), x_of()
    with pytest.raises(ValueError, match="'fc1' is not a population of neurons"):
        net(x, {"fc1": torch.zeros(20, 4, 6)})
    with pytest.raises(ValueError, match=r"are \[20, 4, 5\], must be \[20, 4, 6\]"):
        net(x, {"hidden": torch.zeros(20, 4, 5)})
    assert net(x).shape == (20, 4, 2)


def halves(size: int) -> tuple[Any, Any]:
    """Events [T, B, 8], more of one half of the channels, and which."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size)
    rates = np.where((np.arange(8) < 4)[None] == (labels == 0)[:, None], 0.3, 0.1)
    x = (rng.random((25, size, 8)) < rates).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(labels)


def learn(net: Any, x: Any, target: Any, epochs: int, rate: float = 1e-2) -> None:
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(target)).split(100):
            optimiser.zero_grad()
            score = 4 * net(x[:, batch]).amax(0)
            torch.nn.functional.cross_entropy(score, target[batch]).backward()
            optimiser.step()


# --- The emulated chip in the loop ---------------------------------------------------------------

CHIP = {"mode": "mismatch", "seed": 3, "sigmas": "scale=2"}


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("conditions", [True, CHIP, {"cadc": "ideal", "cadc_period": 2.0}])
def test_forward_is_what_the_emulator_does(recurrent: bool, conditions: Any) -> None:
    built, x = net_of(recurrent=recurrent, size=12), x_of(steps=30)
    net = snnir.train_for(built, "bss2", in_the_loop=conditions, gain=0.25)
    asked = {} if conditions is True else conditions
    for _ in range(2):
        y = net(x)
        compiled: Any = snnir.compile(net.graph(), "bss2", gain=0.25)
        did = compiled.run(x.numpy(), ["hidden", "readout:v"], **asked)
        np.testing.assert_array_equal(y.detach().numpy(), did.output)
        assert did.recorded["hidden"].sum() > 20
        other = snnir.train_for(net.graph(), "bss2", gain=0.25)
        observed = {
            "hidden": torch.from_numpy(did.recorded["hidden"].astype(np.float32)),
            "readout": torch.from_numpy(did.recorded["readout:v"]),
        }
        for own in (net, other):
            own.zero_grad()
            own(x, None if own is net else observed).pow(2).sum().backward()
        pairs = zip(net.parameters(), other.parameters(), strict=True)
        for a, b in ((a.grad, b.grad) for a, b in pairs if b.grad is not None):
            assert float(b.abs().max()) > 0
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        with torch.no_grad():  # other weights, another chip
            for p in net.parameters():
                p.mul_(0.9 if p.requires_grad else 1.0)


def test_several_spikes_in_a_step_are_counted() -> None:
    built, x = net_of(w_in=120.0), 2 * x_of()
    net = snnir.train_for(built, "bss2", in_the_loop={"cadc": "ideal"}, refractory=0.05)
    assert net.observe is not None
    did = net.observe(net.graph(), x.numpy())
    assert did["hidden"].max() > 1
    y = net(x)
    np.testing.assert_array_equal(y.detach().numpy(), did["readout"])
    y.sum().backward()
    grad = net.net.tensor("fc2.weight").grad.numpy()
    # What a spike adds to all of a membrane's later values, times how many there were.
    alpha, beta = np.exp(-1 / 5), np.exp(-1 / 8)
    later = np.zeros(20)
    i = v = 0.0
    for k in range(20):
        i = alpha * i + (120 * (1 - alpha) if k == 0 else 0.0)
        v = beta * v + (1 - beta) * i
        later[k] = v
    worth = np.cumsum(later)[::-1]
    wanted = np.einsum("tbn,t->n", did["hidden"].astype(np.float64), worth)
    np.testing.assert_allclose(grad, np.broadcast_to(wanted, grad.shape), rtol=1e-4)


def test_every_batch_is_another_trial() -> None:
    x = x_of(steps=30)
    net = snnir.train_for(net_of(size=12), "bss2", in_the_loop={**CHIP, "noise_seed": 5})
    first, second = run(net, x), run(net, x)
    assert not np.array_equal(first, second)
    compiled: Any = snnir.compile(net.graph(), "bss2")
    for found, seed in ((first, 5), (second, 6)):
        wanted = compiled.run(x.numpy(), **CHIP, noise_seed=seed).output
        np.testing.assert_array_equal(found, wanted)


def test_events_that_are_no_counts() -> None:
    net = snnir.train_for(net_of(), "bss2", in_the_loop=True)
    with pytest.raises(snnir.SnnirError) as found:
        net(x_of() * 0.5)
    assert found.value.diagnostics[0].code == "SNN601"


def test_learning_on_one_chip() -> None:
    """Which of two halves of the channels is more active, on a chip far from its calibration."""
    torch.manual_seed(0)
    x, target = halves(300)
    chip = {"mode": "mismatch", "seed": 1, "sigmas": "scale=3"}
    net = snnir.train_for(
        net_of(size=12), "bss2", in_the_loop=chip, surrogate="superspike{alpha=20}"
    )

    def right() -> float:
        compiled: Any = snnir.compile(net.graph(), "bss2")
        found = compiled.run(x[:, 200:].numpy(), **chip).output
        return float((found.max(0).argmax(1) == target[200:].numpy()).mean())

    before = right()
    learn(net, x[:, :200], target[:200], epochs=10, rate=3e-2)
    assert before < 0.7
    assert right() > 0.85


# --- Learning ------------------------------------------------------------------------------------


def test_training_for_chips_that_vary() -> None:
    """Which of two halves of the channels is more active, on chips that were not trained on."""
    torch.manual_seed(0)
    x, target = halves(600)
    strong = {"threshold": 5.0, "gain": 0.15, "tau_mem": 0.2}
    net = snnir.train_for(
        net_of(size=20), "bss2", mismatch=strong, surrogate="superspike{alpha=20}"
    )

    def right() -> list[float]:
        net.eval()
        found = []
        for net.chip in range(1000, 1006):
            y = torch.from_numpy(run(net, x[:, 400:]).max(0).argmax(1))
            found.append(float((y == target[400:]).float().mean()))
        net.train()
        net.chip = None
        return found

    before = right()
    learn(net, x[:, :400], target[:400], epochs=25)
    after = right()
    assert np.mean(before) < 0.7
    assert np.mean(after) > 0.85


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight_bits": 0}, "weight_bits is 0"),
        ({"mismatch": {"noise": 1.0}}, "mismatch has no 'noise'"),
        ({"mismatch": {"gain": -1.0}}, "sigma of gain is -1.0"),
        ({"mismatch": "much"}, "mismatch: 'much' is not NAME=SIZE"),
        ({"mismatch": 3}, "mismatch is 3"),
        ({"mismatch": {"leak": float("nan")}}, "sigma of leak is nan"),
        ({"resample": "never"}, "resample is 'never'"),
        ({"seed": -1}, "seed is -1"),
        ({"weight_bits": 4}, "weight_bits is 4"),
        ({"gain": 0.0}, "gain is 0"),
        ({"speedup": -1.0}, "speedup is -1"),
        ({"in_the_loop": "mismatch"}, "in_the_loop is 'mismatch'"),
        ({"in_the_loop": {"modes": 1}}, "in the loop: 'modes' is no condition of a run"),
        ({"in_the_loop": {"mode": "real"}}, "there is no mode 'real'"),
        ({"in_the_loop": {"sigmas": "x=1"}}, "'x=1' is not NAME=SIZE"),
        ({"in_the_loop": True, "observe": dict}, "observe and in_the_loop are both given"),
        ({"slope": 3}, "has no option 'slope'"),
        ({"trained": "all"}, "trained is 'all'"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(snnir.SnnirError, match=said) as found:
        snnir.train_for(net_of(), "bss2", **options)
    assert found.value.diagnostics[0].code == "SNN503"


def test_a_chip_needs_a_step() -> None:
    stepped = net_of().apply("discretize").edit().graph(dt=None)
    with pytest.raises(snnir.SnnirError, match="the graph has no dt") as found:
        snnir.train_for(stepped, "bss2")
    assert found.value.diagnostics[0].code == "SNN501"


def test_what_calibration_does_not_reach_is_refused_before_training() -> None:
    with pytest.raises(snnir.SnnirError, match="tau_mem of neuron 0 is 0.008 s, 80 us"):
        snnir.train_for(net_of(), "bss2", speedup=100.0)
    with pytest.raises(snnir.SnnirError, match="rest 0, reset -20"):
        snnir.train_for(net_of(v_reset=-20.0), "bss2")


def test_weights_that_are_no_numbers() -> None:
    net = snnir.train_for(net_of(), "bss2")
    with torch.no_grad():
        net.net.tensor("fc2.weight")[0, 0] = float("nan")
    with pytest.raises(ValueError, match="fc2.weight is not finite"):
        net(x_of())


def test_other_targets_have_no_training() -> None:
    with pytest.raises(snnir.SnnirError, match="no trainer called 'bss'") as found:
        snnir.train_for(net_of(), "bss")
    assert "did you mean bss2?" in str(found.value)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "snnir.targets.bss2.training.chip_net")
    with pytest.raises(snnir.SnnirError, match="training needs torch"):
        snnir.train_for(net_of(), "bss2")


def test_networks_that_are_not_the_chips() -> None:
    with pytest.raises(snnir.SnnirError, match="no synaptic current"):
        snnir.train_for(feed_forward(), "bss2")
    editor = net_of().edit()
    editor.set_op("hidden", neurons("cubalif", snnir.Stepping(reset="subtract")))
    with pytest.raises(snnir.SnnirError, match="reset is subtract"):
        snnir.train_for(editor.graph(), "bss2")
    built = net_of()
    nodes = {name: (node.op, [v.node for v in node.operands]) for name, node in built.nodes.items()}
    nodes["fc3"] = (Linear(snnir.tensor(np.ones((2, 2), np.float32))), ["readout"])
    with pytest.raises(snnir.SnnirError, match="a sum that is not read by neurons"):
        snnir.train_for(graph(nodes, "fc3", dt=1e-3), "bss2")
    nodes["hidden2"] = (neurons("cubalif"), ["fc1"])
    with pytest.raises(snnir.SnnirError, match="synapses onto 'hidden' and 'hidden2' at once"):
        snnir.train_for(
            graph(
                {k: v for k, v in nodes.items() if k != "fc3"}
                | {"both": (Add(), ["hidden", "hidden2"])},
                "both",
                dt=1e-3,
            ),
            "bss2",
        )


def test_steps_are_taken_as_they_are() -> None:
    """A graph that is stepped already, and its slope."""
    stepped = net_of().apply("discretize")
    assert isinstance(stepped.nodes["hidden"].op, Step)
    found = populations_of(stepped)
    assert list(found) == ["hidden", "readout"]
    assert found["hidden"].synapses == ("fc1",)
    one = snnir.train_for(net_of(), "bss2").graph()
    two = snnir.train_for(stepped, "bss2").graph()
    np.testing.assert_allclose(weight(one, "fc1"), weight(two, "fc1"), rtol=1e-6)
