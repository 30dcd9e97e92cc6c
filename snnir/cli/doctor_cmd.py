"""`snnir doctor`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from snnir.cli.manners import is_coloured
from snnir.cli.printing import emit_json, printable, table

if TYPE_CHECKING:
    from snnir.doctor import Finding

_HEAD = ("name", "state", "version", "what it is for, or how to get it")
_STYLES = {"found": "green", "other version": "yellow", "broken": "bold red", "missing": "dim"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--imports", is_flag=True, help="Try to import every package (takes a minute).")
def doctor_command(as_json: bool, imports: bool) -> None:
    """Say what is installed here, what it enables, and how to get the rest.

    Packages that are broken are rows like others; the exit code is 0.

    Example: snnir doctor --json
    """
    from snnir import doctor

    findings = doctor.survey(imports)
    summary = doctor.missing_tasks(findings)
    if as_json:
        emit_json({"findings": [asdict(item) for item in findings], "summary": summary})
        return
    if sys.stdout.isatty():
        _draw(findings)
    else:
        click.echo(table(_HEAD, [_row(item) for item in findings]))
    click.echo(f"\n{printable(summary)}")


def _row(item: Finding) -> tuple[str, str, str, str]:
    get = f"get: {item.get}" if item.state in ("missing", "broken") and item.get else ""
    told = "; ".join(part for part in (item.remark, item.enables, get) if part)
    return item.name, item.state, item.version, told


def _draw(findings: list[Finding]) -> None:
    """Print a table that fits the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in _HEAD:
        drawn.add_column(name, overflow="fold")
    group = ""
    for item in findings:
        if item.group != group:
            group = item.group
            drawn.add_row(Text(f"\n{group}" if drawn.row_count else group, style="bold cyan"))
        row = [Text(printable(cell)) for cell in _row(item)]
        row[0].pad_left(2)
        row[1].stylize(_STYLES[item.state])
        drawn.add_row(*row)
    Console(file=sys.stdout, no_color=not is_coloured(sys.stdout)).print(drawn)
