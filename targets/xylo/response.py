"""How a neuron of the graph answers, and the chip's neuron that answers most alike.

Below threshold, every member of the LIF family is linear: its membrane after one unit of input is a
curve over time. So is the chip's, for each pair of decays. The pair and the factor that come
closest (least squares) are taken, whichever way the graph writes its decays; where the graph's
decays are 1 - 2^-d the two curves are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import linear_response
from snnir.dynamics.lif import LifStep
from snnir.ir.neuron import Step
from snnir.linear_response import linear_step
from snnir.targets.xylo.configuration import MOST_DASH

Array = npt.NDArray[Any]

#: Steps over which curves are compared; slower decays count as none.
STEPS = 1024


@dataclass(frozen=True)
class Curves:
    """How the membranes of a population move below threshold.

    Attributes:
        impulse: [neurons, steps] after one unit of input in the first step.
        rest: [neurons, steps] without input, from the initial state.
    """

    impulse: Array
    rest: Array


@dataclass(frozen=True)
class Fit:
    """The chip's neurons that come closest to a population.

    Attributes:
        dash_syn, dash_mem: [neurons], decay shifts.
        gain: [neurons], weight per unit of the graph's input.
        bias: [neurons], what is added to the membrane in each step.
        error: [neurons], relative distance of the curves (0: equal).
        bias_error: [neurons], the same of the course under constant input and leak.
        reset_error: [neurons], the same of what is left of a reset.
        direct: Whether the current is cancelled after one step, so that there is no synapse.
    """

    dash_syn: Array
    dash_mem: Array
    gain: Array
    bias: Array
    error: Array
    bias_error: Array
    reset_error: Array
    direct: bool


def curves(op: Step, shape: tuple[int, ...], late: int) -> Curves:
    """Return how a population moves below threshold.

    Args:
        op: A member of the LIF family.
        shape: Of the population.
        late: Steps by which its synapse holds input back; they are left out.
    """
    rules = op.dynamics
    assert isinstance(rules, LifStep)
    params = {name: value.numpy() for name, value in op.params.items()}
    step = linear_step(rules, params, shape)
    impulse = _course(step.change[:, :-1, :-1], step.jump, STEPS + late)
    undriven = _course(step.change, step.change @ step.start, STEPS + late)
    v = step.membrane
    return Curves(*(course[:, late:, v, 0] / step.unit for course in (impulse, undriven)))


def _course(change: Array, first: Array, count: int) -> Array:
    """Return a state [n, k, 1] and what a map makes of it step by step, [n, count, k, 1]."""
    found, leap = first[:, None], change
    while found.shape[1] < count:
        found = np.concatenate([found, leap[:, None] @ found], axis=1)
        leap = leap @ leap
    return found[:, :count]


@lru_cache(maxsize=2)
def chip_curves(direct: bool) -> tuple[Array, Array, Array]:
    """Return decays of synapse and membrane of each pair, and its curve [pairs, steps].

    Args:
        direct: Whether the current is there for one step only. It is halved even then: the chip
            lets currents decay before the membrane sees them.
    """
    times = np.arange(STEPS)
    syn = np.arange(1, 2 if direct else MOST_DASH + 1)
    mem = np.arange(MOST_DASH + 1)
    pairs = np.array([(s, m) for s in syn for m in mem])
    a, b = (1.0 - 2.0 ** -pairs.T[:, :, None]).astype(np.float64)
    if direct:
        return pairs[:, 0], pairs[:, 1], 0.5 * b**times
    apart = np.where(a == b, 1.0, a - b)
    meeting = (times + 1.0) * a ** (times + 1.0)
    return pairs[:, 0], pairs[:, 1], np.where(
        a == b, meeting, a * (a ** (times + 1.0) - b ** (times + 1.0)) / apart
    )  # fmt: skip


def fit(
    found: Curves,
    constant: Array,
    beta: Array | None,
    direct: bool,
    beside: tuple[int, int] = (0, 0),
) -> Fit:
    """Return the nearest neurons, or those whose decays lie beside theirs.

    Args:
        found: The population's curves.
        constant: [neurons], input that is always there.
        beta: [neurons], what is left of a membrane, and so of a reset, after a step; None for
            neurons that do not fire.
        direct: See `Fit`.
        beside: What is added to the shifts of synapse and membrane.
    """
    syn, mem, candidates = chip_curves(direct)
    energy = (candidates**2).sum(axis=1)
    match = found.impulse @ candidates.T
    size = np.maximum((found.impulse**2).sum(axis=1), 1e-300)[:, None]
    apart = 1.0 - match**2 / (energy * size)
    reset = None if beta is None else _reset_distances(beta)
    # A synapse and a membrane that change places answer alike, but keep resets for other times.
    best = (apart if reset is None else apart + reset[:, mem] ** 2).argmin(axis=1)
    best = _moved(syn[best], mem[best], direct, beside)
    rows = np.arange(len(best))
    gain = match[rows, best] / energy[best]
    error = _distance(found.impulse, gain[:, None] * candidates[best])
    course = constant[:, None] * np.cumsum(found.impulse, axis=1) + found.rest
    b = (1.0 - 2.0 ** -mem[best].astype(np.float64))[:, None]
    own = (1.0 - b ** (np.arange(STEPS) + 1.0)) / (1.0 - b)
    bias = (course * own).sum(axis=1) / (own**2).sum(axis=1)
    return Fit(
        syn[best], mem[best], gain, bias, error, _distance(course, bias[:, None] * own),
        np.zeros(len(best)) if reset is None else reset[rows, mem[best]], direct,
    )  # fmt: skip


def _moved(syn: Array, mem: Array, direct: bool, beside: tuple[int, int]) -> Array:
    """Return the indices of pairs beside these, as far as there are any."""
    membrane: Array = np.clip(mem + beside[1], 0, MOST_DASH)
    if direct:
        return membrane
    moved: Array = (np.clip(syn + beside[0], 1, MOST_DASH) - 1) * (MOST_DASH + 1) + membrane
    return moved


def _reset_distances(beta: Array) -> Array:
    """Return how far what is left of a reset is off, [neurons, decays of the chip's membrane]."""
    times = np.arange(STEPS)
    chip = (1.0 - 2.0 ** -np.arange(MOST_DASH + 1.0))[:, None] ** times
    values, back = np.unique(beta, return_inverse=True)
    curves = values[:, None] ** times
    size = np.linalg.norm(curves, axis=1)[:, None]
    apart = np.linalg.norm(curves[:, None] - chip, axis=2) / size
    result: Array = apart[back.reshape(-1)]
    return result


def _distance(wanted: Array, made: Array) -> Array:
    size = np.linalg.norm(wanted, axis=1)
    apart = np.linalg.norm(wanted - made, axis=1)
    ratio: Array = np.divide(apart, size, out=np.zeros_like(apart), where=size > 0)
    return np.where(ratio < 1e-9, 0.0, ratio)


def decays(op: Step) -> tuple[Array | None, Array | None]:
    """Return the factors per step of synapse and membrane as the graph has them, or None."""
    assert isinstance(op.dynamics, LifStep)
    given = {name: value.numpy() for name, value in op.params.items()}
    return linear_response.decays(op.dynamics, given)
