"""Install a wheel on every supported Python found here: `python everywhere.py WHEEL`.

Each Python gets an empty environment with the wheel and what it depends on, nothing else, and runs
`installed.py` in an empty folder. The oldest Python also gets the oldest versions of the dependencies
that pyproject.toml allows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).with_name("installed.py")
DIGITS = ROOT / "examples" / "digits"


class Failed(Exception):
    """A command failed; its text is what the command printed."""


class Place(NamedTuple):
    """Where a wheel is tried.

    Attributes:
        python: The interpreter's command.
        label: Its version, and what is special about this environment.
        pins: Requirements that also hold, such as "numpy==1.26.0".
    """

    python: str
    label: str
    pins: tuple[str, ...] = ()


def supported() -> list[str]:
    """Return the versions of Python that pyproject.toml allows, oldest first."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', text, re.MULTILINE)
    assert found is not None
    return [f"3.{minor}" for minor in range(int(found[1]), int(found[2]))]


def oldest_dependencies() -> tuple[str, ...]:
    """Return the lower bounds of the core dependencies as pins."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    section = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    return tuple(f"{name}=={low}" for name, low in re.findall(r'"([\w-]+)>=([\d.]+)', section))


def find_python(version: str) -> str | None:
    """Return a working interpreter of this version, from PATH or from pyenv's folder."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    own = [sys.executable] if f"{sys.version_info[0]}.{sys.version_info[1]}" == version else []
    candidates = [
        *own,
        shutil.which(f"python{version}") or "",
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))),
    ]
    ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        told = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
        if told.stdout.strip() == version:
            return candidate
    return None  # a command of pyenv may be there without its Python


def try_wheel(wheel: Path, place: Place) -> str:
    """Install the wheel in an empty environment and run the checks; return what they print."""
    with tempfile.TemporaryDirectory(prefix="snnir-install-") as scratch:
        environment = Path(scratch, "environment")
        inside = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        empty = Path(scratch, "empty")
        empty.mkdir()
        # Without pip inside, the environment holds what the wheel asks for and nothing else.
        run([place.python, "-m", "venv", "--without-pip", str(environment)])
        install = [sys.executable, "-m", "pip", "--python", str(inside), "install", "-q"]
        run([*install, "--no-compile", "--only-binary=:all:", str(wheel), *place.pins])
        return run([str(inside), "-I", str(CHECKS), str(DIGITS)], empty)


def run(command: list[str], where: Path = ROOT) -> str:
    """Run a command in an environment of its own and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "PIP_RETRIES": "2"}
    kept["PYTHONWARNINGS"] = "error::SyntaxWarning"
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, env=kept, check=False)
    if done.returncode:
        raise Failed(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def places() -> tuple[list[Place], list[str]]:
    """Return where a wheel can be tried here, and which versions of Python are absent."""
    found = {version: find_python(version) for version in supported()}
    there = [Place(python, version) for version, python in found.items() if python]
    oldest = supported()[0]
    if found[oldest]:  # newer ones have no wheels of what is oldest
        label = f"{oldest} with the oldest dependencies"
        there.append(Place(str(found[oldest]), label, oldest_dependencies()))
    return there, [version for version, python in found.items() if not python]


def main(wheel: Path) -> int:
    """Try the wheel everywhere and say how it went; returns 1 if it fails anywhere."""
    there, absent = places()

    def tried(place: Place) -> tuple[bool, str]:
        try:
            return True, try_wheel(wheel.resolve(), place)
        except Failed as failure:
            return False, str(failure)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        results = list(pool.map(tried, there))
    for place, (works, told) in zip(there, results, strict=True):
        print(f"{place.label}: {'works' if works else 'FAILED'}: {told}")
    for version in absent:
        print(f"{version}: not found here, not tried")
    return 0 if there and all(works for works, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
