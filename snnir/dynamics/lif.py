"""The parametric LIF family: one definition with every choice the frameworks make as an attribute.

A framework's neuron is an instance. Exporters and hardware targets look at the attributes, never
at where the neuron came from; simulators run the step program the attributes generate. The forms
are those verified against snnTorch 1.0.0, Norse 1.1.0, Sinabs 3.1.3 and SpikingJelly 2.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import ClassVar

from snnir.dynamics.program import Dynamics, State
from snnir.dynamics.trace import Builder, Number, Symbol
from snnir.errors import error
from snnir.streams import Kind

#: One unit of the fixed-point state format (12 fractional bits, as on Loihi).
FIXED_ONE = 4096.0


@dataclass(frozen=True)
class LifStep:
    """One step of a leaky integrate-and-fire neuron (or of a part of one).

    Notation: x input, i synaptic current, v membrane before the step, h membrane before the
    reset, s output; every product and sum rounds once, in the order written.

    Attributes:
        inputs: 1, or 2: a second input y is added right after x wherever x is added, as recurrent
            cells do ((beta * v + x) + y).
        synapse: `none`: drive = x; `factor`: i = alpha * i + x; `difference`:
            i = i + k_syn * ((leak_syn - i) + x); `fixed`:
            i = trunc(i * alpha / 4096) + trunc(4096 x).
        synapse_order: `jump`: the membrane sees this step's i; `late`: it sees the last step's i;
            `decay-input`: i = alpha * (i + x), seen at once; `decay-after`: it sees j = i + x,
            then i = alpha * j (or j - k_syn * j); `exact`: it sees cross * i + through * x, the
            exact flow over the step.
        synapse_gain: x is multiplied by `w_in` first.
        synapse_leak: With `difference`, the current starts at the parameter `leak_syn` and decays
            towards it; otherwise that is 0.
        membrane: `none`: h = drive (no state); `integrate`: h = v + drive; `factor`:
            h = beta * v + drive; `difference`: h = v + k_mem * ((drive + leak) - v); `pull`:
            h = v + k_mem * ((leak - v) + drive); `quotient`: h = v + (drive - (v - leak)) / tau;
            `quotient-after`: h = v - (v - leak) / tau + drive; `product` and `product-after`: the
            same with a factor k_mem instead of the division; `fixed`:
            h = trunc(v * beta / 4096) + drive.
        gain: The drive is multiplied by `gain`.
        leak: There is a leak target: `leak` where the form above names it, else the constant
            `bias` = (1 - beta) * v_leak is added last.
        start: v starts at the parameter `v_start` instead of 0, i at `leak_syn` if it has one.
        fire: `gt`: s = h > threshold; `ge`: s = h >= threshold; `never`: the output is v.
        spikes: `single`: s is 0 or 1; `multi`: s = trunc(h / threshold) where h > 0.
        spike_cap: Largest s of a multi-spike neuron; 0 for no limit.
        reset: `none`, `zero`, `to` (the parameter `v_reset`), `subtract` (s * threshold), or
            `zero-then-add`: zero after a spike, then v_reset is added, spike or not.
        own_amount: A reset by subtraction takes the parameter `v_subtract` instead of the
            threshold.
        reset_timing: `same-step`; `next-step`: r = v > threshold is applied to this step's h;
            `next-step-before-decay`: it is applied to v before the decay; `net` and
            `net-before-decay`: as these, then the reset of (s - r) in the same step.
        clamp: `none`; `max`: v = max(v, v_min) after the reset; `relu`:
            v = max(v - v_min, 0) + v_min, which rounds.
        refractory: Steps after a spike in which v is held and s is 0.
        exposes_v: The membrane after the step is a second, analog output.
    """

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "synapse": ("none", "factor", "difference", "fixed"),
        "synapse_order": ("jump", "late", "decay-input", "decay-after", "exact"),
        "membrane": (
            "none",
            "integrate",
            "factor",
            "difference",
            "pull",
            "quotient",
            "quotient-after",
            "product",
            "product-after",
            "fixed",
        ),
        "fire": ("gt", "ge", "never"),
        "spikes": ("single", "multi"),
        "reset": ("none", "zero", "to", "subtract", "zero-then-add"),
        "reset_timing": (
            "same-step",
            "next-step",
            "next-step-before-decay",
            "net",
            "net-before-decay",
        ),
        "clamp": ("none", "max", "relu"),
    }

    inputs: int = 1
    synapse: str = "none"
    synapse_order: str = "jump"
    synapse_gain: bool = False
    synapse_leak: bool = False
    membrane: str = "factor"
    gain: bool = False
    leak: bool = False
    start: bool = False
    fire: str = "gt"
    spikes: str = "single"
    spike_cap: int = 0
    reset: str = "zero"
    own_amount: bool = False
    reset_timing: str = "same-step"
    clamp: str = "none"
    refractory: int = 0
    exposes_v: bool = False

    def __post_init__(self) -> None:
        for name, allowed in self.CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise error("SNN302", f"{name} is '{value}', must be one of {', '.join(allowed)}")
        if self.refractory < 0 or self.spike_cap < 0:
            raise error("SNN302", "refractory and spike_cap cannot be negative")
        if self.inputs not in (1, 2):
            raise error("SNN302", f"inputs is {self.inputs}, must be 1 or 2")
        if self.inputs == 2 and (self.fixed or self.synapse_order == "exact"):
            raise error("SNN302", "the fixed form and the exact order have one input")
        if self.synapse_leak and self.synapse_order == "decay-after":
            raise error("SNN302", "a current that decays after it is seen has no leak target")
        if self.exposes_v and (self.membrane == "none" or self.fixed):
            raise error("SNN302", "exposes_v needs a membrane in units of the stream")
        delayed = self.reset_timing != "same-step"
        plain = self.reset in ("none", "zero", "subtract") and not self.own_amount
        if delayed and (not plain or self.spikes == "multi" or self.fixed):
            raise error(
                "SNN302",
                f"reset_timing {self.reset_timing} is defined for single spikes with a reset to "
                "zero or by subtraction",
            )
        if self.fixed and (self.gain or self.leak or self.synapse not in ("none", "fixed")):
            raise error("SNN302", "the fixed form has neither gain nor leak target")

    @property
    def fixed(self) -> bool:
        """Whether states are integers in units of 1/4096."""
        return self.membrane == "fixed"

    @property
    def multi(self) -> bool:
        """Whether several spikes per step may leave."""
        return self.spikes == "multi"

    def attributes(self) -> dict[str, str | bool | int]:
        """Return the attributes that differ from their defaults."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    @property
    def program(self) -> Dynamics:
        """The step program these attributes stand for."""
        return _program(self)


@lru_cache(maxsize=4096)
def _program(step: LifStep) -> Dynamics:
    return _Writer(step).program()


class _Writer:
    """Writes the step program of one member of the family."""

    def __init__(self, step: LifStep) -> None:
        self.step = step
        self.builder = Builder()
        self.params: dict[str, str] = {}
        self.states: list[State] = []
        self.updates: dict[str, Symbol] = {}
        self.x = self.builder.symbol("x")
        self.y = self.builder.symbol("y") if step.inputs == 2 else None

    def param(self, name: str, unit: str = "1") -> Symbol:
        self.params[name] = unit
        return self.builder.symbol(name)

    def state(self, name: str, initial: str | float = 0.0) -> Symbol:
        self.states.append(State(name, initial))
        return self.builder.symbol(name)

    def let(self, name: str, op: str, *args: Number) -> Symbol:
        return self.builder.apply(op, *args, name=name)

    def program(self) -> Dynamics:
        drive = self.drive(self.synapse())
        if self.step.membrane == "none":
            return self.finish(self.fire(drive))
        bias = self.param("bias", "V") if self.has_bias else None
        start = self.param("v_start", "V").name if self.step.start else 0.0
        v = self.state("v", start)
        if self.step.fire == "never":
            h = self.integrate(v, drive, bias)
            self.store(h)
            return self.finish(h)
        return self.finish(self.fire_and_reset(v, drive, bias))

    @property
    def has_bias(self) -> bool:
        return self.step.leak and self.step.membrane in ("integrate", "factor")

    def synapse(self) -> Symbol:
        step = self.step
        x = self.param("w_in") * self.x if step.synapse_gain else self.x
        if step.synapse == "none":
            if step.fixed:
                return self.let("drive", "trunc", x * FIXED_ONE)
            # A second input waits for the membrane unless the drive has a factor of its own.
            return self.plus_second(x) if step.gain or not self.adds_to_membrane else x
        starts_at_leak = step.start and step.synapse == "difference" and step.synapse_leak
        i = self.state("i", "leak_syn" if starts_at_leak else 0.0)
        if step.synapse_order == "decay-after":
            return self.decay_after(i, x)
        if step.synapse == "fixed":
            decayed = self.let("i_decayed", "trunc", i * self.param("alpha") / FIXED_ONE)
            new = self.let("i_new", "add", decayed, self.let("x_fixed", "trunc", x * FIXED_ONE))
        elif step.synapse == "difference":
            k = self.param("k_syn")
            pull = (self.param("leak_syn", "A") - i) + x if step.synapse_leak else x - i
            pull = self.plus_second(pull)
            new = self.let("i_new", "add", i, k * pull)
        elif step.synapse_order == "decay-input":
            new = self.let("i_new", "mul", self.param("alpha"), self.plus_second(i + x))
        else:
            new = self.plus_second(self.let("i_new", "add", self.param("alpha") * i, x))
        self.updates["i"] = new
        if step.synapse_order == "exact":
            return self.let("drive", "add", self.param("cross") * i, self.param("through") * self.x)
        return i if step.synapse_order == "late" else new

    @property
    def adds_to_membrane(self) -> bool:
        """Whether the drive is added to the membrane last, so that a second input can follow."""
        last = ("integrate", "factor", "quotient-after", "product-after")
        return self.step.synapse == "none" and self.step.membrane in last

    def plus_second(self, value: Symbol) -> Symbol:
        return value if self.y is None else value + self.y

    def decay_after(self, i: Symbol, x: Symbol) -> Symbol:
        seen = self.let("j", "add", i, x)
        if self.y is not None:
            seen = self.let("j", "add", seen, self.y)
        if self.step.synapse == "difference":
            self.updates["i"] = self.let("i_new", "sub", seen, self.param("k_syn") * seen)
        else:
            self.updates["i"] = self.let("i_new", "mul", self.param("alpha"), seen)
        return seen

    def drive(self, current: Symbol) -> Symbol:
        return self.param("gain") * current if self.step.gain else current

    def integrate(self, v: Symbol, drive: Symbol, bias: Symbol | None) -> Symbol:
        membrane = self.step.membrane
        if membrane == "integrate":
            h = v + drive
        elif membrane == "factor":
            h = self.param("beta") * v + drive
        elif membrane == "fixed":
            h = self.let("v_decayed", "trunc", v * self.param("beta") / FIXED_ONE) + drive
        elif membrane in ("difference", "pull"):
            h = v + self.param("k_mem") * self.pull(v, drive)
        else:
            h = self.relax(v, drive)
        if self.adds_to_membrane and not self.step.gain:
            h = self.plus_second(h)
        return h if bias is None else h + bias

    def pull(self, v: Symbol, drive: Symbol) -> Symbol:
        """What the membrane moves towards, less where it is."""
        if not self.step.leak:
            return drive - v
        leak = self.param("leak", "V")
        return (leak - v) + drive if self.step.membrane == "pull" else (drive + leak) - v

    def relax(self, v: Symbol, drive: Symbol) -> Symbol:
        """Step towards the leak target by a quotient or a factor, the drive inside or after."""
        above = v - self.param("leak", "V") if self.step.leak else v
        form, _, after = self.step.membrane.partition("-")
        moved = above if after else drive - above
        change = moved / self.param("tau") if form == "quotient" else moved * self.param("k_mem")
        return v - change + drive if after else v + change

    def fire_and_reset(self, v: Symbol, drive: Symbol, bias: Symbol | None) -> Symbol:
        threshold = self.param("threshold", "V")
        timing = self.step.reset_timing
        if timing == "same-step":
            h = self.integrate(v, drive, bias)
            spike, h = self.hold(v, h, self.spike(h, threshold))
            self.store(self.reset(h, spike, threshold))
            return spike
        late = self.let("late", "cast", self.compare(v, threshold))
        if timing.endswith("before-decay"):
            h = self.integrate(self.kept(v, late, threshold), drive, bias)
        else:
            h = self.take(self.integrate(v, drive, bias), late, threshold)
        spike, h = self.hold(v, h, self.spike(h, threshold))
        if timing.startswith("net"):
            h = self.take(h, spike - late, threshold)
        self.store(h)
        return spike

    def kept(self, v: Symbol, late: Symbol, threshold: Symbol) -> Symbol:
        """Return v less the reset of the last step's spike."""
        if self.step.reset == "none":
            return v
        return (1.0 - late) * v if self.step.reset == "zero" else v - late * threshold

    def take(self, h: Symbol, amount: Symbol, threshold: Symbol) -> Symbol:
        """Apply `amount` resets arithmetically, as snnTorch does."""
        if self.step.reset == "none":
            return h
        return h - amount * (h if self.step.reset == "zero" else threshold)

    def compare(self, h: Symbol, threshold: Symbol) -> Symbol:
        return h >= threshold if self.step.fire == "ge" else h > threshold

    def spike(self, h: Symbol, threshold: Symbol) -> Symbol:
        if not self.step.multi:
            return self.let("spike", "cast", self.compare(h, threshold))
        count = self.let("count", "trunc", h / threshold)
        if self.step.spike_cap:
            count = self.let("count", "min", count, float(self.step.spike_cap))
        return self.let("spike", "select", h > 0.0, count, 0.0)

    def fire(self, drive: Symbol) -> Symbol:
        return self.spike(drive, self.param("threshold", "V"))

    def hold(self, v: Symbol, h: Symbol, spike: Symbol) -> tuple[Symbol, Symbol]:
        """Apply the refractory time: hold v and mute the spike while the counter runs."""
        if not self.step.refractory:
            return spike, h
        left = self.state("refractory")
        waiting = left > 0.0
        spike = self.let("spike", "select", waiting, 0.0, spike)
        h = self.let("held", "select", waiting, v, h)
        rest = self.let("left", "max", left - 1.0, 0.0)
        fired = spike > 0.0
        full = float(self.step.refractory)
        self.updates["refractory"] = self.let("left", "select", fired, full, rest)
        return spike, h

    def reset(self, h: Symbol, spike: Symbol, threshold: Symbol) -> Symbol:
        if self.step.reset == "none":
            return h
        if self.step.reset == "subtract":
            amount = self.param("v_subtract", "V") if self.step.own_amount else threshold
            return h - spike * amount
        if self.step.reset == "zero-then-add":
            kept = self.let("kept", "select", spike > 0.0, 0.0, h)
            return kept + self.param("v_reset", "V")
        target: Number = self.param("v_reset", "V") if self.step.reset == "to" else 0.0
        return self.let("v_new", "select", spike > 0.0, target, h)

    def store(self, v: Symbol) -> None:
        if self.step.clamp == "max":
            v = self.let("v_new", "max", v, self.param("v_min", "V"))
        elif self.step.clamp == "relu":
            floor = self.param("v_min", "V")
            v = self.let("v_new", "add", self.let("above", "max", v - floor, 0.0), floor)
        self.updates["v"] = v

    def finish(self, output: Symbol) -> Dynamics:
        kind = Kind.ANALOG
        if self.step.fire != "never":
            kind = Kind.COUNTS if self.step.multi else Kind.SPIKES
        if self.step.fixed and kind is Kind.ANALOG:
            output = output / FIXED_ONE
        outputs = [(output.name, kind)]
        if self.step.exposes_v:
            outputs.append((self.updates["v"].name, Kind.ANALOG))
        program = Dynamics(
            name="lif",
            inputs=("x", "y") if self.y is not None else ("x",),
            params=tuple(self.params.items()),
            states=tuple(self.states),
            body=tuple(self.builder.body),
            updates=tuple((state.name, self.updates[state.name].name) for state in self.states),
            outputs=tuple(outputs),
            dtype="f64" if self.step.fixed else "f32",
        )
        program.types()
        return program
