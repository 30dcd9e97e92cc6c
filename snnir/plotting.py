"""Pictures of runs: spike rasters and membrane traces."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error, shown

Array = npt.NDArray[Any]
_FORMATS = (".png", ".svg", ".pdf")


def raster(
    traces: Mapping[str, Array], path: str | Path, sample: int = 0, dt: float | None = None
) -> Path:
    """Draw spikes over time, one panel per population.

    Args:
        traces: [T, B, *shape] by name.
        path: Picture to write; `.png`, `.svg` or `.pdf`.
        sample: Which of the batch.
        dt: Seconds per step, for the time axis.

    Raises:
        SnnirError: SNN701 without matplotlib or for another suffix, SNN601 for a missing sample.
    """

    def draw(axis: Any, trace: Array, times: Array) -> None:
        steps, neurons = np.nonzero(trace)
        axis.set_ylim(-1, trace.shape[1])
        if not steps.size:  # a silent population has its panel, too
            return
        counts = np.abs(trace[steps, neurons])
        shades = 0.25 + 0.75 * counts / counts.max()
        axis.scatter(times[steps], neurons, s=9, marker="|", alpha=shades, color="#1f4e79")

    return _figure(traces, Path(path), sample, dt, draw)


def membrane(
    traces: Mapping[str, Array], path: str | Path, sample: int = 0, dt: float | None = None
) -> Path:
    """Draw traces of states over time, up to 12 neurons per panel; arguments as for `raster`."""

    def draw(axis: Any, trace: Array, times: Array) -> None:
        axis.plot(times, trace[:, :12], linewidth=0.9)

    return _figure(traces, Path(path), sample, dt, draw)


def _figure(
    traces: Mapping[str, Array],
    path: Path,
    sample: int,
    dt: float | None,
    draw: Callable[[Any, Array, Array], None],
) -> Path:
    from snnir.artefact import replacing

    if path.suffix not in _FORMATS:
        hint = f"use one of {', '.join(_FORMATS)}"
        raise error("SNN701", f"'{path.suffix}' is no picture format", source=str(path), hint=hint)
    if not traces:
        raise error("SNN601", "there is nothing to draw", hint="record a node")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise error(
            "SNN701", "pictures need matplotlib", hint="pip install 'snnir[plot]'"
        ) from None
    figure = Figure(figsize=(9, 1.2 + 1.7 * len(traces)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(traces), 1, sharex=True))
    for axis, (name, trace) in zip(axes, traces.items(), strict=True):
        if not 0 <= sample < trace.shape[1]:
            raise error("SNN601", f"sample {sample} is not in a batch of {trace.shape[1]}")
        flat = trace[:, sample].reshape(len(trace), -1)
        times = np.arange(len(trace)) * (1.0 if dt is None else dt * 1e3)
        draw(axis, flat, times)
        label = shown(name).replace("$", r"\$")
        axis.set_ylabel(f"{label}\n({flat.shape[1]})", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("step" if dt is None else "time (ms)")
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:], dpi=130)
    with replacing(path) as file:
        file.write(image.getbuffer())
    return path
