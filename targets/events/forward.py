"""The forward run of a batch: what the gradients start from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.targets.events.adjoint_plan import Plan, Stimulus
from snnir.targets.events.engine_host import run_c
from snnir.targets.events.engine_python import run_python
from snnir.targets.events.host import Simulator, record_of
from snnir.targets.events.network import EventNetwork, EventRecord
from snnir.targets.events.plan import Job, RunError

Array = npt.NDArray[Any]

_NOTHING = np.zeros(0)


class Forward:
    """A network that is run again and again with other weights.

    Args:
        network: The network.
        duration: Seconds.
        most: Spikes in a sample after which a run is given up.
    """

    def __init__(self, network: EventNetwork, duration: float, most: int) -> None:
        self.network, self.duration, self.most = network, duration, most
        self.backward = Plan.of(network)
        self._simulator = Simulator(network, most=most)

    def run(self, weight: Array, stimuli: Sequence[Stimulus], threads: int) -> list[EventRecord]:
        """Run samples.

        Args:
            weight: [synapses] float64, in the network's order.
            stimuli: One per sample.
            threads: How many.

        Raises:
            SnnirError: SNN603 if a run is given up, with the reason and the neuron.
        """
        plan = replace(
            self._simulator.plan, weight=np.ascontiguousarray(weight[self.backward.order])
        )
        run = run_python if self._simulator.kind == "python" else run_c
        is_current = self.backward.is_current

        def one(given: Stimulus) -> EventRecord:
            return record_of(run(plan, self._job(given, is_current)))

        try:
            if threads > 1 and len(stimuli) > 1:
                with ThreadPoolExecutor(threads) as pool:
                    return list(pool.map(one, stimuli))
            return [one(given) for given in stimuli]
        except RunError as failure:
            hint = "lower the weights, shorten the duration, or raise max_events"
            raise error("SNN603", self._simulator.explained(failure), hint=hint) from None

    def planned(self, weight: Array) -> Plan:
        """Return the plan of the backward run with other weights."""
        return replace(self.backward, weight=np.ascontiguousarray(weight[self.backward.order]))

    def _job(self, given: Stimulus, is_current: Array) -> Job:
        current = is_current[given.unit]
        return Job(
            given.time, given.unit.astype(np.int32), given.amount,
            np.where(current, 2, 0).astype(np.int8), _changes(given, current), self.duration,
            _NOTHING, np.zeros(0, np.int32), self.most,
        )  # fmt: skip


def _changes(given: Stimulus, current: Array) -> Array:
    """Return by how much the number of things that a synapse holds grows with each event.

    1 for a spike; of a current, 1 if it was 0 before, -1 if it is 0 from now on, else 0.
    """
    change = np.ones(len(given.time), np.int8)
    level: dict[int, float] = {}
    for k in np.flatnonzero(current).tolist():
        unit = int(given.unit[k])
        before = level.get(unit, 0.0)
        after = before + float(given.amount[k])
        change[k] = int(after != 0) - int(before != 0)
        level[unit] = after
    return change
