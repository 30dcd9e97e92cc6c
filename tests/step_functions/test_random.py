"""Random step functions: matrices, shifts, comparisons and states in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs jax")
import jax.numpy as jnp

import snnir

F32 = jnp.float32


class Recipe:
    """A random straight-line step over populations of one size."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.size, self.inputs, self.states = (int(n) for n in rng.integers(2, 5, 3))
        self.layout = str(rng.choice(["tuple", "concat", "stack"]))
        self.lines = rng.integers(0, (15, 100, 100, 3), (int(rng.integers(4, 14)), 4)).tolist()
        self.new = rng.integers(0, 100, self.states).tolist()
        self.out = rng.integers(0, 100, 2).tolist()
        draw = lambda *shape: jnp.asarray(rng.integers(-8, 9, shape) / 16, F32)  # noqa: E731
        self.vectors = [draw(self.size) for _ in range(3)]
        self.matrices = [draw(self.size, self.size) for _ in range(3)]
        self.first = draw(self.inputs, self.size)
        starts = [draw(self.size) * int(rng.integers(0, 2)) for _ in range(self.states)]
        self.state = self.joined(starts)

    def joined(self, values: list[Any]) -> Any:
        join: dict[str, Callable[..., Any]] = {"concat": jnp.concatenate, "stack": jnp.stack}
        return join.get(self.layout, tuple)(values)

    def split(self, state: Any) -> list[Any]:
        if self.layout == "concat":
            return [state[i * self.size : (i + 1) * self.size] for i in range(self.states)]
        return [state[i] for i in range(self.states)]

    def line(self, op: int, a: Any, b: Any, at: int) -> Any:
        c, m = self.vectors[at], self.matrices[at]
        results: list[Callable[[], Any]] = [
            lambda: a + b, lambda: a - b, lambda: a * c, lambda: a + c,
            lambda: (a > c).astype(F32), lambda: a @ m, lambda: m @ a,
            lambda: jnp.where(a > b, a, c), lambda: jnp.maximum(a, b), lambda: a * 0.5,
            lambda: jnp.roll(a, 1), lambda: a * (1 - (b > 0.5)), lambda: jnp.abs(a) - b,
            lambda: a[::-1], lambda: jnp.full(self.size, a.max()),
        ]  # fmt: skip
        return jnp.clip(results[op](), -64, 64)

    def step(self, state: Any, x: Any) -> Any:
        values = [*self.split(state), x @ self.first]
        for op, a, b, at in self.lines:
            values.append(self.line(op, values[a % len(values)], values[b % len(values)], at))
        new = [jnp.clip(values[k % len(values)], -8, 8) * 0.5 for k in self.new]
        return self.joined(new), tuple(values[-1 - k % len(self.lines)] for k in self.out)


def check(seed: int, batched: bool) -> None:
    recipe = Recipe(seed)
    step, state, x = recipe.step, recipe.state, jnp.ones(recipe.inputs)
    if batched:
        step = jax.vmap(step)
        state, x = jax.tree_util.tree_map(lambda a: jnp.stack([a] * 3), (state, x))
    graph = snnir.from_jax(step, state, x, batched=batched)
    note = graph.provenance.notes[-1]
    # Where the model of XLA's roundings fails, the note says so; spikes are equal all the same.
    assert "all states equal" in note or "spikes equal" in note
    assert snnir.parse(str(graph)) == graph
    if "all states equal" in note:
        xs = np.random.default_rng(seed).integers(0, 3, (40, *x.shape)).astype(np.float32)
        _, outputs = jax.jit(lambda xs: jax.lax.scan(step, state, xs))(xs)
        found = snnir.run(graph, xs if batched else xs[:, None]).outputs
        for values, wanted in zip(found.values(), outputs, strict=True):
            assert np.array_equal(values if batched else values[:, 0], wanted)


@pytest.mark.parametrize("batched", [False, True])
def test_random_steps(batched: bool) -> None:
    for seed in range(2):
        check(seed, batched)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_more_random_steps(seed: int) -> None:
    check(seed, batched=seed % 2 == 0)
