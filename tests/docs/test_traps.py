"""The tables of docs/traps.md are what `benchmarks/traps.py` measures."""

from __future__ import annotations

import warnings

import pytest

from benchmarks.traps import MACHINE, PAGE, TABLES, replaced

#: Takes longer than all others together; its numbers are of long runs.
LONG = {"contraction", "constants", "dt"}


def test_page_has_every_table() -> None:
    page = PAGE.read_text("utf-8")
    for name in TABLES:
        assert f"<!-- table: {name} -->" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TABLES) - MACHINE - LONG))
def test_table_is_measured(name: str) -> None:
    page = PAGE.read_text("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measured = replaced(page, name, TABLES[name]())
    assert measured == page, "run `python3 x.py bench traps --write`"
