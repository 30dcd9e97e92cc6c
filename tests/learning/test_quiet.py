"""Which rules leave a synapse alone where nothing spikes, and under which conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnir.dynamics import Dynamics, Let, State
from snnir.dynamics.evaluate import neuron_function
from snnir.dynamics.quiet import LIMIT, resting
from tests.learning.networks import pair, rewarded


def single(values: Any) -> Any:
    """Return numbers in single precision."""
    return np.asarray(values, np.float32)


PARAMS = {"weight": single([[0.5]]), "k": single(0.25), "b": single([[0.5], [1.0]])}


def rule(*body: tuple[Any, ...], update: str = "new", state: str = "") -> Dynamics:
    """Return a rule of (target, op, *operands); its inputs are spikes `s`, `p` and a trace `x`."""
    lets = tuple(Let(target, op, args) for target, op, *args in body)  # type: ignore[arg-type]
    states = [State("w", "weight", lasting=True), *([State("e")] if state else [])]
    updates = [("w", update), *([("e", state)] if state else [])]
    params = (("weight", "1"), ("k", "1"), ("b", "1"))
    inputs = ("s", "p", "x")
    return Dynamics("rule", inputs, params, tuple(states), lets, tuple(updates), ())


def found(program: Dynamics, **params: Any) -> frozenset[str] | None:
    """Return the conditions of a rule that the checker accepts."""
    program.types()
    given = {**PARAMS, **params}
    return resting(program, ("s", "p"), given, np.float32)


ADDED = (("a", "mul", "s", "x"), ("d", "batch_sum", "a"))
RESTS: dict[str, tuple[Dynamics, frozenset[str]]] = {
    "a sum": (rule(*ADDED, ("new", "add", "w", "d")), frozenset("x")),
    "a zero first": (rule(*ADDED, ("new", "add", "d", "w")), frozenset("x")),
    "a difference": (rule(*ADDED, ("new", "sub", "w", "d")), frozenset("x")),
    "no trace": (rule(("d", "batch_sum", "s"), ("new", "add", "w", "d")), frozenset()),
    "bounds": (
        rule(*ADDED, ("u", "add", "w", "d"), ("v", "max", "u", 0.0), ("new", "min", "b", "v")),
        frozenset("x"),
    ),
    "a mask": (
        rule(
            *ADDED, ("u", "add", "w", "d"), ("m", "gt", "b", 0.75), ("new", "select", "m", "u", 0.0)
        ),
        frozenset("x"),
    ),
    "a soft bound": (
        rule(
            ("r", "sub", 1.0, "w"), ("q", "mul", "s", "r"), ("d", "batch_sum", "q"),
            ("u", "add", "w", "d"), ("v", "max", "u", 0.0), ("new", "min", "v", 1.0),
        ),
        frozenset("w"),
    ),
    "a choice by spikes": (
        rule(
            ("t", "gt", "s", 0.5), ("a", "select", "t", "x", 0.0), ("d", "batch_sum", "a"),
            ("new", "add", "w", "d"),
        ),
        frozenset(),
    ),
    "either spike": (
        rule(
            ("t", "gt", "s", 0.5), ("q", "gt", "p", 0.5), ("o", "or", "t", "q"),
            ("c", "cast", "o"), ("d", "batch_sum", "c"), ("new", "sub", "w", "d"),
        ),
        frozenset(),
    ),
    "both spikes": (
        rule(
            ("t", "gt", "s", 0.5), ("y", "gt", "x", 0.5), ("o", "and", "t", "y"),
            ("c", "cast", "o"), ("d", "batch_sum", "c"), ("new", "sub", "w", "d"),
        ),
        frozenset(),
    ),
    "a count": (
        rule(
            ("d", "batch_sum", "s"), ("new", "add", "w", "d"), ("f", "add", "e", "p"), state="f"
        ),
        frozenset(),
    ),
}  # fmt: skip

CHANGES: dict[str, Dynamics] = {
    "no spike": rule(("d", "batch_sum", "x"), ("new", "add", "w", "d")),
    "decay": rule(("new", "mul", "w", "k")),
    "a decay beside": rule(
        ("d", "batch_sum", "s"), ("new", "add", "w", "d"), ("f", "mul", "e", 0.5), state="f"
    ),
    "another state": rule(
        ("d", "batch_sum", "s"), ("new", "add", "w", "d"), ("f", "max", "w", 0.0), state="f"
    ),
    "what may be infinite": rule(
        ("y", "exp", "x"), ("a", "mul", "s", "y"), ("d", "batch_sum", "a"), ("new", "add", "w", "d")
    ),
    "a quotient": rule(
        ("a", "div", "s", "x"), ("d", "batch_sum", "a"), ("new", "add", "w", "d")
    ),
    "a soft bound that does not hold": rule(
        ("r", "sub", 1.0, "w"), ("q", "mul", "s", "r"), ("d", "batch_sum", "q"), ("new", "add", "w", "d")
    ),
    "bounds before": rule(
        *ADDED, ("v", "max", "w", 0.0), ("u", "min", "v", 1.0), ("new", "add", "u", "d")
    ),
    "a bound that spikes move": rule(
        ("d", "batch_sum", "s"), ("u", "add", "w", "d"), ("y", "add", 1.0, "d"), ("new", "min", "u", "y")
    ),
    "a bound of a sample that its spikes move": rule(
        ("d", "batch_sum", "s"), ("new", "add", "w", "d"), ("t", "gt", "s", 0.5),
        ("y", "select", "t", 5.0, 1.0), ("u", "add", "e", "p"), ("f", "min", "u", "y"), state="f"
    ),
    "a bound of -0": rule(*ADDED, ("u", "add", "w", "d"), ("new", "max", "u", -0.0)),
    "a product at the end": rule(*ADDED, ("u", "add", "w", "d"), ("new", "mul", 1.0, "u")),
    "a difference from a zero": rule(*ADDED, ("new", "sub", "d", "w")),
}  # fmt: skip


@pytest.mark.parametrize("name", RESTS)
def test_rests(name: str) -> None:
    program, small = RESTS[name]
    assert found(program) == small


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str) -> None:
    assert found(CHANGES[name]) is None


def test_parameters_count() -> None:
    """What a parameter may make infinite, or -0, is not left out."""
    bounded = rule(*ADDED, ("u", "add", "w", "d"), ("new", "max", "u", "b"))
    assert found(bounded) == frozenset("x")
    assert found(bounded, b=single([[0.5], [-0.0]])) is None
    assert found(bounded, b=np.asarray([[0.5], [-1e-60]])) is None  # -0 as float32
    scaled = rule(("y", "mul", "x", "k"), ("a", "mul", "s", "y"), ("d", "batch_sum", "a"),
                  ("new", "add", "w", "d"))  # fmt: skip
    assert found(scaled) == frozenset("x")
    assert found(scaled, k=single(3e38)) is None
    assert found(scaled, k=single(np.nan)) is None
    decay = rule(("a", "mul", "w", "k"), ("v", "sub", "w", "a"), ("z", "mul", "v", 0.0),
                 ("new", "add", "w", "z"))  # fmt: skip
    assert found(decay) is None  # unbounded weights: no proof that they stay finite


def test_shared_rules() -> None:
    values: Mapping[str, Any] = {"weight": single([[1]]), "wmax": single(1)}
    rates = {"nu0": single(0.01), "nu1": single(0.01)}
    assert resting(pair, ("pre", "post"), {**values, **rates}, np.float32) == frozenset(
        ("x_pre", "x_post")
    )
    assert resting(pair, ("pre",), {**values, **rates}, np.float32) is None
    rest = {"nu": single(0.01), "decay": single(0.5)}
    assert resting(rewarded, ("pre", "post"), {**values, **rest}, np.float32) is None


@pytest.mark.parametrize("name", RESTS)
def test_it_is_true(name: str) -> None:
    """Where nothing spikes, a second step gives every bit of what a first one left."""
    program, _ = RESTS[name]
    step = neuron_function(replace(program, outputs=()), PARAMS, np.float32, np.float32)
    rng, zero = np.random.default_rng(0), np.zeros((3, 2, 5), np.float32)
    states = {"w": rng.normal(size=(1, 2, 5)).astype(np.float32)}
    if any(state.name == "e" for state in program.states):
        states["e"] = rng.normal(size=(3, 2, 5)).astype(np.float32)
    for number in range(12):
        spikes = (rng.random((2, *zero.shape)) < 0.5).astype(np.float32) * (number % 3 == 0)
        x = rng.choice(single([-LIMIT, -0.25, -0.0, 0.0, 3.0, LIMIT]), zero.shape)
        before = {key: value.copy() for key, value in states.items()}
        step(*spikes, x, states)
        if number % 3:
            assert all(states[key].tobytes() == before[key].tobytes() for key in before)
