"""Neurons of Norse 1.1.0.

Equations: `norse/torch/functional/*.py`, forward Euler with the module's dt. Factors such as
dt * tau_mem_inv are computed by torch from the module's own values, so they round as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.dynamics.lif import LifStep
from snnir.frontends.torch_nets import layers, programs
from snnir.frontends.torch_nets.cell import Cell
from snnir.frontends.torch_nets.from_snntorch import number
from snnir.frontends.torch_nets.layers import Unsupported
from snnir.ir.synapses import Linear

#: Threshold functions whose forward value is a step at 0.
_STEPS = ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc")


def value(item: Any) -> Any:
    """Return a parameter, tensor or number, as float32."""
    return number(torch.as_tensor(item))


def _check(p: Any) -> None:
    if getattr(p, "method", "super") not in _STEPS:
        raise Unsupported(f"has the threshold method {p.method}", f"use {', '.join(_STEPS)}")


def _params(module: Any, p: Any) -> dict[str, Any]:
    """Return the parameters all models share, by the names the step programs use."""
    _check(p)
    found = {"k_mem": value(module.dt * p.tau_mem_inv)} if hasattr(p, "tau_mem_inv") else {}
    names = {"leak": "v_leak", "threshold": "v_th", "v_reset": "v_reset"}
    found |= {ours: value(getattr(p, name)) for ours, name in names.items() if hasattr(p, name)}
    if hasattr(p, "tau_syn_inv"):
        found["k_syn"] = value(module.dt * p.tau_syn_inv)
    if "leak" in found:
        found["v_start"] = found["leak"]
    return found


def _reset(params: dict[str, Any]) -> str:
    return "to" if np.any(params["v_reset"]) else "zero"


def _leaks(params: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a leak target; one at 0 changes nothing."""
    leaks = bool(np.any(params["leak"]))
    return {"leak": leaks, "start": leaks}


def _weights(module: Any) -> dict[str, Any]:
    """Return the input and recurrent connection of a recurrent cell."""
    if not hasattr(module, "recurrent_weights"):
        return {"dt": float(module.dt)}
    return {
        "drive": [Linear(layers.weight(module.input_weights))],
        "feedback": [Linear(layers.weight(module.recurrent_weights))],
        "dt": float(module.dt),
    }


def _inputs(module: Any) -> int:
    return 2 if hasattr(module, "recurrent_weights") else 1


_JUMP: dict[str, Any] = {
    "synapse": "difference",
    "synapse_order": "decay-after",
    "membrane": "pull",
}


def lif(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIF: the jump of the current acts on the membrane in the same step."""
    p = _params(module, module.p)
    step = LifStep(**_JUMP, inputs=_inputs(module), reset=_reset(p), **_leaks(p))
    return Cell(step, p, **_weights(module))


def refractory(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIFRefrac: the membrane is held while the counter runs, the current is not."""
    p = _params(module, module.p.lif)
    steps = value(module.p.rho_reset)
    if np.ndim(steps) or steps != int(steps) or steps < 1:
        raise Unsupported(f"has rho_reset={steps}, must be one whole number of steps")
    step = LifStep(
        **_JUMP, inputs=_inputs(module), reset=_reset(p), refractory=int(steps), **_leaks(p)
    )
    return Cell(step, p, **_weights(module))


def box(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIFBox: no synaptic current."""
    p = _params(module, module.p)
    method = getattr(module.p.reset_method, "__name__", "")
    if method not in ("reset_value", "reset_subtract"):
        raise Unsupported(f"has the reset method {method}", "use reset_value or reset_subtract")
    reset = "subtract" if method == "reset_subtract" else _reset(p)
    return Cell(LifStep(membrane="difference", reset=reset, **_leaks(p)), p, dt=float(module.dt))


def leaky(module: Any, shape: tuple[int, ...]) -> Cell:
    """LI: the membrane itself is the output."""
    p = _params(module, module.p)
    step = LifStep(**_JUMP, fire="never", reset="none", **_leaks(p))
    return Cell(step, p, dt=float(module.dt))


def leaky_box(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIBox: the membrane, without synaptic current."""
    p = _params(module, module.p)
    step = LifStep(membrane="pull", fire="never", reset="none", **_leaks(p))
    return Cell(step, p, dt=float(module.dt))


def integrate(module: Any, shape: tuple[int, ...]) -> Cell:
    """IAF; it starts at its reset value."""
    p = _params(module, module.p)
    start = bool(np.any(p["v_reset"]))
    p["v_start"] = p["v_reset"]
    return Cell(LifStep(membrane="integrate", reset=_reset(p), start=start), p, dt=float(module.dt))


def lsnn(module: Any, shape: tuple[int, ...]) -> Cell:
    """LSNN: adaptive threshold."""
    p = _params(module, module.p)
    p |= {"k_adapt": value(module.dt * module.p.tau_adapt_inv), "jump": value(module.p.beta)}
    return Cell(programs.lsnn(_inputs(module)), p, **_weights(module))


def adex(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIFAdEx."""
    own = module.p
    p = _params(module, own) | {
        "delta_T": value(own.delta_T), "k_adapt": value(module.dt * own.tau_ada_inv),
        "adaptation_current": value(own.adaptation_current),
        "adaptation_spike": value(own.adaptation_spike),
    }  # fmt: skip
    return Cell(programs.exponential(_inputs(module), True), p, **_weights(module))


def ex(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIFEx."""
    p = _params(module, module.p) | {"delta_T": value(module.p.delta_T)}
    return Cell(programs.exponential(_inputs(module), False), p, **_weights(module))


Reader = Callable[[Any, tuple[int, ...]], Cell]
_MODELS: dict[str, Reader] = {
    "LIF": lif, "LIFBox": box, "LI": leaky, "LIBox": leaky_box, "IAF": integrate,
    "LIFRefrac": refractory, "LSNN": lsnn, "LIFAdEx": adex, "LIFEx": ex,
}  # fmt: skip
#: Cells step once; the classes without `Cell` run over the leading time axis.
NEURONS: dict[str, Reader] = {
    **{f"{name}Cell": read for name, read in _MODELS.items()},
    **{
        name: read for name, read in _MODELS.items() if name not in ("LIFBox", "LIBox", "LIFRefrac")
    },
    **{
        f"{name}Recurrent{cell}": _MODELS[name]
        for name in ("LIF", "LIFRefrac", "LSNN", "LIFAdEx", "LIFEx")
        for cell in ("Cell", "")
    },
}
