"""Generated pages are up to date, and what the docs show works."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from snnir.errors import CODES
from snnir.ir.parser import parse_graph
from tests.helpers import ROOT


def test_generated_pages_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, page in module.PAGES.items():
        assert (ROOT / "docs" / name).read_text("utf-8") == page(), "run docs/generate.py"


def test_every_code_used_is_documented() -> None:
    sources = [p for folder in ("snnir", "frontends", "passes", "targets")
               for p in (ROOT / folder).rglob("*.py")]  # fmt: skip
    used = set().union(*(re.findall(r'"(SNN\d{3})"', p.read_text("utf-8")) for p in sources))
    assert used == set(CODES)


def test_the_text_of_the_page_parses() -> None:
    page = (ROOT / "docs" / "ir.md").read_text("utf-8")
    text = page[page.index("snnir 1\n") :].split("```")[0]
    assert str(parse_graph(text)) == text


@pytest.mark.slow
def test_quickstart() -> None:
    command = [sys.executable, str(ROOT / "examples" / "quickstart.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "differing spikes: 0" in done.stdout
