"""How chips differ from their calibration's aims, and trials from each other; copied into folders.

A virtual chip is drawn from a seed, for all 512 circuits in a fixed order: the same seed is the
same chip, whatever is placed where. The sizes are nominal, not measured: they stay below the bounds
that the vendor's own tests allow (electronicvisions/calix, `tests/hw`), of the order of what is
said of calibrated chips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from snnir.targets.bss2.chips import HEMISPHERES, HICANN_X
from snnir.targets.bss2.emulation.engine import FOR_CADC, HASH_ONE, HASH_STEP, HASH_TWO

#: No factor is drawn below.
LEAST_FACTOR = 0.1


class BadInput(ValueError):
    """What is to be run is no input of the chip, or no way to run it."""


@dataclass(frozen=True)
class Sigmas:
    """Standard deviations; nominal, not measured.

    Attributes:
        leak, reset, threshold: Of a neuron's potentials, LSB.
        tau_mem, tau_syn: Of time constants, share (excitation and inhibition apart).
        gain: Of a circuit's synaptic input, share (excitation and inhibition apart).
        synapse: Of every synapse's gain, share.
        cadc_offset: Of the CADC's channels, LSB.
        noise_threshold: Of the threshold, drawn anew after every spike, LSB.
        noise_cadc: Of every sample of the CADC, LSB.
        noise_jitter: Of the time at which an event leaves its neuron, ticks.
    """

    leak: float = 1.5
    reset: float = 1.5
    threshold: float = 2.5
    tau_mem: float = 0.08
    tau_syn: float = 0.05
    gain: float = 0.08
    synapse: float = 0.04
    cadc_offset: float = 1.0
    noise_threshold: float = 1.0
    noise_cadc: float = 1.0
    noise_jitter: float = 2.5

    @classmethod
    def parse(cls, *texts: str) -> Sigmas:
        """Return nominal sizes with changes: `threshold=2,tau_mem=0.1`; `scale=` multiplies all.

        Raises:
            BadInput: If a text is not `name=number`.
        """
        known = {field.name for field in fields(cls)}
        changes: dict[str, float] = {}
        for item in ",".join(texts).split(","):
            if not item.strip():
                continue
            name, _, text = item.partition("=")
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if name.strip() not in {*known, "scale"} or not 0 <= value <= 1e6:
                raise BadInput(f"{item!r} is not NAME=SIZE; names are {', '.join(sorted(known))}")
            changes[name.strip()] = value
        scale = changes.pop("scale", 1.0)
        return replace(cls(), **changes).scaled(scale)

    def scaled(self, factor: float) -> Sigmas:
        """Return all sizes times a factor."""
        return Sigmas(**{field.name: getattr(self, field.name) * factor for field in fields(self)})


@dataclass(frozen=True)
class VirtualChip:
    """How one chip differs from the nominal one.

    Attributes:
        leak, reset, threshold, cadc_offset: [circuits], differences of potentials in LSB.
        tau_mem, tau_exc, tau_inh, gain_exc, gain_inh: [circuits], factors.
        synapse: [hemispheres, rows, columns], factors; None where all are 1.
    """

    leak: Any
    reset: Any
    threshold: Any
    tau_mem: Any
    tau_exc: Any
    tau_inh: Any
    gain_exc: Any
    gain_inh: Any
    cadc_offset: Any
    synapse: Any = None


def draw_chip(seed: int, sigmas: Sigmas) -> VirtualChip:
    """Return the chip of a seed."""
    if not 0 <= seed < 1 << 64:
        raise BadInput(f"a seed is a whole number from 0, not {seed}")
    own, synapses = (np.random.Generator(np.random.PCG64([seed, k])) for k in (0, 1))
    draws = own.standard_normal((9, HICANN_X.circuits))
    sizes = (
        sigmas.leak, sigmas.reset, sigmas.threshold, sigmas.tau_mem, sigmas.tau_syn,
        sigmas.tau_syn, sigmas.gain, sigmas.gain, sigmas.cadc_offset,
    )  # fmt: skip
    names = (field.name for field in fields(VirtualChip))
    columns = {n: draw * size for n, draw, size in zip(names, draws, sizes, strict=False)}
    for name in ("tau_mem", "tau_exc", "tau_inh", "gain_exc", "gain_inh"):
        columns[name] = np.maximum(1 + columns[name], LEAST_FACTOR)
    synapse = None
    if sigmas.synapse:
        size = HEMISPHERES, HICANN_X.rows, HICANN_X.columns
        synapse = np.maximum(1 + sigmas.synapse * synapses.standard_normal(size), LEAST_FACTOR)
    return VirtualChip(**columns, synapse=synapse)


def ideal_chip() -> VirtualChip:
    """Return the chip that is as its calibration aims at."""
    zeros, ones = np.zeros(HICANN_X.circuits), np.ones(HICANN_X.circuits)
    return VirtualChip(zeros, zeros, zeros, ones, ones, ones, ones, ones, zeros)


def cadc_normals(seed: int, sample: int, circuits: Sequence[int], count: int) -> Any:
    """Return [count, circuits] numbers as `normal` of the engine gives them."""
    circuit = np.asarray(circuits, np.uint64)[None]
    number = np.arange(count, dtype=np.uint64)[:, None]
    step = np.uint64(HASH_STEP)
    # Arrays, not scalars: these wrap round silently.
    h = _mix64(np.array([[(seed + HASH_STEP) % (1 << 64)]], np.uint64))
    h = _mix64(h + np.array([[(sample * HASH_STEP + 1) % (1 << 64)]], np.uint64))
    h = _mix64(h + circuit * step + np.uint64(2))
    h = _mix64(h + (number * np.uint64(4) + np.uint64(FOR_CADC)) * step + np.uint64(3))
    total = np.zeros(h.shape, np.int64)
    for n in (1, 2, 3):
        part = _mix64(h + np.array([[n * HASH_STEP % (1 << 64)]], np.uint64))
        for k in (0, 16, 32, 48):
            total += (part >> np.uint64(k) & np.uint64(65535)).astype(np.int64)
    return (total - 6 * 65535) / 65536.0


def _mix64(x: Any) -> Any:
    x = (x ^ x >> np.uint64(30)) * np.uint64(HASH_ONE)
    x = (x ^ x >> np.uint64(27)) * np.uint64(HASH_TWO)
    return x ^ x >> np.uint64(31)
