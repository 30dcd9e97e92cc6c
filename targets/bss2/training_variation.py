"""How the neurons and synapses of a chip differ from their targets: what training is told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error

Array = npt.NDArray[Any]

#: Factors are not drawn below.
LEAST = 0.1


@dataclass(frozen=True)
class Sigmas:
    """Standard deviations over a chip; nominal, not measured.

    Attributes:
        leak, reset, threshold: Of a neuron's potentials, LSB of the CADC.
        tau_mem, tau_syn: Of time constants, share.
        gain: Of a neuron's synaptic input, share, on its own for excitation and inhibition.
        synapse: Of the gain of every synapse, share.
        cadc_offset: Of what is read of a membrane, LSB.
    """

    leak: float = 1.5
    reset: float = 1.5
    threshold: float = 2.5
    tau_mem: float = 0.08
    tau_syn: float = 0.05
    gain: float = 0.08
    synapse: float = 0.04
    cadc_offset: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                message = f"the sigma of {item.name} is {value}, must be 0 or more"
                raise error("SNN503", message)


@dataclass(frozen=True)
class Variation:
    """A population on a chip.

    Attributes:
        leak, reset, threshold, cadc_offset: What is added, in LSB, [N] each.
        tau_mem, tau_syn: Factors, [N] each.
        gain: Factors of excitation and of inhibition, [2, N].
        synapses: Factors of weights and biases, in their shapes, by `node.attribute`.
    """

    leak: Array
    reset: Array
    threshold: Array
    cadc_offset: Array
    tau_mem: Array
    tau_syn: Array
    gain: Array
    synapses: Mapping[str, Array]


def draw(
    size: int, synapses: Mapping[str, tuple[int, ...]], sigmas: Sigmas, *chip: int
) -> Variation:
    """Return what a population is on a chip; the same for the same numbers.

    Args:
        size: Number of neurons.
        synapses: Shapes of weights and biases by `node.attribute`.
        sigmas: How much neurons differ.
        chip: Numbers of the chip and the population on it, 0 or more each.
    """
    rng = np.random.default_rng(chip)
    normal = rng.standard_normal((8, size))

    def factor(sigma: float, deviation: Array) -> Array:
        share: Array = np.maximum(1 + sigma * deviation, LEAST)
        return share

    return Variation(
        leak=sigmas.leak * normal[0],
        reset=sigmas.reset * normal[1],
        threshold=sigmas.threshold * normal[2],
        cadc_offset=sigmas.cadc_offset * normal[3],
        tau_mem=factor(sigmas.tau_mem, normal[4]),
        tau_syn=factor(sigmas.tau_syn, normal[5]),
        gain=factor(sigmas.gain, normal[6:]),
        synapses={
            name: factor(sigmas.synapse, rng.standard_normal(shape))
            for name, shape in synapses.items()
        },
    )
