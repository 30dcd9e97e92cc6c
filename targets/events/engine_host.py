"""The C engine from Python, by ctypes; copied into emitted folders."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from snnir.c_build import shared_library
from snnir.targets.events.engine_c import ENGINE
from snnir.targets.events.plan import REASONS, Job, Plan, RunError, Trace

_LONG, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class CNetwork(ctypes.Structure):
    """`network` of the C engine."""

    _fields_ = (
        *((name, _LONG) for name in ("neurons", "inputs", "laws")),
        *((name, _POINTER) for name in (
            "law", "law_of", "bias", "kick", "v_start", "i_start", "group_first", "group_start",
            "group_delay", "target", "weight",
        )),
        ("pulse", _REAL),
        ("dt", _REAL),
    )  # fmt: skip


class CJob(ctypes.Structure):
    """`job` of the C engine."""

    _fields_ = (
        ("count", _LONG),
        *((name, _POINTER) for name in ("time", "value", "unit", "kind", "change")),
        ("duration", _REAL),
        ("probes", _LONG),
        ("probed", _LONG),
        *((name, _POINTER) for name in ("probe_time", "probe_neuron", "probe_v", "probe_i")),
        ("most", _LONG),
    )


class CTrace(ctypes.Structure):
    """`trace` of the C engine."""

    _fields_ = (
        ("count", _LONG),
        ("room", _LONG),
        *((name, _POINTER) for name in ("time", "unit", "current", "drive", "v")),
        *((name, _LONG) for name in ("delivered", "arrived", "searched", "bad_unit")),
        ("bad_time", _REAL),
    )


@lru_cache(maxsize=1)
def engine(source: str = ENGINE) -> ctypes.CDLL:
    """Return the compiled engine.

    Raises:
        NoCompiler: If there is no compiler, or it does not compile the engine.
    """
    code = ctypes.CDLL(str(shared_library(source, ("-std=c99",))))
    code.snn_events.argtypes = [_POINTER, _POINTER, _POINTER]
    code.snn_events.restype = ctypes.c_int
    code.snn_free.argtypes = [_POINTER]
    code.snn_free.restype = None
    return code


def _lent(array: Any, kind: Any, kept: list[Any]) -> int:
    """Return where an array lies, in C's order and type; `kept` keeps it there."""
    ready = np.ascontiguousarray(array, kind)
    kept.append(ready)
    where: int = ready.ctypes.data
    return where


def run_c(plan: Plan, job: Job, source: str = ENGINE) -> Trace:
    """Run one sample; other threads go on meanwhile.

    Raises:
        RunError: If it was given up.
        NoCompiler: If there is no compiler.
    """
    code = engine(source)
    kept: list[Any] = []
    real, whole, number = np.float64, np.int64, np.int32
    network = CNetwork(
        len(plan.law_of), plan.inputs, len(plan.laws), _lent(plan.laws, real, kept),
        _lent(plan.law_of, number, kept),
        *(_lent(a, real, kept) for a in (plan.bias, plan.kick, plan.v_start, plan.i_start)),
        _lent(plan.group_first, whole, kept), _lent(plan.group_start, whole, kept),
        _lent(plan.group_delay, real, kept), _lent(plan.target, number, kept),
        _lent(plan.weight, real, kept), plan.pulse, plan.dt,
    )  # fmt: skip
    states = np.zeros((2, len(job.probe_time), len(job.probe_neuron)))
    probe_v, probe_i = states[0], states[1]
    given = CJob(
        len(job.time), _lent(job.time, real, kept), _lent(job.value, real, kept),
        _lent(job.unit, number, kept), _lent(job.kind, np.int8, kept),
        _lent(job.change, np.int8, kept), job.duration, *probe_v.shape,
        _lent(job.probe_time, real, kept), _lent(job.probe_neuron, number, kept),
        probe_v.ctypes.data, probe_i.ctypes.data, job.most,
    )  # fmt: skip
    out = CTrace()
    try:
        failed = code.snn_events(*(ctypes.addressof(part) for part in (network, given, out)))
        if failed:
            raise RunError(REASONS[failed], out.bad_time, out.bad_unit)
        n = out.count
        time, current, drive, v = (
            _taken(where, n, real) for where in (out.time, out.current, out.drive, out.v)
        )
        unit = _taken(out.unit, n, whole)
    finally:
        code.snn_free(ctypes.addressof(out))
    counts = out.delivered, out.arrived, out.searched
    return Trace(time, unit, current, drive, v, probe_v, probe_i, *counts)


def _taken(where: int | None, count: int, kind: Any) -> Any:
    """Return a copy of an array that C has."""
    if not where or not count:
        return np.zeros(0, kind)
    made = np.empty(count, kind)
    ctypes.memmove(made.ctypes.data, where, made.nbytes)
    return made
