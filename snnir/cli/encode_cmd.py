"""`snnir encode`."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.reading import pairs, typed
from snnir.errors import error


@click.command("encode")
@click.argument("data")
@click.option("--kind", required=True, metavar="KIND", help="poisson, bernoulli, rank-order, …")
@click.option("--steps", type=click.IntRange(1), help="Number of steps; `delta` has its own.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--dt", type=float, default=1e-3, show_default=True, help="Seconds per step.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the kind.")
@click.option("--like", metavar="NAME", help="As bindsnet, snntorch or spikingjelly does it.")
@click.option("--name", default="input", show_default=True, help="Name of the array in a .npz.")
@click.option("-o", "--output", required=True, metavar="OUT", help="Spikes: .npy or .npz.")
def encode_command(
    data: str,
    kind: str,
    seed: int,
    settings: tuple[str, ...],
    like: str | None,
    name: str,
    output: str,
    **given: Any,
) -> None:
    """Encode DATA, numbers [B, *shape] in a .npy or .npz, as spikes [T, B, *shape].

    `delta` takes a signal [T, B, *shape]. With --like, the seed is that of torch's generator.

    Example: snnir encode digits.npy --kind poisson --steps 250 --set rate=63.75 -o spikes.npy
    """
    options = {key.replace("-", "_"): typed(text) for key, text in pairs(settings, "--set").items()}
    taken = sorted({"data", "kind", "like", "state", "seed", *given} & set(options))
    if taken:
        raise error("SNN701", f"--set cannot give {', '.join(taken)}")
    chosen: dict[str, Any] = {"like": like, "state": seed} if like else {"seed": seed}
    spikes = snnir.encode(kind, _read(data), **given, **chosen, **options)
    _write(spikes, Path(output), name)
    click.echo(f"{output}: {list(spikes.shape)}, {spikes.sum(dtype='float64'):g} spikes")


def _read(path: str) -> Any:
    found = snnir.read_array(path)
    if not isinstance(found, dict):
        return found
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise error("SNN701", f"must have one array, has {listed}", source=path)
    return next(iter(found.values()))


def _write(spikes: Any, path: Path, name: str) -> None:
    import numpy as np

    if path.suffix not in (".npy", ".npz"):
        raise error("SNN701", f"-o {path}: must end in .npy or .npz")
    image = io.BytesIO()
    if path.suffix == ".npy":
        np.save(image, spikes, allow_pickle=False)
    else:
        # Not `savez`, which takes no array of the name of one of its own arguments.
        with (
            zipfile.ZipFile(image, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(f"{name}.npy", "w", force_zip64=True) as entry,
        ):
            np.lib.format.write_array(entry, spikes, allow_pickle=False)
    with snnir.replacing(path) as file:
        file.write(image.getbuffer())
