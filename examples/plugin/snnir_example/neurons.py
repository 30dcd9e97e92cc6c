"""A neuron model, by the derivatives of its states."""

from __future__ import annotations

from typing import Any

import snnir


@snnir.flow_model(
    params={"tau": "s", "v_rest": "V", "v_critical": "V", "v_threshold": "V", "v_reset": "V"},
    threshold="v_threshold",
    reset="v_reset",
    initial={"v": "v_rest"},
)
def quadratic(x: Any, v: Any, tau: Any, v_rest: Any, v_critical: Any) -> dict[str, Any]:
    """Quadratic integrate-and-fire neuron (Ermentrout and Kopell 1986), scaled to volts."""
    return {"v": ((v - v_rest) * (v - v_critical) + x) / tau}
