"""Fixtures and profiles for the whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import CORPUS

_COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
# The same examples in every run, so that CI fails for a change and not by chance. New ones:
# pytest --hypothesis-profile=random tests/property
settings.register_profile("snnir", max_examples=60, derandomize=True, **_COMMON)
settings.register_profile("fast", max_examples=15, derandomize=True, **_COMMON)
settings.register_profile("random", max_examples=300, **_COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer examples where the slow tests are left out; --hypothesis-profile overrides."""
    if not config.getoption("--hypothesis-profile", None):
        fast = "not slow" in (config.getoption("-m") or "")
        settings.load_profile("fast" if fast else "snnir")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> object:
    """Compare a text with a file of tests/golden, or write it with --update-golden."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
        assert path.exists(), f"no golden file {name}; create it with --update-golden"
        assert path.read_text("utf-8") == text

    return compare


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of published models; tests that need it skip where it is absent."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of published models is not beside the checkout")
    return CORPUS
