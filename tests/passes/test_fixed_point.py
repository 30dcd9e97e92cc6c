"""Step programs in integers: what they compute, and what has no such form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.dynamics import dynamics, exp
from snnir.dynamics.evaluate import compile_step, neuron_function
from snnir.dynamics.fixed_point import Format, NoFixedPoint, classify, fixed_point
from snnir.dynamics.program import Dynamics, Let
from snnir.dynamics.whole import as_float
from snnir.ir import Step
from snnir.streams import Kind
from tests.helpers import lif_step
from tests.strategies import lif_steps


def stepped(program: Dynamics, params: Any, x: Any, dtype: Any, unit: float = 1.0) -> Any:
    """Return outputs and states [T, n] of a run."""
    run = neuron_function(program, params, dtype, np.float64)
    state = {
        s.name: np.full(x.shape[1:], params[s.initial] if isinstance(s.initial, str) else s.initial, dtype)
        for s in program.states
    }  # fmt: skip
    out, traces = [], []
    second = [np.zeros(x.shape[1:])] * (len(program.inputs) - 1)
    for now in x:
        out.append(run(now, *second, state)[0])
        traces.append({k: v * unit for k, v in state.items()})
    return np.array(out), {k: np.array([t[k] for t in traces]) for k in state}


UNIT = 2.0**-20
FINE = Format(state_bits=32, factor_bits=16)


@settings(max_examples=150)
@given(step=lif_steps(1), seed=st.integers(0, 99))
def test_fine_integers_step_as_real_numbers_do(step: Step, seed: int) -> None:
    program = step.program
    params = {name: p.numpy().astype(np.float64) for name, p in step.params.items()}
    if program.dtype == "f64":  # the fixed form has factors in units of its own
        return
    fixed = fixed_point(program, params, np.asarray(UNIT), FINE)
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 9, (12, 6)) / 8
    real, states = stepped(program, params, x, np.float64)
    whole, found = stepped(fixed.program, fixed.params, np.rint(x / UNIT), np.int64)
    analog = program.outputs[0][1] is Kind.ANALOG
    same = np.cumprod((whole == real) | analog, axis=0).astype(bool)  # until a tie is broken
    assert same.mean() > 0.9
    for state in program.states:
        scale = UNIT if classify(program)[state.name] == "signal" else 1.0
        difference = np.abs(found[state.name] * scale - states[state.name])
        assert difference[same].max(initial=0.0) < 1e-3, state.name


@settings(max_examples=100)
@given(
    step=lif_steps(1), seed=st.integers(0, 99), bits=st.sampled_from([8, 16, 24]),
    rounding=st.sampled_from(["nearest", "floor", "zero"]),
)  # fmt: skip
def test_integers_and_float64_compute_the_same(
    step: Step, seed: int, bits: int, rounding: str
) -> None:
    if step.program.dtype == "f64":
        return
    params = {name: p.numpy().astype(np.float64) for name, p in step.params.items()}
    fixed = fixed_point(step.program, params, np.asarray(0.01), Format(bits, 12, rounding))
    x = np.random.default_rng(seed).integers(-3000, 3000, (20, 5)).astype(np.float64)
    whole = stepped(fixed.program, fixed.params, x, np.int64)
    real = stepped(as_float(fixed.program), fixed.params, x, np.float64)
    np.testing.assert_array_equal(whole[0], real[0])
    for name, trace in whole[1].items():
        np.testing.assert_array_equal(trace, real[1][name])
        limit = 2 ** (bits - 1)
        assert classify(step.program)[name] != "signal" or (
            trace.min() >= -limit and trace.max() < limit
        )


def once(form: Format, v: int, beta: float) -> int:
    """Return one decay of a membrane."""
    step = lif_step(reset="none", fire="never")
    fixed = fixed_point(step.program, {"beta": np.asarray(beta)}, np.asarray(1.0), form)
    env = {"x": np.int64(0), "v": np.int64(v), **fixed.params}
    compile_step(fixed.program, np.int64)(env)
    return int(env[str(dict(fixed.program.updates)["v"])])


@pytest.mark.parametrize(
    ("rounding", "v", "wanted"),
    [("nearest", 5, 3), ("nearest", -5, -2), ("floor", 5, 2), ("floor", -5, -3), ("zero", 5, 2), ("zero", -5, -2),
     ("nearest", 6, 3), ("floor", -6, -3)],
)  # fmt: skip
def test_roundings(rounding: str, v: int, wanted: int) -> None:
    assert once(Format(16, 12, rounding), v, 0.5) == wanted


def test_shifts_come_close() -> None:
    assert once(Format(16, 12, "floor", True), 1000, 0.9) == 1000 - 125
    assert once(Format(16, 12, "floor", True), 1000, 0.2) == 250
    assert once(Format(16, 12, "nearest", True), -1000, 0.9375) == -938


def test_states_saturate() -> None:
    step = lif_step(reset="none", fire="never", membrane="integrate")
    fixed = fixed_point(step.program, {}, np.asarray(1.0), Format(8))
    x = np.array([[100.0, -100.0]] * 3)
    out, states = stepped(fixed.program, fixed.params, x, np.int64)
    np.testing.assert_array_equal(states["v"][-1], [127, -128])
    np.testing.assert_array_equal(out[-1], [127, -128])


def test_a_bias_and_a_shift_come_before_all_else() -> None:
    step = lif_step(reset="none", fire="never", membrane="integrate")
    fixed = fixed_point(step.program, {}, np.asarray(1.0), Format(16), 3, np.asarray(5))
    out, _ = stepped(fixed.program, fixed.params, np.array([[2.0]]), np.int64)
    assert out[0, 0] == 2 * 8 + 5


def test_spikes_are_counted_towards_zero() -> None:
    step = lif_step(spikes="multi", reset="subtract", membrane="integrate")
    fixed = fixed_point(step.program, {"threshold": np.asarray(10.0)}, np.asarray(1.0), Format(16))
    out, states = stepped(fixed.program, fixed.params, np.array([[35.0, -35.0, 9.0]]), np.int64)
    np.testing.assert_array_equal(out[0], [3, 0, 0])
    np.testing.assert_array_equal(states["v"][0], [5, -35, 9])


def test_small_formats_are_32_bits() -> None:
    step = lif_step()
    params = {n: p.numpy() for n, p in step.params.items()}
    kinds = [
        fixed_point(step.program, params, np.asarray(0.1), Format(*b)).program.dtype
        for b in ((16, 14), (16, 15))
    ]
    assert kinds == ["i32", "i64"]


@dynamics(params={"a": "1"}, states={"v": 0.0}, outputs=(Kind.SPIKES,))
def growing(x: Any, v: Any, a: Any) -> Any:
    """A membrane with an exponential."""
    h = v + exp(a * v) + x
    return {"v": h}, (h > 1.0) * 1.0


@dynamics(params={"a": "1", "b": "1"}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
def squared(x: Any, v: Any, a: Any, b: Any) -> Any:
    """A product of two signals."""
    return {"v": v * x}, v + x


@dynamics(params={"a": "1", "b": "1"}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
def unknown(x: Any, v: Any, a: Any, b: Any) -> Any:
    """Nothing tells what a and b are."""
    c = a * b
    return {"v": v + x * (c - c)}, v


@pytest.mark.parametrize(
    ("program", "words"),
    [(growing, "'exp'"), (squared, "two signals"), (unknown, "nothing tells whether")],
)
def test_what_has_no_such_form_is_named(program: Dynamics, words: str) -> None:
    params = {name: np.asarray(0.5) for name, _ in program.params}
    with pytest.raises(NoFixedPoint, match=words):
        fixed_point(program, params, np.asarray(0.1), Format())


def program(dtype: str, *lets: Let) -> Dynamics:
    return Dynamics("p", ("x",), (), (), lets, (), ((lets[-1].target, Kind.ANALOG),), dtype)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (program("i32", Let("y", "exp", ("x",))), "exp is not defined on integers"),
        (program("i32", Let("y", "div", ("x", 2.0))), "div is not defined on integers"),
        (program("f32", Let("y", "shr", ("x", 2.0))), "shr is defined on integers only"),
        (program("i32", Let("y", "add", ("x", 0.5))), "whole number is needed"),
        (program("i32", Let("y", "shr", ("x", "x"))), "a literal from 0 to 62"),
        (program("i32", Let("y", "shr", ("x", 63.0))), "a literal from 0 to 62"),
        (program("i32", Let("y", "add", ("x", float("inf")))), "whole number is needed"),
    ],
)
def test_the_checker_knows_integers(made: Dynamics, words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        made.types()
