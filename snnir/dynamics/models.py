"""Continuous neuron models: what a model is before anyone decides how it is stepped.

The linear models are chains of first-order filters, each defined once here; `discretize` derives
their step programs for any integrator. Models with any other flow give their right-hand sides as
a traced function and are stepped by forward Euler.

Equations as in the NIR paper (Pedersen et al., Nature Communications 2024) and the docstrings of
`nir` 1.0.8; AdEx from Brette and Gerstner 2005; Izhikevich from Izhikevich 2003.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from snnir.dynamics.functions import exp
from snnir.dynamics.program import Dynamics, State
from snnir.dynamics.trace import Builder
from snnir.errors import error


@dataclass(frozen=True)
class Filter:
    """tau ds/dt = (leak - s) + gain * drive, or ds/dt = gain * drive where tau is None.

    The drive is the model's input for the first filter and the filter before for the others.

    Attributes:
        state: Name of s.
        tau, gain, leak: Names of parameters; a missing gain is 1, a missing leak 0.
    """

    state: str
    tau: str | None = None
    gain: str | None = None
    leak: str | None = None

    def equation(self, drive: str) -> str:
        """Return the equation as text."""
        push = f"{self.gain} * {drive}" if self.gain else drive
        if self.tau is None:
            return f"d{self.state}/dt = {push}"
        return f"{self.tau} * d{self.state}/dt = ({self.leak or 0} - {self.state}) + {push}"


@dataclass(frozen=True)
class Model:
    """A continuous neuron model.

    Attributes:
        name: Word in the text form.
        params: Unit of each parameter, in order.
        filters: The linear flow, in order of dependence; empty for a flow program or no state.
        threshold: Parameter that the last state (or the input, without states) must exceed for a
            spike; None for models that emit their last state.
        reset: Parameter the last state is set to at a spike.
        defaults: Values of parameters that may be left out.
        flow: Right-hand sides of a model that is not a chain of filters.
        jumps: What a spike adds to other states, as (state, parameter).
        doc: One line.
    """

    name: str
    params: Mapping[str, str]
    filters: tuple[Filter, ...] = ()
    threshold: str | None = None
    reset: str | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)
    flow: Dynamics | None = None
    jumps: tuple[tuple[str, str], ...] = ()
    doc: str = ""

    @property
    def spikes(self) -> bool:
        """Whether the model emits spikes rather than its state."""
        return self.threshold is not None

    @cached_property
    def time_constants(self) -> tuple[str, ...]:
        """Parameters that must be positive times."""
        return tuple(name for name, unit in self.params.items() if name.startswith("tau"))

    def equations(self) -> list[str]:
        """Return the definition as readable lines."""
        if self.flow is not None:
            lines = [f"d{name}/dt = {value}" for name, value in self.flow.updates]
            lines[:0] = [f"{let.target} = {let.op}{let.args}" for let in self.flow.body]
        else:
            drives = ["x", *(f.state for f in self.filters)]
            lines = [f.equation(d) for f, d in zip(self.filters, drives, strict=False)]
        if self.threshold is None:
            return [*lines, f"output {self.filters[-1].state}"]
        watched = self.filters[-1].state if self.filters else "v" if self.flow else "x"
        lines.append(f"spike when {watched} > {self.threshold}")
        if self.reset:
            lines.append(f"then {watched} = {self.reset}")
        return lines


#: All continuous models by name.
MODELS: dict[str, Model] = {}


def register_model(model: Model) -> Model:
    """Make a model known to the IR.

    Raises:
        SnnirError: SNN402 if the name is taken by a different model.
    """
    known = MODELS.get(model.name)
    if known is not None and known != model:
        raise error("SNN402", f"two neuron models are called '{model.name}'")
    MODELS[model.name] = model
    return model


def find_model(name: str) -> Model | None:
    """Return a model by name, also one that an installed package brings.

    Raises:
        SnnirError: SNN402 if such a package cannot be loaded.
    """
    return MODELS.get(name) or all_models().get(name)


def all_models() -> Mapping[str, Model]:
    """Return all models by name, those of the entry-point group `snnir.neurons` included.

    Raises:
        SnnirError: SNN402 if one of them cannot be loaded.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group="snnir.neurons"):
        if point.name not in MODELS:
            try:
                point.load()  # registers what it defines
            except Exception as failure:
                message = f"plug-in {point.value} cannot be loaded: {failure}"
                raise error("SNN402", message) from failure
    return MODELS


_LEAK = {"tau": "s", "r": "Ohm", "v_leak": "V"}
_FIRE = {"v_threshold": "V", "v_reset": "V"}
_CUBA = {"tau_syn": "s", "tau_mem": "s", "r": "Ohm", "v_leak": "V", "w_in": "1"}
_MEMBRANE = Filter("v", tau="tau", gain="r", leak="v_leak")
_CUBA_FILTERS = (
    Filter("i", tau="tau_syn", gain="w_in"),
    Filter("v", tau="tau_mem", gain="r", leak="v_leak"),
)
_TO_ZERO = {"v_reset": 0.0}

for _model in (
    Model("i", {"r": "Ohm"}, (Filter("v", gain="r"),), doc="integrator"),
    Model("li", _LEAK, (_MEMBRANE,), doc="leaky integrator"),
    Model(
        "if",
        {"r": "Ohm", **_FIRE},
        (Filter("v", gain="r"),),
        "v_threshold",
        "v_reset",
        _TO_ZERO,
        doc="integrate-and-fire neuron",
    ),
    Model(
        "lif",
        {**_LEAK, **_FIRE},
        (_MEMBRANE,),
        "v_threshold",
        "v_reset",
        _TO_ZERO,
        doc="leaky integrate-and-fire neuron",
    ),
    Model("cubali", _CUBA, _CUBA_FILTERS, defaults={"w_in": 1.0}, doc="current-based LI"),
    Model(
        "cubalif",
        {**_CUBA, **_FIRE},
        _CUBA_FILTERS,
        "v_threshold",
        "v_reset",
        {"w_in": 1.0, **_TO_ZERO},
        doc="current-based LIF neuron",
    ),
    Model("threshold", {"threshold": "V"}, (), "threshold", doc="spike when the input exceeds it"),
):
    register_model(_model)


def flow_model(
    params: Mapping[str, str],
    threshold: str,
    reset: str,
    jumps: tuple[tuple[str, str], ...] = (),
    initial: Mapping[str, float | str] | None = None,
    defaults: Mapping[str, float] | None = None,
) -> Callable[[Callable[..., dict[str, Any]]], Model]:
    """Decorator: define a model by a function that returns the derivative of every state.

    The function's arguments are `x`, states and parameters by name; a state `v` is what is
    compared with `threshold` and reset. The model is registered under the function's name.

    Raises:
        SnnirError: SNN201 if the function branches in Python; SNN402 if the name is taken.
    """

    def define(function: Callable[..., dict[str, Any]]) -> Model:
        builder = Builder()
        names = list(inspect.signature(function).parameters)
        slopes = function(**{name: builder.symbol(name) for name in names})
        starts = initial or {}
        flow = Dynamics(
            name=function.__name__,
            inputs=("x",),
            params=tuple(params.items()),
            states=tuple(State(name, starts.get(name, 0.0)) for name in slopes),
            updates=tuple((name, builder._operand(v, "float")) for name, v in slopes.items()),
            outputs=(),
            body=tuple(builder.body),
        )
        flow.types()
        return register_model(
            Model(
                function.__name__,
                params,
                (),
                threshold,
                reset,
                defaults or {},
                flow,
                jumps,
                (function.__doc__ or "").strip(),
            )
        )

    return define


@flow_model(
    params={
        "tau": "s",
        "tau_w": "s",
        "r": "Ohm",
        "v_leak": "V",
        "delta_t": "V",
        "v_rheobase": "V",
        "a": "S",
        "b": "A",
        **_FIRE,
    },
    threshold="v_threshold",
    reset="v_reset",
    jumps=(("w", "b"),),
    initial={"v": "v_leak"},
    defaults=_TO_ZERO,
)
def adex(  # noqa: PLR0913, PLR0917  (the model has this many)
    x: Any, v: Any, w: Any, tau: Any, tau_w: Any, r: Any, v_leak: Any,
    delta_t: Any, v_rheobase: Any, a: Any,
) -> dict[str, Any]:  # fmt: skip
    """Adaptive exponential integrate-and-fire neuron."""
    spike_current = delta_t * exp((v - v_rheobase) / delta_t)
    return {
        "v": ((v_leak - v) + spike_current + r * (x - w)) / tau,
        "w": (a * (v - v_leak) - w) / tau_w,
    }


@flow_model(
    params={"a": "1/s", "b": "1", "d": "V", **_FIRE},
    threshold="v_threshold",
    reset="v_reset",
    jumps=(("u", "d"),),
    initial={"v": "v_reset"},
)
def izhikevich(x: Any, v: Any, u: Any, a: Any, b: Any) -> dict[str, Any]:
    """Izhikevich neuron, v in mV, rates per second."""
    return {
        "v": 1000.0 * (0.04 * v * v + 5.0 * v + 140.0 - u + x),
        "u": a * (b * v - u),
    }
