"""Synapses with a delay each: stepped by every target's own ops, exact in continuous time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, Input, Signal
from snnir.streams import Kind
from snnir.targets.events.build import build_network
from tests.events.nets import neuron

RNG = np.random.default_rng(3)
WEIGHT = RNG.integers(-8, 9, (4, 3)) / 8.0
SECONDS = RNG.integers(0, 6, (4, 3)) * 1e-3


def network(weight: Any, delays: Any, dt: float = 1e-3) -> Graph:
    editor = Graph({}, {}, dt).edit()
    x = editor.add("x", Input(Signal(Kind.COUNTS, (weight.shape[1],))))
    sums = snnir.delayed_linear(editor, "w", x, weight, delays, dt=dt)
    editor.outputs["sum"] = sums
    editor.outputs["spikes"] = editor.add("n", neuron("cubalif"), [sums])
    return editor.graph().verify()


@pytest.mark.parametrize("target", ["numpy", "native"])
def test_steps(target: str) -> None:
    x = RNG.integers(0, 2, (20, 2, 3)).astype(np.float32)
    got = snnir.compile(network(WEIGHT, SECONDS), target).run(x).outputs["sum"]
    late = np.rint(SECONDS / 1e-3).astype(int)
    wanted = np.zeros((20, 2, 4))
    for o, i in np.ndindex(WEIGHT.shape):
        steps = late[o, i]
        wanted[steps:, :, o] += WEIGHT[o, i] * x[: 20 - steps, :, i]
    np.testing.assert_array_equal(got, wanted)


def test_events_take_delays_as_they_are() -> None:
    weight, delays = RNG.normal(0, 1, (5, 4)), RNG.random((5, 4)) * 0.01
    weight[1, 2] = weight[3] = 0.0
    graph = network(weight, delays)
    editor = graph.edit()
    del editor.outputs["sum"]
    found = build_network(editor.graph()).synapses
    source = np.repeat(np.arange(len(found.first) - 1), np.diff(found.first))
    inputs = source < 4
    got = {(int(o), int(i)): (w, d) for o, i, w, d in zip(
        found.target[inputs], source[inputs], found.weight[inputs], found.delay[inputs], strict=True
    )}  # fmt: skip
    where = zip(*np.nonzero(weight), strict=True)
    assert got == {(int(o), int(i)): (weight[o, i], delays[o, i]) for o, i in where}


def test_copies_are_no_weights_to_train() -> None:
    pytest.importorskip("jax", reason="gradients are JAX's")
    editor = network(WEIGHT, SECONDS).edit()
    del editor.outputs["sum"]
    assert list(snnir.to_jax(editor.graph(), duration=0.01).params) == ["w.values"]


@pytest.mark.parametrize(
    ("weight", "delays", "dt", "code"),
    [
        (np.zeros((2, 3)), 0.0, 1e-3, "SNN202"),
        (np.ones(3), 0.0, 1e-3, "SNN202"),
        (np.ones((2, 3)), np.ones(2), 1e-3, "SNN202"),
        (np.ones((2, 3)), -1e-3, 1e-3, "SNN105"),
        (np.ones((2, 3)), np.nan, 1e-3, "SNN105"),
        (np.full((2, 3), np.inf), 0.0, 1e-3, "SNN105"),
        (np.ones((2, 3)), 0.0, 0.0, "SNN303"),
    ],
)
def test_what_does_not_fit(weight: Any, delays: Any, dt: float, code: str) -> None:
    editor = Graph({}, {}).edit()
    x = editor.add("x", Input(Signal(Kind.SPIKES, (3,))))
    with pytest.raises(snnir.SnnirError, match=code):
        snnir.delayed_linear(editor, "w", x, weight, delays, dt=dt)
