"""`snnir inspect` and `snnir check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.arrays import input_options, make_input
from snnir.cli.manners import coloured
from snnir.cli.printing import emit_json, exit_with, note, printable, table, to_json
from snnir.cli.reading import load_model, model_options, target_options
from snnir.errors import error, shown

FORMATS = ("table", "text", "json", "dot", "equations", "schedule", "mlir", "irdl", "html")


@click.command("inspect")
@click.argument("model")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--weights-as", type=click.Choice(["inline", "resource", "key"]), default="inline",
    show_default=True, help="Where --format mlir prints larger weights.",
)  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Where --format html goes.")
@input_options
@model_options
def inspect_command(  # noqa: PLR0913, PLR0917  (one per option)
    model: str,
    form: str,
    weights_as: str,
    output: str | None,
    given: str | None,
    poisson: float | None,
    steps: int,
    batch: int,
    seed: int,
    reading: dict[str, Any],
) -> None:
    """Show MODEL, a file or an artefact folder; with an input, also what it does on that.

    `html` is a page to look at, written to -o or to stdout. `mlir` is the `snn` dialect, `irdl` the
    definition of it that mlir-opt takes as --irdl-file.

    Example: snnir inspect model.nir --semantics norse --poisson 0.1 --steps 100
    """
    if output is not None and form != "html":
        raise error("SNN701", f"-o goes with --format html, not with {form}")
    if output is not None:
        snnir.check_page(output)
    if Path(model).is_dir():
        _folder(model, form, output, given is not None or poisson is not None)
        return
    graph = load_model(model, reading)
    found = None
    if given is not None or poisson is not None:
        if form not in ("table", "html"):
            raise error("SNN701", f"an input goes with --format table or html, not with {form}")
        shapes = {name: signal.shape for name, signal in graph.inputs.items()}
        x = make_input(shapes, given, poisson, steps, batch, seed)
        found = snnir.activity(graph, x)
    if form == "html":
        _html(graph, output, found)
        return
    if form == "mlir":
        click.echo(snnir.to_mlir(graph, weights_as), nl=False)
    else:
        click.echo(_PRINTERS[form](graph), nl=False)
    if found is not None:
        click.echo(_activity(found), nl=False)


def _folder(folder: str, form: str, output: str | None, has_input: bool) -> None:
    """Show an artefact folder: its manifest, or its own page."""
    if has_input:
        hint = f"snnir run {printable(folder)} --report FILE.html shows a run of it"
        raise error("SNN701", "an artefact folder takes no input here", hint=hint)
    if form == "html":
        _html(folder, output)
    else:
        emit_json(snnir.open_artefact(folder).manifest)


def _html(what: snnir.Graph | str, output: str | None, found: snnir.Activity | None = None) -> None:
    if output is None:
        click.echo(snnir.report_page(what, activity=found), nl=False)
        return
    note(f"wrote {snnir.report(what, output, activity=found)}")


def _table(graph: snnir.Graph) -> str:
    semantics = snnir.semantics_of(graph)
    rows = []
    for name in graph.order:
        node = graph.nodes[name]
        count = sum(t.size for t in node.op.tensors().values())
        rules = semantics.get(name, {})
        given = rules.get("step") or rules.get("stepping") or {}
        how = ", ".join(f"{key}={value}" for key, value in given.items())
        label = f"{node.op.name} {rules.get('model') or ''}".strip()
        sources = ", ".join(value.node for value in node.operands)
        rows.append((name, label, str(graph.signal(name)), count, sources, how))
    head = [
        f"name     {shown(graph.name)}",
        f"source   {shown(graph.provenance.source) or '-'}",
        f"dt       {graph.dt} s",
        f"inputs   {', '.join(f'{n}: {s}' for n, s in graph.inputs.items())}",
        f"outputs  {', '.join(f'{n}: {v.node}' for n, v in graph.outputs.items())}",
    ]
    kept = [f"{name} {list(s.shape)}" for name, s in snnir.lasting_states(graph).items()]
    if kept:
        head.append(f"lasts    {', '.join(kept)}")
    if graph.record_offset:
        head.append(f"records  {graph.record_offset} step(s) late")
    head += [f"note     {text}" for text in graph.provenance.notes]
    columns = ("node", "op", "type", "parameters", "reads", "stepping")
    return "\n".join([*map(printable, head), "", table(columns, rows)]) + "\n"


def _activity(found: snnir.Activity) -> str:
    """Print what a network did on an input."""
    spikes = [(p.node, p.neurons, p.spikes, p.rate) for p in found.populations]
    work = [(s.node, s.connections, s.operations, s.products) for s in found.synapses]
    energy = [
        (name, *("-" if joules is None else f"{joules * 1e9:.4g} nJ" for joules in both))
        for name, both in found.energy().items()
    ]
    pace = "" if found.per_second is None else f", {found.per_second:.4g} per second"
    parts = [
        f"per sample, {found.steps} steps: {found.operations:.6g} synaptic operations{pace}",
        table(("population", "neurons", "spikes", "rate"), spikes),
        table(("synapse", "connections", "operations", "dense products"), work),
        table(("energy", "events", "dense"), energy),
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def _json(graph: snnir.Graph) -> str:
    semantics = snnir.semantics_of(graph)
    nodes = [
        {
            "name": name,
            "op": graph.nodes[name].op.name,
            "operands": [list(value) for value in graph.nodes[name].operands],
            "type": str(graph.signal(name)),
            "shape": list(graph.signal(name).shape),
            "parameters": {
                key: _statistics(value) for key, value in graph.nodes[name].op.tensors().items()
            },
            "semantics": semantics.get(name),
            "metadata": dict(graph.nodes[name].metadata),
        }
        for name in graph.order
    ]
    facts = {
        "name": graph.name,
        "dt": graph.dt,
        "record_offset": graph.record_offset,
        "inputs": {name: str(signal) for name, signal in graph.inputs.items()},
        "outputs": {name: list(value) for name, value in graph.outputs.items()},
        "lasting": {name: asdict(state) for name, state in snnir.lasting_states(graph).items()},
        "source": graph.provenance.source,
        "notes": list(graph.provenance.notes),
        "meaning": snnir.meaning_of(graph),
        "nodes": nodes,
        "edges": [
            [v.node, v.result, name] for name in graph.order for v in graph.nodes[name].operands
        ],
    }
    return to_json(facts) + "\n"


def _statistics(value: snnir.Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {"shape": list(value.shape), "dtype": value.dtype}
    if value.is_resolved and value.size:
        data = value.numpy()
        facts |= {"min": float(data.min()), "max": float(data.max())}
    return facts


def _dot(graph: snnir.Graph) -> str:
    number = {name: index for index, name in enumerate(graph.nodes)}
    lines = ["digraph snnir {", "  rankdir=LR; node [shape=box, fontname=monospace];"]
    for name, index in number.items():
        label = f"{shown(name)}\n{graph.nodes[name].op.name}\n{graph.signal(name)}"
        lines.append(f"  n{index} [label={json.dumps(label, ensure_ascii=False)}];")
    for name, index in number.items():
        node = graph.nodes[name]
        late = node.op.late_operands(len(node.operands))
        for at, value in enumerate(node.operands):
            style = " [style=dashed]" if at in late else ""
            lines.append(f"  n{number[value.node]} -> n{index}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _equations(graph: snnir.Graph) -> str:
    parts = []
    for name, rules in snnir.semantics_of(graph).items():
        model = snnir.MODELS.get(rules.get("model") or "")
        lines = model.equations() if model else ["(no continuous model is named)"]
        parts.append(
            "\n".join([f"{shown(name)}: {rules.get('model')}", *(f"  {x}" for x in lines)])
        )
    return "\n\n".join(parts) + "\n"


def _irdl(graph: snnir.Graph) -> str:
    from snnir.mlir.irdl import dialect_text

    return dialect_text(graph)


_PRINTERS: dict[str, Callable[[snnir.Graph], str]] = {
    "table": _table,
    "text": str,
    "json": _json,
    "dot": _dot,
    "equations": _equations,
    "irdl": _irdl,
    "schedule": lambda graph: f"{snnir.schedule(graph)}\n",
}


@click.command("check")
@click.argument("model")
@click.option("--target", default="numpy", show_default=True, help="See `snnir list targets`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Target option.")
@click.option("--json", "as_json", is_flag=True, help="Print diagnostics as JSON.")
@model_options
def check_command(
    model: str, target: str, settings: tuple[str, ...], as_json: bool, reading: dict[str, Any]
) -> None:
    """Say everything that keeps MODEL from being read or compiled; exit code 1 if anything.

    Example: snnir check model.nir --target speck --set chip=speck2f --json
    """
    try:
        options = target_options(settings, target)
        found = snnir.check(load_model(model, reading), target, **options)
    except snnir.SnnirError as failure:
        found = list(failure.diagnostics)
    if as_json:
        emit_json([diagnostic.to_json() for diagnostic in found])
    else:
        for diagnostic in found:
            click.echo(coloured(printable(diagnostic.render()), sys.stdout))
    if found:
        exit_with(1)
    if not as_json:
        click.echo("nothing found")
