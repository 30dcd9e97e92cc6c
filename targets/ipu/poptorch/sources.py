"""The text of modules that need torch, read without loading them."""

from __future__ import annotations

import ast
from collections.abc import Collection
from functools import cache
from pathlib import Path

PIECES = "pieces.py"
STANDIN = "poptorch_standin.py"


@cache
def text_of(name: str) -> str:
    """Return a file of this package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def _functions() -> dict[str, str]:
    source = text_of(PIECES)
    return {
        node.name: str(ast.get_source_segment(source, node))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }


def pieces(used: Collection[str]) -> list[str]:
    """Return the source of functions of `pieces`, in its order."""
    return [source for name, source in _functions().items() if name in used]


def piece_names() -> list[str]:
    """Return the names of all of them."""
    return list(_functions())
