"""Wheel and source archive hold every file of the four folders, with or without links."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("snnir", "frontends", "passes", "targets")
LINKED = FOLDERS[1:]
META = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def source_files() -> list[Path]:
    """Every file git tracks or would, except links, relative to the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *FOLDERS],
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
    for path in [*files, *map(Path, META)]:
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, where / path)
    for folder in LINKED:
        (where / folder).mkdir(exist_ok=True)
        link = where / "snnir" / folder
        if links == "symbolic":
            link.symlink_to(f"../{folder}", target_is_directory=True)
        elif links == "text":
            link.write_text(f"../{folder}")


def test_links_are_relative_and_lead_to_the_folders() -> None:
    for folder in LINKED:
        link = ROOT / "snnir" / folder
        if link.is_file():
            pytest.skip("this checkout has no symbolic links")
        assert link.readlink() == Path("..") / folder


@pytest.mark.slow
@pytest.mark.parametrize("links", ["symbolic", "text", "none"])
def test_wheel_is_complete(tmp_path: Path, links: str) -> None:
    files = source_files()
    checkout = tmp_path / "checkout"
    copy_checkout(checkout, files, links)
    # Builds the source archive, and the wheel from that: so both must be complete.
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(checkout)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == {installed_name(path) for path in files}
    assert "snnir/py.typed" in packed
