"""Populations as circuits: potentials, times and weights mean on the chip what they do in a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Step
from snnir.targets.bss2.mapping.calibration import NOMINAL_GAIN, Rules, map_population, rounded
from snnir.targets.bss2.mapping.clocks import choose_clocks
from snnir.targets.bss2.mapping.neurons import NotFit, chip_neurons
from snnir.targets.bss2.mapping.ranges import check_potentials, check_times, feasible_speedups
from snnir.targets.bss2.mapping.structure import Population, find_model
from tests.bss2 import nets
from tests.helpers import lif_step

RULES = Rules(
    dt=1.0, speedup=1000.0, gain=NOMINAL_GAIN, common=False, refractory=0.04, every=1, reach={}
)


def population(
    weights: Any, constant: float = 0.0, model: str = "cubalif", **changes: Any
) -> Population:
    matrix = np.atleast_2d(np.asarray(weights, float))
    size = len(matrix)
    own = chip_neurons(nets.neuron(model, **changes), (size,), nets.DT)
    return Population("n", (size,), own, {"x": matrix}, np.full(size, constant))


def course(tau_mem: float, tau_syn: float, rest: float, slope: float, time: float) -> Any:
    """Membrane over time after one event: dv/dt = (rest - v) / tau_mem + s, fine forward Euler."""
    steps = 200_000
    h, v, s, found = time / steps, rest, slope, []
    for _ in range(steps):
        v, s = v + h * ((rest - v) / tau_mem + s), s - h * s / tau_syn
        found.append(v)
    return np.array(found)


@pytest.mark.parametrize("changes", [
    {}, {"tau_syn": 2e-3}, {"tau_mem": 20e-3, "r": 2.5}, {"v_leak": 0.4, "v_reset": 0.3},
    {"v_threshold": 5.0, "v_leak": -1.0, "v_reset": -1.5},
])  # fmt: skip
def test_a_weight_moves_the_membrane_as_in_the_model(changes: dict[str, Any]) -> None:
    p = population([[0.5, -0.2, 0.05]], **changes)
    made = map_population(p, RULES)
    values = {"r": 1.0, "tau_mem": 6e-3, "tau_syn": 6e-3, "v_leak": 0.0} | changes
    # The model: tau_mem dv/dt = v_leak - v + r i, i jumps by the weight.
    model = course(
        values["tau_mem"], values["tau_syn"], values["v_leak"],
        0.5 * values["r"] / values["tau_mem"], 30e-3,
    )  # fmt: skip
    weight = 0.5 * made.per_unit[0]
    slope = weight * RULES.gain * 63 / made.capacitance[0]
    chip = course(made.tau_mem[0], made.tau_syn[0], float(made.leak[0]), slope, 30.0)
    shown = made.offset[0] + made.factor[0] * chip
    assert np.abs(shown - model).max() < 1e-6 * np.abs(model - values["v_leak"]).max() + 1e-9
    # The integers are the rounded weights, the largest of which uses the six bits.
    np.testing.assert_array_equal(
        made.weights["x"][0], rounded(np.array([0.5, -0.2, 0.05]) * made.per_unit[0])
    )
    assert made.threshold is not None
    assert made.largest <= 63
    assert made.largest >= 60 or made.threshold[0] == 210  # where distances end


def test_potentials_are_where_the_model_has_them() -> None:
    made = map_population(
        population([[1.0], [0.3]], v_leak=0.2, v_reset=-0.2, v_threshold=1.2), RULES
    )
    assert made.threshold is not None
    for lsb, volts in ((made.leak, 0.2), (made.reset, -0.2), (made.threshold, 1.2)):
        np.testing.assert_allclose(
            made.offset + made.factor * lsb, volts, atol=0.51 * made.factor.max()
        )
    assert made.potential_error <= 0.5
    assert ((made.reset >= 50) & (made.leak <= 160) & (made.threshold <= 210)).all()


def test_neurons_that_fire_by_themselves_rest_above_their_threshold() -> None:
    made = map_population(population([[1.0]], v_leak=1.2), RULES)
    assert made.threshold is not None
    assert made.leak[0] > made.threshold[0] > made.reset[0]


def test_every_neuron_uses_its_bits_unless_distances_run_out() -> None:
    weights = np.array([[0.01], [0.2], [0.5], [1.0], [1.6], [3.0], [20.0], [0.0]])
    made = map_population(population(weights), RULES)
    assert made.threshold is not None
    distance = made.threshold - made.leak
    integers = np.abs(made.weights["x"][:, 0])
    assert distance[0] == distance[1] == distance.max() == 140
    assert integers[0] < integers[1] < 63
    assert (integers[2:6] >= 60).all()
    assert (made.capacitance[:5] == 63).all()
    assert (distance[5], made.capacitance[5] < 63) == (40, True)
    assert integers[6] > 63  # several synapses
    assert (distance[6], made.capacitance[6]) == (20, 16)
    assert integers[7] == 0


def test_one_distance_for_all() -> None:
    made = map_population(population([[0.5], [1.0]]), replace(RULES, common=True))
    assert made.threshold is not None
    assert len(set(made.threshold)) == 1
    assert made.weights["x"][1, 0] == made.largest <= 63
    assert abs(made.weights["x"][0, 0] - made.largest / 2) <= 0.75


def test_a_measured_gain_makes_other_weights() -> None:
    p = population([[0.02]])
    low, high = (
        map_population(p, replace(RULES, gain=g)) for g in (NOMINAL_GAIN, 2 * NOMINAL_GAIN)
    )
    assert high.weights["x"][0, 0] == pytest.approx(low.weights["x"][0, 0] / 2, abs=1)


def test_membranes_that_are_read_share_a_scale_and_stay_in_the_converter() -> None:
    p = population([[0.5], [0.1]], model="cubali")
    made = map_population(p, RULES)
    assert made.threshold is None
    assert len(set(made.factor)) == 1
    wide = map_population(p, replace(RULES, reach={"n": (10.0, 5.0)}))
    assert wide.leak[0] == 150
    assert wide.largest < made.largest
    for volts, lsb in ((-10.0, 30.0), (5.0, 210.0)):
        assert (volts - wide.offset[0]) / wide.factor[0] == pytest.approx(lsb)


def test_biases_are_weights() -> None:
    made = map_population(population([[0.5]], constant=0.25), RULES)
    assert abs(made.constant[0] - made.weights["x"][0, 0] / 2) <= 0.75
    rare = map_population(population([[0.5]], constant=0.25), replace(RULES, every=2))
    assert rare.constant[0] == rare.weights["x"][0, 0]


def test_half_a_step_of_refractory_time_unless_there_is_another() -> None:
    for dt, wanted in ((1.0, 0.5), (10.0, 5.0), (0.01, 0.04), (100.0, 32.0)):
        rules = replace(RULES, refractory=0.0, dt=dt)
        assert map_population(population([[0.5]]), rules).refractory == wanted
    assert map_population(population([[0.5]]), replace(RULES, refractory=3.0)).refractory == 3.0


def test_rounding_is_half_away_from_zero() -> None:
    np.testing.assert_array_equal(
        rounded(np.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.49])), [1, -1, 2, 3, -3, 0]
    )


# --- What is lifted ------------------------------------------------------------------------------


def test_steps_keep_their_decays() -> None:
    step = lif_step(synapse="factor")
    found = chip_neurons(step, (3,), 1e-3)
    np.testing.assert_allclose(np.exp(-1e-3 / found.tau_mem), 0.875)
    np.testing.assert_allclose(np.exp(-1e-3 / found.tau_syn), 0.75)
    np.testing.assert_allclose(found.charge, 1e-3 / (0.25 * 0.125))


@pytest.mark.parametrize(("semantics", "charge"), [
    ("exact", 1e-3 * 2.0), ("jaxsnn", 4e-3 * 2.0), ("hxtorch", 4e-3 * 2.0), ("norse", 1e-3 * 2.0),
])  # fmt: skip
def test_what_a_spike_does_is_the_platforms(semantics: str, charge: float) -> None:
    op = nets.neuron("cubalif", semantics, tau_syn=4e-3, r=2.0)
    found = chip_neurons(op, (2,), 1e-3)
    np.testing.assert_allclose(found.charge, charge)
    np.testing.assert_allclose(found.tau_syn, 4e-3)


@pytest.mark.parametrize(("changes", "said"), [
    ({"reset": "subtract"}, "subtracts at a spike"),
    ({"reset": "none"}, "is never reset"),
    ({"reset": "zero-then-add"}, "adds its reset value"),
    ({"membrane": "integrate"}, "has no leak"),
    ({"membrane": "none"}, "has no leak"),
    ({"exposes_v": True}, "spikes and membrane"),
])  # fmt: skip
def test_what_no_circuit_is(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NotFit) as caught:
        chip_neurons(lif_step(**changes), (3,), 1e-3)
    assert said in caught.value.message


@pytest.mark.parametrize("model", ["if", "i", "adex", "izhikevich", "threshold"])
def test_other_models(model: str) -> None:
    from snnir.matrix import _neurons

    op, _ = _neurons()[model]
    with pytest.raises(NotFit):
        chip_neurons(op, (3,), 1e-3)  # type: ignore[arg-type]


def test_reset_above_the_threshold() -> None:
    with pytest.raises(NotFit) as caught:
        chip_neurons(nets.neuron(v_reset=[0.0, 1.5], v_threshold=[1.0, 1.0]), (2,), 1e-3)
    assert "neuron 1" in caught.value.message


# --- What does not fit ---------------------------------------------------------------------------


def test_feasible_speedups_fit_and_others_do_not() -> None:
    model = find_model(nets.feed_forward(4, 5, 2, tau_mem=20e-3, tau_syn=2e-3), nets.DT, None)
    assert not model.problems
    listed = list(model.populations.values())
    lowest, highest = feasible_speedups(listed)
    assert (lowest, highest) == pytest.approx((20e-3 / 60e-6, 2e-3 / 0.3e-6))
    for speedup, fits in (
        (lowest, True),
        (highest, True),
        (0.99 * lowest, False),
        (1.01 * highest, False),
    ):
        assert (not check_times(listed, speedup)) == fits
    (found,) = check_times(listed, 0.99 * lowest)
    assert found.node == "n0"
    assert "60" in found.message
    assert "333.4 to 6666" in str(found.hint)


def test_no_speedup_fits() -> None:
    model = find_model(nets.feed_forward(4, 5, 2, tau_mem=1.0, tau_syn=1e-3), nets.DT, None)
    found = check_times(model.populations.values(), 1000.0)
    assert any("no speed-up fits all" in str(d.hint) for d in found)


def test_a_reset_far_below_rest() -> None:
    p = population([[1.0]], v_reset=-1000.0)
    (found,) = check_potentials(p)
    assert "neuron 0" in found.message
    assert "refractory" in str(found.hint)
    reach = float(str(found.hint).split("reset of ")[1].split(" V")[0])
    assert not check_potentials(population([[1.0]], v_reset=reach + 1e-3))
    assert check_potentials(population([[1.0]], v_reset=reach - 0.2))


def test_neurons_without_a_current_need_consent() -> None:
    g = nets.graph(
        {
            "x": (nets.spikes(3), []),
            "fc": (nets.dense(2, 3, 0), ["x"]),
            "n": (nets.neuron("lif", "exact"), ["fc"]),
        },
        ["n"],
    )
    (problem,) = find_model(g, nets.DT, None).problems
    assert "tau-syn" in str(problem.hint)
    model = find_model(g, nets.DT, 0.5e-3)
    assert not model.problems
    np.testing.assert_allclose(model.populations["n"].neurons.tau_syn, 0.5e-3)
    assert any("synaptic current" in text for text in model.populations["n"].neurons.losses)


def test_quantised_steps_are_refused() -> None:
    g = nets.feed_forward(4, 5, 2).apply("discretize")
    assert all(isinstance(n.op, Step) for n in g.nodes.values() if n.op.name == "step")
    assert not find_model(g, nets.DT, None).problems
    whole = snnir.ir.Step(lif_step().program, lif_step().params)
    with pytest.raises(NotFit):
        chip_neurons(whole, (3,), 1e-3)


# --- Refractory times ----------------------------------------------------------------------------


def test_clocks_hold_neurons_as_long_as_asked_for() -> None:
    for times in ([0.5], [0.04], [0.04, 10.0, 32.0], [1.0, 1.0, 2.0], [0.3, 0.5, 20.0, 30.0]):
        wanted = np.array(times)
        clocks = choose_clocks(wanted)
        cycle = np.where(clocks.is_fast, 2.0**clocks.fast, 2.0**clocks.slow) * 0.008
        held = (clocks.counts - 1) * cycle
        assert (held <= wanted + 1e-9).all()
        assert ((held > wanted - cycle) & (held > 0)).all()
        assert clocks.error(wanted) == pytest.approx(np.max(np.abs(held - wanted) / wanted))
        assert clocks.error(wanted) < 0.05, times
        assert (clocks.counts <= 255).all()


def test_few_cycles_only_where_times_lie_far_apart() -> None:
    """What 255 cycles of a clock do not span is divided between the two."""
    clocks = choose_clocks(np.array([0.04, 0.1, 32.0]))
    assert clocks.is_fast.tolist() == [True, True, False]
    assert len(choose_clocks(np.zeros(0)).counts) == 0
