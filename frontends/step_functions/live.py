"""Running a step function by its framework, beside its graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.frontends.step_functions.jax_run import JaxRun
from snnir.frontends.step_functions.load import imported
from snnir.frontends.step_functions.traced import Array
from snnir.ir.graph import Graph


class Live(ABC):
    """A step function beside its graph.

    Args:
        graph: Its graph.

    Attributes:
        graph: Its graph.
        names: Populations whose spikes are outputs of the step function: what a framework shows.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._shown = {
            value.node: name
            for name, value in graph.outputs.items()
            if value.result == 0 and graph[value.node].op.name == "step"
        }
        self.names = [node for node in graph.order if node in self._shown]

    @abstractmethod
    def outputs(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the outputs for inputs [T, B, *shape] by the names of the graph."""

    def run(self, x: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return outputs and what is known of populations, [T, B, *shape].

        Args:
            x: [T, B, *shape], or one such array per input name. A step function of a batch may
                take only as many samples as its example has.

        Raises:
            SnnirError: SNN601 if the input does not fit.
        """
        names = list(self.graph.inputs)
        given = x if isinstance(x, Mapping) else {names[0]: x}
        if sorted(given) != sorted(names):
            raise error("SNN601", f"the inputs are {', '.join(names)}, got {', '.join(given)}")
        arrays = {name: np.asarray(given[name], np.float32) for name in names}
        for name, signal in self.graph.inputs.items():
            if arrays[name].ndim < 2 or arrays[name].shape[2:] != signal.shape:
                raise error(
                    "SNN601",
                    f"input {name} must be [T, B, *{list(signal.shape)}], got "
                    f"{list(arrays[name].shape)}",
                )
        outputs = dict(self.outputs(arrays))
        return outputs, {node: outputs[self._shown[node]] for node in self.names}


class LiveStep(Live):
    """A JAX step function with its first state and an example of its input.

    Args:
        step_fn, state, example: As `snnir.from_jax` takes them.
        options: The same.
    """

    def __init__(self, step_fn: Any, state: Any, example: Any, **options: Any) -> None:
        made = imported(step_fn, state, example, **options)
        super().__init__(made.graph)
        self._run = JaxRun(made.step, made.batched)

    def outputs(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run it by JAX."""
        return self._run.run(dict(arrays))[1]
