"""The stand-in for Poplar: right programs give right numbers, wrong ones end with one clear line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.c_build import NoCompiler, cpp_compiler
from snnir.targets.ipu.standin import standin_files
from snnir.targets.ipu.standin.build import build_host
from snnir.targets.ipu.standin.registry import UnknownCodelet, codelets, registration

PROGRAM = Path(__file__).parent / "standin_program"
TILES = {"SNNIR_IPU_TILES": "4"}

try:
    cpp_compiler()
    HAS_CPP = True
except NoCompiler:
    HAS_CPP = False
needs_cpp = pytest.mark.skipif(not HAS_CPP, reason="there is no C++ compiler")

#: What is broken, and what the one line must say.
FAULTS = {
    "alignment": r"vertex 4 \(Wide .*tile 1\): field 'in': elements \[9, 12\) of variable 'a' do not"
    " start at a multiple of 8 bytes",
    "border": r"field 'y': elements \[2, 6\) of variable 'b' lie on more than one tile",
    "buffer-size": "stream 'in': a buffer of 48 bytes is not a multiple of one transfer, 64",
    "codelet": "there is no codelet 'Scalee'",
    "connected-twice": "field 'y' has a value already",
    "copy-never-written": "copy 'b to far' reads element 0 of variable 'b', which was never written",
    "copy-overlap": "copy 'a to a' reads and writes element 4 of variable 'a'",
    "copy-shape": "copy 'b to far': 16 elements of float to 16 of float",
    "copy-size": "copy 'b to far': 4 elements of float to 16 of float",
    "copy-twice": "copy 'a to b' writes element 0 of variable 'b' twice",
    "copy-type": "copy 'b to totals': 4 elements of float to 4 of unsigned short",
    "division": r"vertex 4 \(Wide .*\): a floating-point exception, division by zero",
    "field": "has no field 'z'",
    "inexact": "field 'factor' of float does not hold the value 0.1",
    "late": "the graph is changed after an engine was made of it",
    "memory": "tile 1: 952 bytes of variables and 96 of vertices; it has 512",
    "never-written": "field 'x' reads element 0 of variable 'a', which was never written",
    "no-codelets": "no codelet 'Scale' before Graph::addCodelets",
    "no-file": "there is no file 'absent.cpp'",
    "no-tile": "variable 'a' is mapped to tile 4; there are 4",
    "not-attached": "the device is not attached",
    "not-connected": "stream 'out' is not connected",
    "not-loaded": "handle 'events' is used before Engine::load",
    "nowhere": "vertex 0 .* is on no tile",
    "option": "unknown option 'debug.instrumentt'",
    "other-tile": r"tile 1\): field 'y': elements \[0, 4\) of variable 'far' lie on tile 3",
    "outside": "vertex 2 .*field 'in': element 3 of 3",
    "program": "there is no program 2",
    "read-unwritten": "handle 'b' reads element 0 of variable 'b', which was never written",
    "read-way": "no handle 'events' for this direction",
    "reads-writes": "vertex 2 .* and vertex 1 .*: the first reads what the second writes",
    "refused": r"vertex 3 \(Sum .*: compute\(\) returned false",
    "replica-buffer": "stream 'in': a graph with replicas needs a callback",
    "replica-missing": "stream 'in' is not connected for replica 1",
    "replica-write": "handle 'x': a graph with replicas",
    "rounding": "stochastic rounding",
    "same-elements": "vertex 0 .* and vertex 1 .* write the same elements of variable 'b'",
    "same-word": "vertex 2 .* vertex 3 .* write to the same 32-bit word of variable 'totals'",
    "scattered": r"elements \[0, 1\) of variable 'b' and elements \[4, 5\) .*not one piece of memory",
    "stream-size": "stream 'in' has 16 elements of float, the tensor copied 4 of float",
    "stream-way": "stream 'out' is copied from, but it leads the other way",
    "stream-words": "stream 'counts': a transfer of 6 bytes is no multiple of 4",
    "too-large": "field 'offset' of int does not hold the value 2147483648",
    "twice": "variable 'a': element 8 is mapped to more than one tile",
    "two-streams": "there are two streams 'out'",
    "type": "field 'y' is of float, the tensor of unsigned short",
    "unconnected": "field 'y' is not connected",
    "unmapped": "variable 'a': element 12 is mapped to no tile",
    "unset": "field 'factor' has no value",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it is emitted: the program, its codelets and the stand-in."""
    place = tmp_path_factory.mktemp("standin")
    for name in ("host.cpp", "codelets.cpp"):
        shutil.copy(PROGRAM / name, place)
    for name, text in standin_files().items():
        (place / name).write_text(text)
    return place


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    return build_host(folder)


def run(program: Path, folder: Path, *words: str, given: bytes = b"", **settings: str) -> Any:
    environment = {**os.environ, **TILES, **settings}
    return subprocess.run(
        [program, *words],
        cwd=folder,
        input=given,
        capture_output=True,
        env=environment,
        check=False,
    )


def values(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@needs_cpp
@pytest.mark.parametrize("order", ["", "reverse"])
def test_steps_give_the_right_numbers(program: Path, folder: Path, order: str) -> None:
    steps, tiles, part = 3, 8, 4
    x = values(steps * tiles * part, 1)
    done = run(program, folder, "steps", "3", given=x.tobytes(), SNNIR_IPU_ORDER=order)
    assert done.returncode == 0, done.stderr
    y = x.reshape(steps, tiles, part) * np.float32(0.5)
    y = y - np.arange(tiles, dtype=np.float32)[:, None]
    last = y.reshape(steps, part, tiles).transpose(0, 2, 1).reshape(steps, -1)
    taken = np.frombuffer(done.stdout, np.float32).reshape(steps, -1)
    np.testing.assert_array_equal(taken, np.hstack([last, y[:, 1]]))


@needs_cpp
def test_the_report_counts_memory_traffic_and_cycles(program: Path, folder: Path) -> None:
    given = values(5 * 32, 2).tobytes()
    path = folder / "report.json"
    done = run(program, folder, "steps", "5", given=given, SNNIR_IPU_REPORT=str(path))
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert [report[name] for name in ("tiles", "tiles_per_ipu", "ipus", "replicas")] == [8, 4, 2, 1]
    assert report["bytes_per_tile"] == 638976
    # Two parts of 16 bytes and an inbox of 128; tile 0 also has what is gathered.
    assert report["variable_bytes"] == [288] + [160] * 7
    # A pointer and a size, a pointer, two scalars, and what starts the vertex.
    assert report["vertex_bytes"] == [8 + 4 + 8 + 8] * 8
    assert report["vertices"] == [1] * 8
    (scale,) = report["compute_sets"]
    assert scale == {
        "name": "scale", "vertices": 8, "vertices_max": 1, "cycles_max": 17, "executed": 5,
    }  # fmt: skip
    copies = {copy["name"]: copy for copy in report["copies"]}
    assert copies["gather"] == {
        "name": "gather", "kind": "exchange", "bytes": 128, "executed": 5, "pieces": 8,
        "received": 7 * 16, "received_max": 7 * 16, "sent": 7 * 16, "sent_max": 16,
        "ipu_received": 4 * 16, "ipu_sent": 4 * 16,
    }  # fmt: skip
    assert copies["broadcast"] == {
        "name": "broadcast", "kind": "exchange", "bytes": 8 * 128, "executed": 5, "pieces": 8,
        "received": 7 * 128, "received_max": 128, "sent": 128, "sent_max": 128,
        "ipu_received": 4 * 128, "ipu_sent": 128,
    }  # fmt: skip
    assert [copy["kind"] for copy in report["copies"]].count("from host") == 1
    (step,) = report["repeats"]
    assert step == {
        "name": "steps", "count": 5, "copies": 2, "compute_sets": 1, "cycles": 17,
        "bytes": 9 * 128, "received": 7 * 16 + 7 * 128, "received_max": 7 * 16 + 128,
        "sent": 7 * 16 + 128, "sent_max": 16 + 128,
        "ipu_received": 4 * 16 + 4 * 128, "ipu_sent": 4 * 16 + 128, "host_bytes": 128 + 144,
    }  # fmt: skip


@needs_cpp
def test_replicas_have_memory_and_streams_of_their_own(program: Path, folder: Path) -> None:
    x = values(8, 3)
    done = run(program, folder, "replicas", given=x.tobytes())
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32), x * np.float32(2) + 1)


@needs_cpp
def test_without_a_fault_the_program_of_faults_runs(program: Path, folder: Path) -> None:
    done = run(program, folder, "none")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"4 4 15\n", b"")


@needs_cpp
def test_what_a_vertex_leaves_of_an_output_has_no_value(program: Path, folder: Path) -> None:
    done = run(program, folder, "partial")
    assert (done.returncode, done.stdout) == (0, b"0 1\n4 4 15\n")


@needs_cpp
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_broken_rule_ends_the_program(program: Path, folder: Path, fault: str) -> None:
    smaller = {"SNNIR_IPU_BYTES": "512"} if fault == "memory" else {}
    done = run(program, folder, fault, given=bytes(32), **smaller)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 3
    assert re.match(f"ipu: .*{FAULTS[fault]}", line), line


@needs_cpp
def test_the_order_of_vertices_can_be_reversed(program: Path, folder: Path) -> None:
    done = run(program, folder, "outside", SNNIR_IPU_ORDER="reverse")
    assert done.returncode == 3
    assert b"vertex 3 (Sum of compute set 'sum', tile 1): field 'in'" in done.stderr


@needs_cpp
def test_a_machine_can_be_smaller_but_not_larger(program: Path, folder: Path) -> None:
    for name, wrong in (("SNNIR_IPU_TILES", "1473"), ("SNNIR_IPU_BYTES", "0")):
        done = run(program, folder, "none", given=b"", **{name: wrong})
        assert done.returncode == 3
        assert name.encode() in done.stderr


@needs_cpp
def test_halves_are_rounded_as_numpy_does(program: Path, folder: Path) -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    rng = np.random.default_rng(4)
    finite = np.sort(every[np.isfinite(every)].astype(np.float32))
    ties = rng.choice((finite[1:] + finite[:-1]) / 2, 20000)
    beside = np.nextafter(rng.choice(ties, 10000), rng.choice([-np.inf, np.inf], 10000))
    patterns = rng.integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32)
    near = (rng.choice(finite, 15536) * rng.uniform(0.999, 1.001, 15536)).astype(np.float32)
    x = np.concatenate([ties, beside.astype(np.float32), patterns, near])
    x[:6] = [65519.996, 65520.0, -65520.0, np.inf, 2.0**-25, np.nextafter(np.float32(2**-25), 1)]
    done = run(program, folder, "halves", given=x.tobytes())
    assert done.returncode == 0, done.stderr
    rounded = np.frombuffer(done.stdout, np.float16, 65536)
    folded = np.frombuffer(done.stdout, np.float16, 65536, 1 << 17)
    widened = np.frombuffer(done.stdout, np.float32, 65536, 1 << 18)
    with np.errstate(all="ignore"):
        assert_same_bits(rounded, x.astype(np.float16))
        assert_same_bits(folded, every * every + every)
        assert_same_bits(widened, every.astype(np.float32))


def assert_same_bits(made: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Compare; any NaN is as good as any other."""
    bits = np.uint16 if made.dtype == np.float16 else np.uint32
    differ = (made.view(bits) != expected.view(bits)) & ~(np.isnan(made) & np.isnan(expected))
    assert not differ.any(), (made[differ][:5], expected[differ][:5])


@needs_cpp
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("host.cpp", "int main(", "int other(poplar::Graph& g) { g.addConstant(FLOAT, {1}, 0); }\nint main("),
        ("host.cpp", "int main(", "auto unknown = poplar::BOOL;\nint main("),
        ("codelets.cpp", "i < length", "i < in.size()"),
        ("codelets.cpp", "total[0] = static_cast<unsigned short>(", "in[0] = static_cast<unsigned short>("),
        ("codelets.cpp", "in[i]);", "total.length);"),
    ],
)  # fmt: skip
def test_what_the_machine_has_not_does_not_compile(
    folder: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "wrong"))
    text = (place / file).read_text()
    assert old in text
    (place / file).write_text(text.replace(old, new))
    with pytest.raises(NoCompiler, match=r"does not compile (host|registry)\.cpp: .*error"):
        build_host(place)


@needs_cpp
def test_a_program_is_compiled_once(program: Path, folder: Path) -> None:
    before = program.stat().st_mtime_ns
    assert build_host(folder) == program
    assert program.stat().st_mtime_ns == before
    assert build_host(folder, checked=False) != program


CODELET = """
#include <poplar/Vertex.hpp>
class One : public poplar::Vertex {
 public:
  poplar::Input<poplar::Vector<unsigned short, poplar::VectorLayout::ONE_PTR, 8>> in;  // poplar::Vertex
  poplar::InOut<poplar::Vector<float>> v; /* half h; */
  long long scale;
  bool compute() { return true; }
};
"""


def test_codelets_and_their_fields_are_found() -> None:
    (one,) = codelets(CODELET)
    assert (one.name, one.fields) == ("One", ("in", "v", "scale"))
    text = registration(CODELET)
    assert text.startswith('#include "codelets.cpp"\n')
    assert text.count('("') == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("long long scale", "std::size_t scale"),
        ("long long scale", "double scale"),
        ("InOut<poplar::Vector<float>>", "InOut<float>"),
        ("ONE_PTR", "COMPACT_PTR"),
        ("public poplar::Vertex {", "public poplar::MultiVertex {"),
        ("class One :", "template <class T> struct One :"),
        ("v;", "scale;"),
        ("bool compute()", "void compute()"),
        ("poplar::Vertex {", "poplar::Vertex, Other {"),
        ("class One", "class Two : public Vertex {};\nclass One"),
        ("long long scale;", "long long scale = 3;"),
    ],
)
def test_codelets_of_another_form_are_refused(old: str, new: str) -> None:
    assert old in CODELET
    with pytest.raises(UnknownCodelet):
        codelets(CODELET.replace(old, new, 1))


def test_two_codelets_of_one_name_are_refused() -> None:
    with pytest.raises(UnknownCodelet, match="two codelets of one name"):
        codelets(CODELET + CODELET)


def test_the_compiler_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "python3 -m something")
    assert cpp_compiler() == ["python3", "-m", "something"]
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoCompiler, match=r"no C\+\+ compiler"):
        cpp_compiler()
