"""Running a compiled network: ctypes and NumPy; copied into emitted folders.

Calls release the interpreter's lock, so that several threads share the stages of one run, and
several networks run at once.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from snnir.c_build import shared_library

#: Rows (time steps times samples) that are run at once.
TILE_ROWS = 1024
#: Steps whose rows are summed together where they are dense.
ROWS = 4
#: Bytes of weights from which a folder's file is mapped instead of read.
MAPPED = 1 << 28
#: Elements of values below which a stage is not shared by threads.
SHARED = 1 << 16

_DTYPES = {
    "uint8_t": np.uint8, "float": np.float32, "double": np.float64, "int32_t": np.int32,
    "int64_t": np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: Its name.
        ctype: C type of its elements.
        shape: Of a sample.
        unit, bias: An output of whole numbers stands for value * unit + bias; one number, or one
            for each element; none for one that stands for itself.
    """

    name: str
    ctype: str
    shape: tuple[int, ...]
    unit: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()

    def real(self, y: Any, kind: Any) -> Any:
        """Return what an output stands for, in some dtype."""
        made = y.astype(kind)
        for factor, apply in ((self.unit, np.multiply), (self.bias, np.add)):
            if factor:
                array = np.array(factor, kind)
                made = apply(made, array.reshape(self.shape) if array.size > 1 else array)
        return made


@dataclass(frozen=True)
class Record:
    """What can be recorded.

    Attributes:
        number: Its number.
        shape: Of a sample.
        dtype: Its type in NumPy's words.
        lasts: Whether all samples share it.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str
    lasts: bool = False


@dataclass(frozen=True)
class Lasting:
    """What outlives a run: the C type of its elements, and its shape."""

    ctype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """What NumPy calls the type."""
        return np.dtype(_DTYPES[self.ctype]).name


@dataclass(frozen=True)
class Facts:
    """What a caller has to know of a program.

    Attributes:
        inputs, outputs: In the order of `snn_io`.
        records: By name, everything that can be recorded.
        populations: Names in the order of `snn_count`.
        stages: Whether each stage computes; those that do not only record.
        dtype: Of outputs and records, as NumPy calls it.
        offset: Steps by which outputs and records are reported late.
        lasting: By `node:state`, in the order of `snn_get`, everything that outlives a run.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    records: Mapping[str, Record]
    populations: tuple[str, ...]
    stages: tuple[bool, ...]
    dtype: str = "float32"
    offset: int = 0
    lasting: Mapping[str, Lasting] = field(default_factory=dict)


def aligned(size: int) -> Any:
    """Return so many bytes of zeros that begin at a multiple of 64."""
    room = np.zeros(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + size]


def address(array: Any) -> int:
    """Return where an array lies; faster than `array.ctypes`."""
    where: int = array.__array_interface__["data"][0]
    return where


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return the threads that share stages."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="snnir")


def library(source: str, records: bool, lasts: bool = False) -> ctypes.CDLL:
    """Return the compiled program; one that records has to be compiled apart.

    Raises:
        NoCompiler: If there is no compiler, or it does not compile the program.
    """
    flags = ("-std=c99", "-DSNN_HOST", *(("-DSNN_RECORD",) if records else ()))
    code = ctypes.CDLL(str(shared_library(source, flags)))
    size, long, pointer = ctypes.c_size_t, ctypes.c_long, ctypes.c_void_p
    code.snn_state_size.restype = code.snn_work_size.restype = size
    code.snn_work_size.argtypes = [long, long, long]
    code.snn_reset.argtypes = [pointer, long, pointer]
    code.snn_begin.argtypes = [pointer, long, long, long, pointer, pointer, pointer]
    code.snn_stage.argtypes = [pointer, ctypes.c_int, long, long]
    code.snn_run.argtypes = [pointer, long, long, pointer, pointer, pointer]
    code.snn_count.argtypes = [pointer, pointer]
    if lasts:
        code.snn_lasting_size.restype = size
        code.snn_start.argtypes = code.snn_end.argtypes = [pointer, pointer]
        code.snn_get.argtypes = code.snn_put.argtypes = [pointer, ctypes.c_int, pointer]
        for function in (code.snn_start, code.snn_end, code.snn_get, code.snn_put):
            function.restype = None
    for function in (
        code.snn_reset, code.snn_begin, code.snn_stage, code.snn_run, code.snn_count
    ):  # fmt: skip
        function.restype = None
    return code


def loaded(weights: bytes | pathlib.Path) -> Any:
    """Return weights as bytes at an address that is a multiple of 64."""
    if isinstance(weights, pathlib.Path):
        if weights.stat().st_size >= MAPPED:
            return np.memmap(weights, np.uint8, mode="r")
        weights = weights.read_bytes()
    data = weights
    array = aligned(max(1, len(data)))
    array[: len(data)] = np.frombuffer(data, np.uint8)
    return array


class Program:
    """A network in C.

    Args:
        source: Its source, the header included.
        facts: What it takes and gives.
        weights: The content of its weights file, or the file; a large one is mapped.
        threads: Threads that share a run.
    """

    def __init__(
        self, source: str, facts: Facts, weights: bytes | pathlib.Path, threads: int = 1
    ) -> None:
        self.source, self.facts, self.threads = source, facts, threads
        self.weights = loaded(weights)
        self.code = library(source, False, bool(facts.lasting))
        self._recording: ctypes.CDLL | None = None
        self._state: Any = None
        self._batch = 0
        self._held: dict[str, Any] = {}
        self._lasting = aligned(self.code.snn_lasting_size()) if facts.lasting else None
        self._work = aligned(0)
        self._sizes: dict[tuple[int, int, int], int] = {}
        self._sums = np.zeros(max(1, len(facts.populations)))
        count = 1 + max((each.number for each in facts.records.values()), default=0)
        self._nothing = (ctypes.c_void_p * count)()

    @classmethod
    def load(cls, folder: pathlib.Path, facts: Facts, threads: int = 1) -> Program:
        """Return the program of an emitted folder."""
        header, source = ((folder / n).read_text(encoding="utf-8") for n in ("snn.h", "snn.c"))
        weights = folder / "weights.bin"
        given = weights if weights.exists() else b""
        return cls(joined(header, source), facts, given, threads)

    def run(
        self,
        inputs: Mapping[str, Any],
        record: Sequence[str] = (),
        resume: bool = False,
        lasting: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
        """Run the network.

        Args:
            inputs: [T, B, *shape] for every input.
            record: Values to return: `node` or `node:state`.
            resume: Go on from where the last run ended instead of from rest.
            lasting: Without that: what lasts of an earlier run, by `node:state`.

        Returns:
            Outputs by name, records by name (both [T, B, *shape]), spikes by population.
        """
        facts = self.facts
        given = [
            np.ascontiguousarray(inputs[port.name], _DTYPES[port.ctype]) for port in facts.inputs
        ]
        steps, batch = given[0].shape[:2]
        code = self.recording() if record else self.code
        if self._state is None or self._batch != batch:
            self._state, self._batch, resume = aligned(code.snn_state_size() * batch), batch, False
        if not resume:
            code.snn_reset(address(self._state), batch, address(self.weights))
            self._held = {}
            self._start(lasting or {})
        outputs = [np.empty((steps, batch, *p.shape), _DTYPES[p.ctype]) for p in facts.outputs]
        records = {n: np.empty(self._extent(n, steps, batch)) for n in record}
        self._sums[:] = 0.0
        room = TILE_ROWS * (4 if self.threads > 1 else 1)  # fewer meetings of the threads
        # Whole groups of steps that are summed together, however many threads there are.
        tile = max(ROWS, room // batch // ROWS * ROWS)
        for first in range(0, steps, tile):
            now = slice(first, min(first + tile, steps))
            parts = [array[now] for array in (*given, *outputs)]
            self._tile(code, parts, {n: r[now] for n, r in records.items()}, batch)
            code.snn_count(address(self._work), address(self._sums))
        if self._lasting is not None:
            self.code.snn_end(address(self._lasting), address(self.weights))
        kind = np.dtype(facts.dtype)
        named = zip(facts.outputs, outputs, strict=True)
        made = {port.name: self._late(f"/{port.name}", port.real(y, kind)) for port, y in named}
        kept = {n: y.astype(facts.records[n].dtype) for n, y in records.items()}
        sums = dict(zip(facts.populations, self._sums.tolist(), strict=False))
        return made, {n: self._late(n, y) for n, y in kept.items()}, sums

    def lasting(self) -> dict[str, Any]:
        """Return what lasts of the last run, by `node:state`."""
        found = {}
        for which, (name, state) in enumerate(self.facts.lasting.items()):
            found[name] = array = np.empty(state.shape, _DTYPES[state.ctype])
            self.code.snn_get(address(self._lasting), which, address(array))
        return found

    def _start(self, lasting: Mapping[str, Any]) -> None:
        """Begin from what the network has, and what is given instead."""
        if self._lasting is None:
            return
        self.code.snn_start(address(self._lasting), address(self.weights))
        for which, (name, state) in enumerate(self.facts.lasting.items()):
            if name in lasting:
                array = np.ascontiguousarray(lasting[name], _DTYPES[state.ctype])
                self.code.snn_put(address(self._lasting), which, address(array))

    def _extent(self, name: str, steps: int, batch: int) -> tuple[int, ...]:
        """Return the shape of a record."""
        known = self.facts.records[name]
        return (steps, 1 if known.lasts else batch, *known.shape)

    def recording(self) -> ctypes.CDLL:
        """Return the program that records."""
        if self._recording is None:
            self._recording = library(self.source, True, bool(self.facts.lasting))
        return self._recording

    def _tile(
        self, code: ctypes.CDLL, parts: Sequence[Any], records: Mapping[str, Any], batch: int
    ) -> None:
        steps, to = len(parts[0]), self._nothing
        if records:
            to = (ctypes.c_void_p * len(to))()
            for name, array in records.items():
                to[self.facts.records[name].number] = address(array)
        shares = [] if self._lasting is None else [address(self._lasting)]
        members = [*map(address, parts), *shares, ctypes.addressof(to)]
        io = (ctypes.c_void_p * len(members))(*members)
        shared = self.threads if self.threads > 1 and sum(a.size for a in parts) > SHARED else 1
        shape = steps, batch, shared
        if shape not in self._sizes:
            self._sizes[shape] = code.snn_work_size(*shape)
        if len(self._work) < self._sizes[shape]:
            self._work = aligned(self._sizes[shape])
        work = address(self._work)
        arguments = address(self._state), steps, batch
        rest = address(self.weights), ctypes.addressof(io), work
        if shared == 1:
            code.snn_run(*arguments, *rest)
            return
        code.snn_begin(*arguments, shared, *rest)
        for stage, computes in enumerate(self.facts.stages):
            if computes or records:
                others = [
                    pool().submit(code.snn_stage, work, stage, part, shared)
                    for part in range(1, shared)
                ]
                code.snn_stage(work, stage, 0, shared)
                for other in others:
                    other.result()

    def _late(self, name: str, y: Any) -> Any:
        """Shift a trace by the record offset; what does not fit is kept for the next run."""
        if not self.facts.offset:
            return y
        before = self._held.get(name)
        if before is None:
            before = np.zeros((self.facts.offset, *y.shape[1:]), y.dtype)
        line = np.concatenate([before, y])
        self._held[name] = line[len(y) :]
        return line[: len(y)]


def joined(header: str, source: str) -> str:
    """Return header and source as one text."""
    return source.replace('#include "snn.h"\n', header, 1)
