"""`snnir convert` and `snnir opt`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.printing import note, table
from snnir.cli.reading import load_model, model_options
from snnir.errors import error
from snnir.registry import lookup


@click.command("convert")
@click.argument("model")
@click.option("--to", "form", type=click.Choice(["nir", "snnir", "snn"]), required=True)
@click.option("-o", "--output", required=True, metavar="PATH", help="File to write.")
@click.option("--loss-report", metavar="FILE.json", help="Write what was lost or assumed.")
@click.option("--allow-lossy", is_flag=True, help="Accept losses.")
@model_options
def convert_command(
    model: str,
    form: str,
    output: str,
    loss_report: str | None,
    allow_lossy: bool,
    reading: dict[str, Any],
) -> None:
    """Convert MODEL; NIR files carry the semantics in their metadata.

    Example: snnir convert model.nir --semantics snntorch --to snnir -o model.snnir
    """
    if Path(output).suffix != f".{form}":
        hint = f"name it {Path(output).with_suffix('.' + form)}"
        raise error("SNN701", f"--to {form} writes .{form}, got '{output}'", hint=hint)
    graph = load_model(model, reading)
    with contextlib.ExitStack() as both:  # the report appears only if the model was written
        if loss_report:
            facts = {"losses": [], "assumptions": list(graph.provenance.notes)}
            file = both.enter_context(snnir.replacing(Path(loss_report)))
            file.write((json.dumps(facts, indent=2) + "\n").encode())
        snnir.save(graph, output)
    click.echo(output)


@click.command("opt")
@click.argument("model")
@click.option("--passes", required=True, metavar="PIPELINE", help="name{option=value},name,…")
@click.option("-o", "--output", required=True, metavar="OUT", help="File, or - for text.")
@click.option("--print-before", multiple=True, metavar="PASS", help="Print the graph; all for all.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph; all for all.")
@click.option("--timing", is_flag=True, help="Print what each pass took and changed.")
@click.option("--verify-each/--no-verify-each", default=True, show_default=True)
@model_options
def opt_command(
    model: str,
    passes: str,
    output: str,
    print_before: tuple[str, ...],
    print_after: tuple[str, ...],
    timing: bool,
    verify_each: bool,
    reading: dict[str, Any],
) -> None:
    """Run passes on MODEL.

    Example: snnir opt model.nir --semantics exact --passes discretize,dead-code -o -
    """
    for name in {*print_before, *print_after} - {"all"}:
        lookup("passes", name, "SNN401")
    graph = load_model(model, reading)
    manager = snnir.Manager(
        verify_each, (_hook("before", print_before),), (_hook("after", print_after),)
    )
    result = snnir.run_pipeline(graph, passes, manager)
    if timing:
        rows = [
            (r.spec, r.fidelity, r.seconds * 1e3, r.before, r.after, r.changed)
            for r in result.records
        ]
        note(table(("pass", "fidelity", "ms", "before", "after", "changed"), rows))
    if output == "-":
        click.echo(str(result.graph), nl=False)
        return
    snnir.save(result.graph, output)
    click.echo(output)


def _hook(when: str, wanted: tuple[str, ...]) -> Any:
    def hook(spec: str, graph: snnir.Graph) -> None:
        if "all" in wanted or spec.split("{", maxsplit=1)[0] in wanted:
            note(f"// {when} {spec}\n{graph}")

    return hook
