"""What calibration reaches: time constants, potentials and weights that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from snnir.errors import Diagnostic
from snnir.targets.bss2.chips import MOST_WEIGHT
from snnir.targets.bss2.mapping.calibration import (
    HIGHEST,
    HIGHEST_THRESHOLD,
    LOWEST,
    REFRACTORY,
    SMALLEST,
    TAU_MEM,
    TAU_SYN,
    Targets,
    frame_of,
)
from snnir.targets.bss2.mapping.structure import Population

#: Synapses that one weight may be split into.
MOST_SPLIT = 16
_SLACK = 1e-9


def check_times(populations: Iterable[Population], speedup: float) -> list[Diagnostic]:
    """Return the time constants outside what calibration reaches, and which speed-ups would fit."""
    listed = list(populations)
    lowest, highest = feasible_speedups(listed)
    found = []
    for population in listed:
        own = population.neurons
        for what, times, (low, high) in (
            ("tau_mem", own.tau_mem, TAU_MEM),
            ("tau_syn", own.tau_syn, TAU_SYN),
        ):
            chip = 1e6 * times / speedup
            wrong = (chip < low * (1 - _SLACK)) | (chip > high * (1 + _SLACK))
            if wrong.any():
                at = int(np.argmax(wrong))
                message = (
                    f"{what} of neuron {at} is {times[at]:.4g} s, {chip[at]:.4g} us on the chip "
                    f"at a speed-up of {speedup:g}; calibration reaches {low} to {high} us"
                )
                hint = _speedup_hint(lowest, highest)
                found.append(Diagnostic("SNN501", message, population.name, hint=hint))
        refractory = 1e6 * own.refractory / speedup
        if refractory and not REFRACTORY[0] <= refractory <= REFRACTORY[1]:
            message = (
                f"is refractory for {refractory:.4g} us on the chip, which has "
                f"{REFRACTORY[0]} to {REFRACTORY[1]} us"
            )
            hint = "choose another speed-up, or another refractory time"
            found.append(Diagnostic("SNN501", message, population.name, hint=hint))
    return found


def feasible_speedups(populations: Iterable[Population]) -> tuple[float, float]:
    """Return the least and largest speed-up with which all time constants fit.

    A synaptic current that the user gave is in the chip's time, and fits with any.
    """
    lowest, highest = 0.0, np.inf
    for population in populations:
        own = population.neurons
        parts = (
            [(own.tau_mem, TAU_MEM)]
            if own.bare
            else [(own.tau_mem, TAU_MEM), (own.tau_syn, TAU_SYN)]
        )
        for times, (low, high) in parts:
            lowest = max(lowest, 1e6 * float(times.max(initial=0.0)) / high)
            highest = min(highest, 1e6 * float(times.min(initial=np.inf)) / low)
    return lowest, highest


def _digits(value: float, towards: Callable[[float], float]) -> str:
    """Return a number in four digits, rounded to the side on which it fits."""
    if not value:
        return "0"
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 3)
    return f"{towards(round(value / unit, 6)) * unit:.4g}"


def _speedup_hint(lowest: float, highest: float) -> str:
    if lowest > highest:
        return (
            f"no speed-up fits all of the network's time constants: the longest need "
            f"{lowest:.4g} or more, the shortest {highest:.4g} or less"
        )
    return (
        f"speed-ups from {_digits(lowest, np.ceil)} to {_digits(highest, np.floor)} fit all of the "
        "network: --set speedup=...; "
        "if the file is in milliseconds, read it with --time-unit 1e-3"
    )


def check_potentials(population: Population) -> list[Diagnostic]:
    """Return the potentials that are too far apart for the chip's range."""
    if not population.neurons.spiking:
        return []
    frame = frame_of(population)
    wrong = frame.most < SMALLEST
    if not wrong.any():
        return []
    at = int(np.argmax(wrong))
    potentials = f"rest {frame.leak[at]:.4g}, reset {frame.reset[at]:.4g}"
    message = (
        f"neuron {at} has {potentials} and threshold {frame.threshold[at]:.4g} V; with "
        f"{SMALLEST} LSB from rest to threshold, which calibration needs, they do not lie within "
        f"{LOWEST} to {HIGHEST} LSB (threshold: {HIGHEST_THRESHOLD})"
    )
    reach = (HIGHEST - LOWEST) / SMALLEST * frame.distance[at]
    if frame.reset[at] < frame.leak[at]:
        low = max(frame.leak[at] - reach, frame.threshold[at] - reach * 160 / 110)
        hint = f"a reset of {_digits(low, np.ceil)} V or more fits"
        hint += "; to spike once only, use a refractory time"
    else:
        high = _digits(frame.leak[at] + reach, np.floor)
        hint = f"a reset of {high} V or less fits"
    return [Diagnostic("SNN501", message, population.name, hint=hint)]


def check_weights(
    population: Population, targets: Targets, speedups: tuple[float, float]
) -> list[Diagnostic]:
    """Return weights that would need too many synapses.

    Args:
        population: The population.
        targets: Its integers.
        speedups: The one at hand, and the least that fits the network's time constants.
    """
    limit = MOST_SPLIT * MOST_WEIGHT
    if targets.largest <= limit:
        return []
    message = (
        f"its largest weight would be {targets.largest}, {-(-targets.largest // MOST_WEIGHT)} "
        f"synapses of {MOST_WEIGHT}; {MOST_SPLIT} at most are tried"
    )
    speedup, least = speedups
    # Membranes integrate charge: with all times n times as long, weights are n times as small.
    wanted = speedup * MOST_WEIGHT / targets.largest
    hint = "scale the weights down, or the threshold up"
    if wanted >= least:
        slower = _digits(max(wanted, least), np.ceil)
        hint = f"slower, weights are smaller: --set speedup={slower}; or {hint}"
    elif speedup * limit / targets.largest >= least:
        hint = f"slower, weights are smaller: --set speedup={_digits(least, np.ceil)}; or {hint}"
    hint += "; a measured gain is set with --set gain=..."
    return [Diagnostic("SNN501", message, population.name, hint=hint)]
