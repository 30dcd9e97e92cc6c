"""Names of nodes that a reader or a pass adds."""

from __future__ import annotations

from collections.abc import Container


def fresh_name(stem: str, *taken: Container[str]) -> str:
    """Return `stem`, or the first of `stem_1`, `stem_2` … that is in none of `taken`."""
    name, number = stem, 0
    while any(name in names for names in taken):
        number += 1
        name = f"{stem}_{number}"
    return name
