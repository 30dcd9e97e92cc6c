"""Which neurons a core can be, and with which numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import LifStep
from snnir.ir.neuron import Step

Array = npt.NDArray[Any]

LEAKS = "use integrate-and-fire neurons (`if`), or a chip that leaks (--target xylo)"


class NotFit(Exception):
    """Something the chip cannot do; a diagnostic is made of it.

    Args:
        message: What and why.
        hint: What would help.
        node: Where, if not at the population that was looked at.
    """

    def __init__(self, message: str, hint: str | None = None, node: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.node = message, hint, node


@dataclass(frozen=True)
class Integrator:
    """An integrate-and-fire population, as real numbers of the model.

    Arrays have the population's shape. The state is the membrane less the value it is reset to.

    Attributes:
        gain: What inputs are multiplied by.
        threshold: At which it spikes.
        bias: Added in every step.
        initial: State at the start.
        lowest: Lower bound, or None.
        to_zero: Whether a spike resets it, or subtracts the threshold.
        losses: What the chip does otherwise, one sentence each.
    """

    gain: Array
    threshold: Array
    bias: Array
    initial: Array
    lowest: Array | None
    to_zero: bool
    losses: tuple[str, ...]


def changed(neuron: Integrator, change: Callable[[Array], Array]) -> Integrator:
    """Return a population whose arrays were reshaped or cut."""
    return replace(
        neuron,
        gain=change(neuron.gain),
        threshold=change(neuron.threshold),
        bias=change(neuron.bias),
        initial=change(neuron.initial),
        lowest=None if neuron.lowest is None else change(neuron.lowest),
    )


def integrator(op: Step, shape: tuple[int, ...]) -> Integrator:
    """Return what a population is.

    Raises:
        NotFit: If a core cannot be it.
    """
    rules = op.dynamics
    if not isinstance(rules, LifStep):
        name = op.program.name
        hint = "give the model in floating point; this target quantises it itself"
        raise NotFit(f"is stepped by a program of its own ('{name}')", hint)
    values = {name: np.broadcast_to(t.numpy(), shape) for name, t in op.params.items()}
    _check(rules, values)
    zero = np.zeros(shape)

    def value(name: str, default: Array = zero) -> Array:
        return values[name].astype(np.float64) if name in values else default

    floor = value("v_reset") if rules.reset == "to" else zero
    if rules.reset == "zero-then-add" and np.any(value("v_reset")):
        raise NotFit("adds its reset value in every step", "use a plain reset")
    return Integrator(
        gain=value("w_in", zero + 1) * value("gain", zero + 1),
        threshold=value("threshold") - floor,
        bias=value("bias"),
        initial=value("v_start") - floor,
        lowest=None if rules.clamp == "none" else value("v_min") - floor,
        to_zero=rules.reset != "subtract",
        losses=tuple(_losses(rules)),
    )


def _check(rules: LifStep, values: dict[str, Array]) -> None:
    """Raise `NotFit` for the first thing no core can do."""
    leaks = rules.membrane != "integrate" and not (
        rules.membrane == "factor" and np.all(values["beta"] == 1)
    )
    if rules.synapse != "none":
        raise NotFit("has a synaptic current that decays; the chip has none", LEAKS)
    if leaks:
        raise NotFit("leaks towards rest; the chip's neurons keep their state", LEAKS)
    if rules.fire == "never":
        raise NotFit("does not spike; every neuron of the chip does", "take its spikes, or drop it")
    if rules.reset == "none":
        raise NotFit("is never reset; the chip resets after every spike")
    amount = values.get("v_subtract")
    if amount is not None and np.any(amount != values["threshold"]):
        raise NotFit("subtracts something else than its threshold")
    if rules.refractory:
        raise NotFit(f"is refractory for {rules.refractory} steps; the chip's neurons are not")
    if rules.inputs != 1:
        raise NotFit("has a second input, for a recurrence", "the chip has no recurrent layers")
    floor = values["v_reset"] if rules.reset == "to" else 0.0
    if np.any(values["threshold"] <= floor):
        raise NotFit("has a threshold that is not above what it is reset to")


def _losses(rules: LifStep) -> list[str]:
    """Return what a core does otherwise than the neuron."""
    found = []
    if rules.multi:
        cap = f", {rules.spike_cap} at most," if rules.spike_cap else ""
        found.append(f"several spikes a step{cap} become one for each incoming event at most")
    if rules.fire == "gt":
        found.append("fires at the threshold, not only above it")
    if rules.reset_timing != "same-step":
        found.append("is reset with the spike, not one step later")
    return found
