"""The engines: against each other in every bit, and against a second simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import snnir
from snnir.ir import Add, Delay, Graph
from snnir.streams import Kind
from snnir.targets.events.build import build_network
from snnir.targets.events.host import Simulator
from tests.events.nets import (
    JUMP,
    at,
    graph,
    linear,
    neuron,
    poisson,
    recurrent,
    seconds,
    single,
    source,
)
from tests.events.slow import Slow

PHASES = (Phase.explicit, Phase.generate)
FEW = settings(max_examples=10, deadline=None, phases=PHASES, derandomize=True)


@st.composite
def networks(draw: Any) -> Graph:
    """Return two populations of different kinds, recurrent, with biases, delays and currents."""
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    size = draw(st.integers(1, 6))
    stepping = replace(
        JUMP,
        reset=draw(st.sampled_from(["to", "zero", "subtract", "none"])),
        fire=draw(st.sampled_from(["gt", "ge"])),
        refractory=draw(st.sampled_from([0, 0, 2])),
        synapse_jump=draw(st.booleans()),
        start=draw(st.sampled_from(["zero", "leak"])),
    )
    model = draw(st.sampled_from(["cubalif", "lif", "if"]))
    tau = np.array(10e-3 / draw(st.sampled_from([1.0, 2.0, 0.5, 3.3])))
    if draw(st.booleans()):
        tau = tau * rng.uniform(0.5, 2.0, size)
    own = neuron(model, stepping, tau_syn=tau, v_leak=draw(st.sampled_from([0.0, 0.3])),
                 r=1.0 if stepping.synapse_jump else 10.0)  # fmt: skip
    late = rng.choice([0.5e-3, 1e-3, 3e-3], size)
    return graph(
        {
            "x": source(3), "c": source(2, Kind.ANALOG),
            "in": (linear(rng.normal(1, 2, (size, 3)), rng.uniform(0, 0.3, size)), ["x"]),
            "held": (linear(rng.normal(0, 0.1, (size, 2))), ["c"]),
            "late": (seconds(late), ["n"]), "rec": (linear(rng.normal(0, 2, (size, size))), ["late"]),
            "sum": (Add(), ["in", "held", "rec"]), "n": (own, ["sum"]),
            "out": (linear(rng.normal(1, 1, (2, size))), ["n"]),
            "v": (neuron("cubali", JUMP), ["out"]),
        },
        "n", "v",
    )  # fmt: skip


@FEW
@given(networks(), st.sampled_from(["kick", "held"]), st.integers(0, 99))
def test_both_engines_give_the_same_bits(model: Graph, pulse: str, seed: int) -> None:
    x = {"x": poisson(60, 0.03, seed=seed, samples=2),
         "c": np.random.default_rng(seed).normal(0, 1, (30, 2, 2)).round(1)}  # fmt: skip
    results: list[Any] = []
    for engine in ("c", "python"):
        compiled: Any = snnir.compile(model, "events", pulse=pulse, engine=engine, max_events=9999)
        try:
            results.append(compiled.run(x, ["n:v"], duration=0.04))
        except snnir.SnnirError as failure:
            results.append(str(failure))
    a, b = results
    if isinstance(a, str):
        assert "max_events" in a
        assert a == b
        return
    for one, two in zip(a.records, b.records, strict=True):
        for name in ("time", "unit", "current", "drive", "v"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in a.outputs:
        np.testing.assert_array_equal(a.outputs[name], b.outputs[name])
    np.testing.assert_array_equal(a.recorded["n:v"], b.recorded["n:v"])


@settings(max_examples=5, deadline=None, phases=PHASES, derandomize=True)
@given(
    st.sampled_from(["cubalif", "lif"]), st.sampled_from([1.0, 2.0, 0.5, 3.3]),
    st.sampled_from(["to", "subtract"]), st.sampled_from([0, 2]), st.integers(0, 99),
)  # fmt: skip
def test_against_a_slow_simulator(
    model: str, ratio: float, reset: str, refractory: int, seed: int
) -> None:
    stepping = replace(JUMP, reset=reset, refractory=refractory)
    late = np.random.default_rng(seed).choice([0.3e-3, 1e-3, 2.2e-3], 4)
    weight = 12.0 if model == "lif" else 2.0
    net = recurrent(4, seed, model=model, delay=late, gain=weight, stepping=stepping,
                    tau_syn=10e-3 / ratio, r=1.0 if model == "cubalif" else 2.0)  # fmt: skip
    network = build_network(net)
    x = poisson(14, 0.01, seed=seed)
    ours = Simulator(network).run({"x": x}, 1, 0.012)[0]
    wanted = Slow(network, 4e-5).run(list(zip(x.time, x.index, strict=True)), 0.012)
    assert len(ours.time) == len(wanted)
    assert len(wanted) > 3
    order = np.lexsort(np.array(wanted).T[::-1])
    np.testing.assert_array_equal(np.array(wanted)[order, 1], ours.unit - 3)
    np.testing.assert_allclose(ours.time, np.array(wanted)[order, 0], rtol=0, atol=2e-9)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_a_storm_loses_nothing(engine: str) -> None:
    """Every spike goes through every synapse of its unit that it reaches before the end."""
    late = np.linspace(0.1e-3, 9e-3, 40)
    dead = replace(JUMP, refractory=1)
    network = build_network(recurrent(40, 1, delay=late, density=1.0, stepping=dead))
    sim = Simulator(network, engine, most=100_000)
    x = poisson(400, 0.02, seed=3)
    trace = sim.run({"x": x}, 1, 0.1)[0]
    assert len(trace.time) > 1400
    own = network.synapses
    time = np.concatenate([x.time, trace.time])
    unit = np.concatenate([x.index, trace.unit])
    reached = 0
    for t, u in zip(time, unit, strict=True):
        reached += int((t + own.delay[own.first[u] : own.first[u + 1]] < 0.1).sum())
    assert reached > 50_000
    assert trace.delivered == reached


def test_more_spikes_than_allowed_are_an_error_that_names_who_and_when() -> None:
    net = recurrent(10, 0, gain=20.0, delay=0.5e-3)
    compiled: Any = snnir.compile(net, "events", max_events=500)
    with pytest.raises(snnir.SnnirError, match=r"SNN603.*max_events at 0\.0.* of 'n'"):
        compiled.run(poisson(50, 0.01), duration=1.0)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_kicks_without_delay_cascade_in_generations(engine: str) -> None:
    unit = snnir.Stepping(input_gain="unit")
    chain = np.diag(np.full(9, 2.0), -1)
    first = np.eye(10, 1) * 2
    nodes = {
        "x": source(), "in": (linear(first), ["x"]), "late": (seconds(0.0), ["n"]),
        "rec": (linear(chain), ["late"]), "sum": (Add(), ["in", "rec"]),
        "n": (neuron("lif", unit), ["sum"]),
    }  # fmt: skip
    compiled: Any = snnir.compile(graph(nodes, "n"), "events", engine=engine)
    found = compiled.run(at([1e-3], [0]), duration=2e-3).events["y"]
    assert found.time.tolist() == [1e-3] * 10
    assert found.index.tolist() == list(range(10))
    nodes["rec"] = (linear(np.roll(np.eye(10), 1, 0) * 2), ["late"])
    endless: Any = snnir.compile(graph(nodes, "n"), "events", engine=engine)
    with pytest.raises(snnir.SnnirError, match="SNN603.*without delay") as caught:
        endless.run(at([1e-3], [0]), duration=2e-3)
    assert "a delay" in str(caught.value.diagnostics[0].hint)


def test_arrivals_of_one_time_are_applied_together_and_win_ties() -> None:
    """An excitation and an inhibition that come together do not make a spike."""
    unit = snnir.Stepping(input_gain="unit")
    nodes = {"x": source(2), "w": (linear([[3.0, -3.0]]), ["x"]), "n": (neuron("lif", unit), ["w"])}
    compiled: Any = snnir.compile(graph(nodes, "n"), "events")
    together = at([1e-3, 1e-3], [0, 1])
    assert not len(compiled.run(together, duration=1e-2).events["y"])
    assert len(compiled.run(at([1e-3, 1.001e-3], [0, 1]), duration=1e-2).events["y"]) == 1


@pytest.mark.parametrize("engine", ["c", "python"])
def test_one_spike_kicks_some_and_is_held_by_others(engine: str) -> None:
    """The end of a pulse is nothing to neurons that were kicked."""
    nodes = {
        "x": source(), "w": (linear([[5.0]]), ["x"]),
        "jumps": (neuron("cubali", JUMP), ["w"]), "holds": (neuron("li", snnir.Stepping()), ["w"]),
    }  # fmt: skip
    one: Any = snnir.compile(graph(nodes, "jumps", "holds"), "events", pulse="held", engine=engine)
    found = one.run(at([1e-3], [0]), duration=5e-3)
    s = np.arange(1, 5) * 1e-3  # at the ends of steps since the spike
    kicked = 5 * 5e-3 / (10e-3 - 5e-3) * (np.exp(-s / 10e-3) - np.exp(-s / 5e-3))
    np.testing.assert_allclose(found.outputs["y"].ravel()[1:], kicked, rtol=1e-12)
    held = 5 * (1 - np.exp(-0.1)) * np.exp(-(s - 1e-3) / 10e-3)
    np.testing.assert_allclose(found.outputs["y1"].ravel()[1:], held, rtol=1e-12)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_times_of_one_step_meet_however_they_are_summed(engine: str) -> None:
    """Steps k dt, delays and refractory times: 9 dt + 2 dt is not 11 dt in floating point."""
    assert 9 * 1e-3 + 2 * 1e-3 != 11 * 1e-3
    unit = snnir.Stepping(input_gain="unit", refractory=3)
    nodes = {
        "x": source(2), "late": (Delay(2), ["x"]), "w": (linear([[3.0, 0.0], [3.0, 0.0]]), ["x"]),
        "stop": (linear([[0.0, -3.0], [0.0, 0.0]]), ["late"]), "sum": (Add(), ["w", "stop"]),
        "n": (neuron("lif", unit), ["sum"]),
    }  # fmt: skip
    compiled: Any = snnir.compile(graph(nodes, "n"), "events", engine=engine)
    x = np.ones((100, 1, 2))
    x[-2:, 0, 1] = 0
    x[:2, 0, 0] = 0
    found = compiled.run(x).output[:, 0]
    assert not found[:, 0].any()  # an excitation and an inhibition in every step
    np.testing.assert_array_equal(np.flatnonzero(found[:, 1]), np.arange(2, 100, 3))
    assert 9e-3 != 9 * 1e-3
    both = at([7e-3, 9e-3], [1, 0])  # of two inputs, one in time and one late
    found = compiled.run(both, duration=0.02).events["y"]
    assert found.index.tolist() == [1]


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_currents_that_have_nearly_settled(ratio: float) -> None:
    """What is left of an exponential gets so small that closed forms underflow."""
    stepping = snnir.Stepping()
    nodes = {"x": source(), "w": (linear([[0.0]], [1.5]), ["x"])}
    made = graph({**nodes, "n": (neuron("cubalif", stepping, tau_syn=10e-3 / ratio), ["w"])}, "n")
    runs: list[Any] = [snnir.compile(made, "events", engine=e) for e in ("c", "python")]
    one, two = (run.run(at([], []), duration=1.0).events["y"].time for run in runs)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(np.diff(one)[-40:], 10e-3 * np.log(3.0), rtol=1e-12)


def test_rates_that_are_far_apart() -> None:
    """A synapse of no duration gives no charge, one that lasts for ever a constant current."""
    for engine in ("c", "python"):
        for tau, wanted in ((1e-300, 0), (1e300, 2)):
            compiled: Any = snnir.compile(single(weight=3.0, tau_syn=tau), "events", engine=engine)
            found = compiled.run(at([1e-3], [0]), duration=0.01).events["y"].time
            assert len(found) == wanted
            kicks = 1e-3 + 10e-3 * np.log(1.5) * np.arange(1, wanted + 1)
            np.testing.assert_allclose(found, kicks, rtol=1e-12)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_delays_below_rounding_do_not_lead_back_in_time(engine: str) -> None:
    """Crossings a little after a step's start, and a delay that adds nothing to them."""
    steps = np.arange(1, 80)
    size = len(steps)
    nodes = {
        "x": source(), "w": (linear(np.zeros((size, 1)), 1 / (steps * 1e-3)), ["x"]),
        "a": (neuron("if", snnir.Stepping(reset="none")), ["w"]),
        "late": (seconds(1e-30), ["a"]), "w2": (linear(np.eye(size) * 3), ["late"]),
        "b": (neuron("lif", snnir.Stepping(input_gain="unit")), ["w2"]),
    }  # fmt: skip
    network = build_network(graph(nodes, "b"))
    found = Simulator(network, engine).run({"x": at([], [])}, 1, 0.1)[0]
    assert len(found.time) == 2 * size
    assert np.all(np.diff(found.time) >= 0)
    first, second = (found.time[k::2] for k in (0, 1))
    np.testing.assert_allclose(second, first, rtol=1e-15)
    assert np.any(first != steps * 1e-3)


def test_threads_share_samples() -> None:
    net = recurrent(20, 2, delay=1e-3)
    x = poisson(200, 0.02, samples=7)
    both: list[Any] = [snnir.compile(net, "events", threads=k) for k in (1, 4)]
    one, many = (each.run(x, duration=0.03) for each in both)
    np.testing.assert_array_equal(one.output, many.output)
    np.testing.assert_array_equal(one.events["y"].time, many.events["y"].time)


def test_huge_weights_are_an_error_not_silence() -> None:
    net = recurrent(3, 0, gain=1e308, delay=1e-3, density=1.0)
    compiled: Any = snnir.compile(net, "events")
    with pytest.raises(snnir.SnnirError, match="SNN603.*finite"):
        compiled.run(poisson(50, 0.01), duration=0.1)


def test_cost_grows_with_deliveries_not_with_silent_neurons() -> None:
    """The benchmark's own network: what is searched and delivered, which is what takes time."""
    from benchmarks.events import Case, measure

    small, large = (measure(Case(size, 3), 0.02, repeat=1) for size in (30, 60))
    assert 0 < small.delivered < large.delivered
    assert small.pace > 0
    network = build_network(single(weight=9.0))
    quiet = Simulator(network).run({"x": at([1e-3], [0])}, 1, 1e-2)[0]
    later = Simulator(network).run({"x": at([1e-3], [0])}, 1, 1e3)[0]
    counts = ("delivered", "arrived", "searched")
    assert all(getattr(quiet, name) == getattr(later, name) for name in counts)
