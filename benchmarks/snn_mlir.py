"""What the package snn-mlir makes of NIR files, beside what snnir makes of them.

    python3 x.py bench snn_mlir FOLDER --peer PYTHON

PYTHON is the interpreter of an environment that has it: `python3 -m venv peer` and
`peer/bin/pip install snn-mlir==1.0.0`. Verifiers are those of torch-mlir and IREE, where installed
(`pip install torch-mlir iree-base-compiler`). The package's `run` needs its `snn-opt` and the LLVM
that built it; where `SNN_OPT` and `MLIR_DIR` name them, spikes are also those of its own programs,
else only those of its text (`snn_mlir_parts/text.py`).
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import nir
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import snnir
from benchmarks._shown import shown
from benchmarks.snn_mlir_parts.changes import variants
from benchmarks.snn_mlir_parts.nodes import GRAPHS, build
from benchmarks.snn_mlir_parts.peer import Peer, inputs, load, model_folder
from benchmarks.snn_mlir_parts.spikes import PRESETS, against_recordings, spikes_of
from benchmarks.snn_mlir_parts.text import NotUnderstoodError, read
from snnir.c_build import compiler
from snnir.ir import Provenance

TOOLS = ("torch-mlir-opt", "iree-opt", "iree-compile")
FUNCTION = ("--function=snn_forward_step",)


def shorten(message: str, width: int = 110) -> str:
    """Return the line that says what is wrong: the first finding of a report, else the last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = [line for line in lines if "ERROR" in line or line.startswith("snn-mlir: error:")]
    after = [b for a, b in itertools.pairwise(lines) if a.startswith("FAIL")]
    line = ([*after, *told, *lines[-1:]] or [""])[0]
    for start in ("snn-mlir: error:", "ERROR"):
        line = line.removeprefix(start).strip()
    return line if len(line) <= width else line[: width - 1] + "…"


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table of Markdown."""
    print(f"**{title}**\n")
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")
    print()


def yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not installed"}[value]


# --- Acceptance -----------------------------------------------------------------------------------


def accepted(peer: Peer, path: Path, folder: Path) -> list[str]:
    """Return what both say to a file."""
    check = peer.call("check", path)
    export = peer.call("export", path, "-o", folder / f"{path.stem}.mlir")
    said = "" if check.returncode == 0 else shorten(check.stderr + check.stdout)
    try:
        snnir.load(path)
        ours = "reads"
    except snnir.SnnirError as refusal:
        try:
            snnir.load(path, repair=True)
            ours = "reads with `--repair`"
        except snnir.SnnirError:
            ours = f"refuses: {shorten(str(refusal))}"
    return [f"`{path.name}`", str(check.returncode), str(export.returncode), said, ours]


# --- Verifiers ------------------------------------------------------------------------------------


def tool(name: str) -> str | None:
    """Return the path of a program beside this Python or on the path."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def takes(name: str, path: Path, *flags: str) -> bool | None:
    """Whether a program takes a file; None if it is not installed."""
    found = tool(name)
    if found is None:
        return None
    done = subprocess.run([found, *flags, str(path)], capture_output=True, check=False)
    return done.returncode == 0


def verified(path: Path, folder: Path) -> list[str]:
    """Return what the verifiers say to its text, to snnir's, and whether that reads back."""
    theirs = folder / f"{path.stem}.mlir"
    cells = [f"`{path.name}`"]
    cells += verifiers(theirs, "--allow-unregistered-dialect") if theirs.exists() else ["–"] * 3
    graph = load(path)
    if graph is None:
        return [*cells, *["–"] * 3]
    text = snnir.to_mlir(graph)
    ours, dialect = folder / f"{path.stem}.snnir.mlir", folder / "snn.irdl.mlir"
    ours.write_text(text)
    dialect.write_text(snnir.mlir.dialect_text())
    again = snnir.from_mlir(text)
    back = again == graph and str(again) == str(graph)
    return [*cells, *verifiers(ours, f"--irdl-file={dialect}")[:2], yes(back)]


def verifiers(path: Path, *flags: str) -> list[str]:
    """Return whether torch-mlir's and IREE's verifiers and IREE's compiler take a file."""
    known = (*flags, "-o", os.devnull)
    compiled = takes("iree-compile", path, "--iree-hal-target-backends=llvm-cpu", "-o", os.devnull)
    return [yes(takes(name, path, *known)) for name in ("torch-mlir-opt", "iree-opt")] + [
        yes(compiled)
    ]


def lowered(path: Path, folder: Path) -> list[str]:
    """Return what the verifiers say once its own lowering to linalg has run."""
    to = folder / f"{path.stem}.linalg.mlir"
    command = [os.environ["SNN_OPT"], "--convert-snn-to-linalg", "-o", str(to)]
    source = str(folder / f"{path.stem}.mlir")
    done = subprocess.run([*command, source], capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"`{path.name}`", f"no: {shorten(done.stderr)}", *["–"] * 4]
    made = folder / "lowered.vmfb"
    cells = verifiers(to)
    takes("iree-compile", to, "--iree-hal-target-backends=llvm-cpu", "-o", str(made))
    given = [
        f"--input={'x'.join(map(str, value.shape))}xf32=0"
        for value in read(Path(source).read_text()).arguments.values()
    ]
    ran = made.exists() and takes("iree-run-module", Path(f"--module={made}"), *FUNCTION, *given)
    return [f"`{path.name}`", "yes", *cells, yes(ran)]


def ours_lowered(path: Path, folder: Path, steps: int) -> list[str]:
    """Return what becomes of snnir's lowering under `norse`: verified, compiled, its spikes."""
    graph = load(path, semantics="norse")
    if graph is None:
        return [f"`{path.name}`", "refused", *["–"] * 4]
    made = snnir.compile(graph, "mlir")
    x = {
        name: (np.random.default_rng(0).random((steps, 2, *signal.shape)) < 0.3).astype(np.float32)
        for name, signal in made.graph.inputs.items()
    }
    text = made.save(folder / f"{path.stem} lowered") / "model.mlir"
    names = list(snnir.populations(made.graph))
    want = snnir.compile(graph, "numpy").run(x, names).recorded
    try:
        got = made.run(x, names).recorded
    except snnir.SnnirError as absent:
        return [f"`{path.name}`", *verifiers(text), str(absent), ""]
    differ = sum(int((got[name] != want[name]).sum()) for name in names)
    total = sum(int(spikes.sum()) for spikes in want.values())
    return [f"`{path.name}`", *verifiers(text), str(total), str(differ)]


def toolchain(peer: Peer, path: Path, folder: Path) -> list[str]:
    """Return whether its C is made, compiles alone, and runs."""
    model = model_folder(path, np.zeros((2, *inputs(path)), np.int8), folder / "chain")
    made = peer.call("codegen", model)
    build = [*compiler(), "-c", "main.c", "-o", os.devnull]
    compiled = made.returncode == 0 and (
        subprocess.run(build, cwd=model / "build", capture_output=True, check=False).returncode == 0
    )
    ran = peer.call("run", model)
    said = "yes" if ran.returncode == 0 else f"no: {shorten(' '.join(ran.stderr.split()))}"
    return [f"`{path.name}`", yes(made.returncode == 0), yes(compiled), said]


# --- What is kept ---------------------------------------------------------------------------------


def ours_of(path: Path) -> str | None:
    """Return snnir's text of a file, without where it came from; None if it is refused."""
    graph = load(path)
    if graph is None:
        return None
    return snnir.to_mlir(graph.edit().graph(provenance=Provenance()))


def verdict(before: str | None, after: str | None) -> str:
    """Say what became of a change: in the text or not, or refused."""
    if before is None or after is None:
        return "refused"
    return "in the text" if before != after else "not in the text"


def kept(peer: Peer, path: Path, folder: Path) -> dict[str, tuple[str, str] | None]:
    """Return by change what becomes of it in both."""
    found: dict[str, tuple[str, str] | None] = {}
    place = folder / f"kept {path.stem}"
    place.mkdir()
    for label, pair in variants(path, place).items():
        if pair is None:
            found[label] = None
            continue
        theirs = [peer.export(file, place / f"{i}.mlir") for i, file in enumerate(pair)]
        found[label] = (verdict(*theirs), verdict(*map(ours_of, pair)))
    return found


# --- Printing -------------------------------------------------------------------------------------


def print_nodes(peer: Peer, folder: Path) -> None:
    """Print which small graphs both take; snn-mlir as floats and as integers."""
    rows = []
    for number, name in enumerate(shown(GRAPHS)):
        path = folder / f"node{number}.nir"
        nir.write(path, build(name))
        to = folder / "node.mlir"
        theirs = [yes(peer.export(path, to, *flags) is not None) for flags in ((), ("-q",))]
        rows.append([name, *theirs, yes(ours_of(path) is not None)])
    table("nodes", ["NIR", "snn-mlir", "snn-mlir `-q`", "snnir"], rows)


def print_kept(peer: Peer, paths: list[Path], folder: Path) -> None:
    """Print what becomes of changes, one column per file and tool."""
    found = {path: kept(peer, path, folder) for path in paths}
    head = ["change"]
    for path in paths:
        head += [f"`{path.stem}`: snn-mlir", "snnir"]
    rows = []
    for label in next(iter(found.values()), {}):
        cells = [label]
        for path in paths:
            cells += found[path][label] or ("–", "–")
        rows.append(cells)
    table("changes", head, rows)


def print_text(paths: list[Path], folder: Path) -> None:
    """Print what programs of MLIR say to the text of both."""
    head = ["file", *(f"{name} takes its text" for name in TOOLS)]
    head += [*(f"{name} takes snnir's" for name in TOOLS[:2]), "snnir's reads back equal"]
    table("verifiers", head, [verified(path, folder) for path in paths])


def print_programs(peer: Peer, paths: list[Path], folder: Path) -> None:
    """Print how far its text and C come to a program."""
    head = ["file", "`codegen`", "its C compiles", "`run`"]
    table("C", head, [toolchain(peer, path, folder) for path in paths])
    if "SNN_OPT" in os.environ:
        head = ["file", "its lowering to linalg", *(f"{name} takes that" for name in TOOLS)]
        rows = [lowered(path, folder) for path in paths]
        table("lowering", [*head, "IREE runs that"], rows)


def print_ours(paths: list[Path], folder: Path, steps: int) -> None:
    """Print how far snnir's lowering comes."""
    head = ["file", *(f"{name} takes it" for name in TOOLS), "spikes", "differ in IREE"]
    table("snnir's lowering", head, [ours_lowered(path, folder, steps) for path in paths])


def print_spikes(peer: Peer, paths: list[Path], folder: Path, steps: int) -> None:
    """Print spikes on random input, and on recorded input where there is some."""
    head = ["file", "spikes of its text", *(f"differ from snnir's `{p}` (spikes)" for p in PRESETS)]
    head += ["its integers from its floats", "snnir's from its floats", "its program from its text"]
    rows = []
    for path in paths:
        try:
            rows.append(spikes_of(peer, path, folder, steps))
        except NotUnderstoodError as unknown:
            rows.append([f"`{path.name}`", f"not stepped: {unknown}", *["–"] * 6])
    table("spikes", head, rows)
    recorded = [row for path in paths if (row := against_recordings(path, folder))]
    if recorded:
        head = ["file", "recorded", "snn-mlir", "snnir", "snn-mlir differs", "snnir differs"]
        table("recordings", head, recorded)


def print_all(peer: Peer, paths: list[Path], folder: Path, steps: int) -> None:
    """Print all tables."""
    head = ["file", "`check`", "`export`", "it says", "snnir"]
    table("files", head, [accepted(peer, path, folder) for path in paths])
    print_text(paths, folder)
    print_ours(paths, folder, steps)
    good = [path for path in paths if (folder / f"{path.stem}.mlir").exists()]
    print_programs(peer, good, folder)
    print_kept(peer, good, folder)
    print_nodes(peer, folder)
    print_spikes(peer, good, folder, steps)


def main() -> None:
    """Print what both make of a folder's files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    peer = Peer(arguments.peer)
    version = peer.call("--version")
    if version.returncode:
        parser.error(
            f"{peer.python} has no snn-mlir: install it (pip install snn-mlir==1.0.0) in an "
            "environment of its own, and name its python with --peer"
        )
    print(version.stdout.strip() + "\n")
    paths = sorted(arguments.folder.glob("*.nir"))
    if not paths:
        parser.error(f"no .nir file in {arguments.folder}")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        print_all(peer, paths, Path(folder), arguments.steps)


if __name__ == "__main__":
    main()
