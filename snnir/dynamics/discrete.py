"""From a continuous model and a stepping record to a step program with its parameters.

Propagators of tau ds/dt = -s + g u over a step dt with u held, as (decay, gain):
forward Euler (1 - dt/tau, g dt/tau); exponential Euler (exp(-dt/tau), g (1 - exp(-dt/tau)));
semi-implicit Euler (1/(1 + dt/tau), g (dt/tau)/(1 + dt/tau)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import FIXED_ONE, LifStep
from snnir.dynamics.models import Filter, Model
from snnir.dynamics.program import Dynamics
from snnir.dynamics.trace import Builder, Symbol
from snnir.errors import error
from snnir.semantics import Stepping
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]


def discrete_neuron(
    model: Model, params: Mapping[str, Tensor], stepping: Stepping, dt: float, dtype: Any
) -> tuple[LifStep | Dynamics, FrozenDict[Tensor]]:
    """Return the step program of a model and its parameters.

    Args:
        model: The continuous model.
        params: Its parameters; those with defaults may be missing.
        stepping: How to step it.
        dt: Step length in seconds.
        dtype: Element type in which the parameters are stored.

    Raises:
        SnnirError: SNN302 if the stepping is not defined for this model.
    """
    values = {name: np.float64(value) for name, value in model.defaults.items()}
    arrays: dict[str, Any] = {**values, **{name: p.numpy() for name, p in params.items()}}
    if model.flow is not None:
        program = _flow_program(model, stepping, dt)
        chosen = {name: arrays[name] for name, _ in program.params}
        return program, _pack(chosen, dtype)
    step, found = _Linear(model, arrays, stepping, dt).build()
    return step, _pack(found, np.float64 if step.fixed else dtype)


def _pack(arrays: Mapping[str, Any], dtype: Any) -> FrozenDict[Tensor]:
    return FrozenDict({name: Tensor(np.asarray(a).astype(dtype)) for name, a in arrays.items()})


@dataclass
class _Propagator:
    """Decay and gain of one filter over a step."""

    decay: Any
    gain: Any
    fill: Any
    """Weight of the leak target: what the state gains towards it in a step."""


class _Linear:
    """Builds the member of the LIF family for a chain of filters."""

    def __init__(self, model: Model, arrays: dict[str, Any], stepping: Stepping, dt: float) -> None:
        self.model, self.how, self.dt = model, stepping, dt
        casts = {"f64": np.float64, "f32": np.float32}
        if stepping.constants in casts:
            cast = casts[stepping.constants]
            arrays = {name: np.asarray(a).astype(cast) for name, a in arrays.items()}
        self.p = arrays
        self.out: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}
        self.scale: Any = 1.0

    def build(self) -> tuple[LifStep, dict[str, Any]]:
        filters = self.model.filters
        if len(filters) > 2:
            raise error("SNN302", f"model {self.model.name} has more than two filters in a row")
        if not filters:
            self.attributes["membrane"] = "none"
        else:
            if len(filters) == 2:
                self.synapse(filters[0], filters[1])
            self.membrane(filters[-1])
        self.fire()
        step = LifStep(**self.attributes)
        wanted = [name for name, _ in step.program.params]
        return step, {name: self.out[name] for name in wanted}

    def propagator(self, f: Filter) -> _Propagator:
        gain = self.p[f.gain] if f.gain else self.one(f)
        dt = self.dt
        if f.tau is None:
            return _Propagator(self.one(f), gain * dt, 0.0)
        tau = self.p[f.tau]
        euler = gain * dt / tau
        kind = self.how.integrator
        if kind == "euler":
            return _Propagator(1 - dt / tau, euler, dt / tau)
        if kind == "semi_implicit":
            decay = 1 / (1 + dt / tau)
            return _Propagator(decay, euler * decay, dt / tau * decay)
        # The quotient rounds as the platform rounds it; exp is taken in float64, which is what
        # torch's float32 exp gives in 99 % of cases (NumPy's own in half of them).
        exponent = np.asarray(dt / tau).astype(np.float64)
        fill = -np.expm1(-exponent)
        gain = euler if self.how.input_gain in ("euler", "fold") else gain * fill
        return _Propagator(np.exp(-exponent), gain, fill)

    def one(self, f: Filter) -> Any:
        named = [self.p[name] for name in (f.tau, f.gain, f.leak) if name]
        dtype = named[0].dtype if named and np.asarray(named[0]).dtype.kind == "f" else np.float64
        return np.ones((), dtype)

    def gain(self, name: str, value: Any) -> bool:
        """Place a gain as the stepping says; return whether the program multiplies by it."""
        if self.how.input_gain == "unit" or np.all(np.asarray(value).astype(np.float32) == 1):
            return False
        if self.how.form == "quotient" and np.allclose(value, 1.0, rtol=1e-6):
            return False  # SpikingJelly takes these gains only if they are 1, up to rounding
        if self.how.input_gain == "fold":
            if not np.allclose(value, 1.0):  # the test snnTorch itself applies
                self.scale = self.scale * value
            return False
        self.out[name] = value
        return True

    def synapse(self, f: Filter, membrane: Filter) -> None:
        p = self.propagator(f)
        self.attributes["synapse_order"] = self.how.synapse_order
        if self.how.form == "difference":
            self.attributes["synapse"] = "difference"
            self.out["k_syn"] = self.rate(f)
            gain = self.p[f.gain] if f.gain else 1.0
            if self.gain("w_in", gain):
                self.attributes["synapse_gain"] = True
            if self.how.synapse_leak and membrane.leak and np.any(self.p[membrane.leak]):
                self.attributes["synapse_leak"] = True
                self.out["leak_syn"] = self.p[membrane.leak]
            return
        if self.how.form == "fixed":
            self.attributes["synapse"] = "fixed"
            self.out["alpha"] = self.fixed_decay(f)
            self.gain("w_in", p.gain)
            return
        self.attributes["synapse"] = "factor"
        self.out["alpha"] = p.decay
        exact = self.how.integrator == "exact"
        gain = p.gain
        if self.how.synapse_jump:
            gain = p.decay if exact else self.one(f)
        if self.gain("w_in", gain):
            self.attributes["synapse_gain"] = True
        if exact:
            self.couple(f, membrane)

    def couple(self, f: Filter, membrane: Filter) -> None:
        """Exact flow: what i and x add to v over the step (see `docs/semantics.md`)."""
        if self.how.input_gain != "flow":
            raise error("SNN302", "the exact integrator has its own gains; input-gain must be flow")
        self.attributes["synapse_order"] = "exact"
        dt = self.dt
        tau_i, tau_v = (np.asarray(self.p[str(g.tau)], np.float64) for g in (f, membrane))
        r = self.p[membrane.gain] if membrane.gain else 1.0
        w = self.p[f.gain] if f.gain else 1.0
        # (exp(-dt/tau_i) - exp(-dt/tau_v)) tau_i / (tau_i - tau_v), also where the taus meet
        gap = dt / tau_v - dt / tau_i
        close = np.abs(gap) < 1e-12
        ratio = np.where(close, 1.0, np.expm1(gap) / np.where(close, 1.0, gap))
        cross = r * np.exp(-dt / tau_v) * (dt / tau_v) * ratio
        self.out["cross"] = cross
        held = w * (r * -np.expm1(-dt / tau_v) - cross)
        self.out["through"] = cross if self.how.synapse_jump else held

    def rate(self, f: Filter) -> Any:
        """K of the difference form."""
        assert f.tau is not None
        tau = self.p[f.tau]
        if self.how.integrator == "exponential_euler":
            return -np.expm1(-self.dt / tau)
        if self.how.constants == "f32":
            # Norse multiplies dt with a stored inverse, each rounded to float32.
            return np.float32(self.dt) * (np.float32(1) / np.asarray(tau, np.float32))
        return self.dt / tau

    def fixed_decay(self, f: Filter) -> Any:
        """4096 minus the decay, in whole units."""
        if f.tau is None:
            return np.full((), FIXED_ONE)
        decay = np.trunc(np.asarray(self.dt / self.p[f.tau], np.float64) * FIXED_ONE)
        return FIXED_ONE - decay

    def membrane(self, f: Filter) -> None:
        p = self.propagator(f)
        if self.how.form == "fixed":
            self.attributes["membrane"] = "fixed"
            self.out["beta"] = self.fixed_decay(f)
            self.gain("gain", p.gain)
            if f.leak and np.any(self.p[f.leak]):
                raise error("SNN302", "the fixed form has no leak target, v_leak must be 0")
            return
        if self.how.form == "quotient" and f.tau is not None and len(self.model.filters) == 1:
            self.quotient(f)
            return
        difference = self.how.form in ("difference", "pull") and f.tau is not None
        if f.tau is None:
            self.attributes["membrane"] = "integrate"
        else:
            self.attributes["membrane"] = self.how.form if difference else "factor"
            self.out["k_mem" if difference else "beta"] = self.rate(f) if difference else p.decay
        exact = self.attributes.get("synapse_order") == "exact"
        gain = (self.p[f.gain] if f.gain else 1.0) if difference else p.gain
        if not exact and self.gain("gain", gain):
            self.attributes["gain"] = True
        if f.leak and np.any(self.p[f.leak]):
            self.attributes["leak"] = True
            leak = self.p[f.leak] / self.scale
            self.out["leak" if difference else "bias"] = leak if difference else p.fill * leak
        self.start(f, p)

    def quotient(self, f: Filter) -> None:
        """The form that divides by tau in steps; a gain of tau / dt adds the drive undivided."""
        tau = np.asarray(self.p[str(f.tau)], np.float64) / self.dt
        gain = np.asarray(self.p[f.gain] if f.gain else 1.0, np.float64)
        after = bool(np.allclose(gain, tau, rtol=1e-6))
        self.attributes["membrane"] = "quotient-after" if after else "quotient"
        self.out["tau"] = tau
        if not after and self.gain("gain", gain):
            self.attributes["gain"] = True
        if f.leak and np.any(self.p[f.leak]):
            self.attributes["leak"] = True
            self.out["leak"] = self.p[f.leak] / self.scale
        self.start(f, self.propagator(f))

    def start(self, f: Filter, p: _Propagator) -> None:
        if self.how.start == "reset":
            target = self.p[self.model.reset] if self.model.reset else np.zeros(())
            if np.any(target):
                self.attributes["start"] = True
                self.out["v_start"] = target / self.scale
            return
        if self.how.start == "zero" or f.leak is None or not np.any(self.p[f.leak]):
            return
        leak = self.p[f.leak] / self.scale
        self.attributes["start"] = True
        self.out["v_start"] = leak if self.how.start == "leak" else p.fill * leak

    def fire(self) -> None:
        model, how = self.model, self.how
        if model.threshold is None:
            self.attributes |= {"fire": "never", "reset": "none"}
            return
        unit = FIXED_ONE if how.form == "fixed" else 1.0
        threshold = self.p[model.threshold] / self.scale * unit
        self.out["threshold"] = threshold
        self.attributes["fire"] = how.fire
        if not model.filters:
            self.attributes["reset"] = "none"
            return
        self.reset(unit)
        self.attributes |= {"spikes": how.spikes, "spike_cap": how.spike_cap}
        self.attributes |= {"clamp": how.clamp, "refractory": how.refractory}
        if how.clamp != "none":
            fixed = -threshold if how.v_min == "-threshold" else float(how.v_min) * unit
            self.out["v_min"] = fixed

    def reset(self, unit: float) -> None:
        kind = self.how.reset
        if kind == "to":
            assert self.model.reset is not None
            target = self.p[self.model.reset]
            kind = "to" if np.any(target) else "zero"
            self.out["v_reset"] = target / self.scale * unit
        self.attributes |= {"reset": kind, "reset_timing": self.how.reset_timing}


def _flow_program(model: Model, stepping: Stepping, dt: float) -> Dynamics:
    """Forward Euler for a model given by its right-hand sides; all slopes see the old states."""
    flow = model.flow
    assert flow is not None
    assert model.threshold is not None
    if stepping.integrator not in ("euler", "exact") or stepping.form != "factor":
        raise error("SNN302", f"model {model.name} has no linear flow; only euler can step it")
    builder = Builder()
    for name in [*flow.inputs, *(p for p, _ in flow.params), *(s.name for s in flow.states)]:
        builder.symbol(name)
    builder.body.extend(flow.body)
    builder._names.update(let.target for let in flow.body)

    def symbol(name: str) -> Symbol:
        return Symbol(builder, name, "float")

    new = {}
    for state, slope in flow.updates:
        push = builder.apply("mul", dt, symbol(slope) if isinstance(slope, str) else slope)
        new[state] = builder.apply("add", symbol(state), push, name=f"{state}_new")
    threshold = symbol(model.threshold)
    fired = builder.apply("ge" if stepping.fire == "ge" else "gt", new["v"], threshold)
    spike = builder.apply("cast", fired, name="spike")
    for state, amount in model.jumps:
        new[state] = new[state] + spike * symbol(amount)
    if stepping.reset == "subtract":
        new["v"] = new["v"] - spike * threshold
    elif stepping.reset != "none":
        target = symbol(model.reset) if stepping.reset == "to" and model.reset else 0.0
        new["v"] = builder.apply("select", fired, target, new["v"])
    program = replace(
        flow,
        body=tuple(builder.body),
        updates=tuple((state, value.name) for state, value in new.items()),
        outputs=((spike.name, Kind.SPIKES),),
    )
    program.types()
    return program
