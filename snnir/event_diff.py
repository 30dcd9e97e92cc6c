"""How far a discretisation is from its model in continuous time, spike by spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.events import Events
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.running import EventResult, Result, check_streams
from snnir.streams import Kind

Array = npt.NDArray[Any]

#: Steps within which spikes of both runs are taken for the same, unless said otherwise.
TOLERANCE = 5

#: Elements of the largest array on the grid.
LARGEST = 1 << 31

#: A time this part of a step before the next one is in that one, as for `Events.on_grid`.
_ON_GRID = 1e-9


@dataclass(frozen=True)
class Parting:
    """The first spike that is not where it should be.

    Attributes:
        node: The population.
        sample: Which sample.
        neuron: Position in the population's shape.
        time: Seconds; of the spike in continuous time if there is one, else the start of its step.
        step: Step of the discretised spike, None if it is missing.
        what: `missing`, `extra` or `moved`, which is in another step.
    """

    node: str
    sample: int
    neuron: tuple[int, ...]
    time: float
    step: int | None
    what: str


@dataclass(frozen=True)
class Timing:
    """Spikes of one population in both runs.

    A spike in step k counts as at k dt, where the next population sees it; its error is that
    minus the time in continuous time.

    Attributes:
        node: The population.
        stepped, continuous: Spikes in either run.
        matched: Spikes that have a partner.
        same_step: Those whose partner is in the very step.
        missing: Spikes in continuous time without a partner.
        extra: Discretised spikes without a partner.
        mean_error, largest_error: Of absolute errors of matched spikes, in seconds.
        mean_steps, largest_steps: Of distances in steps between the steps of matched spikes.
        first: The first spike that is missing, extra or in another step.
    """

    node: str
    stepped: int
    continuous: int
    matched: int
    same_step: int
    missing: int
    extra: int
    mean_error: float
    largest_error: float
    mean_steps: float
    largest_steps: int
    first: Parting | None


@dataclass(frozen=True)
class EventDiff:
    """Comparison of a discretised run with one in continuous time.

    Attributes:
        dt: Seconds per step.
        steps: Number of steps.
        tolerance: Seconds within which spikes are taken for the same.
        nodes: Every population that fires, in order of flow.
        membranes: Of outputs that do not fire, by name: largest difference at ends of steps.
    """

    dt: float
    steps: int
    tolerance: float
    nodes: tuple[Timing, ...]
    membranes: Mapping[str, float]

    @property
    def identical(self) -> bool:
        """Whether every spike in continuous time lies in the step where the other run has one."""
        return all(node.first is None for node in self.nodes)

    @property
    def first(self) -> Parting | None:
        """Where the runs part first, the earliest in the flow among equals."""
        found = [node.first for node in self.nodes if node.first is not None]
        return min(found, key=lambda parting: parting.time, default=None)


def diff_events(
    graph: Graph,
    x: Any,
    *,
    dt: float | None = None,
    tolerance: float | None = None,
    duration: float | None = None,
    **options: Any,
) -> EventDiff:
    """Run a graph of continuous neurons in steps and from event to event; compare the spikes.

    Args:
        graph: The graph; its neurons are stepped as their records say.
        x: [T, B, *shape] on the steps of the graph, `Events`, or one of them per input.
        dt: Seconds per step instead of the graph's, in both runs; what the graph has in steps or
            per step (delays without seconds, refractory steps, the area of a spike) is of these.
        tolerance: Seconds; 5 steps if None. Two spikes of a neuron are partners if each is the
            other's nearest and they are no further apart.
        duration: Seconds; that of the arrays if None.
        options: Of the target `events`, such as `pulse="held"`.

    Raises:
        SnnirError: SNN501 for a graph that has no form in continuous time, such as one that is
            already discretised; SNN601 if the input does not fit, or a current is not whole steps.
    """
    from snnir.driver import compile, restep

    if tolerance is not None and not 0 <= tolerance < np.inf:
        raise error("SNN601", f"the tolerance is {tolerance}, must be seconds from 0 on")
    inputs = _Inputs.of(graph, x, duration)
    if dt is not None and dt != graph.dt:
        graph = restep(graph, None, dt, {})
    target = compile(graph, "events", **options)
    names = [
        name
        for name in graph.order
        if isinstance(op := graph.nodes[name].op, Neuron) and op.definition.spikes
    ]
    assert graph.dt is not None
    steps = inputs.steps(graph)
    stepped = compile(graph, "numpy", level=0).run(inputs.on_grid(graph, steps), names)
    given: Any = inputs.in_time(graph, steps)
    exact: Any = target.run(given, duration=steps * graph.dt, samples=inputs.samples)  # type: ignore[call-arg]
    limit = TOLERANCE * graph.dt if tolerance is None else tolerance
    nodes = tuple(
        _timing(name, graph, Events.of_grid(stepped.recorded[name], graph.dt), exact, limit)
        for name in names
    )
    return EventDiff(graph.dt, steps, limit, nodes, _membranes(graph, stepped, exact))


def _membranes(graph: Graph, stepped: Result, exact: EventResult) -> dict[str, float]:
    found = {}
    for name, value in graph.outputs.items():
        op = graph.nodes[value.node].op
        if isinstance(op, Neuron) and not op.definition.spikes:
            one, two = (r.outputs[name].astype(np.float64) for r in (stepped, exact))
            found[name] = float(np.abs(one - two).max(initial=0.0))
    return found


# --- The input -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Inputs:
    """An input that does not depend on steps.

    Attributes:
        streams: By input: events; or currents [T, B, *shape], each held for `dt`.
        dt: Seconds per step of the currents.
        duration: Seconds.
        samples: How many.
    """

    streams: Mapping[str, Events | Array]
    dt: float
    duration: float
    samples: int

    @classmethod
    def of(cls, graph: Graph, x: Any, duration: float | None) -> _Inputs:
        if graph.dt is None:
            raise error("SNN303", "the graph has no dt", hint="set one with --dt or dt=")
        wanted = graph.inputs
        given = check_streams(x, wanted)
        leads = [v.shape[:2] for v in given.values() if not isinstance(v, Events)]
        if duration is None:
            if not leads:
                raise error("SNN601", "events do not say how long the run is", hint="give duration")
            duration = leads[0][0] * graph.dt
        if not 0 < duration < np.inf:
            message = f"the duration is {duration}, must be a positive number of seconds"
            raise error("SNN601", message)
        streams: dict[str, Events | Array] = {}
        for name, value in given.items():
            is_ready = isinstance(value, Events) or wanted[name].kind is Kind.ANALOG
            streams[name] = value if is_ready else Events.of_grid(value, graph.dt)
        lasts = [int(e.sample.max(initial=0)) for e in streams.values() if isinstance(e, Events)]
        samples = leads[0][1] if leads else 1 + max(lasts, default=0)
        if max(lasts, default=0) >= samples:
            raise error("SNN601", f"events are of sample {max(lasts)}, there are {samples}")
        for name, stream in streams.items():
            last = int(stream.index.max(initial=-1)) if isinstance(stream, Events) else -1
            if last >= prod(wanted[name].shape):
                message = f"events are at position {last}, it has {prod(wanted[name].shape)}"
                raise error("SNN601", message, node=name)
        return cls(streams, graph.dt, float(duration), samples)

    def steps(self, graph: Graph) -> int:
        """Return the number of steps of the graph.

        Raises:
            SnnirError: SNN601 if there are too many for an array on the grid.
        """
        assert graph.dt is not None
        number = np.ceil(self.duration / graph.dt - _ON_GRID)
        largest = max((prod(signal.shape) for signal in graph.signals.values()), default=1)
        if not number * self.samples * largest <= LARGEST:
            message = (
                f"{number:g} steps of {graph.dt:g} s times {self.samples} samples are too many"
            )
            raise error("SNN601", message)
        return max(1, int(number))

    def on_grid(self, graph: Graph, steps: int) -> dict[str, Array]:
        """Return the input on the graph's steps."""
        assert graph.dt is not None
        found = {}
        for name, stream in self.streams.items():
            shape = graph.inputs[name].shape
            if isinstance(stream, Events):
                found[name] = stream.on_grid(steps, self.samples, shape, graph.dt)
            else:
                found[name] = self._held(name, stream, graph.dt, steps)
        return found

    def in_time(self, graph: Graph, steps: int) -> dict[str, Events | Array]:
        """Return the input for the run in continuous time."""
        assert graph.dt is not None
        return {
            name: s if isinstance(s, Events) else self._held(name, s, graph.dt, steps)
            for name, s in self.streams.items()
        }

    def _held(self, name: str, stream: Array, dt: float, steps: int) -> Array:
        parts = round(self.dt / dt)
        if parts < 1 or abs(parts * dt - self.dt) > _ON_GRID * self.dt:
            message = f"currents are held for {self.dt:g} s, which is not whole steps of {dt:g} s"
            raise error("SNN601", message, node=name)
        held = np.repeat(stream, parts, axis=0)[:steps]
        missing = steps - len(held)
        return np.concatenate([held, np.zeros((missing, *held.shape[1:]), held.dtype)])


# --- The spikes ----------------------------------------------------------------------------------


def _timing(
    name: str, graph: Graph, stepped: Events, exact: EventResult, tolerance: float
) -> Timing:
    assert graph.dt is not None
    continuous = exact.events[name]
    shape = graph.signal(name).shape
    one, two = stepped, continuous
    left, right = partners(one, two, tolerance)
    at = np.floor(two.time / graph.dt + _ON_GRID).astype(np.int64)
    steps = np.rint(one.time / graph.dt).astype(np.int64)
    apart = np.abs(steps[left] - at[right])
    errors = np.abs(one.time[left] - two.time[right])
    missing = np.setdiff1d(np.arange(len(two)), right)
    extra = np.setdiff1d(np.arange(len(one)), left)
    moved = apart > 0
    partings = [
        *_first(two, missing, "missing", None),
        *_first(one, extra, "extra", steps),
        *_first(two, right[moved], "moved", _scattered(len(two), right, steps[left])),
    ]
    first = min(partings, key=lambda found: found[0], default=None)
    parting = None
    if first is not None:
        time, sample, index, step, what = first
        neuron = tuple(int(i) for i in np.unravel_index(index, shape)) if shape else ()
        parting = Parting(name, sample, neuron, time, step, what)
    count = len(left)
    return Timing(
        name, len(one), len(two), count, int(np.count_nonzero(~moved)), len(missing), len(extra),
        float(errors.mean()) if count else 0.0, float(errors.max(initial=0.0)),
        float(apart.mean()) if count else 0.0, int(apart.max(initial=0)), parting,
    )  # fmt: skip


def _scattered(size: int, where: Array, values: Array) -> Array:
    result = np.zeros(size, np.int64)
    result[where] = values
    return result


def _first(
    events: Events, which: Array, what: str, steps: Array | None
) -> list[tuple[float, int, int, int | None, str]]:
    if not len(which):
        return []
    k = int(which[np.argmin(events.time[which])])
    step = None if steps is None else int(steps[k])
    return [(float(events.time[k]), int(events.sample[k]), int(events.index[k]), step, what)]


def partners(one: Events, two: Events, tolerance: float) -> tuple[Array, Array]:
    """Return which spikes of two streams belong together.

    Two spikes of a neuron are partners if each is the other's nearest and they are no further
    apart than the tolerance; of two that are equally near, the earlier one counts.

    Args:
        one: A stream.
        two: The other.
        tolerance: Seconds; a billionth of it is let pass.

    Returns:
        Positions in the first and in the second stream, by pair, in order of the first.
    """
    towards = _nearest(one, two), _nearest(two, one)
    left = np.flatnonzero(towards[0] >= 0)
    left = left[towards[1][towards[0][left]] == left]
    right = towards[0][left]
    near = np.abs(one.time[left] - two.time[right]) <= tolerance * (1 + 1e-9)
    return left[near], right[near]


def _nearest(own: Events, other: Events) -> Array:
    """Return each spike's nearest one of the same neuron in another stream, -1 for none."""
    count = len(own) + len(other)
    time, index, sample = (
        np.concatenate([getattr(own, name), getattr(other, name)])
        for name in ("time", "index", "sample")
    )
    order = np.lexsort((np.arange(count), time, index, sample))
    place = np.arange(count)
    is_other = order >= len(own)
    before = np.maximum.accumulate(np.where(is_other, place, -1))
    after = np.minimum.accumulate(np.where(is_other, place, count)[::-1])[::-1]
    found = np.full(count, -1)
    best = np.full(count, np.inf)
    for near in (before, after):
        there = (near >= 0) & (near < count) & ~is_other
        mine, theirs = order[there], order[near[there]]
        same = (index[mine] == index[theirs]) & (sample[mine] == sample[theirs])
        mine, theirs = mine[same], theirs[same]
        apart = np.abs(time[mine] - time[theirs])
        nearer = apart < best[mine]
        found[mine[nearer]], best[mine[nearer]] = theirs[nearer], apart[nearer]
    return np.where(found >= 0, found - len(own), -1)[: len(own)]
