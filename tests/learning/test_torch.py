"""The torch target learns as the reference does, in every bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from snnir import kernels, kernels_learning
from snnir.dynamics import batch_sum, dynamics, select, sqrt
from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.surrogate import surrogate
from snnir.ir import (
    Current,
    Delay,
    Graph,
    Input,
    Linear,
    Node,
    Plastic,
    Step,
    Tensor,
    Uniform,
    Value,
)
from snnir.ir.pooling import PickMax2d
from snnir.ir.structure import Add
from snnir.streams import Kind, Signal
from snnir.targets.numpy_sim import runtime
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.torch_sim import kernels as torch_kernels
from snnir.targets.torch_sim import learning, program
from snnir.targets.torch_sim.emit import Source
from snnir.targets.torch_sim.scans import Eager
from snnir.tensors import FrozenDict
from tests.learning.networks import (
    adaptive,
    inputs_of,
    learning_graph,
    pair,
    random_graph,
    rewarded,
    same,
    scalar,
)

pytestmark = pytest.mark.framework

WATCH = ["synapses", "synapses:w", "out:theta", "out:v", "x.trace"]


def with_sums(graph: Graph, sums: str) -> Graph:
    """Return the graph with another order of the sums that normalise."""
    editor = graph.edit()
    op: Any = graph.nodes["synapses"].op
    editor.set_op("synapses", Plastic(op.rule, op.params, op.reads, op.total, sums))
    return editor.graph().verify()


@pytest.mark.parametrize("rule", ["pair", "rewarded"])
@pytest.mark.parametrize(
    ("precision", "backend"), [("float32", "auto"), ("reproducible", "c"), ("float64", "eager")]
)
def test_equals_the_reference(rule: str, precision: str, backend: str) -> None:
    total = 4.5 if rule == "pair" else None
    graph = learning_graph(pair if rule == "pair" else rewarded, 13, 9, total=total)
    graph = with_sums(graph, "cascade") if precision == "float32" else graph
    watch = WATCH + (["synapses:e"] if rule == "rewarded" else [])
    reference = snnir.compile(graph, "numpy", precision=precision)
    made = snnir.compile(graph, "torch", precision=precision, backend=backend)
    for batch in (1, 2, 5):
        x = inputs_of(graph, 25, batch)
        want = reference.run(x, watch)
        assert want.output.sum() > 5
        for name, value in want.lasting.items():
            assert not np.array_equal(want.recorded[name][0, 0], value), "it learns"
        same(made.run(x, watch), want)
        want = reference.run(x, watch, resume=True)
        same(made.run(x, watch, resume=True), want)
        given = {name: value.astype(np.float64) for name, value in want.lasting.items()}
        want = reference.run(x, watch, lasting=given)
        same(made.run(x, watch, lasting=given), want)
        partly = {"out:theta": given["out:theta"]}
        same(made.run(x, lasting=partly), reference.run(x, lasting=partly))
    x = inputs_of(graph, 25, 2)
    same(made.run(x), reference.run(x))  # nothing of it is kept unless it is given


def test_runs_cut_into_tiles() -> None:
    """More rows than one tile has, and wide weights: a rule in float64 with float32 streams."""
    graph = learning_graph()
    editor = graph.edit()
    op: Any = graph.nodes["synapses"].op
    wide = snnir.tensor(op.weight.numpy().astype(np.float64) / 3)
    params = FrozenDict({**op.params, "weight": wide})
    editor.set_op("synapses", replace(op, rule=replace(pair, dtype="f64"), params=params))
    graph = editor.graph().verify()
    x = inputs_of(graph, 500, 5)
    made = snnir.compile(graph, "torch").run(x, WATCH)
    assert made.lasting["synapses:w"].dtype == np.float64
    same(made, snnir.compile(graph, "numpy").run(x, WATCH))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_random_numbers(precision: str) -> None:
    graph = random_graph((3, 2), seed=0xFEDCBA9876543210)
    x = inputs_of(graph, 30, 4)
    reference = snnir.compile(graph, "numpy", precision=precision)
    made = snnir.compile(graph, "torch", precision=precision)
    for options in ({}, {"resume": True}, {"lasting": {"u:step": 2**32 - 7}}):
        same(made.run(x, ["u"], **options), reference.run(x, ["u"], **options))


def test_counters_are_not_recorded() -> None:
    """Folders say so, as runs in memory do."""
    made: Any = snnir.compile(random_graph(), "torch")
    with pytest.raises(snnir.SnnirError, match="SNN602"):
        made.run(inputs_of(random_graph(), 3, 1), ["u:step"])
    known = program.recordable(made.net.model)
    assert "u" in known
    assert "u:step" not in known
    with pytest.raises(runtime.UnknownRecord):
        runtime.check_record(build_model(random_graph(), "float32"), ["u:step"])


def test_uniform_by_places() -> None:
    """Far places and steps; the second word of the counter wraps as well."""
    steps = torch.tensor([0, 1, 2**31, 2**32 - 1])
    for seed in (0, 5, 2**32 + 1, 2**64 - 1):
        found = learning.uniform(seed, steps, 3, (2, 5), torch.float32).numpy()
        for index, step in enumerate(steps.tolist()):
            wanted = kernels_learning.uniform(seed, step, 3, (2, 5), np.float32)
            np.testing.assert_array_equal(found[index], wanted)
    places = np.array([2**31, 2**32 - 1], np.uint32)
    word = learning.threefry((7, 9), torch.tensor([4]), torch.from_numpy(places.astype(np.int64)))
    np.testing.assert_array_equal(word, kernels_learning.threefry((7, 9), (4, places)))


def test_sums_in_order() -> None:
    rng = np.random.default_rng(3)
    for kind in (np.float32, np.float64):
        weight = rng.normal(size=(17, 300)).astype(kind)
        x = rng.normal(size=(3, 300)).astype(np.float32) * (rng.random((3, 300)) < 0.4)
        one = int(np.flatnonzero(x[0])[-1])
        x[1:, one] = 0
        weight[:, one] = np.inf  # only the first sample reads it
        wanted = kernels_learning.plastic_sum(x, weight)
        found = learning.plastic_sum(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
        np.testing.assert_array_equal(found, wanted)
        assert np.isfinite(found[1:]).all()
        assert not np.array_equal(found[1:], np.delete(x[1:], one, 1) @ np.delete(weight, one, 1).T)


@pytest.mark.parametrize("sums", ["order", "cascade"])
def test_normalised(sums: str) -> None:
    rng = np.random.default_rng(4)
    for post, pre in ((1, 5), (3, 70), (9, 1), (41, 300), (64, 17)):
        weight = rng.normal(size=(post, pre)).astype(np.float32)
        weight[0] = 0
        total = rng.random(post).astype(np.float32)
        found = learning.normalised(torch.from_numpy(weight), torch.from_numpy(total), sums)
        wanted = kernels_learning.normalised(weight, total, sums)
        np.testing.assert_array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 0), (1, 1))])
def test_pick_max(padding: Any) -> None:
    rng = np.random.default_rng(5)
    scores = rng.integers(-2, 2, (4, 2, 7, 6)).astype(np.float32)  # ties: the first wins
    values = rng.normal(size=scores.shape).astype(np.float32)
    options = {"kernel": (2, 3), "stride": (2, 1), "padding": padding}
    wanted = kernels.pick_max_pool(scores, values, **options)
    given = torch.from_numpy(values).requires_grad_()
    found = torch_kernels.pick_max_pool(torch.from_numpy(scores), given, **options)
    np.testing.assert_array_equal(found.detach(), wanted)
    found.sum().backward()
    assert given.grad is not None
    assert given.grad.sum() == found.numel()
    nodes = [
        Node("a", Input(Signal(Kind.ANALOG, (2, 7, 6)))),
        Node("b", Input(Signal(Kind.ANALOG, (2, 7, 6)))),
        Node("y", PickMax2d(**options), (Value("a"), Value("b"))),
    ]
    graph = Graph({n.name: n for n in nodes}, {"y": Value("y")}, dt=1e-3).verify()
    x = {"a": scores[:, None], "b": values[:, None]}
    np.testing.assert_array_equal(snnir.compile(graph, "torch").run(x).output[:, 0], wanted)


# --- Compiled code -------------------------------------------------------------------------------


@dynamics(params={"threshold": "1"}, states={"v": 0.0}, lasting={"tired": 1.0})
def tiring(x, v, tired, threshold):  # type: ignore[no-untyped-def]
    """A threshold that grows with time alone: nothing of it would keep a kernel from running it."""
    h = v + x
    spike = h >= threshold + tired
    return {"v": select(spike, 0.0, h), "tired": tired * 1.0625}, spike


def plain_graph() -> Graph:
    """Layers, a scan and a recurrence such as are compiled, whose neurons have lasting states."""
    rng = np.random.default_rng(6)
    neurons = FrozenDict(scalar(beta=0.875, threshold=0.5, plus=0.0625, theta_decay=0.99))

    def dense(post: int, pre: int) -> Linear:
        return Linear(Tensor(rng.integers(0, 64, (post, pre)).astype(np.float32) / 128))

    nodes = [
        Node("x", Input(Signal(Kind.SPIKES, (6,)))),
        Node("fc1", dense(5, 6), (Value("x"),)),
        Node("tiring", Step(tiring, FrozenDict(scalar(threshold=0.5))), (Value("fc1"),)),
        Node("fc2", dense(4, 5), (Value("tiring"),)),
        Node("back", Delay(1), (Value("loop"),)),
        Node("again", dense(4, 4), (Value("back"),)),
        Node("both", Add(), (Value("fc2"), Value("again"))),
        Node("loop", Step(adaptive, neurons), (Value("both"),)),
    ]
    return Graph({n.name: n for n in nodes}, {"output": Value("loop")}, dt=1e-3).verify()


def test_compiled_code_leaves_them_alone() -> None:
    graph = plain_graph()
    watch = ["tiring:tired", "loop:theta"]
    x = inputs_of(graph, 40, 3)
    want = snnir.compile(graph, "numpy").run(x, watch)
    assert want.output.sum() > 10
    made: Any = snnir.compile(graph, "torch", backend="c")
    assert not made.net.model.loops
    source = Source.of(made.graph, made.target)
    for text in (source.kernels(), source.gpu_kernels()):
        assert not any(f"{name}_" in text for name in source.builder.programs)
    for name in source.builder.programs:
        assert isinstance(made.net.runner(name, torch.device("cpu")), Eager)
    same(made.run(x, watch), want)
    same(made.run(x), snnir.compile(graph, "numpy").run(x))


def test_other_populations_stay_compiled() -> None:
    made: Any = snnir.compile(learning_graph(), "torch", backend="c")
    functions = {name: unit.function for name, unit in made.net.model.units.items()}
    runner = made.net.runner(functions["x.trace"], torch.device("cpu"))
    assert not isinstance(runner, Eager)
    assert f"{functions['x.trace']}_scan" in Source.of(made.graph, made.target).gpu_kernels()


# --- The module ----------------------------------------------------------------------------------


def test_the_module_holds_what_lasts() -> None:
    graph = learning_graph()
    x = {name: torch.from_numpy(a) for name, a in inputs_of(graph, 30, 2).items()}
    reference = snnir.compile(graph, "numpy")
    first = reference.run(inputs_of(graph, 30, 2))
    second = reference.run(inputs_of(graph, 30, 2), lasting=first.lasting)
    net = snnir.to_torch(graph)
    assert {"synapses.w", "out.theta"} <= set(net.state_dict())
    assert "synapses.weight" not in net.state_dict()  # the state starts there, and takes its place
    assert not {"synapses.w", "synapses.nu0"} & {n for n, p in net.named_parameters() if
                                                 p.requires_grad}  # fmt: skip
    every = snnir.to_torch(graph, trained="all").named_parameters()
    trained = {name for name, p in every if p.requires_grad}
    assert "out.threshold" in trained
    assert not any(name.startswith("synapses.") for name in trained)
    net.eval()
    for _ in range(2):  # learns, and forgets it
        assert np.array_equal(net(x).detach(), first.output)
    assert snnir.update(net.graph, net) == net.graph
    net.train()
    assert np.array_equal(net(x).detach(), first.output)
    for name, value in first.lasting.items():
        np.testing.assert_array_equal(net.lasting[name], value)
        np.testing.assert_array_equal(net.get_buffer(name.replace(":", ".")), value)
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    assert np.array_equal(net(x).detach(), second.output)
    assert not np.array_equal(first.output, second.output)
    taught = snnir.update(net.graph, net)
    third = reference.run(inputs_of(graph, 30, 2), lasting=second.lasting)
    found = snnir.compile(taught, "numpy").run(inputs_of(graph, 30, 2))
    np.testing.assert_array_equal(found.output, third.output)

    other = snnir.to_torch(graph)
    other.load_state_dict(kept)
    assert np.array_equal(other(x).detach(), second.output)
    other.set_lasting(first.lasting)
    assert np.array_equal(other(x).detach(), second.output)
    with pytest.raises(ValueError, match="there is no lasting state 'out:v'"):
        other.set_lasting({"out:theta": np.ones(4), "out:v": np.zeros(4)})
    with pytest.raises(ValueError, match=r"'out:theta' has shape \[3\], must be \[4\]"):
        other.set_lasting({"synapses:w": np.ones((4, 6)), "out:theta": np.zeros(3)})
    for name, value in second.lasting.items():  # a refused call changes nothing
        np.testing.assert_array_equal(other.lasting[name], value)


def test_stateful_calls_go_on() -> None:
    """Calls that go on equal runs that are resumed, in training mode."""
    graph = learning_graph()
    x = inputs_of(graph, 20, 2)
    reference = snnir.compile(graph, "numpy")
    wanted = [reference.run(x, resume=resume) for resume in (False, True, True)]
    net = snnir.to_torch(graph)
    net.stateful = True
    given = {name: torch.from_numpy(a) for name, a in x.items()}
    for want in wanted:
        np.testing.assert_array_equal(net(given).detach(), want.output)
        np.testing.assert_array_equal(net.lasting["synapses:w"], want.lasting["synapses:w"])
    with pytest.raises(ValueError, match="the state is of a batch of 2"):
        net({name: a[:, :1] for name, a in given.items()})


# --- Gradients -----------------------------------------------------------------------------------


def deep_graph(learns: bool) -> Graph:
    """Return x -> fc -> neurons -> synapses that learn, or have rates of 0 -> neurons."""
    rng = np.random.default_rng(8)
    graph = learning_graph(pair, 6, 4, total=None)
    editor = graph.edit()
    weight = rng.integers(0, 64, (6, 6)).astype(np.float32) / 64
    neurons = FrozenDict(scalar(beta=0.5, threshold=0.75, plus=0.0, theta_decay=0.99))
    nodes = dict(editor.graph().nodes)
    nodes["fc"] = Node("fc", Linear(Tensor(weight)), (Value("x"),))
    nodes["hidden"] = Node("hidden", Step(adaptive, neurons), (Value("fc"),))
    nodes["x.current"] = Node("x.current", Current(), (Value("hidden"),))
    op: Any = nodes["synapses"].op
    rates = scalar(nu0=0.02, nu1=0.03) if learns else scalar(nu0=0.0, nu1=0.0)
    rule = Plastic(op.rule, FrozenDict({**op.params, **rates}), op.reads)
    read = (Value("hidden"), Value("hidden"), *nodes["synapses"].operands[2:])
    nodes["synapses"] = Node("synapses", rule, read)
    plus = scalar(plus=0.0625 if learns else 0.0)
    out: Any = nodes["out"].op
    nodes["out"] = Node("out", Step(adaptive, FrozenDict({**out.params, **plus})),
                        (Value("synapses"),))  # fmt: skip
    del nodes["before"]
    return Graph(nodes, graph.outputs, dt=1e-3).verify()


def test_gradients_of_what_does_not_learn() -> None:
    """With rates of 0 the gradients are those of the network without plasticity."""
    graph = deep_graph(learns=False)
    frozen = graph.apply("freeze")
    x = torch.from_numpy(inputs_of(graph, 30, 3)["x"])
    found = []
    for one in (graph, frozen):
        net = snnir.to_torch(one, backend="eager", precision="float64")
        y = net(x)
        (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
        found.append((y.detach(), net.get_parameter("fc.weight").grad))
    assert found[0][0].sum() > 5
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].abs().max() > 0
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=0)


def test_gradients_through_weights_that_change() -> None:
    """At every step, the derivative of the currents is the weights of that step."""
    graph = learning_graph(pair, 6, 4)
    net = snnir.to_torch(graph, backend="auto")
    x = torch.from_numpy(inputs_of(graph, 12, 2)["x"]).requires_grad_()
    start = net.lasting["synapses:w"]
    _, records, _ = net.simulate({"x": x}, ["synapses", "synapses:w", "out:theta"])
    assert not records["synapses:w"].requires_grad
    assert not records["out:theta"].requires_grad
    weights = torch.cat([start[None], records["synapses:w"][:-1, 0]])
    assert not torch.equal(weights[1], weights[-1])
    (gradient,) = torch.autograd.grad(records["synapses"].sum(), x)
    late = torch.cat([weights[1:].sum(1), torch.zeros(1, 6)])  # x comes a step later
    torch.testing.assert_close(gradient, late[:, None].expand_as(gradient))


@dynamics(
    params={"beta": "1", "threshold": "1", "plus": "1", "theta_decay": "1"}, states={"v": 0.0}
)
def given_threshold(x, theta, v, beta, threshold, plus, theta_decay):  # type: ignore[no-untyped-def]
    """`adaptive` with the lasting state as an input."""
    h = beta * v + x
    spike = h >= threshold + theta
    return {"v": select(spike, 0.0, h)}, spike


@dynamics(params={}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
def against_the_mean(x, v):  # type: ignore[no-untyped-def]
    """What is above a quarter of the sum over all samples."""
    new = 0.5 * v + x
    return {"v": new}, new * new - 0.25 * batch_sum(new)


def test_what_is_learned_counts_as_constant() -> None:
    """Gradients of a neuron are those of one whose threshold comes from outside."""
    neurons = FrozenDict(scalar(beta=0.875, threshold=0.75, plus=0.125, theta_decay=0.99))
    port = Node("x", Input(Signal(Kind.ANALOG, (4,))))
    theta = Node("theta", Input(Signal(Kind.ANALOG, (4,))))
    outputs = {"y": Value("n")}
    one = {"x": port, "n": Node("n", Step(adaptive, neurons), (Value("x"),))}
    two = {"x": port, "theta": theta,
           "n": Node("n", Step(given_threshold, neurons), (Value("x"), Value("theta")))}  # fmt: skip
    x = torch.rand(20, 3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.rand(20, 3, 4, generator=torch.Generator().manual_seed(2))
    net = snnir.to_torch(Graph(one, outputs, dt=1e-3).verify(), trained="all")
    found, records, _ = net.simulate({"x": x}, ["n:theta"])
    (found["y"] * weight).sum().backward()
    wanted, net_before = x.grad, net
    assert wanted is not None
    x.grad = None
    learned = torch.cat([torch.zeros(1, 1, 4), records["n:theta"][:-1]])
    net = snnir.to_torch(Graph(two, outputs, dt=1e-3).verify(), trained="all")
    y = net({"x": x, "theta": learned.expand(20, 3, 4)})
    (y * weight).sum().backward()
    assert torch.equal(found["y"], y)
    assert y.sum() > 10
    torch.testing.assert_close(x.grad, wanted)
    for name in ("beta", "threshold"):
        ours, theirs = (n.get_parameter(f"n.{name}").grad for n in (net_before, net))
        torch.testing.assert_close(ours, theirs)

    made = adjoint(adaptive, surrogate("atan"))
    assert made.states["theta"] == 0.0
    assert not any(made.updates["theta"] in let.args for let in made.program.body)

    both = {"x": port, "n": Node("n", Step(against_the_mean), (Value("x"),))}
    net = snnir.to_torch(Graph(both, outputs, dt=1e-3).verify())
    x.grad = None
    net({"x": x})[:1].sum().backward()  # v is x in the first step
    torch.testing.assert_close(x.grad[0], 2 * x.detach()[0])


# --- The folder ----------------------------------------------------------------------------------

RUN = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "snnir":
            raise ImportError("the folder needs no snnir")
sys.meta_path.insert(0, Absent())
for options in ([], ["--lasting", "out.npz"]):
    sys.argv = ["model.py", "x.npz", "--backend", "eager", "-o", "out.npz", *options]
    sys.argv += ["--record", "synapses:w"]
    runpy.run_path("model.py", run_name="__main__")
"""


def test_the_folder_goes_on(tmp_path: Path) -> None:
    """It runs from its files alone, gives what lasts and takes it up again."""
    both = learning_graph(rewarded, total=2.0)
    numbers = Node("u", Uniform(5), (Value("out"),))
    outputs = {**both.outputs, "u": Value("u")}
    graph = Graph({**both.nodes, "u": numbers}, outputs, dt=1e-3).verify()
    made = snnir.compile(graph, "torch")
    folder = made.save(tmp_path / "folder")
    x = inputs_of(graph, 15, 2)
    np.savez(folder / "x.npz", **x)
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = snnir.compile(graph, "numpy")
    want = reference.run(x, ["synapses:w"], lasting=reference.run(x).lasting)
    with np.load(folder / "out.npz") as found:
        arrays = {str(name): found[f"array_{i}"] for i, name in enumerate(found["names"])}
    wanted = {f"output/{name}": y for name, y in want.outputs.items()}
    wanted |= {f"record/{name}": y for name, y in want.recorded.items()}
    wanted |= {f"lasting/{name}": y for name, y in want.lasting.items()}
    assert arrays.keys() == wanted.keys()
    for name, value in wanted.items():
        assert arrays[name].dtype == value.dtype
        np.testing.assert_array_equal(arrays[name], value, name)


@dynamics(
    params={"weight": "1", "floor": "1"},
    states={"e": -0.0},
    lasting={"w": "weight", "l": -0.0},
    outputs=(),
)
def rooted(pre: Any, e: Any, w: Any, l: Any, weight: Any, floor: Any) -> Any:  # noqa: E741
    """A rule with a root and zeros of both signs, whose reciprocals tell them apart."""
    mark = 1.0 / select(pre > 0.5, 0.0, -0.0)
    up = w + 0.0 * batch_sum(pre) + sqrt(w)
    return {"e": 1.0 / (e + -0.0), "w": up, "l": batch_sum(mark) + 1.0 / l}


def test_roots_and_signs_of_zeros() -> None:
    """Torch rounds roots in another way, and a table of literals takes -0 for 0."""
    x = Node("x", Input(Signal(Kind.SPIKES, (40,))))
    weights = np.random.default_rng(0).random((30, 40), np.float32)
    params = {"weight": Tensor(weights), **scalar(floor=0.0)}
    op = Plastic(rooted, FrozenDict(params), ("pre",))
    nodes = {"x": x, "s": Node("s", op, (Value("x"), Value("x")))}
    graph = Graph(nodes, {"y": Value("s")}, dt=1e-3).verify()
    steps = (np.random.default_rng(1).random((3, 1, 40)) < 0.5).astype(np.float32)
    watch = ["s:w", "s:e", "s:l"]
    for target in ("torch", "native"):
        wanted = snnir.compile(graph, "numpy", precision="float32").run(steps, watch)
        same(snnir.compile(graph, target).run(steps, watch), wanted)
