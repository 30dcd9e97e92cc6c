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


#: C types of the arithmetic of a program, by its dtype.
_TYPES = {"f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t"}
#: Operations whose form on integers is another; a shift to the right rounds down on every compiler
#: that matters, and `snn_floordiv` is defined by who includes the statements.
_WHOLE = {
    "min": "{0} < {1} ? {0} : {1}", "max": "{0} > {1} ? {0} : {1}",
    "abs": "{0} < 0 ? -{0} : {0}", "shr": "{0} >> {1}", "floordiv": "snn_floordiv({0}, {1})",
}  # fmt: skip


def c_type(program: Dynamics) -> str:
    """Return the C type of a program's arithmetic."""
    return _TYPES[program.dtype]


def c_statements(program: Dynamics, kind: str = "") -> list[str]:
    """Return one declaration per operation; the names must be C identifiers.

    Args:
        program: The program.
        kind: C type of the arithmetic, if another than the program's own.
    """
    real = kind or c_type(program)
    suffix = "f" if real == "float" else ""
    lines = []
    for let in program.body:
        op = SCALAR_OPS[let.op]
        whole = _WHOLE.get(let.op) if program.is_whole else None
        text = (whole or op.c or op.python).replace("{s}", suffix)
        value = text.format(*(c_operand(arg, real) for arg in let.args))
        kept = "int" if op.gives == "bool" else real
        lines.append(f"const {kept} {let.target} = {value};")
    return lines


def c_operand(value: Operand, real: str) -> str:
    """Return a name, or a literal that C reads without rounding it again."""
    if isinstance(value, str):
        return value
    if real.startswith("int"):
        return f"{int(value)}" if value >= 0 else f"({int(value)})"
    return c_number(value, real)


def c_number(value: float, real: str) -> str:
    """Return a number as a C literal of type float or double."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    # To float it is rounded once, as NumPy does.
    text = f"({real}){value.hex()}"
    return f"({text})"
