"""The torch target against the NumPy reference: every op, every neuron, whole graphs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the torch target needs torch")

import snnir
from snnir.dynamics import Dynamics, Let, State
from snnir.dynamics.scalar import SCALAR_OPS
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
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Permute,
    Reshape,
    Scale,
    Signal,
    Slice,
    Step,
    SumPool2d,
    Value,
    Winner,
)  # fmt: skip
from snnir.matrix import EXAMPLES
from snnir.streams import Kind
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from snnir.targets.torch_sim.compiled import NoCompiler, compiler
from tests.conformance.test_steps import nested
from tests.helpers import dyadic, feed_forward, graph, lif_step, params, recurrent, spikes
from tests.strategies import adaptive, graphs, lif_steps

pytestmark = pytest.mark.framework

try:
    compiler()
    HAS_C = True
except NoCompiler:
    HAS_C = False
BACKENDS = [
    "eager",
    pytest.param("c", marks=pytest.mark.skipif(not HAS_C, reason="there is no C compiler")),
]


def every_value(built: Graph) -> list[str]:
    found = list(built.nodes)
    for node in built.nodes.values():
        if isinstance(node.op, Step):
            found += [f"{node.name}:{state.name}" for state in node.op.program.states]
    return found


def check(built: Graph, xs: Any, ulps: int = 0, **options: Any) -> None:
    """Every value and state of a run, and of the run after it, equals the reference's."""
    reference = snnir.compile(built, "numpy", level=0)
    made = snnir.compile(built, "torch", level=0, **options)
    watch = every_value(made.graph)
    for resume in (False, True):
        with np.errstate(all="ignore"):
            want, got = (sim.run(xs, watch, resume=resume) for sim in (reference, made))
        for name, value in {**want.outputs, **want.recorded}.items():
            found = {**got.outputs, **got.recorded}[name]
            assert found.dtype == value.dtype, name
            assert found.shape == value.shape, name
            if ulps:
                np.testing.assert_allclose(found, value, rtol=ulps * 1.2e-7, atol=ulps * 1e-7)
            else:
                np.testing.assert_array_equal(found, value, name)
        assert got.stats == want.stats
        # Without records, nothing is kept from the fused kernels.
        plain = snnir.compile(built, "torch", level=0, **options).run(xs)
        if not resume and not ulps:
            np.testing.assert_array_equal(plain.output, want.output)


def alone(op: Op, *shapes: tuple[int, ...], kind: Kind = Kind.ANALOG) -> Graph:
    """Return the op between inputs of these shapes and an output."""
    nodes = {f"x{i}": Node(f"x{i}", Input(Signal(kind, s))) for i, s in enumerate(shapes)}
    nodes["op"] = Node("op", op, tuple(Value(name) for name in nodes))
    return Graph(nodes, {"output": Value("op")}, 1e-3)


def inputs(built: Graph, steps: int = 7, batch: int = 3, seed: int = 0) -> dict[str, Any]:
    """Dyadic input, about half of it zero."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, signal in built.inputs.items():
        shape = (steps, batch, *signal.shape)
        values: Any = rng.integers(-24, 40, shape) / 16 * (rng.random(shape) < 0.5)
        if signal.kind is not Kind.ANALOG:
            values = np.abs(np.rint(values)) if signal.kind is Kind.COUNTS else values > 0.5
        found[name] = values.astype(np.float32)
    return found


def t(*shape: int, seed: int = 3) -> snnir.Tensor:
    return snnir.tensor(dyadic(shape, seed))


OPS: dict[str, tuple[Op, tuple[tuple[int, ...], ...]]] = {
    **{
        name: (op, (shape,) * (op.operand_count or 3)) for name, (op, shape) in EXAMPLES.items()
    },
    "linear with bias": (Linear(t(70, 33), t(70)), ((33,),)),
    "linear, one bias": (Linear(t(5, 33), t(1)), ((33,),)),
    "linear over the last axis": (Linear(t(9, 7), t(9)), ((4, 6, 7),)),
    "conv2d, uneven": (
        Conv2d(t(3, 4, 2, 3), t(3), stride=(2, 1), padding=((1, 0), (2, 1))), ((4, 6, 7),),
    ),
    "conv2d, even": (Conv2d(t(3, 4, 3, 3), t(3), padding=((1, 1), (1, 1))), ((4, 6, 7),)),
    "conv2d, groups": (Conv2d(t(6, 2, 3, 2), groups=2, dilation=(2, 3)), ((4, 6, 7),)),
    "conv2d, one bias": (Conv2d(t(4, 1, 2, 2), t(1), groups=4, stride=(3, 2)), ((4, 6, 7),)),
    "conv1d": (
        Conv1d(t(4, 2, 3), t(4), stride=(2,), padding=((1, 2),), dilation=(2,), groups=2),
        ((4, 9),),
    ),
    "sum_pool2d": (SumPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "avg_pool2d": (AvgPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "max_pool2d": (MaxPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "batch_norm": (
        BatchNorm(t(4), snnir.tensor(np.abs(dyadic((4,))) + np.float32(0.5)), t(4), t(4)),
        ((4, 6, 7),),
    ),
    "scale per element": (Scale(t(6, 7)), ((4, 6, 7),)),
    "bias per element": (Bias(t(6, 7)), ((4, 6, 7),)),
    "concat": (Concat(1), ((2, 3), (2, 1), (2, 2))),
    "add": (Add(), ((2, 3),) * 3),
    "slice": (Slice(2, 1, 4), ((2, 3, 5),)),
    "permute": (Permute((2, 0, 1)), ((2, 3, 5),)),
    "reshape": (Reshape((5, 6)), ((2, 3, 5),)),
    "winner": (Winner(), ((5,),)),
    "delay": (Delay(3), ((2, 3),)),
    "delay of nothing": (Delay(0), ((2, 3),)),
    "delay longer than the run": (Delay(30), ((2, 3),)),
    "delay per element": (Delay(snnir.Tensor(np.array([[0, 2, 9], [1, 1, 4]]))), ((2, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "reproducible"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPS)
def test_ops(name: str, backend: str, precision: str) -> None:
    op, shapes = OPS[name]
    built = alone(op, *shapes)
    check(built, inputs(built), backend=backend, precision=precision)
    mostly_zero = {k: x * (spikes(x.shape, 0.1)) for k, x in inputs(built, 40).items()}
    check(built, mostly_zero, backend=backend, precision=precision)
    spiking = {k: spikes(x.shape, 0.1, 5) for k, x in mostly_zero.items()}
    check(built, spiking, backend=backend, precision=precision)


def neuron_graph(steps: list[Step], shape: tuple[int, ...]) -> Graph:
    """Return populations side by side, fed by the same two inputs."""
    nodes = {
        name: Node(name, Input(Signal(Kind.ANALOG, shape))) for name in ("x", "y")
    }  # fmt: skip
    for index, step in enumerate(steps):
        operands = tuple(Value(name) for name in ("x", "y")[: step.operand_count])
        nodes[f"n{index}"] = Node(f"n{index}", step, operands)
    return Graph(nodes, {f"o{i}": Value(f"n{i}") for i in range(len(steps))}, 1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(steps=st.lists(lif_steps(), min_size=6, max_size=6))
def test_the_lif_family(backend: str, steps: list[Step]) -> None:
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 700, 1024])
def test_parameters_per_neuron_and_populations_of_any_size(backend: str, size: int) -> None:
    rng = np.random.default_rng(size)
    values = rng.integers(1, 16, (3, size)).astype(np.float32) / 16
    given = params(beta=values[0], threshold=values[1] + 1, v_reset=values[2])
    step = Step(snnir.LifStep(reset="to"), given, "lif")
    built = neuron_graph([step, lif_step()], (size,))
    check(built, inputs(built, 20, 5), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", list(snnir.PRESETS))
def test_continuous_models(backend: str, preset: str) -> None:
    """Every model under every semantics; exp is the library's own, so only close."""
    for name, model in snnir.MODELS.items():
        try:
            stepping = snnir.preset(preset).for_model(name)
            given = {
                p: snnir.tensor(0.01 if p in model.time_constants else 1.0) for p in model.params
            }
            built = alone(Neuron(name, FrozenDict(given), stepping), (3,))
            snnir.compile(built, "numpy", level=0)
        except snnir.SnnirError:
            continue  # this preset does not step this model
        check(built, inputs(built, 20), ulps=64 if name == "adex" else 0, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_custom_programs(backend: str, precision: str) -> None:
    steps = [
        Step(adaptive, params(beta=0.5, theta=1.0)),
        Step(adaptive, params(beta=np.array([0.5, 0.75, 0.875], np.float32), theta=1.0)),
    ]
    built = neuron_graph(steps, (2, 3))
    wide = precision == "float64"
    reference = snnir.compile(built, precision=precision if wide else "reproducible")
    made = snnir.compile(built, "torch", backend=backend, precision=precision)
    xs = inputs(built, 30)
    want, got = reference.run(xs, ["n0:v", "n1:a"]), made.run(xs, ["n0:v", "n1:a"])
    for name, value in {**want.outputs, **want.recorded}.items():
        found = {**got.outputs, **got.recorded}[name]
        assert found.dtype == (np.float64 if wide else np.float32)
        np.testing.assert_array_equal(found, value)
    built = neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,))
    check(built, inputs(built, 10), ulps=32, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_scalar_op(backend: str) -> None:
    """Each operation on its own, on zeros of both signs, infinities and NaN too."""
    steps = {}
    for name, op in SCALAR_OPS.items():
        lets = [Let("c0", "gt", ("x", 0.25)), Let("c1", "lt", ("y", 0.5))]
        arguments: tuple[Any, ...] = ("c0", "c1") if op.takes == "bool" else ("x", "y")
        arguments = ("c0", "x", "y") if name == "select" else arguments[: op.arity]
        lets.append(Let("z", name, arguments))
        if op.gives == "bool":
            lets.append(Let("out", "cast", ("z",)))
        out = "out" if op.gives == "bool" else "z"
        kinds = ((out, Kind.ANALOG),)
        states = (State("v", 0.75),)
        program = Dynamics(name, ("x", "y"), (), states, tuple(lets), (("v", out),), kinds)
        program.types()
        steps[name] = Step(program, params())
    odd = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 0.5, 3e38, 1e-40], np.float32)
    x, y = (a.reshape(1, 1, -1) for a in np.meshgrid(odd, odd))
    built = neuron_graph(list(steps.values()), (100,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    net = snnir.to_torch(built, backend=backend)
    import torch

    with torch.no_grad():
        got = net({"x": torch.from_numpy(x), "y": torch.from_numpy(y)})
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"].numpy()
        if name in ("exp", "log", "tanh", "pow"):
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)
        if name not in ("min", "max", "exp", "log", "tanh", "pow"):
            number = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(b[number]), np.signbit(a[number]), name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("delay", [1, 3])
def test_recurrence(backend: str, delay: int) -> None:
    check(recurrent(delay), spikes((30, 3, 3)), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30)
@given(built=graphs(), seed=st.integers(0, 99))
def test_random_graphs(backend: str, built: Graph, seed: int) -> None:
    check(built, inputs(built, 9, 2, seed), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_runs_are_tiled(backend: str) -> None:
    check(feed_forward(), spikes((900, 4, 3)), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wide_layers_and_all_densities(backend: str) -> None:
    """Sums over events and matrix products, on widths that fill no block."""
    for width, neurons in ((16, 16), (17, 33), (40, 20), (130, 129)):
        nodes: dict[str, tuple[Op, list[str]]] = {
            "x": (Input(Signal(Kind.ANALOG, (width,))), []),
            "fc": (Linear(t(neurons, width), t(neurons)), ["x"]),
            "lif": (lif_step(), ["fc"]),
        }
        built = graph(nodes, "lif", dt=1e-3)
        for rate in (0.0, 0.05, 0.2, 0.5, 1.0):
            x = spikes((25, 3, width), rate)
            check(built, x, backend=backend)
            check(built, x * 1.5, backend=backend)


def test_two_threads_change_nothing() -> None:
    import torch

    before = torch.get_num_threads()
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (300,))), []),
        "fc": (Linear(t(1500, 300)), ["x"]),
        "lif": (lif_step(), ["fc"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    try:
        torch.set_num_threads(3)
        check(built, spikes((60, 4, 300), 0.2))
    finally:
        torch.set_num_threads(before)


def folder_run(folder: Path, x: Any, record: list[str]) -> Any:
    return snnir.run(folder, x, record)


@pytest.mark.parametrize("name", ["feed forward", "recurrent", "everything"])
def test_the_folder_runs_alone(name: str, tmp_path: Path) -> None:
    if name == "everything":
        nodes: dict[str, tuple[Op, list[str]]] = {
            "x": (Input(Signal(Kind.SPIKES, (2, 8, 8))), []),
            'a"\n.b': (Conv2d(t(3, 2, 3, 3), t(3)), ["x"]),
            "forward": (lif_step(), ['a"\n.b']),
            "pool": (MaxPool2d((2, 2), (2, 2)), ["forward"]),
            "..": (Reshape((27,)), ["pool"]),
            "training.weight": (Linear(t(5, 27)), [".."]),
            "training": (lif_step(refractory=2, reset="to"), ["training.weight"]),
        }
        built = graph(nodes, "training", dt=1e-3)
        x = spikes((20, 2, 2, 8, 8))
    else:
        built = feed_forward() if name == "feed forward" else recurrent(2)
        x = spikes((20, 2, 3))
    made = snnir.compile(built, "torch")
    made.save(tmp_path / "out")
    record = [value for value in every_value(made.graph) if not value.startswith("-")]
    want = snnir.compile(built, "numpy").run(x, record)
    got = folder_run(tmp_path / "out", x, record)
    for key, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[key], value)
    assert got.stats == want.stats


def test_the_folder_trains_without_snnir(tmp_path: Path) -> None:
    """The emitted module is imported with snnir out of reach and learns."""
    snnir.compile(feed_forward(), "torch").save(tmp_path / "out")
    script = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("snnir", "safetensors", "numpy"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
import torch
from model import load
net = load()
names = [name for name, p in net.named_parameters() if p.requires_grad]
assert names == ["fc.weight", "fc.bias"], names
x = (torch.rand(20, 4, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
net(x).sum().backward()
assert net.fc.weight.grad.abs().sum() > 0
assert "numpy" not in sys.modules and "snnir" not in sys.modules
net.load_state_dict(net.state_dict())
print("learned")
"""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", script, str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "learned", done.stderr


def tangled(shape: tuple[int, ...] = (4, 5)) -> Graph:
    """Two populations in one recurrence through every op that compiled loops know."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(2)
    varied = params(
        beta=rng.integers(4, 15, shape).astype(np.float32) / 16, threshold=1.0, v_reset=0.25,
        alpha=0.5,
    )  # fmt: skip
    own = Step(snnir.LifStep(synapse="factor", reset="to"), varied, "lif")
    two = lif_step(inputs=2, exposes_v=True, refractory=1)
    nodes = {
        name: Node(name, op, tuple(operands))
        for name, (op, operands) in {
            "x": (Input(Signal(Kind.ANALOG, shape)), []),
            "y": (Input(Signal(Kind.ANALOG, (3,))), []),
            "late a": (Delay(1), [Value("a")]),
            "late b": (Delay(4), [Value("b")]),
            "flat": (Reshape((size,)), [Value("late a")]),
            "fc": (Linear(t(3, size), t(3)), [Value("flat")]),
            "b": (two, [Value("fc"), Value("y")]),
            "half": (Scale(t(3)), [Value("late b")]),
            "shift": (Bias(t(1)), [Value("half")]),
            "back": (Linear(t(size, 3, seed=5)), [Value("shift")]),
            "shaped": (Reshape(shape), [Value("back")]),
            "sum": (Add(), [Value("x"), Value("shaped"), Value("own")]),
            "own": (Current(), [Value("late a")]),
            "a": (own, [Value("sum")]),
        }.items()
    }
    outputs = {"a": Value("a"), "v": Value("b", 1), "flat": Value("flat")}
    return Graph(nodes, outputs, 1e-3).verify()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [2, 25, 700])
def test_tangled_recurrences(backend: str, steps: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), backend=backend)


@pytest.mark.skipif(not HAS_C, reason="there is no C compiler")
def test_recurrences_are_compiled_where_they_can_be() -> None:
    import torch

    compiled = {}
    for name, built in {"plain": recurrent(), "tangled": tangled()}.items():
        net = snnir.to_torch(built)
        with torch.no_grad():
            net({k: torch.from_numpy(x) for k, x in inputs(built).items()})
        compiled[name] = any(net.kit._loops.values())
    assert compiled == {"plain": True, "tangled": True}
