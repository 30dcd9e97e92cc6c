"""`snnir convert` and `snnir opt`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.arrays import make_input
from snnir.cli.printing import answer, note, printable, table
from snnir.cli.reading import load_model, model_options, pairs
from snnir.errors import error, shown
from snnir.registry import lookup

#: What `--to` writes: files by suffix, and folders with a torch module.
FILES = ("nir", "snnir", "snn", "mlir", "mlirbc")
#: Those that keep everything, as `.snnir` does.
LOSSLESS = ("snn", "mlir", "mlirbc")
#: Frameworks of torch, whose nearest layer may be taken where none is equal.
TORCH = ("snntorch", "sinabs", "spikingjelly", "norse")
FOLDERS = (*TORCH, "jaxsnn")


@click.command("convert")
@click.argument("model")
@click.option(
    "--to", "form", type=click.Choice([*FILES, *FOLDERS]), help="By default what -o is named."
)
@click.option("-o", "--output", required=True, metavar="PATH", help="File, or folder, to write.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Target option.")
@click.option("--lasting", metavar="OUT.npz", help="Start it from what lasts of a run.")
@click.option("--loss-report", metavar="FILE.json", help="Write what becomes of every node.")
@click.option("--allow-lossy", is_flag=True, help="Accept losses.")
@model_options
def convert_command(
    model: str,
    form: str | None,
    output: str,
    settings: tuple[str, ...],
    lasting: str | None,
    loss_report: str | None,
    allow_lossy: bool,
    reading: dict[str, Any],
) -> None:
    """Convert MODEL to a file, or to a framework's model in a folder.

    NIR files carry the semantics in their metadata; models are Python files with safetensors
    weights that run without snnir. With --lasting, weights that were learned take the place of the
    first ones.

    Example: snnir convert model.nir --semantics snntorch --to sinabs -o digits_sinabs
    """
    form = form or Path(output).suffix.removeprefix(".")
    if form not in (*FILES, *FOLDERS):
        raise error("SNN701", f"--to is needed to know what '{output}' shall be")
    if form in FILES and Path(output).suffix != f".{form}":
        hint = f"name it {Path(output).with_suffix('.' + form)}"
        raise error("SNN701", f"--to {form} writes .{form}, got '{output}'", hint=hint)
    graph = load_model(model, reading)
    if lasting is not None:
        graph = snnir.with_lasting(graph, snnir.read_lasting(lasting))
    options: dict[str, Any] = dict(pairs(settings, "--set"))
    if form in TORCH:
        options["allow_lossy"] = allow_lossy
    elif options and form not in FOLDERS:
        raise error("SNN503", f"--to {form} has no options", hint="leave out --set")
    found = snnir.losses(graph, "snnir" if form in LOSSLESS else form, **options)
    if loss_report:
        with snnir.replacing(Path(loss_report)) as file:
            file.write((json.dumps(found.to_json(), indent=2) + "\n").encode())
    if form in FOLDERS:
        snnir.compile(graph, form, level=0, **options).save(output)
    else:
        snnir.save(graph, output)
    _tell(found)
    click.echo(output)


def _tell(found: snnir.LossReport) -> None:
    """Say in a line how much of the model was kept."""
    counts = Counter(entry.level for entry in found.nodes)
    note(", ".join(f"{number} {level}" for level, number in counts.items()))
    for entry in found.losses:
        share = (
            "" if entry.amount is None else f" ({entry.amount:.2%} of its spikes differ on noise)"
        )
        note(printable(f"loss: node '{shown(entry.node)}': {entry.what}{share}"))


@click.command("opt")
@click.argument("model")
@click.option("--passes", required=True, metavar="PIPELINE", help="name{option=value},name,…")
@click.option("-o", "--output", default="-", metavar="OUT", help="File; - for text, the default.")
@click.option("--calibrate", metavar="X.npz", help="Inputs for passes that calibrate.")
@click.option("--bisect", is_flag=True, help="Find the first pass that changes spikes or fails.")
@click.option("--input", "given", metavar="X.npz", help="With --bisect: inputs; default random.")
@click.option("--print-before", multiple=True, metavar="PASS", help="Print the graph; all for all.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph; all for all.")
@click.option("--timing", is_flag=True, help="Print what each pass took and changed.")
@click.option(
    "--changes", is_flag=True, help="Print the nodes each pass changed, before and after."
)
@click.option("--verify-each/--no-verify-each", default=True, show_default=True)
@model_options
def opt_command(  # noqa: PLR0913, PLR0917  (one per option)
    model: str,
    passes: str,
    output: str,
    calibrate: str | None,
    bisect: bool,
    given: str | None,
    print_before: tuple[str, ...],
    print_after: tuple[str, ...],
    timing: bool,
    changes: bool,
    verify_each: bool,
    reading: dict[str, Any],
) -> None:
    """Run passes on MODEL.

    Example: snnir opt model.nir --semantics exact --passes discretize,dead-code -o -
    """
    for name in {*print_before, *print_after} - {"all"}:
        lookup("passes", name, "SNN401")
    graph = load_model(model, reading)
    if calibrate is not None:
        passes = snnir.with_calibration(passes, calibrate)
    if bisect:
        _bisect(graph, passes, given)
        return
    manager = snnir.Manager(
        verify_each, (_hook("before", print_before),), (_hook("after", print_after),)
    )
    result = snnir.run_pipeline(graph, passes, manager)
    if timing:
        rows = [
            (r.spec, r.fidelity, r.seconds * 1e3, r.before, r.after, r.changed)
            for r in result.records
        ]
        answer(table(("pass", "fidelity", "ms", "before", "after", "changed"), rows))
    if changes:
        for record in result.records:
            answer("\n".join(_changes(record)))
    if output == "-":
        click.echo(str(result.graph), nl=False)
        return
    snnir.save(result.graph, output)
    click.echo(output)


def _changes(record: snnir.PassRecord) -> Iterator[str]:
    """Yield what a pass changed: what went with a minus, what came with a plus."""
    nodes = sum(1 for change in record.changes if change.node is not None)
    more = f"; the first {nodes} are shown" if nodes < record.changed else ""
    yield printable(f"{record.spec}: {record.changed} nodes changed{more}")
    for change in record.changes:
        old, new = ((side or "").splitlines() for side in (change.before, change.after))
        yield from (printable(f"  - {line}") for line in old if line not in new)
        yield from (printable(f"  + {line}") for line in new if line not in old)


def _bisect(graph: snnir.Graph, passes: str, given: str | None) -> None:
    shapes = {name: signal.shape for name, signal in graph.inputs.items()}
    x = make_input(shapes, given, None if given else 0.2, steps=50, batch=2, seed=0)
    inputs = x if isinstance(x, dict) else dict.fromkeys(shapes, x)
    found = snnir.bisect(graph, passes, inputs)
    if found is None:
        click.echo("no pass changes a spike")
        return
    click.echo(printable(f"pass {found.number}, '{found.spec}': {found.what}"))
    raise SystemExit(1)


def _hook(when: str, wanted: tuple[str, ...]) -> Any:
    def hook(spec: str, graph: snnir.Graph) -> None:
        if "all" in wanted or spec.split("{", maxsplit=1)[0] in wanted:
            answer(f"// {when} {spec}\n{graph}")

    return hook
