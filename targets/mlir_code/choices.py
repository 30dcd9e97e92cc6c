"""Choosing the largest of several elements in linalg."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.targets.mlir_code.code import (
    DTYPES,
    PARALLEL,
    REDUCTION,
    Array,
    Code,
    Scalar,
    axes,
    is_real,
)


def least(code: Code, element: str) -> Scalar:
    """Return what no element of a type is below."""
    return code.number(-np.inf if is_real(element) else int(np.iinfo(DTYPES[element]).min), element)


def comparison(element: str) -> tuple[str, str]:
    """Return how elements are compared: above, and equal."""
    return (
        ("arith.cmpf ogt,", "arith.cmpf oeq,")
        if is_real(element)
        else ("arith.cmpi sgt,", "arith.cmpi eq,")
    )


def place_of(code: Code, axis: int) -> str:
    """Return the place of a loop along an axis, as `i64`."""
    own = code.op(f"linalg.index {axis} : index")
    return code.op(f"arith.index_cast {own} : index to i64")


def wins(code: Code, value: Scalar, own: str, top: Scalar, first: Scalar) -> str:
    """Return whether an element is chosen before what was, in whatever order they come.

    Args:
        code: Where the code goes.
        value: The element.
        own: Its place.
        top: What was chosen so far.
        first: Its place.
    """
    element = value.element
    above, same = (
        code.op(f"{how} {value.name}, {top.name} : {element}") for how in comparison(element)
    )
    before = code.op(f"arith.cmpi slt, {own}, {first.name} : i64")
    tie = code.op(f"arith.andi {same}, {before} : i1")
    chosen = code.op(f"arith.ori {above}, {tie} : i1")
    if is_real(element):  # a NaN wins, as in NumPy
        lost = code.op(f"arith.cmpf uno, {value.name}, {value.name} : {element}")
        open_ = code.op(f"arith.cmpf ord, {top.name}, {top.name} : {element}")
        first_lost = code.op(f"arith.andi {lost}, {open_} : i1")
        chosen = code.op(f"arith.ori {chosen}, {first_lost} : i1")
    return chosen


def winner(code: Code, x: Array, *, element: str) -> Array:
    """1 for the first largest element of each row if it is above 0, else 0."""
    rows, size = x.dims
    best = code.filled((rows,), least(code, x.element))
    place = code.filled((rows,), code.number(size, "i64"))

    def body(given: list[Scalar]) -> list[Scalar]:
        value, top, first = given
        own = place_of(code, 1)
        chosen = wins(code, value, own, top, first)
        return [
            code.scalar(f"arith.select {chosen}, {value.name}, {top.name}", x.element),
            code.scalar(f"arith.select {chosen}, {own}, {first.name}", "i64"),
        ]

    row = ("d0",)
    best, place = code.loop(
        [PARALLEL, REDUCTION], [(x, ("d0", "d1"))], [(best, row), (place, row)], body
    )
    zero = code.number(0, x.element)

    def pick(given: list[Scalar]) -> Scalar:
        own = place_of(code, 1)
        here = code.op(f"arith.cmpi eq, {own}, {given[1].name} : i64")
        above = comparison(x.element)[0]  # no NaN is
        fires = code.op(f"{above} {given[0].name}, {zero.name} : {x.element}")
        return code.cast(Scalar(code.op(f"arith.andi {here}, {fires} : i1"), "i1"), element)

    return code.each([(best, row), (place, row)], x.dims, element, pick)


def picked(
    code: Code, scores: Array, x: Array, kernel: Sequence[int], stride: Sequence[int],
    extents: Sequence[int],
) -> Array:  # fmt: skip
    """Return the element of x where each window of the scores has its first largest.

    Both are [rows, channels, *size], with their padding; `extents` says how many windows there are.
    """
    dims = (*x.dims[:2], *extents)
    at = ("d0", "d1", *(f"d{2 + k} * {stride[k]} + d{4 + k}" for k in range(2)))
    window = code.empty(kernel, scores.element)
    width = code.constant(str(kernel[1]), "i64")
    none = code.number(kernel[0] * kernel[1], "i64")
    starts = [least(code, scores.element), none, code.number(0, x.element)]

    def body(given: list[Scalar]) -> list[Scalar]:
        score, value, _, top, first, held = given
        row, column = place_of(code, 4), place_of(code, 5)
        own = code.op(f"arith.muli {row}, {width} : i64")
        own = code.op(f"arith.addi {own}, {column} : i64")
        chosen = wins(code, score, own, top, first)
        pairs = ((score.name, top), (own, first), (value.name, held))
        return [
            code.scalar(f"arith.select {chosen}, {new}, {old.name}", old.element)
            for new, old in pairs
        ]

    made = code.loop(
        [PARALLEL] * 4 + [REDUCTION] * 2,
        [(scores, at), (x, at), (window, ("d4", "d5"))],
        [(code.filled(dims, start), axes(4)) for start in starts],
        body,
    )
    return made[2]
