"""Running a schedule with NumPy.

This module depends on NumPy alone and is copied into emitted artefacts. The in-process simulator
and the artefact share it; they differ in how a node's function came about (interpreted from the
IR, or printed as Python), so that comparing them checks the printing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Rows (time steps times batch) that feed-forward stages process at once.
TILE_ROWS = 256


@dataclass(frozen=True)
class Unit:
    """One node, ready to run.

    Attributes:
        name: The node's name.
        kind: `op` (stateless), `neuron`, `delay`, `plastic` or `random`.
        operands: Names of the values it reads; result 0 of a node is the node's own name.
        function: For a stateless op: arrays [rows, *shape] to one array. For a neuron: its
            inputs [batch, *shape] and the dict of states, which it updates, to one array per
            result. For random numbers: number of the step, size of the batch and shape to an array.
        results: Names of the values it yields.
        initial: States before the first step, broadcastable to their shape.
        shape: Shape of one sample of its states: of its result, or [post, pre] of synapses.
        steps: Of a delay: whole steps, an int or an array.
        state_dtype: Element type of the states.
        lasting: Shape of the states that all samples share and that outlive a run.
        rule: Of synapses that learn: how they are computed.
    """

    name: str
    kind: str
    operands: tuple[str, ...]
    function: Callable[..., Any] | None = None
    results: tuple[str, ...] = ()
    initial: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    steps: Any = None
    state_dtype: Any = np.float32
    lasting: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rule: Rule | None = None


@dataclass(frozen=True)
class Rule:
    """How synapses that learn are computed.

    Attributes:
        forward: (x [batch, pre], weights [post, pre]) to y [batch, post].
        learn: The inputs of the rule, broadcastable to [batch, post, pre], and the states.
        reads: For every input, `pre`, `post` or `all`.
        weight: The state that is the weight.
        normalise: Weights to weights when a run ends, if they are.
    """

    forward: Callable[..., Array]
    learn: Callable[..., Any]
    reads: tuple[str, ...]
    weight: str
    normalise: Callable[..., Array] | None = None


@dataclass(frozen=True)
class Model:
    """A scheduled network.

    Attributes:
        stages: (kind, names) in order; kinds are batched, scan, shift and loop.
        units: Every node that is not an input.
        inputs: Shape of each input.
        outputs: Value behind each output name.
        dtype: Element type of streams.
        offset: Steps by which outputs and records are reported late.
    """

    stages: Sequence[tuple[str, Sequence[str]]]
    units: Mapping[str, Unit]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, str]
    dtype: Any
    offset: int = 0


State = dict[str, dict[str, Array]]


class UnknownRecord(LookupError):
    """A name to record that the network does not compute; the message is one line."""


def check_record(model: Model, record: Sequence[str]) -> None:
    """Raise UnknownRecord for the first name that is no value and no `node:state`."""
    units = model.units.values()
    known = {*model.inputs, *(name for unit in units for name in unit.results)}
    remembering = [unit for unit in units if unit.kind != "random"]
    known |= {f"{unit.name}:{key}" for unit in remembering for key in unit.initial}
    for name in record:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
            raise UnknownRecord(f"there is nothing called {name!r} to record{hint}")


def initial_state(model: Model, batch: int, lasting: Mapping[str, Array] | None = None) -> State:
    """Return the state of everything that remembers before the first step.

    Args:
        model: The network.
        batch: Samples.
        lasting: `node:state` to what lasts of an earlier run, by default what the network has.
    """
    lasting = lasting or {}
    state: State = {}
    for unit in model.units.values():
        full = (batch, *unit.shape)
        if unit.kind == "delay":
            longest = int(np.max(unit.steps, initial=0))
            state[unit.name] = {"history": np.zeros((longest, *full), model.dtype)}
        elif unit.kind != "op":
            state[unit.name] = own = {}
            for key, value in unit.initial.items():
                shape = (1, *unit.lasting[key]) if key in unit.lasting else full
                given = lasting.get(f"{unit.name}:{key}", value)
                own[key] = np.array(np.broadcast_to(np.asarray(given, unit.state_dtype), shape))
    return state


def lasting_state(model: Model, state: State) -> dict[str, Array]:
    """Return what lasts of a run, by `node:state`."""
    return {
        f"{unit.name}:{key}": state[unit.name][key][0].copy()
        for unit in model.units.values()
        for key in unit.lasting
    }


def end_run(model: Model, state: State) -> None:
    """Normalise the weights that are normalised when a run ends."""
    for unit in model.units.values():
        rule = unit.rule
        if rule is not None and rule.normalise is not None:
            own = state[unit.name]
            own[rule.weight] = rule.normalise(own[rule.weight][0])[None]


def delayed(steps: Any, history: Array, x: Array) -> tuple[Array, Array]:
    """Return (x shifted by `steps`, the new history) for a tile x [time, batch, *shape]."""
    line = np.concatenate([history, x]) if len(history) else x
    length, time = len(history), len(x)
    if np.ndim(steps) == 0:
        first = length - int(steps)
        return line[first : first + time], line[time:] if length else history
    y = np.empty_like(x)
    for value in np.unique(steps):
        chosen = np.broadcast_to(steps == value, x.shape[2:])
        first = length - int(value)
        y[:, :, chosen] = line[first : first + time][:, :, chosen]
    return y, line[time:] if length else history


def run_batched(unit: Unit, values: dict[str, Array]) -> None:
    """Apply a stateless op to all steps of the tile at once."""
    assert unit.function is not None
    arrays = [values[name] for name in unit.operands]
    time, batch = arrays[0].shape[:2]
    rows = [a.reshape(time * batch, *a.shape[2:]) for a in arrays]
    y = unit.function(*rows)
    values[unit.results[0]] = y.reshape(time, batch, *y.shape[1:])


def run_scan(unit: Unit, values: dict[str, Array], state: State, watch: set[str]) -> None:
    """Step one neuron population through the tile."""
    assert unit.function is not None
    inputs = [values[name] for name in unit.operands]
    own = state[unit.name]
    collected: dict[str, list[Array]] = {}
    for now in zip(*inputs, strict=True):
        for name, y in zip(unit.results, unit.function(*now, own), strict=True):
            collected.setdefault(name, []).append(y)
        for key in own:
            if f"{unit.name}:{key}" in watch:
                collected.setdefault(f"{unit.name}:{key}", []).append(own[key].copy())
    for name, steps in collected.items():
        values[name] = np.stack(steps)


def run_unit(
    units: Sequence[Unit], values: dict[str, Array], state: State, watch: set[str]
) -> None:
    """Run a population behind the ops that only it reads; what they yield is not kept."""
    for unit in units[:-1]:
        run_batched(unit, values)
    run_scan(units[-1], values, state, watch)
    for unit in units[:-1]:
        if unit.name not in watch:
            del values[unit.name]


def run_shift(unit: Unit, values: dict[str, Array], state: State) -> None:
    """Advance a delay line by the tile."""
    own = state[unit.name]
    values[unit.results[0]], own["history"] = delayed(
        unit.steps, own["history"], values[unit.operands[0]]
    )


def run_random(unit: Unit, values: dict[str, Array], state: State) -> None:
    """Draw random numbers for every step of the tile."""
    assert unit.function is not None
    time, batch = values[unit.operands[0]].shape[:2]
    own = state[unit.name]
    first = int(own["step"][0])
    draws = [unit.function(first + t, batch, unit.shape) for t in range(time)]
    values[unit.results[0]] = np.stack(draws)
    own["step"] = (own["step"] + time) % (1 << 32)


def run_synapses(unit: Unit, now: dict[str, Array], state: State) -> None:
    """Pass one step through synapses as they are."""
    rule = unit.rule
    assert rule is not None
    weight = state[unit.name][rule.weight][0]
    x = now[unit.operands[0]]
    now[unit.results[0]] = rule.forward(x[0], weight)[None].astype(x.dtype, copy=False)


def run_rule(unit: Unit, now: dict[str, Array], state: State, watch: set[str]) -> None:
    """Let synapses learn from what this step was."""
    rule, own = unit.rule, state[unit.name]
    assert rule is not None
    axes = {"pre": (slice(None), None), "post": (slice(None), slice(None), None)}
    axes["all"] = axes["post"]
    names = zip(unit.operands[1:], rule.reads, strict=True)
    given = [now[name][0][axes[read]] for name, read in names]
    batch = len(now[unit.operands[0]][0])
    like = np.broadcast_to(np.zeros((), unit.state_dtype), (batch, *unit.shape))
    rule.learn(*given, own, like=like)
    for key in own:
        if f"{unit.name}:{key}" in watch:
            now[f"{unit.name}:{key}"] = own[key][None].copy()


def run_loop(
    units: Sequence[Unit], values: dict[str, Array], state: State, watch: set[str]
) -> None:
    """Step a recurrence: delays give what they hold, the rest runs in order, delays take in."""
    inside = {name for unit in units for name in unit.results}
    outside = {name for unit in units for name in unit.operands} - inside
    collected: dict[str, list[Array]] = {}
    time = tile_length(units, values, outside)
    for t in range(time):
        now = {name: values[name][t : t + 1] for name in outside}
        for unit in units:
            give(unit, now, state, watch)
        for unit in units:
            take_in(unit, now, state, watch)
        for name, y in now.items():
            if name not in outside:
                collected.setdefault(name, []).append(y)
    for name, steps in collected.items():
        values[name] = np.concatenate(steps)


def give(unit: Unit, now: dict[str, Array], state: State, watch: set[str]) -> None:
    """Compute what a node gives in one step."""
    if unit.kind == "delay":
        history = state[unit.name]["history"]
        now[unit.results[0]] = delayed(unit.steps, history, history[:1])[0]
    elif unit.kind == "neuron":
        run_scan(unit, now, state, watch)
    elif unit.kind == "plastic":
        run_synapses(unit, now, state)
    elif unit.kind == "random":
        run_random(unit, now, state)
    else:
        run_batched(unit, now)


def take_in(unit: Unit, now: dict[str, Array], state: State, watch: set[str]) -> None:
    """End a step: delays take in their operand, synapses learn."""
    if unit.kind == "plastic":
        run_rule(unit, now, state, watch)
    elif unit.kind == "delay":
        own = state[unit.name]
        own["history"] = np.concatenate([own["history"][1:], now[unit.operands[0]]])


def tile_length(units: Sequence[Unit], values: Mapping[str, Array], outside: set[str]) -> int:
    """Return the number of steps in the tile; a loop that nothing feeds follows the inputs."""
    names = outside or set(values)
    return len(values[min(names)])


def run_tile(model: Model, values: dict[str, Array], state: State, watch: set[str]) -> None:
    """Run every stage on a tile; `values` gains what others read, is recorded or given out."""
    for kind, names in model.stages:
        units = [model.units[name] for name in names if name in model.units]
        if not units:
            continue
        if kind == "batched":
            run_batched(units[0], values)
        elif units[0].kind == "random":
            run_random(units[0], values, state)
        elif kind == "scan":
            run_scan(units[0], values, state, watch)
        elif kind == "unit":
            run_unit(units, values, state, watch)
        elif kind == "shift":
            run_shift(units[0], values, state)
        else:
            run_loop(units, values, state, watch)


def simulate(
    model: Model,
    inputs: Mapping[str, Array],
    record: Sequence[str] = (),
    state: State | None = None,
    lasting: Mapping[str, Array] | None = None,
    told: Callable[[int], None] | None = None,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, float], State]:
    """Run a network.

    Args:
        model: The network.
        inputs: [time, batch, *shape] for every input.
        record: Values to return: `node` or `node:state`.
        state: Where to go on from, as returned before; updated in place.
        lasting: Without a state: `node:state` to what lasts of an earlier run.
        told: Called with the number of steps whenever some are done.

    Returns:
        Outputs by name, records by name (both [time, batch, *shape]), the sum of every value
        that was kept, and the state after the last step.

    Raises:
        UnknownRecord: If a name to record does not exist.
    """
    check_record(model, record)
    time, batch = next(iter(inputs.values())).shape[:2]
    state = initial_state(model, batch, lasting) if state is None else state
    wanted = dict.fromkeys([*model.outputs.values(), *record])
    tiles: dict[str, list[Array]] = {name: [] for name in wanted}
    sums: dict[str, float] = {}
    step = max(1, TILE_ROWS // batch)
    for first in range(0, time, step):
        values = {
            name: np.asarray(x[first : first + step], model.dtype) for name, x in inputs.items()
        }
        run_tile(model, values, state, set(record))
        for name, y in values.items():
            sums[name] = sums.get(name, 0.0) + float(y.sum(dtype=np.float64))
        for name in wanted:
            tiles[name].append(values[name])
        if told is not None:
            told(min(step, time - first))
    end_run(model, state)
    traces = {name: np.concatenate(parts) for name, parts in tiles.items()}
    if model.offset:
        traces = {name: late(model, name, y, state) for name, y in traces.items()}
    outputs = {key: traces[name] for key, name in model.outputs.items()}
    return outputs, {name: traces[name] for name in record}, sums, state


def late(model: Model, name: str, y: Array, state: State) -> Array:
    """Shift a trace by the record offset; what does not fit is kept for the next call."""
    held = state.setdefault("", {})
    before = held.get(name)
    if before is None:
        before = np.zeros((model.offset, *y.shape[1:]), y.dtype)
    line = np.concatenate([before, y])
    held[name] = line[len(y) :]
    return line[: len(y)]
