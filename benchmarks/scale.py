"""Time and memory over the size of a NIR file, beside `nir.read`.

    python x.py bench scale

A chain of n nodes (affine, LIF, affine, …) is read, verified, optimised (-O1) and emitted as a
NumPy folder; `nir.read` reads the same file. Times are from one run each in a process of its own;
trust the ratios. Then one 100 MB weight goes the same way, and the peak memory is compared with
that of the interpreter after the imports.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._shown import shown

SIZES = (1000, 3000, 10_000)
MEGABYTES = 100


def write_chain(path: Path, nodes: int) -> None:
    """Write input -> (affine -> LIF) * k -> output."""
    import nir
    import numpy as np

    four = np.ones(4, np.float32)
    named: dict[str, Any] = {"input": nir.Input(np.array([4]))}
    for index in range((nodes - 2) // 2):
        named[f"fc{index}"] = nir.Affine(np.eye(4, dtype=np.float32), four * 0)
        named[f"lif{index}"] = nir.LIF(four * 0.01, four * 10, four * 0, four)
    named["output"] = nir.Output(np.array([4]))
    names = list(named)
    edges = list(itertools.pairwise(names))
    nir.write(path, nir.NIRGraph(named, edges, type_check=False))


def write_heavy(path: Path) -> None:
    """Write one affine layer of 100 MB."""
    import nir
    import numpy as np

    side = int((MEGABYTES * 1e6 / 4) ** 0.5)
    weight = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    lif = nir.LIF(*(np.ones(side, np.float32) * v for v in (0.01, 10, 0, 1)))
    nodes = {"input": nir.Input(np.array([side])), "fc": nir.Linear(weight), "lif": lif,
             "output": nir.Output(np.array([side]))}  # fmt: skip
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False), compression=None)


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in MB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) / 1000
    return float("nan")


def ours(path: str, out: str) -> dict[str, float]:
    """Time every stage, and the peak memory above the imports in MB."""
    import snnir
    from snnir.frontends import from_nir, nir_build  # noqa: F401  (import before measuring)
    from snnir.targets.numpy_sim import target  # noqa: F401

    warnings.simplefilter("ignore")
    before = peak_memory()
    marks = [time.perf_counter()]
    graph = snnir.load(path, semantics="norse", dt=1e-3)
    marks.append(time.perf_counter())
    graph.verify()
    marks.append(time.perf_counter())
    compiled = snnir.compile(graph, level=1)
    marks.append(time.perf_counter())
    compiled.save(out)
    marks.append(time.perf_counter())
    peak = peak_memory()
    names = ("load", "verify", "compile -O1", "emit")
    times = {n: b - a for n, a, b in zip(names, marks, marks[1:], strict=False)}
    return {**times, "total": marks[-1] - marks[0], "peak MB": peak - before}


def theirs(path: str, _: str) -> dict[str, float]:
    """Time `nir.read`."""
    import nir

    start = time.perf_counter()
    nir.read(path)
    return {"nir.read": time.perf_counter() - start}


def measured(function: str, path: Path, out: Path) -> dict[str, float]:
    """Run one of the functions above in a process of its own."""
    command = [sys.executable, __file__, function, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        for nodes in shown(SIZES):
            path = Path(scratch, f"chain{nodes}.nir")
            write_chain(path, nodes)
            found = measured("ours", path, Path(scratch, "out"))
            found |= measured("theirs", path, Path(scratch, "out"))
            stages = ", ".join(f"{k} {v:.2f}" for k, v in found.items() if k != "peak MB")
            ratio = found["nir.read"] / found["total"]
            loading = found["nir.read"] / found["load"]
            print(
                f"{nodes:6} nodes: {stages} s; nir.read / total {ratio:.1f}, / load {loading:.1f}"
            )
        path = Path(scratch, "heavy.nir")
        write_heavy(path)
        found = measured("ours", path, Path(scratch, "out"))
        copies = found["peak MB"] / MEGABYTES
        print(f"{MEGABYTES} MB weight: total {found['total']:.2f} s")
        print(f"       peak {found['peak MB']:.0f} MB above the imports, {copies:.2f} weights")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
