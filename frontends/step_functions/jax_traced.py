"""A step that JAX has traced, lowered to a traced step."""

from __future__ import annotations

import numpy as np

from snnir.errors import Diagnostic, SnnirError
from snnir.frontends.step_functions import jax_elementwise, jax_products, jax_shapes
from snnir.frontends.step_functions.jax_lower import Known, Lowering, Stream, Value, dtype_of
from snnir.frontends.step_functions.jax_trace import JaxStep
from snnir.frontends.step_functions.traced import Leaf, Operand, Traced, Variable

#: They fill the table of rules when they are imported.
RULE_MODULES = (jax_elementwise, jax_shapes, jax_products)
#: At most this many equations without counterpart are listed.
_SHOWN = 20


def traced_step(step: JaxStep, name: str, labels: dict[int, str], compiled: bool = False) -> Traced:
    """Lower a step; shapes keep the batch axis if there is one.

    Args:
        step: The step.
        name: Its name.
        labels: What people call the arrays it closes over, by identity.
        compiled: Compute constants as XLA does when it compiles, see `Lowering`.

    Raises:
        SnnirError: Every equation that has no counterpart, at most 20.
    """
    fixed: set[str] = set()
    while True:
        traced = _lowered(step, name, labels, fixed, compiled)
        same = {leaf.name for leaf in traced.states if leaf.new == leaf.name}
        if not same:
            return traced
        fixed |= same


def _lowered(
    step: JaxStep, name: str, labels: dict[int, str], fixed: set[str], compiled: bool
) -> Traced:
    """Lower a step in which some state leaves, which it never changes, are constants."""
    low = Lowering(compiled)
    low.known_labels = labels
    states: list[Value] = [
        Known(a, path or n) if n in fixed else Stream(n, tuple(a.shape), dtype_of(a.dtype))
        for n, a, path in zip(step.states, step.initial, step.paths, strict=True)
    ]
    inputs: list[Value] = [Stream(n, shape, dtype_of(d)) for n, shape, d in step.inputs]
    results = low.closed(step.jaxpr, [*step.fixed, *states, *inputs])
    if low.problems:
        raise SnnirError(_shortened(low.problems))
    leaves = zip(step.states, step.initial, results, step.paths, strict=False)
    outputs = zip(step.outputs, results[len(states) :], strict=True)
    outs = tuple((n, _operand(low, value)) for n, value in outputs)
    return Traced(
        name=name,
        inputs=tuple(Variable(n, shape, dtype_of(d)) for n, shape, d in step.inputs),
        states=tuple(
            Leaf(n, np.asarray(a), _operand(low, value), path)
            for n, a, value, path in leaves
            if n not in fixed
        ),
        constants=low.constants,
        equations=tuple(low.equations),
        outputs=outs,
        labels=low.labels,
        source=f"jax:{name}",
        notes=(*step.notes, *low.notes),
    )


def _operand(low: Lowering, value: Value) -> Operand:
    if isinstance(value, Known) and value.dtype == "bool":
        value = Known(value.array.astype(np.float32), value.label)
    return low.operand(value)


def _shortened(problems: list[Diagnostic]) -> list[Diagnostic]:
    if len(problems) <= _SHOWN:
        return problems
    rest = len(problems) - _SHOWN + 1
    last = Diagnostic("SNN803", f"{rest} more equations have no counterpart")
    return [*problems[: _SHOWN - 1], last]
