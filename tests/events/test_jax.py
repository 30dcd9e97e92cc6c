"""The JAX function of a graph: what it gives, its gradients, its errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import snnir
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Value

jax = pytest.importorskip("jax", reason="the function is JAX's")
jnp = jax.numpy

from snnir.targets.events.jax_function import Spikes

Array = npt.NDArray[Any]
TAU = 0.01


@pytest.fixture(autouse=True)
def _float64() -> Any:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def cubalif(ratio: float = 1.0) -> Neuron:
    """Return neurons of threshold 1 in which a spike of weight 1 makes i jump by 1."""
    values = {"tau_mem": TAU, "tau_syn": TAU / ratio, "v_leak": 0.0, "r": 1.0}
    values |= {"w_in": TAU / ratio / 1e-3, "v_threshold": 1.0, "v_reset": 0.0}
    params = FrozenDict({name: snnir.tensor(np.float64(v)) for name, v in values.items()})
    return Neuron("cubalif", params, snnir.Stepping(integrator="exponential_euler"))


def graph_of(weights: list[Array], ratio: float = 1.0) -> Graph:
    """Return layers of such neurons."""
    signal = snnir.Signal(snnir.Kind.SPIKES, (weights[0].shape[1],))
    nodes: dict[str, Node] = {"input": Node("input", Input(signal), ())}
    last = "input"
    for k, weight in enumerate(weights, 1):
        nodes[f"fc{k}"] = Node(f"fc{k}", Linear(snnir.tensor(weight)), (Value(last),))
        nodes[f"lif{k}"] = Node(f"lif{k}", cubalif(ratio), (Value(f"fc{k}"),))
        last = f"lif{k}"
    return Graph(nodes, {"output": Value(last)}, name="layers", dt=1e-3).verify()


def random_layers(*sizes: int, seed: int = 0) -> list[Array]:
    """Return weights with which most neurons fire."""
    rng = np.random.default_rng(seed)
    return [rng.normal(8 / a, 6 / a, (b, a)) for a, b in pairwise(sizes)]


def closed_form(ratio: int, weight: Array, times: Array) -> tuple[float, Array, Array]:
    """Return when a neuron fires first after all of its inputs, and the derivatives.

    With tau_mem = ratio tau_syn, i jumping by w and threshold 1, v(t) is the sum of w k(t - t_i),
    k(s) = s/tau exp(-s/tau) for ratio 1 and exp(-s/tau_mem) - exp(-s/tau_syn) for 2, up to a
    factor (Göltz et al., Nature Machine Intelligence 2021). For 2 it is a quadratic in
    exp(-t/tau_mem); for 1 Lambert's function is solved here by Newton's method.
    """
    e = np.exp(times / TAU)
    if ratio == 2:
        # threshold = a x - b x², x = exp(-t / tau_mem), a = Σ w e, b = Σ w e²
        a, b = weight @ e, weight @ e**2
        root = np.sqrt(a * a - 4 * b)
        x = (a + root) / (2 * b)
        slope = (-a * x + 2 * b * x * x) / TAU
        by_weight = -(e * x - e**2 * x * x) / slope
        by_time = -weight * (e * x - 2 * e**2 * x * x) / TAU / slope
        return float(-TAU * np.log(x)), by_weight, by_time
    a, b = weight @ e, weight @ (e * times) / TAU
    y = (times.max() + 1e-4) / TAU
    for _ in range(60):
        y -= ((a * y - b) * np.exp(-y) - 1) / ((a - a * y + b) * np.exp(-y))
    t = y * TAU
    s = (t - times) / TAU
    slope = (weight * (1 - s) * np.exp(-s)).sum() / TAU
    by_time = weight * (1 - s) * np.exp(-s) / TAU / slope
    return float(t), -s * np.exp(-s) / slope, by_time


@pytest.mark.parametrize("ratio", [1, 2])
def test_one_layer_is_the_closed_form(ratio: int) -> None:
    weight = np.array([[3.0, 2.5, 2.8, -0.7]]) * (1 if ratio == 1 else 0.8)
    times = np.array([[1e-3, 2.2e-3, 1.7e-3, 0.5e-3]])
    f = snnir.to_jax(graph_of([weight], ratio), duration=0.05)

    def first(weight: Any, times: Any) -> Any:
        return f.first_spikes({"fc1.weight": weight}, times)["output"][0, 0]

    when, (by_weight, by_time) = jax.jit(jax.value_and_grad(first, (0, 1)))(weight, times)
    expected = closed_form(ratio, weight[0], times[0])
    assert times.max() < expected[0] < 0.02
    np.testing.assert_allclose(when, expected[0], rtol=1e-12)
    np.testing.assert_allclose(by_weight[0], expected[1], rtol=1e-9)
    np.testing.assert_allclose(by_time[0], expected[2], rtol=1e-9)


def test_layers_against_differences() -> None:
    f = snnir.to_jax(graph_of(random_layers(6, 8, 7, 4), 1.5), duration=0.05, capacity=400)
    times = np.random.default_rng(1).uniform(1e-3, 0.02, (3, 6))
    times[1, 2] = np.inf

    def loss(params: Any, times: Any) -> Any:
        spikes = f(params, times)["output"]
        there = jnp.isfinite(spikes.time)
        return jnp.sum(jnp.where(there, jnp.sin(100 * spikes.time) * (1 + spikes.index), 0.0))

    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    _, (by_params, by_times) = both(f.params, times)
    rng = np.random.default_rng(2)
    for path, gradient in by_params.items():
        direction = rng.normal(size=gradient.shape)
        sides = []
        for step in (-2e-7, -1e-7, 1e-7, 2e-7):
            moved = np.asarray(f.params[path]) + step * direction
            sides.append(float(both({**f.params, path: moved}, times)[0]))
        slope = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / 12e-7
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)
    assert by_times[1, 2] == 0
    assert np.abs(by_times).max() > 0


def test_currents() -> None:
    """By values of an input of real numbers, held for a step each."""
    weight = random_layers(3, 4)[0]
    graph = graph_of([weight])
    editor = graph.edit()
    editor.set_op("input", Input(snnir.Signal(snnir.Kind.ANALOG, (3,))))
    f = snnir.to_jax(editor.graph().verify(), duration=0.02)
    x = np.random.default_rng(4).normal(0.8, 0.3, (20, 2, 3))

    def loss(x: Any) -> Any:
        return jnp.sum(jnp.minimum(f.first_spikes(f.params, x)["output"], 0.02))

    both = jax.jit(jax.value_and_grad(loss))
    gradient = np.asarray(both(x)[1])
    direction = np.random.default_rng(5).normal(size=x.shape)
    sides = [float(both(x + step * direction)[0]) for step in (-1e-6, 1e-6)]
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(
        (gradient * direction).sum(), (sides[1] - sides[0]) / 2e-6, rtol=1e-6
    )


def test_what_it_gives() -> None:
    weights = random_layers(5, 6)
    f = snnir.to_jax(graph_of(weights), duration=0.05, capacity=1)
    times = np.random.default_rng(3).uniform(1e-3, 0.02, (4, 5))
    out = f(f.params, times)["output"]  # its room grows
    assert f.capacity == out.time.shape[1] > 1
    assert out.time.shape == out.index.shape
    out = Spikes(*map(np.asarray, out))
    first = np.asarray(f.first_spikes(f.params, times)["output"])
    assert first.shape == (4, 6)
    for b in range(4):
        assert np.all(np.diff(out.time[b][np.isfinite(out.time[b])]) >= 0)
        for n in range(6):
            own = out.time[b][(out.index[b] == n) & np.isfinite(out.time[b])]
            assert first[b, n] == (own.min() if own.size else np.inf)
    index = np.broadcast_to(np.arange(5), times.shape)
    order = np.argsort(-times, axis=1)
    given = Spikes(np.take_along_axis(times, order, 1), np.take_along_axis(index, order, 1))
    np.testing.assert_array_equal(f.first_spikes(f.params, given)["output"], first)
    np.testing.assert_array_equal(f.first_spikes(f.params, {"input": times})["output"], first)


def test_errors() -> None:
    graph = graph_of(random_layers(5, 6))
    times = np.full((1, 5), 1e-3)
    with pytest.raises(snnir.SnnirError, match="duration"):
        snnir.to_jax(graph)
    with pytest.raises(snnir.SnnirError, match="SNN503.*no option 'speed'"):
        snnir.to_jax(graph, duration=1.0, speed=2)
    f = snnir.to_jax(graph, duration=0.05, capacity=1)
    with pytest.raises(snnir.SnnirError, match="SNN601.*must be"):
        f(f.params, times[:, :4])
    with pytest.raises(snnir.SnnirError, match="SNN601.*params"):
        f({}, times)
    with pytest.raises(snnir.SnnirError, match="SNN601.*seconds from 0"):
        f(f.params, -times)
    with pytest.raises(Exception, match="there is room for 1"):
        jax.jit(f)({"fc1.weight": f.params["fc1.weight"] + 10.0}, times)


def test_what_has_no_gradients_is_refused() -> None:
    """Weights that are products, whole numbers; and inputs that would be taken for others."""
    first, second = random_layers(3, 3, 3)
    chain = graph_of([first, second])
    editor = chain.edit()
    operands = (Value("fc1"),)
    chained = {**chain.nodes, "fc2": Node("fc2", chain.nodes["fc2"].op, operands)}
    del chained["lif1"]
    with pytest.raises(snnir.SnnirError, match="SNN501.*products of fc1.weight and fc2.weight"):
        snnir.to_jax(Graph(chained, chain.outputs, dt=1e-3), duration=0.1)
    whole = Linear(snnir.tensor(np.ones((3, 3), np.int8)), zero=snnir.tensor(np.array(2)))
    editor.set_op("fc1", whole)
    with pytest.raises(snnir.SnnirError, match="SNN501.*fc1.weight is not of real numbers"):
        snnir.to_jax(editor.graph(), duration=0.1)
    editor = graph_of([first]).edit()
    f = snnir.to_jax(editor.graph(), duration=0.1)
    with pytest.raises(snnir.SnnirError, match="SNN601.*no samples"):
        f(f.params, np.zeros((0, 3)))
    with pytest.raises(snnir.SnnirError, match="SNN601.*fixed shape"):
        f(f.params, snnir.events.Events(np.zeros(1), np.zeros(1, int)))
    editor.set_op("input", Input(snnir.Signal(snnir.Kind.ANALOG, (3,))))
    currents = snnir.to_jax(editor.graph(), duration=0.1)
    with pytest.raises(snnir.SnnirError, match="SNN601.*not of spikes"):
        currents(f.params, Spikes(np.zeros((1, 3)), np.zeros((1, 3), int)))


def test_trained_is_a_graph() -> None:
    graph = graph_of(random_layers(5, 6))
    f = snnir.to_jax(graph, duration=0.05)
    other = f.trained({"fc1.weight": f.params["fc1.weight"] * 2})
    before, after = (g.tensors()["fc1.weight"].numpy() for g in (graph, other))
    np.testing.assert_array_equal(after, 2 * before)
