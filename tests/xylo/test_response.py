"""Curves of the LIF family, and the chip's neurons that are nearest to them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.dynamics.evaluate import neuron_function
from snnir.ir import Step
from snnir.targets.xylo.response import STEPS, chip_curves, curves, fit
from tests.helpers import lif_step
from tests.xylo.nets import cuba, lif

CHOICES = snnir.LifStep.CHOICES


def members() -> list[Step]:
    """Every membrane with every synapse that the family allows."""
    found = []
    orders = [
        ("none", "jump"),
        *itertools.product(("factor", "difference"), CHOICES["synapse_order"]),
    ]
    for (synapse, order), membrane, extra in itertools.product(
        orders, CHOICES["membrane"], (False, True)
    ):
        rules = {"leak": extra, "start": extra, "gain": extra}
        rules["synapse_leak"] = extra and synapse == "difference"
        try:
            found.append(lif_step(
                synapse=synapse, synapse_order=order, membrane=membrane, synapse_gain=True, **rules
            ))  # fmt: skip
        except (snnir.SnnirError, KeyError):
            continue
    return found


def stepped(op: Step, late: int) -> tuple[Any, Any]:
    """Run a neuron that cannot fire, with and without an event."""
    params: dict[str, Any] = {name: value.numpy() for name, value in op.params.items()}
    params["threshold"] = np.float64(np.inf)
    program = op.program
    state = {
        s.name: np.full((2, 1), params[s.initial] if isinstance(s.initial, str) else s.initial)
        for s in program.states
    }
    function = neuron_function(program, params, np.float64, np.float64)
    x = np.array([[1.0], [0.0]])
    course = []
    for step in range(200 + late):
        function(x if step == 0 else x * 0, state)
        course.append(state["v"][:, 0])
    one, rest = np.array(course[late:]).T
    return one - rest, rest


def test_curves_are_those_of_the_step_programs() -> None:
    compared = 0
    for op in members():
        rules = op.dynamics
        assert isinstance(rules, snnir.LifStep)
        if rules.membrane in ("none", "fixed"):
            continue
        late = int(rules.synapse != "none" and rules.synapse_order == "late")
        impulse, rest = stepped(op, late)
        found = curves(op, (1,), late)
        np.testing.assert_allclose(found.impulse[0, :200], impulse, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.rest[0, :200], rest, rtol=1e-8, atol=1e-9)
        compared += 1
    assert compared > 100


@pytest.mark.parametrize(("syn", "mem"), [(1, 1), (2, 5), (5, 2), (3, 3), (7, 4), (1, 0), (4, 15)])
def test_neurons_of_the_chip_are_found(syn: int, mem: int) -> None:
    """The right pair, not the one whose synapse and membrane have changed places."""
    alpha, beta = 1 - 2.0**-syn, 1 - 2.0**-mem
    op = cuba(np.float64(alpha), np.float64(beta))
    found = fit(curves(op, (1,), 0), np.zeros(1), np.array([beta]), direct=False)
    assert (found.dash_syn[0], found.dash_mem[0]) == (syn, mem)
    np.testing.assert_allclose(found.gain, 1.0, rtol=1e-6)
    assert found.error[0] == found.reset_error[0] == found.bias_error[0] == 0


@pytest.mark.parametrize("mem", range(16))
def test_neurons_without_a_synapse_are_found(mem: int) -> None:
    beta = 1 - 2.0**-mem
    found = fit(curves(lif(np.float64(beta)), (1,), 0), np.zeros(1), np.array([beta]), direct=True)
    assert (found.dash_syn[0], found.dash_mem[0]) == (1, mem)
    np.testing.assert_allclose(
        found.gain, 2.0, rtol=1e-6
    )  # currents are halved before they are seen


@pytest.mark.parametrize(("tau", "dash"), [(2.2, 1), (10.0, 3), (25.0, 5), (100.0, 7), (300.0, 8)])
def test_decays_are_about_the_logarithm_of_the_time_constant(tau: float, dash: int) -> None:
    """As the vendor converts them: round(log2(tau / dt))."""
    assert dash == round(np.log2(tau))
    beta = np.exp(-1 / tau)
    op = lif(np.float64(beta))
    found = fit(curves(op, (1,), 0), np.zeros(1), np.array([beta]), direct=True)
    assert abs(int(found.dash_mem[0]) - dash) <= 1
    assert 0 < found.error[0] < 0.25


@pytest.mark.parametrize("beside", [(-1, 0), (1, 1), (0, -1), (9, -9), (-99, 99)])
def test_neurons_beside_the_nearest(beside: tuple[int, int]) -> None:
    op = cuba(np.float64(0.75), np.float64(0.875))
    found = fit(curves(op, (1,), 0), np.zeros(1), np.array([0.875]), False, beside)
    syn, mem = min(max(2 + beside[0], 1), 15), min(max(3 + beside[1], 0), 15)
    assert (found.dash_syn[0], found.dash_mem[0]) == (syn, mem)
    assert found.error[0] > 0


def test_chip_curves_are_those_of_the_recurrence() -> None:
    syn, mem, found = chip_curves(direct=False)
    for row in range(0, len(syn), 7):
        a, b = 1 - 2.0 ** -syn[row], 1 - 2.0 ** -mem[row]
        i, v = 1.0, 0.0
        for step in range(60):
            i *= a
            v = b * v + i
            assert found[row, step] == pytest.approx(v, rel=1e-9)
    assert found.shape == (15 * 16, STEPS)


def test_constant_input_becomes_a_bias() -> None:
    """What flows through a synapse all the time is what it leads to in the end."""
    op = cuba(np.float64(0.5), np.float64(0.75))
    found = fit(curves(op, (1,), 0), np.array([0.3]), np.array([0.75]), direct=False)
    # The current settles at 0.3 * 0.5 / (1 - 0.5).
    assert found.bias[0] == pytest.approx(0.3, rel=1e-2)
    assert 0 < found.bias_error[0] < 0.05
    leak = Step(snnir.LifStep(leak=True), op.params.__class__({
        "beta": snnir.tensor(np.float64(0.75)), "bias": snnir.tensor(np.float64(0.2)),
        "threshold": snnir.tensor(1.0),
    }))  # fmt: skip
    found = fit(curves(leak, (1,), 0), np.zeros(1), np.array([0.75]), direct=True)
    assert found.bias[0] == pytest.approx(0.2, rel=1e-6)
    assert found.bias_error[0] == 0
