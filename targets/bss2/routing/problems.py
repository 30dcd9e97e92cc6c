"""What keeps a network off a chip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something a network needs more of than the chip has.

    Attributes:
        node: Population, source or projection it is about; empty for the network.
        resource: `NeuronBudget`, `FanIn`, `RowBudget` or `LabelSpace`.
        need, limit: How much is needed, and how much there is.
        message: Says both.
        hint: What would help.
    """

    node: str
    resource: str
    need: int | float
    limit: int | float
    message: str
    hint: str


class NotRouted(Exception):
    """A network was not placed and routed.

    Attributes:
        problems: Why; one at least.
    """

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{p.message}; {p.hint}" for p in self.problems))
