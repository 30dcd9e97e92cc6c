"""PopTorch scripts against the NumPy reference, run with the stand-in for PopTorch."""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.dynamics.program import Dynamics, Let, State
from snnir.ir import (
    BatchNorm,
    Bias,
    Conv2d,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Op,
    Scale,
    Signal,
    SparseLinear,
    Step,
    Value,
)  # fmt: skip
from snnir.streams import Kind
from snnir.targets.ipu.poptorch.fit import unsupported
from snnir.targets.ipu.poptorch.names import MODULE_WORDS
from snnir.targets.ipu.poptorch.script import ScriptOptions
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.corpora.test_corpus import READABLE
from tests.helpers import (
    dyadic,
    feed_forward,
    graph,
    lif_step,
    params,
    quiet_load,
    recurrent,
    spikes,
)
from tests.ipu.scripts import bytes_of, check, files, load, reference, run, write
from tests.passes.test_quantize import readout
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import OPS, alone, inputs, neuron_graph, scalar_steps, t, tangled

pytest.importorskip("torch")
import torch


@pytest.mark.parametrize("name", OPS)
def test_ops(name: str) -> None:
    op, shapes = OPS[name]
    built = alone(op, *shapes)
    assert unsupported(built) == []
    check(built, inputs(built))


@pytest.mark.parametrize("block", [1, 4])
def test_matrices_of_very_few_weights_are_gathered(block: int) -> None:
    held = np.random.default_rng(1).random((64, 200)) < 0.01
    held[8:12] = False  # rows without any
    op = SparseLinear.of(dyadic((64, 200), 6) * held, block, t(64))
    built = alone(op, (3, 200))
    assert b"sparse_linear(x0, self.op_columns" in bytes_of(files(built)["model_poptorch.py"])
    check(built, inputs(built))


@settings(max_examples=15)
@given(steps=st.lists(lif_steps(), min_size=4, max_size=4))
def test_the_lif_family(steps: list[Step]) -> None:
    """All but the members that compute in float64."""
    for step in steps:
        fits = unsupported(neuron_graph([step], (3,))) == []
        assert fits == (step.program.dtype == "f32")
    steps = [step for step in steps if step.program.dtype == "f32"]
    if steps:
        built = neuron_graph(steps, (2, 3))
        check(built, inputs(built, 20))


@pytest.mark.parametrize("preset", ["exact", "norse", "snntorch", "rockpool", "nengo"])
def test_continuous_models(preset: str) -> None:
    """Every model under several semantics; exp is the library's own, so only close."""
    run_models = 0
    for name, model in snnir.MODELS.items():
        try:
            stepping = snnir.preset(preset).for_model(name)
            own = {
                p: snnir.tensor(0.01 if p in model.time_constants else 1.0) for p in model.params
            }
            built = alone(Neuron(name, FrozenDict(own), stepping), (3,))
            discrete = snnir.compile(built, "numpy", level=0).graph
        except snnir.SnnirError:
            continue  # this preset does not step this model
        assert unsupported(built)  # still continuous
        check(discrete, inputs(built, 20), rtol=1e-5 if name == "adex" else 0.0)
        run_models += 1
    assert run_models


def test_custom_programs() -> None:
    """Parameters per neuron, a state that starts at one, and results that read no input."""
    beta = np.array([0.5, 0.75, 0.875], np.float32)
    still = Dynamics(
        "still", ("torch", "β"), (("lambda", "1"),),
        (State("__v", 0.5), State("b", "lambda")),
        (Let("t1", "mul", ("lambda", 2.0)), Let("zwei", "add", (1.0, 1.0)),
         Let("huge", "min", ("torch", 1e60)), Let("inf", "div", (1.0, "zwei"))),
        (("__v", "t1"), ("b", 0.25)),
        (("t1", Kind.ANALOG), ("zwei", Kind.ANALOG), ("huge", Kind.ANALOG), ("inf", Kind.ANALOG)),
    )  # fmt: skip
    steps = [
        Step(adaptive, params(beta=0.5, theta=1.0)),
        Step(adaptive, params(beta=beta, theta=beta)),
    ]
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30))
    built = alone(Step(still, FrozenDict({"lambda": snnir.tensor(beta)})), (2, 3), (2, 3))
    check(built, inputs(built, 4))


def test_states_that_take_the_place_of_others() -> None:
    """What a loop returns is nothing that it was given in another place, and nothing twice."""
    line = Dynamics(
        "line", ("x",), (), (State("a", 0.0), State("b", 0.0), State("c", 0.0), State("d", 0.0)),
        (Let("sum", "add", ("a", "d")),),
        (("a", "b"), ("b", "x"), ("c", "sum"), ("d", "sum")),
        (("sum", Kind.ANALOG), ("c", Kind.ANALOG)),
    )  # fmt: skip
    built = alone(Step(line, FrozenDict({})), (3,))
    check(built, inputs(built, 9))
    signal = Signal(Kind.SPIKES, (3,))
    nodes = {
        "x": Node("x", Input(signal)),
        "one": Node("one", Delay(1), (Value("x"),)),
        "two": Node("two", Delay(1), (Value("one"),)),
    }
    check(Graph(nodes, {"y": Value("two")}, 1e-3), {"x": spikes((7, 2, 3))})


def test_every_scalar_op() -> None:
    """Each operation on its own, on zeros of both signs, infinities and small numbers too."""
    steps, x, y = scalar_steps()
    fused = neuron_graph([steps.pop("fma")], (3,))
    assert ["rounded once" in problem.message for problem in unsupported(fused)] == [True]
    built = neuron_graph(list(steps.values()), (x.size,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    got = run(built, {"x": x, "y": y})
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"]
        if name in ("exp", "log", "tanh", "pow", "sqrt"):
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)
            numbers = ~np.isnan(a)
            assert (np.signbit(a) == np.signbit(b))[numbers].all() or name in ("min", "max")


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_recurrence(delay: int) -> None:
    check(recurrent(delay), {"input": spikes((30, 3, 3))})


@pytest.mark.parametrize("steps", [1, 25])
@pytest.mark.parametrize("ipus", [1, 3])
def test_tangled_recurrences(steps: int, ipus: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), ScriptOptions(ipus=ipus))


@pytest.mark.parametrize("least", [0, 1])
def test_delays_per_element(least: int) -> None:
    steps = np.array([[least, 3, 1], [5, least, 2]])
    built = alone(Delay(snnir.Tensor(steps)), (2, 3))
    check(built, inputs(built, 9, 2))
    column = alone(Delay(snnir.Tensor(steps[:, :1])), (2, 3))
    check(column, inputs(column, 9, 2))


@pytest.mark.parametrize("offset", [2, 50])
def test_what_is_reported_late_is(offset: int) -> None:
    built = dataclasses.replace(recurrent(2), record_offset=offset)
    check(built, {"input": spikes((20, 2, 3))})


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_share_the_batch(replicas: int) -> None:
    built = tangled()
    check(built, inputs(built, 10, 3), ScriptOptions(replicas=replicas))


@settings(max_examples=30)
@given(built=graphs(), seed=st.integers(0, 99), ipus=st.integers(1, 3))
def test_any_graph_runs_equal_or_is_refused(built: Graph, seed: int, ipus: int) -> None:
    problems = unsupported(built)
    if problems:
        assert all(problem.code == "SNN501" and problem.hint for problem in problems)
        return
    edited = built.edit()
    for node in built.nodes.values():
        if isinstance(node.op, BatchNorm):  # of 1 and -1: else sums depend on their order
            edited.set_op(node.name, dataclasses.replace(node.op, eps=0.0))
    check(edited.graph(), inputs(built, 9, 2, seed), ScriptOptions(ipus=ipus))


@pytest.mark.parametrize("semantics", ["snntorch", "norse", "sinabs"])
@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_published_models(path: Path, semantics: str) -> None:
    built = snnir.compile(quiet_load(path, semantics=semantics, repair=True)).graph
    edited = built.edit()
    for name in snnir.populations(built):
        edited.outputs[f"population {name}"] = Value(name)
    every = edited.graph()
    x = {name: spikes((12, 2, *s.shape)) for name, s in every.inputs.items()}
    want = reference(every, x)
    for ipus in (1, 2):
        got = run(every, x, ScriptOptions(ipus=ipus))
        assert sum(int((got[name] != y).sum()) for name, y in want.items()) == 0


# ---- integers and float16 ------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8])
def test_integers(bits: int) -> None:
    """A quantised network gives the same integers, computed in float32 and int32."""
    for built in (readout(), recurrent(2)):
        whole = built.apply(f"quantize{{bits={bits}}}")
        assert unsupported(whole) == []
        x = {name: spikes((40, 2, *s.shape), 0.5) for name, s in whole.inputs.items()}
        check(whole, x, ScriptOptions(half=bits == 4))


def test_integers_that_int32_does_not_hold_are_refused() -> None:
    whole = readout().apply("quantize{bits=16,state-bits=32}")
    found = [problem.render() for problem in unsupported(whole)]
    assert any("node 'lif': its value 'q" in line and "2**31" in line for line in found)
    assert all("quantise to fewer bits" in line for line in found)


def whole_step(*lets: Let, dtype: str = "i64") -> Step:
    """Return a program of integers that gives its last value."""
    last = ((lets[-1].target, Kind.ANALOG),)
    return Step(Dynamics("w", ("x", "y"), (), (), lets, (), last, dtype), FrozenDict())


@pytest.mark.parametrize("amount", [1, 9])
def test_shifts_and_quotients_round_down(amount: int) -> None:
    big = (Let("a", "mul", ("x", 100003)), Let("b", "add", ("y", 7)))
    for last in (Let("z", "shr", ("a", amount)), Let("z", "floordiv", ("x", "b"))):
        program = whole_step(*big, last)
        nodes = {
            "x": Node("x", Input(Signal(Kind.COUNTS, (40,)))),
            "y": Node("y", Input(Signal(Kind.COUNTS, (40,)))),
            "neg": Node("neg", Scale(snnir.tensor(-1.0)), (Value("x"),)),
            "cur": Node("cur", snnir.ir.Current(), (Value("y"),)),
            "w": Node("w", program, (Value("neg"), Value("cur"))),
        }
        built = Graph(nodes, {"output": Value("w")}, 1e-3)
        rng = np.random.default_rng(0)
        xs = {name: rng.integers(0, 90, (3, 1, 40)).astype(np.float32) for name in ("x", "y")}
        want, got = reference(built, xs)["output"], run(built, xs)["output"]
        np.testing.assert_array_equal(got, want)
        assert (want < 0).any()


def rounded(built: Graph) -> Graph:
    """Return the graph with weights and biases as float16 has them."""
    edited = built.edit()
    for node in built.nodes.values():
        own = {
            key: snnir.tensor(getattr(node.op, key).numpy().astype(np.float16).astype(np.float32))
            for key in ("weight", "values", "bias") if getattr(node.op, key, None) is not None
        }  # fmt: skip
        if own:
            edited.set_op(node.name, dataclasses.replace(node.op, **own))
    return edited.graph()


def test_half() -> None:
    """13 bits do not fit in 11: the script is the network of the rounded weights, not the other."""

    def odd(*shape: int, seed: int = 0) -> Any:
        return snnir.tensor((dyadic(shape, seed) * 51 / 16).astype(np.float32))

    held = np.random.default_rng(0).random((30, 40)) < 0.02
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (2, 5, 5))), []),
        "conv": (Conv2d(odd(3, 2, 3, 3), odd(3)), ["x"]),
        "a": (lif_step(), ["conv"]),
        "flat": (Flatten(), ["a"]),
        "fc": (Linear(odd(40, 27), odd(40)), ["flat"]),
        "b": (lif_step(), ["fc"]),
        "few": (SparseLinear.of(odd(30, 40).numpy() * held, 1, odd(30, seed=1)), ["b"]),
        "more": (Bias(odd(30, seed=2)), ["few"]),
        "c": (lif_step(exposes_v=True), ["more"]),
    }
    built = graph(nodes, "c", dt=1e-3)
    xs = {"x": spikes((25, 2, 2, 5, 5))}
    other = rounded(built)
    want, got = reference(other, xs), run(built, xs, ScriptOptions(half=True))
    np.testing.assert_array_equal(got["output"], want["output"])
    for name in ("conv", "fc", "few", "more"):
        made, exact = (dataclasses.replace(g, outputs={"y": Value(name)}) for g in (built, other))
        y = run(made, xs, ScriptOptions(half=True))["y"]
        np.testing.assert_array_equal(y, reference(exact, xs)["y"])
        assert (y != reference(made, xs)["y"]).any(), name
    large = Linear(snnir.tensor(np.full((1, 1), 1e5, np.float32)))
    (problem,) = unsupported(alone(large, (1,)), half=True)
    assert "weight reaches 100000, float16 ends at 65504" in problem.render()
    assert unsupported(alone(large, (1,))) == []


def test_whole_weights_that_float16_does_not_hold_stay_wider() -> None:
    whole = np.array([[2049, 1], [2048, 3]], np.int16)
    for weight, kind in ((whole, np.float32), (whole[1:], np.float16)):
        built = alone(Linear(snnir.Tensor(weight)), (2,), kind=Kind.SPIKES)
        half = ScriptOptions(half=True)
        with np.load(io.BytesIO(bytes_of(files(built, half)["weights.npz"]))) as held:
            assert held["op_weight"].dtype == kind
        check(built, {"x0": spikes((9, 2, 2), 0.5)}, half)


def test_what_has_no_form_is_refused() -> None:
    wide = np.full((1, 1), 2**25 + 1, np.int64)
    large = alone(Linear(snnir.Tensor(wide)), (1,))
    assert "weight has integers that float32" in unsupported(large)[0].render()
    fixed = neuron_graph([lif_step(membrane="fixed")], (3,))
    assert "float64" in unsupported(fixed)[0].render()


# ---- the files -----------------------------------------------------------------------------------

ODD = [
    "a b/ü'; import os", '"""', "\n# x\n", "__init__", "self", "class", "load state", "get",
    "self.fc", "12", "\\", "{0}", "sum", "torch", "poptorch", "body", "step_lif", "Network",
    "A b", "a-b", "t", "batch", "lif_v", "at",
]  # fmt: skip


def test_odd_names() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {ODD[0]: (Input(Signal(Kind.SPIKES, (3,))), [])}
    for before, name in pairwise(ODD):
        nodes[f"{name}!"] = (Linear(t(3, 3)), [before])
        nodes[name] = (lif_step(), [f"{name}!"])
    built = graph(nodes, ODD[-1], dt=1e-3)
    built = dataclasses.replace(built, name='x"""\nimport os\n')
    check(built, {ODD[0]: spikes((6, 2, 3), 0.6)})
    tree = ast.parse(bytes_of(files(built)["model_poptorch.py"]))
    found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    known = {"argparse", "importlib.util", "pathlib", "numpy", "torch", "poptorch", "zipfile"}
    assert found <= known


def test_parameters_that_are_called_like_methods() -> None:
    lets = (Let("y", "mul", ("x", "dict")),)
    program = Dynamics("p", ("x",), (("dict", "1"),), (), lets, (), (("y", Kind.ANALOG),))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.ANALOG, (3,))), []),
        "load state": (Step(program, FrozenDict({"dict": t(3)})), ["x"]),
    }
    built = graph(nodes, "load state", dt=1e-3)
    check(built, inputs(built))


def test_no_attribute_hides_one_of_the_module() -> None:
    words = {
        n.split("_")[0] for n in dir(torch.nn.Module) if "_" in n.strip("_") and n[0].islower()
    }
    assert words <= MODULE_WORDS


def test_files_are_python_3_8_and_the_same_every_time() -> None:
    for built in (tangled(), readout(), readout().apply("quantize{bits=8}")):
        options = ScriptOptions(half=True, ipus=2, replicas=2)
        made, again = files(built, options), files(built, options)
        assert set(made) == {"model_poptorch.py", "weights.npz", "poptorch_standin.py"}
        assert all(bytes_of(made[name]) == bytes_of(again[name]) for name in made)
        for name in ("model_poptorch.py", "poptorch_standin.py"):
            text = bytes_of(made[name]).decode("ascii")
            ast.parse(text, feature_version=(3, 8))
            assert "from __future__ import annotations" in text  # list[int] and the like
            assert not re.search(r"strict=|removeprefix|removesuffix|math\.lcm|pairwise", text)
            assert "import snnir" not in text
            assert "from snnir" not in text


def results_of(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        names = [str(name) for name in archive["names"]]
        return {name: archive[f"array_{k}"] for k, name in enumerate(names)}


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "model_poptorch.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_files_run_alone(tmp_path: Path) -> None:
    built = tangled()
    write(built, tmp_path, ScriptOptions(ipus=2))
    xs = inputs(built, 12, 3)
    np.savez(tmp_path / "in.npz", **xs)
    done = started(tmp_path, "in.npz", "--stand-in", "-o", "out.npz", "--replicas", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("a: (12, 3, 4, 5), sum ")
    found = results_of(tmp_path / "out.npz")
    want = reference(built, xs)
    assert set(found) == {f"output/{name}" for name in want}
    for name, value in want.items():
        np.testing.assert_array_equal(found[f"output/{name}"], value)


def test_without_poptorch_there_is_one_line(tmp_path: Path) -> None:
    write(feed_forward(), tmp_path)
    script = load(tmp_path / "model_poptorch.py")
    script.poptorch = None
    np.save(tmp_path / "in.npy", spikes((4, 2, 3)))
    with pytest.raises(SystemExit) as failure:
        script.main([str(tmp_path / "in.npy")])
    message = "PopTorch is not installed; --stand-in runs the network on the CPU"
    assert str(failure.value) == message  # printed, and the exit code is 1


def test_wrong_inputs_give_one_line(tmp_path: Path) -> None:
    built = tangled()
    write(built, tmp_path)
    script = load(tmp_path / "model_poptorch.py")
    good = inputs(built, 4, 2)
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({"x": good["x"]}, [], "input 'y' is not in"),
        ({**good, "y": good["y"][..., :2]}, [], "input 'y' must be"),
        ({**good, "y": good["y"][:3]}, [], "differ in steps or samples"),
        ({**good, "y": good["y"].astype(str)}, [], "must be numbers"),
        ({n: x[:0] for n, x in good.items()}, [], "0 steps and 2 samples"),
        (good, ["--ipus", "2"], "--ipus must be 1 to 1"),
        (good, ["--replicas", "0"], "--replicas must be at least 1"),
    ]
    for arrays, more, words in cases:
        np.savez(tmp_path / "in.npz", **arrays)
        with pytest.raises(SystemExit) as failure:
            script.main([str(tmp_path / "in.npz"), "--stand-in", *more])
        message = str(failure.value)
        assert words in message, message
        assert "\n" not in message
    np.savez(tmp_path / "in.npz", **good)
    with pytest.raises(SystemExit, match="cannot read"):
        script.main([str(tmp_path / "nowhere.npy"), "--stand-in"])
    weights = (tmp_path / "weights.npz").read_bytes()
    (tmp_path / "weights.npz").write_bytes(weights[:100])
    with pytest.raises(SystemExit, match=r"cannot read weights\.npz"):
        script.main([str(tmp_path / "in.npz"), "--stand-in"])
    np.savez(tmp_path / "weights.npz", a=1)
    with pytest.raises(SystemExit, match=r"weights\.npz has no array 'fc_weight'"):
        script.main([str(tmp_path / "in.npz"), "--stand-in"])
    (tmp_path / "poptorch_standin.py").unlink()
    with pytest.raises(SystemExit, match=r"poptorch_standin\.py is not beside this file"):
        script.main([str(tmp_path / "in.npz"), "--stand-in"])


def test_a_large_and_a_deep_network_are_divided() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {"x": (Input(Signal(Kind.SPIKES, (8,))), [])}
    last = "x"
    for k in range(6):
        nodes[f"fc{k}"] = (Linear(t(8, 8, seed=k)), [last])
        nodes[f"lif{k}"] = (lif_step(), [f"fc{k}"])
        last = f"lif{k}"
    built = graph(nodes, last, dt=1e-3)
    text = bytes_of(files(built, ScriptOptions(ipus=3))["model_poptorch.py"]).decode()
    assert text.count("poptorch.for_loop") == 3
    assert 'poptorch.Block("part_3", ipu_id=2 * self.ipus // 3)' in text
    for part in re.findall(r"def part_\d.*?for_loop", text, re.DOTALL):
        assert part.count("step_lif(") == 2  # as many weights in each
    check(built, {"x": spikes((10, 2, 8), 0.5)}, ScriptOptions(ipus=3))
