"""Completion: what snnir answers a shell, and what bash makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import snnir
from snnir.cli import main
from tests.helpers import ROOT, nir_file, quiet_load

Ask = Callable[[str], list[str]]

#: Takes seconds to import, or may fail to.
HEAVY = ("torch", "jax", "rich", "networkx", "matplotlib")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = nir_file(tmp_path / "model.nir")
    (tmp_path / "mod.py").write_text(
        "def make():\n  1/0\ndef takes(a):\n  1\ndef gives(a=1):\n  1\n"
    )
    (tmp_path / "notes.txt").touch()
    (tmp_path / "x.npz").touch()
    (tmp_path / "models").mkdir()
    snnir.compile(quiet_load(path, semantics="norse", dt=1e-3)).save(tmp_path / "out")
    return tmp_path


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    def answer(line: str) -> list[str]:
        monkeypatch.setenv("_SNNIR_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_LINE", line)
        with pytest.raises(SystemExit) as ended:
            main([])
        assert not ended.value.code
        out, err = capfd.readouterr()
        assert err == ""
        return out.split()

    return answer


LINES = {
    "snnir com": ["compile", "completion"],
    "snnir compile --tar": ["--target"],
    "snnir compile --target nat": ["native"],
    "snnir compile --target=nat": ["--target=native"],
    "snnir list t": ["targets"],
    "snnir inspect m --format sch": ["schedule"],
    "snnir convert m --to sn": ["snnir", "snn", "snntorch"],
    "snnir inspect m --semantics sp": ["spikingjelly", "spyx", "spinnaker2"],
    "snnir inspect m --reset su": ["subtract"],
    "snnir inspect m --stepping reset-t": ["reset-timing="],
    "snnir inspect m --stepping reset=z": ["reset=zero"],
    "snnir opt m --passes fold-c": ["fold-constants"],
    "snnir opt m --passes cse,fold-c": ["cse,fold-constants"],
    "snnir opt m --passes 'quantize{bits=3},cse": ["quantize{bits=3},cse"],
    "snnir opt m --passes 'cse,quantize{bits=3,bal": ["cse,quantize{bits=3,balance="],
    "snnir opt m --print-after al": ["all"],
    "snnir compile m --target native --set prec": ["precision="],
    "snnir compile m --set thre": [],
    "snnir encode d.npy --kind rank": ["rank-order"],
    "snnir encode d.npy --set rat": ["rate="],
    "snnir inspect m": ["mod.py:", "model.nir", "models/"],
    "snnir inspect ./mode": ["./model.nir", "./models/"],
    "snnir inspect mod.py:": ["mod.py:make", "mod.py:gives"],
    "snnir diff model.nir x": ["x.npz"],
    "snnir run m --input x": ["x.npz"],
    "snnir explain SNN20": ["SNN201", "SNN202", "SNN203", "SNN204", "SNN205"],
    "snnir run model.nir --record n": ["n0", "n1"],
    "snnir run model.nir --record n0,in": ["n0,input"],
    "snnir run out --record ": ["all", "n1"],
    "snnir run absent.nir --record ": ["all"],
    "snnir opt m --passes nonsense{": [],
    "snnir compile --target nonsense --set ": [],
    "snnir inspect 'open quo": [],
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_words(line: str, folder: Path, ask: Ask) -> None:
    assert ask(line) == LINES[line]


def test_a_name_that_is_no_word_is_not_offered(folder: Path, ask: Ask) -> None:
    (folder / "evil\n$(touch x).nir").touch()
    assert ask("snnir inspect e") == []


def test_nothing_slow_is_imported(folder: Path) -> None:
    code = (
        "import sys\nfrom snnir.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY})))"
    )
    for line in ("snnir run model.nir --record n", "snnir compile --target torch --set "):
        settings = {"_SNNIR_COMPLETE": "fish_complete", "COMP_LINE": line, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True,
            text=True, check=False, cwd=folder,
        )  # fmt: skip
        first, *_, last = done.stdout.splitlines()
        assert first in ("n0", "precision=")
        assert last == "[]", done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "bash"])
    script = capfd.readouterr().out
    assert "To install it" in script.splitlines()[0]
    (folder / "a b.nir").touch()
    program = folder / "snnir"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m snnir "$@"\n')
    program.chmod(0o755)
    lines = {
        "snnir compile --target na": ("snnir compile --target na", "native"),
        "snnir inspect mod.py:ma": ("snnir inspect mod.py : ma", "make"),
        "snnir inspect a": ("snnir inspect a", r"a\ b.nir"),
        "snnir inspect 'a": ("snnir inspect 'a", "a b.nir"),
        "snnir opt m --passes 'cse,quantize{bits=3,bal": ("snnir opt m --passes x",
                                                          "cse,quantize{bits=3,balance="),
        "snnir compile --set precision": ("snnir compile --set precision", "precision="),
    }  # fmt: skip
    asked = [script]
    for line, (words, _) in lines.items():
        quoted = line.replace("'", "'\\''")
        asked += [
            f"COMP_LINE='{quoted}'; COMP_POINT=${{#COMP_LINE}}",
            f"COMP_WORDS=({words.replace(chr(39), '')}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))",
            "_snnir_completion snnir; printf '%s\\n' \"${COMPREPLY[@]}\"",
        ]
    asked.append("complete -p snnir")
    settings = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(asked)], env=settings, capture_output=True, text=True,
        check=False, cwd=folder,
    )  # fmt: skip
    *found, last = done.stdout.splitlines()
    assert found == [answer for _, answer in lines.values()], done.stderr
    assert last.endswith("-F _snnir_completion snnir")


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef snnir"), ("fish", "complete ")])
def test_scripts(shell: str, sign: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", shell])
    script = capfd.readouterr().out
    assert any(line.startswith(sign) for line in script.splitlines())
    assert f"_SNNIR_COMPLETE={shell}_complete" in script
    assert "To install it" in script
    assert "%" not in script.replace("%%", "")
    found = shutil.which(shell)
    if found is not None:
        subprocess.run([found, "-n"], input=script, text=True, check=True)
