"""Spikes as events in continuous time: when, where, in which sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error

Array = npt.NDArray[Any]

#: Indices and samples are below this.
_MOST = 2**63


def _whole(count: int) -> Array:
    return np.zeros(count, np.int64)


@dataclass(frozen=True)
class Events:
    """Spikes of one stream.

    Attributes:
        time: [n] float64, seconds from the start of the sample.
        index: [n] int64, position in the stream's shape in C order.
        sample: [n] int64; all 0 by default.
    """

    time: Array
    index: Array
    sample: Array = field(default_factory=lambda: _whole(0))

    def __post_init__(self) -> None:
        time = np.asarray(self.time, np.float64).reshape(-1)
        index = np.asarray(self.index)
        sample = np.asarray(self.sample)
        if not sample.size and time.size:
            sample = _whole(time.size)
        for name, values in (("index", index), ("sample", sample)):
            if values.shape != time.shape or (values.size and values.dtype.kind not in "iu"):
                message = f"events have {time.size} times; {name} must be as many whole numbers"
                raise error("SNN601", message)
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < _MOST:
                raise error("SNN601", f"events have a negative {name}, or one beyond 2**63 - 1")
        if not np.isfinite(time).all() or (time < 0).any():
            raise error("SNN601", "event times must be finite and not negative")
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "index", index.astype(np.int64))
        object.__setattr__(self, "sample", sample.astype(np.int64))

    def __len__(self) -> int:
        return int(self.time.size)

    @classmethod
    def of_grid(cls, spikes: npt.ArrayLike, dt: float) -> Events:
        """Return the spikes (or counts) of an array [T, B, *shape], each at the start of its step.

        Args:
            spikes: Whole numbers; a count of n gives n events.
            dt: Seconds per step.
        """
        array = np.asarray(spikes)
        flat = array.reshape(*array.shape[:2], -1)
        step, sample, index = np.nonzero(flat)
        times = np.repeat(step * float(dt), flat[step, sample, index].astype(np.int64))
        repeat = flat[step, sample, index].astype(np.int64)
        return cls(times, np.repeat(index, repeat), np.repeat(sample, repeat))

    def on_grid(self, steps: int, batch: int, shape: tuple[int, ...], dt: float) -> Array:
        """Return counts [T, B, *shape] of the events in each step [k dt, (k + 1) dt), float32.

        A time within a billionth of a step before a step's start belongs to that step, but for the
        end of the last one: what comes before it is in the last step. Later events are left out.
        """
        counts = np.zeros((steps, batch, int(np.prod(shape, dtype=np.int64))), np.float32)
        kept = self.time < steps * dt
        step = np.floor(np.where(kept, self.time, 0.0) / dt + 1e-9).astype(np.int64)
        step = np.minimum(step, steps - 1)
        np.add.at(counts, (step[kept], self.sample[kept], self.index[kept]), 1.0)
        return counts.reshape(steps, batch, *shape)

    def before(self, time: float) -> Events:
        """Return the events before a time."""
        kept = self.time < time
        return Events(self.time[kept], self.index[kept], self.sample[kept])


def streams_of(entries: Mapping[str, Any], names: Iterable[str]) -> dict[str, Events]:
    """Return the streams among entries `NAME.time`, `NAME.index` and, if any, `NAME.sample`.

    Args:
        entries: Arrays, or `Events` under their own names.
        names: Those of streams.

    Raises:
        SnnirError: SNN601 if they are no events.
    """
    found = {}
    for name in names:
        if isinstance(entries.get(name), Events):
            found[name] = entries[name]
        elif f"{name}.time" in entries:
            index = entries.get(f"{name}.index")
            if index is None:
                raise error("SNN601", f"'{name}.time' has no '{name}.index'")
            time, sample = np.asarray(entries[f"{name}.time"]), entries.get(f"{name}.sample")
            if time.dtype.kind not in "fiu":
                raise error("SNN601", f"'{name}.time' must be numbers, is {time.dtype}")
            found[name] = Events(time, index, _whole(0) if sample is None else sample)
    return found
