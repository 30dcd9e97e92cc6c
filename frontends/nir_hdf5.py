"""Reading the HDF5 layout of NIR files: tolerant of versions, distrustful of content.

Only what the format needs is followed: hard links to groups and datasets. h5py's low-level calls
are used because a graph of 10,000 nodes holds 45,000 tiny datasets.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py  # noqa: TID253  (this module is only imported to read a file)
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5f, h5g, h5l, h5o, h5s, h5t  # noqa: TID253

from snnir.errors import SnnirError, error, shown

Field = npt.NDArray[Any] | str

_MAX_DEPTH = 32
_MAX_NAME = 4096
_FREE_BYTES = 1 << 20
_MAX_RATIO = 1200  # deflate cannot do better than about 1030
_NATIVE = {
    (h5t.FLOAT, 4): (np.float32, h5t.NATIVE_FLOAT),
    (h5t.FLOAT, 8): (np.float64, h5t.NATIVE_DOUBLE),
}


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


def read_raw(path: Path) -> tuple[RawNode, str]:
    """Return the root graph of a NIR file and the version string it carries ("" if none).

    Raises:
        SnnirError: SNN101 if it is not readable HDF5, SNN102 if the layout is not NIR's, SNN107
            for links that leave the group, absurd shapes or absurd nesting.
    """
    source = str(path)
    try:
        file = h5f.open(str(path).encode(), h5f.ACC_RDONLY)
    except (OSError, RuntimeError, ValueError) as failure:
        raise error(
            "SNN101", f"is not a readable HDF5 file ({_reason(failure)})", source=source
        ) from None
    reader = _Reader(source)
    try:
        with _no_collection():
            return reader.root(file)
    except SnnirError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as failure:
        message = f"the HDF5 data cannot be read ({_reason(failure)})"
        raise error("SNN101", message, source=source, node=reader.where) from None
    finally:
        file.close()


def _reason(failure: Exception) -> str:
    return shown(str(failure).splitlines()[0] if str(failure) else type(failure).__name__)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector: reading makes many objects and no garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.where: str | None = None

    def fail(self, code: str, message: str, hint: str | None = None) -> SnnirError:
        return error(code, message, node=self.where, source=self.source, hint=hint)

    def root(self, file: Any) -> tuple[RawNode, str]:
        group = h5g.open(file, b"/")
        links = self.links(group)
        version = ""
        if "version" in links:
            version = str(self.dataset(group, b"version"))
        if "node" not in links:
            listed = ", ".join(shown(name) for name in list(links)[:5]) or "nothing"
            raise self.fail(
                "SNN102", f"has no group 'node', so it is HDF5 but not NIR (it holds {listed})"
            )
        root = self.open_group(group, b"node")
        return self.node(root, self.links(root), "node", "", 0), version

    def links(self, group: Any) -> dict[str, bytes]:
        """Return the names in a group; only hard links may be there."""
        seen: list[tuple[bytes, int]] = []

        def visit(name: bytes, info: Any) -> None:
            # An exception must not pass through the library that calls this.
            seen.append((name, info.type))

        group.links.iterate(visit, info=True)
        found: dict[str, bytes] = {}
        for name, link in seen:
            if link != h5l.TYPE_HARD:
                kind = "an external" if link == h5l.TYPE_EXTERNAL else "a soft"
                label = shown(name.decode("utf-8", "replace"))
                raise self.fail("SNN107", f"'{label}' is {kind} link; NIR files have none")
            if len(name) > _MAX_NAME:
                raise self.fail("SNN107", f"a name has {len(name)} bytes, limit {_MAX_NAME}")
            try:
                found[name.decode("utf-8")] = name
            except UnicodeDecodeError:
                raise self.fail("SNN102", f"the name {name[:40]!r} is not UTF-8") from None
        return found

    def open_group(self, parent: Any, name: bytes) -> Any:
        try:
            return h5g.open(parent, name)
        except (KeyError, ValueError, OSError):
            label = shown(name.decode("utf-8", "replace"))
            raise self.fail("SNN102", f"'{label}' must be a group") from None

    def node(
        self, group: Any, links: dict[str, bytes], name: str, path: str, depth: int
    ) -> RawNode:
        if depth > _MAX_DEPTH:
            raise self.fail("SNN107", f"graphs are nested deeper than {_MAX_DEPTH}")
        if "type" not in links:
            if depth == 0:
                raise self.incomplete_root(links)
            raise self.fail("SNN102", "has no 'type'; the export that made the file failed")
        node = RawNode(name, str(self.dataset(group, b"type")))
        for key, raw in links.items():
            if key == "metadata":
                node.metadata = self.metadata(self.open_group(group, raw), depth)
            elif key == "nodes":
                self.children(node, group, raw, path, depth)
            elif key == "edges":
                node.edges = self.edges(group)
            elif key != "type":
                node.fields[key] = self.dataset(group, raw)
        if node.type == "NIRGraph" and "edges" not in links:
            raise self.incomplete_root(links)
        return node

    def incomplete_root(self, links: dict[str, bytes]) -> SnnirError:
        missing = [name for name in ("type", "edges") if name not in links]
        return self.fail(
            "SNN102",
            f"the graph has no {' and no '.join(repr(name) for name in missing)}, so nothing says "
            "how its nodes are connected; the export that made the file failed",
            hint="export the model again",
        )

    def children(self, node: RawNode, group: Any, raw: bytes, path: str, depth: int) -> None:
        prefix = f"{path}." if path else ""
        pending = [("", self.open_group(group, raw))]
        while pending:
            lead, holder = pending.pop()
            for name in self.links(holder):
                outer, self.where = self.where, prefix + lead + name
                child = self.open_group(holder, name.encode())
                links = self.links(child)
                if self.is_split_name(child, links) and lead.count("/") < _MAX_DEPTH:
                    # h5py turned a '/' in a node's name into a group of groups.
                    pending.append((f"{lead}{name}/", child))
                else:
                    full = lead + name
                    node.nodes[full] = self.node(child, links, full, self.where, depth + 1)
                self.where = outer

    @staticmethod
    def is_split_name(group: Any, links: dict[str, bytes]) -> bool:
        """Whether a group is no node but holds only groups."""
        if not links or "type" in links:
            return False
        return all(h5o.get_info(group, raw).type == h5o.TYPE_GROUP for raw in links.values())

    def edges(self, group: Any) -> list[tuple[str, str]]:
        value = self.dataset(group, b"edges")
        if isinstance(value, str) or (value.size and (value.ndim != 2 or value.shape[1] != 2)):
            raise self.fail("SNN102", "'edges' must be a list of pairs of names")
        return [(self.text(a), self.text(b)) for a, b in value.tolist()] if value.size else []

    def text(self, value: Any) -> str:
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                raise self.fail("SNN102", f"the text {value[:40]!r} is not UTF-8") from None
        if isinstance(value, str):
            return value
        raise self.fail("SNN102", f"expected a text, found {type(value).__name__}")

    def metadata(self, group: Any, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise self.fail("SNN107", f"metadata is nested deeper than {_MAX_DEPTH}")
        found: dict[str, Any] = {}
        for name, raw in self.links(group).items():
            try:
                found[name] = self.dataset(group, raw)
            except SnnirError as failure:
                if failure.diagnostics[0].code != "SNN102":
                    raise
                found[name] = self.metadata(self.open_group(group, raw), depth + 1)
        return found

    def dataset(self, group: Any, name: bytes) -> Field:
        try:
            data = h5d.open(group, name)
        except (KeyError, ValueError, OSError):
            label = shown(name.decode("utf-8", "replace"))
            raise self.fail("SNN102", f"'{label}' must be a dataset") from None
        kind = data.get_type()
        known = _NATIVE.get((kind.get_class(), kind.get_size()))
        shape = data.shape
        if shape is None:
            raise self.fail("SNN102", f"dataset '{shown(name.decode())}' is empty")
        self.guard(data, shape, kind.get_size(), name)
        if known is not None:
            array = np.empty(shape, known[0])
            data.read(h5s.ALL, h5s.ALL, array, known[1])
            return array
        return self.other(data, kind, shape)

    def guard(self, data: Any, shape: tuple[int, ...], item: int, name: bytes) -> None:
        """Refuse data that claims to be far larger than what the file stores."""
        declared = item
        for extent in shape:
            declared *= extent
        if declared > _FREE_BYTES:
            stored = data.get_storage_size()
            if declared > _MAX_RATIO * max(stored, 1):
                raise self.fail(
                    "SNN107",
                    f"'{shown(name.decode())}' declares shape {list(shape)}, {declared:,} bytes, "
                    f"but the file stores {stored:,}",
                )

    def other(self, data: Any, kind: Any, shape: tuple[int, ...]) -> Field:
        dtype = kind.dtype
        if dtype.kind == "O" and h5py.check_string_dtype(dtype) is None:
            raise self.fail("SNN102", "holds an HDF5 type that NIR does not use")
        array = np.empty(shape, dtype)
        data.read(h5s.ALL, h5s.ALL, array)
        if shape == () and array.dtype.kind in "OS":
            value = array.item()
            return self.text("" if value is None else value)
        return array
