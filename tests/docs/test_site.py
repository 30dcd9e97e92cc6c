"""The documentation builds as a site without a warning, loads nothing from elsewhere, and is whole."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import snnir
from tests.helpers import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason="python3 x.py docs installs it")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[str, str]]:
    """Give the pages of the site by name."""
    for path in sorted(site.rglob("*.html")):
        yield path.relative_to(site).as_posix(), path.read_text("utf-8")


@pytest.mark.slow
def test_the_site_is_complete(site: Path) -> None:
    built = dict(pages(site))
    for path in DOCS.rglob("*.md"):
        assert path.relative_to(DOCS).with_suffix(".html").as_posix() in built
    for name in ("index", "changelog", "contributing", "cli", "decisions/index"):
        assert f"{name}.html" in built
    for path in (ROOT / "examples").glob("*/README.md"):
        assert f"examples/{path.parent.name}.html" in built
    whole = "\n".join(text for name, text in built.items() if name.startswith("api/"))
    for name in set(snnir.__all__) - {"__version__", "rules"}:
        assert re.search(rf"<h2 [^>]*>(?s:.(?!</h2>))*?\b(snnir\.)?{name}\b", whole), name


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loading = r"<(?:script|img|iframe|source|link(?! rel=.?canonical))[^>]*(?:src|href)=[\"']?"
    for name, text in pages(site):
        found = re.findall(rf"{loading}((?:https?:)?//[^\"' >]+)", text)
        assert not found, f"{name} loads {found}"
