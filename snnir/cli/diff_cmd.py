"""`snnir diff`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import click

import snnir
from snnir.cli.arrays import input_options, make_input
from snnir.cli.printing import emit_json, exit_with, note, printable, table
from snnir.cli.reading import load_live, load_model, model_options, users_code
from snnir.cli.run_cmd import open_model, shapes_of
from snnir.errors import error


@click.command("diff")
@click.argument("a")
@click.argument("b", required=False)
@input_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--report", metavar="FILE.html", help="Write a page on where they part.")
@click.option(
    "--against", type=click.Choice(["events"]), help="Compare A with itself in continuous time."
)
@click.option("--sweep", metavar="DT,…", help="With --against: seconds per step, one run for each.")
@click.option(
    "--tolerance", type=float, metavar="S", help="With --against: seconds between partners."
)
@click.option(
    "--duration", type=float, metavar="S", help="With --against: seconds, if only events are given."
)
@click.option(
    "--pulse",
    type=click.Choice(["kick", "held"]),
    default="kick",
    show_default=True,
    help="With --against: what a spike is in continuous time.",
)
@model_options
def diff_command(  # noqa: PLR0913, PLR0917  (one for each option)
    a: str,
    b: str | None,
    as_json: bool,
    report: str | None,
    against: str | None,
    sweep: str | None,
    tolerance: float | None,
    duration: float | None,
    pulse: str,
    reading: dict[str, Any],
    **given: Any,
) -> None:
    """Compare A and B (models, artefact folders, or recorded .npz) on one input.

    A torch model, a network of BindsNET, a JAX step function or a jaxsnn topology
    (module.py:factory) is run by its own framework. With --against events, A, a model of continuous
    neurons, is compared with itself in continuous time. Exit code 1 if any element differs, or if
    any spike is missing, extra or in another step.

    Example: snnir diff model.nir out --input x.npy
    """
    if report is not None:
        snnir.check_page(report)
    if against is not None:
        if b is not None:
            raise error("SNN701", "--against takes one model")
        options = {"tolerance": tolerance, "duration": duration, "pulse": pulse}
        _against_events(a, as_json, report, sweep, reading, given, **options)
        return
    if b is None:
        raise error("SNN701", "two models are compared", hint="give a second, or --against events")
    if (sweep, tolerance, duration, pulse) != (None, None, None, "kick"):
        message = "--sweep, --tolerance, --duration and --pulse need --against events"
        raise error("SNN701", message)
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
    with users_code():
        found = snnir.diff(one, two, x, membranes=report is not None)
    if as_json:
        emit_json(_as_json(found))
    else:
        _print(found)
    if report is not None:
        note(f"wrote {snnir.report(replace(found, sides=(a, b)), report)}")
    if not found.identical:
        exit_with(1)


def _side(text: str, reading: dict[str, Any]) -> tuple[Any, dict[str, tuple[int, ...]] | None]:
    """Return what to compare and the shapes of its inputs; a recording takes none."""
    if text.endswith(".npz"):
        return text, None
    live = load_live(text, reading)
    if live is not None:
        return live
    opened = open_model(
        text, {k: v for k, v in reading.items() if k not in ("input_shape", "layout")}
    )
    return (opened if isinstance(opened, snnir.Graph) else opened.path), shapes_of(opened)


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


# --- Against continuous time ---------------------------------------------------------------------


def _against_events(
    text: str,
    as_json: bool,
    report: str | None,
    sweep: str | None,
    reading: dict[str, Any],
    given: dict[str, Any],
    **options: Any,
) -> None:
    if report is not None and sweep is not None:
        raise error("SNN701", "--report shows one run; leave out --sweep")
    graph = load_model(text, reading)
    x = make_input(shapes_of(graph), **given)
    lengths = [None] if sweep is None else [_seconds(part) for part in sweep.split(",")]
    found = [snnir.diff(graph, x, against="events", dt=dt, **options) for dt in lengths]
    if as_json:
        runs = [{"identical": run.identical, **asdict(run)} for run in found]
        emit_json(runs if sweep is not None else runs[0])
    else:
        _print_timing(found)
    if report is not None:
        note(f"wrote {snnir.report(found[0], report)}")
    if not all(run.identical for run in found):
        exit_with(1)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise error("SNN701", f"--sweep: '{text}' is no positive number of seconds")
    return seconds


def _print_timing(runs: list[Any]) -> None:
    head = ("dt", "population", "stepped", "continuous", "matched", "same step", "missing",
            "extra", "mean error", "largest", "in steps")  # fmt: skip
    rows = [
        (run.dt, n.node, n.stepped, n.continuous, n.matched, n.same_step, n.missing, n.extra,
         _time(n.mean_error), _time(n.largest_error), n.largest_steps)
        for run in runs
        for n in run.nodes
    ]  # fmt: skip
    click.echo(table(head, rows))
    for run in runs:
        for name, largest in run.membranes.items():
            click.echo(f"dt {run.dt:g}: membranes of '{printable(name)}' differ by {largest:.4g}")
        first = run.first
        if first is None:
            click.echo(f"\ndt {run.dt:g}: every spike is in the same step")
            continue
        step = "" if first.step is None else f", step {first.step} of the discretised run"
        place = f"sample {first.sample}, neuron {list(first.neuron)}"
        click.echo(
            f"\ndt {run.dt:g}: first {first.what}: node '{printable(first.node)}', {place}, "
            f"{first.time:.9g} s{step}"
        )


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s"
