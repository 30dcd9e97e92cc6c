"""Modules of jaxsnn that generated files define; read as text by function, never imported.

jaxsnn is compiled by XLA, which merges products with the sums that read them and adds up constants.
Numbers pass a maximum with minus infinity where that would change how they round; it is made from
the data, so that no compiler can know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxsnn.discrete.topology import Topology
from jaxsnn.discrete.types import Population

Array = Any


class Ordered(Topology):
    """A topology with a stated order of a step; jaxsnn's own depends on the hashes of names."""

    def __init__(self, order: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.order = order

    def pre_process(self) -> list[tuple[str, ...]]:
        """Attach the functions of the nodes and return the order."""
        self.node_index_mapping = {node: at for at, node in enumerate(self.order)}
        self.node_scc_mapping = {node: (node,) for node in self.order}
        self.attach_layer_fns()
        return [(node,) for node in self.order]


def population(size: int, step: Callable[..., Any], start: Any = None) -> Population:
    """Return a population with a step (inputs, state) -> (state, output) of its own."""

    def generator(dt: float) -> Any:
        return Population.Functions(
            lambda rng: None,
            lambda: (start, jnp.zeros(size)),
            lambda inputs, state, parameters: step(inputs, state),
        )

    return Population(generator, {"size": size}, size)


def added(inputs: dict[str, Array], names: Sequence[str]) -> Array:
    """Return the sum of some inputs, in order."""
    total = inputs[names[0]]
    for name in names[1:]:
        total = total + inputs[name]
    return total


def total(size: int, names: Sequence[str]) -> Population:
    """Return a population that gives the sum of what it reads."""
    return population(size, lambda inputs, state: (None, added(inputs, names)))


def scaled(size: int, name: str, factor: Array) -> Population:
    """Return a population that gives factor * x."""

    def step(inputs: dict[str, Array], state: None) -> tuple[None, Array]:
        x = inputs[name]
        return None, mul(factor, x, unseen(x))

    return population(size, step)


def shifted(size: int, name: str, offset: Array) -> Population:
    """Return a population that gives x + offset."""

    def step(inputs: dict[str, Array], state: None) -> tuple[None, Array]:
        x = inputs[name]
        low = unseen(x)
        return None, guard(x, low) + guard(offset, low)

    return population(size, step)


def delayed(size: int, name: str, steps: int) -> Population:
    """Return a population that gives what it read some steps ago."""

    def step(inputs: dict[str, Array], state: Array) -> tuple[Array, Array]:
        return jnp.concatenate([state[1:], inputs[name][None]]), state[0]

    return population(size, step, jnp.zeros((steps, size)))


def cell(
    size: int,
    names: Sequence[Sequence[str]],
    program: Callable[..., Any],
    params: dict[str, Array],
    start: dict[str, Array],
) -> Population:
    """Return a population that runs a step program.

    Args:
        size: Number of neurons.
        names: What is added up for each input of the program.
        program: (low, *inputs, states, parameters) -> (states, output).
        params: The program's parameters.
        start: Its states before the first step.
    """

    def step(inputs: dict[str, Array], state: dict[str, Array]) -> Any:
        xs = [added(inputs, terms) for terms in names]
        low = unseen(xs[0])
        return program(low, *xs, state, {key: guard(x, low) for key, x in params.items()})

    filled = {key: jnp.full(size, x, jnp.float32) for key, x in start.items()}
    return population(size, step, filled)


def unseen(x: Array) -> Array:
    """Return minus infinity for every element, in a way that no compiler sees (NaN for NaN)."""
    return jnp.where(x == x, -jnp.inf, x)  # noqa: PLR0124


def guard(value: Array, low: Array) -> Array:
    """Return a value that is rounded before it is used."""
    return jnp.maximum(value, low)


def mul(a: Array, b: Array, low: Array) -> Array:
    """Return a * b, rounded."""
    return guard(a * b, low)


def div(a: Array, b: Array, low: Array) -> Array:
    """Return a / b, divided and rounded."""
    return guard(a / guard(b, low), low)


def slope(x: Array) -> Array:
    """Return the derivative that stands in for that of a spike: SuperSpike's, as in jaxsnn."""
    return 1.0 / (80.0 * jnp.abs(x) + 1.0) ** 2


@jax.custom_jvp
def above(x: Array, threshold: Array) -> Array:
    """Return 1 where x > threshold, else 0."""
    return (x > threshold).astype(jnp.float32)


@above.defjvp
def above_jvp(values: Any, tangents: Any) -> Any:
    """Return the value and its derivative."""
    (x, threshold), (dx, dthreshold) = values, tangents
    return above(x, threshold), slope(x - threshold) * (dx - dthreshold)


@jax.custom_jvp
def at_least(x: Array, threshold: Array) -> Array:
    """Return 1 where x >= threshold, else 0."""
    return (x >= threshold).astype(jnp.float32)


@at_least.defjvp
def at_least_jvp(values: Any, tangents: Any) -> Any:
    """Return the value and its derivative."""
    (x, threshold), (dx, dthreshold) = values, tangents
    return at_least(x, threshold), slope(x - threshold) * (dx - dthreshold)


def fires_above(x: Array) -> Array:
    """Return a spike where x > 0."""
    return above(x, jnp.zeros_like(x))


def fires_at(x: Array) -> Array:
    """Return a spike where x >= 0."""
    return at_least(x, jnp.zeros_like(x))
