"""Every frontend and target has a page that says what is exact, approximate and refused."""

from __future__ import annotations

import pytest

from snnir.registry import BUILTIN
from tests.helpers import ROOT

#: Pages that are not called like the thing they are about.
PAGES = {
    ("frontends", "jaxpr"): "jax", ("frontends", "snnir"): "snnir-file",
    ("targets", "torch"): "torch-target", ("targets", "mlir"): "mlir-code",
    ("targets", "snnir"): "snnir-file",
}  # fmt: skip
NAMES = [(group, name) for group in ("frontends", "targets") for name in sorted(BUILTIN[group])]


@pytest.mark.parametrize(("group", "name"), NAMES)
def test_name_has_a_page(group: str, name: str) -> None:
    text = (ROOT / "docs" / f"{PAGES.get((group, name), name)}.md").read_text("utf-8")
    headings = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
    assert "Exact, approximate, refused" in headings
    if group == "targets":
        assert f"<!-- support: {name} -->\n\n| |" in text, "run docs/generate.py"


def test_home_leads_to_every_target() -> None:
    """Every page of a target can be reached from a table of the home page or of the matrix."""
    text = "".join((ROOT / "docs" / n).read_text("utf-8") for n in ("index.md", "support.md"))
    pages = {PAGES.get((group, name), name) for group, name in NAMES}
    assert {page for page in pages if f"({page}.md)" not in text} == set()


def test_every_benchmark_is_listed() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        if "__main__" in path.read_text("utf-8"):
            assert f"| `{path.stem}` |" in page
