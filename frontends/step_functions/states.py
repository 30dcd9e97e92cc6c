"""State leaves that hold several variables side by side, as one leaf for each.

Some libraries keep membrane and current of a population in one array and cut it apart in every
step. Where a leaf is only read in slices that do not overlap, and its new value is joined of parts
of the same extents, it becomes a leaf per slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from snnir.frontends.step_functions.paths import unique
from snnir.frontends.step_functions.shifts import cut_up, registers
from snnir.frontends.step_functions.simplify import readers, rename, simplified
from snnir.frontends.step_functions.traced import Array, Equation, Leaf, Operand, Traced


class Part(NamedTuple):
    """Where a leaf of the traced step is in the user's state.

    Attributes:
        leaf: Name of the user's leaf.
        cut: Brings a user's leaf, one sample's, to this leaf's value.
    """

    leaf: str
    cut: Callable[[Array], Array]


def separated(traced: Traced) -> tuple[Traced, dict[str, Part]]:
    """Return an equal step with leaves separated, and where each leaf is in the user's state."""
    traced = simplified(traced)
    parts = {leaf.name: Part(leaf.name, np.asarray) for leaf in traced.states}
    while True:
        changed = (
            _split_one(traced, parts) or _cut_one(traced, parts) or _reshape_one(traced, parts)
        )
        if changed is None:
            return traced, parts
        traced = simplified(changed)


def _producers(traced: Traced) -> dict[str, Equation]:
    return {equation.result: equation for equation in traced.equations}


def _is_given(traced: Traced, name: str) -> bool:
    """Whether a leaf's old value is a result of the step."""
    values = [*(leaf.new for leaf in traced.states), *(value for _, value in traced.outputs)]
    return name in values


def _split_one(traced: Traced, parts: dict[str, Part]) -> Traced | None:
    """Return the step with the first leaf split that can be, None if there is none."""
    produced, uses = _producers(traced), readers(traced)
    for leaf in traced.states:
        joined = produced.get(leaf.new) if isinstance(leaf.new, str) else None
        if joined is None or joined.op != "concat" or _is_given(traced, leaf.name):
            continue
        axis = joined.attributes["axis"]
        cuts = uses.get(leaf.name, [])
        if any(e.op != "slice" or e.attributes["axis"] != axis for e in cuts):
            continue
        bounds = _bounds(traced, joined)
        at = [(e.attributes["start"], e.attributes["stop"]) for e in cuts]
        if cuts and set(at) <= set(bounds):
            return _split(traced, parts, leaf, joined, bounds)
    return None


def _bounds(traced: Traced, joined: Equation) -> list[tuple[int, int]]:
    """Return (start, stop) of every operand of a `concat`."""
    types = traced.types()
    axis, start, bounds = joined.attributes["axis"], 0, []
    for name in joined.names:
        extent = types[name][0][axis]
        bounds.append((start, start + extent))
        start += extent
    return bounds


def _split(
    traced: Traced, parts: dict[str, Part], leaf: Leaf, joined: Equation,
    bounds: Sequence[tuple[int, int]],
) -> Traced:  # fmt: skip
    axis = joined.attributes["axis"]
    taken = list(traced.types())
    names = unique([f"{leaf.name}_{at}" for at in range(len(bounds))], taken)
    owner, outer = parts.pop(leaf.name)
    new: list[Leaf] = []
    for name, (start, stop), value in zip(names, bounds, joined.operands, strict=True):
        cut = _cutter(outer, axis, start, stop)
        parts[name] = Part(owner, cut)
        initial = np.take(leaf.initial, range(start, stop), axis=axis)
        new.append(Leaf(name, initial, value, f"{leaf.path}[{start}:{stop}]"))
    place = dict(zip(bounds, names, strict=True))
    replaced: dict[str, Operand] = {
        e.result: place[e.attributes["start"], e.attributes["stop"]]
        for e in traced.equations
        if e.op == "slice" and e.names == (leaf.name,)
    }
    states = [part for old in traced.states for part in (new if old is leaf else [old])]
    kept = tuple(e for e in traced.equations if e.result not in replaced)
    return rename(replace(traced, states=tuple(states), equations=kept), replaced)


def _cutter(
    outer: Callable[[Array], Array], axis: int, start: int, stop: int
) -> Callable[[Array], Array]:
    def cut(value: Array) -> Array:
        return np.take(outer(value), range(start, stop), axis=axis)

    return cut


def _cut_one(traced: Traced, parts: dict[str, Part]) -> Traced | None:
    """Return the step with the first shift register cut up, None if there is none."""
    for register in registers(traced):
        changed, pieces = cut_up(traced, register)
        owner, outer = parts.pop(register.leaf.name)
        for name, (start, stop) in pieces.items():
            parts[name] = Part(owner, _cutter(outer, register.axis, start, stop))
        return changed
    return None


def _reshape_one(traced: Traced, parts: dict[str, Part]) -> Traced | None:
    """Return the step with a leaf that is always read in another shape kept in that shape."""
    uses = readers(traced)
    for leaf in traced.states:
        seen = uses.get(leaf.name, [])
        if not seen or any(e.op != "reshape" for e in seen) or _is_given(traced, leaf.name):
            continue
        if len({e.shape for e in seen}) == 1 and isinstance(leaf.new, str):
            return _reshaped(traced, parts, leaf, seen[0].shape)
    return None


def _reshaped(
    traced: Traced, parts: dict[str, Part], leaf: Leaf, shape: tuple[int, ...]
) -> Traced:  # fmt: skip
    replaced: dict[str, Operand] = {
        e.result: leaf.name for e in traced.equations if e.names == (leaf.name,)
    }
    owner, outer = parts[leaf.name]
    parts[leaf.name] = Part(owner, lambda value: np.reshape(outer(value), shape))
    (name,) = unique([f"{leaf.name}_new"], list(traced.types()))
    assert isinstance(leaf.new, str)
    last = Equation("reshape", (leaf.new,), name, shape, leaf.dtype)
    new = replace(leaf, initial=leaf.initial.reshape(shape), new=name)
    kept = tuple(e for e in traced.equations if e.result not in replaced)
    states = tuple(new if old is leaf else old for old in traced.states)
    return rename(replace(traced, states=states, equations=(*kept, last)), replaced)
