"""Continuous neurons as arrays of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic
from snnir.ir.graph import Node
from snnir.ir.neuron import Neuron
from snnir.presets import DEFAULT, preset
from snnir.semantics import Stepping
from snnir.targets.events.network import RESETS, Neurons

Array = npt.NDArray[Any]

#: Models this target knows.
MODELS = ("i", "li", "if", "lif", "cubali", "cubalif")
#: Attributes of a stepping that say nothing about continuous time.
ONLY_STEPS = ("integrator", "form", "synapse_order", "constants", "reset_timing")


def stepping_of(op: Neuron) -> Stepping:
    """Return the record of a neuron, the default's if it has none."""
    return op.stepping or preset(DEFAULT).for_model(op.model)


def ignored(op: Neuron) -> list[str]:
    """Return `name value` of every attribute that has no meaning here and is not the default."""
    how, plain = stepping_of(op), Stepping()
    names = [*ONLY_STEPS] + (["input_gain"] if how.input_gain != "unit" else [])
    return [f"{n} {getattr(how, n)}" for n in names if getattr(how, n) != getattr(plain, n)]


def otherwise(op: Neuron) -> list[str]:
    """Return what fires more or less often here than in steps, however short they are."""
    how = stepping_of(op)
    found: list[str] = []
    if not op.definition.spikes:
        return found
    if how.reset == "none":
        found.append(
            "without reset it fires where v rises through the threshold, not in every step"
        )
    if how.reset == "subtract" and how.spikes == "single" and len(op.definition.filters) == 1:
        found.append(
            "what is left beyond the threshold after subtraction fires at once, not in turn"
        )
    return found


def problems_of(node: Node, op: Neuron) -> list[Diagnostic]:
    """Return everything about a neuron that has no form in continuous time."""
    if op.model not in MODELS:
        message = f"model '{op.model}' has no closed flow between events"
        return [Diagnostic("SNN501", message, node.name, hint=f"known: {', '.join(MODELS)}")]
    how, found = stepping_of(op), []
    values = {name: value.numpy().astype(np.float64) for name, value in op.params.items()}
    bad = [name for name, value in values.items() if not np.isfinite(value).all()]
    if bad:
        found.append((f"parameter {', '.join(bad)} is not finite", "use finite numbers"))
    if how.clamp != "none":
        found.append((f"clamp '{how.clamp}' is not defined between steps", "use clamp none"))
    if how.synapse_leak and op.model.startswith("cuba") and np.any(values["v_leak"]):
        found.append(("its synapse leaks towards v_leak", "use synapse-leak false"))
    if op.definition.spikes and not bad:
        found += _fire_problems(how, values)
    return [Diagnostic("SNN501", message, node.name, hint=hint) for message, hint in found]


def _fire_problems(how: Stepping, values: Mapping[str, Array]) -> list[tuple[str, str]]:
    threshold = values["v_threshold"]
    if how.spikes == "multi" and (how.spike_cap or how.reset != "subtract"):
        what = "several spikes of one step are limited" if how.spike_cap else "they need subtract"
        return [(f"fires several times in a step, and {what}", "use spikes single")]
    if how.reset == "subtract" and np.any(threshold <= 0):
        return [("a threshold of 0 or less, subtracted, is reached again at once", "raise it")]
    target = values.get("v_reset", np.zeros(())) if how.reset == "to" else np.zeros(())
    if how.reset in ("to", "zero") and not how.refractory and np.any(target >= threshold):
        hint = "lower the reset, or give it a refractory time"
        return [("its reset is not below the threshold, so that it would never stop firing", hint)]
    return []


def neurons_of(op: Neuron, shape: tuple[int, ...], dt: float, pulse: float) -> dict[str, Array]:
    """Return the fields of `Neurons` of one population, [size] each, bias left at 0.

    Args:
        op: The neuron, which has no problems.
        shape: Its shape.
        dt: Seconds per step: refractory steps, and the area of a spike.
        pulse: Seconds for which a spike is held, 0 if it kicks.
    """
    how, model = stepping_of(op), op.definition
    given: dict[str, Any] = dict(model.defaults)
    given |= {name: value.numpy().astype(np.float64) for name, value in op.params.items()}
    p = {k: np.broadcast_to(np.asarray(v, np.float64), shape).reshape(-1) for k, v in given.items()}
    size = int(np.prod(shape, dtype=np.int64))
    zero, one = np.zeros(size), np.ones(size)
    has_synapse = len(model.filters) == 2
    membrane = model.filters[-1]
    rate_mem = 1.0 / p[membrane.tau] if membrane.tau else zero
    push_mem = p[membrane.gain or ""] * (rate_mem if membrane.tau else one)
    rate_syn, push_syn = zero, zero
    if has_synapse:
        rate_syn = 1.0 / p["tau_syn"]
        push_syn = p["w_in"] * rate_syn
    if how.input_gain == "unit":  # v += x (or i += x and v += i) in every step
        push_mem, push_syn = one / dt, (one / dt if has_synapse else zero)
    jumps = has_synapse and how.synapse_jump
    if jumps:
        push_syn = one / dt
    entry = push_syn if has_synapse else push_mem
    unit = jumps or how.input_gain == "unit"
    held = pulse > 0 and not jumps
    kick = zero if held else one if unit else entry * dt
    leak = p[membrane.leak] if membrane.leak else zero
    return {
        "has_synapse": np.full(size, has_synapse), "rate_mem": rate_mem, "rate_syn": rate_syn,
        "push_mem": push_mem, "push_syn": push_syn, "leak": leak, "bias": zero, "kick": kick,
        "i_start": zero, **_firing(op, how, p, size, dt), "v_start": _start(how, p, leak, dt),
    }  # fmt: skip


def _firing(
    op: Neuron, how: Stepping, p: Mapping[str, Array], size: int, dt: float
) -> dict[str, Array]:
    fires = op.definition.spikes
    kinds = {"to": "to", "zero": "to", "subtract": "subtract", "none": "none"}
    kind = kinds[how.reset] if fires else "none"
    return {
        "threshold": p["v_threshold"] if fires else np.full(size, np.inf),
        "fires_at": np.full(size, fires and how.fire == "ge"),
        "reset_kind": np.full(size, RESETS.index(kind), np.int8),
        "v_reset": p["v_reset"] if fires and how.reset == "to" else np.zeros(size),
        "refractory": np.full(size, how.refractory * dt if fires else 0.0),
    }


def _start(how: Stepping, p: Mapping[str, Array], leak: Array, dt: float) -> Array:
    if how.start == "leak":
        return leak
    if how.start == "reset" and "v_reset" in p:
        return p["v_reset"]
    if how.start == "step":
        tau = p.get("tau", p.get("tau_mem"))
        return np.zeros_like(leak) if tau is None else -np.expm1(-dt / tau) * leak
    return np.zeros_like(leak)


def joined(parts: list[dict[str, Array]]) -> Neurons:
    """Return all neurons of several populations."""
    names = [item.name for item in fields(Neurons)]
    return Neurons(**{name: np.concatenate([part[name] for part in parts]) for name in names})
