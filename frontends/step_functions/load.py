"""`snnir.from_jax` for step functions: from (state, input) -> (state, output) to a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from snnir.errors import error
from snnir.frontends.step_functions.build import Built, built
from snnir.frontends.step_functions.confirm import Comparison, compare, demand
from snnir.frontends.step_functions.contract import VARIANTS, contracted
from snnir.frontends.step_functions.jax_run import JaxRun, probe
from snnir.frontends.step_functions.jax_trace import JaxStep, jax_step
from snnir.frontends.step_functions.jax_traced import traced_step
from snnir.frontends.step_functions.limits import flushed
from snnir.frontends.step_functions.paths import identifier
from snnir.frontends.step_functions.samples import per_sample
from snnir.frontends.step_functions.traced import Traced
from snnir.ir.graph import Graph

#: Steps of the run that a graph is compared with.
_STEPS = 32
_CHOICES = {
    None: VARIANTS,
    "none": ("none",),
    "xla-cpu": ("xla-cpu", "xla-cpu-shared"),
}


@dataclass(frozen=True)
class Imported:
    """A graph with the step function it was made from.

    Attributes:
        graph: The graph.
        step: The step as JAX has it.
        batched: Whether that treats a batch.
    """

    graph: Graph
    step: JaxStep
    batched: bool


def load_jax(step_fn: Callable[..., Any], state: Any, example: Any, **options: Any) -> Graph:
    """Read a JAX step function from its jaxpr; see `snnir.from_jax`."""
    known = ("params", "batched", "dt", "name", "contraction")
    unknown = [name for name in options if name not in known]
    if unknown:
        message = f"step functions have no option {', '.join(map(str, unknown))}"
        raise error("SNN801", message, hint=f"use {', '.join(known)}")
    return imported(step_fn, state, example, **options).graph


def imported(
    step_fn: Callable[..., Any],
    state: Any,
    example: Any,
    *,
    params: Any = None,
    batched: bool = False,
    dt: float | None = None,
    name: str | None = None,
    contraction: str | None = None,
) -> Imported:
    """Return the graph of a step function with what it was made from."""
    if contraction not in _CHOICES:
        raise error(
            "SNN801", f"contraction is '{contraction}'", hint="use none, xla-cpu, or leave it out"
        )
    try:
        import jax  # noqa: F401
    except ImportError as missing:
        hint = "pip install 'snnir[jax]'"
        raise error("SNN801", f"step functions need jax ({missing})", hint=hint) from None
    step, labels = jax_step(step_fn, state, example, params)
    label = name or identifier(getattr(step_fn, "__name__", type(step_fn).__name__), "step")

    def lowered(variant: str) -> Traced:
        traced = traced_step(step, label, labels, compiled=variant != "none")
        return contracted(per_sample(traced) if batched else traced, variant)

    found, notes = _confirmed(lowered, step, batched, dt, _CHOICES[contraction])
    graph = found.graph
    provenance = replace(graph.provenance, notes=(*graph.provenance.notes, *notes))
    return Imported(replace(graph, provenance=provenance), step, batched)


def _confirmed(
    lowered: Callable[[str], Traced], step: JaxStep, batched: bool, dt: float | None,
    variants: tuple[str, ...],
) -> tuple[Built, tuple[str, ...]]:  # fmt: skip
    """Return the first variant whose run equals JAX's, else the first one, and notes on it."""
    traced = lowered(variants[0])
    first, limits = built(traced, dt), flushed(traced)
    inputs = probe(step, batched, _STEPS)
    steps = len(next(iter(inputs.values())))
    states, outputs = JaxRun(step, batched).run(inputs)
    tried: list[tuple[Built, Comparison]] = []
    for variant in variants:
        made = first if variant == variants[0] else built(lowered(variant), dt)
        found = compare(made, inputs, states, step.states, outputs)
        if found.equal:
            note = f"rounding: {variant}; all states equal those of {steps} steps run by JAX"
            return made, (*limits, note)
        tried.append((made, found))
    made, found = tried[0]
    return made, (*limits, f"rounding: {variants[0]}; {demand(found, steps)}")
