"""The set-up script: its command line, its stamps, and what it says when it cannot go on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

X_PY = Path(__file__).resolve().parents[2] / "x.py"


@pytest.fixture
def x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh x.py whose project is an empty temporary one."""
    spec = importlib.util.spec_from_file_location("x", X_PY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # NamedTuple looks its module up by name.
    monkeypatch.setitem(sys.modules, "x", module)
    spec.loader.exec_module(module)
    for name in ("x.py", "pyproject.toml", "setup.py"):
        (tmp_path / name).write_text(f"# {name}")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "MARKER", venv / ".x-venv")
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    return module


class Commands:
    """Stands in for `run_quietly`: records commands and lets those fail that contain a word."""

    def __init__(self, x: ModuleType, *failing: str) -> None:
        self.x, self.failing = x, failing
        self.seen: list[str] = []

    def __call__(self, command: list[str]) -> SimpleNamespace:
        line = " ".join(command)
        self.seen.append(line)
        fails = any(word in line for word in self.failing)
        if not fails and ("-m venv" in line or "-m virtualenv" in line):
            make_fake_venv(self.x)
        return SimpleNamespace(returncode=int(fails), stdout=f"output of {line}")


def make_fake_venv(x: Any) -> None:
    x.PYTHON.parent.mkdir(parents=True, exist_ok=True)
    x.PYTHON.write_text("")
    (x.VENV / "pyvenv.cfg").write_text(f"home = {x.VENV.parent}\n")


def fake(x: ModuleType, monkeypatch: pytest.MonkeyPatch, *failing: str) -> Commands:
    commands = Commands(x, *failing)
    monkeypatch.setattr(x, "run_quietly", commands)
    return commands


def test_help_works_from_another_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(X_PY), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for job in ("demo", "test", "lint", "types", "fmt", "bench", "clean"):
        assert job in done.stdout


def test_unknown_job_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, str(X_PY), "dmeo"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "dmeo" in done.stderr


def test_job_without_arguments_refuses_them(
    x: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        x.main(["clean", "everything"])
    assert caught.value.code == 2
    assert "everything" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test", "-k", "foo"], ["-k", "foo"]),
        (["test", "--", "--fast", "-k", "foo"], ["--fast", "-k", "foo"]),
        (["test", "-x", "--", "-k", "foo"], ["-x", "-k", "foo"]),
    ],
)
def test_arguments_reach_pytest(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: list[str]
) -> None:
    seen: list[list[str]] = []

    def record(_: Any, rest: list[str]) -> int:
        seen.append(rest)
        return 7

    monkeypatch.setitem(x.JOBS, "test", record)
    assert x.main(arguments) == 7
    assert seen == [expected]


def test_fast_leaves_out_lint_and_frameworks(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake(x, monkeypatch)
    called: list[tuple[str, ...]] = []

    def record(*arguments: str) -> int:
        called.append(arguments)
        return 0

    monkeypatch.setattr(x, "call", record)
    assert x.main(["test", "--fast", "-n", "0"]) == 0
    assert called == [("-m", "pytest", "-m", "not slow and not framework", "-n", "0")]
    assert not any("torch" in line for line in commands.seen)


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 14)])
def test_unsupported_python_is_named(x: ModuleType, version: tuple[int, int]) -> None:
    message = x.version_problem(version)
    assert "3.10 to 3.13" in message
    assert f"this is {version[0]}.{version[1]}" in message


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_supported_python_is_accepted(x: ModuleType, version: tuple[int, int]) -> None:
    assert x.version_problem(version) == ""


def test_first_install_writes_a_stamp_and_the_second_does_nothing(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake(x, monkeypatch)
    x.set_up(x.TEST)
    assert len(commands.seen) == 2
    x.set_up(x.TEST)
    x.set_up(x.CORE)  # part of TEST
    assert len(commands.seen) == 2


@pytest.mark.parametrize("name", ["x.py", "pyproject.toml", "setup.py"])
def test_change_of_a_file_installs_again(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    commands = fake(x, monkeypatch)
    x.set_up(x.CORE)
    (x.ROOT / name).write_text("# changed")
    x.set_up(x.CORE)
    assert sum("pip install" in line for line in commands.seen) == 2
    assert sum("-m venv" in line for line in commands.seen) == 1


def test_failed_install_shows_pip_and_leaves_no_stamp(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(x, monkeypatch, "pip install")
    with pytest.raises(SystemExit) as caught:
        x.set_up(x.CORE)
    assert caught.value.code == 1
    assert "output of" in capsys.readouterr().err
    assert not x.stamp("core").exists()


def test_interrupted_install_leaves_no_stamp(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(x, monkeypatch)
    x.set_up(x.CORE)
    (x.ROOT / "setup.py").write_text("# changed")

    def interrupt(_: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(x, "run_quietly", interrupt)
    assert x.main(["demo"]) == 130
    assert not x.stamp("core").exists()


def test_environment_without_its_python_is_made_again(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake(x, monkeypatch)
    x.set_up(x.CORE)
    x.PYTHON.unlink()
    x.set_up(x.CORE)
    assert sum("-m venv" in line for line in commands.seen) == 2
    assert sum("pip install" in line for line in commands.seen) == 2


@pytest.mark.parametrize("content", ["being made", "/another/folder\n3.12\n"])
def test_half_made_or_moved_environment_is_made_again(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    commands = fake(x, monkeypatch)
    x.set_up(x.CORE)
    x.MARKER.write_text(content)
    x.set_up(x.CORE)
    assert sum("-m venv" in line for line in commands.seen) == 2


def test_environment_of_the_user_is_kept(x: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fake_venv(x)
    commands = fake(x, monkeypatch)
    x.set_up(x.CORE)
    assert not any("-m venv" in line for line in commands.seen)


def test_missing_ensurepip_is_worked_around(x: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake(x, monkeypatch, f"-m venv {x.VENV}")
    x.ensure_venv()
    assert "--without-pip" in commands.seen[1]
    assert f"--target {x.VENV / 'lib'}" in commands.seen[2]
    assert x.venv_is_current()


def test_virtualenv_is_the_last_resort(x: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake(x, monkeypatch, "-m venv", "-m pip")
    x.ensure_venv()
    assert "-m virtualenv" in commands.seen[-1]
    assert x.venv_is_current()


def test_no_way_to_make_an_environment_names_the_package(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(x, monkeypatch, "-m")
    with pytest.raises(SystemExit) as caught:
        x.ensure_venv()
    assert caught.value.code == 1
    package = f"python3.{sys.version_info[1]}-venv"
    assert f"sudo apt install {package}" in capsys.readouterr().err
    assert not x.VENV.exists()


@pytest.mark.parametrize(
    ("failing", "missing", "tried"),
    [("torch==", ["torch", "Norse"], False), ("sinabs==", ["Sinabs"], True)],
)
def test_missing_framework_is_a_warning(
    x: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
    missing: list[str],
    tried: bool,
) -> None:
    commands = fake(x, monkeypatch, failing)
    x.set_up(x.TEST)
    x.set_up_frameworks()
    warning = next(line for line in capsys.readouterr().err.splitlines() if "WARNING" in line)
    assert all(name in warning for name in missing)
    assert any("norse==" in line for line in commands.seen) is tried


def test_unknown_benchmark_lists_the_known(
    x: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (x.ROOT / "benchmarks").mkdir()
    (x.ROOT / "benchmarks" / "scan.py").write_text("")
    with pytest.raises(SystemExit):
        x.main(["bench", "scna"])
    error = capsys.readouterr().err
    assert "scna" in error
    assert "scan" in error


def test_clean_keeps_what_links_point_to(x: ModuleType) -> None:
    make_fake_venv(x)
    cache = x.ROOT / "targets" / "__pycache__"
    cache.mkdir(parents=True)
    (x.ROOT / "elsewhere").mkdir()
    (x.ROOT / "build").symlink_to("elsewhere")
    assert x.main(["clean"]) == 0
    assert not x.VENV.exists()
    assert not cache.exists()
    assert not (x.ROOT / "build").is_symlink()
    assert (x.ROOT / "elsewhere").is_dir()


def test_a_release_needs_a_tag_like_its_version_and_a_dated_changelog(x: ModuleType) -> None:
    (x.ROOT / "snnir").mkdir()
    (x.ROOT / "snnir" / "__init__.py").write_text('"""Text."""\n\n__version__ = "1.2.3"\n')
    changes = x.ROOT / "CHANGELOG.md"
    changes.write_text("# Changelog\n\n## [1.2.3] - 2030-01-02\n\n## [1.2.2] - unreleased\n")
    assert x.release_problem("v1.2.3") == ""
    for tag in ("1.2.3", "v1.2.4", "v1.2.3.1", "v1.2.3-rc1"):
        assert tag in x.release_problem(tag)
    changes.write_text("# Changelog\n\n## [1.2.3] - unreleased\n\n## [1.2.2] - 2029-01-01\n")
    assert "unreleased" in x.release_problem("v1.2.3")
    changes.write_text("# Changelog\n")
    assert "a date" in x.release_problem("v1.2.3")


@pytest.mark.parametrize("there", ["nothing", "text"])
def test_links_are_made_where_an_archive_or_a_checkout_has_none(x: ModuleType, there: str) -> None:
    for name in ("frontends", "passes", "targets"):
        (x.ROOT / name).mkdir()
        (x.ROOT / name / "module.py").write_text("")
    (x.ROOT / "snnir").mkdir()
    if there == "text":  # what git leaves where links are not allowed
        (x.ROOT / "snnir" / "passes").write_text("../passes")
    for _ in range(2):
        x.ensure_links()
        for name in ("frontends", "passes", "targets"):
            assert (x.ROOT / "snnir" / name).readlink() == Path("..") / name
            assert (x.ROOT / "snnir" / name / "module.py").is_file()
    assert len(list((x.ROOT / "snnir").iterdir())) == 3


def test_links_that_cannot_be_made_end_with_advice(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise OSError("a required privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    x.ensure_links()  # there is nothing to link
    (x.ROOT / "passes").mkdir()
    with pytest.raises(SystemExit):
        x.ensure_links()
    assert "privilege is not held; CONTRIBUTING.md" in capsys.readouterr().err


@pytest.mark.parametrize(("ci", "root"), [("", True), ("1", False), ("1", True)])
def test_a_browser_is_installed_only_on_a_ci_machine_by_root(
    x: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ci: str,
    root: bool,
) -> None:
    commands = fake(x, monkeypatch)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("SNNIR_CHROMIUM", "no-such-browser")
    monkeypatch.setattr(x, "is_root", lambda: root)
    monkeypatch.setattr(x.shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    x.ensure_venv()
    x.set_up_browser()
    installs = [line for line in commands.seen if "apt-get" in line and "chromium" in line]
    assert bool(installs) == bool(ci and root)
    assert "no Chromium on the PATH" in capsys.readouterr().err


def test_the_browser_may_be_named(x: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"my-browser": "/opt/my-browser", "google-chrome": "/usr/bin/google-chrome"}
    monkeypatch.setattr(x.shutil, "which", known.get)
    monkeypatch.delenv("SNNIR_CHROMIUM", raising=False)
    assert x.chromium() == "/usr/bin/google-chrome"
    monkeypatch.setenv("SNNIR_CHROMIUM", "my-browser")
    assert x.chromium() == "/opt/my-browser"
