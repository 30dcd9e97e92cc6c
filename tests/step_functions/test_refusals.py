"""What no graph does is refused, with the equation and the line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

jax = pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp

import snnir

V = jnp.zeros(5)
KEY = jax.random.key(0)


def code(step: Any, state: Any = V, example: Any = V, **options: Any) -> tuple[set[str], str]:
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_jax(step, state, example, **options)
    return {d.code for d in caught.value.diagnostics}, str(caught.value)


def noisy(s: Any, x: Any) -> Any:
    return s + jax.random.normal(KEY, (5,)), s


def own_noise(s: Any, x: Any) -> Any:
    v, key = s
    key, sub = jax.random.split(key)
    return (v + jax.random.normal(sub, (5,)), key), v


def until(s: Any, x: Any) -> Any:
    return jax.lax.while_loop(lambda v: v.sum() > 1.0, lambda v: v * 0.5, s + x), s


def ordered(s: Any, x: Any) -> Any:
    return s + x, jnp.argmax(s)


def branching(s: Any, x: Any) -> Any:
    return (s + x if s.sum() > 0 else s), s


def branched(s: Any, x: Any) -> Any:
    return jax.lax.cond(x[0] > 0, lambda: s, lambda: s * 2), s


def indexed(s: Any, x: Any) -> Any:
    return s + x, s[jnp.int32(x[0])]


def squared(s: Any, x: Any) -> Any:
    return s, jnp.outer(s, x) @ s


def narrow(s: Any, x: Any) -> Any:
    return s + 1, s.astype(jnp.uint8)


def narrow_squared(s: Any, x: Any) -> Any:
    return s, x.astype(bool).astype(jnp.uint8) ** 2


def divided(s: Any, x: Any) -> Any:
    return s, jax.lax.div(jnp.sign(jnp.int32(x)) * jnp.int32(s) ** 2, jnp.int32(3))


EQUATIONS: list[tuple[Callable[..., Any], str, str]] = [
    (noisy, "SNN806", "random_bits"),
    (until, "SNN804", "while"),
    (ordered, "SNN803", "argmax"),
    (branched, "SNN804", "cond"),
    (indexed, "SNN804", "dynamic_slice"),
    (squared, "SNN803", "dot_general"),
    (narrow, "SNN807", "convert_element_type"),
    (narrow_squared, "SNN807", "integer_pow"),
    (divided, "SNN803", "div"),
]


@pytest.mark.parametrize(("step", "wanted", "primitive"), EQUATIONS)
def test_equations_without_counterpart(step: Any, wanted: str, primitive: str) -> None:
    codes, text = code(step)
    assert codes == {wanted}
    assert f"`{primitive} " in text
    line = step.__code__.co_firstlineno + 1
    assert f"test_refusals.py:{line} ({step.__name__})" in text


def test_random_numbers_from_a_key_in_the_state() -> None:
    codes, text = code(own_noise, (V, jax.random.PRNGKey(0)))
    assert codes == {"SNN806"}
    assert "an input of the step" in text


def test_the_course_of_a_step_may_not_depend_on_values() -> None:
    codes, text = code(branching)
    assert codes == {"SNN804"}
    assert "jnp.where" in text
    assert "test_refusals.py" in text


def test_all_of_them_are_listed_but_no_more_than_twenty() -> None:
    codes, text = code(lambda s, x: (jnp.sin(s) + jnp.cumsum(x), jnp.sort(s)))
    assert codes == {"SNN803"}
    assert all(f"`{name} " in text for name in ("sin", "cumsum", "sort"))

    def many(s: Any, x: Any) -> Any:
        for n in range(30):
            s = jnp.sin(s + n)
        return s, x

    codes, text = code(many)
    assert len(text.splitlines()) <= 20


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda s, x: s + x, "must return (state, output)"),
        (lambda s, x: ({"v": s, "w": s}, s), "another structure"),
        (lambda s, x: (jnp.concatenate([s, x]), s), "float32[5] before the step and float32[10]"),
        (lambda s, x: ((s + x).astype(jnp.int32), s), "int32[5] after it"),
        (lambda s, x: (s + x[:3], s), "TypeError"),
        (lambda s, x: (s, 1 / 0), "ZeroDivisionError"),
        (lambda s, x: sys.exit(0), "SystemExit"),
        (3, "takes a step function, got int"),
    ],
)
def test_functions_that_are_no_step(step: Any, message: str) -> None:
    codes, text = code(step)
    assert codes == {"SNN801"}
    assert message in text


@pytest.mark.parametrize(
    ("state", "example", "wanted"),
    [
        (V, None, "SNN801"),
        (V, (), "SNN801"),
        ("text", V, "SNN801"),
        (jnp.zeros(0), jnp.zeros(0), "SNN801"),
        (V + 1j, V, "SNN807"),
        (V.astype(jnp.bfloat16), V, "SNN807"),
    ],
)
def test_states_and_examples_that_are_none(state: Any, example: Any, wanted: str) -> None:
    assert code(lambda s, x: (s + x, s), state, example)[0] == {wanted}


def test_samples_may_not_be_mixed() -> None:
    batch = jnp.zeros((3, 5))
    steps: list[Any] = [
        lambda s, x: (s + x - x.mean(0), s),
        lambda s, x: (s + x, s.sum()),
        lambda s, x: (s + x * jnp.arange(3.0)[:, None], s),
        lambda s, x: (s[::-1] + x, s),
        lambda s, x: (s + x, s.reshape(-1)),
    ]
    for step in steps:
        codes, text = code(step, batch, batch, batched=True)
        assert codes == {"SNN803"}
        assert "samples" in text or "batch" in text
    assert code(lambda s, x: (s + x, s), V, V[:1], batched=True)[0] == {"SNN801"}


def test_options_and_outputs() -> None:
    assert code(lambda s, x: (s + x, s), contraction="all")[0] == {"SNN801"}
    assert code(lambda s, x: (s + x, s), ties="half")[0] == {"SNN801"}
    assert code(lambda s, x: (s + x, jnp.ones(3)))[0] == {"SNN803"}


def test_a_loop_that_is_too_long_to_write_out() -> None:
    codes, text = code(lambda s, x: (jax.lax.fori_loop(0, 999, lambda i, v: v * 0.5 + x, s), s))
    assert codes == {"SNN803"}
    assert "repeats 999 times" in text
