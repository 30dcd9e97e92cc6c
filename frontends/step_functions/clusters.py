"""Which elementwise equations become one step program.

Equations of one shape that read each other are joined as long as no value has to leave the program
and come back to it within the step: neither through a matrix nor through another program. Those
that read a state are joined first with the one that gives its new value, so that the state can
live in the program.
"""

from __future__ import annotations

from collections.abc import Iterable

from snnir.frontends.step_functions.simplify import readers
from snnir.frontends.step_functions.traced import Equation, Traced


def clusters(traced: Traced) -> dict[str, int]:
    """Return the number of the program of every elementwise equation, by result."""
    return _Groups(traced).run()


class _Groups:
    """A partition of the equations that stays free of cycles."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.by_name = {e.result: e for e in traced.equations}
        self.group = {e.result: at for at, e in enumerate(traced.equations)}
        self.members: dict[int, list[Equation]] = {at: [e] for at, e in enumerate(traced.equations)}
        self.after: dict[int, set[int]] = {at: set() for at in self.members}
        self.before: dict[int, set[int]] = {at: set() for at in self.members}
        for equation in traced.equations:
            for name in equation.names:
                if name in self.group:
                    self._link(self.group[name], self.group[equation.result])

    def _link(self, one: int, other: int) -> None:
        if one != other:
            self.after[one].add(other)
            self.before[other].add(one)

    def run(self) -> dict[str, int]:
        uses = readers(self.traced)
        for leaf in self.traced.states:
            maker = self.by_name.get(leaf.new) if isinstance(leaf.new, str) else None
            if maker is not None and maker.is_elementwise:
                for reader in uses.get(leaf.name, []):
                    self._join(maker, reader)
        for equation in self.traced.equations:
            for name in equation.names:
                if name in self.by_name:
                    self._join(self.by_name[name], equation)
        for leaf in self.traced.states:
            seen = uses.get(leaf.name, [])
            for reader in seen[1:]:
                self._join(seen[0], reader)
        return {e.result: self.group[e.result] for e in self.traced.equations if e.is_elementwise}

    def _join(self, one: Equation, other: Equation) -> None:
        """Join the programs of two equations and all that lies between, if that is possible."""
        if not (one.is_elementwise and other.is_elementwise) or one.shape != other.shape:
            return
        pair = {self.group[one.result], self.group[other.result]}
        if len(pair) == 1:
            return
        between = self._reached(pair, self.after) & self._reached(pair, self.before)
        if all(self._fits(group, one) for group in between):
            self._merge(pair | between)

    def _fits(self, group: int, like: Equation) -> bool:
        first = self.members[group][0]
        return first.is_elementwise and first.shape == like.shape

    def _reached(self, start: Iterable[int], edges: dict[int, set[int]]) -> set[int]:
        found, todo = set(), list(start)
        while todo:
            for group in edges[todo.pop()]:
                if group not in found:
                    found.add(group)
                    todo.append(group)
        return found

    def _merge(self, groups: set[int]) -> None:
        kept = min(groups)
        for group in groups - {kept}:
            for equation in self.members[group]:
                self.group[equation.result] = kept
            self.members[kept] += self.members.pop(group)
            for other in self.after.pop(group):
                self.before[other].discard(group)
                self._link(kept, other)
            for other in self.before.pop(group):
                self.after[other].discard(group)
                self._link(other, kept)
        self.after[kept] -= groups
        self.before[kept] -= groups
