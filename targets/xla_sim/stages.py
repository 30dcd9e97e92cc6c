"""The stages of a schedule, traced with JAX.

This module depends on JAX and `snnir.network` alone and is copied into emitted folders.
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


def state_kind(program: Program, unit: Unit) -> Any:
    """Return the element type of the states of a node."""
    if unit.kind == "random":
        return "uint32"
    wide = unit.kind in ("neuron", "plastic") and program.steps[unit.function].wide
    return "float64" if wide else program.model.dtype


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
        some = arrays[0]
        like = [some] * step.outputs
        like += [some[:1] if name in step.lasting else some for name in step.states]
        return tuple(full(y, a, some.dtype) for y, a in zip(made, like, strict=True))

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
    inner = state_kind(run.program, unit)
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
