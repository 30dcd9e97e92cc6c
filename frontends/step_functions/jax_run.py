"""Running a step function with JAX over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.frontends.step_functions.jax_trace import JaxStep
from snnir.frontends.step_functions.traced import Array


class JaxRun:
    """A step, compiled by JAX under `lax.scan`, from the user's initial state.

    Args:
        step: The step.
        batched: Whether it treats a batch.
    """

    def __init__(self, step: JaxStep, batched: bool) -> None:
        self.step, self.batched = step, batched

    @cached_property
    def _compiled(self) -> Any:
        import jax
        import jax.numpy as jnp

        fixed = [jnp.asarray(value.array) for value in self.step.fixed]
        count = len(self.step.states)

        def body(carry: list[Any], xs: list[Any]) -> Any:
            jaxpr = self.step.jaxpr
            found = jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *fixed, *carry, *xs)
            new, outputs = found[:count], found[count:]
            return new, (new, outputs)

        def run(states: list[Any], xs: list[Any]) -> Any:
            return jax.lax.scan(body, states, xs)[1]

        return jax.jit(run)

    def run(self, inputs: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        """Return every state leaf after each step, and the outputs, [T, B, ...].

        Args:
            inputs: [T, B, *shape] by name.

        Raises:
            SnnirError: SNN801 if JAX cannot run it.
        """
        samples = next(iter(inputs.values())).shape[1]
        if not self.batched and samples > 1:
            return self._one_by_one(inputs, samples)
        size = self.step.inputs[0][1][0] if self.batched else 1
        if samples != size:
            raise error(
                "SNN601", f"the step function takes {size} samples at a time, got {samples}"
            )
        xs = [self._given(inputs[name], dtype) for name, _, dtype in self.step.inputs]
        try:
            states, outputs = self._compiled([np.asarray(a) for a in self.step.initial], xs)
        except Exception as failure:
            text = str(failure).splitlines()[0][:200]
            raise error("SNN801", f"JAX raised {type(failure).__name__}: {text}") from None
        named = zip(self.step.outputs, self._arranged(outputs), strict=True)
        return self._arranged(states), dict(named)

    def _one_by_one(
        self, inputs: Mapping[str, Array], samples: int
    ) -> tuple[list[Array], dict[str, Array]]:
        runs = [self.run({n: x[:, i : i + 1] for n, x in inputs.items()}) for i in range(samples)]
        states = [
            np.concatenate(parts, axis=1) for parts in zip(*(r[0] for r in runs), strict=True)
        ]
        names = self.step.outputs
        return states, {n: np.concatenate([r[1][n] for r in runs], axis=1) for n in names}

    def _given(self, x: Array, dtype: Any) -> Array:
        given = x if self.batched else x[:, 0]
        return np.asarray(given).astype(dtype)

    def _arranged(self, leaves: Sequence[Any]) -> list[Array]:
        """Return leaves [T, ...] with an axis for the batch; those without are repeated."""
        batch = self.step.inputs[0][1][0] if self.batched else 1
        found = []
        for leaf in leaves:
            array = np.asarray(leaf)
            if not self.batched:
                array = array[:, None]
            elif array.shape[1:2] != (batch,):
                array = np.repeat(array[:, None], batch, axis=1)
            found.append(array.astype(np.float32))
        return found


def probe(step: JaxStep, batched: bool, steps: int) -> dict[str, Array]:
    """Return inputs [T, B, ...] to try a step on: its example if that is a sequence.

    Else random spikes of the example's size, then values up to it; the same every time.
    """
    rng = np.random.default_rng(11)
    found = {}
    for at, (name, shape, dtype) in enumerate(step.inputs):
        if step.given is not None:
            x = step.given[at][:steps]
        else:
            x = _random(rng, (steps, *shape), step.sizes[at])
        x = x.astype(dtype).astype(np.float32)
        found[name] = x if batched else x[:, None]
    return found


def _random(rng: Any, shape: tuple[int, ...], size: float) -> Array:
    spikes = (rng.random(shape) < 0.5) * size
    graded = np.floor(rng.random(shape) * 16) / 8 * size
    half = shape[0] // 2
    found: Array = np.concatenate([spikes[:half], graded[half:]]).astype(np.float32)
    return found
