"""Emitted modules are plain upstream MLIR: its passes lower them, its compiler runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Conv2d, Flatten, FrozenDict, Graph, Input, Linear, MaxPool2d, Neuron, Op, Step
from snnir.streams import Kind, Signal
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.conformance.test_steps import nested
from tests.helpers import feed_forward, graph, lif_step, params, recurrent
from tests.mlir_code.upstream import Network
from tests.passes.test_quantize import readout
from tests.targets import OPS, alone, every_value, inputs, neuron_graph, scalar_steps, t, tangled

STEPS, BATCH = 8, 2
#: Of `OPS`: what is more than one loop over elements.
SOME = [
    "linear with bias", "linear over the last axis", "sparse, blocks of 8", "sparse, no weights",
    "conv2d, uneven", "conv2d, groups", "conv1d", "sum_pool2d", "avg_pool2d", "max_pool2d",
    "batch_norm", "concat", "slice", "permute", "pad", "winner", "delay", "delay longer than the run",
    "delay per element",
]  # fmt: skip


def pictures() -> Graph:
    """A convolution, a maximum over windows, and a matrix, with populations between them."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (2, 9, 8))), []),
        "conv": (Conv2d(t(5, 2, 3, 3), t(5), padding=((1, 1), (2, 0))), ["x"]),
        "pool": (MaxPool2d((3, 2), (2, 2)), ["conv"]),
        "lif": (lif_step(reset="subtract"), ["pool"]),
        "flat": (Flatten(), ["lif"]),
    }
    size = graph(nodes, "flat", dt=1e-3).signal("flat").size
    nodes["fc"] = (Linear(t(4, size), t(4)), ["flat"])
    nodes["out"] = (lif_step(refractory=2, reset="to"), ["fc"])
    return graph(nodes, "out", dt=1e-3)


def agrees(built: Graph, ulps: int = 0, precision: str = "float32") -> None:
    """Every output, stream, state and spike count is the reference's, and so in a second run.

    A run is two whole calls and one of which only a part counts.
    """
    net = Network(built, STEPS, BATCH, precision)
    reference = snnir.compile(built, "numpy", level=0, precision=precision)
    net.rest()
    for run in range(2):
        x = inputs(built, 2 * STEPS + 3, BATCH, seed=run)
        with np.errstate(all="ignore"):
            want = reference.run(x, every_value(built), resume=bool(run))
        before = net.states
        outputs, traces, spikes = net.run(x, "trace")
        after, net.states = net.states, before
        plain, none, again = net.run(x, "run")
        assert not none
        for name, value in want.recorded.items():
            same(traces[name], value, name, ulps)
        for name, value in want.outputs.items():
            same(outputs[name], value, name, ulps)
            np.testing.assert_array_equal(plain[name], outputs[name], name)
        for one, other in zip(net.states, after, strict=True):
            np.testing.assert_array_equal(one, other)
        for name in snnir.populations(built):
            assert spikes[name].sum() == want.recorded[name].sum(), name
            np.testing.assert_array_equal(spikes[name], again[name])


def same(found: Any, wanted: Any, name: str, ulps: int) -> None:
    """Two arrays have the same numbers, or such as are so many ulps apart."""
    if ulps:
        np.testing.assert_allclose(found, wanted, rtol=ulps * 1.2e-7, atol=ulps * 1e-7)
    else:
        np.testing.assert_array_equal(found, wanted, name)


@pytest.mark.parametrize("name", ["feed forward", "recurrent", "tangled", "pictures"])
def test_networks(name: str) -> None:
    makers = {
        "feed forward": feed_forward, "recurrent": lambda: recurrent(2), "tangled": tangled,
        "pictures": pictures,
    }  # fmt: skip
    agrees(makers[name]())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["reproducible", "float64"])
def test_precisions(precision: str) -> None:
    agrees(tangled(), precision=precision)


@pytest.mark.parametrize(
    "options",
    [
        "", pytest.param("bits=16,state-bits=32", marks=pytest.mark.slow),
        pytest.param("shifts,rounding=floor", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_integers(options: str) -> None:
    agrees(readout().apply(f"quantize{{{options}}}"))


@pytest.mark.parametrize("name", SOME)
def test_ops(name: str) -> None:
    op, shapes = OPS[name]
    agrees(alone(op, *shapes))


def one_step(
    steps: dict[str, Step], x: Any, y: Any, precision: str = "float32"
) -> dict[str, tuple[Any, Any]]:
    """Return what steps give for two inputs [1, 1, N], here and in the reference."""
    built, given = neuron_graph(list(steps.values()), (x.size,)), {"x": x, "y": y}
    net = Network(built, 1, 1, precision, traced=[False])
    net.rest()
    found = net.run(given, "run")[0]
    with np.errstate(all="ignore"):
        wanted = simulate(build_model(built, precision), given)[0]
    return {name: (found[f"o{k}"], wanted[f"o{k}"]) for k, name in enumerate(steps)}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_scalar_op(precision: str) -> None:
    """On zeros of both signs, infinities, NaN, and numbers below the normal ones."""
    for name, (found, wanted) in one_step(*scalar_steps(), precision).items():
        same(found, wanted, name, 4 if name in ("exp", "log", "tanh", "pow") else 0)
        if name not in ("min", "max"):  # of two zeros, either is the smaller
            numbers = ~np.isnan(wanted)
            np.testing.assert_array_equal(
                np.signbit(found[numbers]), np.signbit(wanted[numbers]), name
            )


def test_powers_have_the_exceptions_of_c() -> None:
    inf = np.inf
    odd = np.array([0, -0.0, 0.5, 1, -1, 2, -2, 3, -3, 1.5, -2.5, inf, -inf, np.nan], np.float32)
    x, y = (a.reshape(1, 1, -1) for a in np.meshgrid(odd, odd))
    found, wanted = one_step({"pow": scalar_steps()[0]["pow"]}, x, y)["pow"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    numbers = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(wanted[numbers]))


@pytest.mark.slow
def test_functions_of_libm() -> None:
    """`exp` and `pow` in a population's own program, and the `exp` of a published model."""
    agrees(neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,)), ulps=32)
    model = snnir.MODELS["adex"]
    own = {p: snnir.tensor(0.01 if p in model.time_constants else 1.0) for p in model.params}
    stepping = snnir.preset("exact").for_model("adex")
    continuous = alone(Neuron("adex", FrozenDict(own), stepping), (3,))
    agrees(snnir.compile(continuous, "numpy", level=0).graph, ulps=64)
