"""Where float32 numbers of a graph are not those that the framework computes with: as notes."""

from __future__ import annotations

import numpy as np

from snnir.frontends.step_functions.traced import Equation, Operand, Traced

#: Operations that compute whole numbers of other numbers; comparisons and casts give 0 and 1.
_COUNTS = frozenset(("add", "sub", "mul", "neg", "trunc", "fma", "linear", "reduce_sum"))
_COMPARES = frozenset(("gt", "ge", "lt", "le", "eq"))
#: Multiples of the last bit of a number of this size are normal numbers.
_LARGE = 2.0**-100


def whole_numbers(traced: Traced) -> tuple[str, ...]:
    """Return a note if whole numbers are computed, of which float32 has those up to 2^24."""
    changed = [leaf for leaf in traced.states if leaf.dtype == "int" and leaf.new != leaf.name]
    if not changed and not any(e.dtype == "int" and e.op in _COUNTS for e in traced.equations):
        return ()
    return (
        "whole numbers are float32 in the graph: equal to the framework's while below 2^24, "
        "different where those overflow or come from NaN",
    )


def flushed(traced: Traced) -> tuple[str, ...]:
    """Return a note if a comparison with 0 sees numbers that decay towards it.

    XLA takes numbers below 2^-126 for 0 on a CPU, a graph does not.
    """
    known = {e.result: e for e in traced.equations}
    fading = {leaf.name for leaf in traced.states if leaf.dtype == "float"}
    for equation in traced.equations:
        against = equation.op in _COMPARES and any(_is_zero(o, traced) for o in equation.operands)
        if against and any(n in fading or _fades(known.get(n), traced) for n in equation.names):
            place = f"{equation.where}: " if equation.where else ""
            return (
                f"{place}XLA takes numbers below 1.2e-38 for 0, the graph compares them with 0 as "
                "they are: a value that decays for hundreds of steps may differ there",
            )
    return ()


def _is_zero(operand: Operand, traced: Traced) -> bool:
    return _smallest(operand, traced) == 0.0


def _smallest(operand: Operand, traced: Traced) -> float:
    """Return the smallest size of a constant's elements, NaN for what is not constant."""
    if not isinstance(operand, str):
        return abs(operand)
    array = traced.constants.get(operand)
    return np.nan if array is None else float(np.abs(np.asarray(array, np.float64)).min())


def _fades(equation: Equation | None, traced: Traced) -> bool:
    """Whether a result may be arbitrarily near 0 without being 0."""
    if equation is None or equation.dtype != "float" or equation.op not in ("mul", "div", "add"):
        return False
    return not any(_smallest(o, traced) >= _LARGE for o in equation.operands) or (
        equation.op != "add"
    )
