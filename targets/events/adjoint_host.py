"""The backward run: in C where there is a compiler, else in Python."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.c_build import NoCompiler, shared_library
from snnir.targets.events import adjoint
from snnir.targets.events.adjoint_c import SOURCE
from snnir.targets.events.adjoint_plan import Deliveries, Gradients, Plan, Sample

Array = npt.NDArray[Any]

#: Samples are summed in so many parts whatever the number of threads, so that sums are equal.
_PARTS = 8
_LONG, _POINTER = ctypes.c_int64, ctypes.c_void_p


class CNetwork(ctypes.Structure):
    """`network` of the C code."""

    _fields_ = (
        *((name, _LONG) for name in ("inputs", "neurons", "laws", "synapses")),
        *((name, _POINTER) for name in (
            "law", "law_of", "kick", "groups_of", "first", "delay", "target", "weight", "is_held",
        )),
        ("clip", ctypes.c_double),
        ("dt", ctypes.c_double),
    )  # fmt: skip


class CBatch(ctypes.Structure):
    """`batch` of the C code."""

    _fields_ = tuple(
        (name, _POINTER)
        for name in (
            "spikes", "arrivals", "events", "time", "unit", "current", "drive", "v", "by_time",
            "at", "group", "source", "amount", "kind",
        )
    )  # fmt: skip


def gradients(
    plan: Plan, samples: Sequence[Sample], clip: float = np.inf, threads: int | None = None
) -> Gradients:
    """Return the gradients of a loss that is a function of spike times.

    Args:
        plan: The network.
        samples: Runs, with the derivative of the loss by every spike's time.
        clip: Largest |dt/dv| of a crossing, in seconds per unit of v.
        threads: How many; all processors by default. The result does not depend on it.
    """
    try:
        _code()
    except NoCompiler:
        return adjoint.gradients(plan, samples, clip)
    return gradients_c(plan, samples, clip, threads or os.cpu_count() or 1)


@lru_cache(maxsize=1)
def _code() -> ctypes.CDLL:
    code = ctypes.CDLL(str(shared_library(SOURCE, ("-std=c99",))))
    code.snn_backward.argtypes = [_POINTER, _POINTER, _LONG, _LONG, _POINTER, _POINTER, _POINTER]
    code.snn_backward.restype = ctypes.c_int
    return code


def gradients_c(plan: Plan, samples: Sequence[Sample], clip: float, threads: int) -> Gradients:
    """Return the gradients, computed in C; see `gradients`.

    Raises:
        NoCompiler: If there is no compiler.
        MemoryError: If there is not enough memory.
    """
    code = _code()
    kept = _Kept()
    rows, law_of = plan.laws
    synapses = len(plan.weight)
    network = CNetwork(
        plan.network.input_units, len(law_of), len(rows), synapses,
        kept.real(rows), kept.whole(law_of), kept.real(plan.network.neurons.kick),
        kept.whole(plan.groups_of), kept.whole(plan.first), kept.real(plan.delay),
        kept.whole(plan.target), kept.real(plan.weight), kept.array(plan.is_held, np.uint8), clip,
        plan.network.dt,
    )  # fmt: skip
    events = np.cumsum([0, *(len(sample.stimulus.time) for sample in samples)])
    batch = _batch(plan, samples, events, kept)
    parts = max(1, min(len(samples), _PARTS))
    ends = np.linspace(0, len(samples), parts + 1).astype(np.int64).tolist()
    sums = np.zeros((2, parts, synapses))
    inputs = np.zeros(int(events[-1]))

    def undo(part: int) -> None:
        where = [sums[kind, part].ctypes.data for kind in (0, 1)]
        given = (ctypes.addressof(network), ctypes.addressof(batch), *ends[part : part + 2])
        if code.snn_backward(*given, *where, inputs.ctypes.data):
            raise MemoryError("there is not enough memory for the backward run")

    if threads > 1 and parts > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(undo, range(parts)))
    else:
        for part in range(parts):
            undo(part)
    weight, delay = (plan.in_network_order(total) for total in sums.sum(1))
    return Gradients(weight, delay, np.split(inputs, events[1:-1])[: len(samples)])


class _Kept:
    """Arrays that C reads."""

    def __init__(self) -> None:
        self._all: list[Array] = []

    def array(self, values: Array, kind: Any) -> int:
        """Return where an array lies, in C's order and type."""
        ready = np.ascontiguousarray(values, kind)
        self._all.append(ready)
        where: int = ready.ctypes.data
        return where

    def real(self, values: Array) -> int:
        """The same for float64."""
        return self.array(values, np.float64)

    def whole(self, values: Array) -> int:
        """The same for int64."""
        return self.array(values, np.int64)


def _batch(plan: Plan, samples: Sequence[Sample], events: Array, kept: _Kept) -> CBatch:
    """Put samples one after the other."""
    arrivals = Deliveries.of(plan, samples)
    spikes = np.cumsum([0, *(len(sample.record.time) for sample in samples)])

    def joined(name: str) -> Array:
        return np.concatenate([np.zeros(0), *(getattr(s.record, name) for s in samples)])

    by_time = np.concatenate([np.zeros(0), *(sample.time_gradient for sample in samples)])
    return CBatch(
        kept.whole(spikes), kept.whole(arrivals.first), kept.whole(events),
        kept.real(joined("time")), kept.whole(joined("unit")),
        *(kept.real(joined(name)) for name in ("current", "drive", "v")), kept.real(by_time),
        kept.real(arrivals.time), kept.whole(arrivals.group), kept.whole(arrivals.source),
        kept.real(arrivals.amount), kept.whole(arrivals.kind),
    )  # fmt: skip
