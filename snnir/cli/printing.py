"""What commands print: tables, JSON, lines for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from snnir.cli.manners import MANNERS
from snnir.errors import shown


def printable(text: str) -> str:
    """Return text on one line, without anything a terminal would obey."""
    return shown(text, len(text))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a plain-text table; numbers are right-aligned, nothing is cut."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *texts]) for i in range(len(head))]
    numeric = [
        all(isinstance(row[i], (int, float)) for row in rows) and bool(rows)
        for i in range(len(head))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(head)), *map(line, texts)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        # Counts of spikes come as floats; all their digits matter.
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.4g}"
    return printable(str(value))


def to_json(value: Any) -> str:
    """Return strict JSON; infinity and NaN, which JSON lacks, become text."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def emit_json(value: Any) -> None:
    """Print JSON on stdout."""
    click.echo(to_json(value))


def note(text: str) -> None:
    """Print a remark for people, unless they want quiet."""
    if not MANNERS.quiet:
        answer(text)


def answer(text: str) -> None:
    """Print for people what they asked for by an option of its own."""
    click.echo(text, err=True)


def exit_with(code: int) -> None:
    """End the command with an exit code."""
    sys.stdout.flush()
    raise click.exceptions.Exit(code)
