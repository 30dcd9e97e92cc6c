"""The items that say how a neuron is stepped, and how their origins come about.

A continuous neuron has the attributes of its `Stepping`; once it is a step program, those of the
LIF family, or the program itself, with a number format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import Model
from snnir.ir.neuron import Step
from snnir.ir.origins import Items, Origin, Scalar
from snnir.semantics import Semantics, Stepping
from snnir.tensors import FrozenDict

NUMBER_FORMAT, PROGRAM = "number_format", "program"
#: Items whose value the LIF family states in the same words as a `Stepping`.
SHARED = ("fire", "reset", "reset_timing", "spikes", "spike_cap", "clamp", "refractory")
#: Stepping attributes that a model without a linear flow has.
_OF_A_FLOW = ("integrator", "fire", "reset")
_OF_A_RESET = ("reset", "reset_timing", "spikes", "clamp", "refractory")


def stepping_items(model: Model, stepping: Stepping) -> dict[str, Scalar]:
    """Return the attributes of a stepping record that mean anything for a model."""
    if model.flow is not None:
        wanted = list(_OF_A_FLOW)
    else:
        wanted = ["integrator", "form", "input_gain", "constants"] if model.filters else []
        if len(model.filters) > 1:
            wanted += ["synapse_jump"]
            wanted += ["synapse_order"] if stepping.integrator != "exact" else []
            wanted += ["synapse_leak"] if stepping.form == "difference" else []
        wanted += ["start"] if model.filters else []
        wanted += ["fire"] if model.spikes else []
        wanted += _OF_A_RESET if model.spikes and model.filters else []
        if "clamp" in wanted and stepping.clamp != "none":
            wanted.append("v_min")
        if "spikes" in wanted and stepping.spikes == "multi":
            wanted.append("spike_cap")
    return {name: getattr(stepping, name) for name in wanted}


def step_items(op: Step) -> dict[str, Scalar]:
    """Return the items a step program states itself."""
    step = op.dynamics
    if not isinstance(step, LifStep):
        size = len(step.body)
        return {PROGRAM: f"{step.name}: {size} operations", NUMBER_FORMAT: number_format(op)}
    skipped = set()
    if step.synapse == "none":
        skipped |= {"synapse_order", "synapse_gain", "synapse_leak"}
    if step.membrane == "none":
        skipped |= {"gain", "leak", "start", "reset", "clamp", "refractory"}
    if step.fire == "never":
        skipped |= {"reset", "spikes", "clamp", "refractory"}
    if step.reset == "none" or "reset" in skipped:
        skipped |= {"reset_timing", "own_amount"}
    if step.spikes == "single" or "spikes" in skipped:
        skipped.add("spike_cap")
    known = (
        "membrane", "synapse", "synapse_order", "synapse_gain", "synapse_leak", "gain", "leak",
        "start", *SHARED, "own_amount",
    )  # fmt: skip
    found = {name: getattr(step, name) for name in known if name not in skipped}
    if "start" in found:
        found["start"] = "v_start" if step.start else "zero"
    return {**found, NUMBER_FORMAT: number_format(op)}


def number_format(op: Step) -> str:
    """Return in which numbers a step program computes."""
    program = op.program
    if isinstance(op.dynamics, LifStep) and op.dynamics.fixed:
        return f"{program.dtype} holding integers in 1/4096"
    if not program.is_whole:
        return program.dtype
    return f"{program.dtype}, signals of {op.bits} bits" if op.bits else program.dtype


@dataclass(frozen=True)
class Choice:
    """How somebody chose a semantics, so that each of its items has an origin.

    Attributes:
        semantics: What holds.
        asked: Whether it was asked for by name.
        options: Attributes that single options decide, with the name of the option.
    """

    semantics: Semantics
    asked: bool
    options: Mapping[str, str] = field(default_factory=dict)

    def origin(self, name: str, value: Scalar, before: Scalar | None = None) -> Origin:
        """Return where one item is from.

        Args:
            name: Its name in `Stepping` or `Semantics`.
            value: Its value.
            before: What a file said that this choice overrides.
        """
        if name in self.options:
            state, by = Origin.GIVEN, f"option '{self.options[name]}'"
        elif self.asked:
            state, by = Origin.GIVEN, f"semantics '{self.semantics.name}', asked for"
        else:
            state, by = Origin.ASSUMED, f"semantics '{self.semantics.name}', the default"
        if before is not None and before != value:
            return Origin(value, Origin.CHANGED, by, before)
        return Origin(value, state, by)

    def items(self, model: Model, stepping: Stepping, before: Mapping[str, Scalar]) -> Items:
        """Return the items of a neuron that is stepped as chosen.

        Args:
            model: The neuron's model.
            stepping: What the semantics have for it.
            before: Items a file gives that this choice overrides.
        """
        found = stepping_items(model, stepping)
        return FrozenDict({k: self.origin(k, v, before.get(k)) for k, v in found.items()})


def deciding(base: Semantics, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes that `base.with_options(options)` decides, with the option."""
    found = {{"compare": "fire"}.get(key, key).replace("-", "_"): key for key in options}
    integrator = found.get("integrator")
    if integrator is not None and base.stepping.integrator != options[integrator]:
        found.setdefault("form", integrator)
    return found


def given_items(found: Mapping[str, Scalar], by: str) -> Items:
    """Return items that somebody states himself."""
    return FrozenDict({name: Origin(v, Origin.GIVEN, by) for name, v in found.items()})
