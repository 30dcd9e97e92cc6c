"""Running a schedule with JAX.

This module depends on JAX and `snnir.network` alone and is copied into emitted folders; a network
built in memory runs the same code. Everything here is traced: `simulate` is a pure function of
tensors, states and inputs. Feed-forward nodes take all steps of a tile at once, neurons scan over
time, recurrences step together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnir.network import Model, Step, Unit

Array = Any
Values = dict[str, Array]
State = dict[str, dict[str, Array]]

#: Rows (time steps times batch) that feed-forward stages process at once, if time is tiled.
TILE_ROWS = 512


@dataclass(frozen=True)
class Program:
    """A network that can be traced.

    Attributes:
        model: The nodes in order.
        steps: The step programs by name.
        kernels: The stateless ops by name.
        constants: Whole-number tensors, which shape the program: delays per element.
    """

    model: Model
    steps: Mapping[str, Step]
    kernels: Mapping[str, Callable[..., Array]]
    constants: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What is fixed while a tile is traced.

    Attributes:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        low: See `kernels.guard`.
        watch: Values and `node:state` names to return.
        valid: Which steps of the tile count, bool [T]; None if all.
        count: How many of them do.
    """

    program: Program
    tensors: Values
    low: Array | None
    watch: frozenset[str] = frozenset()
    valid: Array | None = None
    count: Array | None = None


@contextlib.contextmanager
def precision(wide: bool) -> Iterator[None]:
    """Allow float64 inside, if it is needed, without changing it elsewhere."""
    if not wide:
        yield
        return
    from jax import experimental

    known = hasattr(jax, "enable_x64")
    with jax.enable_x64(True) if known else experimental.enable_x64(True):
        yield


def full(value: Any, like: Array, kind: Any) -> Array:
    """Return a value in the shape of `like`."""
    return jnp.broadcast_to(jnp.asarray(value, kind), like.shape)


def summed(gradient: Array, shape: Sequence[int]) -> Array:
    """Return the gradient of a value that was broadcast from a shape."""
    extra = gradient.ndim - len(shape)
    total = gradient.sum(range(extra)) if extra else gradient
    ones = tuple(i for i, n in enumerate(shape) if n == 1 and total.shape[i] != 1)
    return total.sum(ones, keepdims=True) if ones else total


def differentiable(step: Step) -> Callable[..., tuple[Array, ...]]:
    """Return (low, *inputs, *states, *params) to the step's results, with its gradient."""

    @jax.custom_vjp
    def run(low: Array | None, *arrays: Array) -> tuple[Array, ...]:
        made = step.forward(*arrays, low)
        return tuple(full(y, arrays[0], arrays[0].dtype) for y in made)

    def forward(low: Array | None, *arrays: Array) -> tuple[tuple[Array, ...], Any]:
        return run(low, *arrays), (low, arrays)

    def backward(saved: Any, gradients: tuple[Array, ...]) -> tuple[Array | None, ...]:
        low, arrays = saved
        made = step.backward(*arrays, *gradients, low)
        some = arrays[0]
        found = (
            summed(full(g, some, some.dtype), a.shape) for g, a in zip(made, arrays, strict=True)
        )
        return (None if low is None else jnp.zeros_like(low), *found)

    run.defvjp(forward, backward)
    made: Callable[..., tuple[Array, ...]] = run
    return made


def chosen(ok: Array | None, new: Any, old: Any) -> Any:
    """Return the new states where the step counts, else the old ones."""
    if ok is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(ok, a, b), new, old)


def run_batched(run: Run, unit: Unit, values: Values) -> None:
    """Apply a stateless op to all steps of the tile at once."""
    arrays = [values[name] for name in unit.operands]
    lead = arrays[0].shape[:2]
    rows = [x.reshape(lead[0] * lead[1], *x.shape[2:]) for x in arrays]
    own = {key: run.tensors[name] for key, name in unit.tensors.items()}
    y = run.program.kernels[unit.function](*rows, **own, **unit.options, low=run.low)
    values[unit.results[0]] = y.reshape(*lead, *y.shape[1:])


def neuron_step(run: Run, unit: Unit) -> Callable[[Any, Sequence[Array]], tuple[Any, Any]]:
    """Return (states, inputs of one step) to (new states, outputs)."""
    step = run.program.steps[unit.function]
    kind = run.program.model.dtype
    inner = "float64" if step.wide else kind
    advance = differentiable(step)
    params = [run.tensors[unit.tensors[name]].astype(inner) for name in step.params]

    def one(states: Any, inputs: Sequence[Array]) -> tuple[Any, Any]:
        own = [states[name] for name in step.states]
        made = advance(run.low, *(x.astype(inner) for x in inputs), *own, *params)
        outputs = tuple(y.astype(kind) for y in made[: step.outputs])
        return dict(zip(step.states, made[step.outputs :], strict=True)), outputs

    return one


def run_scan(run: Run, unit: Unit, values: Values, state: State) -> None:
    """Step one neuron population through the tile."""
    one = neuron_step(run, unit)
    watched = [key for key in state[unit.name] if f"{unit.name}:{key}" in run.watch]

    def body(states: Any, now: Any) -> tuple[Any, Any]:
        inputs, ok = now
        new, outputs = one(states, inputs)
        new = chosen(ok, new, states)
        return new, (outputs, [new[key] for key in watched])

    xs = [values[name] for name in unit.operands]
    state[unit.name], (outputs, traces) = lax.scan(body, state[unit.name], (xs, run.valid))
    values.update(zip(unit.results, outputs, strict=True))
    values.update({f"{unit.name}:{k}": trace for k, trace in zip(watched, traces, strict=True)})


def delayed(run: Run, unit: Unit, line: Array, length: int, time: int) -> Array:
    """Return the next `time` values of a line of `length` past values and new ones."""
    if "steps" not in unit.tensors:
        first = length - unit.steps
        return lax.slice_in_dim(line, first, first + time)
    steps = jnp.broadcast_to(run.program.constants[unit.tensors["steps"]], line.shape[2:])
    times = jnp.arange(time).reshape(-1, *(1,) * (line.ndim - 1))
    places = jnp.broadcast_to(times + (length - steps), (time, *line.shape[1:]))
    return jnp.take_along_axis(line, places, axis=0)


def run_shift(run: Run, unit: Unit, values: Values, state: State) -> None:
    """Advance a delay line by the tile."""
    x, history = values[unit.operands[0]], state[unit.name]["history"]
    line = jnp.concatenate([history, x])
    length = history.shape[0]
    values[unit.results[0]] = delayed(run, unit, line, length, x.shape[0])
    end = x.shape[0] if run.count is None else run.count
    state[unit.name] = {"history": lax.dynamic_slice_in_dim(line, end, length)}


def run_loop(run: Run, units: Sequence[Unit], values: Values, state: State) -> None:
    """Step a recurrence: delays give what they hold, the rest runs in order, delays take in."""
    inside = {name for unit in units for name in unit.results}
    outside = {name for unit in units for name in unit.operands} - inside
    own = {unit.name: state[unit.name] for unit in units if unit.name in state}
    steps = {unit.name: neuron_step(run, unit) for unit in units if unit.kind == "neuron"}
    model = run.program.model
    others = [unit for unit in model.units.values() if unit not in units]
    given_out = {name for unit in others for name in unit.operands}
    given_out |= {*model.outputs.values(), *model.populations, *run.watch}
    given_out &= inside  # what nobody reads is not kept for every step

    def body(states: State, given: Any) -> tuple[State, Values]:
        xs, ok = given
        now, new = {name: x[None] for name, x in xs.items()}, dict(states)
        traces: Values = {}
        for unit in units:
            if unit.kind == "delay":
                line = states[unit.name]["history"]
                now[unit.results[0]] = delayed(run, unit, line, line.shape[0], 1)
            elif unit.kind == "neuron":
                inputs = [now[name][0] for name in unit.operands]
                new[unit.name], outputs = steps[unit.name](states[unit.name], inputs)
                now.update({n: y[None] for n, y in zip(unit.results, outputs, strict=True)})
            else:
                run_batched(run, unit, now)
        for unit in units:
            if unit.kind == "delay":
                line = states[unit.name]["history"]
                new[unit.name] = {"history": jnp.concatenate([line[1:], now[unit.operands[0]]])}
        new = chosen(ok, new, states)
        for name in run.watch:
            node, _, key = name.rpartition(":")
            if node in new and key in new[node]:
                traces[name] = new[node][key]
        return new, {name: y[0] for name, y in now.items() if name in given_out} | traces

    found, made = lax.scan(body, own, ({name: values[name] for name in outside}, run.valid))
    state.update(found)
    values.update(made)


def run_tile(run: Run, values: Values, state: State) -> None:
    """Run every stage on a tile; `values` gains the value of every node."""
    model = run.program.model
    for kind, names in model.stages:
        units = [model.units[name] for name in names if name in model.units]
        if not units:
            continue
        if kind in ("batched", "unit", "scan"):
            for unit in units:
                if unit.kind == "op":
                    run_batched(run, unit, values)
                else:
                    run_scan(run, unit, values, state)
        elif kind == "shift":
            run_shift(run, units[0], values, state)
        else:
            run_loop(run, units, values, state)


def initial_state(program: Program, tensors: Values, batch: Any) -> State:
    """Return the state of every neuron and delay line before the first step."""
    state: State = {}
    model = program.model
    for unit in model.units.values():
        shape = (batch, *unit.shape)
        if unit.kind == "delay":
            longest = unit.steps
            if "steps" in unit.tensors:
                longest = int(program.constants[unit.tensors["steps"]].max(initial=0))
            state[unit.name] = {"history": jnp.zeros((longest, *shape), model.dtype)}
        elif unit.kind == "neuron":
            inner = "float64" if program.steps[unit.function].wide else model.dtype
            state[unit.name] = {
                key: jnp.broadcast_to(
                    tensors[unit.tensors[value]].astype(inner)
                    if isinstance(value, str)
                    else jnp.asarray(value, inner),
                    shape,
                )
                for key, value in unit.initial.items()
            }
    return state


def simulate(
    program: Program, tensors: Values, state: State, inputs: Values, low: Array | None,
    wanted: Sequence[str] = (), tile: int = 0,
) -> tuple[Values, State]:  # fmt: skip
    """Run all steps; pure and differentiable.

    Args:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        state: Where to start, as `initial_state` or this function returns it.
        inputs: [T, B, *shape] by input name.
        low: See `kernels.guard`.
        wanted: Values to return: `node` or `node:state`.
        tile: Steps that are processed at once; 0 for all.

    Returns:
        The values [T, B, *shape], and the state after the last step.
    """
    run = Run(program, tensors, low, frozenset(wanted))

    def part(state: State, xs: Values) -> tuple[State, Values]:
        state, values = dict(state), {n: x.astype(program.model.dtype) for n, x in xs.items()}
        run_tile(run, values, state)
        return state, {name: values[name] for name in wanted}

    time = next(iter(inputs.values())).shape[0]
    count = time // tile if tile else 0
    if count < 2:
        state, values = part(state, dict(inputs))
        return values, state
    whole = {n: x[: count * tile].reshape(count, tile, *x.shape[1:]) for n, x in inputs.items()}
    state, tiles = lax.scan(part, state, whole)
    values = {name: y.reshape(count * tile, *y.shape[2:]) for name, y in tiles.items()}
    if count * tile < time:
        state, last = part(state, {name: x[count * tile :] for name, x in inputs.items()})
        values = {name: jnp.concatenate([y, last[name]]) for name, y in values.items()}
    return values, state


def simulate_tiles(
    program: Program, tensors: Values, state: State, inputs: Values, low: Array | None,
    count: Array, *, wanted: Sequence[str], tile: int,
) -> tuple[Values, dict[str, Array], State]:  # fmt: skip
    """Run the first `count` steps of inputs with room for more, `tile` steps at a time.

    Neither `count` nor what lies behind it changes the compiled program.

    Args:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        state: Where to start.
        inputs: [room, B, *shape] by input name; the room is a multiple of `tile`.
        low: See `kernels.guard`.
        count: Steps to run.
        wanted: Values to return: `node` or `node:state`.
        tile: Steps that are processed at once.

    Returns:
        The values [room, B, *shape], the sum of the spikes of every population over time per
        sample [B], and the state after the last step.
    """
    model = program.model
    room = next(iter(inputs.values())).shape[0]

    def run_one(index: Array, state: State) -> tuple[Values, dict[str, Array], State]:
        first = index * tile
        xs = {
            name: lax.dynamic_slice_in_dim(x, first, tile).astype(model.dtype)
            for name, x in inputs.items()
        }
        steps = jnp.minimum(count - first, tile)
        valid = jnp.arange(tile) < steps
        run = Run(program, tensors, low, frozenset(wanted), valid, steps)
        state = dict(state)
        run_tile(run, xs, state)
        sums = {}
        for name in model.populations:
            counted = jnp.where(valid.reshape(-1, *(1,) * (xs[name].ndim - 1)), xs[name], 0)
            axes = (0, *range(2, counted.ndim))
            sums[name] = counted.astype(jnp.int32).sum(axes)
        return {name: xs[name] for name in wanted}, sums, state

    if room == tile:
        return run_one(jnp.asarray(0), state)
    shapes, sums, _ = jax.eval_shape(run_one, jnp.asarray(0), state)
    buffers = {name: jnp.zeros((room, *y.shape[1:]), y.dtype) for name, y in shapes.items()}
    totals = {name: jnp.zeros(y.shape, y.dtype) for name, y in sums.items()}

    def body(index: Array, carry: Any) -> Any:
        state, buffers, totals = carry
        values, sums, state = run_one(index, state)
        buffers = {
            name: lax.dynamic_update_slice_in_dim(buffers[name], y, index * tile, 0)
            for name, y in values.items()
        }
        return state, buffers, jax.tree.map(jnp.add, totals, sums)

    tiles = (count + tile - 1) // tile
    state, buffers, totals = lax.fori_loop(0, tiles, body, (state, buffers, totals))
    return buffers, totals, state
