"""The torch target against the NumPy reference: every op, every neuron, whole graphs."""

from __future__ import annotations

import dataclasses
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
from snnir.c_build import NoCompiler, compiler
from snnir.ir import (
    Add,
    Conv2d,
    Current,
    Delay,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Op,
    Reshape,
    Signal,
    Step,
    Value,
)  # fmt: skip
from snnir.streams import Kind
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.conformance.test_steps import nested
from tests.fused import run_fused, run_fused_folder
from tests.helpers import feed_forward, graph, lif_step, params, recurrent, spikes
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import (
    OP_GROUPS,
    check,
    check_each,
    every_model,
    every_value,
    inputs,
    neuron_graph,
    ops_together,
    scalar_steps,
    side_by_side,
    side_by_side_inputs,
    t,
    tangled,
)

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


@pytest.mark.parametrize("precision", ["float32", "reproducible"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("names", OP_GROUPS, ids=len)
def test_ops(names: list[str], backend: str, precision: str) -> None:
    built = ops_together(names)
    mostly_zero = {k: x * (spikes(x.shape, 0.1)) for k, x in inputs(built, 40).items()}
    spiking = {k: spikes(x.shape, 0.1, 5) for k, x in mostly_zero.items()}
    given = [inputs(built), mostly_zero, spiking]
    check_each(built, given, "torch", backend=backend, precision=precision)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=8)
@given(steps=st.lists(lif_steps(), min_size=15, max_size=15))
def test_the_lif_family(backend: str, steps: list[Step]) -> None:
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), "torch", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 700, 1024])
def test_parameters_per_neuron_and_populations_of_any_size(backend: str, size: int) -> None:
    rng = np.random.default_rng(size)
    values = rng.integers(1, 16, (3, size)).astype(np.float32) / 16
    given = params(beta=values[0], threshold=values[1] + 1, v_reset=values[2])
    step = Step(snnir.LifStep(reset="to"), given, "lif")
    built = neuron_graph([step, lif_step()], (size,))
    check(built, inputs(built, 20, 5), "torch", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_continuous_models(backend: str) -> None:
    """Every model under every semantics; exp is the library's own, so adex is only close."""
    for built, ulps in every_model():
        check(built, inputs(built, 18), "torch", ulps=ulps, backend=backend)


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
    check(built, inputs(built, 10), "torch", ulps=32, backend=backend)


#: What torch computes with a vector library on some processors, also where IEEE fixes the result.
LIBRARY = ("exp", "log", "tanh", "pow", "sqrt")


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_scalar_op(backend: str) -> None:
    """Each operation on its own, on zeros of both signs, infinities and NaN too."""
    steps, x, y = scalar_steps()
    built = neuron_graph(list(steps.values()), (100,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    net = snnir.to_torch(built, backend=backend)
    import torch

    with torch.no_grad():
        got = net({"x": torch.from_numpy(x), "y": torch.from_numpy(y)})
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"].numpy()
        if name in LIBRARY:
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)
        if name not in ("min", "max", "exp", "log", "tanh", "pow"):
            number = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(b[number]), np.signbit(a[number]), name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_products_and_sums_rounded_together(backend: str, precision: str) -> None:
    run_fused("torch", precision, backend=backend, precision=precision)


def test_a_folder_rounds_products_and_sums_together(tmp_path: Path) -> None:
    run_fused_folder("torch", tmp_path / "out")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("delay", [1, 3])
def test_recurrence(backend: str, delay: int) -> None:
    check(recurrent(delay), spikes((30, 3, 3)), "torch", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=6)
@given(built=st.lists(graphs(), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_random_graphs(backend: str, built: list[Graph], seed: int) -> None:
    parts = {str(number): each for number, each in enumerate(built)}
    xs = {name: inputs(each, 9, 2, seed) for name, each in parts.items()}
    check(side_by_side(parts), side_by_side_inputs(xs), "torch", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_runs_are_tiled(backend: str) -> None:
    check(feed_forward(), spikes((900, 4, 3)), "torch", backend=backend)


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
            check(built, x, "torch", backend=backend)
            check(built, x * 1.5, "torch", backend=backend)


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
        check(built, spikes((60, 4, 300), 0.2), "torch")
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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [2, 25, 700])
def test_tangled_recurrences(backend: str, steps: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), "torch", backend=backend)


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_hostile_names_stay_names(backend: str, tmp_path: Path) -> None:
    """Names of nodes and programs cannot end a comment or a text of the generated code."""
    evil = '*/ int x; /* """ + exit() + """ \x1f*\n#endif'
    program = dataclasses.replace(adaptive, name=evil)
    step = Step(program, params(beta=0.5, theta=1.0))
    nodes = {
        "x": Node("x", Input(Signal(Kind.SPIKES, (3,)))),
        evil + "late": Node(evil + "late", Delay(1), (Value(evil),)),
        evil + "own": Node(evil + "own", Current(), (Value(evil + "late"),)),
        "c": Node("c", Current(), (Value("x"),)),
        "+": Node("+", Add(), (Value("c"), Value(evil + "own"))),
        evil: Node(evil, step, (Value("+"),)),
    }
    built = Graph(nodes, {evil: Value(evil)}, 1e-3).verify()
    x = spikes((20, 2, 3))
    check(built, x, "torch", backend=backend)
    snnir.compile(built, "torch").save(tmp_path / "out")
    want = snnir.compile(built, "numpy").run(x, [evil])
    got = snnir.run(tmp_path / "out", x, [evil])
    np.testing.assert_array_equal(got.recorded[evil], want.recorded[evil])
