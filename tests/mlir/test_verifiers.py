"""What two builds of MLIR say to printed graphs: torch-mlir's and IREE's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import snnir
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.ir.op import OPS
from snnir.mlir import dialect_text, from_mlir, to_mlir
from tests.helpers import recurrent
from tests.mlir.models import (
    NAMED,
    of_corpus,
    of_matrix,
    own_op,
    programs,
    random_graphs,
    same,
    several_ports,
    tool,
)

TOOLS = ("torch-mlir-opt", "iree-opt")
BETWEEN = "// -----\n"


def verified(
    name: str, text: str, folder: Path, *flags: str, wide: snnir.Graph | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a verifier on a text in which modules are split by `BETWEEN`."""
    (folder / "snn.irdl.mlir").write_text(dialect_text(wide))
    (folder / "nets.mlir").write_text(text)
    command = [tool(name), f"--irdl-file={folder / 'snn.irdl.mlir'}", "--split-input-file", *flags]
    return subprocess.run(
        [*command, str(folder / "nets.mlir")], capture_output=True, text=True, check=False
    )


def check(name: str, nets: Sequence[snnir.Graph], folder: Path, weights: str, *flags: str) -> None:
    """Graphs pass a verifier, and what it prints are the same graphs."""
    text = BETWEEN.join(to_mlir(net, weights) for net in nets)
    done = verified(name, text, folder, *flags)
    assert done.returncode == 0, done.stderr[:2000]
    printed = done.stdout.split(BETWEEN)
    assert len(printed) == len(nets)
    for net, found in zip(nets, printed, strict=True):
        assert same(from_mlir(found), net)


@pytest.mark.parametrize("name", TOOLS)
def test_every_op_and_neuron(name: str, tmp_path: Path) -> None:
    nets = [*of_matrix(), *(make() for key, make in NAMED.items() if key != "several_ports")]
    check(name, nets, tmp_path, "inline")
    check(name, nets, tmp_path, "resource", "--mlir-print-op-generic", "--mlir-print-debuginfo")


@pytest.mark.parametrize("name", TOOLS)
def test_ops_of_plug_ins(name: str, tmp_path: Path) -> None:
    with own_op() as net:
        check(name, [net], tmp_path, "inline")


@pytest.mark.parametrize("name", TOOLS)
def test_published_models(name: str, tmp_path: Path) -> None:
    nets = of_corpus()
    done = verified(name, BETWEEN.join(to_mlir(net) for net in nets), tmp_path, "-o", "/dev/null")
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("name", TOOLS)
def test_random_graphs(name: str, tmp_path: Path) -> None:
    nets = random_graphs()
    assert len(nets) >= 200
    check(name, nets, tmp_path, "inline")


@pytest.mark.parametrize("name", TOOLS)
def test_ops_with_many_operands_are_defined_for_a_graph_that_has_them(
    name: str, tmp_path: Path
) -> None:
    net = several_ports()
    text = to_mlir(net)
    refused = verified(name, text, tmp_path)
    assert refused.returncode != 0
    assert "snn.concat_9" in refused.stderr
    done = verified(name, text, tmp_path, wide=net)
    assert done.returncode == 0, done.stderr
    assert same(from_mlir(done.stdout), net)


#: Broken texts that MLIR refuses by the dialect's definition in IRDL alone.
BROKEN = {
    "unknown op": ('"snn.delay"', '"snn.dleay"', "snn.dleay"),
    "missing attribute": ("signal = !snn.spikes<tensor<3xf32>>, ", "", "signal"),
    "kind of attribute": ("steps = 1 : i64", 'steps = "x"', "does not satisfy"),
    "operand's type": (
        '"snn.delay"(%lif) {', '"snn.not"(%lif) {', "snn.not",
    ),
    "undefined value": ("(%late)", "(%nobody)", "undeclared SSA value"),
    "type of use": (
        "(!snn.spikes<tensor<4xf32>>) -> !snn.spikes", "(!snn.analog<tensor<4xf32>>) -> !snn.spikes",
        "type '!snn.",
    ),
    "number of operands": (
        '"snn.delay"(%lif) {node = "late", steps = 1 : i64, seconds = unit, metadata = []} : (!snn.spikes<tensor<4xf32>>)',
        '"snn.delay"() {node = "late", steps = 1 : i64, seconds = unit, metadata = []} : ()', "operands",
    ),
    "result's type": (
        "-> !snn.analog<tensor<4xf32>>", "-> tensor<4xf32>", "tensor<4xf32>",
    ),
    "defined twice": ("%late =", "%lif =", "redefinition"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOOLS)
def test_broken_text_is_refused_where_it_is_broken(name: str, tmp_path: Path) -> None:
    text = to_mlir(recurrent())
    for what, (old, new, message) in BROKEN.items():
        assert old in text, what
        line = text[: text.index(old)].count("\n") + 1
        done = verified(name, text.replace(old, new, 1), tmp_path)
        assert done.returncode != 0, what
        places = [int(n) for n in re.findall(r"nets\.mlir:(\d+):\d+: error", done.stderr)]
        assert places, (what, done.stderr)
        # A second definition or use is noted at either place.
        assert line in places or what in ("defined twice", "type of use", "result's type")
        assert message in done.stderr, (what, done.stderr)
        with pytest.raises(snnir.SnnirError, match=r"line \d+, column \d+"):
            from_mlir(text.replace(old, new, 1))


@pytest.mark.parametrize("name", TOOLS)
def test_bytecode_is_read_by_both(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch_mlir")
    (tmp_path / "snn.irdl.mlir").write_text(dialect_text())
    snnir.save(programs(), tmp_path / "net.mlirbc")
    command = [tool(name), f"--irdl-file={tmp_path / 'snn.irdl.mlir'}"]
    done = subprocess.run(
        [*command, str(tmp_path / "net.mlirbc")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert same(from_mlir(done.stdout), programs())


@pytest.mark.parametrize("name", TOOLS)
def test_programs_are_checked(name: str, tmp_path: Path) -> None:
    text = to_mlir(programs()).replace("snn.scalar_not", "snn.scalar_neg", 1)
    done = verified(name, text, tmp_path)
    assert done.returncode != 0
    assert "snn.scalar_neg" in done.stderr


def test_the_definition_has_every_op() -> None:
    text = dialect_text()
    names = set(re.findall(r"irdl\.operation @(\w+)", text))
    assert set(OPS) <= names
    assert "lif" in names
    assert {f"scalar_{op}" for op in SCALAR_OPS} <= names
