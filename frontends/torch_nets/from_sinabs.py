"""Neurons of Sinabs 3.1.3.

Equations: `sinabs/layers/functional/lif.py` and `alif.py`, `sinabs/activation/`. Decays are taken
as the layer computes them, in float32 by torch.
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
from snnir.ir.op import Op
from snnir.ir.structure import Reshape


def lif(module: Any, shape: tuple[int, ...]) -> Cell:
    """LIF, IAF and ExpLeak, with and without recurrence."""
    alpha = module.alpha_mem_calculated
    integrates = bool((alpha == 1).all())
    attributes: dict[str, Any] = {"membrane": "integrate" if integrates else "factor"}
    params: dict[str, Any] = {"beta": number(alpha)}
    if module.alpha_syn_calculated is not None:
        attributes |= {"synapse": "factor", "synapse_order": "decay-input"}
        params["alpha"] = number(module.alpha_syn_calculated)
    if module.norm_input:
        attributes["gain"] = True
        params["gain"] = number(1 - alpha)
    if module.spike_fn is None:
        attributes |= {"fire": "never", "reset": "none"}
    else:
        attributes |= {"fire": "ge", **_spikes(module), **_reset(module, params)}
        params["threshold"] = number(torch.as_tensor(module.spike_threshold))
    if module.min_v_mem is not None:
        attributes["clamp"] = "relu"
        params["v_min"] = number(torch.as_tensor(module.min_v_mem))
    return Cell(LifStep(**attributes), params, **_feedback(module, shape))


def _spikes(module: Any) -> dict[str, Any]:
    """Return what the spike function allows: one spike, any number, or up to a limit."""
    function = module.spike_fn
    name = getattr(function, "__name__", type(function).__name__)
    if name == "SingleSpike":
        return {}
    if name == "MultiSpike":
        return {"spikes": "multi"}
    if name == "MaxSpike":
        return {"spikes": "multi", "spike_cap": int(function.max_num_spikes_per_bin or 0)}
    raise Unsupported(f"has the spike function {name}", "use SingleSpike, MultiSpike or MaxSpike")


def _reset(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    function = module.reset_fn
    name = type(function).__name__
    if name == "MembraneSubtract":
        if function.subtract_value is None:
            return {"reset": "subtract"}
        params["v_subtract"] = np.float32(function.subtract_value)
        return {"reset": "subtract", "own_amount": True}
    if name == "MembraneReset":
        if not function.reset_value:
            return {"reset": "zero"}
        params["v_reset"] = np.float32(function.reset_value)
        return {"reset": "zero-then-add"}
    raise Unsupported(f"has the reset function {name}", "use MembraneSubtract or MembraneReset")


def _feedback(module: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    connection = getattr(module, "rec_connect", None)
    if connection is None:
        return {}
    ops, after = module_ops(connection, shape)
    if after != shape:
        ops.append(Reshape(shape))
    # The recurrent current is computed with the spikes and waits: it is zero in the first step.
    return {"feedback": ops, "feedback_adds": True, "delay_last": True}


def module_ops(module: Any, shape: tuple[int, ...]) -> tuple[list[Op], tuple[int, ...]]:
    """Return the ops of a stateless module or a Sequential of them, and the resulting shape."""
    if type(module).__name__ == "Sequential":
        ops: list[Op] = []
        for inner in module:
            more, shape = module_ops(inner, shape)
            ops += more
        return ops, shape
    if layers.is_flatten(module):
        after = tuple(module(torch.zeros(1, *shape)).shape[1:])
        return ([Reshape(after)] if after != shape else []), after
    if layers.reader(module) is None:
        raise Unsupported(f"is recurrent through a {type(module).__name__}, which is not known")
    ops = layers.read_layer(module, shape)
    return ops, tuple(module(torch.zeros(1, *shape)).shape[1:])


def alif(module: Any, shape: tuple[int, ...]) -> Cell:
    """ALIF, with and without recurrence."""
    alpha, adapt = module.alpha_mem_calculated, module.alpha_adapt_calculated
    params: dict[str, Any] = {
        "beta": number(alpha), "gain": number(1 - alpha),
        "beta_adapt": number(adapt), "gain_adapt": number(1 - adapt),
        "adapt_scale": number(torch.as_tensor(module.adapt_scale)),
        "threshold": number(torch.as_tensor(module.b0)),
    }  # fmt: skip
    synapse = module.alpha_syn_calculated is not None
    if synapse:
        params["alpha"] = number(module.alpha_syn_calculated)
    if module.min_v_mem is not None:
        params["v_min"] = number(torch.as_tensor(module.min_v_mem))
    spikes, reset = _spikes(module), _reset(module, params)
    kind = "subtract-own" if reset.get("own_amount") else str(reset["reset"])
    program = programs.alif(
        synapse, bool(module.norm_input), spikes.get("spikes") == "multi",
        float(spikes.get("spike_cap", 0)), kind, module.min_v_mem is not None,
    )  # fmt: skip
    return Cell(program, params, **_feedback(module, shape))


NEURONS: dict[str, Callable[[Any, tuple[int, ...]], Cell]] = {
    **dict.fromkeys(
        ["LIF", "IAF", "ExpLeak", "LIFRecurrent", "IAFRecurrent", "LIFSqueeze", "IAFSqueeze",
         "ExpLeakSqueeze"], lif),
    **dict.fromkeys(["ALIF", "ALIFRecurrent", "ALIFSqueeze"], alif),
}  # fmt: skip
