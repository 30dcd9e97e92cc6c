"""No link of a page leads nowhere: files here, anchors when the site is built (`test_site.py`)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers import ROOT

NAMES = ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
PATHS = sorted({path for name in NAMES for path in ROOT.glob(name)})


def links(text: str) -> list[str]:
    """Return where the links and pictures of a page lead, fenced and inline code left out."""
    text = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1[ \t]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    in_text = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "code", text, flags=re.DOTALL)
    found = re.findall(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)", in_text)
    found += re.findall(r"^\[[^\]]+\]: (\S+)$", in_text, re.MULTILINE)
    return found + re.findall(r"<(?:a|img)[^>]* (?:href|src)=\"([^\"]+)\"", in_text)


def headings(path: Path) -> set[str]:
    """Return the anchors of a page, as Git hosts and the site name them."""
    text = re.sub(r"^ *(`{3,}).*?^ *\1[ \t]*$", "", path.read_text("utf-8"),
                  flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


def dead(path: Path) -> list[str]:
    """Return the links of a page that lead nowhere or are not well formed."""
    found = []
    for link in links(path.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            if not re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[\w./#%?=&~+:@-]*)?", link):
                found.append(link)
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        exists = target.exists() and target.is_relative_to(ROOT)
        if not exists or (anchor and target.suffix == ".md" and anchor not in headings(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    assert not dead(path)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[a](https://example.org/a#b) [b](#one-two) [c](other.md#far)\n\n# One *two*", 0),
        ("[a](https//example.org) [b](#three) [c](other.md#near) [d](absent.md)", 4),
        ("[a](http://example.org) ![p](p.png)\n\n[r]: gone.md", 3),
        ("`[a](absent.md)`\n\n```text\n[a](absent.md)\n```\n", 0),
    ],
)
def test_dead_links_are_found(
    text: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# Far", "utf-8")
    (tmp_path / "page.md").write_text(text, "utf-8")
    assert len(dead(tmp_path / "page.md")) == count
