"""What all simulators share: checking inputs, naming records, holding results."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error, shown
from snnir.events import Events, streams_of
from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.streams import Kind, Signal
from snnir.suggest import file_hint, hint

Array = npt.NDArray[Any]

#: What entries of a file of results begin with that last of a run.
KEPT = "lasting/"


@dataclass(frozen=True)
class Result:
    """What a run gave; also usable as the array of its first output.

    Attributes:
        outputs: [T, B, *shape] by output name.
        recorded: [T, B, *shape] by the names asked for.
        stats: For every spiking population: neurons, spikes, and spikes per neuron and step.
        lasting: What outlives the run, by `node:state`: weights that were learned, thresholds that
            adapt, counters of random numbers. To go on from it, give it to the next run; to keep
            it, see `snnir.with_lasting`.
    """

    outputs: dict[str, Array]
    recorded: dict[str, Array] = field(default_factory=dict)
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)
    lasting: dict[str, Array] = field(default_factory=dict, kw_only=True)

    @property
    def output(self) -> Array:
        """The first output."""
        return next(iter(self.outputs.values()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.output, dtype)


@dataclass(frozen=True)
class EventResult(Result):
    """What a run in continuous time gave; outputs and records are on the grid of steps.

    Attributes:
        events: When spikes were, for every population that fires, and for every output of spikes
            whose name is not that of another population.
        records: What fired in each sample in order of time, with the states gradients need;
            empty where a folder was run.
    """

    events: dict[str, Events] = field(default_factory=dict)
    records: tuple[Any, ...] = field(default=(), repr=False)


def spike_stats(
    populations: Mapping[str, int], sums: Mapping[str, float], samples: int
) -> dict[str, dict[str, Any]]:
    """Return neurons, spikes and rate of every population.

    Args:
        populations: Neurons by name.
        sums: Spikes by name; what is not there did not fire.
        samples: Steps times batch.
    """
    return {
        name: {
            "neurons": size,
            "spikes": int(sums.get(name, 0.0)),
            "rate": sums.get(name, 0.0) / (size * samples),
        }
        for name, size in populations.items()
    }


def read_array(path: str) -> Any:
    """Return a `.npy` array, or a `.npz` as a mapping; nothing is ever unpickled.

    Raises:
        SnnirError: SNN601 if the file cannot be read.
    """
    try:
        data = np.load(path, allow_pickle=False)
        if not hasattr(data, "files"):
            return data
        with data:
            return dict(data)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as failure:
        reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        reason = reason.splitlines()[0]
        message = f"cannot be read as .npy or .npz ({reason})"
        raise error("SNN601", message, source=path, hint=file_hint(Path(path))) from None


def read_lasting(path: str) -> dict[str, Array]:
    """Return what lasts of an earlier run, by `node:state`.

    Args:
        path: A file that `snnir run -o` or an emitted program wrote, or a `.npz` with one entry
            for each state, such as `np.savez(path, **result.lasting)` writes.

    Raises:
        SnnirError: SNN601 if the file cannot be read or has nothing that lasts.
    """
    arrays = read_array(path)
    if not isinstance(arrays, dict):
        raise error("SNN601", "must be a .npz with what lasts of a run", source=path)
    if "names" in arrays and arrays["names"].dtype.kind == "U":
        names = [str(name) for name in arrays["names"].reshape(-1).tolist()]
        arrays = {n: arrays[f"array_{i}"] for i, n in enumerate(names) if f"array_{i}" in arrays}
        arrays = {n.removeprefix(KEPT): x for n, x in arrays.items() if n.startswith(KEPT)}
    if not arrays:
        raise error("SNN601", "holds nothing that lasts of a run", source=path)
    return arrays


def check_inputs(
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike], wanted: Mapping[str, Signal]
) -> dict[str, Array]:
    """Return one array [T, B, *shape] per input.

    Raises:
        SnnirError: SNN601 naming the input and both shapes.
    """
    arrays = x if isinstance(x, Mapping) else _single(x, wanted)
    missing = [name for name in wanted if name not in arrays]
    unknown = [name for name in arrays if name not in wanted]
    if missing or unknown:
        raise error(
            "SNN601",
            f"inputs are {', '.join(wanted) or 'none'}, got {', '.join(arrays) or 'none'}",
        )
    checked = {name: _check(name, arrays[name], signal) for name, signal in wanted.items()}
    leads = {array.shape[:2] for array in checked.values()}
    if len(leads) > 1:
        listed = " and ".join(str(list(lead)) for lead in sorted(leads))
        raise error("SNN601", f"inputs differ in time or batch: {listed}")
    if not leads:
        raise error("SNN601", "the model has no input, so the number of steps is unknown")
    return checked


def check_streams(x: Any, wanted: Mapping[str, Signal]) -> dict[str, Any]:
    """Return `Events` or an array [T, B, *shape] per input, for what takes events.

    Args:
        x: `Events` or an array, or one per input name; `NAME.time`, `NAME.index` and
            `NAME.sample` are events as well.
        wanted: The inputs.

    Raises:
        SnnirError: SNN601 naming what does not fit.
    """
    given = x if isinstance(x, Mapping) else _single(x, wanted)
    streams: dict[str, Any] = dict(streams_of(given, wanted))
    own = {f"{name}.{part}" for name in streams for part in ("time", "index", "sample")}
    rest = {name: value for name, value in given.items() if name not in own | set(streams)}
    missing = {name: signal for name, signal in wanted.items() if name not in streams}
    if missing or rest or not streams:
        streams |= check_inputs(rest, missing)
    return {name: streams[name] for name in wanted}


def check_batch(batch: int, known: int | None) -> None:
    """Check that a run goes on with the batch of the run whose state it takes, if it takes one.

    Raises:
        SnnirError: SNN601 naming both.
    """
    if known not in (None, batch):
        raise error("SNN601", f"resumes with a batch of {batch}, the run had {known}")


def _single(x: npt.ArrayLike, wanted: Mapping[str, Signal]) -> dict[str, npt.ArrayLike]:
    if len(wanted) != 1:
        raise error(
            "SNN601",
            f"the model has {len(wanted)} inputs ({', '.join(wanted)})",
            hint="give a mapping from input name to array",
        )
    return {next(iter(wanted)): x}


def _arranged(given: tuple[int, ...], wanted: tuple[int, ...]) -> str | None:
    """Return how an input of another shape may be meant."""
    if given == wanted:
        return "add axes for time and batch"
    if len(given) > 2 and prod(given[2:]) == prod(wanted):
        return f"reshape its samples: x.reshape(T, B, {', '.join(map(str, wanted))})"
    return None


def _check(name: str, value: npt.ArrayLike, signal: Signal) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise error("SNN601", f"input '{name}' has type {array.dtype}, must be numbers")
    rank = len(signal.shape)
    if array.ndim == rank + 1 and array.shape[1:] == signal.shape:
        array = array[:, None]
    if array.ndim != rank + 2 or array.shape[2:] != signal.shape:
        expected = ", ".join(["T", "B", *map(str, signal.shape)])
        message = f"input '{name}' must be [{expected}], got {list(array.shape)}"
        raise error("SNN601", message, hint=_arranged(array.shape, signal.shape))
    if 0 in array.shape[:2]:
        raise error("SNN601", f"input '{name}' is empty: {list(array.shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise error("SNN601", f"input '{name}' contains NaN or infinity")
    if signal.kind is Kind.SPIKES and ((array != 0) & (array != 1)).any():
        message = f"input '{name}' carries spikes, its values must be 0 or 1"
        meant = "`snnir encode`, snnir.encode or the pass encode make spikes of numbers"
        raise error("SNN601", message, hint=meant)
    if signal.kind is Kind.COUNTS and ((array < 0).any() or (array != np.rint(array)).any()):
        raise error("SNN601", f"input '{name}' carries counts, must be whole and not negative")
    return array


def check_record(names: Sequence[str], graph: Graph) -> None:
    """Raise SNN602 for the first name that is neither a node nor a `node:state`."""
    for name in names:
        if name in graph.nodes:
            continue
        node, _, state = name.rpartition(":")
        op = graph.nodes[node].op if node in graph.nodes else None
        if isinstance(op, (Step, Plastic)):
            program = op.program if isinstance(op, Step) else op.rule
            states = [s.name for s in program.states]
            if state in states:
                continue
            meant = hint(state, states, "its states")
            raise error("SNN602", f"has no state '{shown(state)}'", node=node, hint=meant)
        meant = hint(name, graph.nodes, "nodes")
        raise error("SNN602", "there is no such node to record", node=name, hint=meant)
