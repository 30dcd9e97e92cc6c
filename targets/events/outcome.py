"""A run from inputs to outputs on a grid of steps; copied into emitted folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.events import Events
from snnir.targets.events.host import Readings, Simulator
from snnir.targets.events.network import Block
from snnir.targets.events.plan import Trace

#: Elements of the largest array on the grid.
LARGEST = 1 << 31


class BadRun(ValueError):
    """Inputs that do not fit a network."""


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        outputs: [T, B, *shape] float32 by output name: counts of spikes that fell into a step, v
            at the end of a step for populations that do not fire (float64), or the input itself.
        recorded: The same by the names asked for.
        events: When spikes were, for every population that fires, and for every output whose name
            is not that of another population.
        sums: Spikes by population.
        traces: What the engine gave, by sample.
        steps, samples: Extents of the grid.
    """

    outputs: dict[str, Any]
    recorded: dict[str, Any]
    events: dict[str, Events]
    sums: dict[str, float]
    traces: list[Trace]
    steps: int
    samples: int


def extents(
    sim: Simulator, given: Mapping[str, Any], duration: float | None, samples: int | None
) -> tuple[float, int, int]:
    """Return how long a run is, in seconds and in steps, and its number of samples.

    Raises:
        BadRun: If inputs do not fit each other or the network, or nothing says how long it is.
    """
    dt = sim.network.dt
    if samples is not None and samples < 1:
        raise BadRun(f"there are {samples} samples, must be 1 or more")
    arrays = {name: x for name, x in given.items() if not isinstance(x, Events)}
    leads = {np.shape(x)[:2] for x in arrays.values()}
    if len(leads) > 1:
        raise BadRun(f"inputs differ in time or batch: {sorted(leads)}")
    if duration is None:
        if not leads:
            raise BadRun("events do not say how long the run is: give a duration in seconds")
        duration = next(iter(leads))[0] * dt
    if not (math.isfinite(duration) and duration > 0):
        raise BadRun(f"the duration is {duration}, must be a positive number of seconds")
    found = {lead[1] for lead in leads}
    for name, x in given.items():
        if isinstance(x, Events):
            _fits(name, x, sim.inputs[name])
            if not leads and samples is None:
                found.add(int(x.sample.max(initial=0)) + 1)
    batch = max(found) if leads or samples is None else samples
    for name, x in given.items():
        if isinstance(x, Events) and x.sample.max(initial=0) >= batch:
            raise BadRun(f"events of '{name}' are of sample {x.sample.max()}, there are {batch}")
    if leads and samples not in (None, batch):
        raise BadRun(f"arrays have {batch} samples, not {samples}")
    steps = _steps(sim, duration, batch)
    return min(float(duration), steps * dt), steps, batch


def _steps(sim: Simulator, duration: float, batch: int) -> int:
    """Return the number of steps; a billionth of one more than that is rounding."""
    dt = sim.network.dt
    most = max((block.size for block in sim.network.blocks), default=1)
    if not duration / dt <= LARGEST:
        raise BadRun(f"{duration / dt:g} steps of {dt:g} s are too many")
    steps = max(1, math.ceil(duration / dt - 1e-9))
    if steps * batch * most > LARGEST:
        raise BadRun(f"{steps} steps of {dt:g} s times {batch} samples times {most} are too many")
    return steps


def _fits(name: str, events: Events, block: Block) -> None:
    if events.index.max(initial=-1) >= block.size:
        raise BadRun(
            f"events of '{name}' are at position {events.index.max()}, it has {block.size}"
        )


def recordable(sim: Simulator) -> set[str]:
    """Return everything that may be recorded: populations, and their v and i."""
    names: set[str] = set()
    for block in sim.network.blocks:
        if block.name not in sim.inputs:
            own = sim.network.neurons.has_synapse[sim.neurons(block)]
            states = ("v", "i") if own.size and own.all() else ("v",)
            names |= {block.name, *(f"{block.name}:{state}" for state in states)}
    return names


def run_network(
    sim: Simulator,
    given: Mapping[str, Any],
    record: Sequence[str] = (),
    duration: float | None = None,
    samples: int | None = None,
) -> Outcome:
    """Run a network and put what it did on the grid of its steps.

    Args:
        sim: The network.
        given: `Events` or [T, B, *shape] for every input.
        record: Names, as `recordable` lists them.
        duration: Seconds; that of the arrays if None.
        samples: Number of samples if only events are given; as many as they have if None.

    Raises:
        BadRun: If inputs do not fit.
        RunError: If a run was given up.
    """
    network = sim.network
    seconds, steps, batch = extents(sim, given, duration, samples)
    blocks = {block.name: block for block in network.blocks}
    wanted = {f"output/{name}": block for name, block in network.outputs.items()}
    wanted |= {f"record/{name}": name for name in record}
    read = _read(sim, wanted.values(), blocks)
    ends = np.minimum(np.arange(1, steps + 1) * network.dt, seconds)
    neurons = [sim.neurons(block) for block in read]
    probes = np.concatenate(neurons) if neurons else np.zeros(0, np.int32)
    traces = sim.run(given, batch, seconds, Readings(ends if neurons else np.zeros(0), probes))
    states = np.array([[t.probe_v, t.probe_i] for t in traces]) if neurons else None
    events = {b.name: sim.events(traces, b) for b in network.blocks if b.kind == "spiking"}
    events |= {n: x.before(seconds) for n, x in given.items() if isinstance(x, Events)}
    grid: dict[str, Any] = {}
    for key, name in wanted.items():
        owner, _, state = (name, "", "") if name in blocks else name.rpartition(":")
        block = blocks[owner]
        if block.name in sim.inputs:
            grid[key] = _on_grid(events.get(name, given[name]), block, steps, batch, network.dt)
        elif block.kind == "spiking" and not state:
            grid[key] = events[block.name].on_grid(steps, batch, block.shape, network.dt)
        else:
            assert states is not None
            first = sum(other.size for other in read[: read.index(block)])
            cut = states[:, 1 if state == "i" else 0, :, first : first + block.size]
            grid[key] = np.moveaxis(cut, 0, 1).reshape(steps, batch, *block.shape)
    spiking = [block.name for block in network.blocks if block.kind == "spiking"]
    told = {name: events[name] for name in spiking}  # a population has its name before an output
    told = {o: events[name] for o, name in network.outputs.items() if name in events} | told
    return Outcome(
        {key[7:]: y for key, y in grid.items() if key.startswith("output/")},
        {key[7:]: y for key, y in grid.items() if key.startswith("record/")},
        told, {name: float(len(events[name])) for name in spiking}, traces, steps, batch,
    )  # fmt: skip


def _read(sim: Simulator, names: Any, blocks: Mapping[str, Block]) -> list[Block]:
    """Return the populations whose states are read."""
    found: dict[str, Block] = {}
    for name in names:
        owner = name if name in blocks else name.rpartition(":")[0]
        block = blocks[owner]
        if block.name not in sim.inputs and (owner != name or block.kind == "readout"):
            found[block.name] = block
    return list(found.values())


def _on_grid(x: Any, block: Block, steps: int, batch: int, dt: float) -> Any:
    """Return an input on the grid."""
    if isinstance(x, Events):
        return x.on_grid(steps, batch, block.shape, dt)
    array = np.asarray(x, np.float32)
    missing = steps - len(array)
    if missing > 0:
        array = np.concatenate([array, np.zeros((missing, *array.shape[1:]), np.float32)])
    return array[:steps]
