"""Model files: the `.snnir` archive, the text form, and telling formats by their content.

A `.snnir` file is a zip archive with two uncompressed entries: `graph.snn`, the text form, and
`weights.safetensors`, every larger weight once, by digest. The weights start at a multiple of 64
bytes, so that reading maps them instead of copying.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.parser import parse_graph
from snnir.ir.printer import is_inline, print_graph
from snnir.ir.safetensors_io import map_tensors, write_tensors
from snnir.tensors import Tensor

TEXT = "graph.snn"
WEIGHTS = "weights.safetensors"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ALIGN = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_TEXT = 1 << 28


def sniff(path: str | Path) -> str:
    """Return `nir`, `snnir` or `snn` for a model file.

    Raises:
        SnnirError: SNN101 saying what the file is instead, if that can be told.
    """
    path = Path(path)
    source = str(path)
    if path.is_dir():
        hint = "artefact folders are run or inspected, not loaded"
        raise error("SNN101", "is a folder, not a model file", source=source, hint=hint)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as failure:
        raise error("SNN101", f"cannot be read: {failure.strerror}", source=source) from None
    if any(head[start : start + 8] == _HDF5 for start in (0, 512, 1024, 2048)):
        return "nir"
    if head.startswith(b"PK"):
        return _sniff_zip(path, source)
    if head.startswith(b"snnir "):
        return "snn"
    raise error("SNN101", _what_it_is(head), source=source, hint="expected .nir, .snnir or .snn")


def _sniff_zip(path: Path, source: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise error("SNN101", "is a damaged archive, perhaps cut off", source=source) from None
    if TEXT in names:
        return "snnir"
    if any(name.endswith("data.pkl") for name in names):
        hint = "pickles are never loaded, they can run code; export the model to NIR"
        raise error("SNN101", "is a torch checkpoint, not a model file", source=source, hint=hint)
    raise error("SNN101", f"is an archive without {TEXT}", source=source)


def _what_it_is(head: bytes) -> str:
    if not head:
        return "is empty"
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a Python pickle, which is never loaded"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself"
    return "is neither HDF5 nor an snnir file"


def write_snnir(graph: Graph, path: str | Path) -> None:
    """Write a `.snnir` file, whole or not at all; the same graph gives the same bytes.

    Raises:
        SnnirError: SNN205 if weights are unresolved, SNN702 if the file cannot be written.
    """
    from snnir.artefact import replacing

    with replacing(Path(path)) as file:
        write_archive(graph, file)


def write_archive(graph: Graph, file: BinaryIO) -> None:
    """Write the archive to a binary stream; weights are written from where they lie."""
    weights: dict[str, Tensor] = {}
    for value in graph.tensors().values():
        if not is_inline(value):
            weights.setdefault(value.digest, value)
            value.numpy()
    text = print_graph(graph).encode("utf-8")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(zipfile.ZipInfo(TEXT, _EPOCH), text)
        entry = zipfile.ZipInfo(WEIGHTS, _EPOCH)
        # Local header: 30 bytes, the name, zip64 (20) and our padding field (4 + n).
        start = file.tell() + 30 + len(WEIGHTS) + 20 + 4
        padding = -start % _ALIGN
        entry.extra = struct.pack("<HH", 0x5350, padding) + b"\0" * padding
        with archive.open(entry, "w", force_zip64=True) as stream:
            write_tensors({key: weights[key] for key in sorted(weights)}, stream)


def read_snnir(path: str | Path) -> Graph:
    """Read a `.snnir` file or the text form; weights stay on disk, mapped read-only.

    Raises:
        SnnirError: SNN101, SNN102 or SNN108 with the file's name; SNN205 if a weight the text
            names is not in the archive.
    """
    path = Path(path)
    source = str(path)
    if sniff(path) == "snn":
        return parse_graph(_decoded(path.read_bytes(), source), source=source)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if sorted(entries) != [TEXT, WEIGHTS] or len(archive.infolist()) != 2:
                raise error("SNN102", f"must hold exactly {TEXT} and {WEIGHTS}", source=source)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise error("SNN102", "its entries must not be compressed", source=source)
            if entries[TEXT].file_size > _MAX_TEXT:
                raise error("SNN107", "its text is absurdly long", source=source)
            text = _decoded(archive.read(TEXT), source)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as failure:
        raise error("SNN101", f"is a damaged archive ({failure})", source=source) from None
    tensors = map_tensors(_mapped(path, entries[WEIGHTS], source), source)
    graph = parse_graph(text, tensors, source)
    for name, value in graph.tensors().items():
        if not value.is_resolved:
            raise error("SNN205", f"weight {name} #{value.digest} is missing", source=source)
    for digest, value in tensors.items():
        if value.digest != digest:
            raise error("SNN102", f"the weight stored as #{digest} was altered", source=source)
    return graph


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise error("SNN102", "the text is not UTF-8", source=source) from None


def _mapped(path: Path, entry: zipfile.ZipInfo, source: str) -> Any:
    """Map the bytes of an uncompressed entry."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise error("SNN102", "is a damaged archive", source=source)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        size = file.seek(0, 2)
    start = entry.header_offset + 30 + name_length + extra_length
    if entry.file_size == 0 or start + entry.file_size > size:
        raise error("SNN102", "the weights are cut off", source=source)
    return np.memmap(path, np.uint8, "r", start, (entry.file_size,))
