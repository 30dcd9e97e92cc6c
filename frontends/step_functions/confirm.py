"""Comparing an imported graph with a run of the step function it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.driver import run
from snnir.errors import error
from snnir.frontends.step_functions.build import Built, Place
from snnir.frontends.step_functions.traced import Array
from snnir.ir.graph import Graph
from snnir.streams import Kind

#: Largest part of a value, and of the largest one, by which roundings may differ before a spike.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
#: Largest share of a population that may fire differently at the first step at which any does.
_SHARE = 0.02


@dataclass(frozen=True)
class Comparison:
    """How a graph's run differs from the framework's.

    Attributes:
        first: The first step at which spikes differ, None if there is none.
        share: The share of that step's spikes that do.
        worst: Largest relative difference of a state or analog output before that step.
        near: Whether all of them are as near as roundings explain.
        equal: Whether everything is equal in every bit.
    """

    first: int | None
    share: float
    worst: float
    near: bool
    equal: bool


def compare(
    made: Built,
    inputs: Mapping[str, Array],
    states: Sequence[Array],
    owners: Sequence[str],
    outputs: Mapping[str, Array],
) -> Comparison:
    """Run a graph and compare it.

    Args:
        made: The graph, and where its states are.
        inputs: [T, B, *shape] by name.
        states: [T, B, *shape] after every step, of each of the user's leaves.
        owners: Names of these leaves.
        outputs: [T, B, *shape] by name.
    """
    got, kept = _run(made, inputs)
    theirs = dict(zip(owners, states, strict=True))
    analog = [(kept[at], _cut(theirs[place.part.leaf], place)) for at, place in _at(made)]
    spiking: list[tuple[Array, Array]] = []
    for name, value in made.graph.outputs.items():
        pair = (got[name], outputs[name])
        is_analog = made.graph.signals[value].kind is Kind.ANALOG
        (analog if is_analog else spiking).append(pair)
    wrong = [_steps(mine != wanted) for mine, wanted in spiking]
    firsts = [int(np.argmax(steps)) for steps in wrong if steps.any()]
    first = min(firsts, default=None)
    share = 0.0
    if first is not None:
        share = max(float((a[first] != b[first]).mean()) for a, b in spiking)
    until = len(next(iter(inputs.values()))) if first is None else first
    pairs = [(a[:until], b[:until]) for a, b in analog]
    same = all(_same(a, b) for a, b in analog) and first is None
    worst = max((_worst(a, b) for a, b in pairs), default=0.0)
    return Comparison(first, share, worst, all(_near(a, b) for a, b in pairs), same)


def _at(made: Built) -> list[tuple[int, Place]]:
    return list(enumerate(made.places))


def _run(made: Built, inputs: Mapping[str, Array]) -> tuple[Mapping[str, Array], list[Array]]:
    """Return outputs, and the values at every place."""
    extra = {f"state {at}": p.value for at, p in _at(made) if p.value is not None}
    graph = made.graph
    probed = Graph(graph.nodes, {**graph.outputs, **extra}, graph.dt)
    records = [place.record for place in made.places if place.record]
    result = run(probed, inputs, records)
    kept = [
        result.recorded[place.record] if place.record else result.outputs[f"state {at}"]
        for at, place in _at(made)
    ]
    return result.outputs, kept


def _cut(values: Array, place: Place) -> Array:
    """Return what of a user's leaf [T, B, *shape] a place has."""
    return np.stack([np.stack([place.part.cut(x) for x in samples]) for samples in values])


def _steps(wrong: Array) -> Array:
    """Return for every step whether anything is wrong."""
    return np.asarray(wrong.reshape(len(wrong), -1).any(axis=1))


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _scale(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=0.0)) or 1.0


def _worst(a: Array, b: Array) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.abs(a - b)).max(initial=0.0)) / _scale(b)


def _near(a: Array, b: Array) -> bool:
    limit = _ABSOLUTE * _scale(b)
    return a.shape == b.shape and np.allclose(a, b, _RELATIVE, limit, equal_nan=True)


def demand(found: Comparison, steps: int, framework: str = "JAX") -> str:
    """Return what a comparison says as a sentence, empty if all is equal.

    Raises:
        SnnirError: SNN808 if roundings do not explain the difference.
    """
    if found.equal:
        return ""
    if not found.near or found.share > _SHARE:
        step = f"at step {found.first}" if found.first is not None else f"within {steps} steps"
        raise error(
            "SNN808",
            f"the graph does not do what the step function does: {step}, {found.share:.1%} of the "
            f"spikes differ, states before by up to {found.worst:.2g} of their size",
            hint="report this with the step function",
        )
    if found.first is not None:
        return (
            f"from step {found.first} on some spikes differ from those of a run by {framework}, "
            f"whose sums and functions round otherwise (states before by up to {found.worst:.2g})"
        )
    return (
        f"spikes equal those of {steps} steps run by {framework}; states differ by up to "
        f"{found.worst:.2g} of their size, by rounding"
    )
