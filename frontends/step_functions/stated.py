"""Which state leaves must state their shape, because nothing else in their cycle does.

Shapes are inferred along the flow of a graph. In a cycle of delays and ops that only move values
there is nowhere to begin, unless something in it has an operand from outside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from snnir.frontends.step_functions.traced import Equation, Traced


def unstated(step: Traced, group: Mapping[str, int], delayed: Collection[str]) -> set[str]:
    """Return the names of leaves whose delay must state its shape.

    Args:
        step: The step.
        group: The program of every elementwise equation, by result.
        delayed: Names of the leaves that are delays; others live in programs.
    """
    found: set[str] = set()
    known = {variable.name for variable in step.inputs}
    while True:
        _grow(step, group, known)
        missing = [leaf.name for leaf in step.states if leaf.name not in known]
        first = next((name for name in missing if name in delayed), None)
        if first is None:
            return found
        found.add(first)
        known.add(first)


def _grow(step: Traced, group: Mapping[str, int], known: set[str]) -> None:
    """Add everything whose shape follows from what is known."""
    groups = {group[name] for name in known if name in group}
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
