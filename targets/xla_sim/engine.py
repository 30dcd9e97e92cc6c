"""Running a schedule with JAX.

This module depends on JAX and `snnir.network` alone and is copied into emitted folders; a network
built in memory runs the same code. Everything here is traced: `simulate` is a pure function of
tensors, states and inputs. Feed-forward nodes take all steps of a tile at once, neurons scan over
time, recurrences step together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnir.network import Unit
from snnir.targets.xla_sim.loops import normalise, run_loop, run_random
from snnir.targets.xla_sim.stages import (
    Array,
    Program,
    Run,
    State,
    Values,
    run_batched,
    run_scan,
    run_shift,
    state_kind,
)

#: Rows (time steps times batch) that feed-forward stages process at once, if time is tiled.
TILE_ROWS = 512


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
                elif unit.kind == "random":
                    run_random(run, unit, values, state)
                else:
                    run_scan(run, unit, values, state)
        elif kind == "shift":
            run_shift(run, units[0], values, state)
        else:
            run_loop(run, units, values, state)


def initial_state(
    program: Program, tensors: Values, batch: Any, lasting: Mapping[str, Array] | None = None
) -> State:
    """Return the state of everything that remembers before the first step.

    Args:
        program: The network.
        tensors: Its tensors by `node.attribute`.
        batch: Samples.
        lasting: `node:state` to what lasts of an earlier run, by default what the network has.
    """
    return {
        unit.name: _initial(program, unit, tensors, batch, lasting or {})
        for unit in program.model.units.values()
        if unit.kind != "op"
    }


def _initial(
    program: Program, unit: Unit, tensors: Values, batch: Any, lasting: Mapping[str, Array]
) -> Values:
    kind = state_kind(program, unit)
    if unit.kind == "delay":
        longest = unit.steps
        if "steps" in unit.tensors:
            longest = int(program.constants[unit.tensors["steps"]].max(initial=0))
        return {"history": jnp.zeros((longest, batch, *unit.shape), kind)}
    found = {}
    for key, value in unit.initial.items():
        given: Any = tensors[unit.tensors[value]] if isinstance(value, str) else np.asarray(value)
        given = lasting.get(f"{unit.name}:{key}", given).astype(kind)
        is_lasting = key in unit.lasting
        shape = (1, *unit.lasting[key]) if is_lasting else (batch, *unit.shape)
        found[key] = jnp.broadcast_to(given, shape)
    return found


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
        normalise(run, state)
        return values, state
    whole = {n: x[: count * tile].reshape(count, tile, *x.shape[1:]) for n, x in inputs.items()}
    state, tiles = lax.scan(part, state, whole)
    values = {name: y.reshape(count * tile, *y.shape[2:]) for name, y in tiles.items()}
    if count * tile < time:
        state, last = part(state, {name: x[count * tile :] for name, x in inputs.items()})
        values = {name: jnp.concatenate([y, last[name]]) for name, y in values.items()}
    normalise(run, state)
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
    fixed = Run(program, tensors, low, frozenset(wanted))
    room = next(iter(inputs.values())).shape[0]

    def run_one(index: Array, state: State) -> tuple[Values, dict[str, Array], State]:
        first = index * tile
        xs = {
            name: lax.dynamic_slice_in_dim(x, first, tile).astype(model.dtype)
            for name, x in inputs.items()
        }
        steps = jnp.minimum(count - first, tile)
        valid = jnp.arange(tile) < steps
        run = replace(fixed, valid=valid, count=steps)
        state = dict(state)
        run_tile(run, xs, state)
        sums = {}
        for name in model.populations:
            counted = jnp.where(valid.reshape(-1, *(1,) * (xs[name].ndim - 1)), xs[name], 0)
            axes = (0, *range(2, counted.ndim))
            sums[name] = counted.astype(jnp.int32).sum(axes)
        return {name: xs[name] for name in wanted}, sums, state

    if room == tile:
        values, sums, state = run_one(jnp.asarray(0), state)
        normalise(fixed, state)
        return values, sums, state
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
    normalise(fixed, state)
    return buffers, totals, state
