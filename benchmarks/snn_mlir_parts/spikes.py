"""Spikes: of the text that snn-mlir makes, of its programs, of snnir and of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import snnir
from benchmarks.snn_mlir_parts.peer import Peer, load, model_folder
from benchmarks.snn_mlir_parts.text import Array, Program, read
from snnir.ir import Graph

PRESETS = ("snntorch", "norse", "sinabs")
DT = 1e-4
WHOLE = "discretize,declare-inputs,fold-batchnorm,fuse-linear,quantize{bits=8}"
RATE = 0.2

#: Recorded by others, in `FOLDER/recordings`: model, input, spikes, and whose they are in both.
RECORDED = (
    ("lif_norse.nir", "lif_snntorch.csv", "lif_snntorch.csv", "%output", None),
    ("braille_zero.nir", "braille_input.npy", "braille_zero_hidden_snntorch.npy",
     "%spikes_lif1.lif", "lif1.lif"),
)  # fmt: skip


def differing(one: Array, other: Array) -> str:
    return f"{int((one != other).sum()):,}"


def spikes_of(peer: Peer, path: Path, folder: Path, steps: int) -> list[str]:
    """Return how the spikes of its text differ from snnir's, and its integers from its floats."""
    program = read((folder / f"{path.stem}.mlir").read_text())
    shape = program.arguments["%input"].shape
    x = (np.random.default_rng(0).random((steps, *shape)) < RATE).astype(np.float32)
    theirs = program.run(x)
    cells = [f"`{path.name}`", f"{int(theirs.sum()):,} of {theirs.size:,}"]
    recurrent = any("prev_spikes" in name for name in program.arguments)
    nearest: tuple[int, Graph] | None = None
    for preset in PRESETS:
        if preset == "sinabs" and recurrent:
            cells.append("–")  # Sinabs itself reads none
            continue
        graph = load(path, semantics=preset, dt=DT)
        assert graph is not None
        ours = output(graph, x)
        cells.append(f"{differing(theirs, ours)} ({int(ours.sum()):,})")
        apart = int((theirs != ours).sum())
        if nearest is None or apart < nearest[0]:
            nearest = (apart, graph)
    assert nearest is not None
    text = peer.export(path, folder / "whole.mlir", "-q")
    cells.append("refused" if text is None else differing(read(text).run(x), theirs))
    cells.append(differing(output(nearest[1].apply(WHOLE), x), output(nearest[1], x)))
    cells.append(own_program(peer, path, x, program, folder))
    return cells


def output(graph: Graph, x: Array) -> Array:
    """Return what a graph's NumPy reference makes of one sample [T, *features]."""
    return np.asarray(snnir.compile(graph).run(x[:, None]).output[:, 0])


def own_program(peer: Peer, path: Path, x: Array, program: Program, folder: Path) -> str:
    """Return how the output of its compiled program differs from that of its text."""
    model = model_folder(path, x, folder / "program")
    done = peer.call("run", model)
    if done.returncode:
        return "does not run"
    found = np.loadtxt(model / "build" / "results.csv", delimiter=",", ndmin=2)
    return differing(found, program.run(x).reshape(len(x), -1))


def against_recordings(path: Path, folder: Path) -> list[str] | None:
    """Return the spikes that differ from those that others recorded, None if there are none."""
    for name, given, expected, buffer, population in RECORDED:
        place = path.parent / "recordings"
        text = folder / f"{path.stem}.mlir"
        if name != path.name or not (place / given).exists() or not text.exists():
            continue
        x, wanted = recording(place / given, 0), recording(place / expected, 2)
        graph = load(path, semantics="snntorch", dt=DT)
        assert graph is not None
        result = snnir.compile(graph).run(x[:, None], [population] if population else [])
        ours = result.recorded[population] if population else result.output
        theirs = read(text.read_text()).run(x, buffer)
        sums = (int(values.sum()) for values in (wanted, theirs, ours))
        differ = (differing(theirs, wanted), differing(ours[:, 0], wanted))
        return [f"`{name}`", *(f"{n:,}" for n in sums), *differ]
    return None


def recording(path: Path, column: int) -> Array:
    """Read a recording [T, *features]; of a table of input, voltage and spike one column."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    return np.loadtxt(path, delimiter=",", dtype=np.float32)[:, column : column + 1]
