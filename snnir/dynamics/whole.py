"""Programs of integers: running them in float64, and making them from programs in floating point.

Every value of an integer program is far below 2**53, so float64 computes the same whole numbers:
sums and products are exact, a shift is a product with a power of two and a floor, and a quotient of
integers below 2**31 lies far enough from a whole number for its floor to be right.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from snnir.dynamics.program import Dynamics, Let


@dataclass(frozen=True)
class Lowered(Dynamics):
    """A program of integers in float64; its signals are in units that say nothing of their size."""


@lru_cache(maxsize=1024)
def as_float(program: Dynamics) -> Dynamics:
    """Return a program in float64 that computes the same whole numbers; others stay as they are."""
    if not program.is_whole:
        return program
    body: list[Let] = []
    taken = {let.target for let in program.body}
    for let in program.body:
        if let.op not in ("shr", "floordiv"):
            body.append(let)
            continue
        inner = _fresh(f"{let.target}_exact", taken)
        first, second = let.args
        if let.op == "shr":
            assert not isinstance(second, str)
            body.append(Let(inner, "mul", (first, 2.0**-second)))
        else:
            body.append(Let(inner, "div", (first, second)))
        body.append(Let(let.target, "floor", (inner,)))
    changed: dict[str, Any] = {"body": tuple(body), "dtype": "f64"}
    return Lowered(**{**{f.name: getattr(program, f.name) for f in fields(program)}, **changed})


def with_products(program: Dynamics) -> Dynamics:
    """Return a program with a product and a sum in place of each `fma`: rounded twice."""
    if not program.is_fused:
        return program
    body: list[Let] = []
    taken = set(program.types())
    for let in program.body:
        if let.op != "fma":
            body.append(let)
            continue
        inner = _fresh(f"{let.target}_product", taken)
        body.append(Let(inner, "mul", let.args[:2]))
        body.append(Let(let.target, "add", (inner, let.args[2])))
    return replace(program, body=tuple(body))


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
