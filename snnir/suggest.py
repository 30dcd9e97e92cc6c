"""Names that were meant: hints for what is misspelt, the same everywhere a user types a name."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from snnir.errors import shown

#: Names longer than this are not compared, nor more of them than make this many pairs of letters:
#: it would take more than half a second.
_LONGEST, _PAIRS = 100, 2_000_000
#: Entries of a folder that are looked at.
_MOST = 2000
#: Share of letters that names have in common at least, and how many are named.
_ALIKE, _NAMED = 0.5, 3
#: How much less alike than the best a name may be to be named beside it.
_NEAR = 0.15
#: As many names are listed where none is similar.
_LISTED = 40


def close(name: str, known: Collection[str]) -> list[str]:
    """Return names that are similar to a name, the most similar first.

    Upper and lower case, `-` and `_` count as the same.
    """
    if len(name) > _LONGEST:
        return []
    wanted, room = _plain(name), _PAIRS
    plain: dict[str, str] = {}
    for item in known:
        room -= 1 + (len(item) * len(name) if len(item) <= _LONGEST else 0)
        if room < 0:
            break
        if len(item) <= _LONGEST:
            plain.setdefault(_plain(item), item)
    found = difflib.get_close_matches(wanted, plain, n=_NAMED, cutoff=_ALIKE)
    alike = [difflib.SequenceMatcher(None, item, wanted).ratio() for item in found]
    return [plain[item] for item, a in zip(found, alike, strict=True) if a > alike[0] - _NEAR]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """Return a hint with similar names, None if there are none."""
    found = close(name, known)
    return f"did you mean {', '.join(map(shown, found))}?" if found else None


def hint(name: str, known: Collection[str], what: str = "known") -> str:
    """Return a hint with similar names, or else with all names there are.

    Args:
        name: What was typed.
        known: The names there are.
        what: What they are called where they are listed.
    """
    if not known:
        return "there are none"
    listed = ", ".join(shown(item) for item in islice(known, _LISTED))
    more = f", … ({len(known)})" if len(known) > _LISTED else ""
    return did_you_mean(name, known) or f"{what}: {listed}{more}"


def file_hint(path: Path) -> str | None:
    """Return a hint with similar names in the folder of a file that is not there."""
    try:
        if path.exists():
            return None
        if not path.parent.is_dir():
            return f"there is no folder {shown(str(path.parent), 200)}"
        there = [item.name for item in islice(path.parent.iterdir(), _MOST)]
    except (OSError, ValueError):
        return None
    return did_you_mean(path.name, sorted(there))
