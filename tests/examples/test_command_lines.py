"""What the examples' command lines refuse is told in one line, before anything is trained."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snnir
from examples import command_line
from tests.helpers import ROOT


@pytest.mark.parametrize(
    ("check", "text", "words"),
    [
        (command_line.positive, "0", "at least 1, got 0"),
        (command_line.seed, "-1", "from 0 to 2"),
        (command_line.seed, str(2**32), "from 0 to 2"),
        (command_line.graph_file, "trained.nir", "FILE.snnir"),
        (command_line.graph_file, "/there/is/no/such/a.snnir", "no folder '/there/is/no/such'"),
    ],
)
def test_wrong_arguments(check: Any, text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        check(text)


def test_right_arguments(tmp_path: Path) -> None:
    assert command_line.positive("3") == 3
    assert command_line.seed(str(2**32 - 1)) == 2**32 - 1
    assert command_line.graph_file(str(tmp_path / "a.snnir")) == tmp_path / "a.snnir"


def refused() -> int:
    raise snnir.SnnirError([snnir.Diagnostic("SNN503", "no such target")])


def missing() -> int:
    raise ModuleNotFoundError("No module named 'jax'", name="jax")


@pytest.mark.parametrize(
    ("main", "code"),
    [
        (lambda: 0, 0),
        (lambda: None, None),
        (lambda: 1, 1),
        (refused, "error[SNN503]: no such target"),
        (missing, "this example needs jax: pip install it"),
    ],
)
def test_endings(main: Any, code: Any) -> None:
    with pytest.raises(SystemExit) as ending:
        command_line.finish(main)
    assert ending.value.code == code


def test_a_script_is_run_as_a_file_from_anywhere(tmp_path: Path) -> None:
    script = ROOT / "examples" / "digits" / "demo.py"
    command = [sys.executable, str(script), "--target", "nowhere", "--output", str(tmp_path / "o")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error[SNN503]: there is no target called 'nowhere'")
    assert "Traceback" not in done.stderr
