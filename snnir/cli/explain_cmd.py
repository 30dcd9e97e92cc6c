"""`snnir explain`."""

from __future__ import annotations

import click

import snnir
from snnir.cli.printing import table
from snnir.errors import CODES


@click.command("explain")
@click.argument("code", required=False)
def explain_command(code: str | None) -> None:
    """Say what a diagnostic CODE means, with an example; without CODE, list all of them.

    Example: snnir explain SNN204
    """
    if code is None:
        click.echo(table(["code", "rule"], [[name, rule] for name, rule in CODES.items()]))
    else:
        click.echo(snnir.explain(code))
