"""What mkdocs does beside building the files of this folder; named in `mkdocs.yml`.

Adds the pages that are made from the code or stand elsewhere in the repository, puts them into the
navigation, and turns links of the repository into links of the site.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from site_pages.api import api_pages
from site_pages.cli import cli_page
from site_pages.links import Places, rewrite, without_comments
from site_pages.notebooks import notebook_page

_LOG = logging.getLogger("mkdocs.hooks.snnir")
ROOT = Path(__file__).resolve().parent.parent


def _copies() -> dict[str, str]:
    """Return pages outside of this folder: from the file's path to the page in the site."""
    found = {
        "README.md": "readme.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "examples/README.md": "examples/index.md",
    }
    for path in sorted((ROOT / "examples").glob("*/README.md")):
        found[path.relative_to(ROOT).as_posix()] = f"examples/{path.parent.name}.md"
    return found


def _notebooks() -> dict[str, str]:
    """Return the notebooks: from the file's path to the page in the site."""
    found = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
    return {path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md" for path in found}


def _own() -> list[str]:
    """Return the pages of this folder."""
    docs = ROOT / "docs"
    return [path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))]


def _made() -> dict[str, str]:
    """Return the content of the pages that are made, by their place in the site."""
    decisions = "".join(
        f"- [{_title((ROOT / 'docs' / name).read_text('utf-8'))}](../docs/{name})\n"
        for name in _own()
        if name.startswith("decisions/")
    )
    index = f"# Decisions\n\nWhy snnir is built like this.\n\n{decisions}"
    return {
        **{name: (ROOT / path).read_text("utf-8") for path, name in _copies().items()},
        **{name: notebook_page(ROOT / path) for path, name in _notebooks().items()},
        **api_pages(),
        "cli.md": cli_page(),
        "decisions/index.md": index.replace("../docs/decisions/", ""),
    }


def _title(text: str) -> str:
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    assert heading
    return heading[1]


def _places(config: MkDocsConfig) -> Places:
    pages = {f"docs/{name}": name for name in _own()}
    for path, name in {**_copies(), **_notebooks()}.items():
        pages[path] = name
        if path.startswith("examples/"):
            pages[path.removesuffix("/README.md")] = name
    pages["docs/decisions"] = "decisions/index.md"
    return Places(ROOT, pages, config.extra.get("source", ""))


def _expanded(entry: Any, names: list[str]) -> Any:
    """Return a part of the navigation with `folder/*` replaced by the pages of the folder."""
    if isinstance(entry, dict):
        return {key: _expanded(value, names) for key, value in entry.items()}
    if not isinstance(entry, list):
        return entry
    found: list[Any] = []
    for item in entry:
        if isinstance(item, str) and item.endswith("/*"):
            found += [name for name in names if name.startswith(item[:-1]) and name not in entry]
        else:
            found.append(_expanded(item, names))
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = _made()
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    config.nav = _expanded(config.nav, [*made, *_own()])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    name = page.file.src_uri
    if name.startswith("api/") or name in ("cli.md", "decisions/index.md"):
        return markdown
    places = _places(config)
    text, dead = rewrite(without_comments(markdown), name, places)
    for link in dead:
        _LOG.warning(f"{places.origin(name)}: there is no {link}")
    return text
