"""How the neurons of a chip differ from their targets after calibration, as a model of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error

Array = npt.NDArray[Any]

#: Time constants and gains stay above this share of their targets.
LEAST = 0.2


@dataclass(frozen=True)
class Sigmas:
    """Standard deviations from neuron to neuron, of normal distributions.

    Attributes:
        threshold, leak, reset: Of potentials, in LSB of the CADC.
        tau_mem, tau_syn: Of time constants, as a share of them.
        gain: Of what an event adds, as a share of it, on its own for excitation and inhibition.
    """

    threshold: float = 2.0
    leak: float = 2.0
    reset: float = 2.0
    tau_mem: float = 0.1
    tau_syn: float = 0.05
    gain: float = 0.1

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                message = f"the sigma of {item.name} is {value}, must be 0 or more"
                raise error("SNN503", message)


@dataclass(frozen=True)
class Variation:
    """One population on one chip.

    Attributes:
        threshold, leak, reset: What is added, in LSB, [N] each.
        tau_mem, tau_syn: Factors, [N] each.
        gain: Factors of excitation and of inhibition, [2, N].
    """

    threshold: Array
    leak: Array
    reset: Array
    tau_mem: Array
    tau_syn: Array
    gain: Array


def draw(sizes: Mapping[str, int], sigmas: Sigmas, *chip: int) -> dict[str, Variation]:
    """Return what every population is on a chip; the same for the same numbers of it.

    Args:
        sizes: Number of neurons by name.
        sigmas: How much neurons differ.
        chip: Numbers of the chip, 0 or more.
    """
    found = {}
    for index, (name, size) in enumerate(sizes.items()):
        normal = np.random.default_rng([*chip, index]).standard_normal((7, size))

        def factor(sigma: float, deviation: Array) -> Array:
            share: Array = np.maximum(1 + sigma * deviation, LEAST)
            return share

        found[name] = Variation(
            threshold=sigmas.threshold * normal[0],
            leak=sigmas.leak * normal[1],
            reset=sigmas.reset * normal[2],
            tau_mem=factor(sigmas.tau_mem, normal[3]),
            tau_syn=factor(sigmas.tau_syn, normal[4]),
            gain=factor(sigmas.gain, normal[5:]),
        )
    return found
