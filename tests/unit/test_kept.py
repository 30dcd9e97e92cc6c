"""What a step keeps for its gradient: few values, and enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.evaluate import compile_step
from snnir.dynamics.kept import gradient_of
from snnir.dynamics.surrogate import surrogate
from snnir.ir import Step
from tests.helpers import lif_step, params
from tests.strategies import adaptive, lif_steps


def everything(made: Any, trained: bool) -> list[Any]:
    """Return what is wanted of a gradient."""
    parts = [made.inputs, made.states, *([made.params] if trained else [])]
    return [value for part in parts for value in part.values()]


@settings(max_examples=150)
@given(
    step=st.one_of(lif_steps(1), lif_steps(2)),
    detach=st.sampled_from([True, False, "late"]),
    name=st.sampled_from(["fast_sigmoid", "atan", "triangle"]),
    trained=st.booleans(),
)
def test_the_kept_values_give_the_whole_gradient(
    step: Step, detach: Any, name: str, trained: bool
) -> None:
    program = step.program
    made = adjoint(program, surrogate(name), detach)
    kept, short = gradient_of(program, made, everything(made, trained))
    rng = np.random.default_rng(0)
    names = [*made.program.inputs, *(p for p, _ in program.params)]
    whole: dict[str, Any] = {
        key: (rng.integers(-30, 30, 200) / 16).astype(np.float32) for key in names
    }
    with np.errstate(all="ignore"):  # parameters that no neuron has
        compile_step(made.program, np.float32)(whole)
        forward = dict(whole)
        compile_step(program, np.float32)(forward)
    given_values = {*made.outputs, *made.updates.values(), *(p for p, _ in program.params)}
    env = {key: whole[key] for key in given_values} | {key: forward[key] for key in kept}
    with np.errstate(all="ignore"):
        compile_step(short, np.float32)(env)
    for value in everything(made, trained):
        if isinstance(value, str):
            np.testing.assert_array_equal(env[value], whole[value])
    assert len(kept) <= len(program.inputs) + len(program.states)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_one_value_is_enough_for_a_leaky_neuron(reset: str) -> None:
    program = lif_step(reset=reset).program
    made = adjoint(program, surrogate("atan"), True)
    kept, short = gradient_of(program, made, everything(made, False))
    assert len(kept) == 1
    assert not {*program.inputs, "v"} & {arg for let in short.body for arg in let.args}
    more, _ = gradient_of(program, made, everything(made, True), kept)
    assert more[:1] == kept
    assert len(more) == 2  # beta's gradient needs v too


def test_two_values_are_enough_for_an_adaptive_neuron() -> None:
    program = Step(adaptive, params(beta=0.5, theta=1.0)).program
    made = adjoint(program, surrogate("fast_sigmoid"), True)
    kept, _ = gradient_of(program, made, everything(made, False))
    assert len(kept) == 2  # potential and threshold, not the two states and the input
    assert "a" in kept


def test_nothing_is_kept_for_a_linear_filter() -> None:
    program = Step(snnir.LifStep(fire="never"), params(beta=0.5)).program
    made = adjoint(program, surrogate("atan"), True)
    assert gradient_of(program, made, everything(made, False))[0] == ()
