"""Neurons of SpikingJelly 2.0.0.

Equations: `spikingjelly/activation_based/neuron/*.py`, as its CPU reference computes them.
Thresholds, time constants and reset values are one Python number per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.frontends.torch_nets import programs
from snnir.frontends.torch_nets.cell import Cell
from snnir.frontends.torch_nets.from_snntorch import number
from snnir.frontends.torch_nets.layers import Unsupported

f32 = np.float32


def _rest(module: Any) -> float:
    return 0.0 if module.v_reset is None else float(module.v_reset)


def _family(module: Any, params: dict[str, Any], **attributes: Any) -> Cell:
    """Return a member of the LIF family with the reset all of them share."""
    rest = _rest(module)
    reset = "subtract" if module.v_reset is None else "to" if rest else "zero"
    start = module.get_reset_value("v")
    params |= {"threshold": f32(module.v_threshold), "v_reset": f32(rest), "leak": f32(rest)}
    params["v_start"] = f32(start)
    return Cell(LifStep(fire="ge", reset=reset, start=bool(start), **attributes), params)


def integrate(module: Any, shape: tuple[int, ...]) -> Cell:
    """IFNode."""
    return _family(module, {}, membrane="integrate")


def lif(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIFNode."""
    form = "quotient" if module.decay_input else "quotient-after"
    return _family(module, {"tau": f32(module.tau)}, membrane=form, leak=bool(_rest(module)))


def parametric(module: Any, shape: tuple[int, ...]) -> Cell:
    """ParametricLIFNode: the factor is the sigmoid of a weight, taken by torch."""
    form = "product" if module.decay_input else "product-after"
    params = {"k_mem": number(module.w.sigmoid())}
    return _family(module, params, membrane=form, leak=bool(_rest(module)))


def cuba(module: Any, shape: tuple[int, ...]) -> Cell:
    """CUBALIFNode."""
    params = {"alpha": f32(module.c_decay), "beta": f32(module.v_decay)}
    return _family(module, params, synapse="factor", membrane="factor")


def _program(module: Any, program: Any, **params: Any) -> Cell:
    start = module.get_reset_value("v")
    if start != _rest(module):
        raise Unsupported(f"starts at v={start}, which is not its reset value")
    params |= {"threshold": module.v_threshold, "v_reset": _rest(module)}
    return Cell(program, {name: f32(value) for name, value in params.items()})


def quadratic(module: Any, shape: tuple[int, ...]) -> Cell:
    """QIFNode."""
    return _program(
        module, programs.qif(module.v_reset is None), tau=module.tau, a0=module.a0,
        v_rest=module.v_rest, v_critical=module.v_c,
    )  # fmt: skip


def exponential(module: Any, shape: tuple[int, ...]) -> Cell:
    """EIFNode."""
    return _program(
        module, programs.eif(module.v_reset is None), tau=module.tau, v_rest=module.v_rest,
        theta_rh=module.theta_rh, delta_T=module.delta_T,
    )  # fmt: skip


def izhikevich(module: Any, shape: tuple[int, ...]) -> Cell:
    """IzhikevichNode."""
    return _program(
        module, programs.izhikevich(module.v_reset is None), tau=module.tau, a0=module.a0,
        v_rest=module.v_rest, v_critical=module.v_c, a=module.a, b=module.b, tau_w=module.tau_w,
        w_start=module.get_reset_value("w"),
    )  # fmt: skip


def klif(module: Any, shape: tuple[int, ...]) -> Cell:
    """KLIFNode."""
    program = programs.klif(
        module.v_reset is None, module.decay_input, module.scale_reset, bool(_rest(module))
    )
    return _program(module, program, tau=module.tau, k=number(module.k))


def ilif(module: Any, shape: tuple[int, ...]) -> Cell:
    """ILIFNode: single steps and sequences round differently."""
    if module.v_reset is not None:
        raise Unsupported(f"has v_reset={module.v_reset}, known is None")
    single = module.step_mode == "s"
    return _program(
        module, programs.ilif(single), tau=module.tau, beta=1.0 - 1.0 / module.tau,
        most=module.surrogate_function.max_spike_count,
    )  # fmt: skip


def ternary(module: Any, shape: tuple[int, ...]) -> Cell:
    """TernaryIFNode."""
    return _program(module, programs.ternary(module.v_reset is None))


NEURONS: dict[str, Callable[[Any, tuple[int, ...]], Cell]] = {
    "IFNode": integrate,
    "LIFNode": lif,
    "ParametricLIFNode": parametric,
    "QIFNode": quadratic,
    "EIFNode": exponential,
    "IzhikevichNode": izhikevich,
    "KLIFNode": klif,
    "CUBALIFNode": cuba,
    "ILIFNode": ilif,
    "TernaryIFNode": ternary,
}
