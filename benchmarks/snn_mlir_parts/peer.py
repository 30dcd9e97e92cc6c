"""An installed snn-mlir, and models as it and snnir read them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from benchmarks.snn_mlir_parts.text import Array
from snnir.ir import Graph


@dataclass(frozen=True)
class Peer:
    """An installed snn-mlir.

    Attributes:
        python: The interpreter that has it.
    """

    python: str

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its command line."""
        command = [self.python, "-m", "snn_mlir", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def export(self, path: Path, to: Path, *flags: str) -> str | None:
        """Return the text it makes of a file, None if it refuses."""
        done = self.call("export", path, "-o", to, *flags)
        return to.read_text() if done.returncode == 0 else None


def load(path: Path, **options: Any) -> Graph | None:
    """Read a file with what repairs it needs, None if it is refused."""
    try:
        return snnir.load(path, repair=True, **options)
    except snnir.SnnirError:
        return None


def inputs(path: Path) -> tuple[int, ...]:
    """Return the shape of a model's input."""
    graph = load(path)
    assert graph is not None
    (signal,) = graph.inputs.values()
    return signal.shape


def model_folder(path: Path, x: Array, folder: Path) -> Path:
    """Make the folder of a model and its input [T, *features] that `codegen` and `run` want."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder)
    np.save(folder / "input.npy", x.reshape(len(x), -1).astype(np.int8))
    return folder
