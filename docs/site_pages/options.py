"""Tables of the options of passes and targets, from their fields and docstrings."""

from __future__ import annotations

import inspect
import re
import typing
from dataclasses import fields
from typing import Any

from snnir.pipeline import print_option

_SECTION = re.compile(r"\n\n(?:Attributes|Options):\n")


def summary(cls: Any) -> str:
    """Return a docstring up to its list of options."""
    return _SECTION.split(inspect.getdoc(cls) or "")[0].strip()


def option_table(cls: Any) -> str:
    """Return a table of name, type, default and description; nothing if there are no options."""
    if not fields(cls):
        return ""
    docs = [inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__]  # a base may say them
    parts = (_SECTION.split(text, maxsplit=1) for text in docs)
    said = described(next((part[1] for part in parts if len(part) > 1), ""))
    kinds = typing.get_type_hints(cls)
    rows = ["| option | type | default | |", "| --- | --- | --- | --- |"]
    for item in fields(cls):
        kind = getattr(kinds[item.name], "__name__", str(kinds[item.name])).replace("|", "or")
        option, default = item.name.replace("_", "-"), print_option(item.default)
        rows.append(f"| `{option}` | {kind} | `{default}` | {said.get(item.name, '')} |")
    return "\n".join(rows) + "\n"


def described(text: str) -> dict[str, str]:
    """Return the descriptions of a docstring's section by name."""
    found: dict[str, str] = {}
    last: list[str] = []
    words = ""
    for line in text.splitlines():
        match = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if match:
            last, words = match[1].split(", "), match[2]
        elif not line.startswith("    ") and line.strip():
            break
        elif line.strip():
            words += f" {line.strip()}"
        found |= dict.fromkeys(last, words)
    return found
