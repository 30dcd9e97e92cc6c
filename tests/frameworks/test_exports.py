"""Every step and every op, exported to each framework, against the reference simulator."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import snnir
from snnir.dynamics import dynamics, exp, fma, maximum, select, trunc
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Pad,
    Permute,
    Reshape,
    Scale,
    Slice,
    SparseLinear,
    Step,
    SumPool2d,
    Value,
    Winner,
)
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict
from tests.fused import all_exact, finite_summands, fused_cell
from tests.helpers import dyadic, lif_step, params
from tests.strategies import lif_steps
from tests.targets import LEARNING

pytest.importorskip("torch")
FRAMEWORKS = ("snntorch", "sinabs", "spikingjelly", "norse")
pytestmark = pytest.mark.framework


def need(framework: str) -> None:
    names = {"spikingjelly": "spikingjelly.activation_based", "norse": "norse.torch"}
    pytest.importorskip(names.get(framework, framework))


def network(op: Op, shape: tuple[int, ...], inputs: int = 1, kind: Kind = Kind.ANALOG) -> Graph:
    """One op between the inputs and an output per result."""
    names = [f"in{i}" for i in range(inputs)]
    nodes = {name: Node(name, Input(Signal(kind, shape))) for name in names}
    nodes["op"] = Node("op", op, tuple(Value(name) for name in names))
    results = len(op.program.outputs) if isinstance(op, Step) else 1
    return Graph(nodes, {f"out{i}": Value("op", i) for i in range(results)}).verify()


def same(graph: Graph, framework: str, x: dict[str, Any], **options: Any) -> None:
    with np.errstate(all="ignore"):
        expected = snnir.run(graph, x).outputs
    got = snnir.compile(graph, framework, level=0, **options).run(x).outputs
    assert list(got) == list(expected)
    for name, wanted in expected.items():
        np.testing.assert_array_equal(got[name], wanted)


def noise(shape: tuple[int, ...], inputs: int = 1, seed: int = 0) -> dict[str, Any]:
    """Multiples of 1/8 around zero, so that thresholds are met exactly now and then."""
    rng = np.random.default_rng(seed)
    return {
        f"in{i}": (np.rint(rng.normal(0.4, 0.8, (60, 3, *shape)) * 8) / 8).astype(np.float32)
        for i in range(inputs)
    }


def edges(shape: tuple[int, ...]) -> dict[str, Any]:
    """The threshold, its neighbours among the floats, and what leads back to them."""
    one = np.float32(1)
    values = [0.0, 1.0, np.nextafter(one, np.float32(2)), np.nextafter(one, np.float32(0)), -1.0,
              0.5, -0.5, 0.125, 2.0, 1e-7, -1e-7]  # fmt: skip
    rng = np.random.default_rng(3)
    return {"in0": rng.choice(np.array(values, np.float32), (80, 4, *shape))}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(step=lif_steps())
def test_any_member_of_the_lif_family(framework: str, step: Step) -> None:
    need(framework)
    inputs = len(step.program.inputs)
    same(network(step, (5,), inputs), framework, noise((5,), inputs))


def variants() -> dict[str, Step]:
    """The family with each attribute on its own, beside the defaults and beside a subtract reset."""
    found: dict[str, Step] = {}
    flags = ("gain", "leak", "start", "synapse_gain", "own_amount", "exposes_v")
    for flag in flags:
        for more in ({}, {"fire": "ge"}, {"membrane": "pull"}, {"reset": "subtract", "fire": "ge"}):
            found[f"{flag}, {more}"] = lif_step(**{flag: True, **more})
    for base in ({}, {"reset": "subtract"}, {"fire": "ge"}, {"membrane": "integrate"}):
        for name, choices in snnir.LifStep.CHOICES.items():
            for choice in choices:
                rules = {**base, name: choice}
                if "exact" in rules.values():
                    rules["synapse"] = "factor"
                if "decay-input" in rules.values() or "decay-after" in rules.values():
                    rules["synapse"] = "factor"
                if "fixed" in rules.values():
                    rules = {**rules, "membrane": "fixed"}
                try:
                    found[", ".join(f"{k}={v}" for k, v in rules.items())] = lif_step(**rules)
                except snnir.SnnirError:
                    continue
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", list(variants()))
def test_each_attribute(framework: str, name: str) -> None:
    """Where a native layer is chosen, its claim of equality is tested on exact ties as well."""
    need(framework)
    graph = network(variants()[name], (6,))
    same(graph, framework, noise((6,), seed=1))
    same(graph, framework, edges((6,)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("timing", snnir.LifStep.CHOICES["reset_timing"])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("synapse", ["none", "factor"])
def test_resets_at_the_threshold(framework: str, timing: str, reset: str, synapse: str) -> None:
    """Where the threshold is what is subtracted, it cannot be moved to the next float."""
    need(framework)
    for fire in ("gt", "ge"):
        for membrane in ("factor", "integrate"):
            step = lif_step(
                fire=fire, reset=reset, reset_timing=timing, membrane=membrane, synapse=synapse
            )
            same(network(step, (6,)), framework, edges((6,)))


@pytest.mark.parametrize("beta", [1.25, -0.5, 0.0, 1.0])
def test_snntorch_clamps_decays(beta: float) -> None:
    need("snntorch")
    step = lif_step(reset="subtract", reset_timing="next-step")
    own = Step(step.dynamics, FrozenDict({**step.params, "beta": snnir.tensor(beta)}))
    same(network(own, (6,)), "snntorch", noise((6,)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_delayed_reset_is_not_always_one_in_the_step(framework: str) -> None:
    """A floor above zero, or a start above the threshold, tells the two apart."""
    need(framework)
    for membrane in ("factor", "integrate", "difference", "pull"):
        rules = {"membrane": membrane, "reset_timing": "next-step-before-decay"}
        for more in ({"clamp": "max"}, {"clamp": "relu"}, {"start": True, "leak": True}):
            step = lif_step(**rules, **more)
            odd = {"v_min": 0.375, "v_start": 2.0, "leak": 2.0}
            params = {k: snnir.tensor(odd[k]) if k in odd else v for k, v in step.params.items()}
            same(network(Step(step.dynamics, FrozenDict(params)), (6,)), framework, noise((6,)))


@dynamics(params={"a": "1"}, states={"v": 0.25, "w": "a"}, outputs=(Kind.COUNTS, Kind.ANALOG))
def custom(x: Any, y: Any, v: Any, w: Any, a: Any) -> Any:
    h = v * 0.5 + select(x > y, x - a, -(y + w))
    count = maximum(trunc(h / a), 0.0)
    new = h - count * a
    return {"v": new, "w": w * 0.5 + count}, (count, new)


@dynamics(params={}, states={"v": 0.0})
def exponential(x: Any, v: Any) -> Any:
    v = v * 0.5 + x
    return {"v": v}, exp(v) > 2.0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_programs_of_ones_own(framework: str) -> None:
    need(framework)
    step = Step(custom, FrozenDict({"a": snnir.tensor(0.75)}))
    same(network(step, (4,), 2), framework, noise((4,), 2))
    same(network(Step(exponential), (4,)), framework, noise((4,)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_products_and_sums_rounded_together(framework: str) -> None:
    need(framework)
    a, b, c = finite_summands("float32")
    built = network(fused_cell(c), c.shape, 2)
    xs = {"in0": a.reshape(1, 1, -1), "in1": b.reshape(1, 1, -1)}
    found = snnir.compile(built, framework, level=0).run(xs).output
    np.testing.assert_array_equal(found.reshape(-1), all_exact(a, b, c))


@dynamics(params={"a": "1"}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
def square(x: Any, v: Any, a: Any) -> Any:
    h = fma(x, x, a)
    return {"v": h}, h


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_products_and_sums_rounded_together_have_gradients(framework: str) -> None:
    import torch

    need(framework)
    net = snnir.export(network(Step(square, params(a=0.7)), (4,)), framework)
    x = torch.from_numpy(noise((4,))["in0"]).requires_grad_()
    net(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, 2 * x)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_parameters_per_neuron(framework: str, shape: tuple[int, ...]) -> None:
    need(framework)
    thresholds = snnir.tensor(np.abs(dyadic(shape, 2)) + np.float32(0.5))
    step = lif_step()
    own = Step(step.dynamics, FrozenDict({**step.params, "threshold": thresholds}))
    same(network(own, shape), framework, noise(shape))


def t(*shape: int, seed: int = 3) -> snnir.Tensor:
    return snnir.tensor(dyadic(shape, seed))


OPS: dict[str, tuple[Op, tuple[int, ...]]] = {
    "linear": (Linear(t(4, 3), t(4)), (3,)),
    "sparse_linear": (SparseLinear.of(dyadic((5, 3)) * np.eye(5, 3, dtype=np.float32), 2, t(5)), (3,)),
    "linear without bias": (Linear(t(4, 3)), (3,)),
    "linear with one bias": (Linear(t(4, 3), snnir.tensor(0.5)), (2, 3)),
    "conv1d": (Conv1d(t(4, 2, 3), t(4), (2,), ((1, 1),), (1,)), (2, 9)),
    "conv2d": (Conv2d(t(4, 1, 3, 2), None, (1, 2), ((1, 1), (0, 0)), (1, 1), 2), (2, 6, 7)),
    "conv2d, uneven": (Conv2d(t(4, 2, 3, 3), t(4), (1, 1), ((1, 0), (0, 2)), (2, 1)), (2, 6, 7)),
    "scale": (Scale(t(3)), (3,)),
    "bias": (Bias(t(2, 1, 1)), (2, 3, 4)),
    "sum pool": (SumPool2d((3, 2), (2, 2), ((1, 1), (0, 0))), (2, 6, 7)),
    "average pool": (AvgPool2d((2, 2), (2, 2), ((1, 1), (1, 1))), (2, 6, 6)),
    "average pool, uneven": (AvgPool2d((2, 2), (2, 2), ((0, 1), (1, 0))), (2, 7, 7)),
    "max pool": (MaxPool2d((3, 3), (2, 2), ((1, 1), (1, 1))), (2, 6, 7)),
    "flatten": (Flatten(1, 2), (2, 3, 4)),
    "reshape": (Reshape((4, 6)), (2, 3, 4)),
    "permute": (Permute((2, 0, 1)), (2, 3, 4)),
    "pad": (Pad(((0, 1), (2, 0))), (2, 3)),
    "slice": (Slice(1, 1, 3), (2, 4)),
    "winner": (Winner(), (5,)),
    "delay": (Delay(1), (3,)),
    "long delay": (Delay(4), (3,)),
    "no delay": (Delay(0), (3,)),
    "current": (Current(), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", list(OPS))
def test_each_op(framework: str, name: str) -> None:
    need(framework)
    op, shape = OPS[name]
    same(network(op, shape), framework, noise(shape))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("op", [Add(), Concat(0)])
def test_ops_of_several_operands(framework: str, op: Op) -> None:
    need(framework)
    same(network(op, (2, 3), 3), framework, noise((2, 3), 3))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_batch_norm_up_to_rounding(framework: str) -> None:
    need(framework)
    norm = BatchNorm(t(2), snnir.tensor(np.abs(dyadic((2,), 4)) + np.float32(0.5)), t(2, seed=5))
    graph = network(norm, (2, 3, 3))
    x = noise((2, 3, 3))
    got = snnir.compile(graph, framework, level=0).run(x).output
    np.testing.assert_allclose(got, snnir.run(graph, x).output, rtol=1e-5, atol=1e-6)
    assert snnir.losses(graph, framework).level == "exact in real arithmetic"


def test_no_op_is_left_out() -> None:
    from snnir.ir import OPS as ALL

    tested = {type(op).name for op, _ in OPS.values()} | {"add", "concat", "batch_norm", "step"}
    assert tested | {"input", "neuron", *LEARNING} == {n for n in ALL if not n.startswith("test")}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_delays_feed_delays(framework: str) -> None:
    """All delay lines move at once, whatever the order in which they are written."""
    need(framework)
    nodes = {"in0": Node("in0", Input(Signal(Kind.ANALOG, (2,))))}
    for name, source, steps in (("c", "b", 1), ("b", "a", 1), ("a", "in0", 1), ("d", "c", 2)):
        nodes[name] = Node(name, Delay(steps), (Value(source),))
    graph = Graph(nodes, {name: Value(name) for name in "abcd"}).verify()
    same(graph, framework, noise((2,)))


NATIVE = {
    "snntorch": {
        "snn.Leaky": lif_step(reset="subtract", reset_timing="next-step"),
        "snn.Synaptic": lif_step(synapse="factor", reset="subtract", reset_timing="next-step"),
    },
    "sinabs": {
        "sl.IAF": lif_step(membrane="integrate", fire="ge", reset="subtract"),
        "sl.LIF": lif_step(fire="ge", reset="subtract"),
        "sl.ExpLeak": lif_step(fire="never", reset="none"),
    },
    "spikingjelly": {
        "neuron.IFNode": lif_step(membrane="integrate", fire="ge", reset="subtract"),
        "neuron.LIFNode": lif_step(membrane="quotient", fire="ge"),
        "neuron.CUBALIFNode": lif_step(synapse="factor", fire="ge"),
    },
    "norse": {
        "norse.LIFCell": lif_step(
            synapse="difference", synapse_order="decay-after", membrane="pull"
        ),
        "norse.LIFBoxCell": lif_step(membrane="difference"),
        "norse.LICell": lif_step(
            synapse="difference", synapse_order="decay-after", membrane="pull", fire="never",
            reset="none",
        ),
        "norse.LIBoxCell": lif_step(membrane="pull", fire="never", reset="none"),
        "norse.IAFCell": lif_step(membrane="integrate"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("framework", "layer"), [(f, name) for f, layers in NATIVE.items() for name in layers]
)
def test_native_layers_are_used_and_read_back(framework: str, layer: str) -> None:
    """A layer that equals the step is taken, and its import is the step again."""
    need(framework)
    step = NATIVE[framework][layer]
    graph = network(step, (4,))
    source = snnir.compile(graph, framework, level=0, cells="native").files["model.py"]
    assert isinstance(source, bytes)
    assert f"= {layer}(" in source.decode()
    same(graph, framework, noise((4,), seed=2), cells="native")
    back = snnir.from_torch(snnir.export(graph, framework), (4,))
    (found,) = (node.op for node in back.nodes.values() if isinstance(node.op, Step))
    assert found.dynamics == step.dynamics


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_generated_cells_are_read_back(framework: str) -> None:
    need(framework)
    for step in itertools.islice(variants().values(), 0, None, 9):
        graph = network(step, (4,))
        net = snnir.export(graph, framework, cells="generated")
        back = snnir.from_torch(net, (4,))
        (found,) = (node.op for node in back.nodes.values() if isinstance(node.op, Step))
        assert found.dynamics == step.dynamics
        assert dict(found.params) == dict(step.params)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_exported_modules_train(framework: str) -> None:
    """Gradients reach the weights through native layers and generated cells alike."""
    import torch

    need(framework)
    for cells in ("auto", "generated"):
        nodes = {
            "in0": Node("in0", Input(Signal(Kind.ANALOG, (3,)))),
            "fc": Node("fc", Linear(t(4, 3)), (Value("in0"),)),
            "lif": Node("lif", lif_step(fire="ge"), (Value("fc"),)),
            "out": Node("out", Linear(t(2, 4)), (Value("lif"),)),
        }
        graph = Graph(nodes, {"y": Value("out")}).verify()
        net = snnir.export(graph, framework, cells=cells)
        x = torch.from_numpy(noise((3,))["in0"])
        net(x).pow(2).sum().backward()
        gradient = net.fc.weight.grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0


ODD_NAMES = (
    '"""\nimport os\nos.abort()\n"""', "self", "forward", "x", "t", "class", "torch", "a b", "a.b",
    "a_b", "1", "\u00e9\u4e16", "outputs", "None", "parameters", "__init__", "{0}", "\\", "'",
)  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_names_are_escaped(framework: str) -> None:
    """No name of a file gets into the source as code, and none hides another."""
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    need(framework)
    nodes = {"in\n0": Node("in\n0", Input(Signal(Kind.ANALOG, (2,))))}
    last = "in\n0"
    for number, name in enumerate(ODD_NAMES):
        op: Op = (lif_step(), Delay(1), Scale(t(2)), lif_step(fire="never", reset="none"))[
            number % 4
        ]
        nodes[name] = Node(name, op, (Value(last),))
        last = name
        if number % 4 == 0:
            last = f"{name}/current"
            nodes[last] = Node(last, Current(), (Value(name),))
    outputs = {'o"\n': Value(last), "o'": Value("self")}
    graph = Graph(nodes, outputs, name='m"""\nraise SystemExit(3)\n').verify()
    x = {"in\n0": noise((2,))["in0"]}
    same(graph, framework, x)
    with tempfile.TemporaryDirectory() as scratch:
        folder = snnir.compile(graph, framework, level=0).save(Path(scratch) / "out")
        np.savez(Path(scratch) / "in.npz", names=np.array(["in\n0"]), array_0=x["in\n0"])
        done = subprocess.run(
            [sys.executable, str(folder / "model.py"), str(Path(scratch) / "in.npz"), "-o",
             str(Path(scratch) / "out.npz")], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with np.load(Path(scratch) / "out.npz") as data:
            assert data["names"].tolist() == ["output/" + name for name in outputs]


def test_what_no_framework_has_is_refused_at_once() -> None:
    steps = snnir.tensor(np.array([1, 2], np.int64))
    nodes = {
        "in0": Node("in0", Input(Signal(Kind.ANALOG, (1, 4, 4)))),
        "pool": Node("pool", MaxPool2d((2, 2), (2, 2), ((0, 1), (0, 1))), (Value("in0"),)),
        "flat": Node("flat", Slice(1, 0, 1), (Value("pool"),)),
        "vector": Node("vector", Reshape((2,)), (Value("flat"),)),
        "late": Node("late", Delay(steps), (Value("vector"),)),
    }
    nodes["pool"] = Node("pool", MaxPool2d((2, 2), (2, 2), ((0, 1), (0, 1))), (Value("in0"),))
    nodes["vector"] = Node("vector", Flatten(), (Value("flat"),))
    nodes["cut"] = Node("cut", Slice(0, 0, 2), (Value("vector"),))
    nodes["late"] = Node("late", Delay(steps), (Value("cut"),))
    graph = Graph(nodes, {"y": Value("late")}).verify()
    with pytest.raises(snnir.SnnirError) as refusal:
        snnir.compile(graph, "norse", level=0)
    assert {d.node for d in refusal.value.diagnostics} == {"pool", "late"}
    report = snnir.losses(graph, "norse")
    assert {entry.node for entry in report.losses} == {"pool", "late"}
    assert report.level == "refused"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_several_inputs_and_outputs(framework: str, tmp_path: Any) -> None:
    """With a delay and without, in memory and from the folder."""
    need(framework)
    for steps in (0, 2):
        nodes = {name: Node(name, Input(Signal(Kind.ANALOG, (3,)))) for name in ("a", "b")}
        nodes["late"] = Node("late", Delay(steps), (Value("b"),))
        nodes["sum"] = Node("sum", Add(), (Value("a"), Value("late")))
        nodes["lif"] = Node("lif", lif_step(exposes_v=True), (Value("sum"),))
        outputs = {"spikes": Value("lif"), "membrane": Value("lif", 1), "sum": Value("sum")}
        graph = Graph(nodes, outputs).verify()
        x = dict(zip("ab", noise((3,), 2).values(), strict=True))
        same(graph, framework, x)
        folder = snnir.compile(graph, framework, level=0).save(tmp_path / f"{framework}{steps}")
        found = snnir.diff(graph, folder, x)
        assert found.identical
        assert len(found.nodes) == 4


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("model", list(snnir.MODELS))
def test_each_continuous_model(framework: str, model: str) -> None:
    """Stepped as the presets of the frameworks step it, then exported."""
    need(framework)
    definition = snnir.MODELS[model]
    params = {
        name: snnir.tensor(0.004 if name in definition.time_constants else 0.5)
        for name in definition.params
    }
    for semantics in ("exact", "snntorch", "spikingjelly"):
        stepping = snnir.preset(semantics).for_model(model)
        neuron = Neuron(model, FrozenDict(params), stepping)
        nodes = {
            "in0": Node("in0", Input(Signal(Kind.ANALOG, (4,)))),
            "n": Node("n", neuron, (Value("in0"),)),
        }
        graph = Graph(nodes, {"y": Value("n")}, 1e-3)
        if definition.flow is not None and semantics != "exact":
            continue  # only Euler steps it, which `exact` falls back to
        with np.errstate(all="ignore"):
            expected = snnir.run(graph, noise((4,))).output
        got = snnir.compile(graph, framework, level=0).run(noise((4,))).output
        if snnir.losses(graph, framework).level == "exact":
            np.testing.assert_array_equal(got, expected)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-3, equal_nan=True)
