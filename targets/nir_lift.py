"""From a step of the LIF family to the differential equation NIR can state for it.

The equation is what forward Euler would step the same way: tau = dt / (1 - decay) and so on, in
float64. It is for readers that know only NIR; snnir reads the exact step from the metadata.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import FIXED_ONE, LifStep
from snnir.errors import error
from snnir.ir.neuron import Step
from snnir.jaxsnn_neurons import jaxsnn_kind

Array = npt.NDArray[Any]

#: Step length that stands in for one nobody has stated; the equation is then true up to a factor.
NOMINAL_DT = 1e-3

#: Longest time constant written, in steps, for decays that round to 1.
_SLOW = 1e9


def lift(op: Step, dt: float | None) -> tuple[str, dict[str, Array]]:
    """Return the continuous model and its parameters.

    Raises:
        SnnirError: SNN501 for programs outside the LIF family that are not jaxsnn's neurons.
    """
    if not isinstance(op.dynamics, LifStep):
        kind = jaxsnn_kind(op.dynamics)
        if kind is not None:
            return _lift_jaxsnn(kind[0], op, NOMINAL_DT if dt is None else dt)
        message = f"NIR cannot state the step program '{op.program.name}'"
        raise error("SNN501", message, hint="save as .snnir")
    return _Lift(op.dynamics, op, NOMINAL_DT if dt is None else dt).model()


def _lift_jaxsnn(kind: str, op: Step, dt: float) -> tuple[str, dict[str, Array]]:
    """Return the equation of jaxsnn's LIF or LI, whose synaptic current x is added to at once."""
    p = {name: value.numpy().astype(np.float64) for name, value in op.params.items()}
    zero = np.float64(0)
    tau_syn, tau_mem = (dt / np.maximum(k, 1 / _SLOW) for k in (-p["k_syn"], p["k_mem"]))
    params: dict[str, Any] = {
        "tau_syn": tau_syn, "tau_mem": tau_mem, "r": np.float64(1),
        "v_leak": p.get("leak", zero), "w_in": tau_syn / dt,
    }  # fmt: skip
    if kind == "LI":
        return "cubali", params
    return "cubalif", params | {
        "v_threshold": p["threshold"], "v_reset": p.get("v_reset", zero),
    }  # fmt: skip


class _Lift:
    def __init__(self, step: LifStep, op: Step, dt: float) -> None:
        self.step, self.dt = step, dt
        self.p = {name: value.numpy().astype(np.float64) for name, value in op.params.items()}
        self.unit = FIXED_ONE if step.fixed else 1.0

    def get(self, name: str, default: float) -> Any:
        return self.p.get(name, np.float64(default))

    def model(self) -> tuple[str, dict[str, Array]]:
        if self.step.membrane == "none":
            return "threshold", {"threshold": self.p["threshold"]}
        params = self.membrane()
        fires = self.step.fire != "never"
        if fires:
            params["v_threshold"] = self.p["threshold"] / self.unit
            params["v_reset"] = self.get("v_reset", 0.0) / self.unit
        if self.step.membrane == "integrate" and self.step.synapse == "none":
            keep = ("r", "v_threshold", "v_reset") if fires else ("r",)
            return ("if" if fires else "i"), {name: params[name] for name in keep}
        if self.step.synapse == "none":
            return ("lif" if fires else "li"), params
        params["tau_mem"] = params.pop("tau")
        params |= self.synapse()
        return ("cubalif" if fires else "cubali"), params

    def time(self, decay: Any) -> Any:
        """Tau for which forward Euler has this decay."""
        return self.dt / np.maximum(1 - decay, 1 / _SLOW)

    def membrane(self) -> dict[str, Any]:
        dt, kind = self.dt, self.step.membrane
        gain = self.get("gain", 1.0)
        if self.step.synapse_order == "exact" and self.step.synapse != "none":
            gain = self.p["cross"]
        if kind == "integrate":
            return {"tau": np.float64(dt * _SLOW), "r": gain / dt, "v_leak": np.float64(0)}
        form, _, after = kind.partition("-")
        if form in ("difference", "pull", "product", "quotient"):
            tau = dt * self.p["tau"] if form == "quotient" else dt / self.p["k_mem"]
            # A drive that is added after the step is not divided by the time constant.
            r = gain * tau / dt if after else gain
            return {"tau": tau, "r": r, "v_leak": self.get("leak", 0.0)}
        decay = self.p["beta"] / self.unit
        tau = self.time(decay)
        leak = self.get("bias", 0.0) * tau / dt
        return {"tau": tau, "r": gain * tau / dt, "v_leak": leak}

    def synapse(self) -> dict[str, Any]:
        dt, w = self.dt, self.get("w_in", 1.0)
        if self.step.synapse == "difference":
            return {"tau_syn": dt / self.p["k_syn"], "w_in": w}
        tau = self.time(self.p["alpha"] / self.unit)
        return {"tau_syn": tau, "w_in": w * tau / dt}
