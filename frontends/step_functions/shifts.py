"""State leaves that are shift registers, as one leaf for each of their places.

A delay line written by hand keeps the last values of a stream in one array: in every step it drops
the oldest, moves the others up and puts the new one in. Its new value is then joined of new parts
and of slices of itself. Cut at every place where such a part begins or ends, wherever it was or
goes, each piece is a leaf whose new value is one part or another piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnir.frontends.step_functions.paths import unique
from snnir.frontends.step_functions.simplify import readers, rename
from snnir.frontends.step_functions.traced import Equation, Leaf, Operand, Traced

#: A register is cut into at most this many pieces.
_MOST = 256
Bounds = tuple[int, int]


@dataclass(frozen=True)
class Register:
    """A leaf that is a shift register.

    Attributes:
        leaf: The leaf.
        axis: The axis along which it moves.
        parts: (bounds, operand) of what its new value is joined of.
        slices: The equations that read it, by bounds.
        pieces: Bounds of the pieces.
    """

    leaf: Leaf
    axis: int
    parts: Sequence[tuple[Bounds, str]]
    slices: Mapping[str, Bounds]
    pieces: Sequence[Bounds]


def registers(traced: Traced) -> list[Register]:
    """Return the shift registers among the states."""
    produced = {equation.result: equation for equation in traced.equations}
    uses = readers(traced)
    given = [*(leaf.new for leaf in traced.states), *(value for _, value in traced.outputs)]
    found = []
    for leaf in traced.states:
        joined = produced.get(leaf.new) if isinstance(leaf.new, str) else None
        if joined is None or joined.op != "concat" or leaf.dtype != "float" or leaf.name in given:
            continue
        register = _register(traced, leaf, joined, uses.get(leaf.name, []))
        if register is not None:
            found.append(register)
    return found


def _register(
    traced: Traced, leaf: Leaf, joined: Equation, reads: Sequence[Equation]
) -> Register | None:
    axis = joined.attributes["axis"]
    if any(e.op != "slice" or e.attributes["axis"] != axis for e in reads):
        return None
    slices = {e.result: (e.attributes["start"], e.attributes["stop"]) for e in reads}
    types, start, parts = traced.types(), 0, []
    for name in joined.names:
        extent = types[name][0][axis]
        parts.append(((start, start + extent), name))
        start += extent
    if len(joined.names) < len(joined.operands) or not any(name in slices for _, name in parts):
        return None
    pieces = _pieces(leaf.shape[axis], parts, slices)
    return Register(leaf, axis, parts, slices, pieces) if len(pieces) <= _MOST else None


def _pieces(
    extent: int, parts: Sequence[tuple[Bounds, str]], slices: Mapping[str, Bounds]
) -> list[Bounds]:
    """Return the pieces between all places where a part begins or ends, was or goes."""
    places = {0, extent, *(p for bounds, _ in parts for p in bounds)}
    places |= {p for bounds in slices.values() for p in bounds}
    moves = [(to, slices[name]) for to, name in parts if name in slices]
    todo = list(places)
    while todo:
        place = todo.pop()
        for (to, _), (start, stop) in moves:
            shift = to - start
            found = set()
            if start < place < stop:
                found.add(place + shift)
            if start < place - shift < stop:
                found.add(place - shift)
            todo += found - places
            places |= found
    return list(itertools.pairwise(sorted(places)))


def cut_up(traced: Traced, register: Register) -> tuple[Traced, dict[str, Bounds]]:
    """Return an equal step without a register, and the bounds of the leaves in its place."""
    leaf, axis = register.leaf, register.axis
    stems = [f"{leaf.name}_{at}" for at in range(len(register.pieces))]
    taken = list(traced.types())
    names = unique(stems, taken)
    place = dict(zip(register.pieces, names, strict=True))
    more: list[Equation] = []
    leaves = []
    for name, (start, stop) in zip(names, register.pieces, strict=True):
        new = _new(traced, register, place, (start, stop), more, [*taken, *names])
        initial = np.take(leaf.initial, range(start, stop), axis=axis)
        path = f"{leaf.path or leaf.name}[{start}:{stop}]"
        leaves.append(Leaf(name, initial, new, path, leaf.scope))
    replaced: dict[str, Operand] = {}
    kept: list[Equation] = []
    for equation in traced.equations:
        if equation.result not in register.slices:
            kept.append(equation)
            continue
        start, stop = register.slices[equation.result]
        inside = [name for (a, b), name in place.items() if start <= a and b <= stop]
        if len(inside) == 1:
            replaced[equation.result] = inside[0]
        else:
            attributes: dict[str, Any] = {"axis": axis}
            kept.append(
                replace(equation, op="concat", operands=tuple(inside), attributes=attributes)
            )
    states = [part for old in traced.states for part in (leaves if old is leaf else [old])]
    step = replace(traced, states=tuple(states), equations=(*kept, *more))
    return rename(step, replaced), dict(zip(names, register.pieces, strict=True))


def _new(
    traced: Traced, register: Register, place: Mapping[Bounds, str], piece: Bounds,
    more: list[Equation], taken: list[str],
) -> str:  # fmt: skip
    """Return the new value of a piece: another piece, a part, or a slice of a part."""
    start, stop = piece
    (first, last), part = next(p for p in register.parts if p[0][0] <= start and stop <= p[0][1])
    if part in register.slices:
        shift = register.slices[part][0] - first
        return place[start + shift, stop + shift]
    if (first, last) == piece:
        return part
    shape = list(register.leaf.shape)
    shape[register.axis] = stop - start
    (name,) = unique([f"{part}_cut"], [*taken, *(e.result for e in more)])
    attributes = {"axis": register.axis, "start": start - first, "stop": stop - first}
    more.append(Equation("slice", (part,), name, tuple(shape), "float", attributes))
    return name
