"""Pictures of runs: spike rasters and membrane traces."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from snnir.errors import error, shown

if TYPE_CHECKING:
    from snnir.running import Result

Array = npt.NDArray[Any]
Traces = Union[Mapping[str, Array], "Result"]
_FORMATS = (".png", ".svg", ".pdf")
#: Many panels share this height.
_MAX_INCHES = 150.0


def raster(traces: Traces, path: str | Path, sample: int = 0, dt: float | None = None) -> Path:
    """Draw spikes over time, one panel per population.

    Args:
        traces: [T, B, *shape] by name, or a result: what it recorded, else its outputs.
        path: Picture to write; `.png`, `.svg` or `.pdf`.
        sample: Which of the batch.
        dt: Seconds per step, for the time axis.

    Raises:
        SnnirError: SNN701 without matplotlib or for another suffix, SNN601 for a missing sample.
    """

    def draw(axis: Any, trace: Array, times: Array) -> None:
        steps, neurons = np.nonzero(trace)
        axis.set_ylim(-1, trace.shape[1])
        axis.locator_params(axis="y", integer=True)
        if not steps.size:  # a silent population has its panel, too
            return
        counts = np.abs(trace[steps, neurons]).astype(np.float64)
        shades = 0.25 + 0.75 * counts / counts.max()
        axis.scatter(times[steps], neurons, s=9, marker="|", alpha=shades, color="#1f4e79")

    return _figure(traces, Path(path), sample, dt, draw)


def membrane(traces: Traces, path: str | Path, sample: int = 0, dt: float | None = None) -> Path:
    """Draw traces of states over time, up to 12 neurons per panel; arguments as for `raster`."""

    def draw(axis: Any, trace: Array, times: Array) -> None:
        axis.plot(times, trace[:, :12], linewidth=0.9)

    return _figure(traces, Path(path), sample, dt, draw)


def check_picture(path: str | Path) -> None:
    """Check that a picture of this name could be drawn, before the work is done.

    Raises:
        SnnirError: SNN701 without matplotlib or for a suffix that is no picture format.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in _FORMATS:
        hint = f"use one of {', '.join(_FORMATS)}"
        raise error("SNN701", f"'{suffix}' is no picture format", source=str(path), hint=hint)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        hint = "pip install 'snnir[plot]'"
        raise error("SNN701", "pictures need matplotlib", hint=hint) from None


def _span(times: Array) -> tuple[float, float]:
    """Return the ends of the time axis: the whole run, also where nothing happened."""
    last = float(times[-1]) if times.size else 0.0
    step = float(times[1]) if times.size > 1 else 1.0
    return -0.5 * step, last + 0.5 * step


def _figure(
    given: Traces,
    path: Path,
    sample: int,
    dt: float | None,
    draw: Callable[[Any, Array, Array], None],
) -> Path:
    from snnir.artefact import replacing

    check_picture(path)
    from matplotlib.figure import Figure

    traces = given if isinstance(given, Mapping) else given.recorded or given.outputs
    if not traces:
        raise error("SNN601", "there is nothing to draw", hint="record a node")
    figure = Figure(figsize=(9, min(1.2 + 1.7 * len(traces), _MAX_INCHES)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(traces), 1, sharex=True))
    for axis, (name, trace) in zip(axes, traces.items(), strict=True):
        if not 0 <= sample < trace.shape[1]:
            raise error("SNN601", f"sample {sample} is not in a batch of {trace.shape[1]}")
        flat = trace[:, sample].reshape(len(trace), math.prod(trace.shape[2:]))
        times = np.arange(len(trace)) * (1.0 if dt is None else dt * 1e3)
        draw(axis, flat, times)
        axis.set_xlim(*_span(times))
        label = shown(name).replace("$", r"\$")
        axis.set_ylabel(f"{label}\n({flat.shape[1]})", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("step" if dt is None else "time (ms)")
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:].lower(), dpi=130)
    with replacing(path) as file:
        file.write(image.getbuffer())
    return path
