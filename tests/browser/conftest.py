"""A Chromium that opens pages from disk and tells of everything that goes wrong in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import snnir
from snnir.ir import Graph

#: Names by which a Chromium may be on the PATH.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
)  # fmt: skip
WIDTH, HEIGHT = 1280, 900

Opener = Callable[..., Any]


def find_chromium() -> str:
    """Return the browser that SNNIR_CHROMIUM or the PATH names, or nothing."""
    given = os.environ.get("SNNIR_CHROMIUM")
    names = (given,) if given else NAMES
    return next(filter(None, map(shutil.which, names)), "")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if not path:
        pytest.skip("no Chromium on the PATH, nor in SNNIR_CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opener]:
    """Open a file; when the test ends, nothing was logged and nothing else was asked for."""
    opened = []

    def open_it(path: Path, **options: Any) -> Any:
        settings = {"viewport": {"width": WIDTH, "height": HEIGHT}, "reduced_motion": "reduce"}
        page = browser.new_page(**{**settings, **options})
        wrong: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda failure: wrong.append(str(failure)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        opened.append((page, wrong, asked, path))
        return page

    yield open_it
    for page, wrong, asked, path in opened:
        assert wrong == []
        assert {url.partition("#")[0] for url in asked} == {path.as_uri()}
        page.close()


@pytest.fixture
def open_graph(open_page: Opener, tmp_path: Path) -> Opener:
    """Open the report of a graph."""

    def open_it(graph: Graph, **options: Any) -> Any:
        return open_page(snnir.report(graph, tmp_path / "report.html"), **options)

    return open_it
