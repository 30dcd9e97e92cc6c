"""How the neurons and synapses of a chip differ from their targets: what training is told of it.

It is the emulator's variation (`variation`), drawn for populations instead of circuits; a neuron
has one time constant of synapses here, and there is no noise from trial to trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import SnnirError, error
from snnir.targets.bss2.emulation.variation import LEAST_FACTOR, BadInput, Sigmas

Array = npt.NDArray[Any]


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
        share: Array = np.maximum(1 + sigma * deviation, LEAST_FACTOR)
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


def sigmas_of(mismatch: Any) -> Sigmas | None:
    """Return what an option asks for: sigmas, changes of the nominal ones, or none.

    Args:
        mismatch: False, True, a text as of `Sigmas.parse`, a mapping by name, or sigmas.

    Raises:
        SnnirError: SNN503 if it is nothing of that.
    """
    if isinstance(mismatch, str):
        try:
            return Sigmas.parse(mismatch)
        except BadInput as problem:
            raise _wrong(f"mismatch: {problem}", "for example threshold=2,scale=0.5") from None
    if isinstance(mismatch, Mapping):
        known = [item.name for item in fields(Sigmas)]
        for name in mismatch:
            if name not in known:
                raise _wrong(f"mismatch has no '{name}'", f"it has {', '.join(known)}")
        mismatch = replace(Sigmas(), **mismatch)
    if isinstance(mismatch, Sigmas):
        for item in fields(Sigmas):
            value = getattr(mismatch, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise _wrong(f"the sigma of {item.name} is {value}", "it is 0 or more")
        return mismatch
    if not isinstance(mismatch, bool):
        raise _wrong(f"mismatch is {mismatch!r}", "use True, False, or sigmas by name")
    return Sigmas() if mismatch else None


def _wrong(problem: str, hint: str) -> SnnirError:
    return error("SNN503", f"training for 'bss2': {problem}", hint=hint)
