"""The native target against the NumPy reference: every op, every neuron, whole graphs."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.c_build import NoCompiler, compiler
from snnir.ir import (
    Add,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Op,
    Scale,
    Signal,
    Step,
    Value,
)  # fmt: skip
from snnir.streams import Kind
from snnir.targets.native import host
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.conformance.test_steps import nested
from tests.corpora.test_corpus import READABLE
from tests.fused import run_fused
from tests.helpers import (
    feed_forward,
    graph,
    lif_step,
    params,
    quiet_load,
    recurrent,
    spikes,
)
from tests.passes.test_quantize import readout
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import (
    OP_GROUPS,
    OPS,
    alone,
    check,
    check_each,
    every_model,
    every_value,
    inputs,
    neuron_graph,
    ops_together,
    scalar_steps,
    side_by_side,
    t,
    tangled,
)

try:
    compiler()
except NoCompiler:
    pytest.skip("there is no C compiler", allow_module_level=True)


@pytest.mark.parametrize("names", OP_GROUPS, ids=len)
def test_ops(names: list[str]) -> None:
    built = ops_together(names)
    mostly_zero = {k: x * (spikes(x.shape, 0.1)) for k, x in inputs(built, 40).items()}
    spiking = {k: spikes(x.shape, 0.1, 5) for k, x in mostly_zero.items()}
    check_each(built, [inputs(built), mostly_zero, spiking], "native")


@pytest.mark.parametrize("names", OP_GROUPS, ids=len)
def test_ops_on_spikes(names: list[str]) -> None:
    built = ops_together(names, Kind.SPIKES)
    check(built, {k: spikes(x.shape, 0.3) for k, x in inputs(built).items()}, "native")


@settings(max_examples=20)
@given(steps=st.lists(lif_steps(), min_size=6, max_size=6))
def test_the_lif_family(steps: list[Step]) -> None:
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), "native")


@pytest.mark.parametrize("size", [1, 700, 1024])
def test_parameters_per_neuron_and_populations_of_any_size(size: int) -> None:
    rng = np.random.default_rng(size)
    values = rng.integers(1, 16, (3, size)).astype(np.float32) / 16
    own = params(beta=values[0], threshold=values[1] + 1, v_reset=values[2])
    step = Step(snnir.LifStep(reset="to"), own, "lif")
    start = Step(
        snnir.LifStep(start=True), params(beta=values[0], threshold=1.0, v_start=values[1])
    )
    built = neuron_graph([step, lif_step(), start], (size,))
    check(built, inputs(built, 20, 5), "native")


def test_continuous_models() -> None:
    """Every model under every semantics; exp is the library's own, so adex is only close."""
    for built, ulps in every_model():
        check(built, inputs(built, 18), "native", ulps=ulps)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_custom_programs(precision: str) -> None:
    steps = [
        Step(adaptive, params(beta=0.5, theta=1.0)),
        Step(adaptive, params(beta=np.array([0.5, 0.75, 0.875], np.float32), theta=1.0)),
    ]
    built = neuron_graph(steps, (2, 3))
    wide = precision == "float64"
    reference = snnir.compile(built, precision=precision if wide else "reproducible")
    made = snnir.compile(built, "native", precision=precision)
    xs = inputs(built, 30)
    want, got = reference.run(xs, ["n0:v", "n1:a"]), made.run(xs, ["n0:v", "n1:a"])
    for name, value in {**want.outputs, **want.recorded}.items():
        found = {**got.outputs, **got.recorded}[name]
        assert found.dtype == (np.float64 if wide else np.float32)
        np.testing.assert_array_equal(found, value)
    built = neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,))
    check(built, inputs(built, 10), "native", ulps=32)


def test_every_scalar_op() -> None:
    """Each operation on its own, on zeros of both signs and very small numbers too."""
    steps, x, y = scalar_steps()
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite].reshape(1, 1, -1), y[finite].reshape(1, 1, -1)
    built = neuron_graph(list(steps.values()), (x.size,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    got = snnir.compile(built, "native").run({"x": x, "y": y}).outputs
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"]
        if name in ("exp", "log", "tanh", "pow"):
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_products_and_sums_rounded_together(precision: str) -> None:
    run_fused("native", precision, precision=precision)


@pytest.mark.parametrize("delay", [1, 3])
def test_recurrence(delay: int) -> None:
    check(recurrent(delay), spikes((30, 3, 3)), "native")


@settings(max_examples=30)
@given(built=graphs(), seed=st.integers(0, 99))
def test_random_graphs(built: Graph, seed: int) -> None:
    check(built, inputs(built, 9, 2, seed), "native")


def test_long_runs_are_tiled() -> None:
    check(feed_forward(), spikes((900, 4, 3)), "native")


@pytest.mark.parametrize("steps", [2, 25, 700])
def test_tangled_recurrences(steps: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), "native")


def test_wide_layers_and_all_densities() -> None:
    """Widths that fill no block."""
    for width, neurons in ((16, 16), (17, 33), (40, 20), (130, 129)):
        nodes: dict[str, tuple[Op, list[str]]] = {
            "x": (Input(Signal(Kind.ANALOG, (width,))), []),
            "fc": (Linear(t(neurons, width), t(neurons)), ["x"]),
            "lif": (lif_step(), ["fc"]),
        }
        built = graph(nodes, "lif", dt=1e-3)
        for rate in (0.0, 0.05, 0.2, 0.5, 1.0):
            x = spikes((25, 3, width), rate)
            check(built, x, "native")
            check(built, x * 1.5, "native")


def test_threads_change_nothing() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (300,))), []),
        "fc": (Linear(t(1500, 300)), ["x"]),
        "lif": (lif_step(), ["fc"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    for batch in (1, 2, 7):
        check(built, spikes((60, batch, 300), 0.2), "native", threads=3)


def pictures(pool: MaxPool2d, bias: bool = True) -> Graph:
    """Return a convolution, a maximum over its windows, populations, and a matrix at the end."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (2, 9, 8))), []),
        "conv": (Conv2d(t(5, 2, 3, 3), t(5) if bias else None, padding=((1, 1), (2, 0))), ["x"]),
        "pool": (pool, ["conv"]),
        "lif": (lif_step(reset="subtract"), ["pool"]),
        "conv2": (Conv2d(t(3, 5, 2, 2), t(1), groups=1, stride=(1, 2)), ["lif"]),
        "lif2": (lif_step(), ["conv2"]),
        "flat": (Flatten(), ["lif2"]),
    }
    size = graph(nodes, "flat", dt=1e-3).signal("flat").size
    nodes["fc"] = (Linear(t(4, size), t(4)), ["flat"])
    nodes["out"] = (lif_step(refractory=2, reset="to"), ["fc"])
    return graph(nodes, "out", dt=1e-3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "pool", [MaxPool2d((2, 2), (2, 2)), MaxPool2d((3, 2), (2, 2)), MaxPool2d((2, 2), (2, 1))]
)
def test_convolutions_and_the_maxima_behind_them(pool: MaxPool2d, bias: bool) -> None:
    built = pictures(pool, bias)
    for batch in (1, 3):
        check(built, spikes((25, batch, 2, 9, 8), 0.3), "native")
        check(built, spikes((25, batch, 2, 9, 8), 0.3), "native", threads=2)
    shown = built.edit()
    shown.outputs["conv"] = Value("conv")
    check(shown.graph(), spikes((25, 2, 2, 9, 8), 0.3), "native")


@pytest.mark.parametrize("name", ["feed forward", "recurrent", "pictures"])
def test_the_folder_runs_alone(name: str, tmp_path: Path) -> None:
    if name == "pictures":
        built, x = pictures(MaxPool2d((2, 2), (2, 2))), spikes((20, 2, 2, 9, 8))
    else:
        built = feed_forward() if name == "feed forward" else recurrent(2)
        x = spikes((20, 2, 3))
    made = snnir.compile(built, "native")
    made.save(tmp_path / "out")
    record = every_value(made.graph)
    want = snnir.compile(built, "numpy").run(x, record)
    got = snnir.run(tmp_path / "out", x, record)
    for key, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[key], value)
    assert got.stats == want.stats


STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=off"]
SANITIZED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def built_alone(
    folder: Path, *flags: str, processors: Sequence[str] = ("-DSNN_ANY", "-march=native")
) -> None:
    """Compile the program of a folder with every warning an error, for any processor and this."""
    for native in processors:
        command = [*compiler(), *STRICT, native, *flags, "snn.c", "main.c", "-o", "snn", "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        unknown = done.returncode and "march" in done.stderr
        assert unknown or done.returncode == 0, done.stderr


def ran_alone(folder: Path, made: Any, x: Any) -> list[Any]:
    """Run the program of a folder on raw files, and return its outputs."""
    arrays = x if isinstance(x, dict) else {made.facts.inputs[0].name: x}
    names: list[str] = []
    for port in made.facts.inputs:
        names.append(f"in{len(names)}.raw")
        array = np.ascontiguousarray(arrays[port.name], host._DTYPES[port.ctype])
        (folder / names[-1]).write_bytes(array.tobytes())
        steps, batch = array.shape[:2]
    results = [f"out{k}.raw" for k in range(len(made.facts.outputs))]
    command = ["./snn", str(steps), str(batch), *names, *results]
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # what is left at the end is meant
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=env
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        np.frombuffer((folder / name).read_bytes(), host._DTYPES[port.ctype])
        .reshape(steps, batch, *port.shape)
        for name, port in zip(results, made.facts.outputs, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "build", ["tangled", "recurrent", "pictures", "whole", "sparse", "parts", "parts of bytes"]
)
def test_the_program_runs_alone_under_sanitizers(build: str, tmp_path: Path) -> None:
    """No access beyond an array and nothing undefined, on inputs and on weights of all signs."""
    makers: dict[str, Callable[[], Graph]] = {
        "tangled": tangled, "recurrent": lambda: recurrent(3),
        "pictures": lambda: pictures(MaxPool2d((3, 2), (2, 2))),
        "whole": lambda: readout().apply("quantize{bits=16,state-bits=32}"),
        "sparse": lambda: readout().apply("sparsify{block=4,density=1}"),
        "parts": lambda: many_inputs(Kind.SPIKES, False),
        "parts of bytes": lambda: many_inputs(Kind.SPIKES, True),
    }  # fmt: skip
    made: Any = snnir.compile(makers[build](), "native", level=0)
    made.save(tmp_path / "out")
    x = inputs(made.graph, 37, 3)
    if build not in ("tangled",):
        x = {name: spikes(value.shape, 0.4) for name, value in x.items()}
    want = snnir.compile(made.graph, "numpy", level=0).run(x).outputs
    try:
        built_alone(tmp_path / "out", *SANITIZED, processors=["-march=native"])
    except AssertionError as problem:
        if "sanitize" in str(problem) or "asan" in str(problem):
            pytest.skip("the compiler has no sanitizers")
        raise
    for y, port in zip(ran_alone(tmp_path / "out", made, x), made.facts.outputs, strict=True):
        np.testing.assert_array_equal(y, want[port.name])


def test_the_makefile_builds_it(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    made: Any = snnir.compile(feed_forward(), "native")
    folder = made.save(tmp_path / "out")
    done = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    x = spikes((20, 2, 3))
    np.testing.assert_array_equal(ran_alone(folder, made, x)[0], made.run(x).output)
    wrong = subprocess.run(["./snn", "3"], cwd=folder, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "usage: ./snn STEPS BATCH" in wrong.stderr


@pytest.mark.parametrize("build", ["tangled", "recurrent", "pictures", "whole", "ops"])
def test_the_source_is_clean(build: str, tmp_path: Path) -> None:
    if build == "ops":
        built = side_by_side({name: alone(op, *shapes) for name, (op, shapes) in OPS.items()})
    else:
        makers: dict[str, Callable[[], Graph]] = {
            "tangled": tangled,
            "recurrent": recurrent,
            "pictures": lambda: pictures(MaxPool2d((2, 2), (2, 2))),
            "whole": lambda: readout().apply("quantize"),
        }
        built = makers[build]()
    snnir.compile(built, "native", level=0).save(tmp_path / "out")
    built_alone(tmp_path / "out")
    built_alone(tmp_path / "out", "-DSNN_RECORD")


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    """Names of nodes and programs cannot end a comment or a text of the generated code."""
    evil = '*/ int x; /* """ + exit() + """ \x1f*\n#endif\\'
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
    built = Graph(nodes, {evil: Value(evil)}, 1e-3, name=evil).verify()
    x = spikes((20, 2, 3))
    check(built, x, "native")
    snnir.compile(built, "native").save(tmp_path / "out")
    want = snnir.compile(built, "numpy").run(x, [evil])
    got = snnir.run(tmp_path / "out", x, [evil])
    np.testing.assert_array_equal(got.recorded[evil], want.recorded[evil])
    built_alone(tmp_path / "out")


@pytest.mark.parametrize(
    "options", ["", "bits=4", "zero-point", "bits=16,state-bits=24", "bits=16,state-bits=32",
                "shifts,rounding=floor", "rounding=zero,state-bits=12,factor-bits=10"],
)  # fmt: skip
def test_integers_give_the_same_bits(options: str, tmp_path: Path) -> None:
    made = readout().apply(f"quantize{{{options}}}")
    x = spikes((30, 3, 2, 6, 6), 0.4)
    names = list(snnir.populations(made))
    want = snnir.compile(made, "numpy", level=0).run(x, names)
    for passes in ("verify", "sparsify{density=1}", "sparsify{block=4,density=1}"):
        got = snnir.compile(made.apply(passes), "native", level=0).run(x, names)
        for name, y in {**want.recorded, **want.outputs}.items():
            np.testing.assert_array_equal({**got.recorded, **got.outputs}[name], y)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("neurons", [16, 64, 65, 200, 300, 513])
@pytest.mark.parametrize("signal", [Kind.SPIKES, Kind.COUNTS])
def test_whole_weights(signal: Kind, neurons: int, kind: Any) -> None:
    """More events than narrow sums hold, of the largest and smallest weights."""
    rng = np.random.default_rng(neurons)
    weight = rng.integers(-128, 128, (neurons, 700)).astype(kind)
    weight[:2] = [[-128], [127]]
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(signal, (700,))), []),
        "fc": (Linear(snnir.Tensor(weight)), ["x"]),
        "size": (Scale(snnir.tensor(2.0**-12)), ["fc"]),
        "lif": (lif_step(reset="subtract"), ["size"]),
        "more": (Linear(snnir.Tensor(weight[:, :neurons][::-1].copy())), ["lif"]),
        "back": (Scale(snnir.tensor(2.0**-10)), ["more"]),
        "two": (lif_step(), ["back"]),
        "shown": (Linear(snnir.Tensor(weight[:70, :neurons].copy())), ["two"]),
    }
    if neurons > 500:
        del nodes["more"], nodes["back"], nodes["two"], nodes["shown"]
    built = graph(nodes, list(nodes)[-1], dt=1e-3)
    for rate in (0.1, 1.0):
        x = spikes((6, 2, 700), rate)
        check(built, x if signal is Kind.SPIKES else x * 3, "native")


@pytest.mark.parametrize("weight", [127, -128])
@pytest.mark.parametrize("channels", [9, 12])
def test_convolutions_of_whole_weights(weight: int, channels: int) -> None:
    """Up to 9 x 25 taps a sum has room in 16 bits, 12 x 25 taps need more."""
    taps = np.full((3, channels, 5, 5), weight, np.int8)
    taps[1] *= -1 if weight > 0 else 0
    for padding in (((0, 0), (0, 0)), ((2, 2), (1, 1))):
        nodes: dict[str, tuple[Op, list[str]]] = {
            "x": (Input(Signal(Kind.SPIKES, (channels, 8, 9))), []),
            "conv": (Conv2d(snnir.Tensor(taps), padding=padding), ["x"]),
            "max": (MaxPool2d((2, 2), (2, 2)), ["conv"]),
            "size": (Scale(snnir.tensor(2.0**-12)), ["max"]),
            "lif": (lif_step(reset="subtract"), ["size"]),
        }
        built = graph(nodes, "lif", dt=1e-3)
        for rate in (0.2, 1.0):
            check(built, spikes((5, 2, channels, 8, 9), rate), "native")


@pytest.mark.parametrize("width", [1, 31, 32, 33, 64, 95, 250])
def test_events_of_any_width_on_any_number_of_threads(width: int) -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (width,))), []),
        "fc": (Linear(t(40, width)), ["x"]),
        "lif": (lif_step(), ["fc"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    for rate in (0.05, 0.5, 1.0):
        for threads in (1, 3):
            check(built, spikes((700, 3, width), rate), "native", threads=threads)


def many_inputs(signal: Kind, whole: bool) -> Graph:
    """A matrix with so many inputs that they are taken in parts."""
    weight: Any = np.random.default_rng(4).integers(-128, 128, (70, 7001))
    fc = snnir.Tensor(weight.astype(np.int8) if whole else weight.astype(np.float32))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(signal, (7001,))), []),
        "fc": (Linear(fc), ["x"]),
        "size": (Scale(snnir.tensor(2.0**-12)), ["fc"]),
        "lif": (lif_step(reset="subtract"), ["size"]),
    }
    return graph(nodes, "lif", dt=1e-3)


@pytest.mark.parametrize(
    ("signal", "whole"), [(Kind.SPIKES, False), (Kind.COUNTS, False), (Kind.SPIKES, True)]
)
def test_many_inputs(signal: Kind, whole: bool) -> None:
    """Inputs in parts: rows of few and of many events, and steps that are summed together."""
    built = many_inputs(signal, whole)
    made: Any = snnir.compile(built, "native", level=0)
    assert b"snn_cut" in made.files["snn.c"]
    rare, some = spikes((12, 3, 7001), 0.001), spikes((12, 3, 7001), 0.05)
    often = spikes((12, 3, 7001), 0.6)
    for x in (rare, some, np.concatenate([rare, often[:7], some, often])):
        given = x if signal is Kind.SPIKES else x * (1 + (np.arange(7001) % 3 > 1))
        for threads in (1, 3):
            check(built, given, "native", threads=threads)


@pytest.mark.parametrize(
    ("neurons", "width", "steps"),
    [(10, 300, 2001), (32, 300, 2001), (70, 300, 2001), (70, 4000, 500)],
)
def test_inexact_sums_do_not_depend_on_threads(neurons: int, width: int, steps: int) -> None:
    """Nor on how many events a tile has, which decides on parts."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(neurons, width)).astype(np.float32)
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (width,))), []),
        "fc": (Linear(snnir.Tensor(weight)), ["x"]),
        "lif": (lif_step(), ["fc"]),
    }
    x = spikes((steps, 3, width), 0.45)
    x[2 * steps // 3 :] *= spikes(x[2 * steps // 3 :].shape, 0.005, 1)
    built = graph(nodes, "lif", dt=1e-3)
    one, two = (
        snnir.compile(built, "native", threads=n).run(x, ["fc", "lif"]).recorded for n in (1, 2)
    )
    for name, y in one.items():
        np.testing.assert_array_equal(two[name], y)


@pytest.mark.parametrize("width", [1, 31])
def test_large_weights_are_mapped(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = snnir.compile(feed_forward(), "native")
    folder, x = made.save(tmp_path / "out"), spikes((20, width, 3))
    want = made.run(x).output
    for least, kind in ((1 << 28, np.ndarray), (1, np.memmap)):
        monkeypatch.setattr(host, "MAPPED", least)
        program = host.Program.load(folder, made.facts)
        assert type(program.weights) is kind
        found = program.run({made.facts.inputs[0].name: x})[0]
        np.testing.assert_array_equal(next(iter(found.values())), want)


def test_sums_that_32_bits_cannot_hold() -> None:
    weight = np.full((3, 40), 2**30, np.int32)
    weight[1] *= -1
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (40,))), []),
        "fc": (Linear(snnir.Tensor(weight)), ["x"]),
        "size": (Scale(snnir.tensor(2.0**-30)), ["fc"]),
        "lif": (lif_step(reset="subtract"), ["size"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    made = snnir.compile(built, "native", level=0).run(np.ones((4, 2, 40)), ["fc"])
    assert made.recorded["fc"].max() == 40 * 2**30
    check(built, spikes((20, 2, 40), 0.3), "native")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnir import c_build

    def none() -> list[str]:
        raise NoCompiler("no C compiler was found; install one, or `pip install ziglang`")

    monkeypatch.setattr(c_build, "compiler", none)
    with pytest.raises(snnir.SnnirError, match="no C compiler was found; install one"):
        snnir.compile(feed_forward(), "native").run(spikes((20, 2, 3)))
    monkeypatch.undo()
    monkeypatch.setenv("CC", "false")
    with pytest.raises(snnir.SnnirError, match="false does not compile"):
        snnir.compile(feed_forward(), "native", precision="float64").run(spikes((20, 2, 3)))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"precision": "half"}, "use one of float32"), ({"threads": 0}, "use 1 or more"),
     ({"thread": 2}, "no option 'thread'")],
)  # fmt: skip
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        snnir.compile(feed_forward(), "native", **options)


def test_runs_go_on_where_they_ended() -> None:
    built, x = recurrent(2), spikes((30, 3, 3))
    whole = snnir.compile(built, "native").run(x).output
    made = snnir.compile(built, "native")
    parts = [made.run(x[:11]).output, made.run(x[11:], resume=True).output]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with pytest.raises(snnir.SnnirError, match="resumes with a batch of 2, the run had 3"):
        made.run(x[:, :2], resume=True)


@pytest.mark.parametrize("semantics", ["norse", "snntorch", "lava"])
@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_published_models(path: Path, semantics: str) -> None:
    built = quiet_load(path, semantics=semantics, repair=True)
    if semantics == "lava" and path.name == "srnn_bool_weights.nir":
        return  # which refuses it: see tests/corpora
    reference = snnir.compile(built, "numpy")
    x = {n: spikes((20, 2, *s.shape), 0.2) for n, s in built.inputs.items()}
    names = list(snnir.populations(built))
    want, got = reference.run(x, names), snnir.compile(built, "native").run(x, names)
    for name in names:
        # Sums of float32 may round otherwise: a spike may differ where that decides.
        assert (got.recorded[name] != want.recorded[name]).mean() < 2e-3, name
    whole = exact_weights(built)
    want, got = (snnir.compile(whole, target).run(x, names) for target in ("numpy", "native"))
    for name, y in {**want.recorded, **want.outputs}.items():
        np.testing.assert_array_equal({**got.recorded, **got.outputs}[name], y, err_msg=name)


def exact_weights(built: Graph) -> Graph:
    """Return a graph whose weights are multiples of 1/64, so that no sum rounds."""
    editor = built.edit()
    for node in built.nodes.values():
        if isinstance(node.op, (Linear, Conv2d)):
            own = {
                key: snnir.tensor(np.round(value.numpy().astype(np.float32) * 64) / 64)
                for key, value in node.op.tensors().items()
            }
            changes: dict[str, Any] = dict(own)
            editor.set_op(node.name, dataclasses.replace(node.op, **changes))
    return editor.graph()
