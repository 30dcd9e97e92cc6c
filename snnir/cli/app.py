"""The group of commands, and what happens to errors and warnings."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Any

import click

from snnir import __version__
from snnir.cli.printing import printable
from snnir.errors import SnnirError, SnnirWarning, shown

#: Modules and the commands they define.
_COMMANDS = {
    "compile": "snnir.cli.compile_cmd",
    "run": "snnir.cli.run_cmd",
    "diff": "snnir.cli.diff_cmd",
    "encode": "snnir.cli.encode_cmd",
    "convert": "snnir.cli.convert_cmd",
    "opt": "snnir.cli.convert_cmd",
    "check": "snnir.cli.inspect_cmd",
    "explain": "snnir.cli.explain_cmd",
    "inspect": "snnir.cli.inspect_cmd",
    "list": "snnir.cli.list_cmd",
}
_SUMMARIES = {
    "check": "Say what would not fit a target, or be lost.",
    "compile": "Compile a model for a target into a folder.",
    "convert": "Convert a model between formats.",
    "diff": "Compare two models or recordings, spike by spike.",
    "encode": "Encode numbers as spikes.",
    "explain": "Say what a diagnostic code means, with an example.",
    "inspect": "Show a model or an artefact.",
    "list": "List frontends, passes, targets, neurons or semantics.",
    "opt": "Run passes on a model.",
    "run": "Run a model or an artefact on an input.",
}


class _Group(click.Group):
    """Imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        import importlib

        module = importlib.import_module(_COMMANDS[cmd_name])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in self.list_commands(ctx)])


@click.command(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="snnir")
@click.option("-q", "--quiet", is_flag=True, help="Do not print warnings.")
@click.pass_context
def group(ctx: click.Context, quiet: bool) -> None:
    """Compile spiking neural networks without silently changing a spike.

    Example: snnir compile model.nir --semantics snntorch --target numpy -o out
    """
    ctx.obj = {"quiet": quiet}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 user error or difference, 2 wrong usage, 130 interrupted.
    """
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    quiet = "-q" in (arguments or sys.argv[1:])[:1] or "--quiet" in (arguments or sys.argv[1:])[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("always", SnnirWarning)
        warnings.showwarning = _printer(quiet)
        try:
            result = group.main(arguments, prog_name="snnir", standalone_mode=False)
            return result if isinstance(result, int) else 0
        except SnnirError as failure:
            for diagnostic in failure.diagnostics:
                click.echo(printable(diagnostic.render()), err=True)
            return _debug(1)
        except click.ClickException as failure:
            failure.show()
            return failure.exit_code
        except (click.Abort, KeyboardInterrupt):
            return 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as failure:
            reason = shown(f"{type(failure).__name__}: {failure}", 300)
            hint = "set SNNIR_DEBUG=1 to see where, and report it"
            click.echo(f"error[internal]: {reason}; {hint}", err=True)
            return _debug(1)


def _printer(quiet: bool) -> Any:
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = str(message)
        if issubclass(category, SnnirWarning) and not quiet and text not in told:
            told.add(text)
            click.echo(printable(text), err=True)

    return show


def _debug(code: int) -> int:
    if os.environ.get("SNNIR_DEBUG"):
        traceback.print_exc()
    return code
