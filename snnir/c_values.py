"""Constants of a graph in C: parameters, literals, and the functions that step programs call."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnir.dynamics.c_source import c_number
from snnir.ir.synapses import BatchNorm

#: Functions that `c_statements` calls, by name; a program defines those it needs.
HELPERS = {
    **{
        f"snn_{name}{suffix}": f"static inline {real} snn_{name}{suffix}({real} a, {real} b) "
        f"{{ return a {sign} b || a != a ? a : b; }}"
        for real, suffix in (("float", "f"), ("double", ""))
        for name, sign in (("min", "<"), ("max", ">"))
    },
    "snn_floordiv": """static inline int64_t snn_floordiv(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}""",
}


def narrowed(array: Any) -> Any:
    """Return whole numbers in as few bytes as hold them."""
    if array.dtype.kind != "i":
        return array
    ends = array.min(initial=-1), -int(array.max(initial=0)) - 1  # negative, so types are signed
    return array.astype(np.result_type(*(np.min_scalar_type(end) for end in ends), np.int8))


def literal(value: Any, kind: str) -> str:
    """Return a number of an array as a C literal."""
    return f"{int(value)}" if kind.startswith("int") else c_number(float(value), kind)


def norm(op: BatchNorm, real: str) -> tuple[Any, Any]:
    """Return gain and shift per channel, computed in float64 and rounded once."""
    wide = {key: value.numpy().astype(np.float64) for key, value in op.tensors().items()}
    gain = wide.get("gamma", 1.0) / np.sqrt(wide["var"] + op.eps)
    shift = wide.get("beta", 0.0) - wide["mean"] * gain
    kind = np.float64 if real == "double" else np.float32
    return gain.astype(kind), shift.astype(kind)
