"""Every block of code in the documentation runs; `page_blocks.py` says how pages declare theirs."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.not_run import NOT_RUN
from tests.docs.page_blocks import RUN, SHOWN, Block, Page, read_page
from tests.helpers import ROOT

NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/**/*.md",
    "examples/README.md",
    "examples/*/README.md",
)
PATHS = sorted({path for name in NAMES for path in ROOT.glob(name)})
_SCRIPT = """#!/bin/sh
exec '{python}' {arguments} "$@"
"""


def label(path: Path) -> str:
    """Name a page as a reader would."""
    return path.relative_to(ROOT).as_posix()


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `snnir` and `python` are those of this checkout."""
    programs = folder / "bin"
    programs.mkdir()
    main = programs / "snnir_main.py"
    main.write_text("import sys\nfrom snnir.cli import main\nsys.exit(main())\n", "utf-8")
    for name, arguments in {"snnir": f"'{main}'", "python": "", "python3": ""}.items():
        text = _SCRIPT.format(python=sys.executable, arguments=arguments)
        (programs / name).write_text(text, "utf-8")
        (programs / name).chmod(0o755)
    settings = {
        "PATH": os.pathsep.join(
            map(str, (programs, Path(sys.executable).parent, os.environ["PATH"]))
        ),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder / 'page' / 'packages'}",
        "MPLBACKEND": "Agg",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }
    return {**os.environ, **settings}


def run_page(path: Path, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a page in a folder of its own."""
    inside = folder / "page"
    (inside / "packages").mkdir(parents=True)
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.page_driver", str(path)],
        cwd=inside,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def runnable() -> list[object]:
    """Return the pages that have something to run, each with its marks."""
    found: list[object] = []
    for path in PATHS:
        page = read_page(path)
        if any(block.runs for block in page.blocks):
            marks = [pytest.mark.slow, *([pytest.mark.framework] if page.needs else [])]
            found.append(pytest.param(path, id=label(path), marks=marks))
    return found


@pytest.mark.parametrize("path", runnable())
def test_page_runs(path: Path, tmp_path: Path) -> None:
    missing = [name for name in read_page(path).needs if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    done = run_page(path, tmp_path)
    print(done.stdout)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("path", PATHS, ids=label)
def test_every_block_is_accounted_for(path: Path) -> None:
    problems = findings(read_page(path))
    assert not problems, "\n".join(f"{label(path)}:{problem}" for problem in problems)


def findings(page: Page) -> list[str]:
    """Return what is wrong with the blocks of a page, each with its line."""
    found: list[str] = []
    for number, block in enumerate(page.blocks):
        if block.language not in RUN + SHOWN:
            found.append(f"{block.line}: a block of {block.language or 'no language'}")
        elif block.title:
            later = "".join(b.text for b in page.blocks[number + 1 :] if b.runs)
            if Path(block.title).stem not in later:
                found.append(f"{block.line}: no block after it uses {block.title}")
        elif block.language in RUN and not block.runs:
            found += unrun(block)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "text" and looks_like_code(block.text):
            found.append(f"{block.line}: this text is code; say which language")
    for line, text in indented(page.path):
        if looks_like_code(text):
            found.append(f"{line}: code without a fence is never run")
    return found


def looks_like_code(text: str) -> bool:
    """Whether a text begins as a program or a command does."""
    start = r"(import \w|from [\w.]+ import|\$ |snnir [a-z]|python3? |pip |git clone|[a-z]\w* = \w+[.(])"
    return re.match(start, text.strip()) is not None


def indented(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are code by indentation after an empty line, with their numbers."""
    lines = path.read_text("utf-8").splitlines()
    found = []
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and line.startswith("    ") and not lines[number - 1].strip():
            found.append((number + 1, line))
    return found


def unrun(block: Block) -> list[str]:
    """Return what is wrong with a block that is not run."""
    if block.language == "python":
        ast.parse(block.text)
        return []
    checked = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    found = [f"{block.line}: {checked.stderr}"] if checked.returncode else []
    for line in block.text.replace("\\\n", " ").splitlines():
        command = line.split(" #")[0]
        for script in scripts(command):
            if not script.is_file():
                found.append(f"{block.line}: there is no {label(script)}")
            else:
                source = script.read_text("utf-8")
                options = re.findall(r"(?<= )--[a-z][a-z-]+", command.partition(script.stem)[2])
                found += [f"{block.line}: {label(script)} has no {option}"
                          for option in options if f'"{option}"' not in source]  # fmt: skip
    return found


def scripts(command: str) -> list[Path]:
    """Return the scripts of the repository that a command starts."""
    found = [ROOT / name for name in re.findall(r"(?:examples|benchmarks)/[\w/]+\.py", command)]
    found += [ROOT / "benchmarks" / f"{n}.py" for n in re.findall(r"x\.py bench (\w+)", command)]
    modules = re.findall(r"-m ((?:examples|benchmarks)\.[\w.]+)", command)
    return found + [ROOT / f"{name.replace('.', '/')}.py" for name in modules]


def test_exceptions_are_counted() -> None:
    found = Counter(
        block.marks["not run"]
        for path in PATHS
        for block in read_page(path).blocks
        if "not run" in block.marks
    )
    assert set(found) <= set(NOT_RUN), "reasons that tests/docs/not_run.py does not know"
    for folder in re.findall(r"tests/\w+", " ".join(found)):
        assert list((ROOT / folder).rglob("test_*.py")), f"{folder} has no tests"
    assert all(found[reason] <= number for reason, number in NOT_RUN.items()), found
