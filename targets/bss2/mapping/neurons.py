"""Which neurons the chip's circuits can be, and with which numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.discrete import discrete_neuron
from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import MODELS
from snnir.errors import SnnirError
from snnir.ir.neuron import Neuron, Step
from snnir.linear_response import LinearStep, decays, linear_step
from snnir.presets import DEFAULT, preset
from snnir.tensors import FrozenDict

Array = npt.NDArray[Any]

#: Continuous models with a membrane that leaks, and with or without a synaptic current.
CONTINUOUS = ("lif", "li", "cubalif", "cubali")
SYNAPSE_HINT = "--set tau-syn=0.5 gives it one that decays in 0.5 us of the chip's time"
#: Membranes start at rest on the chip; smaller differences (of the threshold) are rounding.
_CLOSE = 1e-6


class NotFit(Exception):
    """Something the chip cannot do; a diagnostic is made of it.

    Args:
        message: What and why.
        hint: What would help.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class ChipNeurons:
    """A current-based population in the model's units and time; arrays are [neurons].

    tau_mem dv/dt = (leak - v) + I and tau_syn dI/dt = -I; a unit of input in a step moves the
    integral of v over time by `charge`.

    Attributes:
        tau_mem: Seconds.
        tau_syn: Seconds; 0 where the model has no synaptic current.
        charge: Volt seconds, per unit of input.
        leak: Where the membrane rests.
        threshold: Above which it spikes; None for a population that is read by its membrane.
        reset: Where it is then.
        refractory: Seconds.
        losses: What the chip does otherwise, one sentence each.
        bare: Whether the model has no synaptic current, so that tau_syn is a choice of the user in
            the chip's time.
    """

    tau_mem: Array
    tau_syn: Array
    charge: Array
    leak: Array
    threshold: Array | None
    reset: Array
    refractory: float
    losses: tuple[str, ...]
    bare: bool = False

    @property
    def spiking(self) -> bool:
        """Whether it spikes."""
        return self.threshold is not None


def chip_neurons(op: Neuron | Step, shape: tuple[int, ...], dt: float) -> ChipNeurons:
    """Return what a population is to the chip.

    A continuous neuron keeps the time constants of its equation, which the chip solves. A step
    program gets those with which a membrane decays by the same factor in a step. What a unit of
    input does in sum is taken from the step program in both cases.

    Args:
        op: A continuous neuron or a step program.
        shape: Of the population.
        dt: Seconds per step.

    Raises:
        NotFit: If no circuit can be it.
    """
    if isinstance(op, Neuron):
        return _of_equation(op, shape, dt)
    if not isinstance(op.dynamics, LifStep):
        what = f"is stepped by a program of its own ('{op.program.name}')"
        hint = "the chip has current-based LIF neurons"
        if op.unit is not None:
            hint = "give the model in floating point; this target quantises it itself"
        raise NotFit(what, hint)
    given = {name: tensor.numpy().astype(np.float64) for name, tensor in op.params.items()}
    _check(op.dynamics, given)
    synapse, membrane = decays(op.dynamics, given)
    assert membrane is not None
    tau_mem = _time_of(membrane, dt, "membrane", shape)
    tau_syn = None if synapse is None else _time_of(synapse, dt, "synaptic current", shape)
    return _neurons(op.dynamics, given, shape, dt, (tau_mem, tau_syn))


def _of_equation(op: Neuron, shape: tuple[int, ...], dt: float) -> ChipNeurons:
    if op.model not in CONTINUOUS:
        hint = "the chip has current-based LIF neurons: lif, li, cubalif, cubali"
        if op.model in ("if", "i"):
            hint = "every membrane of the chip leaks: use a leak, or --target speck"
        raise NotFit(f"is a neuron '{op.model}', which no circuit of the chip is", hint)
    stepping = op.stepping or preset(DEFAULT).for_model(op.model)
    model = MODELS[op.model]
    try:
        rules, found = discrete_neuron(model, op.params, stepping, dt, np.float64)
    except SnnirError as failure:
        raise NotFit(failure.diagnostics[0].message) from None
    assert isinstance(rules, LifStep)
    given = {name: tensor.numpy() for name, tensor in found.items()}
    _check(rules, given)
    flat = _flat_params(op.params, shape)
    tau_mem, tau_syn = flat.get("tau_mem", flat.get("tau")), flat.get("tau_syn")
    made = _neurons(rules, given, shape, dt, (tau_mem, tau_syn))
    if tau_syn is not None and stepping.synapse_jump and stepping.integrator == "exact":
        # The flow is known; summing its samples would miss what lies between them.
        made = replace(made, charge=flat["r"] * flat["tau_syn"])
    return made


def _flat_params(params: FrozenDict[Any], shape: tuple[int, ...]) -> dict[str, Array]:
    return {
        name: np.broadcast_to(tensor.numpy().astype(np.float64), shape).reshape(-1)
        for name, tensor in params.items()
    }


def _time_of(decay: Array, dt: float, what: str, shape: tuple[int, ...]) -> Array:
    """Return the time constant with which something decays by a factor in a step."""
    if np.any(decay <= 0):
        worst = float(np.min(decay))
        hint = "an exponential decay stays above 0: take a smaller dt"
        raise NotFit(f"its {what} is multiplied by {worst:.4g} per step", hint)
    if np.any(decay >= 1):
        hint = "every membrane and current of the chip decays"
        raise NotFit(f"its {what} is multiplied by {float(np.max(decay)):.4g} per step", hint)
    return np.broadcast_to(-dt / np.log(decay), shape).reshape(-1)


def _neurons(
    rules: LifStep, given: dict[str, Array], shape: tuple[int, ...], dt: float, times: Any
) -> ChipNeurons:
    tau_mem, tau_syn = times
    step = linear_step(rules, given, shape)
    rest, gain = _steady(step)
    count = len(rest)

    def value(name: str, default: float = 0.0) -> Array:
        found = np.broadcast_to(given.get(name, np.float64(default)), shape)
        return found.reshape(-1) / step.unit

    threshold = None if rules.fire == "never" else value("threshold")
    reset = value("v_reset") if rules.reset == "to" else np.zeros(count)
    if threshold is not None and not np.isfinite([*threshold, *reset]).all():
        hint = "a threshold that is never reached is a leaky integrator's: li, cubali"
        raise NotFit("its threshold or reset is not finite", hint)
    if threshold is not None and np.any(threshold <= reset):
        worst = int(np.argmax(reset - threshold))
        what = f"neuron {worst} is reset to {reset[worst]:.4g}, its threshold is "
        raise NotFit(f"{what}{threshold[worst]:.4g}", "reset below the threshold")
    size = np.abs(rest if threshold is None else threshold - reset) + _CLOSE
    start = step.start[:, step.membrane, 0] / step.unit
    return ChipNeurons(
        tau_mem=tau_mem,
        tau_syn=np.zeros(count) if tau_syn is None else tau_syn,
        charge=gain * dt,
        leak=rest,
        threshold=threshold,
        reset=reset if threshold is not None else rest,
        refractory=rules.refractory * dt,
        losses=tuple(_losses(rules, bool(np.any(np.abs(start - rest) > _CLOSE * size)))),
    )


def _steady(step: LinearStep) -> tuple[Array, Array]:
    """Return where membranes rest, and where a unit of input in every step moves that.

    Raises:
        NotFit: If there is no such place, as what does not decay has none.
    """
    inner = np.eye(len(step.names)) - step.change[:, :-1, :-1]
    try:
        rest = np.linalg.solve(inner, step.change[:, :-1, -1:])
        gain = np.linalg.solve(inner, step.jump)
    except np.linalg.LinAlgError:
        rest = gain = np.full_like(step.jump, np.nan)
    v = step.membrane
    if not (np.isfinite(rest[:, v]).all() and np.isfinite(gain[:, v]).all()):
        what = "has no finite rest, or no finite response to input, in steps of this dt"
        raise NotFit(what, "time constants, gains and potentials have to be finite, and decay")
    return rest[:, v, 0] / step.unit, gain[:, v, 0] / step.unit


def _check(rules: LifStep, values: dict[str, Array]) -> None:
    """Raise `NotFit` for the first thing no circuit can do."""
    if rules.membrane in ("none", "integrate"):
        hint = "use a leak of at most 60 us of the chip's time, or --target speck"
        raise NotFit("has no leak; every membrane of the chip has one", hint)
    if rules.fire != "never":
        if rules.reset == "subtract":
            hint = "train with a reset to a value; --target xylo and speck subtract"
            raise NotFit("subtracts at a spike; the chip sets the membrane to a value", hint)
        if rules.reset == "none":
            raise NotFit("is never reset; the chip resets after every spike")
        if rules.reset == "zero-then-add":
            raise NotFit("adds its reset value in every step", "use a plain reset")
    if rules.exposes_v:
        raise NotFit("gives spikes and membrane; a population of the chip is read by one of them")
    amount = values.get("threshold")
    if rules.multi and amount is not None and np.any(amount <= 0):
        raise NotFit("counts in units of a threshold that is not positive")


def _losses(rules: LifStep, starts_elsewhere: bool) -> list[str]:
    """Return what a circuit does otherwise than the neuron."""
    found = ["runs in continuous time: spikes come between the steps, and act at once"]
    if rules.synapse == "none":
        found.append("its input goes through a synaptic current")
    if starts_elsewhere:
        found.append("starts at its resting potential")
    if rules.fire == "ge":
        found.append("spikes above the threshold, not at it")
    if rules.multi:
        found.append("several spikes in a step come one after another, each with a reset")
    if rules.reset_timing != "same-step":
        found.append("is reset with the spike, not one step later")
    if rules.clamp != "none":
        found.append("its membrane has no lower bound")
    if rules.fixed or rules.synapse == "fixed":
        found.append("its states are not cut to multiples of 1/4096")
    if rules.synapse_order == "late":
        found.append("input acts at once, not one step later")
    return found


def with_synapse(neurons: ChipNeurons, seconds: float | None) -> ChipNeurons:
    """Give a synaptic current to neurons that have none.

    Args:
        neurons: The population.
        seconds: Its time constant in the model's time; None if the user wants none.

    Raises:
        NotFit: If there is none and it needs one.
    """
    bare = neurons.tau_syn == 0
    if not bare.any():
        return neurons
    if seconds is None:
        what = "has no synaptic current; on the chip input decays in 0.3 to 30 us"
        raise NotFit(what, SYNAPSE_HINT)
    return replace(neurons, tau_syn=np.where(bare, seconds, neurons.tau_syn), bare=True)
