"""Notebooks as pages: Markdown with the outputs that are stored in them; nothing is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown.

    Args:
        path: The `.ipynb` file; outputs are text and PNG pictures.
    """
    cells = json.loads(path.read_text("utf-8"))["cells"]
    parts = [_cell(cell) for cell in cells]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    shown = [_output(output) for output in cell["outputs"]]
    return "\n\n".join([_fenced("python", source), *(text for text in shown if text)])


def _output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _fenced("text", "".join(output["text"]))
    data = output.get("data", {})
    if "image/png" in data:
        png = "".join("".join(data["image/png"]).split())
        return f'<img alt="Picture made by the cell above" src="data:image/png;base64,{png}">'
    return _fenced("text", "".join(data.get("text/plain", "")))


def _fenced(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}" if text.strip() else ""
