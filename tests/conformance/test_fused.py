"""A product and a sum rounded together: exact in every bit, and not what two roundings give."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.dynamics import Dynamics, Let, dynamics, fma
from snnir.dynamics.evaluate import compile_step
from snnir.dynamics.fixed_point import Format, fixed_point
from snnir.dynamics.intervals import Interval, step_bounds
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.ir.parser import parse_graph
from snnir.streams import Kind
from tests import fused
from tests.fused import (
    all_exact,
    bits_of,
    check_fused,
    exact,
    finite_summands,
    fused_graph,
    run_fused,
    summands,
)

PRECISIONS = ("float32", "float64")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_bit_of_numbers_chosen_to_be_hard(precision: str) -> None:
    a, b, c = summands(precision)
    once = SCALAR_OPS["fma"].numpy(a, b, c)
    with np.errstate(all="ignore"):
        check_fused({"once": once, "twice": a * b + c}, a, b, c)


@settings(max_examples=300)
@given(*[st.floats(width=32)] * 3)
def test_any_numbers_of_float32(a: float, b: float, c: float) -> None:
    same(a, b, c, "float32")


@settings(max_examples=300)
@given(*[st.floats()] * 3)
def test_any_numbers_of_float64(a: float, b: float, c: float) -> None:
    same(a, b, c, "float64")


@settings(max_examples=200)
@given(st.floats(0.5, 2), st.floats(0.5, 2), st.integers(-1100, 1000), st.integers(-4, 4))
def test_sums_that_nearly_cancel_at_any_scale(a: float, b: float, scale: int, ulps: int) -> None:
    with np.errstate(all="ignore"):
        first = float(np.ldexp(np.float64(a), scale))
        third = -first * b
        for _ in range(abs(ulps)):
            third = float(np.nextafter(third, np.inf * ulps))
    same(first, b, third, "float64")


def same(a: float, b: float, c: float, precision: str) -> None:
    kind = np.dtype(precision).type
    with np.errstate(all="ignore"):
        found = np.asarray(SCALAR_OPS["fma"].numpy(*(np.array([x], kind) for x in (a, b, c))))
        want = np.array([exact(a, b, c, precision)]).astype(kind)
    np.testing.assert_array_equal(bits_of(found), bits_of(want))


def test_the_oracle_is_the_nearest_number() -> None:
    """Of the exact value's neighbours none is nearer; ties go to the even one."""
    a, b, c = finite_summands("float32")
    for x, y, z, found in zip(a, b, c, all_exact(a, b, c), strict=True):
        value = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if np.isinf(found):
            assert abs(value) >= Fraction(2) ** 128 - Fraction(2) ** 103
            continue
        distance = abs(Fraction(float(found)) - value)
        for way in (np.float32(-np.inf), np.float32(np.inf)):
            with np.errstate(all="ignore"):
                beside = np.nextafter(found, way)
            if np.isfinite(beside):
                other = abs(Fraction(float(beside)) - value)
                even = not int(found.view(np.int32)) & 1
                assert distance < other or (distance == other and even)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_interpreter(precision: str) -> None:
    run_fused("numpy", precision, precision=precision)


def test_a_literal_and_mixed_shapes() -> None:
    @dynamics(params={"a": "1"}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
    def step(x: Any, v: Any, a: Any) -> Any:
        return {"v": x}, fma(a, x, -0.1)

    x, a = np.array([0.1, 0.7, 1.3], np.float32), np.float32(3.7)
    env: dict[str, Any] = {"x": x, "a": a}
    compile_step(step, np.float32)(env)
    want = all_exact(np.full(3, a), x, np.full(3, np.float32(-0.1)))
    np.testing.assert_array_equal(env[step.outputs[0][0]], want)


def test_the_folder_runs_with_numpy_alone(tmp_path: Path) -> None:
    fused.run_fused_folder("numpy", tmp_path / "out")


# --- What else knows the operation ---------------------------------------------------------------


def test_bounds_hold_what_is_rounded_once() -> None:
    program = fused.fused_step().program
    a, b, c = finite_summands("float32", special=False)
    known = {name: Interval.of(x) for name, x in zip("xyz", (a, b, c), strict=True)}
    bound, found = step_bounds(program, known)["once"], all_exact(a, b, c)
    assert ((bound.low <= found) & (found <= bound.high)).all()
    size = np.abs(a.astype(np.float64) * b) + np.abs(c)
    small = size < 1e37  # what may overflow has no bounds
    assert (bound.high - bound.low <= 2.0**-20 * size)[small].all()
    wide = step_bounds(program, {k: Interval.of(-2.0, 3.0) for k in "xyz"})["once"]
    assert -8.0 >= wide.low > -8.01
    assert 12.0 <= wide.high < 12.01


@dynamics(params={"beta": "1", "threshold": "V"}, states={"v": 0.0})
def leaky(x: Any, v: Any, beta: Any, threshold: Any) -> Any:
    h = fma(beta, v, x)
    spike = h > threshold
    return {"v": h - spike * threshold}, spike


@dynamics(params={"beta": "1", "threshold": "V"}, states={"v": 0.0}, name="leaky")
def rounded_twice(x: Any, v: Any, beta: Any, threshold: Any) -> Any:
    h = beta * v + x
    spike = h > threshold
    return {"v": h - spike * threshold}, spike


def test_integers_have_a_product_and_a_sum() -> None:
    given: Any = {"beta": np.float64(0.9), "threshold": np.float64(1.0)}
    made = [
        fixed_point(program, given, np.asarray(2.0**-10), Format())
        for program in (leaky, rounded_twice)
    ]
    ops = [[let.op for let in each.program.body] for each in made]
    assert ops[0] == ops[1]
    assert "fma" not in ops[0]
    assert made[0].params == made[1].params


def test_programs_of_integers_have_none() -> None:
    lets = (Let("y", "fma", ("x", "x", "x")),)
    program = Dynamics("whole", ("x",), (), (), lets, (), (("y", Kind.ANALOG),), "i32")
    with pytest.raises(snnir.SnnirError, match="fma is not defined on integers"):
        program.types()


def test_text_and_mlir_keep_it() -> None:
    built = fused_graph(3)
    assert "= fma" in str(built)
    for again in (parse_graph(str(built)), snnir.from_mlir(snnir.to_mlir(built))):
        assert again.nodes["n"].op == built.nodes["n"].op
