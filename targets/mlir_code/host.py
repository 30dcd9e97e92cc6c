"""Running a compiled module with IREE's runtime; copied into emitted folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Files of a folder.
MODULE, WEIGHTS, INTERFACE = "model.vmfb", "weights.safetensors", "interface.json"
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
        dtype: In which a state is recorded, as NumPy calls it; streams have one for all.
        node: Of an output: the node whose first stream it is, if it is one's.
    """

    name: str
    element: str
    shape: tuple[int, ...]
    steps: int = 0
    dtype: str = ""
    node: str | None = None


@dataclass(frozen=True)
class Facts:
    """What a caller has to know of a module.

    Attributes:
        inputs, outputs: [time, batch, *shape], in order.
        states: What is carried from call to call.
        traces: What `trace` gives behind what `run` gives.
        populations: Whose spikes are counted.
        weights: Names of the tensors that are arguments.
        steps, batch: Steps and samples of one call.
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
    steps: int
    batch: int
    dtype: str = "float32"
    offset: int = 0
    exact: bool = True
    driver: str = "local-sync"

    @classmethod
    def read(cls, text: str) -> Facts:
        """Return the facts that `json.dumps(asdict(facts))` wrote."""
        known: dict[str, Any] = json.loads(text)
        for role in ("inputs", "outputs", "states", "traces"):
            ports = ({**port, "shape": tuple(port["shape"])} for port in known[role])
            known[role] = tuple(Port(**port) for port in ports)
        for role in ("populations", "weights"):
            known[role] = tuple(known[role])
        return cls(**known)


class Program:
    """A network as compiled modules.

    Args:
        load: Returns the compiled module that has `run`, or if True the one that has `trace`;
            both have `initial`.
        facts: What they take and give.
        weights: Tensors by name.
        driver: Name of the runtime's driver, if not that of the facts.

    Raises:
        ImportError: If IREE's runtime is not installed.
        RuntimeError, ValueError: If the driver has no device.
    """

    def __init__(
        self, load: Callable[[bool], bytes], facts: Facts, weights: Mapping[str, Any],
        driver: str = "",
    ) -> None:  # fmt: skip
        from iree import runtime

        self.load, self.facts, self.runtime = load, facts, runtime
        self.config = runtime.Config(driver or facts.driver)
        self.weights = [self.put(weights[name]) for name in facts.weights]
        self._modules: dict[bool, Any] = {}
        self._states: list[list[Any]] = []
        self._batch = 0
        self._late: dict[tuple[str, str], Any] = {}

    def module(self, traced: bool) -> Any:
        """Return the module that has `trace`, or `run`."""
        if traced not in self._modules:
            loaded = self.runtime.VmModule.copy_buffer(self.config.vm_instance, self.load(traced))
            self._modules[traced] = self.runtime.load_vm_module(loaded, self.config)
        return self._modules[traced]

    def put(self, array: Any) -> Any:
        """Return an array on the device."""
        return self.runtime.asdevicearray(self.config.device, np.ascontiguousarray(array))

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
        facts, record = self.facts, list(dict.fromkeys(record))
        given = [np.asarray(inputs[p.name], _DTYPES[p.element]) for p in facts.inputs]
        batch = given[0].shape[1]
        if not resume or self._batch != batch:
            parts = -(-batch // facts.batch)
            self._states = [self.rest(bool(record)) for _ in range(parts)]
            self._batch = batch
            self._late = {}
        ports = {port.name: port for port in facts.traces}
        wanted = [*facts.outputs, *(ports[name] for name in record)]
        lead = given[0].shape[:2]
        found = [np.empty((*lead, *p.shape), p.dtype or facts.dtype) for p in wanted]
        sums = np.zeros(len(facts.populations))
        for part in range(len(self._states)):
            now = slice(part * facts.batch, (part + 1) * facts.batch)
            sums += self.some(part, [x[:, now] for x in given], [y[:, now] for y in found], record)
        keys = [trace_key(port) for port in facts.outputs] + [("record", name) for name in record]
        made = {key: self.late(key, y) for key, y in dict(zip(keys, found, strict=True)).items()}
        outputs = {port.name: made[trace_key(port)] for port in facts.outputs}
        counted = dict(zip(facts.populations, sums.tolist(), strict=True))
        return outputs, {name: made["record", name] for name in record}, counted

    def rehearse(self) -> None:
        """Run one step of zeros, with records and without, so that what cannot run is known."""
        shapes = {port.name: (1, self.facts.batch, *port.shape) for port in self.facts.inputs}
        for record in ([], [port.name for port in self.facts.traces[:1]]):
            self.run({name: np.zeros(shape) for name, shape in shapes.items()}, record)

    def rest(self, traced: bool) -> list[Any]:
        """Return the states before the first step."""
        return as_list(self.module(traced).initial(*self.weights)) if self.facts.states else []

    def some(self, part: int, xs: Sequence[Any], ys: Sequence[Any], record: Sequence[str]) -> Any:
        """Run all steps of some samples; fills outputs and records, returns spikes."""
        facts = self.facts
        steps, samples = xs[0].shape[:2]
        sums = np.zeros(len(facts.populations))
        for first in range(0, steps, facts.steps):
            now = slice(first, min(first + facts.steps, steps))
            count = now.stop - first
            given = [with_room(x[now], facts.steps, facts.batch) for x in xs]
            values, counts = self.call(part, count, given, record)
            for y, value in zip(ys, values, strict=True):
                y[now] = value[:count, :samples]
            sums += [each[:samples].sum() for each in counts]
        return sums

    def call(
        self, part: int, count: int, xs: Sequence[Any], record: Sequence[str]
    ) -> tuple[list[Any], list[Any]]:
        """Run some steps; return outputs and records, and the spikes of every population."""
        facts = self.facts
        function = self.module(True).trace if record else self.module(False).run
        zero = [np.int32(0)] if facts.exact else []
        made = as_list(function(count, *xs, *self._states[part], *self.weights, *zero))
        ends = np.cumsum([len(facts.outputs), len(facts.populations), len(facts.states)])
        self._states[part] = made[ends[1] : ends[2]]
        traced = {port.name: k + ends[2] for k, port in enumerate(facts.traces)}
        values = made[: ends[0]] + [made[traced[name]] for name in record]
        counts = made[ends[0] : ends[1]]
        return [y.to_host() for y in values], [y.to_host() for y in counts]

    def late(self, key: tuple[str, str], y: Any) -> Any:
        """Shift a trace by the record offset; what does not fit is kept for the next run."""
        offset = self.facts.offset
        if not offset:
            return y
        before = self._late.get(key, np.zeros((offset, *y.shape[1:]), y.dtype))
        line = np.concatenate([before, y])
        self._late[key] = line[len(y) :]
        return line[: len(y)]


def trace_key(output: Port) -> tuple[str, str]:
    """Return what names the trace of an output: it is that of the record of the same stream."""
    return ("output", output.name) if output.node is None else ("record", output.node)


def as_list(made: Any) -> list[Any]:
    """Return the results of a function, which are not in a list if there is one."""
    return list(made) if isinstance(made, (tuple, list)) else [made]


def with_room(x: Any, steps: int, batch: int) -> Any:
    """Return [time, batch, ...] with zeros up to so many steps and samples."""
    if x.shape[:2] == (steps, batch):
        return np.ascontiguousarray(x)
    room = np.zeros((steps, batch, *x.shape[2:]), x.dtype)
    room[: x.shape[0], : x.shape[1]] = x
    return room
