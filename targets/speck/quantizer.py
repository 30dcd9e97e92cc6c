"""Real numbers to the chip's: 8 bits for weights, 16 for thresholds, biases and states.

A core has one threshold. Integrate-and-fire neurons do the same if weights, bias, threshold and
bounds of one are multiplied by a factor, so channels of other thresholds are scaled to the largest.
After that one scale per core is chosen: the largest with which every number fits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.speck import chips
from snnir.targets.speck.core import CoreLayer
from snnir.targets.speck.layers import Layer
from snnir.targets.speck.neurons import NotFit

Array = npt.NDArray[Any]


#: Relative errors that are worth saying.
_NOTABLE = 0.01


@dataclass(frozen=True)
class Rounding:
    """What became of the numbers of one population.

    Attributes:
        scale: Units of the chip per unit of the model.
        limited_by: What keeps the scale from being larger.
        largest: Largest weight of the chip; 127 if nothing else is in its way.
        threshold: Of the chip; `threshold_error` is its relative error.
        lowest: Lower bound of the chip.
        bound: What became of the model's lower bound: `kept`; `added`: it has none, the chip's is
            that of its numbers; `cut`: it is below what 16 bits hold; `moved`: it was 0.
        worst, mean: Errors of weights, in steps of the weights' grid.
        vanished: Weights that are 0 on the chip and are not in the model.
        weights: How many there are.
        rescaled: Channels whose weights were scaled to the common threshold.
        bias_error: Largest error of a bias, relative to that bias.
        initial_error: Largest error of an initial state, relative to the threshold.
    """

    scale: float
    limited_by: str
    largest: int
    threshold: int
    threshold_error: float
    lowest: int
    bound: str
    worst: float
    mean: float
    vanished: int
    weights: int
    rescaled: int
    bias_error: float
    initial_error: float

    def facts(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return asdict(self)

    def told(self) -> list[str]:
        """Return what is lost, one phrase each."""
        found = [
            f"weights in 8 bits (errors up to {self.worst:.2f} of a step, mean {self.mean:.2f}, "
            f"{self.vanished} of {self.weights} became 0)"
        ]
        if self.limited_by != "weights":
            found.append(
                f"weights go up to {self.largest} of 127: the {self.limited_by} is 16 bits at most"
            )
        for what, error in (
            ("threshold", self.threshold_error), ("a bias", self.bias_error),
            ("an initial state", self.initial_error),
        ):  # fmt: skip
            if error > _NOTABLE:
                found.append(f"{what} is {100 * error:.0f} % off")
        below = f"{-self.lowest / self.threshold:.3g} thresholds under its reset"
        if self.bound in ("added", "cut"):
            found.append(f"never falls below {below}")
        if self.bound == "moved":
            found.append(f"falls to {below}, not to the reset: a bound of 0 is a fault of the chip")
        return found


def quantize(layer: Layer, ticks_per_step: float) -> tuple[CoreLayer, Rounding]:
    """Return a layer in integers.

    Args:
        layer: The layer; its geometry is known.
        ticks_per_step: Ticks of the slow clock per step; each adds the bias once. 0 is never.

    Raises:
        NotFit: If nothing of it would be left, or the chip has no place for it.
    """
    neuron = layer.neuron
    thresholds = _per_channel(neuron.threshold, "thresholds")
    common = thresholds.max()
    factor = common / thresholds
    gain = _per_channel(neuron.gain, "input gains")
    weights = layer.weights * (gain * factor)[:, None, None, None]
    bias = _per_channel(neuron.bias, "biases") * factor
    initial = neuron.initial * factor[:, None, None]
    if bias.any() and not ticks_per_step:
        raise NotFit(
            "adds a bias in every step; the chip adds it at every tick of its slow clock",
            "fold it into the threshold or train without, or say how often the clock ticks: "
            "--set slow-clock=HERTZ",
        )
    per_tick = bias / ticks_per_step if ticks_per_step else bias
    scale, limit = _scale(weights, common, per_tick, initial)
    whole = _rint(weights * scale)
    threshold = int(_rint(common * scale))
    if threshold < 1 or (weights.any() and not whole.any()):
        hint = "bring weights and threshold closer together"
        raise NotFit("nothing of its weights is left beside its threshold in 8 and 16 bits", hint)
    lowest, bound = _lowest(neuron.lowest, factor, scale)
    biases, states = _rint(per_tick * scale), _rint(initial * scale)
    if per_tick.any() and not biases.any():
        raise NotFit(
            "has biases of which nothing is left at a tick", "let the slow clock tick less"
        )
    core = CoreLayer(
        layer.geometry, whole.astype(np.int8), biases.astype(np.int16),
        states.astype(np.int16), threshold, lowest, neuron.to_zero,
        bool(biases.any()),
    )  # fmt: skip
    error = np.abs(whole - weights * scale)
    given = np.where(per_tick == 0, 1, np.abs(per_tick))
    return core, Rounding(
        scale, limit, int(np.abs(whole).max(initial=0)), threshold,
        float(abs(threshold / (common * scale) - 1)), lowest, bound,
        float(error.max(initial=0)), float(error.mean()) if error.size else 0.0,
        int(((whole == 0) & (weights != 0)).sum()), weights.size, int((factor != 1).sum()),
        float((np.abs(biases / scale - per_tick) / given).max()),
        float(np.abs(states / scale - initial).max() / common),
    )  # fmt: skip


def _rint(values: Any) -> Array:
    """Round to the nearest whole number, half away from 0."""
    found: Array = np.trunc(values + np.copysign(0.5, values))
    return found


def _per_channel(values: Array, what: str) -> Array:
    """Return one number per channel.

    Raises:
        NotFit: If they differ within one.
    """
    rows = values.reshape(len(values), -1)
    if np.ptp(rows, axis=1).any():
        raise NotFit(f"has {what} that differ within a channel; a core has one for all")
    return rows[:, 0].astype(np.float64)


def _scale(weights: Array, threshold: float, bias: Array, initial: Array) -> tuple[float, str]:
    """Return the largest scale with which everything fits, and what limits it."""
    above, below = chips.WEIGHT[-1], -chips.WEIGHT[0]
    size = max(weights.max(initial=0.0), -weights.min(initial=0.0) * above / below)
    limits = {
        "weights": (above, size),
        "threshold": (chips.THRESHOLD_HIGH[-1], threshold),
        "bias": (chips.WORD[-1], np.abs(bias).max(initial=0.0)),
        "initial state": (chips.WORD[-1], np.abs(initial).max(initial=0.0)),
    }
    scales = {name: most / size for name, (most, size) in limits.items() if size > 0}
    if not np.isfinite(list(scales.values())).all():
        raise NotFit("has numbers that are not finite or too small for any scale")
    name = min(scales, key=lambda key: scales[key])
    return float(scales[name]), name


def _lowest(lowest: Array | None, factor: Array, scale: float) -> tuple[int, str]:
    """Return the chip's lower bound, and what became of the model's; see `Rounding`."""
    widest = chips.THRESHOLD_LOW[0]
    if lowest is None:
        return widest, "added"
    bounds = _rint(_per_channel(lowest, "lower bounds") * factor * scale)
    if np.ptp(bounds) > 1:
        raise NotFit("has lower bounds that differ between channels; a core has one for all")
    bound = int(bounds.max())
    if bound > 0:
        raise NotFit("has a lower bound above the value it is reset to")
    if bound < widest:
        return widest, "cut"
    # A bound of 0 is a known fault of the silicon (samna's documentation says to use -1 or less).
    return (bound, "kept") if bound else (-1, "moved")
