"""How large and how fast the C of published models is: `x.py bench native_sizes [--corpus FOLDER]`.

Code is compiled with `-Os` for this machine, without weights; a step is one sample on input of
which 5 % is active, with `-O3`. `embedded` is the same model in integers of 8 bits.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from snnir.c_build import compiler
from snnir.ir import Graph
from snnir.targets.native.sizes import sizes

ROOT = Path(__file__).resolve().parent.parent
STEPS = 200


def code_bytes(folder: Path) -> int:
    """Return the bytes of code of a folder's program."""
    flags = ["-std=c99", "-Os", "-ffp-contract=off", "-c", "snn.c", "-o", "snn.o"]
    subprocess.run([*compiler(), *flags], cwd=folder, check=True)
    done = subprocess.run(["size", "snn.o"], cwd=folder, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[1].split()[0])


def microseconds(made: Any) -> float:
    """Return the least time of a step."""
    x = {
        name: (np.random.default_rng(0).random((STEPS, 1, *s.shape)) < 0.05).astype(np.float32)
        for name, s in made.graph.inputs.items()
    }
    made.run(x)
    found = []
    for _ in range(9):
        begin = time.perf_counter()
        made.simulator.run(x)
        found.append(time.perf_counter() - begin)
    return min(found) / STEPS * 1e6


def integers(graph: Graph) -> Graph | None:
    """Return the model in integers, None if it cannot be one."""
    passes = "discretize,declare-inputs,fold-batchnorm,fuse-linear,quantize"
    try:
        return graph.apply(passes)
    except snnir.SnnirError:
        return None


def row(path: Path, folder: Path) -> str:
    """Return a line of the table."""
    try:
        graph = snnir.load(path, semantics="snntorch", repair=True)
    except snnir.SnnirError:
        return f"| `{path.name}` | refused | | | | |"
    made: Any = snnir.compile(graph, "native")
    made.save(folder / "host")
    lines = len((folder / "host" / "snn.c").read_text().splitlines())
    weights = (folder / "host" / "weights.bin").stat().st_size
    whole = integers(graph)
    small = "–"
    if whole is not None:
        program = snnir.compile(whole, "native", level=0, profile="embedded").program  # type: ignore[attr-defined]
        found = sizes(program)
        small = f"{sum(s.flash for s in found):,} / {sum(s.ram for s in found):,}"
    code = code_bytes(folder / "host")
    return (
        f"| `{path.name}` | {lines} | {code:,} | {weights:,} | {microseconds(made):.3g} | {small} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| model | lines of C | code | weights | µs per step | embedded: weights / RAM |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for path in shown(sorted(arguments.corpus.glob("*.nir"))):
            print(row(path, Path(folder)))


if __name__ == "__main__":
    main()
