"""Running a compiled module with IREE's runtime; copied into emitted folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Rows (time steps times samples) that are run by one call.
TILE_ROWS = 1024

_DTYPES = {
    "f32": np.float32, "f64": np.float64, "i8": np.int8, "i16": np.int16, "i32": np.int32,
    "i64": np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """A tensor that goes into or comes out of a function.

    Attributes:
        name: Its name.
        element: MLIR's type of its elements.
        shape: Of a sample.
        steps: Of the past of a delay: how many steps it holds; they are its first axis.
    """

    name: str
    element: str
    shape: tuple[int, ...]
    steps: int = 0


@dataclass(frozen=True)
class Facts:
    """What a caller has to know of a module.

    Attributes:
        inputs, outputs: [time, batch, *shape], in order.
        states: What is carried from call to call.
        traces: What `trace` gives behind what `run` gives.
        populations: Whose spikes are counted.
        weights: Names of the tensors that are arguments.
        dtype: Of outputs and records, as NumPy calls it.
        offset: Steps by which outputs and records are reported late.
        exact: Whether the functions take a last argument, a whole number that is 0.
        driver: Name of the runtime's driver for the compiled module.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    traces: tuple[Port, ...]
    populations: tuple[str, ...]
    weights: tuple[str, ...]
    dtype: str = "float32"
    offset: int = 0
    exact: bool = True
    driver: str = "local-task"


class Program:
    """A network as a compiled module.

    Args:
        module: The compiled module.
        facts: What it takes and gives.
        weights: Tensors by name.
    """

    def __init__(self, module: bytes, facts: Facts, weights: Mapping[str, Any]) -> None:
        from iree import runtime

        self.facts, self.runtime = facts, runtime
        config = runtime.Config(facts.driver)
        self.device = config.device
        loaded = runtime.VmModule.copy_buffer(config.vm_instance, module)
        self.module = runtime.load_vm_module(loaded, config)
        self.weights = [self.put(weights[name]) for name in facts.weights]
        self._state: list[Any] = []
        self._batch = 0
        self._late: dict[str, Any] = {}

    def put(self, array: Any) -> Any:
        """Return an array on the device."""
        return self.runtime.asdevicearray(self.device, np.ascontiguousarray(array))

    def run(
        self, inputs: Mapping[str, Any], record: Sequence[str] = (), resume: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
        """Run the network.

        Args:
            inputs: [T, B, *shape] for every input.
            record: Values to return: `node` or `node:state`.
            resume: Go on from where the last run ended instead of from rest.

        Returns:
            Outputs by name, records by name (both [T, B, *shape]), spikes by population.
        """
        facts = self.facts
        given = [
            np.ascontiguousarray(inputs[port.name], _DTYPES[port.element]) for port in facts.inputs
        ]
        steps, batch = given[0].shape[:2]
        if not resume or self._batch != batch:
            self._state, self._batch, self._late = self.rest(batch), batch, {}
        tile = max(1, TILE_ROWS // batch)
        parts = [
            self.tile([x[first : first + tile] for x in given], record)
            for first in range(0, steps, tile)
        ]
        count = len(facts.outputs), len(facts.populations)
        whole = [np.concatenate(pieces) for pieces in zip(*(p[0] for p in parts), strict=True)]
        sums = [sum(float(p[1][k].sum()) for p in parts) for k in range(count[1])]
        names = [*(f"/{port.name}" for port in facts.outputs), *record]
        kind = np.dtype(facts.dtype)
        made = {name: self.late(name, y.astype(kind)) for name, y in zip(names, whole, strict=True)}
        outputs = {port.name: made[f"/{port.name}"] for port in facts.outputs}
        return (
            outputs,
            {name: made[name] for name in record},
            dict(zip(facts.populations, sums, strict=True)),
        )

    def rest(self, batch: int) -> list[Any]:
        """Return the states before the first step."""
        found = self.module.initial(batch, *self.weights)
        if not self.facts.states:
            return []
        return list(found) if isinstance(found, (tuple, list)) else [found]

    def tile(self, xs: Sequence[Any], record: Sequence[str]) -> tuple[list[Any], list[Any]]:
        """Run some steps; return outputs and records, and the spikes of every population."""
        facts = self.facts
        function = self.module.trace if record else self.module.run
        zero = [np.int32(0)] if facts.exact else []
        made = function(*xs, *self._state, *self.weights, *zero)
        made = list(made) if isinstance(made, (tuple, list)) else [made]
        ends = np.cumsum([len(facts.outputs), len(facts.populations), len(facts.states)])
        self._state = made[ends[1] : ends[2]]
        traced = {port.name: k + ends[2] for k, port in enumerate(facts.traces)}
        values = made[: ends[0]] + [made[traced[name]] for name in record]
        counts = made[ends[0] : ends[1]]
        return [y.to_host() for y in values], [y.to_host() for y in counts]

    def late(self, name: str, y: Any) -> Any:
        """Shift a trace by the record offset; what does not fit is kept for the next run."""
        offset = self.facts.offset
        if not offset:
            return y
        before = self._late.get(name, np.zeros((offset, *y.shape[1:]), y.dtype))
        line = np.concatenate([before, y])
        self._late[name] = line[len(y) :]
        return line[: len(y)]
