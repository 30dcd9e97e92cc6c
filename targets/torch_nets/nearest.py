"""The nearest layer of a framework where none is equal: what gives way, in order.

Used only with `cells=native` and consent to a loss; every change is named and its effect on the
spikes is measured on noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from snnir.dynamics.evaluate import neuron_function
from snnir.dynamics.lif import LifStep
from snnir.ir.neuron import Step
from snnir.targets.torch_nets.layer import Layer
from snnir.targets.torch_nets.native import NATIVE
from snnir.tensors import FrozenDict, Tensor

Params = dict[str, Any]
Change = Callable[[LifStep, Params], "tuple[LifStep, Params] | None"]


def _drop_refractory(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    return (replace(step, refractory=0), p) if step.refractory else None


def _reset_at_once(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    return (
        (replace(step, reset_timing="same-step"), p) if step.reset_timing != "same-step" else None
    )


def _flip_comparison(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    if step.fire == "never" or step.reset != "subtract":
        return None  # with another reset the threshold is moved by one float instead
    return replace(step, fire="ge" if step.fire == "gt" else "gt"), p


def _drop_floor(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    return (replace(step, clamp="none"), p) if step.clamp != "none" else None


def _one_spike(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    return (replace(step, spikes="single", spike_cap=0), p) if step.multi else None


def _reset_to_zero(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    if step.reset not in ("to", "zero-then-add"):
        return None
    return replace(step, reset="zero"), p


def _uniform(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    if all(np.ndim(value) == 0 for value in p.values()):
        return None
    return step, {name: np.float32(np.mean(value)) for name, value in p.items()}


def _as_factor(step: LifStep, p: Params) -> tuple[LifStep, Params] | None:
    """A membrane without a leak target in the form beta * v + gain * x."""
    if step.leak or step.membrane not in ("difference", "pull", "product", "quotient"):
        return None
    k = p["k_mem"] if "k_mem" in p else np.float32(1) / p["tau"]
    return replace(step, membrane="factor", gain=True), {
        **p, "beta": np.float32(1) - k, "gain": k,
    }  # fmt: skip


CHANGES: list[tuple[str, Change]] = [
    ("the reset acts in the step of the spike", _reset_at_once),
    ("the spike at the very threshold is decided the other way", _flip_comparison),
    ("the lower bound is dropped", _drop_floor),
    ("the refractory time is dropped", _drop_refractory),
    ("the reset value becomes 0", _reset_to_zero),
    ("at most one spike leaves per step", _one_spike),
    ("the membrane is rounded in another order", _as_factor),
    ("each parameter becomes its mean", _uniform),
]


def nearest(op: Step, framework: str) -> tuple[Layer, str, float] | None:
    """Return the first layer found by giving way, what changed, and the share of other spikes."""
    if not isinstance(op.dynamics, LifStep):
        return None
    step = op.dynamics
    params: Params = {name: p.numpy() for name, p in op.params.items()}
    given_way: list[str] = []
    for what, change in CHANGES:
        found = change(step, params)
        if found is None:
            continue
        step, params = found
        given_way.append(what)
        candidate = _step(step, params)
        layer = NATIVE[framework](candidate)
        if layer is not None:
            return layer, "; ".join(given_way), measured(op, candidate)
    return None


def _step(step: LifStep, params: Params) -> Step:
    names = [name for name, _ in step.program.params]
    chosen = {name: Tensor(np.asarray(params[name], np.float32)) for name in names}
    return Step(step, FrozenDict(chosen))


def measured(a: Step, b: Step, steps: int = 400) -> float:
    """Return the share of differing spikes of two steps on noise around the threshold."""
    threshold = np.asarray(a.params["threshold"].numpy(), np.float32)
    shape = (8, *(np.broadcast_shapes(*(p.shape for p in a.params.values())) or (16,)))
    noise = np.random.default_rng(0).normal(0.25, 0.5, (steps, *shape)).astype(np.float32)
    one, two = (_run(op, noise * threshold) for op in (a, b))
    return float((one != two).sum() / max(1.0, float((one != 0).sum())))


def _run(op: Step, x: Any) -> Any:
    program = op.program
    params = {name: p.numpy() for name, p in op.params.items()}
    function = neuron_function(program, params, np.float32, np.float32)
    state = {
        s.name: np.zeros(x.shape[1:], np.float32)
        + (params[s.initial] if isinstance(s.initial, str) else np.float32(s.initial))
        for s in program.states
    }
    extra = [np.zeros(x.shape[1:], np.float32)] * (len(program.inputs) - 1)
    with np.errstate(all="ignore"):
        return np.stack([function(now, *extra, state)[0] for now in x])
