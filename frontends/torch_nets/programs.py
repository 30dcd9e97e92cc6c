"""Step programs of framework neurons outside the LIF family, as plain Python traced once.

Sources of the equations: `snntorch/_neurons/alpha.py` and `leakyparallel.py` of snnTorch 1.0.0,
`sinabs/layers/functional/alif.py` of Sinabs 3.1.3, `activation_based/neuron/` of SpikingJelly
2.0.0, `norse/torch/functional/` of Norse 1.1.0. The order of operations is theirs, because it
decides the last bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from snnir.dynamics.program import Dynamics, Operand, State
from snnir.dynamics.trace import Builder, Symbol
from snnir.streams import Kind


class Writer:
    """Collects the parts of one program."""

    def __init__(self, name: str, inputs: int = 1) -> None:
        self.name = name
        self.b = Builder()
        self.inputs = ["x", "y"][:inputs]
        self.x = self.b.symbol("x")
        self.y = self.b.symbol("y") if inputs == 2 else None
        self.params: dict[str, str] = {}
        self.states: list[State] = []

    def p(self, name: str, unit: str = "1") -> Symbol:
        """Return a parameter."""
        self.params[name] = unit
        return self.b.symbol(name)

    def state(self, name: str, initial: Operand = 0.0) -> Symbol:
        """Return a state; `initial` is a number or a parameter's name."""
        if isinstance(initial, str):
            self.p(initial)
        self.states.append(State(name, initial))
        return self.b.symbol(name)

    def do(self, op: str, *args: Any, name: str | None = None) -> Symbol:
        """Apply a scalar operation that Python has no operator for."""
        return self.b.apply(op, *args, name=name)

    def spike(self, condition: Symbol) -> Symbol:
        """Return a comparison as 0 or 1."""
        return self.b.apply("cast", condition, name="spike")

    def finish(self, output: Symbol, kind: Kind = Kind.SPIKES, **updates: Symbol) -> Dynamics:
        """Return the program."""
        program = Dynamics(
            name=self.name,
            inputs=tuple(self.inputs),
            params=tuple(self.params.items()),
            states=tuple(self.states),
            body=tuple(self.b.body),
            updates=tuple((state.name, updates[state.name].name) for state in self.states),
            outputs=((output.name, kind),),
        )
        program.types()
        return program


# --- snnTorch ------------------------------------------------------------------------------------


@lru_cache
def alpha(reset: str) -> Dynamics:
    """Alpha-function neuron: two filters of opposite sign, reset from the stored membrane."""
    w = Writer("snntorch_alpha")
    a, b, ta, threshold = w.p("alpha"), w.p("beta"), w.p("tau_alpha"), w.p("threshold", "V")
    e, i, v = w.state("e"), w.state("i"), w.state("v")
    late = w.do("cast", v > threshold, name="late")
    e_new, i_new = a * e + w.x, b * i - w.x
    h = ta * (e_new + i_new)
    if reset == "subtract":
        again = b * i - w.x
        e_new, i_new, h = e_new - threshold * late, i_new - again * late, h - (-i) * late
    elif reset == "zero":
        e_new, i_new, h = e_new - e_new * late, i_new - i_new * late, h - h * late
    return w.finish(w.spike(h > threshold), e=e_new, i=i_new, v=h)


@lru_cache
def rectified() -> Dynamics:
    """Leaky neuron without reset whose membrane is clipped at 0 (LeakyParallel)."""
    w = Writer("snntorch_rectified")
    v = w.state("v")
    h = w.do("max", w.x + w.p("beta") * v, 0.0, name="h")
    return w.finish(w.spike(h > w.p("threshold", "V")), v=h)


# --- Sinabs --------------------------------------------------------------------------------------


@lru_cache
def alif(synapse: bool, norm: bool, multi: bool, cap: float, reset: str, clamp: bool) -> Dynamics:
    """Adaptive LIF: the threshold rises with a trace of the spikes."""
    w = Writer("sinabs_alif")
    beta, threshold = w.p("beta"), w.p("threshold", "V")
    i = w.state("i") if synapse else None
    v, b = w.state("v"), w.state("b")
    scale = w.p("adapt_scale")
    updates: dict[str, Symbol] = {}
    drive = w.x if i is None else w.p("alpha") * (i + w.x)
    if norm:
        drive = w.p("gain") * drive
    if i is not None:
        updates["i"] = drive
    h = beta * v + drive
    bound = w.do("add", threshold, scale * b, name="bound")
    spike = _sinabs_spikes(w, h, bound, multi, cap)
    updates["v"] = _sinabs_reset(w, h, spike, bound, reset, clamp)
    updates["b"] = w.p("beta_adapt") * b + w.p("gain_adapt") * spike
    return w.finish(spike, Kind.COUNTS if multi else Kind.SPIKES, **updates)


def _sinabs_spikes(w: Writer, h: Symbol, bound: Symbol, multi: bool, cap: float) -> Symbol:
    if not multi:
        return w.spike(h >= bound)
    count = w.do("trunc", h / bound)
    if cap:
        count = w.do("min", count, cap)
    return w.do("select", h > 0.0, count, 0.0, name="spike")


def _sinabs_reset(
    w: Writer, h: Symbol, spike: Symbol, bound: Symbol, reset: str, clamp: bool
) -> Symbol:
    if reset == "subtract":
        h = h - spike * bound
    elif reset == "subtract-own":
        h = h - spike * w.p("v_subtract", "V")
    else:
        h = w.do("select", spike > 0.0, 0.0, h)
        if reset == "zero-then-add":
            h = h + w.p("v_reset", "V")
    if clamp:
        floor = w.p("v_min", "V")
        clamped: Symbol = w.do("max", h - floor, 0.0) + floor
        return clamped
    return h


# --- SpikingJelly --------------------------------------------------------------------------------


def _jelly_reset(w: Writer, h: Symbol, spike: Symbol, soft: bool, threshold: Symbol) -> Symbol:
    if soft:
        return h - spike * threshold
    return w.do("select", spike > 0.0, w.p("v_reset", "V"), h, name="v_new")


def _jelly_start(soft: bool) -> Operand:
    return 0.0 if soft else "v_reset"


def _quadratic(w: Writer, v: Symbol) -> Symbol:
    """X + a0 (v - v_rest) (v - v_critical), in that order."""
    return w.x + w.p("a0") * (v - w.p("v_rest", "V")) * (v - w.p("v_critical", "V"))


@lru_cache
def qif(soft: bool) -> Dynamics:
    """Quadratic integrate-and-fire."""
    w = Writer("spikingjelly_qif")
    v = w.state("v", _jelly_start(soft))
    threshold = w.p("threshold", "V")
    h = v + _quadratic(w, v) / w.p("tau")
    spike = w.spike(h >= threshold)
    return w.finish(spike, v=_jelly_reset(w, h, spike, soft, threshold))


@lru_cache
def eif(soft: bool) -> Dynamics:
    """Exponential integrate-and-fire."""
    w = Writer("spikingjelly_eif")
    v = w.state("v", _jelly_start(soft))
    threshold, sharpness = w.p("threshold", "V"), w.p("delta_T", "V")
    rise = sharpness * w.do("exp", (v - w.p("theta_rh", "V")) / sharpness)
    h = v + (w.x + w.p("v_rest", "V") - v + rise) / w.p("tau")
    spike = w.spike(h >= threshold)
    return w.finish(spike, v=_jelly_reset(w, h, spike, soft, threshold))


@lru_cache
def izhikevich(soft: bool) -> Dynamics:
    """Quadratic neuron with an adaptation current."""
    w = Writer("spikingjelly_izhikevich")
    v, u = w.state("v", _jelly_start(soft)), w.state("w", "w_start")
    threshold = w.p("threshold", "V")
    h = v + (_quadratic(w, v) - u) / w.p("tau")
    spike = w.spike(h >= threshold)
    u_new = u + (w.p("a") * (h - w.p("v_rest", "V")) - u) / w.p("tau_w") + w.p("b") * spike
    return w.finish(spike, v=_jelly_reset(w, h, spike, soft, threshold), w=u_new)


@lru_cache
def klif(soft: bool, decay_input: bool, scale_reset: bool, leak: bool) -> Dynamics:
    """LIF whose membrane is scaled by k and rectified before it fires."""
    w = Writer("spikingjelly_klif")
    v = w.state("v", _jelly_start(soft))
    threshold, k, tau = w.p("threshold", "V"), w.p("k"), w.p("tau")
    above = v - w.p("v_reset", "V") if leak else v
    charge = v + (w.x - above) / tau if decay_input else v - above / tau + w.x
    h = w.do("max", k * charge, 0.0, name="h")
    spike = w.spike(h >= threshold)
    if scale_reset:
        return w.finish(spike, v=_jelly_reset(w, h / k, spike, soft, threshold / k))
    return w.finish(spike, v=_jelly_reset(w, h, spike, soft, threshold))


@lru_cache
def ilif(single: bool) -> Dynamics:
    """LIF that emits a rounded, bounded count; its two step modes round differently."""
    w = Writer("spikingjelly_ilif")
    v = w.state("v")
    threshold = w.p("threshold", "V")
    h = v - v / w.p("tau") + w.x if single else w.p("beta") * v + w.x
    bounded = w.do("min", w.do("max", h / threshold, 0.0), w.p("most"))
    spike = w.do("round", bounded, name="spike")
    return w.finish(spike, Kind.COUNTS, v=h - spike * threshold)


@lru_cache
def ternary(soft: bool) -> Dynamics:
    """Integrate-and-fire with spikes of either sign."""
    w = Writer("spikingjelly_ternary")
    v = w.state("v", _jelly_start(soft))
    threshold = w.p("threshold", "V")
    h = v + w.x
    up = w.do("cast", h >= threshold, name="up")
    down = w.do("cast", (-h) >= threshold, name="down")
    spike = w.do("sub", up, down, name="spike")
    reset = _jelly_reset(w, h, spike if soft else up + down, soft, threshold)
    return w.finish(spike, Kind.ANALOG, v=reset)


# --- Norse ---------------------------------------------------------------------------------------


@lru_cache
def lsnn(inputs: int) -> Dynamics:
    """LIF with an adaptive threshold; the membrane sees the current of the step before."""
    w = Writer("norse_lsnn", inputs)
    v, i, b = w.state("v", "leak"), w.state("i"), w.state("b", "threshold")
    h = v + w.p("k_mem") * ((w.p("leak", "V") - v) + i)
    i_new = i - w.p("k_syn") * i
    b_new = b + w.p("k_adapt") * (w.p("threshold", "V") - b)
    spike = w.spike(h > b_new)
    v_new = w.do("select", spike > 0.0, w.p("v_reset", "V"), h, name="v_new")
    i_new = i_new + w.x
    if w.y is not None:
        i_new = i_new + w.y
    return w.finish(spike, v=v_new, i=i_new, b=b_new + spike * w.p("jump", "V"))


@lru_cache
def exponential(inputs: int, adaptive: bool) -> Dynamics:
    """LIF with an exponential rise, and an adaptation current if `adaptive`."""
    w = Writer("norse_adex" if adaptive else "norse_ex", inputs)
    v, i = w.state("v", "leak"), w.state("i")
    a = w.state("a") if adaptive else None
    leak, threshold, sharpness = w.p("leak", "V"), w.p("threshold", "V"), w.p("delta_T", "V")
    seen = i + w.x
    if w.y is not None:
        seen = seen + w.y
    rise = sharpness * w.do("exp", (v - threshold) / sharpness)
    total = (leak - v) + rise + seen
    if a is not None:
        total = total - a
    h = v + w.p("k_mem") * total
    updates = {"i": seen - w.p("k_syn") * seen}
    spike = w.spike(h > threshold)
    if a is not None:
        pull = w.p("adaptation_current") * (v - leak) - a
        updates["a"] = a + w.p("k_adapt") * pull + spike * w.p("adaptation_spike")
    updates["v"] = w.do("select", spike > 0.0, w.p("v_reset", "V"), h, name="v_new")
    return w.finish(spike, Kind.SPIKES, **updates)
