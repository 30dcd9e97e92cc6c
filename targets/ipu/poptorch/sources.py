"""The text of modules that need torch, read without loading them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

COMMAND, PIECES, STANDIN = "command.py", "pieces.py", "poptorch_standin.py"


@cache
def text_of(name: str) -> str:
    """Return a file of this package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def functions(name: str) -> dict[str, str]:
    """Return the source of every function of a file of this package, in its order."""
    source = text_of(name)
    return {
        node.name: str(ast.get_source_segment(source, node))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
