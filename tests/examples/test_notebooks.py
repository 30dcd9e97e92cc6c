"""Every notebook runs from its first cell to its last, and prints what is stored in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat")
for name in ("nbclient", "ipykernel", "matplotlib", "sklearn"):
    pytest.importorskip(name, reason=f"notebooks need {name}")

from examples.notebooks import execute

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
#: What each imports that not every environment has.
NEEDS = {
    "diff": ("torch", "norse"),
    "frameworks": ("torch", "safetensors", "snntorch", "sinabs", "spikingjelly", "norse"),
    "microcontroller": ("jax", "ziglang", "unicorn", "elftools"),
    "speck": ("torch", "snntorch"),
    "yinyang": ("torch",),
}
LARGEST = 300_000


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    """Return the text of a cell's outputs."""
    return "".join(
        output.text if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in cell.outputs
    )


def worded(text: str) -> list[str]:
    """Return the words of a text with a sign for every number, however wide."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?|\bnan\b", "#", text).split()


def kinds(cell: Any) -> list[str]:
    """Return what a cell shows: the stream, or the richest form of a display."""
    return [str(o.get("name") or ",".join(sorted(o.get("data", {})))) for o in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_is_committed_is_complete(path: Path) -> None:
    assert path.stem in NEEDS
    assert path.stat().st_size < LARGEST
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata == execute.METADATA
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook.cells[0].source.startswith("# ")
    assert any("checked" in cell.metadata.get("tags", []) for cell in cells)
    assert any("image/png" in kind for cell in cells for kind in kinds(cell))
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    for cell in cells:
        assert not {"stderr"} & set(kinds(cell)), cell.source
        assert not re.search(r"(^|[\s'\"(])(/home/|/root/|/tmp/|[A-Z]:\\)", printed(cell))
        assert not re.search(r"0x[0-9a-f]{6,}", printed(cell))
        if "checked" in cell.metadata.get("tags", []):
            assert re.search(r"^\s*assert ", cell.source, re.MULTILINE), cell.source


@pytest.mark.slow
@pytest.mark.framework
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_executes_with_the_same_results(path: Path, tmp_path: Path) -> None:
    for name in NEEDS[path.stem]:
        pytest.importorskip(name, reason=f"this notebook needs {name}")
    stored, made = code(read(path)), code(execute.execute(path, tmp_path))
    for before, after in zip(stored, made, strict=True):
        assert kinds(after) == kinds(before), after.source
        assert worded(printed(after)) == worded(printed(before))
        # Training differs in the last bits between processors; what is checked must not.
        if "checked" in after.metadata.get("tags", []):
            assert printed(after) == printed(before)
