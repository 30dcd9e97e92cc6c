"""`snnir run`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.arrays import input_options, make_input, write_result
from snnir.cli.printing import emit_json, note, table
from snnir.cli.reading import load_model, model_options

#: Most values of membranes that a page on a run records without being asked.
_MOST_VALUES = 1 << 22


def open_model(text: str, reading: dict[str, Any]) -> Any:
    """Return a graph, or the path of an artefact folder."""
    if Path(text).is_dir():
        return snnir.open_artefact(text)
    return load_model(text, reading)


def shapes_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs of a graph or an open artefact folder."""
    if isinstance(model, snnir.Graph):
        return {name: signal.shape for name, signal in model.inputs.items()}
    return {port["name"]: tuple(port["shape"]) for port in model.manifest["inputs"]}


def _populations(model: Any) -> list[str]:
    if isinstance(model, snnir.Graph):
        return list(snnir.populations(model))
    return list(model.manifest["populations"])


def _membranes(graph: snnir.Graph, x: Any) -> list[str]:
    """Return the membranes to record, if they are not too many to hold."""
    inputs = list(x.values()) if isinstance(x, dict) else [x]
    first = getattr(inputs[0], "shape", ()) if inputs else ()
    found = snnir.membranes(graph)
    samples = first[0] * (first[1] if len(first) > 1 else 1) if first else 0
    return list(found) if 0 < samples * sum(found.values()) <= _MOST_VALUES else []


def _execute(
    model: Any, x: Any, record: list[str], settings: tuple[str, ...], lasting: str | None
) -> snnir.Result:
    given = model if isinstance(model, snnir.Graph) else model.path
    kept = None if lasting is None else snnir.read_lasting(lasting)
    return snnir.run(given, x, record, settings, kept)


@click.command("run")
@click.argument("model")
@input_options
@click.option("-o", "--output", metavar="OUT.npz", help="Write outputs, records and what lasts.")
@click.option("--lasting", metavar="FILE.npz", help="Go on from what an earlier run wrote.")
@click.option("--record", multiple=True, metavar="NODES", help="Names, comma separated, or all.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of a folder's program."
)
@click.option("--plot", metavar="FILE", help="Draw records: .png, .svg or .pdf.")
@click.option("--report", metavar="FILE.html", help="Write a page on the run.")
@click.option("--plot-kind", type=click.Choice(["raster", "membrane"]), default="raster")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@model_options
def run_command(  # noqa: PLR0913, PLR0917  (one per option)
    model: str,
    output: str | None,
    lasting: str | None,
    record: tuple[str, ...],
    settings: tuple[str, ...],
    plot: str | None,
    report: str | None,
    plot_kind: str,
    as_json: bool,
    reading: dict[str, Any],
    **given: Any,
) -> None:
    """Run MODEL, a file or an artefact folder, on an input.

    Example: snnir run model.nir --semantics norse --poisson 0.1 --steps 200 --plot raster.png
    """
    if plot:
        snnir.check_picture(plot)
    if report:
        snnir.check_page(report)
    opened = open_model(model, reading)
    names = _split(record, opened)
    if "all" in names or ((plot or report) and not names):
        names = _populations(opened)
    x = make_input(shapes_of(opened), **given)
    if report and not record and isinstance(opened, snnir.Graph):
        opened = snnir.compile(opened, "numpy", level=0).graph
        names += _membranes(opened, x)
    result = _execute(opened, x, names, settings, lasting)
    with ExitStack() as both:  # the recording appears only if the picture was drawn
        if output:
            write_result(result, both.enter_context(snnir.replacing(Path(output))))
        if plot:
            dt = opened.dt if isinstance(opened, snnir.Graph) else opened.manifest["dt"]
            (snnir.raster if plot_kind == "raster" else snnir.membrane)(result, plot, dt=dt)
        if report:
            shown = opened if isinstance(opened, snnir.Graph) else opened.path
            note(f"wrote {snnir.report(shown, report, result=result)}")
    _summary(result, as_json)


def _split(record: tuple[str, ...], model: Any) -> list[str]:
    """Split at commas, except names that have one themselves."""
    known = model.nodes if isinstance(model, snnir.Graph) else _populations(model)
    parts = [[item] if item in known else item.split(",") for item in record]
    return [name for part in parts for name in part if name]


def _summary(result: snnir.Result, as_json: bool) -> None:
    outputs = {
        name: {"shape": list(y.shape), "sum": float(y.sum(dtype="float64"))}
        for name, y in result.outputs.items()
    }
    if as_json:
        emit_json({"populations": result.stats, "outputs": outputs})
        return
    rows = [(n, s["neurons"], s["spikes"], s["rate"]) for n, s in result.stats.items()]
    click.echo(table(("population", "neurons", "spikes", "rate"), rows))
    click.echo()
    ports = [(name, str(facts["shape"]), facts["sum"]) for name, facts in outputs.items()]
    click.echo(table(("output", "shape", "sum"), ports))
