"""Recurrences and synapses that learn, stepped with JAX.

This module depends on JAX and `stages` alone and is copied into emitted folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnir.network import Unit
from snnir.targets.xla_sim.kernels import kept_apart
from snnir.targets.xla_sim.stages import (
    Array,
    Run,
    State,
    Values,
    chosen,
    delayed,
    full,
    neuron_step,
    run_batched,
    state_kind,
)


def run_random(run: Run, unit: Unit, values: Values, state: State) -> None:
    """Draw random numbers for every step of the tile."""
    time, batch = values[unit.operands[0]].shape[:2]
    first = state[unit.name]["step"]
    steps = first + lax.iota(jnp.uint32, time)
    values[unit.results[0]] = run.program.kernels["uniform"](
        unit.options["seed"], steps, batch, unit.shape, run.program.model.dtype
    )
    count = time if run.count is None else run.count
    state[unit.name] = {"step": first + jnp.asarray(count, jnp.uint32)}


def pass_through(run: Run, unit: Unit, x: Array, own: Values) -> Array:
    """Return what synapses make of x [batch, pre] with the weights as they are."""
    weight = lax.stop_gradient(own[unit.options["weight"]][0])
    y = run.program.kernels["plastic_sum"](x.astype(weight.dtype), weight, run.low)
    return y.astype(x.dtype)


def learned(run: Run, unit: Unit, now: Values, own: Values) -> Values:
    """Return the states of synapses when a step ends, given the values of the step."""
    step = run.program.steps[unit.function]
    kind = state_kind(run.program, unit)
    batch = now[unit.operands[0]].shape[1]
    post, pre = unit.shape
    shapes = {"pre": (batch, 1, pre), "post": (batch, post, 1), "all": (batch, 1, 1)}
    names = zip(unit.operands[1:], unit.options["reads"], strict=True)
    given = [now[name].reshape(shapes[read]).astype(kind) for name, read in names]
    given = kept_apart(lax.stop_gradient(given)) if given else []
    states = [own[name] for name in step.states]
    params = [run.tensors[unit.tensors[name]].astype(kind) for name in step.params]
    # What is learned counts as constant; nothing in a rule is differentiated.
    made = step.forward(*lax.stop_gradient([*given, *states, *params]), run.low)
    return {
        name: full(value, before, kind)
        for name, value, before in zip(step.states, made, states, strict=True)
    }


def normalise(run: Run, state: State) -> None:
    """End a run: scale the weights of every neuron whose sizes have a total."""
    for unit in run.program.model.units.values():
        if unit.kind == "plastic" and "total" in unit.tensors:
            own, key = state[unit.name], unit.options["weight"]
            scaled = run.program.kernels["normalised"]
            total = run.tensors[unit.tensors["total"]]
            weight = scaled(own[key][0], total, unit.options["sums"], run.low)
            state[unit.name] = own | {key: lax.stop_gradient(weight)[None]}


def stepped(
    run: Run, body: Callable[[State, Values], tuple[State, Values]], state: State, xs: Values,
    time: Any, learns: bool,
) -> tuple[State, Values]:  # fmt: skip
    """Return the state after the steps that count, and what `body` gave, [time, ...].

    Args:
        run: What is fixed.
        body: (state, values from outside) to (new state, values).
        state: Where to start.
        xs: Values from outside, [time, ...].
        time: Steps in the tile.
        learns: Whether the state is large: then there is a loop over the steps that count, so that
            it is changed in place. Otherwise there is one over all, which has gradients.
    """
    if run.count is None or not learns:

        def one(state: State, given: Any) -> tuple[State, Values]:
            now, ok = given
            new, made = body(state, now)
            return chosen(ok, new, state), made

        found: tuple[State, Values]
        found = lax.scan(one, state, (xs, run.valid), length=None if xs else time)
        return found

    def at(index: Any) -> Values:
        return {n: lax.dynamic_index_in_dim(x, index, keepdims=False) for n, x in xs.items()}

    def next_one(index: Array, carry: Any) -> Any:
        state, buffers = carry
        state, made = body(state, at(index))
        return state, {
            name: lax.dynamic_update_index_in_dim(buffers[name], y, index, 0)
            for name, y in made.items()
        }

    shapes = jax.eval_shape(lambda: body(state, at(0))[1])
    buffers = {name: jnp.zeros((time, *y.shape), y.dtype) for name, y in shapes.items()}
    found = lax.fori_loop(0, run.count, next_one, (state, buffers))
    return found


def give(run: Run, unit: Unit, now: Values, states: State, new: State) -> None:
    """Compute what a node gives in one step."""
    if unit.kind == "delay":
        line = states[unit.name]["history"]
        now[unit.results[0]] = delayed(run, unit, line, line.shape[0], 1)
    elif unit.kind == "neuron":
        inputs = [now[name][0] for name in unit.operands]
        new[unit.name], outputs = neuron_step(run, unit)(states[unit.name], inputs)
        now.update({n: y[None] for n, y in zip(unit.results, outputs, strict=True)})
    elif unit.kind == "plastic":
        x = now[unit.operands[0]][0]
        now[unit.results[0]] = pass_through(run, unit, x, states[unit.name])[None]
    elif unit.kind == "random":
        run_random(run, unit, now, new)
    else:
        run_batched(run, unit, now)


def take_in(run: Run, unit: Unit, now: Values, states: State, new: State) -> None:
    """End a step: delays take in their operand, synapses learn."""
    if unit.kind == "delay":
        line = states[unit.name]["history"]
        new[unit.name] = {"history": jnp.concatenate([line[1:], now[unit.operands[0]]])}
    elif unit.kind == "plastic":
        new[unit.name] = learned(run, unit, now, states[unit.name])


def given_out(run: Run, units: Sequence[Unit]) -> set[str]:
    """Return the values of a recurrence that somebody reads; others are not kept."""
    model = run.program.model
    others = [unit for unit in model.units.values() if unit not in units]
    read = {name for unit in others for name in unit.operands}
    read |= {*model.outputs.values(), *model.populations, *run.watch}
    return read & {name for unit in units for name in unit.results}


def run_loop(run: Run, units: Sequence[Unit], values: Values, state: State) -> None:
    """Step a recurrence: delays give what they hold, the rest runs in order.

    When the step ends, delays take in and synapses learn.
    """
    inside = {name for unit in units for name in unit.results}
    outside = {name for unit in units for name in unit.operands} - inside
    own = {unit.name: state[unit.name] for unit in units if unit.name in state}
    kept = given_out(run, units)
    one = replace(run, valid=None, count=None)

    def body(states: State, xs: Values) -> tuple[State, Values]:
        now, new = {name: x[None] for name, x in xs.items()}, dict(states)
        for unit in units:
            give(one, unit, now, states, new)
        for unit in units:
            take_in(one, unit, now, states, new)
        made = {name: y[0] for name, y in now.items() if name in kept}
        for name in run.watch:
            node, _, key = name.rpartition(":")
            if node in new and key in new[node]:
                made[name] = new[node][key]
        return new, made

    time = values[min(outside or values)].shape[0]
    learns = any(unit.kind == "plastic" for unit in units)
    xs = {name: values[name] for name in outside}
    found, made = stepped(run, body, own, xs, time, learns)
    state.update(found)
    values.update(made)
