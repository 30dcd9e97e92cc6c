"""Comparing two runs spike by spike: where they part, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from snnir.errors import SnnirError, error
from snnir.event_diff import EventDiff, diff_events
from snnir.ir.graph import Graph
from snnir.progress import progress
from snnir.sides import (
    FileSide,
    FolderSide,
    GraphSide,
    Recording,
    Side,
    Traces,
    dt_of,
    graph_of,
    name_of,
    side_of,
    wanted,
)
from snnir.windows import MOST_NODES, Window, states_around, until, window

Array = npt.NDArray[Any]

#: Steps shown before and after the first difference.
_AROUND = 3


@dataclass(frozen=True)
class Around:
    """Both traces of one neuron around the first difference.

    Attributes:
        steps: The steps.
        a, b: The values at them.
    """

    steps: tuple[int, ...]
    a: tuple[float, ...]
    b: tuple[float, ...]


@dataclass(frozen=True)
class NodeDiff:
    """Comparison of one node.

    Attributes:
        node: Its name (outputs are `output:name`; what lasts of a run is `node:state`, of which
            the value after the last step is compared).
        spikes_a, spikes_b: Sums of both traces.
        differing: Number of elements that differ (XOR for spikes).
        total: Number of elements.
        first_step: First step with a difference, or None.
        index: (batch, *neuron) of the first difference.
        values: Both values there.
        around: Both traces of that neuron around it.
        largest: Largest absolute difference.
    """

    node: str
    spikes_a: float
    spikes_b: float
    differing: int
    total: int
    first_step: int | None = None
    index: tuple[int, ...] = ()
    values: tuple[float, float] = (0.0, 0.0)
    around: Around | None = None
    largest: float = 0.0


@dataclass(frozen=True)
class Diff:
    """Comparison of two runs on the same input.

    Attributes:
        nodes: Every node both have, in order of flow, then the outputs, then what lasts.
        only_a, only_b: Populations only one of them has.
        sides: What is compared, in words.
        windows: Both runs around the first difference of the nodes that part first.
        states: The same of states (`node:state`) of the neuron that parts first, if known.
        spread: How many elements differ in each step [T], of the nodes that part first.
        graph: The graph of one of them, if known.
        dt: Seconds per step, if known.
    """

    nodes: tuple[NodeDiff, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    sides: tuple[str, str] = ("a", "b")
    windows: Mapping[str, Window] = field(default_factory=dict, repr=False, compare=False)
    states: Mapping[str, Window] = field(default_factory=dict, repr=False, compare=False)
    spread: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    graph: Graph | None = field(default=None, repr=False, compare=False)
    dt: float | None = field(default=None, repr=False, compare=False)

    @property
    def identical(self) -> bool:
        """Whether no element differs."""
        return all(node.differing == 0 for node in self.nodes)

    @property
    def first(self) -> NodeDiff | None:
        """The node that parts first in time, the earliest in the flow among equals."""
        parted = [node for node in self.nodes if node.first_step is not None]
        return min(parted, key=lambda node: node.first_step or 0, default=None)


@overload
def diff(
    a: Any,
    b: Any,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    *,
    record: Sequence[str] | None = None,
    membranes: bool = False,
) -> Diff: ...


@overload
def diff(a: Any, b: Any, *, against: Literal["events"], **options: Any) -> EventDiff: ...


def diff(
    a: Any,
    b: Any,
    x: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    *,
    record: Sequence[str] | None = None,
    membranes: bool = False,
    against: str | None = None,
    **options: Any,
) -> Diff | EventDiff:
    """Run two models on one input, or compare recordings, or a model with continuous time.

    With `against="events"` the second argument is the input: the graph `a`, of continuous neurons,
    is run as its records say in steps and, exactly, from event to event, and what is returned says
    how far their spikes are apart, see `snnir.event_diff`.

    Args:
        a: A graph, a model file, an artefact folder, a live torch module (run by its own
            framework), or a recorded `.npz`, which counts as a run that has happened.
        b: The other.
        x: The input, [T, B, *shape] or one per input name; not needed for two recordings.
        record: Nodes to compare; by default every population both have.
        membranes: Whether both run once more, up to a few steps after the first difference, to
            know the membranes of the neuron that parts first.
        against: `events` or None.
        options: With it: `dt` (seconds per step instead of the graph's), `tolerance` (seconds
            within which spikes are taken for the same; 5 steps by default), `duration` (seconds,
            where the input is `Events`), and options of the target `events`.

    Raises:
        SnnirError: SNN601 if they have nothing comparable, or shapes differ.
    """
    if against is not None:
        return _against(against, a, b, options)
    if options:
        raise TypeError(f"diff has no option '{next(iter(options))}' without against=\"events\"")
    one, two = side_of(a), side_of(b)
    names_a, names_b = one.populations(x), two.populations(x)
    shared = list(record) if record is not None else _shared(one, two, names_a, names_b)
    with progress("running both", 2) as step:
        left = one.run(x, shared)
        step()
        right = two.run(x, shared)
    pairs = {
        name: (left.recorded[name], right.recorded[name])
        for name in shared
        if name in left.recorded and name in right.recorded
    }
    outputs = [name for name in left.outputs if name in right.outputs]
    if not outputs and len(left.outputs) == len(right.outputs) == 1:
        (only_a,), (only_b,) = left.outputs.values(), right.outputs.values()
        pairs["output"] = (only_a, only_b)
    pairs.update({f"output:{n}": (left.outputs[n], right.outputs[n]) for n in outputs})
    kept = {
        name: (value[None, None], right.lasting[name][None, None])
        for name, value in left.lasting.items()
        if name in right.lasting
    }
    if not pairs:
        raise error("SNN601", "the two have no node or output in common to compare")
    made = next(iter(pairs.values()))[0]
    found = Diff(
        (
            *(_compare(name, p, q) for name, (p, q) in pairs.items()),
            *(_at_the_end(_compare(name, p, q), len(made)) for name, (p, q) in kept.items()),
        ),
        tuple(n for n in names_a or () if n not in shared),
        tuple(n for n in names_b or () if n not in shared),
        (name_of(one), name_of(two)),
        graph=graph_of(one) or graph_of(two),
        dt=dt_of(one) or dt_of(two),
    )
    found = _around_differences(found, pairs)
    return _with_membranes(found, one, two, x) if membranes else found


def _at_the_end(found: NodeDiff, steps: int) -> NodeDiff:
    """Return the comparison of what lasts, which is known after the last step."""
    return replace(found, first_step=steps - 1, around=None) if found.differing else found


def _around_differences(found: Diff, pairs: Mapping[str, tuple[Array, Array]]) -> Diff:
    """Return a comparison with what is around the differences of the nodes that part first."""
    parted = [node for node in found.nodes if node.first_step is not None and node.node in pairs]
    soonest = sorted(parted, key=lambda node: node.first_step or 0)[:MOST_NODES]
    windows = {
        node.node: window(*pairs[node.node], (node.first_step or 0, *node.index))
        for node in soonest
    }
    spread = {node.node: _per_step(*pairs[node.node]) for node in soonest}
    states = {}
    first = found.first
    if first is not None and first.node in windows:
        own = {n: pair for n, pair in pairs.items() if n.startswith(f"{first.node}:")}
        states = {n: states_around(windows[first.node], *pair) for n, pair in own.items()}
    known = {name: around for name, around in states.items() if around is not None}
    return replace(found, windows=windows, spread=spread, states=known)


def _per_step(a: Array, b: Array) -> Array:
    each: Array = np.count_nonzero((a != b).reshape(len(a), -1), axis=1)
    return each


def _with_membranes(found: Diff, one: Side, two: Side, x: Any) -> Diff:
    """Return a comparison that knows the membranes of the neuron that parts first."""
    first = found.first
    known = all(isinstance(side, (GraphSide, FileSide, FolderSide)) for side in (one, two))
    if first is None or found.states or first.node not in found.windows or not known:
        return found
    name, around = f"{first.node}:v", found.windows[first.node]
    try:
        sides: list[Traces] = [side.run(until(x, around), [name]) for side in (one, two)]
        made = states_around(around, *(side.recorded[name] for side in sides))
    except (SnnirError, KeyError):  # a state of that name is not known on either side
        return found
    return found if made is None else replace(found, states={name: made})


def _against(what: str, model: Any, x: Any, options: Mapping[str, Any]) -> EventDiff:
    if what != "events":
        raise error("SNN601", f"cannot compare against '{what}'", hint="use events")
    graph = graph_of(side_of(model))
    if graph is None:
        hint = "give a graph or a model file with neurons that are still continuous"
        raise error("SNN601", "what has been compiled is not known in continuous time", hint=hint)
    return diff_events(graph, wanted(x), **options)


def _shared(
    one: Side, two: Side, names_a: list[str] | None, names_b: list[str] | None
) -> list[str]:
    """Return the populations both sides can give, in order of flow."""
    if names_a is not None and names_b is not None:
        return [name for name in names_a if name in names_b]
    recordings = [side.traces.recorded for side in (one, two) if isinstance(side, Recording)]
    known = names_a or names_b or list(recordings[0])
    return [name for name in known if all(name in recorded for recorded in recordings)]


def _compare(name: str, a: Array, b: Array) -> NodeDiff:
    if a.shape != b.shape:
        message = f"its traces have shapes {list(a.shape)} and {list(b.shape)}"
        raise error("SNN601", message, node=name)
    wrong = a != b
    count = int(wrong.sum())
    total = (float(a.sum(dtype=np.float64)), float(b.sum(dtype=np.float64)))
    if not count:
        return NodeDiff(name, *total, 0, wrong.size)
    first = np.unravel_index(int(wrong.argmax()), wrong.shape)
    index = tuple(int(i) for i in first)
    values = (float(a[first]), float(b[first]))
    largest = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
    around = _around(a, b, index)
    return NodeDiff(name, *total, count, wrong.size, index[0], index[1:], values, around, largest)


def _around(a: Array, b: Array, index: tuple[int, ...]) -> Around:
    step, *neuron = index
    steps = range(max(0, step - _AROUND), min(len(a), step + _AROUND + 1))
    one, two = (tuple(float(y[(t, *neuron)]) for t in steps) for y in (a, b))
    return Around(tuple(steps), one, two)
