"""Running a topology by jaxsnn itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.frontends.jaxsnn_nets.wiring import Wiring, paradigm_of, size_of, wiring_of

Array = npt.NDArray[Any]


def apply_discrete(
    wiring: Wiring, params: Any, inputs: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
    """Run a discrete topology from rest, compiled, on a CPU.

    Args:
        wiring: The topology.
        params: Its parameters.
        inputs: [T, B, size] float32 by name.

    Returns:
        The output of every node, [T, B, size], and the states `v` and `i` of every population.
    """
    import jax

    topology = wiring.topology
    apply = topology.generate_apply_fn([(node,) for node in wiring.order])
    axes = (dict.fromkeys(inputs, 1), None)
    kept = topology.record_states
    with jax.default_device(jax.devices("cpu")[0]):
        topology.record_states = True
        try:
            run = jax.jit(jax.vmap(apply, in_axes=axes, out_axes=1))
            states, outputs = run({n: jax.numpy.asarray(x) for n, x in inputs.items()}, params)
        finally:
            topology.record_states = kept
    found = {
        node: {"v": np.asarray(state.V), "i": np.asarray(state.I)}
        for node, state in states.items()
        if state is not None
    }
    return {node: np.asarray(y) for node, y in outputs.items()}, found


class LiveTopology:
    """A topology with its parameters, run by jaxsnn.

    Args:
        topology: A finished discrete topology.
        params: Its parameters.

    Attributes:
        names: Its populations, in the order of a step.

    Raises:
        SnnirError: SNN801 for an event topology, which has no steps to compare.
    """

    def __init__(self, topology: Any, params: Any) -> None:
        if paradigm_of(topology) == "event":
            raise error(
                "SNN801", "an event topology gives times, not steps",
                hint="compare its graph: snnir.from_jax(topology, params=params)",
            )  # fmt: skip
        self.wiring, self.params = wiring_of(topology), params
        self.names = [n for n in self.wiring.order if self.wiring.kinds[n] in ("lif", "li")]

    def run(self, x: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the outputs of the populations at the end, and of all, [T, B, size].

        Args:
            x: [T, B, size], or one such array per input name.

        Raises:
            SnnirError: SNN601 if x does not fit the inputs.
        """
        inputs = self._inputs(x)
        outputs, _ = apply_discrete(self.wiring, self.params, inputs)
        return {n: outputs[n] for n in self.wiring.sinks()}, {n: outputs[n] for n in self.names}

    def _inputs(self, x: Any) -> dict[str, Array]:
        names = [node for node in self.wiring.order if self.wiring.kinds[node] == "input"]
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(names[:1], x)
        if set(given) != set(names):
            raise error("SNN601", f"its inputs are {', '.join(names)}, got {', '.join(given)}")
        found = {}
        for name in names:
            data = np.asarray(given[name], np.float32)
            size = size_of(self.wiring, name)
            if data.ndim != 3 or data.shape[2] != size:
                wanted = f"input '{name}' must be [T, B, {size}], is {list(data.shape)}"
                raise error("SNN601", wanted)
            found[name] = data
        return found
