"""The documentation builds as a site without a warning, loads nothing from elsewhere, and is whole."""

from __future__ import annotations

import importlib
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


def loaded(text: str) -> list[str]:
    """Return what a page loads from other hosts."""
    loading = r"<(?:script|img|iframe|source|link(?! rel=.?canonical))[^>]*(?:src|href)=[\"']?"
    return re.findall(rf"{loading}((?:https?:)?//[^\"' >]+)", text)


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for name, text in pages(site):
        assert not loaded(text), name


def test_what_is_loaded_is_found() -> None:
    assert loaded('<script src="https://a.org/x.js"><link rel="x" href=//b.org/y.css>') == [
        "https://a.org/x.js",
        "//b.org/y.css",
    ]
    assert not loaded('<a href="https://a.org"><link rel="canonical" href="https://a.org">')


def test_links_of_the_repository_become_links_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    module = importlib.import_module("site_pages.links")
    pages = {"docs/torch.md": "torch.md", "examples/digits/README.md": "examples/digits.md",
             "examples/digits": "examples/digits.md"}  # fmt: skip
    text = (
        "[a](torch.md#measured) [b](../examples/digits) [c](../x.py) [d](gone.md) ![e](cost.svg)\n"
        "`[f](gone.md)`\n\n```text\n[g](gone.md)\n```\n[h](https://a.org)\n"
    )
    for source, shown in (("", "c"), ("https://a.org", "[c](https://a.org/x.py)")):
        places = module.Places(ROOT, pages, source)
        changed, dead = module.rewrite(text, "torch.md", places)
        assert dead == ["gone.md"]
        first = f"[a](torch.md#measured) [b](examples/digits.md) {shown} d ![e](cost.svg)\n"
        assert changed == first + text.partition("\n")[2]
    changed, dead = module.rewrite("[a](../../docs/torch.md)", "examples/digits.md", places)
    assert (changed, dead) == ("[a](../torch.md)", [])
