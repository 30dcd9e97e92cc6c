"""`snnir run` and `snnir diff`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.arrays import input_options, make_input, write_result
from snnir.cli.printing import emit_json, exit_with, note, printable, table
from snnir.cli.reading import load_live, load_model, model_options
from snnir.errors import error


def _open(text: str, reading: dict[str, Any]) -> Any:
    """Return a graph, or the path of an artefact folder."""
    if Path(text).is_dir():
        return snnir.open_artefact(text)
    return load_model(text, reading)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    if isinstance(model, snnir.Graph):
        return {name: signal.shape for name, signal in model.inputs.items()}
    return {port["name"]: tuple(port["shape"]) for port in model.manifest["inputs"]}


def _populations(model: Any) -> list[str]:
    if isinstance(model, snnir.Graph):
        return list(snnir.populations(model))
    return list(model.manifest["populations"])


def _execute(model: Any, x: Any, record: list[str], settings: tuple[str, ...]) -> snnir.Result:
    given = model if isinstance(model, snnir.Graph) else model.path
    return snnir.run(given, x, record, settings)


@click.command("run")
@click.argument("model")
@input_options
@click.option("-o", "--output", metavar="OUT.npz", help="Write outputs and records.")
@click.option("--record", multiple=True, metavar="NODES", help="Names, comma separated, or all.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of a folder's program."
)
@click.option("--plot", metavar="FILE", help="Draw records: .png, .svg or .pdf.")
@click.option("--plot-kind", type=click.Choice(["raster", "membrane"]), default="raster")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@model_options
def run_command(
    model: str,
    output: str | None,
    record: tuple[str, ...],
    settings: tuple[str, ...],
    plot: str | None,
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
    opened = _open(model, reading)
    names = _split(record, opened)
    if "all" in names or (plot and not names):
        names = _populations(opened)
    x = make_input(_shapes(opened), **given)
    result = _execute(opened, x, names, settings)
    with ExitStack() as both:  # the recording appears only if the picture was drawn
        if output:
            write_result(result, both.enter_context(snnir.replacing(Path(output))))
        if plot:
            dt = opened.dt if isinstance(opened, snnir.Graph) else opened.manifest["dt"]
            (snnir.raster if plot_kind == "raster" else snnir.membrane)(result, plot, dt=dt)
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


@click.command("diff")
@click.argument("a")
@click.argument("b")
@input_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@model_options
def diff_command(a: str, b: str, as_json: bool, reading: dict[str, Any], **given: Any) -> None:
    """Compare A and B (models, artefact folders, or recorded .npz) on one input.

    A torch model or a JAX step function (module.py:factory) is run by its own framework. Exit
    code 1 if any element differs.

    Example: snnir diff model.nir out --input x.npy
    """
    sides, shapes = [], []
    for text in (a, b):
        side, shape = _side(text, reading)
        sides.append(side)
        shapes += [shape] if shape is not None else []
    x = None
    if shapes:
        x = make_input(shapes[0], **given)
    elif given["given"] or given["poisson"] is not None:
        raise error("SNN701", "two recordings are compared as they are; they take no input")
    one, two = sides
    found = snnir.diff(one, two, x)
    if as_json:
        emit_json(_as_json(found))
    else:
        _print(found)
    if not found.identical:
        exit_with(1)


def _side(text: str, reading: dict[str, Any]) -> tuple[Any, dict[str, tuple[int, ...]] | None]:
    """Return what to compare and the shapes of its inputs; a recording takes none."""
    if text.endswith(".npz"):
        return text, None
    live = load_live(text, reading)
    if live is not None:
        return live
    opened = _open(text, {k: v for k, v in reading.items() if k not in ("input_shape", "layout")})
    return (opened if isinstance(opened, snnir.Graph) else opened.path), _shapes(opened)


def _as_json(found: snnir.Diff) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "first": asdict(found.first) if found.first else None,
        "nodes": [asdict(node) for node in found.nodes],
        "only_a": found.only_a,
        "only_b": found.only_b,
    }


def _print(found: snnir.Diff) -> None:
    rows = [
        (n.node, n.spikes_a, n.spikes_b, n.differing, n.total, _step(n.first_step), n.largest)
        for n in found.nodes
    ]
    head = ("node", "sum a", "sum b", "differing", "of", "first step", "largest")
    click.echo(table(head, rows))
    for label, names in (("a", found.only_a), ("b", found.only_b)):
        if names:
            note(printable(f"only {label} has: {', '.join(names)}"))
    first = found.first
    if first is None:
        click.echo("\nidentical")
        return
    sample, *neuron = first.index
    place = f"step {first.first_step}, sample {sample}, neuron {neuron}"
    name, (one, two) = printable(first.node), first.values
    click.echo(f"\nfirst difference: node '{name}', {place}: {one:g} in a, {two:g} in b")
    if first.around is not None:
        around = first.around
        steps = ("step", *map(str, around.steps))
        click.echo(table(steps, [("a", *around.a), ("b", *around.b)]))


def _step(step: int | None) -> str:
    return "-" if step is None else str(step)
