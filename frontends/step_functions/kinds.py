"""What the streams of a traced step carry: spikes, counts or analog values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.frontends.step_functions.traced import Equation, Operand, Traced
from snnir.streams import Kind

_ORDER = {Kind.SPIKES: 0, Kind.COUNTS: 1, Kind.ANALOG: 2}
_KEEPS = frozenset(("reshape", "permute", "slice", "pad", "max_pool2d", "reduce_max"))
_SUMS = frozenset(("sum_pool2d", "reduce_sum"))
#: `take` of more runs of neighbours than this is a product with a selection matrix.
MOST_RUNS = 16


def runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return indices as (start, stop) of runs of neighbours."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def widest(kinds: Sequence[Kind]) -> Kind:
    """Return the kind that holds all of them."""
    return max(kinds, key=_ORDER.__getitem__, default=Kind.SPIKES)


def stream_kinds(traced: Traced) -> dict[str, Kind]:
    """Return the kind of every stream by name.

    A comparison gives spikes, and so do their products and choices between them; sums of spikes
    are counts; all else is analog. A state is what its new values and its initial value are.
    """
    found = {v.name: Kind.SPIKES if v.dtype == "bool" else Kind.ANALOG for v in traced.inputs}
    for leaf in traced.states:
        found[leaf.name] = _of_array(leaf.initial)
    while True:
        for equation in traced.equations:
            found[equation.result] = _kind(equation, traced, found)
        wider = {
            leaf.name: widest([found[leaf.name], _of(leaf.new, traced, found)])
            for leaf in traced.states
        }
        if all(found[name] is kind for name, kind in wider.items()):
            return found
        found.update(wider)


def _of_array(array: object) -> Kind:
    values = np.asarray(array, np.float64)
    if np.isin(values, (0.0, 1.0)).all():
        return Kind.SPIKES
    whole = (values >= 0).all() and (values == np.floor(values)).all()
    return Kind.COUNTS if whole and np.isfinite(values).all() else Kind.ANALOG


def _of(operand: Operand, traced: Traced, found: Mapping[str, Kind]) -> Kind:
    if isinstance(operand, str) and operand in found:
        return found[operand]
    array = traced.constants[operand] if isinstance(operand, str) else operand
    return _of_array(array)


def _kind(equation: Equation, traced: Traced, found: Mapping[str, Kind]) -> Kind:
    op = equation.op
    given = [_of(operand, traced, found) for operand in equation.operands]
    if equation.dtype == "bool" or op == "cast":
        return Kind.SPIKES
    if op in _KEEPS:
        return given[0]
    if op in _SUMS or op == "add":
        return Kind.ANALOG if Kind.ANALOG in given else Kind.COUNTS
    if op in ("mul", "max", "min"):
        return widest(given)
    if op == "select":
        return widest(given[1:])
    if op == "concat":
        return given[0] if len(set(given)) == 1 else Kind.ANALOG
    if op == "take" and len(runs(equation.attributes["indices"])) <= MOST_RUNS:
        return given[0]
    return Kind.ANALOG
