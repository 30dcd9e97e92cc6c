"""The group of commands, and what happens to errors and warnings."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Any

import click

from snnir import __version__
from snnir.cli.manners import MANNERS, coloured, options, well_mannered
from snnir.cli.printing import printable
from snnir.errors import SnnirError, SnnirWarning, shown
from snnir.suggest import did_you_mean

#: Modules and the commands they define.
_COMMANDS = {
    "compile": "snnir.cli.compile_cmd",
    "completion": "snnir.cli.completion_cmd",
    "doctor": "snnir.cli.doctor_cmd",
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
    "completion": "Print what makes a shell complete snnir's words.",
    "doctor": "Say what is installed here, what it enables, and how to get the rest.",
    "convert": "Convert a model between formats.",
    "diff": "Compare two models or recordings, spike by spike.",
    "encode": "Encode numbers as spikes.",
    "explain": "Say what a diagnostic code means, with an example.",
    "inspect": "Show a model or an artefact.",
    "list": "List frontends, passes, targets, neurons or semantics.",
    "opt": "Run passes on a model.",
    "run": "Run a model or an artefact on an input.",
}


#: Set by the scripts that `snnir completion` prints.
COMPLETING = "_SNNIR_COMPLETE"


class _Group(click.Group):
    """Imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        import importlib

        module = importlib.import_module(_COMMANDS[cmd_name])
        command = well_mannered(getattr(module, f"{cmd_name}_command"))
        if COMPLETING in os.environ:
            from snnir.cli.completing import attach

            attach(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            meant = did_you_mean(name, self.list_commands(ctx))
            remark = f" {meant[0].upper()}{meant[1:]}" if meant else ""
            ctx.fail(f"No such command '{shown(name)}'.{remark}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in self.list_commands(ctx)])


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from snnir.doctor import versions

    click.echo("\n".join([f"snnir, version {__version__}", *versions()]))
    ctx.exit()


@click.command(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, params=[*options()]
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the versions of snnir and of what it found.",
)  # fmt: skip
def group() -> None:
    """Compile spiking neural networks without silently changing a spike.

    Example: snnir compile model.nir --semantics snntorch --target numpy -o out
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 user error or difference, 2 wrong usage, 130 interrupted.
    """
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    MANNERS.quiet, MANNERS.verbose = False, 0
    if COMPLETING in os.environ:
        from snnir.cli.completion_cmd import add_shells

        add_shells()
    with warnings.catch_warnings():
        warnings.simplefilter("always", SnnirWarning)
        warnings.showwarning = _printer()
        try:
            result = group.main(arguments, prog_name="snnir", standalone_mode=False)
            return result if isinstance(result, int) else 0
        except SnnirError as failure:
            for diagnostic in failure.diagnostics:
                click.echo(coloured(printable(diagnostic.render()), sys.stderr), err=True)
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
            click.echo(coloured(f"error[internal]: {reason}; {hint}", sys.stderr), err=True)
            return _debug(1)


def _printer() -> Any:
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = str(message)
        if issubclass(category, SnnirWarning) and not MANNERS.quiet and text not in told:
            told.add(text)
            click.echo(coloured(printable(text), sys.stderr), err=True)

    return show


def _debug(code: int) -> int:
    if os.environ.get("SNNIR_DEBUG"):
        traceback.print_exc()
    return code
