"""How a member of the LIF family moves below its threshold: as a linear map.

However a graph writes decays and gains, below threshold a step is one matrix per neuron. Chips
whose neurons are stated otherwise are fitted to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.evaluate import neuron_function
from snnir.dynamics.lif import FIXED_ONE, LifStep

Array = npt.NDArray[Any]
#: Larger than what truncation in the fixed form could disturb.
_UNIT = float(2**20)


@dataclass(frozen=True)
class LinearStep:
    """One step below threshold.

    Attributes:
        names: Of the states, in order.
        change: [neurons, states + 1, states + 1], for the states and a constant 1.
        jump: [neurons, states, 1], for a unit of input.
        start: [neurons, states + 1, 1], before the first step, and 1.
        unit: What the membrane is divided by to be in units of the stream.
    """

    names: tuple[str, ...]
    change: Array
    jump: Array
    start: Array
    unit: float

    @property
    def membrane(self) -> int:
        """Position of the membrane."""
        return self.names.index("v")


def linear_step(
    rules: LifStep, given: Mapping[str, npt.NDArray[Any]], shape: tuple[int, ...]
) -> LinearStep:
    """Return what a step does to the states, as it is the same linear map in each.

    Args:
        rules: A member of the LIF family; what happens at a spike is left out.
        given: Its parameters, broadcastable to the shape.
        shape: Of the population.
    """
    params = {name: np.asarray(value, np.float64) for name, value in given.items()}
    if rules.membrane == "none":
        rules = replace(rules, membrane="factor", start=False, leak=False)
        params["beta"] = np.zeros(())
    calm = replace(
        rules, fire="never", spikes="single", spike_cap=0, reset="none", own_amount=False,
        reset_timing="same-step", clamp="none", refractory=0, exposes_v=False,
    )  # fmt: skip
    wanted = {name: params[name] for name, _ in calm.program.params}
    states = calm.program.states
    names = tuple(state.name for state in states)
    first = [params[s.initial] if isinstance(s.initial, str) else 0.0 for s in states]
    change, jump = _probed(calm, wanted, shape)
    start = np.ones((len(change), len(names) + 1, 1))
    for row, value in enumerate(first):
        start[:, row, 0] = np.broadcast_to(value, shape).reshape(-1)
    return LinearStep(names, change, jump, start, FIXED_ONE if rules.fixed else 1.0)


def _probed(
    rules: LifStep, params: dict[str, Array], shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return change and jump of a `LinearStep` by running the step."""
    function = neuron_function(rules.program, params, np.float64, np.float64)
    names = [state.name for state in rules.program.states]
    count = len(names)
    # One sample per state that is 1, one at rest, one with input.
    state = {name: np.zeros((count + 2, *shape)) for name in names}
    for row, name in enumerate(names):
        state[name][row] = _UNIT
    x = np.zeros((count + 2, *shape))
    x[-1] = _UNIT
    function(x, *[np.zeros_like(x)] * (rules.inputs - 1), state)
    after = np.stack([state[name].reshape(count + 2, -1) for name in names]).transpose(2, 0, 1)
    still = after[:, :, count, None]
    change = np.zeros((after.shape[0], count + 1, count + 1))
    change[:, :-1, :-1] = (after[:, :, :count] - still) / _UNIT
    change[:, :-1, -1:] = still
    change[:, -1, -1] = 1.0
    return change, (after[:, :, -1:] - still) / _UNIT


def decays(
    rules: LifStep, given: Mapping[str, npt.NDArray[Any]]
) -> tuple[Array | None, Array | None]:
    """Return the factors per step of synapse and membrane as the rules have them, or None."""
    p = {name: np.asarray(value, np.float64) for name, value in given.items()}
    unit = FIXED_ONE if rules.fixed else 1.0
    synapse: Array | None = None
    if rules.synapse != "none":
        synapse = p["alpha"] / unit if "alpha" in p else 1.0 - p["k_syn"]
    membrane: Array | None = None
    if rules.membrane == "integrate":
        membrane = np.ones(())
    elif "beta" in p:
        membrane = p["beta"] / unit
    elif "k_mem" in p:
        membrane = 1.0 - p["k_mem"]
    elif "tau" in p:
        membrane = 1.0 - 1.0 / p["tau"]
    return synapse, membrane
