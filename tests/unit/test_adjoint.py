"""Gradients of step programs: finite differences where smooth, the surrogate where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

import snnir
from snnir.dynamics import Dynamics, dynamics, exp, fma, maximum, minimum, select, tanh
from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.evaluate import compile_step
from snnir.dynamics.functions import log, sqrt
from snnir.dynamics.program import Operand
from snnir.dynamics.surrogate import SURROGATES, Surrogate, surrogate
from snnir.ir import Step
from snnir.streams import Kind
from tests.helpers import lif_step
from tests.strategies import lif_steps

Env = dict[str, Any]


def evaluate(program: Dynamics, env: Env, names: list[Operand]) -> list[Any]:
    full = {k: np.asarray(v, np.float64) for k, v in env.items()}
    compile_step(program, np.float64)(full)
    return [full[name] if isinstance(name, str) else np.float64(name) for name in names]


def results(program: Dynamics) -> list[Operand]:
    return [*(name for name, _ in program.outputs), *(value for _, value in program.updates)]


def gradients(program: Dynamics, env: Env, weights: list[float], **options: Any) -> Env:
    """Return the gradient of the weighted sum of outputs and new states by name."""
    made = adjoint(program, surrogate(options.pop("surrogate", "fast_sigmoid")), **options)
    given_names = [*made.outputs, *(made.updates[name] for name, _ in program.updates)]
    full = {**env, **dict(zip(given_names, weights, strict=True))}
    wanted = {**made.inputs, **made.states, **made.params}
    return dict(zip(wanted, evaluate(made.program, full, list(wanted.values())), strict=True))


@dynamics(
    params={"a": "1", "b": "1"}, states={"v": 0.5, "w": 0.0}, outputs=(Kind.ANALOG, Kind.ANALOG)
)
def smooth(x: Any, y: Any, v: Any, w: Any, a: Any, b: Any) -> Any:
    """Every differentiable operation, each with both operands variable."""
    h = a * v + (x - y) / (b + 2.0)
    h = fma(h, w, x) - fma(v, a, y)
    h = maximum(h, y) - minimum(h * w, x) + abs(h - w) - abs(-h)
    g = exp(-(h * h)) + tanh(x * w) + sqrt(h * h + 1.0) + log(y * y + 1.5)
    g = select(x > 100.0, v, g) ** a + (g + 3.0) ** 2.0
    return {"v": h * g, "w": w - g}, (g * 0.5, h)


@pytest.mark.parametrize("seed", range(20))
def test_smooth_programs_have_the_gradient_of_finite_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    env: Env = {name: rng.uniform(0.2, 1.7) for name in ("x", "y", "v", "w", "a", "b")}
    weights = list(rng.standard_normal(4))
    found = gradients(smooth, env, weights)
    for name, value in env.items():
        high, low = ({**env, name: value + d} for d in (1e-6, -1e-6))
        change = [
            (p - q) / 2e-6
            for p, q in zip(
                evaluate(smooth, high, results(smooth)),
                evaluate(smooth, low, results(smooth)),
                strict=True,
            )
        ]
        assert found[name] == pytest.approx(np.dot(change, weights), rel=1e-5, abs=1e-7), name


def value_of(spec: Surrogate, x: float) -> float:
    return float(evaluate(spec.program, {"x": x}, [spec.program.outputs[0][0]])[0])


LEAKY = {"x": 0.3, "v": 0.9, "beta": 0.5, "threshold": 1.0}


@pytest.mark.parametrize("name", SURROGATES)
def test_a_spike_has_the_derivative_of_its_surrogate(name: str) -> None:
    program = lif_step(reset="none").program
    found = gradients(program, LEAKY, [2.0, 0.0], surrogate=name)
    slope = value_of(surrogate(name), 0.5 * 0.9 + 0.3 - 1.0)
    assert found["x"] == pytest.approx(2.0 * slope)
    assert found["v"] == pytest.approx(2.0 * slope * 0.5)
    assert found["threshold"] == pytest.approx(-2.0 * slope)


def test_surrogates_are_the_frameworks() -> None:
    assert value_of(surrogate("fast_sigmoid{slope=10}"), -0.3) == pytest.approx(1 / 16)
    assert value_of(surrogate("atan"), 0.0) == 1.0
    assert value_of(surrogate("triangle{alpha=2}"), 0.25) == 1.0
    assert value_of(surrogate("rectangle{width=2}"), 0.9) == 0.5
    assert value_of(surrogate("straight_through"), -7.0) == 1.0


@pytest.mark.parametrize("reset", ["zero", "subtract", "to"])
def test_detached_resets_are_constants_and_attached_ones_are_not(reset: str) -> None:
    program = lif_step(reset=reset).program
    env = {**LEAKY, "x": 0.7, "v_reset": 0.25}
    env = {name: env[name] for name in ("x", "v", "beta", "threshold", "v_reset") if name in env}
    slope = value_of(surrogate("atan"), 0.45 + 0.7 - 1.0)
    detached = gradients(program, env, [0.0, 1.0], surrogate="atan")
    attached = gradients(program, env, [0.0, 1.0], surrogate="atan", detach=False)
    kept = 1.0 if reset == "subtract" else 0.0
    change = {"zero": -1.15, "subtract": -1.0, "to": 0.25 - 1.15}[reset]
    assert detached["x"] == pytest.approx(kept)
    assert attached["x"] == pytest.approx(kept + slope * change)


def test_a_late_reset_is_detached_from_the_output_too() -> None:
    program = lif_step(reset="subtract", reset_timing="next-step").program
    env = {**LEAKY, "v": 1.2}
    slope = value_of(surrogate("fast_sigmoid"), 0.5 * 1.2 + 0.3 - 1.0 - 1.0)
    assert gradients(program, env, [1.0, 0.0])["v"] == pytest.approx(slope * 0.5)
    late = value_of(surrogate("fast_sigmoid"), 0.2)
    attached = gradients(program, env, [1.0, 0.0], detach=False)["v"]
    assert attached == pytest.approx(slope * (0.5 - late))


def test_late_detaches_the_last_steps_spike_only() -> None:
    program = lif_step(reset="subtract", reset_timing="net").program
    env = {**LEAKY, "v": 0.9, "x": 0.7}
    slope = value_of(surrogate("fast_sigmoid"), 0.5 * 0.9 + 0.7 - 1.0)
    late = value_of(surrogate("fast_sigmoid"), 0.9 - 1.0)
    found = {
        detach: gradients(program, env, [0.0, 1.0], detach=detach)["v"]
        for detach in (True, "late", False)
    }
    assert found[True] == pytest.approx(0.5)
    assert found["late"] == pytest.approx(0.5 - slope * 0.5)
    # h - late * threshold - (spike - late) * threshold, with the spike of h - late * threshold
    assert found[False] == pytest.approx((0.5 - late) - (slope * (0.5 - late) - late))


def test_counts_have_the_surrogate_at_the_nearest_threshold() -> None:
    program = lif_step(spikes="multi", reset="subtract").program
    env = {"x": 2.0, "v": 0.6, "beta": 0.5, "threshold": 1.0}
    found = gradients(program, env, [1.0, 0.0], surrogate="triangle")
    assert found["x"] == pytest.approx(value_of(surrogate("triangle"), 0.3))
    few = gradients(program, {**env, "x": 0.0}, [1.0, 0.0], surrogate="triangle")
    assert few["x"] == pytest.approx(value_of(surrogate("triangle"), 0.3 - 1.0))


@dynamics(params={"low": "1", "high": "1"}, states={"v": 0.0}, outputs=(Kind.SPIKES,))
def window(x: Any, v: Any, low: Any, high: Any) -> Any:
    """A spike where the membrane is between two thresholds."""
    h = v + x
    return {"v": h}, ((h > low) & (h < high)) * 1.0


def test_joined_comparisons_follow_the_product_rule() -> None:
    env = {"x": 0.3, "v": 0.5, "low": 0.7, "high": 1.0}
    spec = "triangle{alpha=2}"
    up, down = (value_of(surrogate(spec), d) for d in (0.8 - 0.7, 1.0 - 0.8))
    found = gradients(window, env, [1.0, 0.0], surrogate=spec)
    assert found["low"] == pytest.approx(-up)
    assert found["high"] == pytest.approx(down)
    assert found["x"] == pytest.approx(up - down)
    outside = gradients(window, {**env, "x": 2.0}, [1.0, 0.0], surrogate=spec)
    assert outside["low"] == 0.0


@given(lif_steps())
def test_every_member_of_the_family_has_a_finite_gradient(step: Step) -> None:
    program = step.program
    env: Env = {name: p.numpy().flat[0] for name, p in step.params.items()}
    env |= dict.fromkeys(program.inputs, 0.4) | {s.name: 0.3 for s in program.states}
    count = len(program.outputs) + len(program.updates)
    for detach in (True, False):
        found = gradients(program, env, [1.0] * count, detach=detach)
        assert set(found) == set(env)
        assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("atn", "no surrogate"),
        ("atan{alpha=2", "no surrogate"),
        ("atan{slope=2}", "no parameter 'slope'"),
        ("atan{alpha=x}", "must be a number"),
        ("atan{alpha=nan}", "must be a number"),
    ],
)
def test_wrong_surrogates_are_named(text: str, word: str) -> None:
    with pytest.raises(snnir.SnnirError, match=word):
        surrogate(text)
