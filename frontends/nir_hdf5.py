"""Reading the HDF5 layout of NIR files: tolerant of versions, distrustful of content.

Only what the format needs is followed: hard links to groups and datasets. Files of the usual form
are read by `hdf5_classic`, which is several times faster; all others by h5py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from snnir.errors import SnnirError, error, shown
from snnir.frontends import hdf5_classic
from snnir.frontends.hdf5_classic import ClassicFile
from snnir.frontends.hdf5_library import FAILURES, FileFault, LibraryFile

Field = npt.NDArray[Any] | str

_MAX_DEPTH = 32
_MAX_NAME = 4096
_MAX_NODES = 1_000_000


@dataclass
class RawNode:
    """One group of the file, not yet interpreted.

    Attributes:
        name: Name of the group.
        type: Value of its dataset `type`.
        fields: All other datasets.
        metadata: Datasets of the group `metadata`.
        nodes, edges: Content of a nested graph.
    """

    name: str
    type: str
    fields: dict[str, Field] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)


def read_raw(path: Path, *, classic: bool = True) -> tuple[RawNode, str]:
    """Return the root graph of a NIR file and the version string it carries ("" if none).

    Args:
        path: The file.
        classic: Whether to try the fast reader first.

    Raises:
        SnnirError: SNN101 if it is not readable HDF5, SNN102 if the layout is not NIR's, SNN107
            for links that leave the group, absurd shapes or absurd nesting.
    """
    if classic:
        try:
            file = ClassicFile(path)
        except hdf5_classic.FAILURES:
            return _read_by_library(path)
        try:
            return _Reader(str(path), file).root()
        except hdf5_classic.FAILURES:
            pass  # damaged or unusual: the library says what it is
        finally:
            file.close()
    return _read_by_library(path)


def _read_by_library(path: Path) -> tuple[RawNode, str]:
    source = str(path)
    try:
        file = LibraryFile(path)
    except FAILURES as failure:
        message = f"is not a readable HDF5 file ({_reason(failure)})"
        raise error("SNN101", message, source=source) from None
    reader = _Reader(source, file)
    try:
        return reader.root()
    except FAILURES as failure:
        message = f"the HDF5 data cannot be read ({_reason(failure)})"
        raise error("SNN101", message, source=source, node=reader.where) from None
    finally:
        file.close()


def _reason(failure: Exception) -> str:
    return shown(str(failure).splitlines()[0] if str(failure) else type(failure).__name__)


class _Reader:
    """Reads NIR's layout from an open file of either kind.

    Links are what the file's `entries` gives: an address or an open group with a name.
    """

    def __init__(self, source: str, file: ClassicFile | LibraryFile) -> None:
        self.source = source
        self.file: Any = file
        self.where: str | None = None
        self.count = 0

    def fail(self, code: str, message: str, hint: str | None = None) -> SnnirError:
        return error(code, message, node=self.where, source=self.source, hint=hint)

    def links(self, group: Any) -> dict[str, Any]:
        """Return what a group holds, by name."""
        try:
            entries = self.file.entries(group)
        except FileFault as fault:
            raise self.fail(fault.code, str(fault)) from None
        found: dict[str, Any] = {}
        for raw, link in entries.items():
            if len(raw) > _MAX_NAME:
                raise self.fail("SNN107", f"a name has {len(raw)} bytes, limit {_MAX_NAME}")
            found[self.text(raw)] = link
        return found

    def group(self, link: Any) -> Any:
        try:
            return self.file.group(link)
        except FileFault as fault:
            raise self.fail(fault.code, str(fault)) from None

    def dataset(self, link: Any) -> Field:
        try:
            value = self.file.dataset(link)
        except FileFault as fault:
            raise self.fail(fault.code, str(fault)) from None
        return self.text(value) if isinstance(value, bytes) else value

    def text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, bytes):
            raise self.fail("SNN102", f"expected a text, found {type(value).__name__}")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("SNN102", f"the text {value[:40]!r} is not UTF-8") from None

    def root(self) -> tuple[RawNode, str]:
        links = self.links(self.file.root())
        version = str(self.dataset(links["version"])) if "version" in links else ""
        if "node" not in links:
            listed = ", ".join(shown(name) for name in list(links)[:5]) or "nothing"
            raise self.fail(
                "SNN102", f"has no group 'node', so it is HDF5 but not NIR (it holds {listed})"
            )
        root = self.group(links["node"])
        return self.node(self.links(root), "node", "", 0), version

    def node(self, links: dict[str, Any], name: str, path: str, depth: int) -> RawNode:
        self.count += 1
        if depth > _MAX_DEPTH:
            raise self.fail("SNN107", f"graphs are nested deeper than {_MAX_DEPTH}")
        if self.count > _MAX_NODES:
            raise self.fail("SNN107", f"there are more than {_MAX_NODES} nodes")
        if "type" not in links:
            if depth == 0:
                raise self.incomplete_root(links)
            raise self.fail("SNN102", "has no 'type'; the export that made the file failed")
        node = RawNode(name, str(self.dataset(links["type"])))
        for key, link in links.items():
            if key == "metadata":
                node.metadata = self.metadata(self.group(link), depth)
            elif key == "nodes":
                self.children(node, link, path, depth)
            elif key == "edges":
                node.edges = self.edges(link)
            elif key != "type":
                node.fields[key] = self.dataset(link)
        if node.type == "NIRGraph" and "edges" not in links:
            raise self.incomplete_root(links)
        return node

    def incomplete_root(self, links: dict[str, Any]) -> SnnirError:
        missing = [name for name in ("type", "edges") if name not in links]
        return self.fail(
            "SNN102",
            f"the graph has no {' and no '.join(repr(name) for name in missing)}, so nothing says "
            "how its nodes are connected; the export that made the file failed",
            hint="export the model again",
        )

    def children(self, node: RawNode, link: Any, path: str, depth: int) -> None:
        prefix = f"{path}." if path else ""
        pending = [("", self.group(link))]
        while pending:
            lead, holder = pending.pop()
            for name, inner in self.links(holder).items():
                outer, self.where = self.where, prefix + lead + name
                child = self.group(inner)
                links = self.links(child)
                if self.is_split_name(links) and lead.count("/") < _MAX_DEPTH:
                    # h5py turned a '/' in a node's name into a group of groups.
                    pending.append((f"{lead}{name}/", child))
                else:
                    full = lead + name
                    node.nodes[full] = self.node(links, full, prefix + full, depth + 1)
                self.where = outer

    def is_split_name(self, links: dict[str, Any]) -> bool:
        """Whether a group is no node but holds only groups."""
        if not links or "type" in links:
            return False
        return all(self.file.is_group(link) for link in links.values())

    def edges(self, link: Any) -> list[tuple[str, str]]:
        value = self.dataset(link)
        if isinstance(value, str) or (value.size and (value.ndim != 2 or value.shape[1] != 2)):
            raise self.fail("SNN102", "'edges' must be a list of pairs of names")
        return [(self.text(a), self.text(b)) for a, b in value.tolist()] if value.size else []

    def metadata(self, group: Any, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise self.fail("SNN107", f"metadata is nested deeper than {_MAX_DEPTH}")
        found: dict[str, Any] = {}
        for name, link in self.links(group).items():
            if self.file.is_group(link):
                found[name] = self.metadata(self.group(link), depth + 1)
            else:
                found[name] = self.dataset(link)
        return found
