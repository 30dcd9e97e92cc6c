"""Step programs, the LIF family against plain loops, and closed forms."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.dynamics import Dynamics, Let, State, dynamics
from snnir.dynamics.evaluate import neuron_function
from snnir.ir import Neuron
from snnir.streams import Kind
from tests.helpers import continuous, lif_step, spikes

F = np.float32


def run_step(step: Any, x: Any) -> tuple[Any, Any]:
    values = {name: p.numpy() for name, p in step.params.items()}
    inner = np.float64 if step.program.dtype == "f64" else F
    function = neuron_function(step.program, values, inner, F)
    shape = x[0].shape
    states = {
        s.name: np.full(
            shape, values[s.initial] if isinstance(s.initial, str) else s.initial, inner
        )
        for s in step.program.states
    }
    out, v = [], []
    for now in x:
        out.append(function(now, states)[0])
        v.append(states["v"].copy())
    return np.stack(out), np.stack(v)


def reference(x: Any, reset: str, timing: str, fire: str) -> tuple[Any, Any]:
    """snnTorch's own formulas, written out in float32 (`reference` of the framework's forward)."""
    beta, thr = F(0.875), F(1.0)
    v = np.zeros_like(x[0])
    out, trace = [], []

    def fires(h: Any) -> Any:
        return (h >= thr if fire == "ge" else h > thr).astype(F)

    for now in x:
        r = fires(v)
        if timing == "same-step":
            h = beta * v + now
            s = fires(h)
            v = np.where(s > 0, F(0), h) if reset == "zero" else h - s * thr
        elif timing == "next-step-before-decay":
            kept = (F(1) - r) * v if reset == "zero" else v - r * thr
            h = beta * kept + now
            s, v = fires(h), h
        else:
            h = beta * v + now
            h = h - r * (h if reset == "zero" else thr)
            s = fires(h)
            v = h if timing == "next-step" else h - (s - r) * (h if reset == "zero" else thr)
        out.append(s)
        trace.append(v)
    return np.stack(out), np.stack(trace)


TIMINGS = ["same-step", "next-step", "next-step-before-decay", "net"]


@pytest.mark.parametrize(
    ("reset", "timing", "fire"),
    list(itertools.product(["zero", "subtract"], TIMINGS, ["gt", "ge"])),
)
def test_reset_and_timing(reset: str, timing: str, fire: str) -> None:
    x = (spikes((80, 2, 16), 0.5) - F(0.125)) * F(1.125)
    x[::7] = F(1.0)  # exact ties
    step = lif_step(reset=reset, reset_timing=timing, fire=fire)
    found, v = run_step(step, x)
    expected, trace = reference(x, reset, timing, fire)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(v.view(np.uint32), trace.astype(F).view(np.uint32))


def test_multi_spikes_are_counts_and_capped() -> None:
    x = np.full((3, 1, 1), 2.5, F)
    step = lif_step(spikes="multi", reset="subtract")
    assert step.program.outputs[0][1] is Kind.COUNTS
    assert run_step(step, x)[0][0, 0, 0] == 2
    assert run_step(lif_step(spikes="multi", spike_cap=1, reset="subtract"), x)[0].max() == 1


def test_refractory_steps_hold_and_mute() -> None:
    found, _ = run_step(lif_step(refractory=2), np.full((9, 1, 1), 2.0, F))
    assert found[:, 0, 0].tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 0]


def test_clamps() -> None:
    low = np.full((4, 1, 1), -5.0, F)
    assert run_step(lif_step(clamp="max"), low)[1].min() == -1
    assert run_step(lif_step(clamp="relu"), low)[1].min() == -1
    # relu(v - min) + min rounds above the floor, max does not
    fine = np.full((1, 1, 1), 1e-8, F)
    assert run_step(lif_step(clamp="max"), fine)[1][0, 0, 0] == F(1e-8)
    assert run_step(lif_step(clamp="relu"), fine)[1][0, 0, 0] == 0


def test_fixed_point_states_are_whole() -> None:
    x = spikes((50, 1, 8), 0.4) * F(0.3)
    _, v = run_step(lif_step(membrane="fixed", synapse="fixed"), x)
    np.testing.assert_array_equal(v, np.trunc(v))


def test_synapse_orders_differ_by_a_step() -> None:
    x = np.zeros((4, 1, 1), F)
    x[0] = 1
    never = {"synapse": "factor", "fire": "never", "reset": "none"}
    jump = run_step(lif_step(**never), x)[1][:, 0, 0]
    late = run_step(lif_step(**never, synapse_order="late"), x)[1][:, 0, 0]
    np.testing.assert_array_equal(late[1:], jump[:-1])


def test_wrong_attributes_are_named() -> None:
    with pytest.raises(snnir.SnnirError, match="reset is 'never'"):
        snnir.LifStep(reset="never")
    with pytest.raises(snnir.SnnirError, match="reset_timing"):
        snnir.LifStep(reset="to", reset_timing="net")


def test_tracing_refuses_python_branches() -> None:
    with pytest.raises(snnir.SnnirError, match="select"):

        @dynamics(params={}, states={"v": 0.0})
        def branchy(x: Any, v: Any) -> Any:
            return {"v": x if x > v else v}, x > v


def test_bad_programs_are_rejected() -> None:
    body = (Let("h", "add", ("v", "nope")), Let("h", "frob", ("v",)), Let("v", "neg", ("x", "x")))
    bad = Dynamics("bad", ("x",), (), (State("v", "w"),), body, (), (("h", Kind.SPIKES),))
    with pytest.raises(snnir.SnnirError) as caught:
        bad.types()
    text = str(caught.value)
    for part in ("'nope'", "defined twice", "frob", "takes 1", "unknown 'w'", "updates"):
        assert part in text


# ------------------------------------------------------------------ closed forms


def simulate(graph: snnir.Graph, x: Any, record: list[str]) -> snnir.Result:
    return snnir.compile(graph, precision="float64").run(x, record)


@pytest.mark.parametrize("tau", [2e-3, 5e-3, 2e-2])
def test_exact_step_response(tau: float) -> None:
    graph = continuous(tau=tau, r=2.0, v_leak=0.25, v_threshold=1e9)
    steps, current, dt = 200, 0.7, 1e-3
    result = simulate(graph, np.full((steps, 1, 1), current), ["n:v"])
    t = (np.arange(steps) + 1) * dt
    analytic = (0.25 + 2 * current) * (1 - np.exp(-t / tau))
    assert np.abs(result.recorded["n:v"][:, 0, 0] - analytic).max() < 1e-12
    single = snnir.compile(graph).run(np.full((steps, 1, 1), current), ["n:v"])
    assert np.abs(single.recorded["n:v"][:, 0, 0] - analytic).max() < 1e-6


@pytest.mark.parametrize("current", [1.2, 1.5, 3.0])
def test_exact_spike_times(current: float) -> None:
    tau, dt = 2e-2, 1e-3
    graph = continuous(tau=tau, r=1.0, v_leak=0.0, v_threshold=1.0)
    output = simulate(graph, np.full((300, 1, 1), current), []).output[:, 0, 0]
    period = int(np.floor(tau * np.log(current / (current - 1)) / dt)) + 1
    np.testing.assert_array_equal(np.flatnonzero(output), np.arange(period, 301, period) - 1)


@pytest.mark.parametrize("tau_syn", [3e-3, 1e-2, 1e-2 + 1e-15])
def test_exact_current_based_response(tau_syn: float) -> None:
    """The coupled flow, also where both time constants meet; x held over the step."""
    tau, steps, dt, w, r = 1e-2, 120, 1e-3, 1.5, 2.0
    nodes = continuous("cubali", tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=0.0, w_in=w)
    v = simulate(nodes, np.ones((steps, 1, 1)), ["n:v"]).recorded["n:v"][:, 0, 0]
    fine = 4000
    i = m = 0.0
    expected = []
    for _ in range(steps):
        for _ in range(fine):  # midpoint rule, far finer than the step
            h = dt / fine
            i_mid = i + h / 2 * (w - i) / tau_syn
            m_mid = m + h / 2 * (r * i - m) / tau
            i, m = i + h * (w - i_mid) / tau_syn, m + h * (r * i_mid - m_mid) / tau
        expected.append(m)
        if len(expected) == 25:
            break
    assert np.abs(v[:25] - expected).max() < 1e-9


@pytest.mark.parametrize("name", ["euler", "exponential_euler", "semi_implicit", "exact"])
def test_integrators_converge_to_the_flow(name: str) -> None:
    graph = continuous(tau=0.5, r=1.0, v_leak=0.0, v_threshold=9.0)
    op = graph["n"].op
    editor = graph.edit()
    assert isinstance(op, Neuron)
    editor.set_op("n", Neuron(op.model, op.params, snnir.Stepping(integrator=name)))
    v = simulate(editor.graph(), np.ones((500, 1, 1)), ["n:v"]).recorded["n:v"][-1, 0, 0]
    error = abs(v - (1 - np.exp(-1.0)))
    assert error < (1e-12 if name.startswith("ex") else 1e-3)


def test_flow_models_spike() -> None:
    values = {"a": 20.0, "b": 0.2, "d": 8.0, "v_threshold": 30.0, "v_reset": -65.0}
    graph = continuous("izhikevich", **values)
    editor = graph.edit()
    op = graph["n"].op
    assert isinstance(op, Neuron)
    editor.set_op("n", Neuron(op.model, op.params, snnir.Stepping(integrator="euler")))
    output = snnir.compile(editor.graph(dt=2e-4)).run(np.full((2000, 1, 1), 10.0)).output
    assert 2 < output.sum() < 40
