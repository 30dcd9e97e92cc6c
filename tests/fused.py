"""Products and sums that are rounded together: exact answers, and numbers that tell who has them."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.dynamics import Dynamics, Let, State
from snnir.ir import Graph, Input, Node, Step, Value
from snnir.streams import Kind, Signal
from tests.helpers import params

#: Bits of a number, exponent of the smallest number, and that of the first that is too large.
FORMS = {"float32": (24, -149, 128), "float64": (53, -1074, 1024)}


def exact(a: float, b: float, c: float, precision: str) -> float:
    """Return a * b + c rounded once, from exact fractions."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return float(np.float64(a) * np.float64(b) + np.float64(c))
    if not math.isfinite(c):
        return c
    value = Fraction(a) * Fraction(b) + Fraction(c)
    if value == 0:
        # The sign of a sum of zeros is that of both; what cancels is +0.
        return a * b + c if a == 0 or b == 0 else 0.0
    bits, smallest, end = FORMS[precision]
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > abs(value)
    unit = Fraction(2) ** max(exponent - bits + 1, smallest)
    found = round(abs(value) / unit) * unit
    size = math.inf if found >= Fraction(2) ** end else float(found)
    return size if value > 0 else -size


def all_exact(a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c of arrays of one dtype, each rounded once."""
    kind = a.dtype.name
    rows = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    with np.errstate(all="ignore"):
        return np.array([exact(x, y, z, kind) for x, y, z in rows]).astype(kind)


def summands(precision: str, special: bool = True) -> tuple[Any, Any, Any]:
    """Return a, b and c, [n] each: ties, cancellation, results that are tiny or too large.

    Args:
        precision: Their dtype.
        special: With what is not finite and what is below the smallest normal number.
    """
    bits, smallest, end = FORMS[precision]
    rng, kind = np.random.default_rng(7), np.dtype(precision).type
    found: list[tuple[Any, Any, Any]] = []

    def numbers(low: int, high: int) -> Any:
        size = np.ldexp(1 + rng.random(40), rng.integers(low, high, 40))
        return (size * rng.choice([-1, 1], 40)).astype(kind)

    def short() -> Any:
        return np.ldexp(rng.integers(1, 64, 40) * 1.0, rng.integers(-20, 20, 40)).astype(kind)

    with np.errstate(all="ignore"):
        for reach in (2, bits, end // 3):
            a, b = numbers(-reach, reach), numbers(-reach, reach)
            found += [(a, b, numbers(-reach, reach)), (a, b, -(a * b))]
            found.append((a, b, (a * b * numbers(bits - 2, bits + 2)).astype(kind)))
        found += [(short(), short(), short()), (numbers(-1, 1), numbers(-1, 1), np.zeros(40, kind))]
        one, last = kind(1), np.finfo(kind).eps
        sides = np.array([1, one + last, 2 - last, one - last / 2, 1.5], kind)  # and ties
        # The last lie just inside and outside of 64 bits, which some compute with.
        scales = (-3 * bits, -bits, 0, bits, -61, -62, -63)
        thirds = np.concatenate([s * np.ldexp(sides, k) for s in (1, -1) for k in scales])
        found.append(tuple(x.ravel() for x in np.meshgrid(sides, sides, thirds.astype(kind))))
        high = end // 2
        found.append((numbers(high - 2, high), numbers(high - 2, high + 1), numbers(end - 2, end)))
        if special:
            low = (2 - end - bits) // 2
            for c in (numbers(smallest, 2 - end), np.zeros(40, kind)):
                found.append((numbers(low, low + bits), numbers(low, low + bits // 2), c))
            info = np.finfo(kind)
            odd = [0.0, -0.0, 1, -1.5, np.inf, -np.inf, np.nan, info.smallest_subnormal, info.max]
            found.append(tuple(x.ravel() for x in np.meshgrid(*(np.array(odd, kind),) * 3)))
    a, b, c = (np.concatenate(parts) for parts in zip(*found, strict=True))
    keep = np.ones(a.shape, bool)
    if not special:  # some runtimes take what is smaller for 0
        with np.errstate(all="ignore"):
            results = a * b, all_exact(a, b, c)
        for value in (a, b, c, *results):
            keep &= np.isfinite(value) & ((value == 0) | (np.abs(value) > 2 * np.finfo(kind).tiny))
    return a[keep], b[keep], c[keep]


def fused_step() -> Step:
    """Return a step with two results: x * y + z rounded once, and rounded twice."""
    lets = (
        Let("once", "fma", ("x", "y", "z")), Let("p", "mul", ("x", "y")),
        Let("twice", "add", ("p", "z")),
    )  # fmt: skip
    results = (("once", Kind.ANALOG), ("twice", Kind.ANALOG))
    program = Dynamics("both", ("x", "y", "z"), (), (), lets, (), results)
    program.types()
    return Step(program, params())


def fused_cell(z: Any) -> Step:
    """Return a step that gives, and keeps, x * y + z rounded once; z is a parameter."""
    lets, states = (Let("once", "fma", ("x", "y", "z")),), (State("v", 0.0),)
    program = Dynamics(
        "cell", ("x", "y"), (("z", "1"),), states, lets, (("v", "once"),),
        (("once", Kind.ANALOG),),
    )  # fmt: skip
    program.types()
    return Step(program, params(z=z))


def fused_graph(size: int) -> Graph:
    """Return the step between inputs x, y and z and outputs `once` and `twice`."""
    nodes = {n: Node(n, Input(Signal(Kind.ANALOG, (size,)))) for n in ("x", "y", "z")}
    nodes["n"] = Node("n", fused_step(), tuple(Value(n) for n in nodes))
    return Graph(nodes, {"once": Value("n"), "twice": Value("n", 1)}, 1e-3).verify()


def bits_of(x: Any) -> Any:
    """Return the bits of numbers, the same for every NaN."""
    x = np.where(np.isnan(x), np.array(np.nan, x.dtype), x)
    return x.view(np.dtype(f"i{x.dtype.itemsize}"))


def check_fused(outputs: Any, a: Any, b: Any, c: Any) -> None:
    """Both results have every bit, and there are many for which they differ."""
    want = all_exact(a, b, c)
    with np.errstate(all="ignore"):
        twice = a * b + c
    for name, value in (("once", want), ("twice", twice)):
        found = np.asarray(outputs[name]).reshape(-1)
        assert found.dtype == value.dtype, name
        wrong = np.flatnonzero(bits_of(found) != bits_of(value))
        shown = [
            (x.item().hex() for x in (a[k], b[k], c[k], found[k], value[k])) for k in wrong[:3]
        ]
        assert not wrong.size, (name, wrong.size, [list(each) for each in shown])
    assert np.count_nonzero(bits_of(want) != bits_of(twice)) > len(a) // 10


def given(a: Any, b: Any, c: Any) -> dict[str, Any]:
    """Return the inputs of `fused_graph`, one step of one sample."""
    return {name: x.reshape(1, 1, -1) for name, x in zip("xyz", (a, b, c), strict=True)}


def finite_summands(kind: str, special: bool = True) -> tuple[Any, Any, Any]:
    """Return those of `summands` that are finite: nothing else is taken as an input."""
    a, b, c = summands(kind, special)
    keep = np.isfinite(np.stack((a, b, c))).all(0)
    return a[keep], b[keep], c[keep]


def run_fused(target: str, kind: str = "float32", special: bool = True, **options: Any) -> None:
    """Hold a target's run of `fused_graph` to the exact answers."""
    numbers = finite_summands(kind, special)
    built = fused_graph(len(numbers[0]))
    compiled: Any = snnir.compile(built, target, level=0, **options)
    with np.errstate(all="ignore"):
        check_fused(compiled.run(given(*numbers)).outputs, *numbers)


def run_fused_folder(target: str, folder: Path) -> None:
    """Run a target's emitted folder in a process of its own."""
    numbers = finite_summands("float32", special=target != "xla")
    snnir.compile(fused_graph(len(numbers[0])), target, level=0).save(folder)
    check_fused(snnir.run(folder, given(*numbers)).outputs, *numbers)
