"""Wheel and source archive hold every file they should, with or without links in the checkout."""

from __future__ import annotations

import email
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import snnir
from tests.release import everywhere

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("snnir", "frontends", "passes", "targets")
LINKED = FOLDERS[1:]
#: What only a checkout needs, and what setuptools writes into a source archive.
NOT_PACKED = (".ci/", ".github/", ".gitignore", ".pre-commit-config.yaml")
WRITTEN = ("PKG-INFO", "setup.cfg", "snnir.egg-info/")


def all_files() -> list[Path]:
    """Every file git tracks or would, except links, relative to the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [Path(name) for name in listed.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file() and not (ROOT / path).is_symlink()]


def installed_name(path: Path) -> str:
    """Where a file of the repository lies in an installation."""
    return path.as_posix() if path.parts[0] == "snnir" else f"snnir/{path.as_posix()}"


def copy_checkout(where: Path, files: list[Path], links: str) -> None:
    """Copy the checkout with its links as symbolic links, as text files, or without them."""
    for path in files:
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, where / path)
    for folder in LINKED:
        link = where / "snnir" / folder
        if links == "symbolic":
            link.symlink_to(f"../{folder}", target_is_directory=True)
        elif links == "text":
            link.write_text(f"../{folder}")


def build(checkout: Path, where: Path, *options: str) -> Path:
    """Build; without options the source archive, and the wheel from that. Return the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(where)]
    built = subprocess.run(
        [*command, str(checkout)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "Deprecat" not in built.stdout + built.stderr, built.stderr
    (wheel,) = where.glob("*.whl")
    return wheel


def test_links_are_relative_and_lead_to_the_folders() -> None:
    for folder in LINKED:
        link = ROOT / "snnir" / folder
        if link.is_file():
            pytest.skip("this checkout has no symbolic links")
        assert link.readlink() == Path("..") / folder


@pytest.mark.slow
@pytest.mark.parametrize("links", ["text", "none"])
def test_wheel_is_complete_without_links(tmp_path: Path, links: str) -> None:
    files = all_files()
    copy_checkout(tmp_path / "checkout", files, links)
    check_wheel(build(tmp_path / "checkout", tmp_path, "--wheel"), files)


@pytest.mark.slow
def test_a_release_is_complete_and_works_with_nothing_else_installed(tmp_path: Path) -> None:
    """On this Python, and on the oldest one with the oldest dependencies: `x.py release` has all."""
    files = all_files()
    copy_checkout(tmp_path / "checkout", files, "symbolic")
    wheel = build(tmp_path / "checkout", tmp_path)
    check_wheel(wheel, files)
    (archive,) = tmp_path.glob("*.tar.gz")
    check_archive(archive, files)
    check_metadata(wheel)
    there, _ = everywhere.places()
    this = f"3.{sys.version_info[1]}"
    chosen = [place for place in there if place.label == this or place.pins]
    assert chosen
    with ThreadPoolExecutor() as pool:
        try:
            told = list(pool.map(lambda place: everywhere.try_wheel(wheel, place), chosen))
        except everywhere.Failed as failure:
            if re.search(r"NewConnectionError|ConnectTimeout|Temporary failure", str(failure)):
                pytest.skip("no package index can be reached")
            raise
    assert all(f"snnir {snnir.__version__}" in line for line in told)


def check_wheel(wheel: Path, files: list[Path]) -> None:
    """The wheel has every file of the four folders, once."""
    with zipfile.ZipFile(wheel) as packed_wheel:
        names = packed_wheel.namelist()
    assert len(names) == len(set(names))
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == {installed_name(path) for path in files if path.parts[0] in FOLDERS}
    assert {"snnir/py.typed", "snnir/reporting/report.css", "snnir/error_index/SNN101.md"} <= packed


def check_archive(archive: Path, files: list[Path]) -> None:
    """The source archive has what the repository has."""
    with tarfile.open(archive) as packed:
        names = {member.name.partition("/")[2] for member in packed if not member.isdir()}
    made = {name for name in names if not name.startswith(WRITTEN)}
    assert made == {path.as_posix() for path in files if not path.as_posix().startswith(NOT_PACKED)}


def check_metadata(wheel: Path) -> None:
    """The metadata are complete, and the description leads nowhere that is not on an index."""
    with zipfile.ZipFile(wheel) as packed:
        inside = f"snnir-{snnir.__version__}.dist-info"
        facts = email.message_from_bytes(packed.read(f"{inside}/METADATA"))
        license_text = packed.read(f"{inside}/licenses/LICENSE")
        assert b"snnir = snnir.cli:main" in packed.read(f"{inside}/entry_points.txt")
    assert license_text == (ROOT / "LICENSE").read_bytes()
    assert facts["Version"] == snnir.__version__
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts["Description-Content-Type"] == "text/markdown"
    needed = [n for n in facts.get_all("Requires-Dist", []) if "extra ==" not in n]
    assert {re.split("[<>=]", name)[0] for name in needed} >= {"numpy", "nir", "h5py", "click"}
    text = str(facts.get_payload())
    assert text.startswith("# snnir")
    assert not re.search(r"\]\((?!https?://|#)", text)


def test_links_of_the_description() -> None:
    spec = importlib.util.spec_from_file_location("snnir_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = "[a](docs/a.md#b), ![c](c.png), [d](https://d.example/), [e](#e)"
    assert module.description(text, "") == "a, c, [d](https://d.example/), [e](#e)"
    assert module.description(text, "https://host.example/snnir/") == (
        "[a](https://host.example/snnir/docs/a.md#b), ![c](https://host.example/snnir/c.png), "
        "[d](https://d.example/), [e](#e)"
    )


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in re.findall(r"^(\w+) = ", project_table(), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {snnir.__version__}\n" in citation
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    top = re.search(r"^## (.*)$", changes, re.MULTILINE)
    assert top is not None
    released = rf"\[{re.escape(snnir.__version__)}\] - (unreleased|\d{{4}}-\d\d-\d\d)"
    assert re.fullmatch(released, top[1]), top[1]


def project_table() -> str:
    """Return the table [project] of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return text.partition("\n[project]\n")[2].partition("\n[")[0]
