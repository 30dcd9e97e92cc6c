"""Artefact folders: writing them whole or not at all, and reading them back with distrust."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from snnir.digest import file_digest
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Origin
from snnir.lasting import lasting_states
from snnir.meaning import meaning_of
from snnir.progress import progress, tell
from snnir.streams import Kind, Signal

if TYPE_CHECKING:
    from snnir.operations import Activity
    from snnir.target import Compiled, Content, Target

FORMAT = 1
MANIFEST = "manifest.json"
REPORT = "report.html"
#: What readers of a manifest rely on.
_REQUIRED = {"target": str, "inputs": list, "outputs": list, "populations": dict}


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well.

    Raises:
        SnnirError: SNN702 if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    except OSError as failure:
        raise error("SNN702", f"cannot be written: {failure.strerror}", source=str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
        tell("wrote %s, %s bytes", path, f"{path.stat().st_size:,}")
    except OSError as failure:
        raise error("SNN702", f"cannot be written: {failure.strerror}", source=str(path)) from None
    finally:
        if os.path.exists(name):
            os.unlink(name)


def write_artefact(compiled: Compiled, folder: Path, activity: Activity | None = None) -> Path:
    """Write an artefact folder aside and rename it into place.

    Raises:
        SnnirError: SNN702 if the folder exists and is not an artefact, or cannot be written.
    """
    from snnir.reporting.artefact_page import artefact_page

    _check_destination(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
    except OSError as failure:
        raise error(
            "SNN702", f"cannot be written: {failure.strerror}", source=str(folder)
        ) from None
    try:
        with progress(f"writing {folder.name}", len(compiled.files)) as step:
            digests = {}
            for name, content in compiled.files.items():
                digests[name] = _write(aside / name, content)
                step()
        facts = manifest(compiled, digests)
        page = artefact_page(compiled, facts, activity).encode()
        facts["files"][REPORT] = _write(aside / REPORT, page)
        _write(aside / MANIFEST, (json.dumps(facts, indent=2) + "\n").encode())
        os.chmod(aside, 0o755)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as failure:
        raise error(
            "SNN702", f"cannot be written: {failure.strerror}", source=str(folder)
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for name in [*digests, REPORT, MANIFEST]:
        tell("wrote %s, %s bytes", folder / name, f"{(folder / name).stat().st_size:,}")
    return folder


def _check_destination(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    known = folder.is_dir() and not folder.is_symlink()
    if not known or (any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise error(
            "SNN702",
            "exists and is not an artefact folder",
            source=str(folder),
            hint="choose another -o, or remove it",
        )


def _write(path: Path, content: Content) -> str:
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
            return hashlib.sha256(content).hexdigest()
        content(file)
    return file_digest(path)


def manifest(compiled: Compiled, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest: everything one needs to know to run or check the folder."""
    from snnir import __version__

    graph, target = compiled.graph, compiled.target
    return {
        "format": FORMAT,
        "snnir": __version__,
        "target": target.name,
        "options": {item.name: getattr(target, item.name) for item in fields(target)},
        "entry": compiled.entry,
        "model": graph.name,
        "source": {"name": graph.provenance.source, "sha256": graph.provenance.digest},
        **_about(graph, compiled.inputs, compiled.outputs),
        "passes": [record.spec for record in compiled.history.records],
        "losses": [
            *compiled.history.losses,
            *(f"{entry.node}: {entry.what}" for entry in compiled.losses.losses),
        ],
        "notes": list(graph.provenance.notes),
        "meaning": meaning_of(graph, _precision(target), compiled.losses.nodes, target.name),
        "files": dict(digests),
    }


def graph_facts(graph: Graph) -> dict[str, Any]:
    """Return the part of a manifest that is known of a graph before it is compiled."""
    outputs = {name: graph.signals[value] for name, value in graph.outputs.items()}
    return {
        **_about(graph, graph.inputs, outputs),
        "losses": [],
        "notes": list(graph.provenance.notes),
        "meaning": meaning_of(graph),
    }


def _precision(target: Target) -> dict[str, Origin]:
    """Return the item that a target's precision is, if it has one."""
    defaults = {item.name: item.default for item in fields(target)}
    if "precision" not in defaults:
        return {}
    value = str(vars(target)["precision"])
    if value == defaults["precision"]:
        return {"precision": Origin(value, Origin.ASSUMED, f"target '{target.name}', its default")}
    return {"precision": Origin(value, Origin.GIVEN, f"option 'precision' of '{target.name}'")}


def _about(
    graph: Graph, inputs: Mapping[str, Signal], outputs: Mapping[str, Signal]
) -> dict[str, Any]:
    return {
        "dt": graph.dt,
        "record_offset": graph.record_offset,
        "inputs": [_port(name, signal) for name, signal in inputs.items()],
        "outputs": [_port(name, signal) for name, signal in outputs.items()],
        "populations": populations(graph),
        "lasting": [
            {"name": name, "shape": list(state.shape), "dtype": state.dtype}
            for name, state in lasting_states(graph).items()
        ],
        "semantics": semantics_of(graph),
    }


def _port(name: str, signal: Signal) -> dict[str, Any]:
    return {
        "name": name,
        "kind": str(signal.kind),
        "shape": list(signal.shape),
        "dtype": signal.dtype,
    }


def populations(graph: Graph) -> dict[str, int]:
    """Return the number of neurons of every population that spikes, in order of flow."""
    found: dict[str, int] = {}
    for name in graph.order:
        op = graph.nodes[name].op
        if isinstance(op, (Neuron, Step)) and graph.signal(name).kind is not Kind.ANALOG:
            found[name] = graph.signal(name).size
    return found


def membranes(graph: Graph) -> dict[str, int]:
    """Return the number of neurons by the name under which their membranes are recorded.

    Args:
        graph: After its neurons were discretised (`snnir.compile`); a neuron that is still
            continuous, or whose state is not called `v`, is not among them.
    """
    found: dict[str, int] = {}
    for name in graph.order:
        op = graph.nodes[name].op
        if isinstance(op, Step) and any(state.name == "v" for state in op.program.states):
            found[f"{name}:v"] = graph.signal(name).size
    return found


def semantics_of(graph: Graph) -> dict[str, Any]:
    """Return how every neuron is stepped, by node name."""
    found: dict[str, Any] = {}
    for node in graph.nodes.values():
        if isinstance(node.op, Neuron):
            stepping = node.op.stepping
            found[node.name] = {
                "model": node.op.model,
                "stepping": stepping.attributes() if stepping else None,
            }
        elif isinstance(node.op, Step):
            dynamics = node.op.dynamics
            attributes = getattr(dynamics, "attributes", None)
            rules = attributes() if attributes else {"program": node.op.program.name}
            found[node.name] = {"model": node.op.model, "step": rules}
    return found


@dataclass(frozen=True)
class Folder:
    """An artefact folder that has been checked.

    Attributes:
        path: Where it is.
        manifest: Its manifest.
    """

    path: Path
    manifest: dict[str, Any]


def is_artefact(path: Path) -> bool:
    """Whether a path is a folder with a manifest."""
    return path.is_dir() and (path / MANIFEST).is_file()


def open_artefact(path: str | Path) -> Folder:
    """Read a folder's manifest and check every file against it.

    Raises:
        SnnirError: SNN502 naming the file that is missing, altered or unsafe.
    """
    folder = Path(path)
    source = str(folder)
    if not is_artefact(folder):
        message = f"has no {MANIFEST}, so it is not an artefact folder"
        raise error("SNN502", message, source=source, hint="`snnir compile` writes one")
    try:
        facts = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as failure:
        raise error("SNN502", f"{MANIFEST} cannot be read: {failure}", source=source) from None
    if not isinstance(facts, dict) or not isinstance(facts.get("files"), dict):
        raise error("SNN502", f"{MANIFEST} is not a manifest", source=source)
    if facts.get("format") != FORMAT:
        message = f"has format {facts.get('format')!r}, known is {FORMAT}"
        hint = "compile again with this version, or use the one that wrote it"
        raise error("SNN108", message, source=source, hint=hint)
    wrong = [key for key, kind in _REQUIRED.items() if not isinstance(facts.get(key), kind)]
    if wrong:
        message = f"{MANIFEST} lacks {', '.join(wrong)}, or they have the wrong type"
        raise error("SNN502", message, source=source)
    for name, digest in facts["files"].items():
        file = folder / name
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            message = f"file '{name}' is missing or outside the folder"
            raise error("SNN502", message, source=source, hint="compile again")
        if file_digest(file) != digest:
            hint = "compile again, or restore the file"
            raise error("SNN502", f"file '{name}' was altered", source=source, hint=hint)
    return Folder(folder, facts)
