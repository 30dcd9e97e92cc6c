"""How far a benchmark is, on a terminal; nothing where its output goes to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks: drawing must not be seen in what is measured.
PACE = 1.0


def shown(items: Iterable[T], what: str = "measuring") -> Iterator[T]:
    """Return the items one by one; a bar on stderr says how many are done."""
    import snnir  # not before: a benchmark measures memory against what it imports
    from snnir.progress import counted

    with snnir.show_progress(PACE):
        yield from counted(items, what)
