"""Layers of the frameworks themselves, where they are provably equal to a step.

Each function returns a layer only if its spikes equal the step's for every input, rounding
included; a comparison of the other kind is met by moving the threshold to the next float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.ir.neuron import Step
from snnir.targets.torch_nets.layer import (
    Layer,
    Parameters,
    above,
    below,
    spikes_as_reset_at_once,
)
from snnir.targets.torch_nets.names import number

f32 = np.float32


def _lif(op: Step) -> tuple[LifStep, Parameters] | None:
    """Return a step that could be native: one input, no refractory time, nothing scaled."""
    step = op.dynamics
    if not isinstance(step, LifStep) or step.inputs != 1 or step.refractory or step.fixed:
        return None
    return (step, Parameters(op)) if not step.synapse_gain else None


def _argument(name: str, value: Any, arrays: dict[str, Any]) -> str:
    """Return a constructor argument: a literal, or zeros that the weights file fills."""
    data = np.asarray(value, f32)
    if data.ndim == 0:
        return number(data)
    arrays[name] = data
    return f"torch.zeros({tuple(data.shape)!r})"


def snntorch(op: Step) -> Layer | None:
    """Leaky and Synaptic."""
    found = _lif(op)
    if found is None:
        return None
    step, p = found
    plain = step.membrane in ("factor", "integrate") and step.spikes == "single"
    clean = not (step.gain or step.leak or step.start or step.own_amount)
    if not plain or not clean or step.clamp != "none" or step.fire == "never":
        return None
    timing = _snntorch_timing(op, step, p)
    exact_threshold = step.fire == "gt" or step.reset != "subtract"
    if timing is None or not exact_threshold or step.synapse not in ("none", "factor"):
        return None
    if step.synapse == "factor" and step.synapse_order != "jump":
        return None
    arrays: dict[str, Any] = {}
    threshold = p.array("threshold") if step.fire == "gt" else below(p.array("threshold"))
    beta = f32(1) if step.membrane == "integrate" else p.array("beta")
    decays = {"beta": beta}
    if step.synapse == "factor":
        decays = {"alpha": p.array("alpha"), "beta": beta}
    if any((d < 0).any() or (d > 1).any() for d in map(np.asarray, decays.values())):
        return None
    rest = [_argument_named(name, value, arrays) for name, value in decays.items()]
    rest.append(_argument_named("threshold", threshold, arrays))
    reset, delay = timing
    rest += [f'reset_mechanism="{reset}"', *([] if delay else ["reset_delay=False"])]
    name = "Synaptic" if step.synapse == "factor" else "Leaky"
    states = ("syn", "mem") if step.synapse == "factor" else ("mem",)
    return Layer(f"snn.{name}({', '.join(rest)})", arrays, states)


def _argument_named(name: str, value: Any, arrays: dict[str, Any]) -> str:
    return f"{name}={_argument(name, value, arrays)}"


def _snntorch_timing(op: Step, step: LifStep, p: Parameters) -> tuple[str, bool] | None:
    """Return (reset_mechanism, reset_delay) of the layer with this reset."""
    if step.reset == "none":
        return "none", True
    early = step.synapse == "none"  # Leaky zeroes before the decay, Synaptic after it
    if step.reset == "subtract":
        known = {"next-step": True, "net": False}
        return ("subtract", known[step.reset_timing]) if step.reset_timing in known else None
    if step.reset != "zero":
        return None
    suffix = "-before-decay" if early else ""
    if step.reset_timing in (f"next-step{suffix}", f"net{suffix}"):
        return "zero", step.reset_timing.startswith("next")
    at_once = step.reset_timing == "same-step" and bool((p.array("threshold") >= 0).all())
    return ("zero", False) if at_once else None


def _at_once(op: Step, step: LifStep) -> bool:
    return step.reset_timing == "same-step" or spikes_as_reset_at_once(op)


def sinabs(op: Step) -> Layer | None:
    """IAF, LIF and ExpLeak."""
    found = _lif(op)
    if found is None:
        return None
    step, p = found
    synapse = step.synapse == "none" or (
        step.synapse == "factor" and step.synapse_order == "decay-input"
    )
    plain = step.membrane in ("factor", "integrate") and not (step.leak or step.start)
    if not synapse or not plain or step.exposes_v or step.clamp == "max":
        return None
    arrays: dict[str, Any] = {}
    arguments = _sinabs_dynamics(step, p, arrays)
    if arguments is None:
        return None
    if step.clamp == "relu":
        floor = p.uniform("v_min")
        if floor is None:
            return None
        arguments.append(f"min_v_mem={number(floor)}")
    if step.fire == "never":
        usable = step.reset == "none" and step.synapse == "none" and step.membrane == "factor"
        return Layer(f"sl.ExpLeak({', '.join(arguments)})", arrays) if usable else None
    firing = _sinabs_firing(op, step, p)
    if firing is None:
        return None
    name = "IAF" if step.membrane == "integrate" else "LIF"
    return Layer(f"sl.{name}({', '.join([*arguments, *firing])})", arrays)


def _sinabs_dynamics(step: LifStep, p: Parameters, arrays: dict[str, Any]) -> list[str] | None:
    """Return the arguments for decays; the decays themselves come from the weights file."""
    arguments: list[str] = []
    if step.membrane == "integrate":
        if step.gain or step.synapse != "none":
            return None  # IAF takes a time constant here, which would round
    else:
        arrays["alpha_mem"] = p.array("beta")
        arguments += [f"tau_mem={_ones(p.array('beta'))}", "train_alphas=True"]
        if step.synapse != "none":
            arrays["alpha_syn"] = p.array("alpha")
            arguments.append(f"tau_syn={_ones(p.array('alpha'))}")
        normed = step.gain and bool((p.array("gain") == f32(1) - p.array("beta")).all())
        if step.gain and not normed:
            return None
        arguments.append(f"norm_input={normed}")
    return arguments


def _ones(data: Any) -> str:
    return f"torch.ones({tuple(data.shape)!r})" if data.ndim else "1.0"


def _sinabs_firing(op: Step, step: LifStep, p: Parameters) -> list[str] | None:
    """Return the arguments for threshold, spikes and reset."""
    if not _at_once(op, step):
        return None
    threshold = p.uniform("threshold")
    if threshold is None:
        return None
    amount: Any = None
    if step.own_amount and step.reset == "subtract":
        amount = p.uniform("v_subtract")
        if amount is None:
            return None
    if step.fire == "gt" and not step.multi:
        amount = threshold if step.reset == "subtract" and amount is None else amount
        threshold = above(threshold)
    spikes = "sa.SingleSpike"
    if step.multi:
        spikes = f"sa.MaxSpike({step.spike_cap})" if step.spike_cap else "sa.MultiSpike"
    reset = _sinabs_reset(step, p, amount)
    if reset is None:
        return None
    return [
        f"spike_threshold=torch.tensor({number(threshold)})", f"spike_fn={spikes}",
        f"reset_fn={reset}",
    ]  # fmt: skip


def _sinabs_reset(step: LifStep, p: Parameters, amount: Any) -> str | None:
    if step.reset == "subtract":
        return f"sa.MembraneSubtract({'' if amount is None else number(amount)})"
    if step.reset == "zero":
        return "sa.MembraneReset()"
    value = p.uniform("v_reset") if step.reset == "zero-then-add" else None
    return None if value is None else f"sa.MembraneReset({number(value)})"


def spikingjelly(op: Step) -> Layer | None:
    """IFNode, LIFNode and CUBALIFNode; their parameters are one number per layer."""
    found = _lif(op)
    if found is None:
        return None
    step, p = found
    if step.fire == "never" or step.multi or step.gain or step.clamp != "none" or step.exposes_v:
        return None
    reset = _spikingjelly_reset(op, step, p)
    threshold = p.uniform("threshold")
    exact_threshold = step.fire == "ge" or step.reset != "subtract"
    if reset is None or threshold is None or not exact_threshold:
        return None
    if step.fire == "gt":
        threshold = above(threshold)
    head = _spikingjelly_head(step, p)
    if head is None:
        return None
    name, arguments = head
    arguments += [f"v_threshold={number(threshold)}", f"v_reset={reset}"]
    return Layer(f"neuron.{name}({', '.join(arguments)})")


def _spikingjelly_reset(op: Step, step: LifStep, p: Parameters) -> str | None:
    """Return the reset value, which is where the membrane starts and leaks to as well."""
    if not _at_once(op, step) or step.own_amount:
        return None
    if step.reset == "subtract":
        return "None" if not (step.start or step.leak) else None
    if step.reset == "zero":
        return "0.0" if not (step.start or step.leak) else None
    if step.reset != "to" or not step.start:
        return None
    value = p.uniform("v_reset")
    same = [p.uniform(n) for n in ("v_start", "leak") if n in p]
    return number(value) if value is not None and all(v == value for v in same) else None


def _spikingjelly_head(step: LifStep, p: Parameters) -> tuple[str, list[str]] | None:
    form = step.membrane
    decays = step.reset in ("subtract", "zero") or step.leak
    if step.synapse == "none" and form == "integrate":
        return "IFNode", []
    if step.synapse == "none" and form in ("quotient", "quotient-after") and decays:
        tau = p.uniform("tau")
        if tau is None or tau <= 1:
            return None
        return "LIFNode", [f"tau={number(tau)}", f"decay_input={form == 'quotient'}"]
    if form != "factor" or (step.synapse, step.synapse_order) not in (
        ("none", "jump"), ("factor", "jump"),
    ):  # fmt: skip
        return None
    beta = p.uniform("beta")
    alpha = f32(0) if step.synapse == "none" else p.uniform("alpha")
    if beta is None or alpha is None or step.leak:
        return None
    return "CUBALIFNode", [f"c_decay={number(alpha)}", f"v_decay={number(beta)}"]


def norse(op: Step) -> Layer | None:
    """LIFCell, LIFBoxCell, LICell, LIBoxCell and IAFCell, with dt = 1 so that nothing rounds."""
    found = _lif(op)
    if found is None:
        return None
    step, p = found
    if step.multi or step.gain or step.clamp != "none" or step.synapse_leak or step.own_amount:
        return None
    arrays: dict[str, Any] = {}
    name = _norse_name(op, step)
    fields = None if name is None else _norse_fields(name, step, p)
    if name is None or fields is None:
        return None
    given = ", ".join(f"{key}={text}" for key, text in fields.items())
    code = f"norse.{name}Cell(norse.{name}Parameters({given}), dt=1.0)"
    return Layer(code, arrays, ("state",))


def _norse_name(op: Step, step: LifStep) -> str | None:
    fires = step.fire != "never"
    jump = (step.synapse, step.synapse_order) == ("difference", "decay-after")
    if fires and (
        not _at_once(op, step) or (step.leak != step.start and step.membrane != "integrate")
    ):
        return None
    if step.membrane == "pull" and jump:
        return "LIF" if fires else "LI"
    if step.synapse != "none":
        return None
    if step.membrane == "difference" and fires:
        return "LIFBox"
    if step.membrane == "pull" and not fires:
        return "LIBox"
    return "IAF" if step.membrane == "integrate" and fires and not step.leak else None


def _norse_fields(name: str, step: LifStep, p: Parameters) -> dict[str, str] | None:
    """Return the parameters as tensors of one number each."""
    wanted = {"tau_mem_inv": "k_mem", "tau_syn_inv": "k_syn", "v_leak": "leak"}
    values = {key: p.uniform(ours) for key, ours in wanted.items() if ours in p}
    if step.leak and p.uniform("leak") != p.uniform("v_start"):
        return None
    if step.fire != "never":
        resets = {"zero": f32(0), "to": p.uniform("v_reset") if "v_reset" in p else None}
        subtracts = name == "LIFBox" and step.reset == "subtract"
        if step.reset not in resets and not subtracts:
            return None
        values["v_reset"] = resets.get(step.reset, f32(0))
        threshold = p.uniform("threshold")
        if threshold is None or (step.fire == "ge" and step.reset == "subtract"):
            return None
        values["v_th"] = below(threshold) if step.fire == "ge" else threshold
        starts_elsewhere = step.start if step.reset == "zero" else not step.start
        if name == "IAF" and starts_elsewhere:
            return None
        if name == "IAF" and step.start and p.uniform("v_start") != values["v_reset"]:
            return None
    elif step.reset != "none":
        return None
    if any(value is None for value in values.values()):
        return None
    fields = {key: f"torch.tensor({number(value)})" for key, value in values.items()}
    if name == "LIFBox" and step.reset == "subtract":
        fields["reset_method"] = "norse_reset_subtract"
    return fields


NATIVE: dict[str, Callable[[Step], Layer | None]] = {
    "snntorch": snntorch,
    "sinabs": sinabs,
    "spikingjelly": spikingjelly,
    "norse": norse,
}
