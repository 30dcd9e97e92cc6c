"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import re

import click

from snnir.cli.app import group

_HEAD = """\
# The command line

Made from the commands themselves; `snnir COMMAND --help` prints the same. A command ends with 0
when done, 1 for an error of the user or a difference, 2 for wrong usage, 130 when interrupted.

"""


def cli_page() -> str:
    """Return the page with every command, its arguments and its options."""
    context = click.Context(group, info_name="snnir")
    parts = [_HEAD, _options(group, context)]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        inner = click.Context(command, info_name=name, parent=context)
        parts += [f"## `snnir {name}`\n\n", _help(command), _usage(command, inner)]
        parts.append(_options(command, inner))
    return "".join(parts)


def _help(command: click.Command) -> str:
    """Return a command's description; paragraphs after `Example:` are shown as commands."""
    paragraphs = (command.help or "").replace("\b\n", "").split("\n\n")
    return "".join(f"{_paragraph(text.strip())}\n\n" for text in paragraphs if text.strip())


def _paragraph(text: str) -> str:
    if text.startswith("Example"):
        lines = [line.strip() for line in text.partition(":")[2].strip().splitlines()]
        return "```text\n" + "\n".join(lines) + "\n```"
    return _escaped(re.sub(r"\s*\n\s*", " ", text))


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"```text\n{context.command_path} {pieces}\n```\n\n"


def _options(command: click.Command, context: click.Context) -> str:
    """Return the table of a command's options."""
    rows = ["| option | |", "| --- | --- |"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            rows.append(f"| `{_cell(record[0])}` | {_escaped(_cell(record[1]))} |")
    return "\n".join(rows) + "\n\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Keep words in angle brackets and stars outside of code from being taken for markup."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"(?<!\\)([<>*_])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
