"""The pictures of the pages: there, named by a page, and small."""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
from typing import Any

import pytest

from tests.helpers import CORPUS, ROOT

PAGE, PICTURES = ROOT / "docs" / "report.md", ROOT / "docs" / "pictures"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("screenshots", ROOT / "docs" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_there_and_small(script: Any) -> None:
    text = PAGE.read_text("utf-8")
    named = set(re.findall(r"\(pictures/([\w-]+)\.png\)", text))
    assert named == {path.stem for path in PICTURES.glob("*.png")}
    for name in named:
        data = (PICTURES / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) <= script.LARGEST
        width, height = struct.unpack(">II", data[16:24])
        assert 600 < width < 2000
        assert 300 < height < 2500


def test_the_command_takes_all_of_them(script: Any) -> None:
    made = {shot.name for shot in script.shots(CORPUS)}
    named = {path.stem for path in PICTURES.glob("*.png")}
    assert made == named if CORPUS.is_dir() else made < named
