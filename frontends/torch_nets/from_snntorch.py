"""Neurons of snnTorch 1.0.0.

Equations: `snntorch/_neurons/*.py`. The reset reads the membrane stored by the step before
(`reset_delay=True`, the default) and, with `reset_delay=False`, is corrected in the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.dynamics.lif import LifStep
from snnir.frontends.torch_nets import layers, programs
from snnir.frontends.torch_nets.cell import Cell
from snnir.frontends.torch_nets.layers import Unsupported
from snnir.ir.op import Op
from snnir.ir.synapses import Linear, Scale
from snnir.tensors import Tensor

_RESETS = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
_RESET_NUMBERS = ("subtract", "zero", "none")


def number(value: Any) -> Any:
    """Return a parameter as float32; single values may be stored in any type."""
    data = value.detach()
    if data.ndim == 0 or data.numel() == 1:
        return np.float32(data.reshape(-1)[0].item())
    return layers.array(data)


def factor(value: Any) -> Any:
    """Return a decay as the neuron uses it, clamped to [0, 1]."""
    return np.clip(number(value), np.float32(0), np.float32(1))


def _reset(module: Any) -> tuple[str, bool]:
    """Return the reset and whether it waits for the next step.

    The function bound when the layer was made decides about the delayed part, the number in the
    state dict about the part in the same step; they differ after `load_state_dict`.
    """
    reset = _RESETS[module.state_function.__name__]
    delayed = bool(getattr(module, "reset_delay", True))
    stored = _RESET_NUMBERS[int(module.reset_mechanism_val)]
    if not delayed and stored != reset:
        raise Unsupported(
            f"resets by '{reset}' and corrects by '{stored}': reset_mechanism was changed after "
            "the layer was made", "make the layer anew with the reset that is meant",
        )  # fmt: skip
    return reset, delayed


def _check(module: Any) -> None:
    if getattr(module, "state_quant", False):
        raise Unsupported("quantises its states (state_quant)", "import it without, then quantise")


def _finish(module: Any, step: Any, params: dict[str, Any], **extra: Any) -> Cell:
    graded = number(module.graded_spikes_factor)
    if not np.all(graded):
        raise Unsupported("has a graded_spikes_factor of 0, which makes its reset NaN")
    inhibited = bool(getattr(module, "inhibition", False))
    if inhibited and not getattr(module, "reset_delay", True):
        raise Unsupported("combines inhibition with reset_delay=False")
    return Cell(
        step,
        params,
        graded=None if inhibited or np.all(graded == 1) else graded,
        winner=inhibited,
        **extra,
    )


def _lif(module: Any, before_decay: bool, **attributes: Any) -> LifStep:
    _check(module)
    reset, delayed = _reset(module)
    early = before_decay and reset == "zero"
    timing = ("next-step" if delayed else "net") + ("-before-decay" if early else "")
    if reset == "none":
        timing = "same-step"
    return LifStep(membrane="factor", reset=reset, reset_timing=timing, **attributes)


def leaky(module: Any, shape: tuple[int, ...]) -> Cell:
    """Leaky."""
    step = _lif(module, before_decay=True)
    return _finish(
        module, step, {"beta": factor(module.beta), "threshold": number(module.threshold)}
    )


def rleaky(module: Any, shape: tuple[int, ...]) -> Cell:
    """RLeaky: the recurrent current is added after the input."""
    step = _lif(module, before_decay=False, inputs=2)
    params = {"beta": factor(module.beta), "threshold": number(module.threshold)}
    return _finish(module, step, params, feedback=_recurrent(module, shape))


def synaptic(module: Any, shape: tuple[int, ...]) -> Cell:
    """Synaptic."""
    step = _lif(module, before_decay=False, synapse="factor")
    return _finish(module, step, _synaptic_params(module))


def rsynaptic(module: Any, shape: tuple[int, ...]) -> Cell:
    """RSynaptic: the recurrent current goes through the synapse."""
    if not module.reset_delay:
        raise Unsupported("has reset_delay=False, which fails in snnTorch 1.0.0 itself")
    step = _lif(module, before_decay=False, synapse="factor", inputs=2)
    return _finish(module, step, _synaptic_params(module), feedback=_recurrent(module, shape))


def _synaptic_params(module: Any) -> dict[str, Any]:
    return {
        "alpha": factor(module.alpha),
        "beta": factor(module.beta),
        "threshold": number(module.threshold),
    }


def _recurrent(module: Any, shape: tuple[int, ...]) -> list[Op]:
    inner = module.recurrent
    if type(inner).__name__ == "RecurrentOneToOne":
        return [Scale(Tensor(np.asarray(number(inner.V))))]
    return layers.read_layer(inner, shape)


def alpha(module: Any, shape: tuple[int, ...]) -> Cell:
    """Alpha."""
    _check(module)
    reset, _ = _reset(module)
    a, b = module.alpha.clamp(0, 1), module.beta.clamp(0, 1)
    tau = torch.log(a) / (torch.log(b) - torch.log(a)) + 1
    params = {
        "alpha": number(a), "beta": number(b), "tau_alpha": number(tau),
        "threshold": number(module.threshold),
    }  # fmt: skip
    return _finish(module, programs.alpha(reset), params)


def lapicque(module: Any, shape: tuple[int, ...]) -> Cell:
    """Lapicque: its three factors on the input are ops of their own, in its order."""
    step = _lif(module, before_decay=False)
    r, c, dt = module.R, module.C, module.time_step
    drive = [Scale(Tensor(np.asarray(number(torch.as_tensor(k))))) for k in (r, 1 / (r * c), dt)]
    beta = number(torch.as_tensor(1 - (dt / (r * c))))
    return _finish(module, step, {"beta": beta, "threshold": number(module.threshold)}, drive=drive)


def leaky_parallel(module: Any, shape: tuple[int, ...]) -> Cell:
    """LeakyParallel: a rectified recurrent layer whose recurrent matrix is diagonal."""
    rnn = module.rnn
    matrix = layers.array(rnn.weight_hh_l0)
    beta = np.diagonal(matrix).copy()
    if np.count_nonzero(matrix) != np.count_nonzero(beta):
        raise Unsupported("has a recurrent matrix that is not diagonal (weight_hh_enable)")
    bias = rnn.bias_ih_l0 if rnn.bias else None
    if rnn.bias and bool(rnn.bias_hh_l0.any()):
        raise Unsupported(
            "has a second bias, bias_hh_l0, whose rounding cannot be stated",
            "add it to bias_ih_l0 and set it to zero",
        )
    drive = [Linear(layers.weight(rnn.weight_ih_l0), None if bias is None else layers.weight(bias))]
    params = {"beta": beta, "threshold": number(module.threshold)}
    return _finish(module, programs.rectified(), params, drive=drive)


#: Class to its reader, the states it is called with after the input, and its further results.
NEURONS: dict[str, tuple[Callable[[Any, tuple[int, ...]], Cell], tuple[str, ...]]] = {
    "Leaky": (leaky, ("v",)),
    "RLeaky": (rleaky, ("out", "v")),
    "Synaptic": (synaptic, ("i", "v")),
    "RSynaptic": (rsynaptic, ("out", "i", "v")),
    "Alpha": (alpha, ("e", "i", "v")),
    "Lapicque": (lapicque, ("v",)),
    "LeakyParallel": (leaky_parallel, ()),
}
