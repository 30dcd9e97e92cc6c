"""The workflows of a public host: what they call exists, and they may do no more than they need."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import ROOT
from tests.release.everywhere import supported

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

if not (ROOT / ".github").is_dir():
    pytest.skip("a source archive has no workflows", allow_module_level=True)

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: What a job may do beyond reading the repository.
ALLOWED = {"pages": "write", "id-token": "write"}


def read(path: Path) -> dict[Any, Any]:
    """Read a workflow; YAML takes its key `on` for a truth value."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every job of every workflow, by file and name."""
    for path in FILES:
        for name, job in read(path)["jobs"].items():
            yield f"{path.name}:{name}", job


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The set-up script."""
    spec = importlib.util.spec_from_file_location("x", ROOT / "x.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "x", module)
    spec.loader.exec_module(module)
    return module


def test_there_are_workflows() -> None:
    assert [path.stem for path in FILES] == ["ci", "docs", "release"]


def test_commands_are_jobs_of_x_py(x: ModuleType) -> None:
    called = []
    for where, job in jobs():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                words = shlex.split(line)
                assert words[:2] == ["python3", "x.py"], f"{where}: {line}"
                options, rest = x.make_parser().parse_known_args(words[2:])
                assert not rest, f"{where}: {line}"
                called.append(options.job)
                assert "${{" not in line, f"{where}: an expression in a command can be code"
    assert {"demo", "docs", "release", "test"} == set(called)


def test_actions_are_pinned_and_permissions_least() -> None:
    for path in FILES:
        assert read(path)["permissions"] == {"contents": "read"}, path
    for where, job in jobs():
        assert job["timeout-minutes"] <= 60, where
        assert job["runs-on"] == "ubuntu-24.04", where
        assert job.get("permissions", {}).items() <= ALLOWED.items(), where
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), where
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]), step["uses"]
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, where


def test_each_supported_python_is_tried() -> None:
    found = dict(jobs())
    assert found["ci.yml:fast"]["strategy"]["matrix"]["python"] == supported()
    (setup,) = [s for s in found["release.yml:build"]["steps"] if "setup-python" in str(s)]
    assert setup["with"]["python-version"].split() == supported()
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.findall(r"Python :: (3\.\d+)", text) == supported()


def test_one_job_publishes_and_only_what_was_built() -> None:
    (name, job) = next(item for item in jobs() if "pypi-publish" in str(item[1]))
    assert name == "release.yml:publish"
    assert job["needs"] == "build"
    assert not any("run" in step or "checkout" in step["uses"] for step in job["steps"])
    assert read(ROOT / ".github/workflows/release.yml")["on"] == {"push": {"tags": ["v*"]}}
    (check,) = [s["run"] for s in dict(jobs())["release.yml:build"]["steps"] if "run" in s]
    assert "--tag" in check
