"""`snnir compile`."""

from __future__ import annotations

from typing import Any

import click

import snnir
from snnir.cli.printing import answer, note, printable
from snnir.cli.reading import load_model, model_options, target_options
from snnir.errors import error


@click.command("compile")
@click.argument("model")
@click.option("--target", default="numpy", show_default=True, help="See `snnir list targets`.")
@click.option("-o", "--output", metavar="DIR", help="Folder to write; default build/MODEL-TARGET.")
@click.option("-O", "level", type=click.IntRange(0, 2), default=1, show_default=True)
@click.option("--passes", help="Pipeline to run instead of the level's.")
@click.option("--calibrate", metavar="X.npz", help="Inputs for passes that calibrate.")
@click.option("--activity", metavar="X.npz", help="Inputs on which the report counts spikes.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Target option.")
@click.option("--allow-lossy", is_flag=True, help="Accept passes that change spikes.")
@click.option("--verify", is_flag=True, help="Run the folder and compare every spike.")
@model_options
def compile_command(  # noqa: PLR0913, PLR0917  (one per option)
    model: str,
    target: str,
    output: str | None,
    level: int,
    passes: str | None,
    calibrate: str | None,
    activity: str | None,
    settings: tuple[str, ...],
    allow_lossy: bool,
    verify: bool,
    reading: dict[str, Any],
) -> None:
    """Compile MODEL for a target into a folder.

    Example: snnir compile model.nir --semantics norse --dt 1e-4 -o out
    """
    graph = load_model(model, reading)
    options = target_options(settings, target)
    if calibrate is not None:
        passes = snnir.with_calibration(passes or "", calibrate)
    compiled = snnir.compile(graph, target, level=level, passes=passes, **options)
    if compiled.history.approximations and not allow_lossy:
        raise error(
            "SNN501",
            f"spikes may change: {'; '.join(compiled.history.approximations)}",
            hint="accept it with --allow-lossy",
        )
    for loss in compiled.history.losses:
        note(loss)
    for entry in compiled.losses.losses:
        note(printable(f"{entry.node}: {entry.what}"))
    folder = output or f"build/{_safe(graph.name)}-{target}"
    if verify and not compiled.entry:
        message = f"target '{target}' makes nothing that runs, so there is nothing to verify"
        raise error("SNN701", message, hint="leave out --verify")
    if verify:
        _verify(compiled, graph)
    counted = (
        None if activity is None else snnir.activity(compiled.graph, snnir.read_array(activity))
    )
    path = compiled.save(folder, counted)
    note(f"{target}: {len(compiled.graph)} nodes, {len(compiled.files) + 2} files")
    click.echo(str(path))


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "model"


def _verify(compiled: snnir.Compiled, graph: snnir.Graph) -> None:
    """Run the artefact from a scratch folder and the source in process; raise if they differ.

    What passes changed that are not exact is said; the artefact must do as the changed graph. How
    far a target is from it that computes in another way, as its loss report says, is said too.
    """
    import tempfile

    import numpy as np

    rng = np.random.default_rng(0)
    x = {
        name: (rng.random((50, 2, *signal.shape)) < 0.3).astype(np.float32)
        for name, signal in graph.inputs.items()
    }
    with tempfile.TemporaryDirectory(prefix="snnir-verify-") as scratch:
        changed = bool(compiled.history.losses)
        source = compiled.graph if changed else graph
        found = snnir.diff(source, compiled.save(f"{scratch}/artefact"), x)
    if compiled.losses.losses:
        answer(f"ran; against the model, {_differing(found)}")
        return
    if not found.identical:
        first = found.first
        assert first is not None
        raise error(
            "SNN501",
            f"the artefact differs from its graph in {first.differing} of {first.total} "
            f"elements, first at step {first.first_step}",
            node=first.node,
        )
    answer(f"verified: {len(found.nodes)} traces identical over 50 steps")
    if changed:
        answer(_change(snnir.diff(graph, compiled.graph, x)))


def _change(found: snnir.Diff) -> str:
    """Say what passes changed, on the input of the verification."""
    return f"changed by passes: {_differing(found)}"


def _differing(found: snnir.Diff) -> str:
    """Say which traces differ, and in how many places."""
    differing = [
        f"{each.node} {each.differing} of {each.total}" for each in found.nodes if each.differing
    ]
    return ", ".join(differing) or "nothing differs on this input"
