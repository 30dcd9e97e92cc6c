"""Faults of the mlir target that a review found, one test for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("iree.compiler", reason="the mlir target needs IREE")

import snnir
from snnir.dynamics import Dynamics, Let, State
from snnir.ir import (
    Add,
    Conv2d,
    Delay,
    Graph,
    Input,
    Linear,
    Op,
    Scale,
    Signal,
    Step,
    Winner,
)
from snnir.streams import Kind
from tests.helpers import (
    ROOT,
    cli,
    dyadic,
    feed_forward,
    graph,
    lif_step,
    params,
    recurrent,
    spikes,
)
from tests.targets import alone, check, inputs, t


def one_op(name: str, dtype: str, operands: int = 2) -> Step:
    """Return a population whose one state sums what an operation gives."""
    names = ("x", "y")[:operands]
    body = (Let("z", name, names), Let("next", "add", ("v", "z")))
    program = Dynamics(
        "p", names, (), (State("v", 0.0),), body, (("v", "next"),), (("next", Kind.ANALOG),), dtype
    )
    return Step(program, params())


def whole(step: Step) -> Graph:
    """Return a population between two inputs of integers and an output."""
    given = Input(Signal(Kind.ANALOG, (4,), "i32"))
    return graph({"x": (given, []), "y": (given, []), "p": (step, ["x", "y"])}, "p").verify()


def of_two(x: int, y: int, batch: int) -> dict[str, Any]:
    """Return the same two integers for every element, step and sample."""
    return {name: np.full((5, batch, 4), n, np.int32) for name, n in {"x": x, "y": y}.items()}


@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_no_division_stops_the_process(dtype: str) -> None:
    """Three samples fill a call of four: the fourth divides 0 by 0."""
    code = """
import sys, numpy as np, snnir
from tests.mlir_code.test_found import of_two, one_op, whole
built = whole(one_op("floordiv", sys.argv[1]))
plain, made = snnir.compile(built, "numpy"), snnir.compile(built, "mlir", cpu="generic")
for numbers in ((7, 2, 3), (-7, 0, 1), (-7, -1, 1)):
    xs = of_two(*numbers)
    with np.errstate(all="ignore"):
        want = plain.run(xs).output
    np.testing.assert_array_equal(made.run(xs).output, want)
"""
    done = python(code, dtype)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


@pytest.mark.parametrize("by", [70, -1])
def test_shifts_by_any_number(by: int) -> None:
    built, xs = whole(one_op("shr", "i64")), of_two(-70000, by, 1)
    want = snnir.compile(built, "numpy").run(xs).output
    made = snnir.compile(built, "mlir", cpu="generic").run(xs).output
    np.testing.assert_array_equal(made, want)


def test_rounding_towards_zero_in_float64() -> None:
    """IREE has no `ceil` of float64."""
    built = alone(one_op("trunc", "f64", 1), (5,))
    x = np.array([-1.5, -0.5, -0.0, 0.5, 2.5], np.float32).reshape(1, 1, 5)
    want = snnir.compile(built, "numpy").run(x).output
    np.testing.assert_array_equal(snnir.compile(built, "mlir").run(x).output, want)


def test_a_convolution_of_one_weight() -> None:
    check(alone(Conv2d(t(1, 1, 1, 1)), (1, 2, 3)), {"x0": spikes((5, 2, 1, 2, 3))}, "mlir")


def test_a_sum_of_more_operands_than_iree_has_buffers() -> None:
    built = alone(Add(), *((3,),) * 40)
    check(built, inputs(built), "mlir", steps=2)


@pytest.mark.parametrize(("varied", "problems"), [(0, 0), (27, 0), (28, 1)])
def test_only_parameters_that_vary_take_a_buffer(varied: int, problems: int) -> None:
    """One state (in, out, recorded), an input, an output: 27 of 32 buffers are left."""
    names = [f"p{index}" for index in range(30)]
    sums = [Let(f"s{k}", "add", (f"s{k - 1}" if k else "x", name)) for k, name in enumerate(names)]
    program = Dynamics(
        "p", ("x",), tuple((name, "1") for name in names), (State("v", 0.0),), tuple(sums),
        (("v", "s29"),), (("s29", Kind.ANALOG),),
    )  # fmt: skip
    numbers = [dyadic((4,), k) if k < varied else np.full(4, 0.5) for k in range(30)]
    given = params(**dict(zip(names, (n.astype(np.float32) for n in numbers), strict=True)))
    built = alone(Step(program, given), (4,))
    assert len(snnir.check(built, "mlir")) == problems
    if not problems:
        check(built, inputs(built), "mlir", steps=2)


def fed(*further: tuple[str, Op, str], **extra: Any) -> Graph:
    """Return 3 spikes -> 4 neurons, and more nodes."""
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (3,))), []),
        "fc": (Linear(t(4, 3)), ["x"]),
        "lif": (lif_step(), ["fc"]),
        **{name: (op, [source]) for name, op, source in further},
    }
    return graph(nodes, "lif", **extra).verify()


def together(operands: int, parameters: int) -> Graph:
    """Return a sum of inputs, in pairs, that goes into a population with parameters."""
    names = [f"p{index}" for index in range(parameters)]
    sums = [Let(f"s{k}", "add", (f"s{k - 1}" if k else "x", name)) for k, name in enumerate(names)]
    last = sums[-1].target
    program = Dynamics(
        "p", ("x",), tuple((name, "1") for name in names), (State("v", 0.0),), tuple(sums),
        (("v", last),), ((last, Kind.ANALOG),),
    )  # fmt: skip
    given = params(**{name: dyadic((4,), k) for k, name in enumerate(names)})
    nodes: dict[str, tuple[Op, list[str]]] = {
        f"x{k}": (Input(Signal(Kind.ANALOG, (4,))), []) for k in range(operands)
    }
    for k in range(1, operands):
        nodes[f"sum{k}"] = (Add(), [f"sum{k - 1}" if k > 1 else "x0", f"x{k}"])
    nodes["population"] = (Step(program, given), [f"sum{operands - 1}"])
    return graph(nodes, "population").verify()


@pytest.mark.parametrize(("operands", "parameters", "steps"), [(40, 1, 0), (15, 20, 1)])
def test_what_iree_fuses_beyond_its_buffers_is_refused(
    operands: int, parameters: int, steps: int, tmp_path: Path
) -> None:
    """IREE makes one operation of both, with more than its 32 buffers, and fails when it runs."""
    made = snnir.compile(together(operands, parameters), "mlir", level=0, steps=steps)
    with pytest.raises(snnir.SnnirError, match="SNN503.*binding count"):
        made.run(inputs(made.graph))
    with pytest.raises(snnir.SnnirError, match="SNN503.*binding count"):
        made.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nodes_called_as_something_else() -> None:
    built = fed(*((name, Delay(2), "lif") for name in ("/output", "lif:v", "fc:past", "lif:w")))
    check(built, inputs(built), "mlir", steps=2)


def test_late_records() -> None:
    """A record asked for twice, and one of a stream that is an output in every run."""
    built = fed(record_offset=2)
    xs = inputs(built)
    reference, made = (snnir.compile(built), snnir.compile(built, "mlir", steps=2))
    for record in ([], ["lif"], ["lif:v", "lif:v"], ["lif", "lif:v"]):
        want, got = (sim.run(xs, record, resume=True) for sim in (reference, made))
        np.testing.assert_array_equal(got.output, want.output)
        for name in record:
            np.testing.assert_array_equal(got.recorded[name], want.recorded[name], name)


def test_a_winner_of_very_small_numbers_is_reported() -> None:
    """IREE's threads take 1e-40 for 0, which does not win."""
    built = alone(Winner(), (3,))
    x = np.full((1, 1, 3), 1e-40, np.float32)
    want, made = (snnir.compile(built, target).run(x).output for target in ("numpy", "mlir"))
    assert np.array_equal(want, made) or snnir.losses(built, "mlir").level != "exact"


def test_nobody_wins_against_nan() -> None:
    built = graph(
        {
            "x": (Input(Signal(Kind.ANALOG, (3,))), []),
            "large": (Scale(snnir.tensor(np.float32(3e38))), ["x"]),
            "parts": (Scale(snnir.tensor(np.array([0, 1, -1], np.float32))), ["large"]),
            "winner": (Winner(), ["parts"]),
        },
        "winner",
    )
    x = np.full((1, 1, 3), 2, np.float32)  # inf * 0 is NaN
    with np.errstate(all="ignore"):
        want = snnir.compile(built, "numpy", level=0).run(x).output
    np.testing.assert_array_equal(snnir.compile(built, "mlir", level=0).run(x).output, want)


WITHOUT = """
import importlib.machinery as machinery
known = machinery.PathFinder.find_spec
def found(name, *given, **more):
    return None if name.split(".")[0] == "iree" else known(name, *given, **more)
machinery.PathFinder.find_spec = found
"""


def python(code: str, *arguments: Any) -> Any:
    """Run code in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_without_iree_there_is_the_code_alone(tmp_path: Path) -> None:
    snnir.save(feed_forward(), tmp_path / "m.snnir")
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    arguments = ("compile", tmp_path / "m.snnir", "--target", "mlir", "-o", tmp_path / "out")
    path = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = cli(*arguments, env=path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.mlir").exists()
    assert not (tmp_path / "out" / "model.vmfb").exists()
    ran = cli("run", tmp_path / "out", "--poisson", 0.3, cwd=tmp_path, env=path)
    assert ran.returncode == 1
    assert "error[" in ran.stderr
    assert "internal" not in ran.stderr


def test_what_iree_says_of_wrong_options_is_passed_on(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"flags": "--nonsense"}, "'--nonsense'"),
        ({"cpu": "foo"}, "Unknown CPU"),
        ({"flags": "--version"}, "something other than a module"),
    ]
    for options, words in wrong:
        with pytest.raises(snnir.SnnirError, match=words) as refused:
            snnir.compile(feed_forward(), "mlir", **options).save(tmp_path / "out")
        assert "SNN503" in str(refused.value)
        assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_whole_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    snnir.compile(feed_forward(), "mlir").save(folder)
    np.save(tmp_path / "x.npy", spikes((5, 1, 3)))
    for name in ("model.vmfb", "weights.safetensors", "interface.json"):
        whole_file = (folder / name).read_bytes()
        for left in (None, whole_file[:100]):
            (folder / name).unlink(missing_ok=True)
            if left is not None:
                (folder / name).write_bytes(left)
            done = subprocess.run(
                [sys.executable, folder / "model.py", tmp_path / "x.npy"], cwd=tmp_path,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert done.stderr.strip()
        (folder / name).write_bytes(whole_file)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "abacus"}, "use one of llvm-cpu"),
        ({"steps": -1}, "use 1 to"),
        ({"threads": 2, "backend": "cuda"}, "use 1, or more with backend=llvm-cpu"),
        ({"backend": "vmvx", "precision": "reproducible"}, "vmvx has no float64"),
        ({"backend": "cuda", "cpu": "host"}, "they are of backend=llvm-cpu"),
        ({"flags": "--a\0"}, "NUL"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words) as refused:
        snnir.compile(feed_forward(), "mlir", **options)
    assert "SNN503" in str(refused.value)


@pytest.mark.parametrize("backend", ["cuda", "rocm", "vulkan-spirv", "metal-spirv", "vmvx"])
def test_other_back_ends_compile(backend: str, tmp_path: Path) -> None:
    flags = "--iree-rocm-target=gfx942" if backend == "rocm" else ""
    made = snnir.compile(recurrent(2), "mlir", backend=backend, flags=flags)
    folder = made.save(tmp_path / "out")
    assert (folder / "model.vmfb").stat().st_size > 1000
    if backend == "vmvx":  # an interpreter
        x = spikes((20, 2, 3))
        np.testing.assert_array_equal(made.run(x).output, snnir.compile(recurrent(2)).run(x).output)
