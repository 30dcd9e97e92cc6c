"""Step programs as C statements: one constant per operation, so nothing is reordered."""

from __future__ import annotations

import math
import re

from snnir.dynamics.program import Dynamics, Operand
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.dynamics.source import renamed


def c_names(program: Dynamics) -> Dynamics:
    """Return the program with names that are C identifiers and no keywords."""
    return renamed(program, lambda name: "v_" + re.sub(r"[^A-Za-z0-9_]", "_", name))


def c_type(program: Dynamics) -> str:
    """Return the C type of a program's arithmetic."""
    return "double" if program.dtype == "f64" else "float"


def c_statements(program: Dynamics) -> list[str]:
    """Return one declaration per operation; the names must be C identifiers."""
    real = c_type(program)
    suffix = "" if real == "double" else "f"
    lines = []
    for let in program.body:
        op = SCALAR_OPS[let.op]
        text = (op.c or op.python).replace("{s}", suffix)
        value = text.format(*(c_operand(arg, real) for arg in let.args))
        kind = "int" if op.gives == "bool" else real
        lines.append(f"const {kind} {let.target} = {value};")
    return lines


def c_operand(value: Operand, real: str) -> str:
    """Return a name, or a literal that C reads without rounding it again."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    # To float it is rounded once, as NumPy does.
    text = f"({real}){value.hex()}"
    return f"({text})"
