"""Inputs and results of runs, as options and as files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import click

import snnir
from snnir.errors import error

F = TypeVar("F", bound=Callable[..., Any])


def input_options(function: F) -> F:
    """Decorator: add the options that give an input."""
    options: list[tuple[str, str, dict[str, Any]]] = [
        ("--input", "given", {"metavar": "FILE", "help": "Input, [T, B, *shape]: .npy or .npz."}),
        ("--poisson", "poisson", {"type": click.FloatRange(0, 1), "help": "Random spikes' rate."}),
        ("--steps", "steps", {"type": click.IntRange(1), "default": 100, "show_default": True}),
        ("--batch", "batch", {"type": click.IntRange(1), "default": 1, "show_default": True}),
        ("--seed", "seed", {"type": click.IntRange(0), "default": 0, "show_default": True}),
    ]
    for flag, name, settings in reversed(options):
        function = click.option(flag, name, **settings)(function)
    return function


def make_input(
    shapes: dict[str, tuple[int, ...]],
    given: str | None,
    poisson: float | None,
    steps: int,
    batch: int,
    seed: int,
) -> Any:
    """Return the input the options describe.

    Raises:
        SnnirError: SNN701 unless exactly one source is given, and for a rate of NaN.
    """
    if (given is None) == (poisson is None):
        raise error("SNN701", "give either --input FILE or --poisson RATE")
    if given is not None:
        return snnir.read_array(given)
    import numpy as np

    rng, rate = np.random.default_rng(seed), float(poisson or 0.0)
    if math.isnan(rate):  # passes any comparison with the ends of a range
        raise error("SNN701", "--poisson is nan, must be a probability from 0 to 1")
    return {
        name: (rng.random((steps, batch, *shape)) < rate).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_result(result: snnir.Result, file: BinaryIO) -> None:
    """Write outputs, records and what lasts as a `.npz`."""
    import io

    import numpy as np

    arrays = {f"output/{name}": y for name, y in result.outputs.items()}
    arrays.update({f"record/{name}": y for name, y in result.recorded.items()})
    arrays.update({f"lasting/{name}": y for name, y in result.lasting.items()})
    nodes = list(result.stats)
    numbered: dict[str, Any] = {f"array_{i}": y for i, y in enumerate(arrays.values())}
    image = io.BytesIO()
    # NumPy before 2.1 has no `allow_pickle` here and would store it; plain numbers need none.
    np.savez_compressed(
        image,
        names=np.array(list(arrays)),
        spike_nodes=np.array(nodes, dtype=str),
        spike_sums=np.array([result.stats[name]["spikes"] for name in nodes], dtype=float),
        **numbered,
    )
    file.write(image.getbuffer())
