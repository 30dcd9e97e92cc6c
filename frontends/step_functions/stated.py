"""Which state leaves must state their shape, because nothing else in their cycle does.

Shapes are inferred along the flow of a graph. In a cycle of delays and ops that only move values
there is nowhere to begin, unless something in it has an operand from outside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from snnir.frontends.step_functions.traced import Equation, Traced


def unstated(
    step: Traced,
    group: Mapping[str, int],
    homes: Mapping[str, int | None],
    delayed: Collection[str],
) -> set[str]:
    """Return the names of leaves whose delay must state its shape.

    Args:
        step: The step.
        group: The program of every elementwise equation, by result.
        homes: The program that every leaf lives in, if it does.
        delayed: Names of the leaves that are delays; others live in programs.
    """
    found: set[str] = set()
    alone = _alone(step, group, homes)
    known = {variable.name for variable in step.inputs}
    while True:
        _grow(step, group, known, alone)
        missing = [leaf.name for leaf in step.states if leaf.name not in known]
        first = next((name for name in missing if name in delayed), None)
        if first is None:
            return found
        found.add(first)
        known.add(first)


def _alone(
    step: Traced, group: Mapping[str, int], homes: Mapping[str, int | None]
) -> set[int]:  # fmt: skip
    """Return the programs that read nothing: they are given an operand that states a shape."""
    found = set(group.values())
    for equation in step.equations:
        own = group.get(equation.result)
        for name in equation.names:
            is_inside = own in (group.get(name, -1), homes.get(name, -1))
            if own is not None and name not in step.constants and not is_inside:
                found.discard(own)
    return found


def _grow(step: Traced, group: Mapping[str, int], known: set[str], alone: set[int]) -> None:
    """Add everything whose shape follows from what is known."""
    groups = alone | {group[name] for name in known if name in group}
    size = -1
    while size != len(known):
        size = len(known)
        for equation in step.equations:
            if _follows(equation, step, known) or group.get(equation.result) in groups:
                known.add(equation.result)
                if equation.result in group:
                    groups.add(group[equation.result])
        known |= {leaf.name for leaf in step.states if leaf.new in known}


def _follows(equation: Equation, step: Traced, known: set[str]) -> bool:
    streams = [name for name in equation.names if name not in step.constants]
    if equation.is_elementwise:
        return any(name in known for name in streams)
    return all(name in known for name in streams)
