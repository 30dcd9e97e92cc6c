"""`snnir list`."""

from __future__ import annotations

import inspect
import textwrap
import typing
from dataclasses import fields
from typing import Any

import click

import snnir
from snnir.cli.printing import emit_json, printable, table
from snnir.errors import error
from snnir.registry import load_plugin, lookup, names


@click.command("list")
@click.argument(
    "what", type=click.Choice(["frontends", "layers", "passes", "targets", "neurons", "semantics"])
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--matrix", is_flag=True, help="With neurons: what every target keeps of every op.")
@click.option("-v", "--verbose", is_flag=True, help="With passes: what each does and takes.")
@click.option("--plugin", multiple=True, help="File or module that adds passes …")
def list_command(
    what: str, as_json: bool, matrix: bool, verbose: bool, plugin: tuple[str, ...]
) -> None:
    """List what there is.

    Example: snnir list passes
    """
    for item in plugin:
        load_plugin(item)
    if matrix and what != "neurons":
        raise error("SNN701", f"--matrix goes with neurons, not with {what}")
    if verbose and what == "passes" and not as_json:
        click.echo("\n\n".join(_described(name) for name in names("passes")))
        return
    rows = snnir.support_matrix() if matrix else _LISTS[what]()
    if as_json:
        emit_json(rows)
        return
    head = list(rows[0]) if rows else []
    click.echo(table(head, [[_text(row[key]) for key in head] for row in rows]))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)


def _first_line(item: Any) -> str:
    return (item.__doc__ or "").strip().splitlines()[0] if item.__doc__ else ""


def _options(cls: Any) -> dict[str, Any]:
    return {item.name.replace("_", "-"): item.default for item in fields(cls)}


def _passes() -> list[dict[str, Any]]:
    found = [(name, lookup("passes", name, "SNN401")) for name in names("passes")]
    return [
        {"name": n, "fidelity": c.fidelity, "options": _options(c), "does": _first_line(c)}
        for n, c in found
    ]


def _described(name: str) -> str:
    """Return all that a pass says of itself, and its options with their types."""
    cls = lookup("passes", name, "SNN401")
    kinds = typing.get_type_hints(cls)
    lines = [
        f"{name}: {cls.fidelity}",
        *textwrap.indent(inspect.getdoc(cls) or "", "    ").splitlines(),
    ]
    for item in fields(cls):
        kind = getattr(kinds[item.name], "__name__", str(kinds[item.name]))
        lines.append(f"    {item.name.replace('_', '-')}: {kind} = {item.default}")
    return "\n".join(map(printable, lines))


def _targets() -> list[dict[str, Any]]:
    found = [(name, lookup("targets", name, "SNN503")) for name in names("targets")]
    return [{"name": n, "options": _options(c), "does": c.summary} for n, c in found]


def _frontends() -> list[dict[str, Any]]:
    return [{"name": name, "does": _frontend(name)} for name in names("frontends")]


def _frontend(name: str) -> str:
    try:
        return _first_line(lookup("frontends", name, "SNN101"))
    except ImportError as missing:
        return f"not usable here: {missing}"


def _layers() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = snnir.framework_neurons()
    return rows


def _neurons() -> list[dict[str, Any]]:
    return [
        {
            "name": model.name,
            "does": model.doc,
            "parameters": dict(model.params),
            "equations": model.equations() if model.flow is None else ["given by its flow program"],
        }
        for model in snnir.all_models().values()
    ]


def _semantics() -> list[dict[str, Any]]:
    return [
        {
            "name": preset.name,
            "dt": preset.dt,
            "stepping": preset.stepping.attributes(),
            "graph": {
                key: getattr(preset, key)
                for key in ("recurrent_bias", "weights", "record_offset")
                if getattr(preset, key) not in ("always", "float", 0)
            },
            "source": preset.source,
        }
        for preset in snnir.PRESETS.values()
    ]


_LISTS = {
    "frontends": _frontends,
    "layers": _layers,
    "neurons": _neurons,
    "passes": _passes,
    "semantics": _semantics,
    "targets": _targets,
}
