"""What must work where only snnir and what it needs is installed.

Run by the Python of an empty environment, in an empty folder: `python installed.py DIGITS_FOLDER`.
Nothing of the repository is imported; `examples/digits` gives a model, an input and the spikes
that its training code saw.
"""

from __future__ import annotations

import compileall
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import snnir

Array = npt.NDArray[Any]

SNNIR = Path(sys.executable).with_name("snnir.exe" if os.name == "nt" else "snnir")


def main() -> None:
    """Check the version, the command line, the API and the emitted folder."""
    digits = Path(sys.argv[1]).resolve()
    is_installed()
    x, spikes = samples(digits / "samples.npz")
    np.save("x.npy", x)
    model = str(digits / "digits.nir")
    command_line(model)
    api(model, x, spikes)
    folder(x, spikes)
    has = sorted(f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions())
    print(f"Python {sys.version.split()[0]} with {', '.join(has)}")


def is_installed() -> None:
    """The package is that of this environment, and its version the one of its metadata."""
    place = Path(snnir.__file__).resolve()
    assert Path(sys.prefix).resolve() in place.parents, place
    assert compileall.compile_dir(place.parent, quiet=1), "a file is no Python of this version"
    assert importlib.metadata.version("snnir") == snnir.__version__
    assert snnir.__version__ in told("--version")


def told(*arguments: str) -> str:
    """Return what the installed command `snnir` prints; its errors and warnings fail."""
    done = subprocess.run([SNNIR, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search("error|warning|Traceback", done.stderr, re.IGNORECASE), done.stderr
    return done.stdout + done.stderr


def samples(path: Path) -> tuple[Array, dict[str, Array]]:
    """Return 20 inputs [T, 20, 64] and the spikes of both layers."""
    with np.load(path, allow_pickle=False) as data:
        steps, batch, _ = (int(n) for n in data["shape"])

        def unpacked(name: str) -> Array:
            flat = np.unpackbits(data[name]).reshape(steps, batch, -1)
            return flat[:, :20].astype(np.float32)

        return unpacked("x"), {"hidden": unpacked("hidden"), "digit": unpacked("out")}


def command_line(model: str) -> None:
    """A user's first commands."""
    assert "numpy" in told("list", "targets")
    assert "hidden" in told("inspect", model)
    assert "identical" in told("compile", model, "--target", "numpy", "-o", "out", "--verify")
    assert "digit" in told("run", "out", "--input", "x.npy")
    assert "identical" in told("diff", model, "out", "--input", "x.npy")


def api(model: str, x: Array, spikes: dict[str, Array]) -> None:
    """The same from Python: every spike equals the trainer's."""
    graph = snnir.load(model)
    result = snnir.compile(graph, target="numpy").run(x, record=list(spikes))
    for name, expected in spikes.items():
        np.testing.assert_array_equal(result.recorded[name], expected)
    snnir.save(graph, "again.nir")
    assert snnir.diff(graph, snnir.load("again.nir"), x).identical
    assert snnir.diff(graph, "out", x).identical


def folder(x: Array, spikes: dict[str, Array]) -> None:
    """The emitted program by itself, which knows nothing of snnir."""
    recorded = [word for name in spikes for word in ("--record", name)]
    command = [sys.executable, "-I", "out/model.py", "x.npy", "-o", "y.npz", *recorded]
    subprocess.run(command, check=True)
    with np.load("y.npz", allow_pickle=False) as made:
        names = [str(name) for name in made["names"]]
        for name, expected in spikes.items():
            found = made[f"array_{names.index('record/' + name)}"]
            np.testing.assert_array_equal(found, expected)
    assert "<html" in Path("out", "report.html").read_text("utf-8")


if __name__ == "__main__":
    main()
