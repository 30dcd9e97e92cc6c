"""The XLA target learns as the reference does, in every bit."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the xla target needs jax")

import snnir
from snnir import kernels, kernels_learning
from snnir.dynamics.batch import snn_batch_sum
from snnir.ir import Graph, Input, Node, Signal, Step, Tensor, Uniform, Value
from snnir.ir.pooling import PickMax2d
from snnir.streams import Kind
from snnir.targets.xla_sim import kernels as xla_kernels
from snnir.targets.xla_sim import learning
from snnir.tensors import FrozenDict
from tests.learning.networks import (
    below,
    inputs_of,
    learning_graph,
    pair,
    random_graph,
    rewarded,
    same,
)

pytestmark = pytest.mark.framework

WATCH = ["synapses", "synapses:w", "out:theta", "out:v", "x.trace"]
LOW = np.float32(-np.inf)
RNG = np.random.default_rng


def changed(graph: Graph, **options: Any) -> Graph:
    """Return the graph with other options of its synapses."""
    editor = graph.edit()
    op: Any = graph.nodes["synapses"].op
    editor.set_op("synapses", replace(op, **options))
    return editor.graph().verify()


def wide_graph() -> Graph:
    """Return a rule in float64 between streams of float32, and a total for every neuron."""
    graph = learning_graph()
    op: Any = graph.nodes["synapses"].op
    weight = snnir.tensor(op.weight.numpy().astype(np.float64) / 3)
    params = FrozenDict({**op.params, "weight": weight})
    total = Tensor(np.array([1, 0.7, 2, 3], np.float64))
    return changed(graph, rule=replace(pair, dtype="f64"), params=params, total=total)


CASES: dict[str, tuple[Graph, str, int, int]] = {
    "one neuron": (learning_graph(pair, 7, 1), "float32", 28, 1),
    "cascade": (changed(learning_graph(pair, 13, 9), sums="cascade"), "float32", 28, 3),
    "float64": (learning_graph(rewarded, 13, 9, total=None), "float64", 28, 2),
    "tiles": (wide_graph(), "reproducible", 160, 5),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str) -> None:
    graph, precision, steps, batch = CASES[name]
    watch = WATCH + (["synapses:e"] if name == "float64" else [])
    reference = snnir.compile(graph, "numpy", precision=precision)
    made: Any = snnir.compile(graph, "xla", precision=precision)
    x = inputs_of(graph, steps, batch)
    want = reference.run(x, watch)
    assert want.output.sum() > 5
    for state, value in want.lasting.items():
        assert not np.array_equal(want.recorded[state][0, 0], value), "it learns"
    same(made.run(x, watch), want)
    want = reference.run(x, watch, resume=True)
    same(made.run(x, watch, resume=True), want)
    given = {state: value.astype(np.float64) for state, value in want.lasting.items()}
    same(made.run(x, watch, lasting=given), reference.run(x, watch, lasting=given))
    fewer = {node: value[: steps - 2] for node, value in x.items()}
    partly = {"out:theta": given["out:theta"]}
    same(made.run(fewer, watch, lasting=partly), reference.run(fewer, watch, lasting=partly))
    # The same compiled program ran all of them, also where a run has a few steps less.
    simulator = made.simulator
    assert [simulator._run._cache_size(), simulator._rest._cache_size()] == [1, 1]


def test_random_numbers() -> None:
    """Also where the counter wraps; padded samples and steps change nothing."""
    for precision, shape in (("float32", (3, 2)), ("float64", ())):
        graph = random_graph(shape, seed=0xFEDCBA9876543210)
        x = inputs_of(graph, 30, 3)
        reference = snnir.compile(graph, "numpy", precision=precision)
        made = snnir.compile(graph, "xla", precision=precision)
        runs: list[dict[str, Any]] = [{}, {"resume": True}, {"lasting": {"u:step": 2**32 - 7}}]
        for options in runs:
            same(made.run(x, ["u"], **options), reference.run(x, ["u"], **options))


def test_uniform_by_places() -> None:
    steps = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    for seed in (0, 2**32 + 5, 2**64 - 1):
        draw = partial(learning.uniform, seed, batch=3, shape=(2, 5), kind="float32")
        found = jax.jit(lambda n, draw=draw: draw(steps=n))(steps)
        for index, step in enumerate(steps.tolist()):
            wanted = kernels_learning.uniform(seed, step, 3, (2, 5), np.float32)
            np.testing.assert_array_equal(found[index], wanted)
    places = np.array([2**31, 2**32 - 1], np.uint32)
    word = jax.jit(partial(learning.threefry, (7, 9)))(np.uint32(4), places)
    np.testing.assert_array_equal(word, kernels_learning.threefry((7, 9), (4, places)))


def test_sums_in_order() -> None:
    rng = RNG(3)
    weight = rng.normal(size=(17, 300)).astype(np.float32)
    x = rng.normal(size=(4, 300)).astype(np.float32) * (rng.random((4, 300)) < 0.4)
    x[2] = 0
    weight[:, x.any(0).argmin()] = np.nan  # never read
    found = np.asarray(jax.jit(learning.plastic_sum)(x, weight, LOW))
    np.testing.assert_array_equal(found, kernels_learning.plastic_sum(x, weight))
    assert not np.isnan(found).any()
    assert not np.array_equal(found, x @ np.nan_to_num(weight).T)
    for batch in (1, 32, 33):  # in one expression, and by a loop
        y = rng.normal(size=(batch, 40)).astype(np.float32)
        np.testing.assert_array_equal(jax.jit(learning.snn_batch_sum)(y), snn_batch_sum(y))


def test_normalised() -> None:
    rng = RNG(4)
    cases = ((33, 5000, "cascade"), (3, 70, "cascade"), (9, 1, "cascade"), (9, 70, "order"))
    for post, pre, sums in cases:
        weight = rng.normal(size=(post, pre)).astype(np.float32)
        weight[-1] = 0
        total = rng.random(post).astype(np.float32)
        found = jax.jit(partial(learning.normalised, sums=sums))(weight, total, low=LOW)
        wanted = kernels_learning.normalised(weight, total, sums)
        np.testing.assert_array_equal(found, wanted, f"{post} {pre} {sums}")


def test_pick_max() -> None:
    rng = RNG(5)
    scores = rng.integers(-2, 2, (4, 2, 7, 6)).astype(np.float32)  # ties: the first wins
    scores[0, 0] = -np.inf  # padding is not chosen before it
    values = rng.normal(size=scores.shape).astype(np.float32)
    options: dict[str, Any] = {"kernel": (2, 3), "stride": (2, 1), "padding": ((1, 0), (1, 1))}
    pick = jax.jit(partial(xla_kernels.pick_max_pool, **options))
    wanted = kernels.pick_max_pool(scores, values, **options)
    np.testing.assert_array_equal(pick(scores, values), wanted)
    scores = np.maximum(scores, -2)
    given = jax.grad(lambda x: pick(scores, x).sum())(values)
    assert given.sum() == wanted.size
    nodes = [
        *(Node(name, Input(Signal(Kind.ANALOG, (2, 7, 6)))) for name in "ab"),
        Node("y", PickMax2d(**options), (Value("a"), Value("b"))),
    ]
    graph = Graph({n.name: n for n in nodes}, {"y": Value("y")}, dt=1e-3).verify()
    found = snnir.compile(graph, "xla").run({"a": scores[:, None], "b": values[:, None]}).output
    wanted = kernels.pick_max_pool(scores, values, **options)
    np.testing.assert_array_equal(found[:, 0], wanted)


# --- As a function, and in a folder --------------------------------------------------------------


def drawn_graph() -> Graph:
    """Return synapses that learn from random spikes, whose chances are the input."""
    graph = learning_graph()
    nodes = {name: node for name, node in graph.nodes.items() if name != "x"}
    signal = Signal(Kind.ANALOG, (6,))
    first = [
        Node("p", Input(signal)),
        Node("u", Uniform(11), (Value("p"),)),
        Node("x", Step(below), (Value("u"), Value("p"))),
    ]
    nodes = {node.name: node for node in first} | nodes
    return Graph(nodes, graph.outputs, dt=1e-3).verify()


def read(path: Path) -> dict[str, Any]:
    """Return the arrays of a results file by name."""
    with np.load(path) as file:
        return {str(name): file[f"array_{i}"] for i, name in enumerate(file["names"])}


def test_folder_and_exported_program(tmp_path: Path, monkeypatch: Any) -> None:
    """They run from their files alone, give what lasts and take it up again."""
    graph = drawn_graph()
    x = inputs_of(graph, 30, 3)["p"]
    reference = snnir.compile(graph, "numpy")
    first = reference.run(x)
    second = reference.run(x, lasting=first.lasting)
    assert not np.array_equal(first.output, second.output)
    snnir.compile(graph, "xla").save(tmp_path / "out")
    np.save(tmp_path / "x.npy", x)
    entries = {f"lasting/{name}": value for name, value in first.lasting.items()}
    np.savez(tmp_path / "first.npz", **entries)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    command = ["out/model.py", "x.npy", "--lasting", "first.npz", "-o"]
    subprocess.run([sys.executable, "-I", *command, "exported.npz", "--exported"], check=True)
    monkeypatch.setattr(sys, "argv", [*command, "plain.npz"])
    runpy.run_path(command[0], run_name="__main__")
    for name in ("exported.npz", "plain.npz"):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found["output/output"], second.output)
        for state, value in second.lasting.items():
            assert found[f"lasting/{state}"].dtype == value.dtype
            np.testing.assert_array_equal(found[f"lasting/{state}"], value, state)


def test_what_is_learned_is_constant_to_gradients() -> None:
    """Gradients go through the weights as they are, and see nothing of how they came about."""
    op: Any = learning_graph(pair, 6, 4, total=None).nodes["synapses"].op
    nodes = [
        Node("x", Input(Signal(Kind.ANALOG, (6,)))),
        Node("post", Input(Signal(Kind.ANALOG, (4,)))),
        Node("synapses", op, tuple(Value(n) for n in ("x", "x", "x", "post", "post"))),
    ]
    graph = Graph({n.name: n for n in nodes}, {"y": Value("synapses")}, dt=1e-3).verify()
    x = inputs_of(graph, 12, 2)
    made: Any = snnir.compile(graph, "xla")
    result = made.run(x, ["synapses:w"])
    after = result.recorded["synapses:w"]
    before = np.concatenate([op.weight.numpy()[None, None], after[:-1]])
    assert not np.array_equal(before[0], before[-1])

    def total(given: Any, tensors: Any) -> Any:
        outputs, lasting = made.function(tensors, given)
        return outputs["y"].sum(), lasting

    function = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))
    (by_input, by_tensor), lasting = function(x, made.simulator.tensors)
    np.testing.assert_array_equal(lasting["synapses:w"], result.lasting["synapses:w"])
    wanted = np.broadcast_to(before.sum(2), x["x"].shape)
    np.testing.assert_allclose(by_input["x"], wanted, rtol=1e-6)
    assert not np.any(by_input["post"])
    assert not any(np.any(gradient) for gradient in by_tensor.values())
