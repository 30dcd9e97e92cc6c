"""How much is said, and in which colours: --quiet, --verbose, NO_COLOR."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from snnir.errors import shown

if TYPE_CHECKING:
    _AnyChoice = click.Choice[str]
else:
    _AnyChoice = click.Choice  # generic from click 8.2 on

#: How a line begins that says something is wrong, and the style of that.
_SEVERITY = re.compile(r"(error|warning)\[\w+\]:?")
_STYLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
}


@dataclass
class Manners:
    """How much is said on stderr.

    Attributes:
        quiet: Only errors, and what was asked for by an option of its own.
        verbose: 1: what is done; 2: its particulars as well.
    """

    quiet: bool = False
    verbose: int = 0


MANNERS = Manners()


def is_coloured(stream: TextIO) -> bool:
    """Whether colours may be written: to terminals, unless NO_COLOR or TERM says otherwise."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def styled(text: str, stream: TextIO, **style: Any) -> str:
    """Return text in a style, where the stream takes colours."""
    return click.style(text, **style) if is_coloured(stream) else text


def coloured(line: str, stream: TextIO) -> str:
    """Return a line with its `error[…]` or `warning[…]` in colour, where the stream takes them."""
    found = _SEVERITY.match(line)
    if found is None:
        return line
    return styled(found[0], stream, **_STYLES[found[1]]) + line[found.end() :]


def _hear_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    MANNERS.quiet |= value


def _hear_verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    MANNERS.verbose += value


def options() -> list[click.Option]:
    """Return the options that every command has, and the group before it."""
    return [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_hear_quiet,
            help="Only errors: no warnings, remarks and progress.",
        ),
        click.Option(
            ["-v", "--verbose"], count=True, expose_value=False, callback=_hear_verbose,
            help="Say what is done; -vv: in more detail.",
        ),
    ]  # fmt: skip


def well_mannered(command: click.Command) -> click.Command:
    """Return a command with the options of all commands; it says as much as they ask for."""
    if getattr(command, "has_manners", False):
        return command
    taken = {flag for param in command.params for flag in param.opts}
    command.params += [option for option in options() if not taken & set(option.opts)]
    for param in command.params:
        if type(param.type) is click.Choice:
            param.type = _Choice(param.type.choices)
    if command.callback is not None:
        command.callback = _telling(command.callback)
    setattr(command, "has_manners", True)  # noqa: B010  (click's class does not declare it)
    return command


class _Choice(_AnyChoice):
    """A choice that says which one was meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the choice, or fail."""
        from snnir.suggest import did_you_mean

        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as failure:
            meant = did_you_mean(str(value), list(map(str, self.choices)))
            remark = f" {meant[0].upper()}{meant[1:]}" if meant else ""
            raise click.BadParameter(f"{failure.message}{remark}", ctx, param) from None


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command show its progress, and what it does."""

    @functools.wraps(function)
    def told(*positional: Any, **named: Any) -> Any:
        with ExitStack() as around:
            if not MANNERS.quiet and sys.stderr.isatty():
                import snnir

                around.enter_context(snnir.show_progress())
            if MANNERS.verbose:
                around.enter_context(_log_shown())
            return function(*positional, **named)

    return told


class _ToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        line = f"snnir: {shown(text, len(text))}"
        click.echo(styled(line, sys.stderr, dim=True), err=True)


@contextmanager
def _log_shown() -> Iterator[None]:
    logger, handler = logging.getLogger("snnir"), _ToTerminal()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO if MANNERS.verbose == 1 else logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
