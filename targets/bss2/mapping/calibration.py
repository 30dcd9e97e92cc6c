"""Potentials, time constants and weights of a model as those of calibrated circuits.

On the chip an event of weight w raises dv/dt by w * gain * 63 / C LSB/us, which decays with
tau_syn: a unit of weight moves the integral of v over time by gain * 63 / C * tau_syn * tau_mem.
That has to be, at `scale` LSB per volt, what a unit of the model's weight does; so a threshold that
is further from rest means larger weights. The distance is chosen for every neuron such that its
largest weight uses the six bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.bss2.chips import MOST_WEIGHT
from snnir.targets.bss2.mapping.structure import Population

Array = npt.NDArray[Any]

#: Nominal gain in LSB/us: a weight of 64 of a neuron with tau_mem = 6 us moves the drive by a
#: threshold distance of 70 LSB, as the weight scales of hxtorch's and jaxsnn's Yin-Yang examples
#: (58 to 70) have it; nobody measured it here.
NOMINAL_GAIN = 70 / 64 / 6
#: Ranges of calix's NeuronCalibTarget: times in us, potentials in CADC LSB. Thresholds may be 220;
#: the CADC is reliable up to 210 (calix, constants.py).
TAU_MEM, TAU_SYN, REFRACTORY = (0.5, 60.0), (0.3, 30.0), (0.04, 32.0)
LOWEST, HIGHEST, HIGHEST_THRESHOLD = 50, 160, 210
#: Where membranes rest if nothing speaks against it, and those that are read by the CADC.
REST, REST_OF_READOUT = 80, 120
#: What the CADC shows reliably.
LOWEST_SHOWN, HIGHEST_SHOWN = 30, 210
#: Threshold distances: calibration is precise to 2 to 8 LSB, so small ones only where it must be.
PREFERRED, SMALLEST, LARGEST = 40, 20, 140
FULL, LEAST_CAPACITANCE = 63, 16
#: Larger than any weight, and far from where integers overflow.
_BEYOND = 2.0**40
#: Models store weights in float32: a largest weight that was one of 63 may be this share above it.
_SLACK = 1e-6


@dataclass(frozen=True)
class Targets:
    """Calibration targets and integer weights of a population; arrays are [neurons].

    Attributes:
        leak, reset, threshold: In CADC LSB, whole; no threshold where the membrane is read.
        tau_mem, tau_syn: Microseconds of the chip.
        capacitance: 1 to 63.
        refractory: Microseconds.
        offset, factor: A membrane of x LSB is offset + factor * x in the model's units.
        per_unit: The weight that a weight of 1 of the model would be.
        weights: [target, source] by source, whole.
        constant: [target], weight of what is always on.
        potential_error: Largest rounding of a potential, in LSB.
        weight_error: Largest rounding of a weight, in LSB.
        vanished: Weights that became 0.
    """

    leak: Array
    reset: Array
    threshold: Array | None
    tau_mem: Array
    tau_syn: Array
    capacitance: Array
    refractory: float
    offset: Array
    factor: Array
    per_unit: Array
    weights: Mapping[str, Array]
    constant: Array
    potential_error: float
    weight_error: float
    vanished: int

    @property
    def largest(self) -> int:
        """The largest weight."""
        found = [np.abs(w).max(initial=0) for w in (*self.weights.values(), self.constant)]
        return int(max(found, default=0))


def rounded(values: Array) -> Array:
    """Round half away from zero, as hxtorch does; what no chip could have stays too large."""
    sizes = np.minimum(np.floor(np.abs(values) + 0.5), _BEYOND)
    result: Array = (np.sign(values) * sizes).astype(np.int64)
    return result


@dataclass(frozen=True)
class Rules:
    """How everything is mapped.

    Attributes:
        dt: Microseconds of the chip in one step of the model.
        speedup: How much faster the chip runs.
        gain: LSB/us, see above.
        common: Whether a population has one threshold distance instead of one per neuron.
        refractory: Microseconds for neurons whose model has no refractory time; 0: half a step, by
            which resets at the ends of steps are late on average.
        every: Steps between events of what is always on; not whole where their period in ticks is
            rounded.
        reach: How far below and above rest membranes get, in the model's units, of populations
            that are read by them, where it is known.
    """

    dt: float
    speedup: float
    gain: float
    common: bool
    refractory: float
    every: float
    reach: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """The potentials of a population in volts, and how many LSB a volt may be; [neurons] each.

    Attributes:
        leak, reset, threshold: Of neurons that spike.
        distance: From rest (or from the reset, where rest is above it) to the threshold.
        most: Largest distance in LSB that the calibration's ranges allow.
    """

    leak: Array
    reset: Array
    threshold: Array
    distance: Array
    most: Array


def frame_of(population: Population) -> Frame:
    """Return the potentials of a population that spikes."""
    own = population.neurons
    assert own.threshold is not None
    leak, reset, threshold = own.leak, own.reset, own.threshold
    distance = np.where(threshold > leak, threshold - leak, threshold - reset)
    low = np.minimum(leak, reset)
    over = np.maximum(leak, reset) - low
    most = np.minimum(
        (HIGHEST - LOWEST) * distance / np.maximum(over, 1e-300),
        (HIGHEST_THRESHOLD - LOWEST) * distance / (threshold - low),
    )
    return Frame(leak, reset, threshold, distance, np.minimum(np.floor(most + 1e-9), LARGEST))


def map_population(population: Population, rules: Rules) -> Targets:
    """Return the targets and integers of a population.

    The population's potentials and times have to fit, see `ranges`.
    """
    own = population.neurons
    tau_mem, tau_syn = (1e6 * t / rules.speedup for t in (own.tau_mem, own.tau_syn))
    charge = 1e6 * own.charge / rules.speedup  # V us per unit of input
    largest = _largest(population, rules.every)
    # LSB of weight per unit of weight and LSB/V, at full capacitance
    slope = charge / (rules.gain * tau_syn * tau_mem)
    demand = largest * np.abs(slope)
    if own.threshold is None:
        rest, scale = _readout_scale(demand, rules.reach.get(population.name, (0.0, 0.0)))
        capacitance = np.full(population.size, FULL)
        leak, offset_at = np.full(population.size, rest), own.leak
        reset, threshold, error = leak, None, 0.0
    else:
        frame = frame_of(population)
        distance, capacitance = _distances(demand / frame.distance, frame.most)
        if rules.common:
            distance, capacitance = (np.full(len(a), a.min()) for a in (distance, capacitance))
        scale = distance / frame.distance
        leak, reset, threshold, error = _potentials(frame, scale)
        offset_at = frame.leak
    per_unit = slope * scale * capacitance / FULL
    exact = {source: w * per_unit[:, None] for source, w in population.weights.items()}
    exact_constant = rules.every * population.constant * per_unit
    weights = {source: rounded(w) for source, w in exact.items()}
    constant = rounded(exact_constant)
    pairs = [*((weights[s], exact[s]) for s in exact), (constant, exact_constant)]
    return Targets(
        leak=leak, reset=reset, threshold=threshold, tau_mem=tau_mem, tau_syn=tau_syn,
        capacitance=capacitance, refractory=_refractory(own.refractory, rules),
        offset=offset_at - leak / scale, factor=1.0 / scale, per_unit=per_unit, weights=weights,
        constant=constant, potential_error=error,
        weight_error=max(float(np.abs(a - b).max(initial=0)) for a, b in pairs),
        vanished=sum(int(((a == 0) & (b != 0)).sum()) for a, b in pairs),
    )  # fmt: skip


def _largest(population: Population, every: float) -> Array:
    """Return the largest weight of every neuron, in the model's units."""
    parts = [np.abs(every * population.constant)]
    parts += [np.abs(w).max(axis=1, initial=0.0) for w in population.weights.values()]
    result: Array = np.max(parts, axis=0)
    return result


def _distances(demand: Array, most: Array) -> tuple[Array, Array]:
    """Return threshold distance and capacitance of every neuron.

    Args:
        demand: Largest weight in LSB for a distance of 1 LSB at full capacitance.
        most: Largest distance.
    """
    wanted = np.where(demand > 0, _whole(MOST_WEIGHT / np.maximum(demand, 1e-300)), 70.0)
    preferred = np.minimum(PREFERRED, most)
    distance = np.clip(wanted, preferred, most)
    capacitance = np.full(len(demand), FULL)
    high = demand * distance > MOST_WEIGHT * (1 + _SLACK)
    fitting = _whole(FULL * MOST_WEIGHT / np.maximum(demand * distance, 1e-300))
    capacitance = np.where(high, np.clip(fitting, LEAST_CAPACITANCE, FULL), capacitance)
    still = demand * distance * capacitance / FULL
    closer = _whole(MOST_WEIGHT * FULL / np.maximum(demand * capacitance, 1e-300))
    too_high = high & (still > MOST_WEIGHT * (1 + _SLACK))
    distance = np.where(too_high, np.clip(closer, SMALLEST, preferred), distance)
    return distance, capacitance.astype(np.int64)


def _whole(values: Array) -> Array:
    """Round down, but for what is as good as whole."""
    result: Array = np.floor(values * (1 + _SLACK))
    return result


def _readout_scale(demand: Array, reach: tuple[float, float]) -> tuple[int, Array]:
    """Return where membranes that are read rest, and LSB per volt: one for all of a population.

    Args:
        demand: Largest weight of each neuron in LSB at 1 LSB per volt.
        reach: How far below and above rest they get, or zeros if nobody knows.
    """
    scale = MOST_WEIGHT / max(float(demand.max(initial=0.0)), 1e-300) if demand.any() else 1.0
    if not any(reach):
        return REST_OF_READOUT, np.full(len(demand), scale)
    rooms = {
        rest: min(
            (room / max(way, 1e-300))
            for room, way in zip((rest - LOWEST_SHOWN, HIGHEST_SHOWN - rest), reach, strict=True)
        )
        for rest in range(LOWEST, HIGHEST + 1)
    }
    best = max(rooms, key=lambda rest: rooms[rest])
    return best, np.full(len(demand), min(scale, rooms[best]))


def _potentials(frame: Frame, scale: Array) -> tuple[Array, Array, Array, float]:
    """Return leak, reset and threshold in whole LSB, and the largest rounding."""
    low = np.minimum(frame.leak, frame.reset)
    high = np.maximum(frame.leak, frame.reset)
    least = LOWEST - scale * (low - frame.leak)
    most = np.minimum(
        HIGHEST - scale * (high - frame.leak),
        HIGHEST_THRESHOLD - scale * (frame.threshold - frame.leak),
    )
    leak = np.floor(np.clip(REST, np.ceil(least - 1e-9), np.maximum(most, least)) + 1e-9)
    exact_reset = leak + scale * (frame.reset - frame.leak)
    exact_threshold = leak + scale * (frame.threshold - frame.leak)
    reset, threshold = rounded(exact_reset), rounded(exact_threshold)
    error = max(
        float(np.abs(reset - exact_reset).max(initial=0)),
        float(np.abs(threshold - exact_threshold).max(initial=0)),
    )
    return leak.astype(np.int64), reset, threshold, error


def _refractory(seconds: float, rules: Rules) -> float:
    if seconds:
        return 1e6 * seconds / rules.speedup
    return rules.refractory or float(np.clip(0.5 * rules.dt, *REFRACTORY))
