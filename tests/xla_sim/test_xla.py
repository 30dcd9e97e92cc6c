"""The XLA target against the NumPy reference: ops, neurons, graphs, folders, devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

jax = pytest.importorskip("jax", reason="the xla target needs jax")

import snnir
from snnir.dynamics import dynamics, maximum, select
from snnir.ir import (
    Conv2d,
    FrozenDict,
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
    Winner,
)
from snnir.streams import Kind
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from snnir.targets.xla_sim.host import room_for, tile_for
from snnir.tensors import tensor
from tests.conformance.test_steps import nested
from tests.fused import all_exact, finite_summands, fused_graph, run_fused, run_fused_folder
from tests.fused import given as fused_inputs
from tests.helpers import (
    CORPUS,
    ROOT,
    cli,
    dyadic,
    feed_forward,
    graph,
    lif_step,
    params,
    quiet_load,
    recurrent,
    spikes,
)  # fmt: skip
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import (
    OP_GROUPS,
    OPS,
    alone,
    check,
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
)  # fmt: skip

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("names", OP_GROUPS, ids=len)
def test_ops(names: list[str]) -> None:
    built = ops_together(names)
    check(built, inputs(built), "xla")


def test_sums_of_ops_in_the_order_of_the_reference() -> None:
    sums = ("linear", "conv2d, u", "sum", "batch")
    built = ops_together([name for name in OPS if name.startswith(sums)])
    check(built, inputs(built), "xla", precision="reproducible")


@settings(max_examples=3)
@given(steps=st.lists(lif_steps(), min_size=12, max_size=12))
def test_the_lif_family(steps: list[Step]) -> None:
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), "xla")


def test_states_are_bit_exact_on_odd_numbers() -> None:
    """Without the guard, products and sums are rounded together: half of all states differ."""
    rng = np.random.default_rng(0)
    given = params(beta=np.float32(0.9), threshold=1.0)
    built = neuron_graph([Step(snnir.LifStep(), given, "lif")], (500,))
    x = rng.standard_normal((60, 3, 500)).astype(np.float32)
    want = snnir.compile(built, "numpy").run({"x": x, "y": x}, ["n0:v"]).recorded["n0:v"]
    states = {
        exact: snnir.compile(built, "xla", exact=exact).run({"x": x, "y": x}, ["n0:v"])
        for exact in (True, False)
    }
    np.testing.assert_array_equal(states[True].recorded["n0:v"], want)
    np.testing.assert_allclose(states[False].recorded["n0:v"], want, rtol=1e-3, atol=1e-5)


def test_continuous_models() -> None:
    """Every model under every semantics; exp is the library's own, so adex is only close."""
    for built, ulps in every_model():
        check(built, inputs(built, 18), "xla", ulps=ulps)


def test_custom_programs() -> None:
    steps = [
        Step(adaptive, params(beta=0.5, theta=1.0)),
        Step(adaptive, params(beta=np.array([0.5, 0.75, 0.875], np.float32), theta=1.0)),
    ]
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), "xla")
    check(neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,)), inputs(
        neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,)), 10), "xla", ulps=64,
    )  # fmt: skip


@dynamics(params={"a": "1", "b": "1"}, states={"v": 0.3, "w": 0.1})
def rewritten(x: Any, v: Any, w: Any, a: Any, b: Any) -> Any:
    """Everything that compilers like to rewrite: constants, inverses, fused and regrouped terms."""
    one = (x + 0.1) + 0.7 + a * v
    two = ((x * 0.1) * 0.3) * 1.7 - (w / 3.0) / 7.0
    three = x / (v / b) + (x / a) / (w / b) + 2.0 / (v / 3.0)
    four = (x * a + x * b) - (v * a - w * a) + (x - a) + a
    five = 1.0 - (1.0 - one) + (two - (two - x)) + -(x - v) * a
    total = one + two + four + five + maximum(x / a, w / a) + (x / 3.0) * 3.0
    total = select(abs(three) < 1e6, total + three, total)
    return {"v": select(abs(total) < 10.0, total, 0.7), "w": w * b + x / a}, total > 1.0


def test_nothing_is_rewritten() -> None:
    """Each result is rounded as written, also for divisors that are one number for all."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3, 200)).astype(np.float32)
    for a in (1.9, rng.uniform(1, 2, 200).astype(np.float32)):
        step = Step(rewritten, params(a=a, b=0.7))
        steps = [step, lif_step(membrane="quotient"), lif_step(membrane="quotient-after")]
        steps[1:] = [
            Step(s.dynamics, params(**{**{k: v.numpy() for k, v in s.params.items()}, "tau": 3.1}))
            for s in steps[1:]
        ]
        built = neuron_graph(steps, (200,))
        want = snnir.compile(built, "numpy").run({"x": x, "y": x}, every_value(built))
        got = snnir.compile(built, "xla").run({"x": x, "y": x}, every_value(built))
        for name, value in want.recorded.items():
            np.testing.assert_array_equal(got.recorded[name], value, name)


def test_every_scalar_op() -> None:
    """Each operation on its own, on zeros of both signs, infinities and NaN too."""
    steps, x, y = scalar_steps()
    built = neuron_graph(list(steps.values()), (100,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    got = snnir.compile(built, "xla").simulator.run({"x": x, "y": y})[0]  # type: ignore[attr-defined]
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"]
        # XLA on CPU takes numbers below 1.2e-38 as zero.
        normal = ~np.logical_or.reduce([(np.abs(v) < 1.2e-38) & (v != 0) for v in (x, y, a)])
        a, b = a[normal], b[normal]
        if name in ("exp", "log", "tanh", "pow"):
            np.testing.assert_allclose(b, a, rtol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_products_and_sums_rounded_together(precision: str) -> None:
    """XLA on CPU takes numbers below 1.2e-38 as zero."""
    run_fused("xla", precision, special=False, precision=precision)


def test_a_folder_rounds_products_and_sums_together(tmp_path: Path) -> None:
    run_fused_folder("xla", tmp_path / "out")


def test_gradients_pass_products_and_sums_rounded_together() -> None:
    """In a function that others compile too, where float64 is not allowed."""
    import jax

    a, b, c = finite_summands("float32", special=False)
    made: Any = snnir.compile(fused_graph(len(a)), "xla", level=0)

    def run(xs: Any) -> Any:
        outputs = made.function({}, xs)
        return outputs["once"].sum(), outputs

    found, outputs = jax.jit(jax.grad(run, has_aux=True))(fused_inputs(a, b, c))
    np.testing.assert_array_equal(outputs["once"].reshape(-1), all_exact(a, b, c))
    for name, want in (("x", b), ("y", a), ("z", np.ones_like(c))):
        np.testing.assert_array_equal(found[name].reshape(-1), want, name)


@pytest.mark.parametrize("delay", [1, 3])
def test_recurrence(delay: int) -> None:
    check(recurrent(delay), spikes((30, 3, 3)), "xla")


@pytest.mark.parametrize("steps", [2, 25, 300])
def test_tangled_recurrences(steps: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), "xla")


@settings(max_examples=3)
@given(built=st.lists(graphs(), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_random_graphs(built: list[Graph], seed: int) -> None:
    parts = {str(number): each for number, each in enumerate(built)}
    xs = {name: inputs(each, 9, 2, seed) for name, each in parts.items()}
    check(side_by_side(parts), side_by_side_inputs(xs), "xla")


@pytest.mark.parametrize(("steps", "batch"), [(900, 4), (1, 1), (257, 1), (33, 100)])
def test_runs_of_any_length_are_tiled(steps: int, batch: int) -> None:
    check(feed_forward(), spikes((steps, batch, 3)), "xla")


@given(st.integers(1, 5000), st.integers(1, 300))
def test_room_is_little_and_tiles_divide_it(time: int, batch: int) -> None:
    room = room_for(time)
    assert time <= room <= max(time * 1.25, time + 3)
    assert room_for(room) == room
    assert room % tile_for(room, batch) == 0


@pytest.mark.parametrize(("steps", "batch"), [(250, 64), (101, 4), (7, 300), (30, 1)])
def test_the_function_is_tiled_too(steps: int, batch: int) -> None:
    built = tangled()
    made: Any = snnir.compile(built, "xla")
    x = inputs(built, steps, batch)
    got = jax.jit(made.function)(made.simulator.tensors, x)
    for name, value in snnir.compile(built, "numpy").run(x).outputs.items():
        np.testing.assert_array_equal(np.asarray(got[name]), value)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_function_rounds_products_inside_a_callers_jit(steps: int) -> None:
    @dynamics(params={"b": "1", "c": "1"}, states={"v": 0.0}, outputs=(Kind.ANALOG,))
    def scaled(x: Any, v: Any, b: Any, c: Any) -> Any:
        y = b * x + c
        return {"v": v + y}, y

    rng = np.random.default_rng(0)
    factors = {name: tensor(rng.random(1000).astype(np.float32)) for name in ("b", "c")}
    editor = Graph({}, {}).edit()
    x = editor.add("x", Input(Signal(Kind.ANALOG, (1000,))))
    editor.outputs["y"] = editor.add("n", Step(scaled, FrozenDict(factors)), [x])
    built = editor.graph()
    values = rng.random((steps, 1, 1000)).astype(np.float32)
    made: Any = snnir.compile(built, "xla", level=0)
    got = jax.jit(made.function)(made.simulator.tensors, {"x": values})
    np.testing.assert_array_equal(np.asarray(got["y"]), snnir.run(built, values).output)


def compilations(run: Any) -> int:
    """Return how many programs XLA compiles during a call."""
    counted: list[str] = []

    def note(event: str, *_: Any, **__: Any) -> None:
        if "backend_compile" in event:
            counted.append(event)

    from jax import monitoring

    monitoring.register_event_duration_secs_listener(note)
    try:
        run()
    finally:
        monitoring.clear_event_listeners()
    return len(counted)


def test_nothing_is_compiled_again_for_other_lengths_and_batches() -> None:
    sim = snnir.compile(feed_forward(), "xla")
    assert compilations(lambda: sim.run(spikes((100, 30, 3)))) > 0
    for steps, batch in ((101, 32), (112, 29), (97, 31)):
        assert compilations(lambda: sim.run(spikes((steps, batch, 3)))) == 0  # noqa: B023


def test_a_hundred_layers_compile_quickly() -> None:
    import time

    nodes: dict[str, tuple[Op, list[str]]] = {"n0": (Input(Signal(Kind.SPIKES, (20,))), [])}
    for layer in range(100):
        nodes[f"fc{layer}"] = (Linear(t(20, 20, seed=layer)), [f"n{layer}"])
        nodes[f"n{layer + 1}"] = (lif_step(), [f"fc{layer}"])
    built = graph(nodes, "n100", dt=1e-3)
    x = spikes((1000, 1, 20))
    sim = snnir.compile(built, "xla")
    start = time.perf_counter()
    got = sim.run(x)
    assert time.perf_counter() - start < 60  # a third of that here; the benchmark has the figure
    np.testing.assert_array_equal(got.output, snnir.compile(built, "numpy").run(x).output)


# --- The folder ----------------------------------------------------------------------------------


def pictures() -> Graph:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (2, 8, 8))), []),
        'a"\n.b */': (Conv2d(t(3, 2, 3, 3), t(3)), ["x"]),
        "forward": (lif_step(), ['a"\n.b */']),
        "pool": (MaxPool2d((2, 2), (2, 2)), ["forward"]),
        "..": (Reshape((27,)), ["pool"]),
        "fc": (Linear(t(5, 27)), [".."]),
        "out": (lif_step(refractory=2, reset="to"), ["fc"]),
    }
    return graph(nodes, "out", dt=1e-3)


BUILT = {
    "feed forward": feed_forward(), "recurrent": recurrent(2), "pictures": pictures(),
    "tangled": tangled(), "fixed point": neuron_graph([lif_step(membrane="fixed")], (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_the_folder_runs_alone(name: str, tmp_path: Path) -> None:
    built = BUILT[name]
    x = inputs(built, 20, 2)
    made = snnir.compile(built, "xla")
    made.save(tmp_path / "out")
    record = [value for value in every_value(made.graph) if value not in built.inputs]
    want = snnir.compile(built, "numpy").run(x, record)
    got = snnir.run(tmp_path / "out", x, record)
    for key, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[key], value)
    assert got.stats == want.stats
    text = (tmp_path / "out" / "forward.stablehlo.mlir").read_text()
    assert "stablehlo" in text
    assert "?x?x" in text  # any number of steps and samples


@pytest.mark.parametrize("name", BUILT)
def test_the_export_runs_alone_for_any_shape(name: str, tmp_path: Path) -> None:
    built = BUILT[name]
    snnir.compile(built, "xla").save(tmp_path / "out")
    for steps, batch in ((7, 3), (40, 1)):
        x = inputs(built, steps, batch)
        np.savez(tmp_path / "x.npz", **x)
        command = [sys.executable, "-I", str(tmp_path / "out" / "model.py"), "--exported"]
        done = subprocess.run(
            [*command, str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "y.npz") as file:
            data = dict(file)
        want = snnir.compile(built, "numpy").run(x)
        for index, key in enumerate(data["names"]):
            expected = want.outputs[str(key).removeprefix("output/")]
            np.testing.assert_array_equal(data[f"array_{index}"], expected)


def test_the_manifest_says_when_it_is_not_exact(tmp_path: Path) -> None:
    import json

    for exact in (True, False):
        snnir.compile(feed_forward(), "xla", exact=exact).save(tmp_path / str(exact))
        facts = json.loads((tmp_path / str(exact) / "manifest.json").read_text())
        assert facts["options"]["exact"] is exact


def test_the_loss_report_says_it_too() -> None:
    for exact in (True, False):
        report = snnir.losses(feed_forward(), "xla", exact=exact)
        (lif,) = (entry for entry in report.nodes if entry.node == "lif")
        assert report.level == lif.level == "exact in real arithmetic"
        assert ("rounded together" in lif.what) == (not exact)
        assert ("below 1.2e-38" in lif.what) == exact


def test_very_small_numbers_are_zero_as_the_loss_report_says() -> None:
    built = alone(Winner(), (3,))
    x = np.full((1, 1, 3), 1e-40, np.float32)
    want, made = (snnir.compile(built, target).run(x).output for target in ("numpy", "xla"))
    assert want.sum() == 1
    assert made.sum() == 0
    assert snnir.losses(built, "xla").level != "exact"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.nir")), ids=lambda p: p.name)
def test_published_models(path: Path) -> None:
    try:
        built = quiet_load(path, semantics="snntorch", repair=True)
    except snnir.SnnirError:
        pytest.skip("the file itself is refused; see tests/corpora")
    x = {n: spikes((30, 2, *s.shape), 0.2) for n, s in built.inputs.items()}
    populations = list(snnir.populations(built))
    want = snnir.compile(built, "numpy").run(x, populations)
    for target in ("xla", "torch"):
        if target == "torch":
            pytest.importorskip("torch")
        got = snnir.compile(built, target, precision="reproducible").run(x, populations)
        for name in populations:
            np.testing.assert_array_equal(got.recorded[name], want.recorded[name])


# --- Gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["feed forward", "recurrent", "tangled"])
@pytest.mark.parametrize("detach", ["true", "false"])
def test_gradients_are_those_of_the_torch_target(name: str, detach: str) -> None:
    torch = pytest.importorskip("torch", reason="compares with the torch target")
    built = BUILT[name]
    options: dict[str, Any] = {"surrogate": "atan", "detach_reset": detach}
    made: Any = snnir.compile(built, "xla", **options)
    net = snnir.to_torch(built, trained="all", **options)
    xs = inputs(built, 20, 3)

    def loss(tensors: Any) -> Any:
        outputs = made.function(tensors, xs)
        return sum((y.sum(0) ** 2).mean() for y in outputs.values())

    got = jax.jit(jax.grad(loss))(made.simulator.tensors)
    outputs, _, _ = net.simulate({k: torch.from_numpy(x) for k, x in xs.items()})
    sum((y.sum(0) ** 2).mean() for y in outputs.values()).backward()
    for key in net.tensor_names():
        want = net.tensor(key).grad
        if want is not None:
            scale = float(want.abs().max()) or 1.0
            np.testing.assert_allclose(got[key], want.numpy(), atol=1e-4 * scale, err_msg=key)


# --- Devices -------------------------------------------------------------------------------------

MESH = """
import os, sys
import numpy as np
import jax
import snnir
from tests.helpers import recurrent, spikes
from tests.xla_sim.test_xla import wide_net
built = wide_net()
x = spikes((30, 8, 12), 0.4)
want = snnir.compile(built, "numpy").run(x, ["lif", "lif:v"])
for mesh in sys.argv[1:]:
    sim = snnir.compile(built, "xla", mesh=mesh)
    got = sim.run(x, ["lif", "lif:v"])
    for key, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[key], value)
    assert got.stats == want.stats
    used = {d for a in sim.simulator.tensors.values() for d in a.devices()}
    print(mesh, len(used), sim.simulator.tensors["fc.weight"].sharding.spec)
"""


def wide_net() -> Graph:
    """12 spikes -> 16 neurons that feed each other -> 7 neurons, which divide by nothing."""
    nodes = {
        name: Node(name, op, tuple(Value(o) for o in operands))
        for name, (op, operands) in {
            "x": (Input(Signal(Kind.SPIKES, (12,))), []),
            "fc": (Linear(snnir.tensor(dyadic((16, 12)))), ["x"]),
            "rec": (Linear(snnir.tensor(dyadic((16, 16), 4) / 4)), ["late"]),
            "late": (snnir.ir.Delay(1), ["lif"]),
            "sum": (snnir.ir.Add(), ["fc", "rec"]),
            "lif": (lif_step(), ["sum"]),
            "out": (Linear(snnir.tensor(dyadic((7, 16), 2))), ["lif"]),
            "last": (lif_step(reset="subtract"), ["out"]),
        }.items()
    }
    return Graph(nodes, {"y": Value("last")}, 1e-3).verify()


def python(script: str, *arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    known = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **env}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env=known, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_eight_devices_give_what_one_gives() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    run = python(MESH, "batch:8", "neurons:8", "batch:2,neurons:4", "batch:3", env=flags)
    out, problems = run.communicate(timeout=300)
    assert run.returncode == 0, problems
    lines = out.splitlines()
    assert [line.split()[1] for line in lines] == ["8", "8", "8", "3"]
    assert "'neurons'" in lines[1]


def test_too_few_devices_are_named() -> None:
    with pytest.raises(snnir.SnnirError, match=r"a mesh of 64 x 1 has 64 places"):
        snnir.compile(feed_forward(), "xla", mesh="batch:64").run(spikes((5, 2, 3)))


def test_a_folder_runs_on_its_mesh(tmp_path: Path) -> None:
    built = wide_net()
    snnir.compile(built, "xla", mesh="batch:2,neurons:4").save(tmp_path / "out")
    x = spikes((30, 8, 12), 0.4)
    np.save(tmp_path / "x.npy", x)
    env = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    for flags, words in (({}, "there are 1 devices"), (env, "")):
        done = subprocess.run(
            [sys.executable, "out/model.py", "x.npy"], cwd=tmp_path, text=True, check=False,
            capture_output=True, env={**os.environ, "JAX_PLATFORMS": "cpu", **flags},
        )  # fmt: skip
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert bool(done.returncode) == bool(words)
    with np.load(tmp_path / "output.npz") as made:
        found = made["array_0"]
    np.testing.assert_array_equal(found, snnir.compile(built, "numpy").run(x).output)


CLUSTER = """
import sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import numpy as np
import snnir
from tests.helpers import spikes
from tests.xla_sim.test_xla import wide_net
built = wide_net()
x = spikes((30, 8, 12), 0.4)
want = snnir.compile(built, "numpy").run(x, ["lif"])
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
got = snnir.compile(built, "xla", mesh="batch:2,neurons:2").run(x, ["lif"])
np.testing.assert_array_equal(got.output, want.output)
np.testing.assert_array_equal(got.recorded["lif"], want.recorded["lif"])
print("equal")
"""


def test_two_processes_give_what_one_gives() -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    runs = [python(CLUSTER, place, str(number), env=flags) for number in range(2)]
    for run in runs:
        out, problems = run.communicate(timeout=300)
        assert run.returncode == 0, problems[-3000:]
        assert out.strip().endswith("equal")


# --- Wrong input, and the command line -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"precision": "half"}, "precision is 'half'"),
        ({"detach_reset": "some"}, "detach_reset is 'some'"),
        ({"surrogate": "step"}, "no surrogate 'step'"),
        ({"mesh": "rows:2"}, "mesh is 'rows:2'"),
        ({"mesh": "batch:0"}, "mesh is 'batch:0'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(snnir.SnnirError, match=word):
        snnir.compile(feed_forward(), "xla", **options)


def test_resuming_with_another_batch_is_named() -> None:
    sim = snnir.compile(feed_forward(), "xla")
    sim.run(spikes((5, 3, 3)))
    with pytest.raises(snnir.SnnirError, match="SNN601.*batch of 4"):
        sim.run(spikes((5, 4, 3)), resume=True)


@pytest.mark.parametrize("target", ["xla", "torch"])
def test_command_line(target: str, tmp_path: Path) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    snnir.save(recurrent(), tmp_path / "m.snnir")
    done = cli("compile", tmp_path / "m.snnir", "--target", target, "-o", tmp_path / "out",
               "--verify", "--set", "surrogate=atan{alpha=2}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stderr
    ran = cli("run", tmp_path / "out", "--poisson", 0.3, "--steps", 20, "-o", tmp_path / "y.npz")
    assert ran.returncode == 0, ran.stderr
    wrong = cli("compile", tmp_path / "m.snnir", "--target", target, "-o", tmp_path / "no",
                "--set", "surrogate=none")  # fmt: skip
    assert wrong.returncode == 1
    assert "error[SNN503]" in wrong.stderr
    assert not (tmp_path / "no").exists()
