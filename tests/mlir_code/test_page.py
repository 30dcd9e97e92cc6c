"""What docs/mlir-opt.md shows works."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.c_build import NoCompiler, compiler
from tests.helpers import ROOT
from tests.mlir_code.upstream import TO_BUFFERS, TO_LLVM

PAGE = (ROOT / "docs" / "mlir-opt.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of the page in a language."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture(scope="module")
def scope(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's Python defines, after it ran in `folder`."""
    known: dict[str, Any] = {"__name__": "__main__", "folder": tmp_path_factory.mktemp("page")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(known["folder"])
        assert len(blocks("python")) == 3
        for block in blocks("python"):
            exec(compile(block, "mlir-opt.md", "exec"), known)
    return known


def test_examples_of_the_page_run(scope: dict[str, Any]) -> None:
    assert "define void @run" in (scope["folder"] / "model.ll").read_text()


def test_the_passes_are_those_that_are_tested(scope: dict[str, Any]) -> None:
    start = PAGE.index("```text\none-shot-bufferize") + len("```text\n")
    listed = PAGE[start : PAGE.index("\n```", start)]
    assert listed.split(",\n") == [*TO_BUFFERS, *TO_LLVM]
    assert (scope["TO_BUFFERS"], scope["TO_LLVM"]) == (TO_BUFFERS, TO_LLVM)


def test_the_program_in_c_gives_the_same_spikes(scope: dict[str, Any]) -> None:
    try:
        command = compiler()
    except NoCompiler:
        pytest.skip("there is no C compiler")
    folder: Path = scope["folder"]
    (folder / "main.c").write_text(blocks("c")[0])
    (folder / "weight.raw").write_bytes(scope["weight"].tobytes())
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    build = [*command, *strict, "main.c", "model.o", "-lm", "-o", "net"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run(
        ["./net"], cwd=folder, input=scope["x"].tobytes(), capture_output=True, check=True
    )
    y = np.frombuffer(ran.stdout, np.float32).reshape(20, 1, 4)
    np.testing.assert_array_equal(y, scope["wanted"].output)
