"""Notebooks as pages of the site: what is stored in them is shown, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT

sys.path.append(str(ROOT / "docs"))

from site_pages.notebooks import notebook_page


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source.splitlines(True), "outputs": list(outputs)}


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text.splitlines(True)}


def display(**data: Any) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {k.replace("_", "/"): v for k, v in data.items()},
    }


def test_cells_become_blocks(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Text [there](../a.md)."]},
        code("a = 1\nprint(a)", stream("1\n")),
        code("draw()", display(text_plain="<Figure>", image_png="aGk=\nYW4=\n")),
        code("a", display(text_plain="'```'")),
        code("quiet()"),
        code("   "),
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}), "utf-8")
    assert notebook_page(path) == (
        "# Title\n\nText [there](../a.md).\n\n"
        "```python\na = 1\nprint(a)\n```\n\n```text\n1\n```\n\n"
        "```python\ndraw()\n```\n\n"
        '<img alt="Picture made by the cell above" src="data:image/png;base64,aGk=YW4=">\n\n'
        "```python\na\n```\n\n````text\n'```'\n````\n\n"
        "```python\nquiet()\n```\n"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")))
def test_every_output_of_the_examples_is_shown(path: Path) -> None:
    page = notebook_page(path)
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            for line in output.get("text", []):
                assert line.rstrip("\n") in page
    assert page.count("data:image/png;base64,") == path.read_text("utf-8").count('"image/png"')
