"""What a neuron becomes in a framework: a constructor, its weights, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir.ir.neuron import Step


@dataclass(frozen=True)
class Layer:
    """A neuron layer in generated code.

    Attributes:
        code: The constructor call.
        arrays: Entries of its state dict that are loaded from the weights file.
        states: Names of the states that its calls take and return, in order; empty where the
            module keeps its state itself.
        native: Whether it is a layer of the framework rather than a generated cell.
    """

    code: str
    arrays: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    native: bool = True


@dataclass(frozen=True)
class Parameters:
    """The parameters of a step as an exporter reads them."""

    op: Step

    def array(self, name: str) -> Any:
        """Return a parameter as float32."""
        return np.asarray(self.op.params[name].numpy(), np.float32)

    def uniform(self, name: str) -> Any:
        """Return the value all neurons share, or None if they differ."""
        data = self.array(name)
        first = data.reshape(-1)[0] if data.size else None
        return first if first is not None and (data == first).all() else None

    def __contains__(self, name: object) -> bool:
        return name in self.op.params


def above(threshold: Any) -> Any:
    """Return t with v >= t exactly where v > threshold."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(np.inf))


def below(threshold: Any) -> Any:
    """Return t with v > t exactly where v >= threshold."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(-np.inf))


def spikes_as_reset_at_once(op: Step) -> bool:
    """Whether a delayed reset to zero gives the spikes of one in the same step.

    A neuron that has not spiked is at or below its threshold; one that has starts the next step
    from zero either way, as long as zero itself is not above the threshold, nothing lifts it from
    there, and it did not start above it.
    """
    from snnir.dynamics.lif import LifStep

    step = op.dynamics
    if not isinstance(step, LifStep) or step.reset != "zero" or step.exposes_v or step.start:
        return False
    if "v_min" in op.params and bool((op.params["v_min"].numpy() > 0).any()):
        return False
    timed = step.reset_timing in ("next-step-before-decay", "net-before-decay")
    return timed and bool((op.params["threshold"].numpy() >= 0).all()) and not step.refractory
