"""The benchmark beside snn-mlir: what it can be asked without that package."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import snnir
from benchmarks.snn_mlir import shorten, verdict
from benchmarks.snn_mlir_parts.changes import CHANGES, READINGS, variants, without_recurrence
from benchmarks.snn_mlir_parts.nodes import GRAPHS, build
from benchmarks.snn_mlir_parts.peer import Peer
from benchmarks.snn_mlir_parts.spikes import recording
from benchmarks.snn_mlir_parts.text import NotUnderstoodError, read
from snnir.ir import Conv2d, Input, Linear, Signal, SumPool2d
from tests.helpers import ROOT, dyadic, graph, nir_recurrent, params, quiet_load, spikes


def stored(name: str, values: Any, kind: str = "f32") -> str:
    """Return the line of a constant."""
    shape = "x".join(map(str, values.shape))
    return (
        f'  memref.global "private" constant @{name} : memref<{shape}x{kind}> ='
        f" dense<{values.tolist()}>"
    )


def module(constants: list[str], arguments: list[str], body: list[str]) -> str:
    """Return a module as the package prints it."""
    given = ",\n".join(f"    {argument}" for argument in arguments)
    lines = "\n".join(f"    {line}" for line in body)
    return (
        "module {\n" + "\n".join(constants) + "\n  func.func @snn_forward_step(\n" + given
        + "\n  ) attributes { llvm.emit_c_interface } {\n\n    // --- a comment ---\n"
        + lines + "\n    return\n  }\n}\n"
    )  # fmt: skip


def test_recurrent_text_steps_as_the_graph_does() -> None:
    """3 -> 4 neurons that feed each other a step later: equal to snnir's reference."""
    weight, bias, back = dyadic((4, 3)), dyadic((4,), 1), dyadic((4, 4), 2)
    text = module(
        [stored("w.a", weight), stored("b.a", bias), stored("w.r", back)],
        ["%input : memref<3xf32>", "%voltage_n : memref<4xf32>",
         "%prev_spikes_n : memref<4xf32>", "%output : memref<4xf32>"],
        ["%w.r = memref.get_global @w.r : memref<4x4xf32>",
         "%s.r = memref.alloca() : memref<4xf32>",
         "snn.linear ins(%prev_spikes_n, %w.r) out(%s.r) : memref<4xf32>, memref<4x4xf32>"
         " -> memref<4xf32>",
         "%w.a = memref.get_global @w.a : memref<4x3xf32>",
         "%b.a = memref.get_global @b.a : memref<4xf32>",
         "%s.a = memref.alloca() : memref<4xf32>",
         "snn.linear ins(%input, %w.a) bias(%b.a : memref<4xf32>) out(%s.a) : memref<3xf32>,"
         " memref<4x3xf32> -> memref<4xf32>",
         "%merged = memref.alloca() : memref<4xf32>",
         "linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>]} ins(%s.r, %s.a :"
         " memref<4xf32>, memref<4xf32>) outs(%merged : memref<4xf32>) {",
         "^bb0(%in0: f32, %in1: f32, %acc: f32):",
         "  %sum1 = arith.addf %in0, %in1 : f32",
         "  linalg.yield %sum1 : f32",
         "}",
         "snn.lif ins(%merged) state(%voltage_n) out(%output) {decay_float = 8.75e-01 : f64,"
         " threshold_float = 2.5000000000e-01 : f64, v_reset_float = 0.0 : f64}"
         " : memref<4xf32>, memref<4xf32> -> memref<4xf32>",
         "memref.copy %output, %prev_spikes_n : memref<4xf32> to memref<4xf32>"],
    )  # fmt: skip
    x = spikes((60, 3), 0.4)
    found = read(text).run(x)
    step = snnir.ir.Step(snnir.LifStep(reset="zero"), params(beta=0.875, threshold=0.25), "lif")
    nodes: dict[str, Any] = {
        "in": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "a": (Linear(snnir.tensor(weight), snnir.tensor(bias)), ["in"]),
        "late": (snnir.ir.Delay(1), ["n"]),
        "r": (Linear(snnir.tensor(back)), ["late"]),
        "sum": (snnir.ir.Add(), ["r", "a"]),
        "n": (step, ["sum"]),
    }
    expected = snnir.compile(graph(nodes, "n", dt=1e-3)).run(x[:, None]).output[:, 0]
    assert 10 < expected.sum() < 200
    np.testing.assert_array_equal(found, expected)


def test_maps_of_features_step_as_the_graph_does() -> None:
    """A convolution with stride and padding, neurons, a pool, and a flattened layer."""
    kernel, bias, last = dyadic((3, 2, 3, 3)), dyadic((3,), 1), dyadic((2, 12), 2)
    text = module(
        [stored("w", kernel), stored("b", bias), stored("l", last)],
        ["%input : memref<2x8x8xf32>", "%v : memref<3x4x4xf32>", "%u : memref<2xf32>",
         "%output : memref<2xf32>"],
        ["%c = memref.alloca() : memref<3x4x4xf32>",
         "%w = memref.get_global @w : memref<3x2x3x3xf32>",
         "%b = memref.get_global @b : memref<3xf32>",
         "%l = memref.get_global @l : memref<2x12xf32>",
         "snn.conv2d ins(%input, %w) bias(%b : memref<3xf32>) out(%c)"
         " {stride = array<i64: 2, 2>, padding = array<i64: 1, 1>} : memref<2x8x8xf32>,"
         " memref<3x2x3x3xf32> -> memref<3x4x4xf32>",
         "%s = memref.alloca() : memref<3x4x4xf32>",
         "snn.lif ins(%c) state(%v) out(%s) {decay_float = 1.0e+00 : f64, threshold_float ="
         " 1.0e+00 : f64, v_reset_float = 0.0e+00 : f64} : memref<3x4x4xf32> -> memref<3x4x4xf32>",
         "%p = memref.alloca() : memref<3x2x2xf32>",
         "snn.sumpool2d ins(%s) out(%p) {kernel = array<i64: 2, 2>, stride = array<i64: 2, 2>,"
         " padding = array<i64: 0, 0>} : memref<3x4x4xf32> -> memref<3x2x2xf32>",
         "%f = memref.collapse_shape %p [[0, 1, 2]] : memref<3x2x2xf32> into memref<12xf32>",
         "%o = memref.alloca() : memref<2xf32>",
         "snn.linear ins(%f, %l) out(%o) : memref<12xf32>, memref<2x12xf32> -> memref<2xf32>",
         "snn.lif ins(%o) state(%u) out(%output) {decay_float = 5.0e-01 : f64, threshold_float ="
         " 1.0e+00 : f64, v_reset_float = 0.0e+00 : f64} : memref<2xf32> -> memref<2xf32>"],
    )  # fmt: skip
    x = spikes((40, 2, 8, 8), 0.2)

    def neurons(beta: float) -> snnir.ir.Step:
        return snnir.ir.Step(snnir.LifStep(reset="zero"), params(beta=beta, threshold=1.0), "lif")

    nodes: dict[str, Any] = {
        "in": (Input(Signal(snnir.Kind.SPIKES, (2, 8, 8))), []),
        "c": (Conv2d(snnir.tensor(kernel), snnir.tensor(bias), (2, 2), ((1, 1), (1, 1))), ["in"]),
        "n": (neurons(1.0), ["c"]),
        "p": (SumPool2d((2, 2), (2, 2)), ["n"]),
        "f": (snnir.ir.Flatten(0, -1), ["p"]),
        "l": (Linear(snnir.tensor(last)), ["f"]),
        "m": (neurons(0.5), ["l"]),
    }
    made = snnir.compile(graph(nodes, "m", dt=1e-3)).run(x[:, None], ["n"])
    program = read(text)
    assert made.recorded["n"].any()
    assert made.output.any()
    np.testing.assert_array_equal(program.run(x, "%s"), made.recorded["n"][:, 0])
    np.testing.assert_array_equal(program.run(x), made.output[:, 0])


def test_integers_shift_as_arithmetic_does() -> None:
    """Weight 3 of scale 1 becomes 3 * 2^3 in a state of scale 4; negative states round down."""
    text = module(
        [stored("w", np.array([[3, -5]]), "i8")],
        ["%input : memref<2xi8>", "%c : memref<1xi32>", "%v : memref<1xi32>",
         "%output : memref<1xi8>"],
        ["%w = memref.get_global @w : memref<1x2xi8>",
         "%s = memref.alloca() : memref<1xi32>",
         "snn.linear ins(%input, %w) out(%s) {w_scale = 1 : i64} : memref<2xi8>, memref<1x2xi8>"
         " -> memref<1xi32>",
         "%r = memref.alloca() : memref<1xi32>",
         "snn.rescale ins(%s) out(%r) {w_scale = 1 : i64, d_scale = 4 : i64} : memref<1xi32>"
         " -> memref<1xi32>",
         "snn.cubalif ins(%r) state(%c, %v) out(%output) {d_scale = 4 : i64, cur_decay_int = 7 :"
         " i64, vol_decay_int = 13 : i64, threshold_int = 24 : i64} : memref<1xi32>"
         " -> memref<1xi8>"],
    )  # fmt: skip
    x = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    program = read(text)
    # 24 is not above 24. i: 24; 24*7>>4=10, +24; 34*7>>4=14, -40; -26*7>>4=-12. v: 24; 19+34=53 fires; -26; -22-12
    assert program.run(x, "%c")[:, 0].tolist() == [24, 34, -26, -12]
    assert program.run(x, "%v")[:, 0].tolist() == [24, 0, -26, -34]
    assert program.run(x)[:, 0].tolist() == [0, 1, 0, 0]
    assert program.run(x).dtype == np.int8


@pytest.mark.parametrize("line", ["snn.stdp ins(%a) out(%b) : memref<1xf32>", "%x = arith.foo"])
def test_unknown_lines_are_not_passed_over(line: str) -> None:
    with pytest.raises(NotUnderstoodError, match=r"stdp|arith\.foo"):
        read(module([], ["%input : memref<1xf32>"], [line]))


def texts(path: Path) -> str:
    return snnir.to_mlir(quiet_load(path).edit().graph(provenance=snnir.ir.Provenance()))


def test_every_change_reaches_our_text(tmp_path: Path) -> None:
    nir_recurrent(tmp_path / "net.nir")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        found = variants(tmp_path / "net.nir", tmp_path)
    assert list(found) == [*CHANGES, *READINGS]
    for label, pair in found.items():
        assert pair is not None, label
        before, after = map(texts, pair)
        assert verdict(before, after) == "in the text", label


def test_what_is_not_there_is_not_changed(tmp_path: Path) -> None:
    one = np.ones(1, np.float32)
    model = nir.NIRGraph.from_list(
        nir.Linear(np.ones((1, 2), np.float32)), nir.IF(r=one, v_threshold=one)
    )
    nir.write(tmp_path / "net.nir", model)
    with h5py.File(tmp_path / "net.nir", "r+") as file:
        before = file["node/edges"][...].tolist()
        can = {label for label, change in CHANGES.items() if label != "a delay" and change(file)}
        assert file["node/edges"][...].tolist() == before
        assert not without_recurrence(file)
    assert can == {"a weight", "the threshold", "the gain `r`", "the reset value"}


@pytest.mark.parametrize("name", GRAPHS)
def test_small_graphs_are_what_they_say(name: str, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", build(name))
    loaded = quiet_load(tmp_path / "net.nir", dt=1e-4)
    x = {n: spikes((5, 1, *signal.shape)) for n, signal in loaded.inputs.items()}
    assert len(snnir.compile(loaded).run(x).outputs) == (2 if name == "two outputs" else 1)


def test_messages_are_shortened_to_what_is_wrong() -> None:
    report = "m.nir - 2 nodes\n\n  ok    a  Input\n  FAIL  b  LIF\n        v_leak must be 0\n\n" \
             "  ERROR   no 'input' node\n\nnot supported: 2 errors.\n"  # fmt: skip
    assert shorten(report) == "v_leak must be 0"
    assert shorten(report.replace("FAIL", "ok")) == "no 'input' node"
    assert shorten("Traceback\n  File x\nTypeError: no\n") == "TypeError: no"
    assert shorten("snn-mlir: error: " + "x" * 50, 20) == "x" * 19 + "…"
    assert verdict("a", None) == "refused"
    assert verdict("a", "a") == "not in the text"


def test_recordings_keep_their_axis_of_features(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,0.5,0\n0,0.25,1\n")
    assert recording(tmp_path / "a.csv", 2).tolist() == [[0.0], [1.0]]


def test_a_missing_package_is_said_so(tmp_path: Path) -> None:
    if Peer(sys.executable).call("--version").returncode == 0:
        pytest.skip("snn-mlir is installed")
    script = ROOT / "benchmarks" / "snn_mlir.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "has no snn-mlir: install it" in done.stderr
    assert "Traceback" not in done.stderr
