"""Odd numbers and sizes: each is right, or refused with its reason, and what is lost is said."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Linear, Op, Value
from snnir.tensors import Tensor
from tests.bss2 import checker, nets
from tests.bss2.reference import simulate
from tests.bss2.test_target import clocks


def dense(weight: Any, bias: Any = None) -> Linear:
    given = None if bias is None else Tensor(np.asarray(bias, np.float64))
    return Linear(Tensor(np.asarray(weight, np.float64)), given)


def alone(neuron: Op, weight: Any = ((0.5, 0.3),), bias: Any = None, dt: float = nets.DT) -> Graph:
    fc = dense(weight, bias)
    size = np.shape(weight)[1]
    nodes: Any = {"x": (nets.spikes(size), []), "fc": (fc, ["x"]), "n": (neuron, ["fc"])}
    return nets.graph(nodes, ["n"], dt)


def refused(g: Graph, **options: Any) -> str:
    """Return why; what is refused is refused by everything that asks."""
    problems = snnir.check(g, "bss2", **options)
    assert snnir.losses(g, "bss2", **options).level == "refused"
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.compile(g, "bss2", **options)
    assert caught.value.diagnostics
    return " ".join(f"{p.message} {p.hint}" for p in problems)


def said(g: Graph, **options: Any) -> dict[str, str]:
    return {one.node: one.what for one in snnir.losses(g, "bss2", **options).losses}


#: Of reasons for which such a number is refused.
WORDS = "finite", "speed-up", "its threshold is 0", "do not lie within"


@pytest.mark.parametrize("change", [
    {"tau_mem": np.inf}, {"tau_syn": np.inf}, {"tau_mem": 1e30}, {"tau_syn": 1e30},
    {"r": np.inf}, {"v_leak": -np.inf}, {"v_threshold": np.inf},
    {"tau_mem": 1e-30},
])  # fmt: skip
@pytest.mark.parametrize("semantics", ["jaxsnn", "exact", "snntorch"])
def test_numbers_that_no_circuit_has(change: dict[str, Any], semantics: str) -> None:
    g = alone(nets.neuron(semantics=semantics, **change))
    with np.errstate(all="ignore"):
        assert any(word in refused(g) for word in WORDS)


@pytest.mark.parametrize("size", [1e9, 1e20, 1e300])
def test_weights_beyond_all_integers(size: float) -> None:
    assert "largest weight would be" in refused(alone(nets.neuron(), [[size, -1.0]]))


def test_no_neurons() -> None:
    assert "no neurons" in refused(alone(nets.neuron(), np.zeros((0, 2))))


@pytest.mark.parametrize("dt", [1e-12, 1e-9, 1e9])
def test_steps_that_cannot_be_counted(dt: float) -> None:
    assert "can be counted" in refused(alone(nets.neuron(), dt=dt))


@pytest.mark.parametrize("model", ["lif", "li"])
def test_jumps_of_a_current_there_is_none_of(model: str) -> None:
    """With jaxsnn's semantics, neurons without a synaptic current are those of others."""
    mine, other = (
        nets.compiled(alone(nets.neuron(model, semantics)), tau_syn=0.5)
        for semantics in ("jaxsnn", "exact")
    )
    np.testing.assert_allclose(mine.plan.targets["n"].per_unit, other.plan.targets["n"].per_unit)


@pytest.mark.parametrize("ticks", [1.4, 2.5, 3.6, 125.0])
def test_biases_of_a_generator_are_as_strong_as_those_of_the_host(ticks: float) -> None:
    """Its period is a whole number of ticks; the weight makes up for the rounding."""
    dt = ticks * 8e-6
    g = alone(nets.neuron(), [[0.5, 0.3]], [30.0 * dt / nets.DT * 1e-2], dt)
    strength = {}
    for bias in ("host", "generator"):
        # A bias is rounded to an integer: large enough that this is little.
        plan = nets.compiled(g, bias=bias, bias_every=64).plan
        own = plan.targets["n"]
        strength[bias] = own.constant / own.per_unit / plan.period
    one, other = strength.values()
    np.testing.assert_allclose(one, other, rtol=0.02)
    plan = nets.compiled(g, bias="generator", bias_every=1).plan
    exact = plan.model.populations["n"].constant * plan.targets["n"].per_unit
    wanted = exact * plan.period / plan.step_ticks
    assert np.abs(plan.targets["n"].constant - wanted).max() <= 0.5


@pytest.mark.parametrize("ticks", [1.4, 2.5, 3.6])
def test_a_large_bias_of_a_generator_makes_up_for_its_period(ticks: float) -> None:
    """Here rounding to an integer does not hide that of the period."""
    g = alone(nets.neuron(), [[0.5, 0.3]], [0.4], ticks * 8e-6)
    plan = nets.compiled(g, bias="generator", bias_every=1).plan
    own = plan.targets["n"]
    assert plan.period != pytest.approx(plan.step_ticks, rel=0.05)
    wanted = 0.4 * own.per_unit * plan.period / plan.step_ticks
    np.testing.assert_allclose(own.constant, wanted, atol=0.5)
    assert abs(0.4 * own.per_unit - own.constant).min() > 1


def test_reports_say_how_far_membranes_are_read() -> None:
    g = nets.feed_forward(40, 3)
    text = said(g)["n0"]
    low, high = (
        float(part.strip(",")) for part in (text.split("from ")[1].split()[k] for k in (0, 2))
    )
    x = nets.events(60, 2, 40, 0.5)
    found = nets.compiled(g).run(x).output
    assert found.max() == pytest.approx(high, rel=1e-3)
    assert low < found.min()
    assert "calibrate" in text


def test_a_fitted_range_is_reported(tmp_path: Any) -> None:
    g = nets.feed_forward(40, 3)
    np.save(tmp_path / "x.npy", nets.events(60, 2, 40, 0.5))
    assert "calibrate" not in said(g, calibrate=str(tmp_path / "x.npy"))["n0"]


def test_inputs_to_calibrate_with_are_read_anew(tmp_path: Any) -> None:
    g = nets.feed_forward(40, 3)
    path = tmp_path / "x.npy"
    factors = []
    for rate in (0.05, 0.9):
        np.save(path, nets.events(60, 2, 40, rate))
        factors.append(nets.compiled(g, calibrate=str(path)).plan.targets["n0"].factor[0])
    assert factors[1] > 2 * factors[0]


@pytest.mark.parametrize("times", [(6e-3, 6e-3), (20e-3, 0.5e-3), (1.23457e-2, 3.4567e-3)])
def test_speedups_of_a_hint_fit(times: tuple[float, float]) -> None:
    g = alone(nets.neuron(tau_mem=times[0], tau_syn=times[1]))
    found = re.search(r"speed-ups from (\S+) to (\S+) fit", refused(g, speedup=1e5))
    assert found is not None
    for speedup in found.groups():
        assert snnir.check(g, "bss2", speedup=float(speedup)) == []


def test_a_given_current_fits_with_any_speedup() -> None:
    """It is in the chip's time, so that the membrane alone decides."""
    g = alone(nets.neuron("lif", "exact"))
    for speedup in (10.0, 1e6):
        text = refused(g, tau_syn=0.5, speedup=speedup)
        assert "speed-ups from 100 to 1.2e+04 fit" in text


@pytest.mark.parametrize("leak", [-2.345678, 0.123456, 0.912345])
def test_a_reset_of_a_hint_fits(leak: float) -> None:
    g = alone(nets.neuron(v_leak=leak, v_reset=-40.0))
    found = re.search(r"a reset of (\S+) V or more", refused(g))
    assert found is not None
    better = alone(nets.neuron(v_leak=leak, v_reset=float(found[1])))
    assert snnir.check(better, "bss2") == []


@pytest.mark.parametrize("size", [30.0, 100.0, 123.456])
def test_a_speedup_for_large_weights_fits(size: float) -> None:
    g = alone(nets.neuron(), [[size, 1.0]])
    found = re.search(r"--set speedup=(\S+);", refused(g, speedup=12000.0))
    assert found is not None
    assert snnir.check(g, "bss2", speedup=float(found[1])) == []


def test_dropped_delays_are_losses() -> None:
    assert "dropped" in said(nets.recurrent())["late"]


def test_late_records_are_losses() -> None:
    g = nets.feed_forward(3, 4, readout="cubalif")
    late = Graph(g.nodes, g.outputs, g.dt, record_offset=1)
    assert "1 step(s) later" in said(late)["n0"]
    assert "later" not in said(g)["n0"]


def test_fixed_point_is_reported() -> None:
    assert "1/4096" in said(alone(nets.neuron(semantics="lava")))["n"]


def test_one_population_is_several_outputs() -> None:
    g = nets.recurrent()
    both = Graph(g.nodes, {**g.outputs, "again": Value("li"), "spikes": Value("lif")}, g.dt)
    chip = nets.compiled(both)
    r = chip.run(nets.events(30, 2, 5, 0.2), ["lif"])
    np.testing.assert_array_equal(r.outputs["out0"], r.outputs["again"])
    np.testing.assert_array_equal(r.outputs["spikes"], r.recorded["lif"])
    assert checker.check(chip.facts) == []


@pytest.mark.framework
@pytest.mark.parametrize("name", ["RLeaky", "RSynaptic"])
def test_recurrent_cells_of_snntorch(name: str) -> None:
    """Their recurrence is a second input, which no gain of the first applies to."""
    snntorch = pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kinds = {"RLeaky": {}, "RSynaptic": {"alpha": 0.85}}
    cell = getattr(snntorch, name)(
        beta=0.8, linear_features=6, reset_mechanism="zero", init_hidden=True, **kinds[name]
    )
    g = snnir.from_torch(
        torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), cell), (4,), dt=1e-3
    )
    options = {"tau_syn": 0.3} if name == "RLeaky" else {}
    chip = nets.compiled(g, **options)
    x = nets.events(60, 2, 4, 0.3)
    names = list(snnir.populations(chip.graph))
    (own,) = chip.plan.model.populations.values()
    recurrent = cell.recurrent.weight.detach().numpy()
    np.testing.assert_allclose(own.weights[own.name], recurrent, rtol=1e-6)
    r = chip.run(x, names)
    wanted = simulate(chip.plan, {"input": x[:, 0]}, clocks(chip.facts))
    spikes = sum(map(len, wanted.values()))
    assert spikes > 10
    assert spikes == sum(r.recorded[n][:, 0].sum() for n in names)
