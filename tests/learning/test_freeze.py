"""Networks taken as they are: exact where nothing is learned, and what targets make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.dynamics import batch_sum, dynamics, select
from snnir.ir import Graph, Input, Linear, Node, Plastic, Signal, Step, Tensor, Value
from snnir.lasting import is_learning
from snnir.streams import Kind
from snnir.tensors import FrozenDict
from tests.helpers import cli, lif_step
from tests.learning.networks import inputs_of, learning_graph, pair, random_graph, scalar


def still(graph: Graph) -> Graph:
    """Return a network whose weights and thresholds have rules that change nothing."""
    rates = {"nu0", "nu1", "plus"}
    editor = graph.edit()
    for node in graph.nodes.values():
        if is_learning(node.op):
            assert isinstance(node.op, (Plastic, Step))
            params: dict[str, Tensor] = dict(node.op.params)
            params |= {name: Tensor(np.float32(0)) for name in rates & set(params)}
            more: dict[str, Any] = {"total": None} if isinstance(node.op, Plastic) else {}
            one = {"theta_decay": Tensor(np.float32(1))}
            params |= {name: value for name, value in one.items() if name in params}
            editor.set_op(node.name, replace(node.op, params=FrozenDict(params), **more))
    return editor.graph().verify()


def dyadic_weights(graph: Graph) -> Graph:
    """Return the network with weights of which every sum is exact."""
    weights = np.random.default_rng(5).integers(0, 9, (4, 6)) / 16
    return snnir.with_lasting(graph, {"synapses:w": weights})


def test_frozen_is_the_network_that_learns_nothing() -> None:
    graph = dyadic_weights(learning_graph())
    frozen = graph.apply("freeze")
    assert not any(is_learning(node.op) for node in frozen.nodes.values())
    assert set(frozen.nodes) == {"x", "before", "synapses", "out"}  # traces were for the rule
    x = inputs_of(graph, 60)
    want = snnir.run(still(graph), x, ["synapses", "out:v"])
    got = snnir.run(frozen, x, ["synapses", "out:v"])
    assert want.output.sum() > 20
    np.testing.assert_array_equal(got.output, want.output)
    for name, value in want.recorded.items():
        np.testing.assert_array_equal(got.recorded[name], value)
    assert got.lasting == {}


def test_what_was_learned_is_kept() -> None:
    """Freezing takes weights and thresholds as they were after training."""
    graph = learning_graph()
    x = inputs_of(graph, 60)
    kept = snnir.run(graph, x).lasting
    frozen = snnir.with_lasting(graph, kept).apply("freeze")
    linear, out = frozen["synapses"].op, frozen["out"].op
    assert isinstance(linear, Linear)
    assert isinstance(out, Step)
    np.testing.assert_array_equal(linear.weight.numpy(), kept["synapses:w"])
    np.testing.assert_array_equal(out.params["theta"].numpy(), kept["out:theta"])
    assert (kept["out:theta"] > 0).all()
    trained = still(snnir.with_lasting(graph, kept))
    found = (snnir.run(trained, x, ["synapses"]), snnir.run(frozen, x, ["synapses"]))
    # Sums of such weights are rounded in another way; the note says so.
    one, two = (run.recorded["synapses"] for run in found)
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    (note,) = frozen.provenance.notes
    assert "synapses" in note
    assert "rounded" in note


def test_random_numbers_and_steps_stay() -> None:
    graph = random_graph()
    assert graph.apply("freeze") == graph


def test_what_joins_samples_without_learning_is_refused() -> None:
    @dynamics(params={}, states={}, lasting={"n": 0.0}, outputs=(Kind.ANALOG,))
    def shared(x: Any, n: Any) -> Any:
        """The mean of a batch cannot be taken of one sample."""
        total = batch_sum(x)
        return {"n": n + total}, x - total

    nodes = {"x": Node("x", Input(Signal(Kind.ANALOG, (2,))))}
    nodes["s"] = Node("s", Step(shared, FrozenDict()), (Value("x"),))
    graph = Graph(nodes, {"output": Value("s")}, 1e-3).verify()
    with pytest.raises(snnir.SnnirError, match=r"SNN401.*'s'.*other samples of a batch"):
        graph.apply("freeze")


def test_a_state_that_only_learning_read_goes() -> None:
    """A state from which only lasting ones follow is of no use any more."""

    @dynamics(params={"k": "1"}, states={"v": 0.0}, lasting={"theta": "k"})
    def neuron(x: Any, v: Any, theta: Any, k: Any) -> Any:
        """A threshold that begins at a parameter which is read otherwise, too."""
        h = 0.5 * v + x
        spike = h >= theta + k
        raised = theta + 0.25 * batch_sum(select(spike, 1.0, 0.0))
        return {"v": select(spike, 0.0, h), "theta": raised}, spike

    nodes = {"x": Node("x", Input(Signal(Kind.ANALOG, (3,))))}
    nodes["s"] = Node("s", Step(neuron, FrozenDict(scalar(k=0.5))), (Value("x"),))
    graph = Graph(nodes, {"output": Value("s")}, 1e-3).verify()
    kept = {"s:theta": np.array([0.25, 0.5, 4.0])}
    frozen = snnir.with_lasting(graph, kept).apply("freeze").verify()
    op = frozen["s"].op
    assert isinstance(op, Step)
    assert {name: p.numpy().tolist() for name, p in op.params.items()} == {
        "k": 0.5, "theta": [0.25, 0.5, 4.0],
    }  # fmt: skip
    x = np.full((6, 1, 3), 0.7, np.float32)
    assert snnir.run(frozen, x).output.sum(axis=(0, 1)).tolist() == [3, 3, 0]


def like_diehl_and_cook(weight: Tensor) -> Graph:
    """Return inputs, synapses that learn, and neurons of which chips have such."""
    rates = {"weight": weight, **scalar(nu0=0.01, nu1=0.02, wmax=1.0)}
    synapses = Plastic(pair, FrozenDict(rates), ("pre", "pre", "post", "post"))
    ops: dict[str, tuple[Any, tuple[str, ...]]] = {
        "x": (Input(Signal(Kind.SPIKES, (weight.shape[1],))), ()),
        "synapses": (synapses, ("x", "x", "x", "out", "out")),
        "out": (lif_step(reset="zero", fire="ge"), ("synapses",)),
    }
    nodes = {n: Node(n, op, tuple(map(Value, reads))) for n, (op, reads) in ops.items()}
    return Graph(nodes, {"output": Value("out")}, 1e-3).verify()


@pytest.mark.parametrize("target", ["speck", "xylo", "bss2"])
def test_chips_take_the_frozen_network(target: str) -> None:
    """What hinders a chip before is learning alone, or the same as without it."""
    weights = Tensor((np.random.default_rng(1).integers(0, 5, (4, 6)) / 4).astype(np.float32))
    graph = like_diehl_and_cook(weights)
    with pytest.raises(snnir.SnnirError, match=r"SNN501.*'synapses'.*run the pass freeze"):
        snnir.compile(graph, target)
    frozen = graph.apply("freeze")
    ops = {name: (n.op, [v.node for v in n.operands]) for name, n in graph.nodes.items()}
    ops["synapses"] = (Linear(weights), ["x"])
    kept = ("x", "synapses", "out")
    plain = {n: Node(n, ops[n][0], tuple(map(Value, ops[n][1]))) for n in kept}
    as_plain = Graph(plain, graph.outputs, 1e-3).verify()
    found, wanted = snnir.check(frozen, target), snnir.check(as_plain, target)
    assert [(p.code, p.node, p.message) for p in found] == [
        (p.code, p.node, p.message) for p in wanted
    ]
    if not wanted:
        x = inputs_of(frozen, 20, batch=1)
        one, two = (snnir.compile(g, target).run(x).output for g in (frozen, as_plain))
        np.testing.assert_array_equal(one, two)


def test_on_the_command_line(tmp_path: Any) -> None:
    path = tmp_path / "net.snnir"
    snnir.save(learning_graph(), path)
    done = cli("compile", path, "--target", "events", "--passes", "freeze", "-o", tmp_path / "out")
    assert "learns" not in done.stderr
    done = cli("opt", path, "--passes", "freeze", "-o", tmp_path / "frozen.snnir")
    assert done.returncode == 0, done.stderr
    assert snnir.load(tmp_path / "frozen.snnir") == learning_graph().apply("freeze")
