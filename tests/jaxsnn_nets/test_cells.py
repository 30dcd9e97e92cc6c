"""Neurons that jaxsnn has no module for: cells of its Functions protocol, exact under jit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    Bias,
    Current,
    Delay,
    FrozenDict,
    Input,
    Linear,
    Op,
    Scale,
    Step,
)
from snnir.streams import Kind
from tests.helpers import CORPUS, dyadic, graph, quiet_load, spikes

pytest.importorskip("jaxsnn", reason="needs jaxsnn")

import jax
import jax.numpy as jnp

pytestmark = pytest.mark.framework

f32 = np.float32
SIZE = 16

#: Members of the LIF family that round in different places.
FORMS: list[dict[str, Any]] = [
    {},
    {"synapse": "factor", "exposes_v": True},
    {
        "membrane": "pull", "leak": True, "synapse": "difference",
        "synapse_order": "decay-after", "reset": "to", "start": True,
    },
    {"membrane": "quotient", "leak": True, "start": True, "fire": "ge", "reset": "subtract"},
    {"reset": "subtract", "reset_timing": "next-step"},
    {"spikes": "multi", "reset": "subtract"},
    {"membrane": "difference", "gain": True, "clamp": "relu"},
    {"leak": True, "refractory": 3},
    {"fire": "never", "reset": "none"},
]  # fmt: skip


def cell(**attributes: Any) -> Step:
    """Return a population whose neurons differ."""
    step = snnir.LifStep(**attributes)
    typical = {
        "beta": 0.9, "threshold": 0.7, "alpha": 0.8, "k_mem": 0.13, "k_syn": 0.21, "tau": 7.3,
        "leak": 0.05, "v_start": 0.05, "gain": 0.3, "v_reset": -0.1, "v_min": -1.0, "bias": 0.02,
    }  # fmt: skip
    rng = np.random.default_rng(1)
    params = {
        name: snnir.tensor((rng.uniform(0.9, 1.1, SIZE) * typical[name]).astype(f32))
        for name, _ in step.program.params
    }
    return Step(step, FrozenDict(params))


def everything() -> snnir.Graph:
    """Return a graph with every form, delays in and out of cycles, sums, factors and offsets."""
    rng = np.random.default_rng(2)
    weights = snnir.tensor(dyadic((SIZE, SIZE), 3))
    near_one = [snnir.tensor(rng.uniform(0.5, 1.5, SIZE).astype(f32)) for _ in range(2)]
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(snnir.Signal(Kind.ANALOG, (SIZE,))), []),
        **{f"form {at}": (cell(**form), ["x"]) for at, form in enumerate(FORMS)},
        "scale": (Scale(near_one[0]), ["x"]),
        "bias": (Bias(near_one[1]), ["scale"]),
        "late": (Delay(3), ["bias"]),
        "sum": (Add(), ["bias", "late", "bias"]),
        "one": (cell(), ["sum"]),
        "one late": (Delay(2), ["one"]),
        "one current": (Current(), ["one late"]),
        "back": (Delay(1), ["two"]),
        "loop": (Linear(weights), ["back"]),
        "far back": (Delay(4), ["two"]),
        "far current": (Current(), ["far back"]),
        "drive": (Add(), ["loop", "one current", "far current", "x"]),
        "two": (cell(membrane="integrate"), ["drive"]),
        "out": (Linear(snnir.tensor(dyadic((4, SIZE), 5)), snnir.tensor(dyadic((4,), 6))), ["two"]),
        "last": (Linear(snnir.tensor(dyadic((4, 4), 7))), ["out"]),
    }
    made = graph(nodes, "last", dt=1e-3)
    editor = made.edit()
    editor.outputs.update({name: snnir.Value(name) for name in nodes if name.startswith("form")})
    editor.outputs["sum"] = snnir.Value("sum")
    editor.outputs["two"] = snnir.Value("two")
    return editor.graph().verify()


def test_cells_round_as_their_programs_say() -> None:
    made = everything()
    x = np.random.default_rng(0).normal(0.3, 0.6, (60, 3, SIZE)).astype(f32)
    theirs = snnir.compile(made, "jaxsnn", level=0).run(x, ["one"])
    ours = snnir.run(made, x, ["one"])
    assert ours.recorded["one"].sum() > 100
    np.testing.assert_array_equal(theirs.recorded["one"], ours.recorded["one"])
    for name, y in ours.outputs.items():
        np.testing.assert_array_equal(theirs.outputs[name], y, err_msg=name)


@pytest.mark.parametrize("name", ["braille_zero", "srnn_bool_weights"])
def test_published_networks_run_in_jaxsnn(name: str) -> None:
    """Recurrent networks, stepped as Norse steps them."""
    path = CORPUS / f"{name}.nir"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    made = quiet_load(path, semantics="norse", repair=True)
    x = {n: spikes((40, 2, *signal.shape)) for n, signal in made.inputs.items()}
    theirs = snnir.compile(made, "jaxsnn", paradigm="discrete").run(x)
    ours = snnir.run(made, x)
    assert ours.output.sum() > 20
    np.testing.assert_array_equal(theirs.output, ours.output)


def test_cells_can_be_trained() -> None:
    """Spikes have jaxsnn's surrogate derivative, so that weights before them have gradients."""
    made = graph(
        {
            "x": (Input(snnir.Signal(Kind.SPIKES, (4,))), []),
            "w": (Linear(snnir.tensor(dyadic((SIZE, 4), 1))), ["x"]),
            "a": (cell(), ["w"]),
            "v": (Linear(snnir.tensor(dyadic((3, SIZE), 2))), ["a"]),
            "b": (cell3(), ["v"]),
        },
        "b",
        dt=1e-3,
    )
    net, params = snnir.export(made, "jaxsnn")
    _, apply = net.done()
    x = jnp.asarray((np.random.default_rng(0).random((20, 4)) < 0.5).astype(f32))

    def loss(weights: Any) -> Any:
        _, outputs = apply({"x": x}, {**params, "w": weights})
        return outputs["b"].sum()

    gradient = np.asarray(jax.jit(jax.grad(loss))(params["w"]))
    assert np.isfinite(gradient).all()
    assert (gradient != 0).mean() > 0.5


def cell3() -> Step:
    """Return a readout of three neurons."""
    step = snnir.LifStep(fire="never", reset="none")
    return Step(step, FrozenDict({"beta": snnir.tensor(0.9)}))
