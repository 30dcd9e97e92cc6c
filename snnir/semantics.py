"""Discrete semantics: how a continuous model is stepped, as data.

NIR files carry differential equations only. A `Stepping` is what is missing for one neuron; a
`Semantics` adds what concerns the whole graph. Presets (`snnir.presets`) state what each platform
does; files written by snnir carry the record and need no choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from snnir.errors import error, shown
from snnir.suggest import hint

Attribute = str | int | float | bool


def _check_choices(record: Any, choices: Mapping[str, tuple[str, ...]]) -> None:
    for name, allowed in choices.items():
        value = getattr(record, name)
        if value not in allowed:
            raise error(
                "SNN302",
                f"{name.replace('_', '-')} '{value}' is unknown",
                hint=f"use one of {', '.join(allowed)}",
            )


@dataclass(frozen=True)
class Stepping:
    """How one neuron's differential equations become a step.

    Attributes:
        integrator: `euler` (forward); `exponential_euler` (each state decays exactly, with its
            drive held over the step); `exact` (the exact flow for an input held over the step,
            synapse and membrane coupled); `semi_implicit` (decay implicit, drive explicit).
        form: Arithmetic of the decay: `factor`: b * v + g * x; `difference`:
            v + k * ((x + leak) - v); `quotient`: v + (x - (v - leak)) / tau, or
            v - (v - leak) / tau + x where the gain is tau / dt (neurons without a synapse only;
            others take `factor`); `pull`: v + k * ((leak - v) + x), synapses as `factor`;
            `fixed`: integers in 1/4096 with decays of 12 bits.
        synapse_order: `jump`: the membrane sees this step's synaptic current; `late`: the last
            step's; `decay-input`: input of this step decays before it is seen.
        input_gain: Factor of the drive: `flow`: what the integrator gives; `euler`: dt / tau
            whatever the integrator; `unit`: 1; `fold`: as `euler`, but divided out of the
            threshold instead of multiplied in.
        constants: Where factors are computed: `f64` and rounded once, `f32`, or `source`, the
            dtype of the file's own parameters.
        fire: `gt` (v > threshold) or `ge`.
        reset: `to` the parameter v_reset, `zero`, `subtract` the threshold, `none`.
        reset_timing, spikes, spike_cap, clamp, refractory: As in `LifStep`.
        v_min: Floor of the clamp; `-threshold` for minus the threshold, else a number.
        synapse_leak: The synaptic current decays towards v_leak too (Norse).
        synapse_jump: An input of x makes the synaptic current x larger at once, whatever w_in and
            tau_syn; under `exact` it comes at the start of the step.
        start: v before the first step: `zero`, `leak` (v_leak), `step` (where one step without
            input leads), or `reset` (v_reset).
    """

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "integrator": ("euler", "exponential_euler", "exact", "semi_implicit"),
        "form": ("factor", "difference", "quotient", "pull", "fixed"),
        "synapse_order": ("jump", "late", "decay-input"),
        "input_gain": ("flow", "euler", "unit", "fold"),
        "constants": ("f64", "f32", "source"),
        "fire": ("gt", "ge"),
        "reset": ("to", "zero", "subtract", "none"),
        "reset_timing": ("same-step", "next-step", "next-step-before-decay", "net"),
        "spikes": ("single", "multi"),
        "clamp": ("none", "max", "relu"),
        "start": ("zero", "leak", "step", "reset"),
    }

    integrator: str = "exact"
    form: str = "factor"
    synapse_order: str = "jump"
    input_gain: str = "flow"
    constants: str = "f64"
    fire: str = "gt"
    reset: str = "to"
    reset_timing: str = "same-step"
    spikes: str = "single"
    spike_cap: int = 0
    clamp: str = "none"
    v_min: str = "-threshold"
    refractory: int = 0
    synapse_leak: bool = False
    synapse_jump: bool = False
    start: str = "zero"

    def __post_init__(self) -> None:
        _check_choices(self, self.CHOICES)
        slopes = ("euler", "exponential_euler")
        if self.form in ("difference", "pull") and self.integrator not in slopes:
            raise error("SNN302", f"form '{self.form}' is not defined for {self.integrator}")
        if self.synapse_jump and self.form in ("difference", "fixed"):
            raise error("SNN302", f"synapse-jump is not defined for the form '{self.form}'")
        if self.form == "quotient" and self.integrator != "euler":
            raise error("SNN302", f"form 'quotient' is not defined for {self.integrator}")
        if self.v_min != "-threshold":
            try:
                float(self.v_min)
            except ValueError:
                raise error("SNN302", f"v_min '{self.v_min}' is not a number") from None

    def attributes(self) -> dict[str, Attribute]:
        """Return every attribute that differs from its default."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    def describe(self) -> str:
        """Return a short sentence for warnings and reports."""
        sign = ">" if self.fire == "gt" else ">="
        reset = f"reset {self.reset} ({self.reset_timing})"
        return f"{self.integrator}, {reset}, fires at v {sign} threshold"


@dataclass(frozen=True)
class Semantics:
    """What a platform does with a NIR graph.

    Attributes:
        name: Name of the preset.
        stepping: How neurons are stepped.
        overrides: Changes to `stepping` for particular models, by model name.
        dt: The platform's default step in seconds.
        time_unit: Seconds per unit of the file's time constants.
        recurrent_delay: Steps on a recurrent edge.
        recurrent_bias: When the bias of a recurrent synapse acts: `always`, `from-step-1`
            (absent in the first step, which has no recurrent input yet) or `never`; `constant`:
            all biases act on the membrane as the steady current they lead to.
        weights: `float`, or `int8-trunc`: per neuron population, all incoming weights scaled to
            127 / max|w| and truncated, thresholds scaled alike.
        record_offset: Steps by which the platform's records are late; an override for a model
            holds for graphs that have it.
        source: Where these facts are from.
    """

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "recurrent_bias": ("always", "from-step-1", "never", "constant"),
        "weights": ("float", "int8-trunc"),
    }

    name: str
    stepping: Stepping
    overrides: Mapping[str, Mapping[str, Attribute]] = field(default_factory=dict)
    dt: float = 1e-4
    time_unit: float = 1.0
    recurrent_delay: int = 1
    recurrent_bias: str = "always"
    weights: str = "float"
    record_offset: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        _check_choices(self, self.CHOICES)
        if self.recurrent_delay < 1:
            raise error(
                "SNN302",
                f"recurrent-delay is {self.recurrent_delay}",
                hint="a recurrent edge needs at least one step",
            )

    def for_model(self, model: str) -> Stepping:
        """Return the stepping of one model."""
        changes: dict[str, Any] = dict(self.overrides.get(model, {}))
        changes.pop("record_offset", None)
        return replace(self.stepping, **changes) if changes else self.stepping

    def offset_for(self, models: Iterable[str]) -> int:
        """Return the record offset of a graph that has these models."""
        found = [self.overrides.get(m, {}).get("record_offset", self.record_offset) for m in models]
        return max((int(offset) for offset in found), default=self.record_offset)

    def with_options(self, options: Mapping[str, Any]) -> Semantics:
        """Return this record with some attributes replaced, by their names here or in `Stepping`.

        A stepping attribute given this way holds for every model.

        Raises:
            SnnirError: SNN302 for an unknown name or value.
        """
        own = {f.name for f in fields(Semantics)} - {"name", "stepping", "overrides", "source"}
        deep = {f.name for f in fields(Stepping)}
        top: dict[str, Any] = {}
        inner: dict[str, Any] = {}
        for key, value in options.items():
            name = {"compare": "fire"}.get(key, key).replace("-", "_")
            if name not in own | deep:
                meant = hint(key, sorted(own | deep), "its options")
                raise error("SNN302", f"semantics has no option '{shown(key)}'", hint=meant)
            (top if name in own else inner)[name] = value
        if inner.get("form") is None and "integrator" in inner:
            defaults = {f.name: f.default for f in fields(Stepping)}
            # A form or gain that belonged to the preset's integrator does not outlive it.
            if self.stepping.integrator != inner["integrator"]:
                inner.setdefault("form", defaults["form"])
        options_given = {*inner, *top}
        overrides = {
            model: {k: v for k, v in changes.items() if k not in options_given}
            for model, changes in self.overrides.items()
        }
        return replace(self, stepping=replace(self.stepping, **inner), overrides=overrides, **top)
