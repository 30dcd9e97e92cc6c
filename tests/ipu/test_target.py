"""The ipu target: its emulated program against the NumPy reference, spike by spike."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import snnir
from snnir.c_build import NoCompiler, cpp_compiler
from snnir.ir import (
    Add,
    BatchNorm,
    Bias,
    Current,
    Delay,
    Graph,
    Input,
    Linear,
    Node,
    Signal,
    SparseLinear,
    Value,
)
from snnir.streams import Kind
from snnir.targets.ipu.half import halved
from snnir.targets.ipu.memory import ITEM_BYTES
from tests.corpora.test_corpus import READABLE
from tests.fused import run_fused
from tests.helpers import cli, dyadic, graph, lif_step, quiet_load, spikes
from tests.ipu.nets import convolutional, every_op, ipu, layers, random_sparse, recurrence, tensors
from tests.strategies import graphs
from tests.targets import every_value, inputs, neuron_graph, scalar_steps, t, tangled

try:
    cpp_compiler()
except NoCompiler:
    pytest.skip("there is no C++ compiler", allow_module_level=True)


def compare(built: Graph, xs: Any, keep: bool = True, **options: Any) -> None:
    """Every value and state of a run, and of the run after it, equals the reference's."""
    reference = snnir.compile(built, "numpy", level=0)
    made = ipu(built, level=0, keep=keep, **options)
    watch = [name for name in every_value(made.graph) if name in made.facts.records]
    if keep:
        assert watch == every_value(made.graph)
    for resume in (False, True):
        with np.errstate(all="ignore"):
            want, got = (sim.run(xs, watch, resume=resume) for sim in (reference, made))
        for name, value in {**want.outputs, **want.recorded}.items():
            found = {**got.outputs, **got.recorded}[name]
            assert found.dtype == value.dtype, name
            np.testing.assert_array_equal(found, value, name)
        assert got.stats == want.stats


@pytest.mark.parametrize(
    "options",
    [{}, {"batch": 2}, {"ipus": 2, "replicas": 2, "batch": 2}],
    ids=["one sample", "two at once", "two replicas"],
)
def test_every_op(options: dict[str, Any]) -> None:
    built = every_op()
    compare(built, inputs(built, batch=5), **options)


def test_scalar_operations() -> None:
    steps, x, y = scalar_steps()
    others = ("exp", "log", "tanh", "pow", "fma")
    exact = [s for name, s in steps.items() if name not in others]
    given = {"x": x, "y": y}
    for array in given.values():
        array[~np.isfinite(array)] = 7e37
    compare(neuron_graph(exact, x.shape[2:]), given)


def test_products_and_sums_rounded_together() -> None:
    """Tiles compute it with integers; PopTorch has nothing to compute it with."""
    with pytest.warns(snnir.SnnirWarning, match="'n'.*PopTorch has no product and sum"):
        run_fused("ipu")


def test_scalar_operations_of_the_library() -> None:
    steps, x, y = scalar_steps()
    some = neuron_graph([steps[name] for name in ("exp", "log", "tanh", "pow")], x.shape[2:])
    given = {"x": np.where(np.isfinite(x), x, 7e37), "y": np.where(np.isfinite(y), y, 2.0)}
    with np.errstate(all="ignore"):
        want = snnir.compile(some, level=0).run(given)
    got = ipu(some, level=0).run(given)
    for name, value in want.outputs.items():
        np.testing.assert_allclose(got.outputs[name], value, rtol=4e-7, atol=1e-30)


@pytest.mark.parametrize("keep", [True, False])
def test_recurrences(keep: bool) -> None:
    for built in (tangled(), recurrence(), recurrence(delay=3), recurrence(density=0.3)):
        compare(built, inputs(built, 12), keep=keep, batch=2)


def test_convolutions() -> None:
    built = convolutional()
    xs = {"x": spikes((20, 3, 2, 12, 10))}
    compare(built, xs, keep=False)
    compare(built, xs, keep=True, batch=3)


@pytest.mark.parametrize("passes", ["quantize{bits=8}", "quantize{bits=4,per-channel=true}"])
def test_integers(passes: str) -> None:
    built = convolutional().apply(passes)
    compare(built, {"x": spikes((20, 2, 2, 12, 10))}, keep=False)
    source = ipu(built).files["codelets.cpp"]
    assert isinstance(source, bytes)
    assert b"signed char" in source  # weights take a byte


def test_half_precision() -> None:
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> snnir.Tensor:
        return snnir.tensor(rng.normal(0, 0.4, shape).astype(np.float32))

    built = graph(
        {
            "x": (Input(Signal(Kind.SPIKES, (30,))), []),
            "fc": (Linear(weights(40, 30), weights(40)), ["x"]),
            "a": (lif_step(), ["fc"]),
        },
        "a",
        dt=1e-3,
    )
    x = spikes((60, 4, 30))
    made = ipu(built, precision="half")
    got = made.run(x, ["a:v"])
    # On a grid of 16 bits the sums of this net are exact in float32, whatever the order.
    same = snnir.compile(halved(built)).run(x, ["a:v"])
    np.testing.assert_array_equal(got.recorded["a:v"], same.recorded["a:v"])
    assert (got.recorded["a:v"] != snnir.compile(built).run(x, ["a:v"]).recorded["a:v"]).any()
    entry = next(e for e in made.losses.nodes if e.node == "fc")
    assert entry.level == "approximate"
    error = np.abs(halved(built)["fc"].op.tensors()["weight"].numpy() - weight_of(built)).max()
    assert f"by {error:.3g} at most" in entry.what
    assert "half" in text(made, "codelets.cpp")
    full = ipu(built)
    assert full.plan.tile_bytes.sum() > made.plan.tile_bytes.sum() + 40 * 30


def test_fields_are_whole_words() -> None:
    """The host sends whole words, and what a worker writes shares no word with another."""
    built = recurrence(31, density=0.3, delay=3)
    made = ipu(built, precision="half", batch=3, events="lists")
    source = text(made, "codelets.cpp")
    written = re.findall(r"(?:InOut|Output)<poplar::Vector<(.*?), .*?ONE_PTR(.*?)>>", source)
    small = {kind: align for kind, align in written if kind not in ("float", "int", "unsigned")}
    assert small == {"unsigned char": ", 4", "unsigned short": ", 4"}
    fields = [f for name in made.plan.stages for f in made.plan.vertices(name).fields]
    assert any(ITEM_BYTES[field.ctype] == 2 and (field.sizes % 2).any() for field in fields)
    for field in fields:
        assert not (field.room * ITEM_BYTES[field.ctype] % 4).any(), field.name
    x = spikes((12, 5, 40))
    want = snnir.compile(halved(built)).run(x)
    np.testing.assert_array_equal(made.run(x).output, want.output)


@pytest.mark.parametrize("events", ["bits", "lists"])
@pytest.mark.parametrize("density", [1.0, 0.2])
def test_samples_of_a_part_lie_together(events: str, density: float) -> None:
    """What tiles receive of a part is one piece of memory, however many samples there are."""
    built = layers(3000, 20, 11, density=density)
    x = spikes((6, 5, 3000), 0.1)
    want = snnir.compile(built).run(x)
    assert want.output.sum() > 0
    made = ipu(built, batch=3, events=events)
    np.testing.assert_array_equal(made.run(x).output, want.output)
    assert made.plan.streams[Value("x")].form == events
    report = made.emulate({"x": x}).report
    pieces = {copy["name"]: copy["pieces"] for copy in report["copies"]}
    for image in made.plan.images.values():
        stream = made.plan.streams[image.value]
        parts = int(((image.high - image.low) // stream.unit).sum())
        assert 0 < pieces[f"{stream.ident} image"] <= parts, stream.name


def weight_of(built: Graph) -> Any:
    return built["fc"].op.tensors()["weight"].numpy()


def text(made: Any, name: str) -> str:
    content = made.files[name]
    assert isinstance(content, bytes)
    return content.decode()


def test_half_precision_refuses_what_it_cannot_hold() -> None:
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (2,))), []),
        "fc": (Linear(snnir.tensor(np.array([[1e5, 1.0]], np.float32))), ["x"]),
        "a": (lif_step(), ["fc"]),
    }
    with pytest.raises(snnir.SnnirError, match="'fc': has a weight of 100000, half precision"):
        ipu(graph(nodes, "a", dt=1e-3), precision="half")


@settings(max_examples=6, suppress_health_check=list(HealthCheck), deadline=None)
@given(graphs())
def test_any_graph(built: Graph) -> None:
    if snnir.check(built, "ipu"):
        assert all(problem.code.startswith("SNN5") for problem in snnir.check(built, "ipu"))
        return
    compare(built, {n: spikes((9, 3, *s.shape), seed=3) for n, s in built.inputs.items()}, False)


def test_records_in_any_order() -> None:
    built = recurrence()
    x = spikes((20, 2, 40))
    watch = ["b:v", "b", "a:v", "a", "b"]
    want = snnir.compile(built).run(x, watch)
    got = ipu(built).run(x, watch)
    assert list(got.recorded) == list(want.recorded)
    for name, value in want.recorded.items():
        np.testing.assert_array_equal(got.recorded[name], value, name)


def test_ops_of_one_stage() -> None:
    def norm(seed: int) -> BatchNorm:
        """Return one whose numbers are its own."""
        return BatchNorm(t(4, seed=seed), snnir.tensor(np.abs(dyadic((4,), seed)) + np.float32(1)))

    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (5,))), []),
        "fc": (Linear(t(4, 5), t(1)), ["x"]),
        "norm": (norm(1), ["fc"]),
        "again": (norm(2), ["norm"]),
        "shift": (Bias(snnir.tensor(np.float32(0.25))), ["again"]),
        "a": (lif_step(), ["shift"]),
    }
    built = graph(nodes, "a", dt=1e-3)
    compare(built, spikes((20, 2, 5)), keep=False)


@pytest.mark.parametrize("keep", [True, False])
def test_delays_of_delays(keep: bool) -> None:
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (4,))), []),
        "in": (Current(), ["x"]),
        "sum": (Add(), ["in", "back"]),
        "a": (lif_step(), ["sum"]),
        "one": (Delay(1), ["a"]),
        "two": (Delay(2), ["one"]),
        "three": (Delay(1), ["two"]),
        "back": (Current(), ["three"]),
        "far": (Linear(t(4, 4)), ["three"]),
        "b": (lif_step(), ["far"]),
        "same": (Delay(0), ["one"]),
        "other": (Delay(snnir.Tensor(np.array([1, 2, 3, 4]))), ["same"]),
    }
    built = graph(nodes, "other", dt=1e-3)
    built = Graph(built.nodes, {"other": Value("other"), "b": Value("b")}, 1e-3)
    compare(built, spikes((20, 2, 4)), keep=keep)


def test_record_offset() -> None:
    built = Graph(layers(5, 4).nodes, {"y": Value("lif0")}, 1e-3, record_offset=2)
    compare(built, {"x": spikes((9, 2, 5))})


@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_published_models(path: Path) -> None:
    built = quiet_load(path, repair=True)
    x = {n: spikes((12, 2, *s.shape)) for n, s in built.inputs.items()}
    populations = list(snnir.populations(built))
    want = snnir.compile(built).run(x, populations)
    got = ipu(built).run(x, populations)
    for name, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[name], value)


def test_dense_benchmark_net() -> None:
    built = layers(784, 1024, 1024, 10)
    x = {"x": spikes((15, 1, 784), 0.05)}
    want = snnir.compile(built).run(x, ["lif0", "lif1"])
    got = ipu(built).run(x, ["lif0", "lif1"])
    assert got.output.sum() > 0
    for name, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[name], value)


@pytest.mark.slow
def test_a_hundred_thousand_neurons() -> None:
    built = random_sparse(100_000, 100)
    x = {"x": (spikes((12, 1, 100_000), 0.05) * 0.75).astype(np.float32)}
    want = snnir.compile(built).run(x)
    got = ipu(built).run(x)
    assert want.output.sum() > 10_000
    np.testing.assert_array_equal(got.output, want.output)


# --- The folder ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = ipu(recurrence())
    return made.save(tmp_path_factory.mktemp("ipu") / "out")


def test_the_folder_runs_alone(folder: Path, tmp_path: Path) -> None:
    x = spikes((20, 3, 40))
    np.save(tmp_path / "x.npy", x)
    line = [sys.executable, "-I", str(folder / "model.py"), "x.npy", "--record", "a:v"]
    line += ["--report", "report.json"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "output.npz") as data:
        found = {str(n): data[f"array_{i}"] for i, n in enumerate(data["names"])}
    want = snnir.compile(recurrence()).run(x, ["a:v"])
    np.testing.assert_array_equal(found["output/output"], want.output)
    np.testing.assert_array_equal(found["record/a:v"], want.recorded["a:v"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tiles"] == 1472


ODD_CODELET = b"class Odd : public poplar::Vertex { public: float x[3]; bool compute(); };"


def _append(path: Path, content: bytes) -> None:
    path.write_bytes(path.read_bytes() + content)


def _edit(path: Path, old: str, new: str) -> None:
    changed, count = re.subn(old, new, path.read_text(), count=1)
    assert count == 1
    path.write_text(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: (out / "codelets.cpp").unlink(), "codelets.cpp"),
        (lambda out: (out / "machine_standin.hpp").unlink(), "machine_standin.hpp"),
        (lambda out: (out / "tiles.bin").unlink(), "cannot open ./tiles.bin"),
        (lambda out: _append(out / "tiles.bin", b"x"), "./tiles.bin is too long"),
        (lambda out: (out / "tiles.bin").write_bytes(b"x"), "./tiles.bin is too short"),
        (
            lambda out: _edit(out / "host.cpp", r"places_1 = \{\{[^}]*\}", "places_1 = {{}"),
            "no tile",
        ),
        (
            lambda out: _edit(out / "host.cpp", r"\{\{0, \d+,", "{{9, 11,"),
            "receives nothing of what it reads",
        ),
        (lambda out: _append(out / "codelets.cpp", ODD_CODELET), "classes of the known form"),
    ],
    ids=[
        "codelets",
        "stand-in",
        "weights",
        "more weights",
        "fewer weights",
        "parts",
        "images",
        "odd codelet",
    ],
)
def test_a_folder_that_was_changed(folder: Path, tmp_path: Path, change: Any, message: str) -> None:
    out = Path(shutil.copytree(folder, tmp_path / "out"))
    change(out)
    np.save(tmp_path / "x.npy", spikes((3, 1, 40)))
    line = [sys.executable, str(out / "model.py"), "x.npy"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    x = spikes((20, 3, 40))
    np.save(tmp_path / "x.npy", x)
    done = cli("run", folder, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert done.returncode == 0, done.stderr
    got = snnir.run(folder, x)
    np.testing.assert_array_equal(got.output, snnir.compile(recurrence()).run(x).output)


def test_odd_names(tmp_path: Path) -> None:
    odd = ['a"; system("x"); //', "b\n#include <x>", "c\0d", "ü*/", "??/"]
    nodes: dict[str, Node] = {}
    last = odd[0]
    nodes[last] = Node(last, Input(Signal(Kind.SPIKES, (3,))))
    for name in odd[1:]:
        nodes[name + "w"] = Node(name + "w", Linear(t(3, 3)), (Value(last),))
        nodes[name] = Node(name, lif_step(), (Value(name + "w"),))
        last = name
    built = Graph(nodes, {'o"\n\\': Value(last)}, 1e-3, name='m"\n*/')
    compare(built, spikes((9, 2, 3)))


# --- Wrong input ---------------------------------------------------------------------------------


def test_what_cannot_be_recorded() -> None:
    made = ipu(recurrence())
    with pytest.raises(snnir.SnnirError, match="SNN602.*'sum'.*keep=true"):
        made.run(spikes((3, 1, 40)), ["sum"])
    with pytest.raises(snnir.SnnirError, match="SNN602.*no such node"):
        made.run(spikes((3, 1, 40)), ["nothing"])


def test_wrong_inputs() -> None:
    made = ipu(recurrence())
    with pytest.raises(snnir.SnnirError, match="SNN601"):
        made.run(spikes((3, 1, 41)))
    made.run(spikes((3, 2, 40)))
    with pytest.raises(snnir.SnnirError, match="SNN601.*batch"):
        made.run(spikes((3, 1, 40)), resume=True)


@pytest.mark.parametrize(
    "options",
    [
        {"ipus": 0}, {"ipus": 3}, {"replicas": 0}, {"replicas": 2}, {"batch": 0},
        {"precision": "double"}, {"reserve": 1.0}, {"reserve": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(snnir.SnnirError, match="SNN503"):
        ipu(layers(4, 3), **options)


def test_losses_name_what_hardware_may_do_otherwise() -> None:
    steps, _, _ = scalar_steps()
    built = neuron_graph([steps["div"], steps["exp"], steps["add"]], (3,))
    entries = {entry.node: entry for entry in snnir.losses(built, "ipu").nodes}
    assert "rounding is not documented" in entries["n0"].what
    assert "unknown accuracy" in entries["n1"].what
    assert entries["n2"].level == "exact"


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Linear(snnir.tensor(np.zeros((0, 4), np.float32))), "'op': gives nothing"),
        (Linear(snnir.tensor(np.array([[1, np.inf, 0, 1]], np.float32))), "'op': weight has an infinite"),
        (
            SparseLinear.of(np.array([[1, np.inf, 0, 1]], np.float32)), "'op': values has an infinite",
        ),
    ],
    ids=["no elements", "infinite weight", "infinite weight of a sparse matrix"],
)  # fmt: skip
def test_what_has_no_form(op: Any, message: str) -> None:
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (4,))), []), "op": (op, ["x"]), "a": (lif_step(), ["op"]),
    }  # fmt: skip
    with pytest.raises(snnir.SnnirError, match=f"SNN501.*{message}"):
        ipu(graph(nodes, "a", dt=1e-3), level=0)


def test_a_large_matrix_without_weights() -> None:
    count = 1_000_000
    arrays = tensors(
        np.zeros((0, 1), np.float32), np.zeros(0, np.int32), np.zeros(count + 1, np.int64)
    )
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (count,))), []),
        "op": (SparseLinear(*arrays, count, count), ["x"]),
        "a": (lif_step(), ["op"]),
    }
    made = ipu(graph(nodes, "a", dt=1e-3))
    assert "sparse_linear(" in text(made, "model_poptorch.py")


def test_one_long_row_has_no_script(recwarn: pytest.WarningsRecorder) -> None:
    count = 20_000
    starts = np.zeros(count + 1, np.int64)
    starts[1:] = count
    arrays = tensors(np.ones((count, 1), np.float32), np.arange(count, dtype=np.int32), starts)
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (count,))), []),
        "op": (SparseLinear(*arrays, count, count), ["x"]),
        "a": (lif_step(), ["op"]),
    }
    made = ipu(graph(nodes, "a", dt=1e-3))
    assert "model_poptorch.py" not in made.files
    assert "a matrix of 400,000,000 numbers" in str(recwarn.pop().message)


def test_resume_after_a_run_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    built, x = layers(5, 4), spikes((9, 2, 5))
    made = ipu(built)
    with monkeypatch.context() as patch:
        patch.setenv("CXX", "/bin/false")
        with pytest.raises(snnir.SnnirError, match="SNN503"):
            made.run(x)
    np.testing.assert_array_equal(
        made.run(x, resume=True).output, snnir.compile(built).run(x).output
    )
