"""`snnir run` and `snnir diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.common import (
    emit_json,
    exit_with,
    input_options,
    load_model,
    make_input,
    model_options,
    note,
    table,
    write_result,
)
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


def _execute(model: Any, x: Any, record: list[str]) -> snnir.Result:
    return snnir.run(model if isinstance(model, snnir.Graph) else model.path, x, record)


@click.command("run")
@click.argument("model")
@input_options
@click.option("-o", "--output", metavar="OUT.npz", help="Write outputs and records.")
@click.option("--record", multiple=True, metavar="NODES", help="Names, comma separated, or all.")
@click.option("--plot", metavar="FILE", help="Draw records: .png, .svg or .pdf.")
@click.option("--plot-kind", type=click.Choice(["raster", "membrane"]), default="raster")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@model_options
def run_command(
    model: str,
    output: str | None,
    record: tuple[str, ...],
    plot: str | None,
    plot_kind: str,
    as_json: bool,
    reading: dict[str, Any],
    **given: Any,
) -> None:
    """Run MODEL, a file or an artefact folder, on an input.

    Example: snnir run model.nir --semantics norse --poisson 0.1 --steps 200 --plot raster.png
    """
    opened = _open(model, reading)
    names = [name for item in record for name in item.split(",") if name]
    if "all" in names or (plot and not names):
        names = _populations(opened)
    x = make_input(_shapes(opened), **given)
    result = _execute(opened, x, names)
    if output:
        write_result(result, output)
    if plot:
        dt = opened.dt if isinstance(opened, snnir.Graph) else opened.manifest["dt"]
        traces = result.recorded or result.outputs
        (snnir.raster if plot_kind == "raster" else snnir.membrane)(traces, plot, dt=dt)
    _summary(result, as_json)


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

    Exit code 1 if any element differs.

    Example: snnir diff model.nir out --input x.npy
    """
    sides = [side if side.endswith(".npz") else _open(side, reading) for side in (a, b)]
    models = [side for side in sides if not isinstance(side, str)]
    x = None
    if models:
        x = make_input(_shapes(models[0]), **given)
    elif given["given"] or given["poisson"] is not None:
        raise error("SNN701", "two recordings are compared as they are; they take no input")
    one, two = (s if isinstance(s, (str, snnir.Graph)) else s.path for s in sides)
    found = snnir.diff(one, two, x)
    if as_json:
        emit_json(_as_json(found))
    else:
        _print(found)
    if not found.identical:
        exit_with(1)


def _as_json(found: snnir.Diff) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "first": vars(found.first) if found.first else None,
        "nodes": [vars(node) for node in found.nodes],
        "only_a": found.only_a,
        "only_b": found.only_b,
    }


def _print(found: snnir.Diff) -> None:
    rows = [
        (n.node, n.spikes_a, n.spikes_b, n.differing, n.total, _step(n.first_step))
        for n in found.nodes
    ]
    click.echo(table(("node", "sum a", "sum b", "differing", "of", "first step"), rows))
    for label, names in (("a", found.only_a), ("b", found.only_b)):
        if names:
            note(f"only {label} has: {', '.join(names)}")
    first = found.first
    if first is None:
        click.echo("\nidentical")
        return
    sample, *neuron = first.index
    place = f"step {first.first_step}, sample {sample}, neuron {neuron}"
    click.echo(f"\nfirst difference: node '{first.node}', {place}: {first.values[0]:g} in a, "
               f"{first.values[1]:g} in b")  # fmt: skip


def _step(step: int | None) -> str:
    return "-" if step is None else str(step)
