"""The dialect on the command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import snnir
from tests.helpers import ROOT, cli, nir_file, recurrent
from tests.mlir.models import same


def test_models_are_printed_and_read(tmp_path: Path) -> None:
    model = nir_file(tmp_path / "m.nir")
    done = cli("inspect", model, "--semantics", "norse", "--format", "mlir")
    assert done.returncode == 0, done.stderr
    (tmp_path / "m.mlir").write_text(done.stdout)
    again = cli("inspect", tmp_path / "m.mlir", "--format", "mlir")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    text = cli("inspect", tmp_path / "m.mlir", "--format", "text")
    read = snnir.load(tmp_path / "m.mlir")
    assert text.stdout == str(read)
    with pytest.warns(snnir.SnnirWarning, match="no dt was given"):
        assert same(read, snnir.load(model, semantics="norse"))
    ran = cli("inspect", tmp_path / "m.mlir", "--poisson", "0.3", "--steps", "10")
    assert ran.returncode == 0, ran.stderr


def test_weights_where_they_are_asked_for(tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "m.snnir")
    for weights in ("inline", "resource", "key"):
        done = cli("inspect", "m.snnir", "--format", "mlir", "--weights-as", weights, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == snnir.to_mlir(recurrent(), weights)


def test_the_definition_is_printed(tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "m.snnir")
    done = cli("inspect", "m.snnir", "--format", "irdl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("irdl.dialect @snn {")


def test_models_are_converted(tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "m.snnir")
    done = cli("convert", "m.snnir", "--to", "mlir", "-o", "m.mlir", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert same(snnir.load(tmp_path / "m.mlir"), recurrent())
    done = cli("convert", "m.mlir", "--to", "snnir", "-o", "b.snnir", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.snnir").read_bytes() == (tmp_path / "m.snnir").read_bytes()
    opted = cli("opt", "m.mlir", "--passes", "canonicalize", "-o", "o.mlir", cwd=tmp_path)
    assert opted.returncode == 0, opted.stderr
    assert len(snnir.load(tmp_path / "o.mlir")) == len(recurrent())


def test_wrong_text_is_one_line(tmp_path: Path) -> None:
    text = snnir.to_mlir(recurrent()).replace("(%late)", "(%nobody)")
    (tmp_path / "m.mlir").write_text(text)
    done = cli("inspect", "m.mlir", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "m.mlir: node 'rec': line 6, column 3: %nobody is not defined" in done.stderr


def test_bytecode_needs_mlir(tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "m.snnir")
    hidden = tmp_path / "hidden" / "torch_mlir"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not here')\n")
    path = f"{hidden.parent}:{ROOT}"
    command = ("convert", "m.snnir", "--to", "mlirbc", "-o", "m.mlirbc")
    done = cli(*command, cwd=tmp_path, env={"PYTHONPATH": path})
    assert done.returncode != 0
    assert "SNN503" in done.stderr
    assert "pip install 'snnir[mlir]'" in done.stderr
    assert not (tmp_path / "m.mlirbc").exists()
    (tmp_path / "b.mlirbc").write_bytes(b"ML\xefR\x0d")
    done = cli("inspect", "b.mlirbc", cwd=tmp_path, env={"PYTHONPATH": path})
    assert "SNN503" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("torch_mlir") is None, reason="torch-mlir is not installed"
)
def test_bytecode_on_the_command_line(tmp_path: Path) -> None:
    snnir.save(recurrent(), tmp_path / "m.snnir")
    done = cli("convert", "m.snnir", "--to", "mlirbc", "-o", "m.mlirbc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = cli("inspect", "m.mlirbc", "--format", "mlir", cwd=tmp_path)
    assert shown.stdout == snnir.to_mlir(recurrent())
