"""Spike times against closed forms, and against bisection of closed forms in long doubles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.events import Events
from snnir.ir import Add, Current, Graph
from snnir.streams import Kind
from tests.events.nets import JUMP, at, graph, linear, neuron, seconds, single, source, times

HERE = 1e-12
ENGINES = ("c", "python")


def constant(model: str, drive: float, **params: Any) -> Graph:
    """Return a neuron with a constant drive and an input of no effect."""
    stepping = params.pop("stepping", snnir.Stepping())
    nodes = {"x": source(), "w": (linear([[0.0]], [drive]), ["x"])}
    return graph({**nodes, "n": (neuron(model, stepping, **params), ["w"])}, "n")


SILENT = Events(np.zeros(0), np.zeros(0, np.int64))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_period_of_a_lif_neuron(engine: str) -> None:
    found = times(constant("lif", 1.5), SILENT, 1.0, engine=engine)
    period = 10e-3 * math.log(1.5 / 0.5)
    assert len(found) == int(1.0 / period)
    np.testing.assert_allclose(found, period * np.arange(1, len(found) + 1), rtol=0, atol=HERE)


@pytest.mark.parametrize("engine", ENGINES)
def test_periods_with_rest_leak_and_reset(engine: str) -> None:
    given = {"v_leak": -0.25, "v_reset": 0.5, "r": 2.0, "tau": 7e-3}
    stepping = snnir.Stepping(refractory=3, start="leak")
    found = times(constant("lif", 1.0, stepping=stepping, **given), SILENT, 0.2, engine=engine)
    top = -0.25 + 2.0
    first = 7e-3 * math.log((top + 0.25) / (top - 1))
    period = 3e-3 + 7e-3 * math.log((top - 0.5) / (top - 1))
    wanted = first + period * np.arange(len(found))
    assert len(found) > 10
    np.testing.assert_allclose(found, wanted, rtol=0, atol=HERE)


@pytest.mark.parametrize("reset", ["to", "subtract"])
def test_without_leak_v_rises_in_a_line(reset: str) -> None:
    stepping = snnir.Stepping(reset=reset)
    found = times(constant("if", 30.0, stepping=stepping), SILENT, 0.49)
    np.testing.assert_allclose(found, np.arange(1, 15) / 30.0, rtol=0, atol=HERE)


def test_at_the_threshold_v_never_arrives() -> None:
    for fire in ("gt", "ge"):
        assert not len(times(constant("lif", 1.0, stepping=snnir.Stepping(fire=fire)), SILENT, 9.0))


# --- One kick onto a synapse -----------------------------------------------------------------


def course(s: Any, weight: Any, mem: Any, syn: Any) -> Any:
    """Return v a time after a kick of i, in long doubles: the textbook form."""
    mem, syn = np.longdouble(mem), np.longdouble(syn)
    if mem == syn:
        return weight * s / mem * np.exp(-s / mem)
    part = np.exp(-s / mem) - np.exp(-s / syn)
    return weight * syn / (mem - syn) * part


def crossing(weight: float, mem: float, syn: float) -> float | None:
    """Return when v rises through 1, by bisection up to its maximum."""
    m, t = np.longdouble(mem), np.longdouble(syn)
    top = m if mem == syn else m * t / (m - t) * np.log(m / t)
    low, high = np.longdouble(0), top
    if course(top, weight, mem, syn) <= 1:
        return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if course(middle, weight, mem, syn) > 1 else (middle, high)
    return float(high)


RATIOS = {"tau_mem = tau_syn": 1.0, "2": 2.0, "half": 0.5, "4": 4.0, "1.3": 1.3, "0.07": 0.07,
          "close": 1 + 1e-5}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS.keys())
def test_one_kick(ratio: float, engine: str) -> None:
    fired = 0
    for weight in (1.5, 3.0, 5.0, 25.0, 400.0):
        wanted = crossing(weight, 10e-3, 10e-3 / ratio)
        found = times(
            single(weight=weight, tau_syn=10e-3 / ratio, v_reset=-1e9),
            at([2e-3], [0]), 0.1, engine=engine,
        )  # fmt: skip
        assert len(found) == (wanted is not None)
        if wanted is not None:
            fired += 1
            assert abs(found[0] - 2e-3 - wanted) < HERE
    assert fired >= 2


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, 3.0])
def test_a_maximum_at_the_threshold(ratio: float) -> None:
    """Within a few units in the last place either answer is right; beyond them only one is."""
    syn = 10e-3 / ratio
    top = 10e-3 if ratio == 1 else 10e-3 * syn / (10e-3 - syn) * math.log(ratio)
    weight = float(1 / course(np.longdouble(top), 1.0, 10e-3, syn))
    for fire in ("gt", "ge"):
        stepping = replace(JUMP, fire=fire)
        for factor, least, most in ((1 - 1e-13, 0, 0), (1.0, fire == "ge", 1), (1 + 1e-13, 1, 1)):
            made = single(weight=weight * factor, stepping=stepping, tau_syn=syn)
            found = times(made, at([0.0], [0]), 0.1)
            assert least <= len(found) <= most, (fire, factor)
            assert np.all(np.abs(found - top) < 1e-8)


def test_below_the_reset_v_may_fall_first_and_rise_later() -> None:
    """A held drive above the threshold, and an inhibiting kick: a minimum comes before."""
    stepping = replace(JUMP, input_gain="flow")
    nodes = {
        "x": source(), "c": source(1, Kind.ANALOG), "w": (linear([[-3.0]]), ["x"]),
        "d": (linear([[0.375]]), ["c"]), "s": (Add(), ["w", "d"]),
        "n": (neuron("cubalif", stepping, tau_syn=4e-3), ["s"]),
    }  # fmt: skip
    given = {"x": at([1e-3], [0]), "c": np.ones((100, 1, 1))}
    compiled: Any = snnir.compile(graph(nodes, "n"), "events")
    (found, *_) = compiled.run(given, ["n:v"]).events["y"].time

    def v(t: Any) -> Any:
        a, b = np.longdouble(1 / 10e-3), np.longdouble(1 / 4e-3)
        held = 1.5 * (1 - np.exp(-a * t) - a * (np.exp(-b * t) - np.exp(-a * t)) / (a - b))
        s = t - np.longdouble(1e-3)
        return held - 3 * a * (np.exp(-b * s) - np.exp(-a * s)) / (a - b)

    assert float(v(found - 1e-9)) < 1 < float(v(found + 1e-9))
    assert abs(float(v(found)) - 1) < 1e-11


# --- Delays, refractory times, resets ---------------------------------------------------------


def test_every_synapse_has_its_own_delay() -> None:
    late = np.array([0.0, 1.5e-3, 0.25e-3])
    nodes = {
        "x": source(), "fan": (linear([[3.0], [3.0], [3.0]]), ["x"]),
        "late": (seconds(late), ["fan"]), "n": (neuron("lif", JUMP), ["late"]),
    }  # fmt: skip
    unit = snnir.Stepping(input_gain="unit")
    nodes["n"] = (neuron("lif", unit), ["late"])
    compiled: Any = snnir.compile(graph(nodes, "n"), "events")
    assert sorted(set(compiled.network.synapses.delay.tolist())) == sorted(late.tolist())
    found = compiled.run(at([2e-3], [0]), duration=0.01).events["y"]
    order = np.argsort(found.index)
    np.testing.assert_array_equal(found.time[order], 2e-3 + late)


def test_delays_without_seconds_are_steps() -> None:
    nodes = {
        "x": source(), "late": (snnir.ir.Delay(3), ["x"]), "w": (linear([[3.0]]), ["late"]),
        "n": (neuron("lif", snnir.Stepping(input_gain="unit")), ["w"]),
    }  # fmt: skip
    assert times(graph(nodes, "n", dt=2e-3), at([1e-3], [0]), 0.1).tolist() == [7e-3]


def test_what_comes_in_a_refractory_time() -> None:
    """A synapse goes on meanwhile; a membrane that is held takes no kick."""
    unit = snnir.Stepping(input_gain="unit", refractory=2)
    given = at([1e-3, 2e-3, 2.9e-3, 3e-3, 4e-3], [0] * 5)
    found = times(single("lif", 1.5, unit), given, 0.1)
    assert found.tolist() == [1e-3, 3e-3]
    slow = replace(JUMP, refractory=4)
    (first, second, *_) = times(single("cubalif", 40.0, slow), at([0.0], [0]), 0.1)
    i = 40.0 * math.exp(-(first + 4e-3) / 5e-3)
    wanted = crossing(i, 10e-3, 5e-3)
    assert wanted is not None
    assert abs(second - (first + 4e-3 + wanted)) < HERE


def test_subtraction_leaves_the_rest_and_may_fire_again_at_once() -> None:
    unit = snnir.Stepping(input_gain="unit", reset="subtract")
    compiled: Any = snnir.compile(single("if", 3.5, unit), "events")
    result = compiled.run(at([1e-3, 2e-3], [0, 0]), ["n:v"], duration=4e-3)
    assert result.events["y"].time.tolist() == [1e-3] * 3 + [2e-3] * 3
    assert result.recorded["n:v"].ravel().tolist() == [0.0, 0.5, 1.0, 1.0]
    assert result.output.ravel().tolist() == [0, 3, 3, 0]
    assert result.records[0].v.tolist() == [3.5, 2.5, 1.5, 4.0, 3.0, 2.0]


def test_without_reset_a_neuron_fires_when_it_rises_through() -> None:
    unit = snnir.Stepping(input_gain="unit", reset="none")
    given = at([1e-3, 2e-3, 30e-3, 31e-3], [0] * 4)
    found = times(single("lif", 1.5, unit), given, 0.1)
    assert found.tolist() == [1e-3, 30e-3]
    slow = replace(JUMP, reset="none")
    found = times(single(weight=8.0, stepping=slow), at([0.0, 0.08], [0, 0]), 0.2)
    assert len(found) == 2


@pytest.mark.parametrize("model", ["lif", "cubalif"])
def test_held_pulses_are_currents(model: str) -> None:
    """A spike held for a step is a current of the area of a step, wherever it comes."""
    made = single(model, 40.0, snnir.Stepping())
    held: Any = snnir.compile(made, "events", pulse="held")
    on = np.zeros((40, 1, 1))
    on[[3, 4, 20]] = 1
    nodes = {"x": source(1, Kind.ANALOG), "w": made.nodes["w"].op, "n": made.nodes["n"].op}
    same = graph({"x": nodes["x"], "w": (nodes["w"], ["x"]), "n": (nodes["n"], ["w"])}, "n")  # type: ignore[dict-item]
    drive: Any = snnir.compile(same, "events")
    a, b = held.run(on, ["n:v"]), drive.run(on, ["n:v"])
    assert len(a.events["y"]) > 2
    np.testing.assert_allclose(a.events["y"].time, b.events["y"].time, rtol=0, atol=HERE)
    np.testing.assert_allclose(a.recorded["n:v"], b.recorded["n:v"], rtol=0, atol=1e-12)
    late = times(made, at([3.25e-3], [0]), 0.04, pulse="held")
    if model == "lif":
        top = 40.0
        assert abs(late[0] - 3.25e-3 - 10e-3 * math.log(top / (top - 1))) < HERE


def test_several_outputs_and_inputs_that_are_outputs() -> None:
    nodes = {
        "x": source(2), "w": (linear(np.eye(2) * 3), ["x"]),
        "n": (neuron("lif", snnir.Stepping(input_gain="unit")), ["w"]),
        "c": (Current(), ["n"]), "v": (neuron("li", snnir.Stepping()), ["c"]),
    }  # fmt: skip
    compiled: Any = snnir.compile(graph(nodes, "n", "x", "v"), "events")
    found = compiled.run(at([2e-3, 3e-3], [1, 0]), duration=5e-3)
    assert found.outputs["y"].sum() == 2
    np.testing.assert_array_equal(found.outputs["y"], found.outputs["y1"])
    assert found.events["y1"].time.tolist() == [2e-3, 3e-3]
    kick = 1e-3 / 10e-3
    wanted = kick * np.exp(-np.array([1e-3, 2e-3, 3e-3]) / 10e-3)
    np.testing.assert_allclose(found.outputs["y2"][2:, 0, 1], wanted, rtol=1e-14)
    assert found.outputs["y2"].dtype == np.float64
