"""No pass changes what a network learns, and bounds hold while it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.bounds import value_bounds
from snnir.ir import Graph, Input, Node, PickMax2d, Signal, Uniform, Value
from snnir.lasting import is_learning
from snnir.pipeline import LEVELS
from snnir.streams import Kind
from tests.learning.networks import inputs_of, learning_graph, random_graph
from tests.learning.random_graphs import random_learning_graph

#: Passes after which not a bit may be another one: factors in these networks are powers of two.
SINGLE = (
    "canonicalize", "remove-identity", "dead-code", "cse", "eliminate-reshape", "merge-delays",
    "fuse-linear", "fold-batchnorm", "fold-constants", "dead-neurons", "linear-to-conv", "sparsify",
)  # fmt: skip


def same_training(graph: Graph, changed: Graph, x: Any) -> float:
    """Compare two runs, the second from what lasts of the first; return the number of spikes."""
    kept: dict[str, Any] = {}
    for _ in range(2):
        want, got = (snnir.run(g, x, lasting=kept) for g in (graph, changed))
        for name, value in want.outputs.items():
            np.testing.assert_array_equal(got.outputs[name], value, name)
        learned = {k: v for k, v in want.lasting.items() if not k.endswith(":step")}
        assert set(learned) <= set(got.lasting)
        for name, value in learned.items():
            np.testing.assert_array_equal(got.lasting[name], value, name)
        kept = got.lasting
    return float(want.output.sum())


@pytest.mark.parametrize("seed", range(8))
def test_pipelines_keep_what_is_learned(seed: int) -> None:
    graph = random_learning_graph(seed)
    x = inputs_of(graph, 25)
    fired = 0.0
    for level in (1, 2):
        fired = same_training(graph, graph.apply(LEVELS[level]).verify(), x)
    assert fired > 0 or seed not in range(3)
    name = SINGLE[seed % len(SINGLE)]
    same_training(graph, graph.apply(name).verify(), x)


def test_every_pass_on_one_network() -> None:
    graph = random_learning_graph(1)
    x = inputs_of(graph, 12)
    for name in SINGLE:
        same_training(graph, graph.apply(name).verify(), x)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold(seed: int) -> None:
    """Whatever lasted of another run: every value lies within what is proved of it."""
    graph = random_learning_graph(seed)
    bounds = value_bounds(graph)
    rng = np.random.default_rng(seed)
    started = {
        name: np.asarray(7) if state.shape == () else rng.normal(0, 3, state.shape)
        for name, state in snnir.lasting_states(graph).items()
    }
    made = snnir.compile(graph, "numpy", level=0)
    run = made.run(inputs_of(graph, 15), list(graph.nodes), lasting=started)
    for name, value in run.recorded.items():
        bound = bounds[Value(name)]
        assert (value >= bound.low).all(), name
        assert (value <= bound.high).all(), name


def test_bounds_of_picked_values() -> None:
    """The largest of the scores may be anywhere in a window."""
    window = ((2, 2), (2, 2))
    nodes = {
        "scores": Node("scores", Input(Signal(Kind.ANALOG, (1, 2, 2)))),
        "s": Node("s", Input(Signal(Kind.SPIKES, (1, 2, 2)))),
        "y": Node("y", PickMax2d(*window), (Value("scores"), Value("s"))),
    }
    bound = value_bounds(Graph(nodes, {"output": Value("y")}, 1e-3))[Value("y")]
    assert (bound.low.tolist(), bound.high.tolist()) == ([[[0.0]]], [[[1.0]]])


def test_a_threshold_that_lasts_is_unknown() -> None:
    """A neuron that never fires as the graph starts may fire after another run."""
    graph = learning_graph()
    out = graph["out"].op
    high = snnir.Tensor(np.float32(1e6))
    from dataclasses import replace

    from snnir.tensors import FrozenDict

    editor = graph.edit()
    editor.set_op("out", replace(out, params=FrozenDict({**out.params, "threshold": high})))  # type: ignore[attr-defined,call-arg]
    changed = editor.graph().verify()
    assert value_bounds(changed)[Value("out")].high.max() == 1
    same = changed.apply("dead-neurons,fold-constants")
    assert same == changed
    low = {"out:theta": np.full(4, -1e6)}
    assert snnir.run(same, inputs_of(same), lasting=low).output.sum() > 0


def test_what_is_learned_is_not_dead() -> None:
    """Synapses that no output reads are what the run is for; random numbers nobody reads are not."""
    graph = learning_graph()
    silent = Graph(graph.nodes, {"output": Value("x.trace")}, 1e-3).verify()
    assert set(silent.apply("dead-code").nodes) == set(graph.nodes)
    drawn = random_graph()
    unread = Graph(drawn.nodes, {"output": Value("p")}, 1e-3).verify()
    assert set(unread.apply("dead-code").nodes) == {"p"}


def test_random_numbers_are_no_constants() -> None:
    from snnir.ir import Add, Linear

    weights = snnir.Tensor(np.zeros((2, 2), np.float32))
    ops: dict[str, tuple[Any, tuple[str, ...]]] = {
        "x": (Input(Signal(Kind.ANALOG, (2,))), ()),
        "zero": (Linear(weights), ("x",)),
        "u": (Uniform(3), ("zero",)),
        "sum": (Add(), ("x", "u")),
    }
    nodes = {n: Node(n, op, tuple(map(Value, reads))) for n, (op, reads) in ops.items()}
    graph = Graph(nodes, {"output": Value("sum")}, 1e-3).verify()
    assert graph.apply("fold-constants") == graph


def test_integers_do_not_learn() -> None:
    with pytest.raises(snnir.SnnirError, match=r"SNN403.*'synapses'.*freeze before quantize"):
        learning_graph().apply("quantize")
    whole = learning_graph().apply("freeze,quantize")
    assert not any(is_learning(node.op) for node in whole.nodes.values())
    assert snnir.run(whole, inputs_of(whole)).lasting == {}


def test_pruning_leaves_what_learns() -> None:
    graph = learning_graph()
    assert graph.apply("prune{amount=0.5}")["synapses"] == graph["synapses"]


def test_synaptic_operations_of_what_learns() -> None:
    graph = learning_graph()
    x = inputs_of(graph, 20)
    found = snnir.activity(graph, x)
    (synapse,) = found.synapses
    assert (synapse.node, synapse.connections, synapse.products) == ("synapses", 24, 480)
    arrived = x["x"][:-1].sum() / 3  # a step late
    assert synapse.operations == pytest.approx(4 * arrived)
