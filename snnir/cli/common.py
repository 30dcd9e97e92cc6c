"""Options and helpers that commands share."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import snnir
from snnir.errors import error
from snnir.registry import load_plugin

F = TypeVar("F", bound=Callable[..., Any])

_MODEL_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--semantics", {"help": "How the file's platform steps it; see `snnir list semantics`."}),
    ("--dt", {"type": float, "help": "Seconds per step."}),
    ("--integrator", {"help": "euler, exponential_euler, exact or semi_implicit."}),
    ("--reset", {"help": "to, zero, subtract or none."}),
    ("--reset-timing", {"help": "same-step, next-step, next-step-before-decay or net."}),
    ("--compare", {"help": "gt (v > threshold) or ge."}),
    ("--recurrent-delay", {"type": int, "help": "Steps on recurrent edges."}),
    ("--recurrent-bias", {"help": "always, from-step-1, never or constant."}),
    ("--record-offset", {"type": int, "help": "Steps by which outputs and records are late."}),
    ("--weights", {"help": "float or int8-trunc."}),
    ("--time-unit", {"type": float, "help": "Seconds per unit of the file's time constants."}),
]


def model_options(function: F) -> F:
    """Decorator: add the options that say how a model is read."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        for plugin in given.pop("plugin"):
            load_plugin(plugin)
        options = {
            name: given.pop(name)
            for name in [flag[2:].replace("-", "_") for flag, _ in _MODEL_OPTIONS]
        }
        stepping = pairs(given.pop("stepping"), "--stepping")
        reading = {key: value for key, value in options.items() if value is not None}
        reading.update({key: _typed(value) for key, value in stepping.items()})
        reading["repair"] = given.pop("repair")
        return function(reading=reading, **given)

    for flag, settings in reversed(_MODEL_OPTIONS):
        wrapped = click.option(flag, **settings)(wrapped)
    wrapped = click.option(
        "--stepping", multiple=True, metavar="KEY=VALUE", help="Any other attribute of semantics."
    )(wrapped)
    wrapped = click.option("--repair", is_flag=True, help="Repair inconsistent files.")(wrapped)
    wrapped = click.option("--plugin", multiple=True, help="File or module that adds passes …")(
        wrapped
    )
    return wrapped  # type: ignore[return-value]


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs(items: Sequence[str], flag: str) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        SnnirError: SNN701 for a text without '='.
    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise error("SNN701", f"{flag} '{item}' is not KEY=VALUE")
        found[key] = value
    return found


def load_model(text: str, reading: dict[str, Any]) -> snnir.Graph:
    """Return the graph a MODEL argument names: a file, or `module.py:factory`."""
    path, colon, factory = text.rpartition(":")
    if colon and path.endswith(".py") and factory.isidentifier():
        return _from_factory(Path(path), factory)
    return snnir.load(text, **reading)


def _from_factory(path: Path, factory: str) -> snnir.Graph:
    import importlib.util

    source = f"{path}:{factory}"
    spec = importlib.util.spec_from_file_location("snnir_model", path)
    try:
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        graph = getattr(module, factory)()
    except Exception as failure:
        reason = f"{type(failure).__name__}: {failure}"
        raise error("SNN101", f"the factory failed: {reason}", source=source) from failure
    if not isinstance(graph, snnir.Graph):
        message = f"the factory returned {type(graph).__name__}, not a snnir.Graph"
        raise error("SNN101", message, source=source)
    return graph.verify()


def read_array(path: str) -> Any:
    """Return a `.npy` array, or a `.npz` as a mapping; nothing is ever unpickled.

    Raises:
        SnnirError: SNN601 if the file cannot be read.
    """
    import numpy as np

    try:
        data = np.load(path, allow_pickle=False)
        return dict(data) if hasattr(data, "files") else data
    except (OSError, ValueError, EOFError) as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        message = f"cannot be read as .npy or .npz ({reason})"
        raise error("SNN601", message, source=path) from None


def input_options(function: F) -> F:
    """Decorator: add the options that give an input."""
    options: list[tuple[str, str, dict[str, Any]]] = [
        ("--input", "given", {"metavar": "FILE", "help": "Input, [T, B, *shape]: .npy or .npz."}),
        ("--poisson", "poisson", {"type": click.FloatRange(0, 1), "help": "Random spikes' rate."}),
        ("--steps", "steps", {"type": click.IntRange(1), "default": 100, "show_default": True}),
        ("--batch", "batch", {"type": click.IntRange(1), "default": 1, "show_default": True}),
        ("--seed", "seed", {"type": int, "default": 0, "show_default": True}),
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
        SnnirError: SNN701 unless exactly one source is given.
    """
    if (given is None) == (poisson is None):
        raise error("SNN701", "give either --input FILE or --poisson RATE")
    if given is not None:
        return read_array(given)
    import numpy as np

    rng, rate = np.random.default_rng(seed), float(poisson or 0.0)
    return {
        name: (rng.random((steps, batch, *shape)) < rate).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_result(result: snnir.Result, path: str) -> None:
    """Write outputs and records as a `.npz`, whole or not at all."""
    import io

    import numpy as np

    from snnir import replacing

    arrays = {f"output/{name}": y for name, y in result.outputs.items()}
    arrays.update({f"record/{name}": y for name, y in result.recorded.items()})
    nodes = list(result.stats)
    image = io.BytesIO()
    np.savez_compressed(
        image,
        allow_pickle=False,
        names=np.array(list(arrays)),
        spike_nodes=np.array(nodes, dtype=str),
        spike_sums=np.array([result.stats[name]["spikes"] for name in nodes], dtype=float),
        **{f"array_{index}": y for index, y in enumerate(arrays.values())},
    )
    with replacing(Path(path)) as file:
        file.write(image.getbuffer())


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a plain-text table; numbers are right-aligned, nothing is cut."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *texts]) for i in range(len(head))]
    numeric = [
        all(isinstance(row[i], (int, float)) for row in rows) and bool(rows)
        for i in range(len(head))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(head)), *map(line, texts)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def emit_json(value: Any) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def note(text: str) -> None:
    """Print a line for people."""
    click.echo(text, err=True)


def exit_with(code: int) -> None:
    """End the command with an exit code."""
    sys.stdout.flush()
    raise click.exceptions.Exit(code)
