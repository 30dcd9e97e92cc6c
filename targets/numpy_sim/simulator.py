"""The in-process NumPy simulator: the reference every other target is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from snnir.artefact import populations
from snnir.ir.graph import Graph
from snnir.lasting import check_lasting
from snnir.progress import progress
from snnir.running import Result, check_batch, check_inputs, check_record, spike_stats
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import State, lasting_state, simulate


class NumpySimulator:
    """Runs a discretised graph with NumPy.

    Attributes:
        graph: What is run.
        precision: `reproducible` (float32, sums accumulated in float64 and rounded once),
            `float32` or `float64`.
    """

    def __init__(self, graph: Graph, precision: str = "reproducible") -> None:
        self.graph = graph
        self.precision = precision
        self._model = build_model(graph, precision)
        self._state: State | None = None
        self._batch = 0

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Run the network.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.
            lasting: What lasts of an earlier run (`Result.lasting`) instead of what the graph has.

        Returns:
            Outputs and records, [T, B, *shape], and what lasts.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist.
        """
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        kept = check_lasting(self.graph, lasting, resume=resume)
        steps, batch = next(iter(inputs.values())).shape[:2]
        state = self._state if resume else None
        check_batch(batch, None if state is None else self._batch)
        self._batch = batch
        with np.errstate(all="ignore"), progress("running steps", steps) as step:
            outputs, recorded, sums, self._state = simulate(
                self._model, inputs, list(record), state, kept, step
            )
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        return Result(outputs, recorded, stats, lasting=lasting_state(self._model, self._state))
