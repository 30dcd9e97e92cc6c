"""Model files: the `.snnir` archive, the text form, and telling formats by their content.

A `.snnir` file is a zip archive with two uncompressed entries: `graph.snn`, the text form, and
`weights.safetensors`, every larger weight once, by digest. The weights start at a multiple of 64
bytes, wider types first, so that reading maps aligned arrays instead of copying.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from snnir.errors import error, shown
from snnir.ir.graph import Graph
from snnir.ir.parser import parse_graph
from snnir.ir.printer import is_inline, print_graph
from snnir.ir.safetensors_io import map_tensors, write_tensors
from snnir.streams import DTYPES
from snnir.suggest import file_hint
from snnir.tensors import Tensor

_FORMATS = "expected .nir, .snnir, .snn, .mlir or .mlirbc"
TEXT = "graph.snn"
WEIGHTS = "weights.safetensors"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ALIGN = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_TEXT = 1 << 28
#: Bytes of a pickle that are searched for the names of classes.
_SEARCHED = 1 << 16
_SAVED_BINDSNET = "is a saved network of BindsNET, a pickle, which can run code and is never loaded"
_LIVE_BINDSNET = (
    "build the network in Python, load weights by torch.load(..., weights_only=True) from a "
    "state_dict, and give it to snnir.from_bindsnet, or as module.py:factory"
)
#: What a damaged or hostile archive makes `zipfile` raise (RuntimeError: an encrypted entry).
_ZIP_ERRORS = (
    zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError,
)  # fmt: skip


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
        if path.exists() and not path.is_file():  # reading a pipe could wait for ever
            raise error("SNN101", "is not a regular file", source=source)
        with path.open("rb") as file:
            head = file.read(4096)
            if _is_hdf5(file):
                return "nir"
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise error(
            "SNN101", f"cannot be read: {reason}", source=source, hint=file_hint(path)
        ) from None
    if head.startswith(b"PK"):
        return _sniff_zip(path, source)
    if head.startswith(b"snnir "):
        return "snn"
    if _is_pickle(head) and b"bindsnet.network" in head:
        raise error("SNN107", _SAVED_BINDSNET, source=source, hint=_LIVE_BINDSNET)
    raise error("SNN101", _what_it_is(head), source=source, hint=_FORMATS)


def _is_hdf5(file: BinaryIO) -> bool:
    """Look for the signature at 0, 512, 1024, 2048, ... as the HDF5 specification says."""
    size, start = file.seek(0, 2), 0
    while start + len(_HDF5) <= size:
        file.seek(start)
        if file.read(len(_HDF5)) == _HDF5:
            return True
        start = 2 * start or 512
    return False


def _sniff_zip(path: Path, source: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _ZIP_ERRORS:
        raise error("SNN101", "is a damaged archive, perhaps cut off", source=source) from None
    if TEXT in names:
        return "snnir"
    pickled = next((name for name in names if name.endswith("data.pkl")), None)
    if pickled is not None:
        if _names_bindsnet(path, pickled):
            raise error("SNN107", _SAVED_BINDSNET, source=source, hint=_LIVE_BINDSNET)
        hint = "pickles are never loaded, they can run code; export the model to NIR"
        raise error("SNN101", "is a torch checkpoint, not a model file", source=source, hint=hint)
    raise error("SNN101", f"is an archive without {TEXT}", source=source)


def _names_bindsnet(path: Path, entry: str) -> bool:
    """Whether a pickle in an archive names BindsNET's classes; it is searched, not loaded."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            return b"bindsnet.network" in file.read(_SEARCHED)
    except _ZIP_ERRORS:
        return False


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _what_it_is(head: bytes) -> str:
    if not head:
        return "is empty"
    if _HDF5.startswith(head[:8]) or b"snnir ".startswith(head[:6]):
        return "is cut off"
    if _is_pickle(head):
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
            write_tensors(dict(sorted(weights.items(), key=_by_width)), stream)


def _by_width(item: tuple[str, Tensor]) -> tuple[int, str]:
    """Order wider types first: each array then starts at a multiple of its element's size."""
    return -np.dtype(DTYPES[item[1].dtype]).itemsize, item[0]


def read_snnir(path: str | Path, verify_digests: bool = True) -> Graph:
    """Read a `.snnir` file or the text form; weights stay on disk, mapped read-only.

    Args:
        path: The file.
        verify_digests: Whether to read all weights once to compare them with their digests.
            Without it, altered weights go unnoticed until something asks for their digest.

    Raises:
        SnnirError: SNN101, SNN102, SNN107 or SNN108 with the file's name; SNN205 if a weight the
            text names is not in the archive.
    """
    path = Path(path)
    source = str(path)
    if sniff(path) == "snn":
        if path.stat().st_size > _MAX_TEXT:
            raise error("SNN107", "its text is absurdly long", source=source)
        return parse_graph(_decoded(path.read_bytes(), source), source=source)
    text, (start, size) = _entries(path, source)
    try:
        data = np.memmap(path, np.uint8, "r", start, (size,))
        tensors = map_tensors(data, source)
    except (OSError, ValueError) as failure:  # such as more axes than NumPy has
        raise error("SNN102", f"the weights cannot be mapped: {failure}", source=source) from None
    used = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if used + sum(value.nbytes for value in tensors.values()) != size:
        raise error("SNN102", "the archive has bytes that belong to no weight", source=source)
    graph = parse_graph(text, tensors, source)
    for name, value in graph.tensors().items():
        if not value.is_resolved:
            message = f"weight {name} #{value.digest} is missing"
            raise error("SNN205", message, source=source, hint="write the file again")
    for digest, value in tensors.items() if verify_digests else ():
        if value.digest != digest:
            message = f"the weight stored as #{shown(digest)} was altered"
            raise error("SNN102", message, source=source)
    return graph


def _entries(path: Path, source: str) -> tuple[str, tuple[int, int]]:
    """Check the archive; return the text, and where the weights lie."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if sorted(entries) != [TEXT, WEIGHTS] or len(archive.infolist()) != 2:
                raise error("SNN102", f"must hold exactly {TEXT} and {WEIGHTS}", source=source)
            spans = {name: _span(file, entries[name], source) for name in entries}
            end = 0
            for start, size in sorted(spans.values()):
                if start < end:
                    raise error("SNN102", "its entries overlap", source=source)
                end = start + size
            if end > archive.start_dir:
                raise error("SNN102", "is a damaged archive: an entry is cut off", source=source)
            if spans[TEXT][1] > _MAX_TEXT:
                raise error("SNN107", "its text is absurdly long", source=source)
            return _decoded(archive.read(TEXT), source), spans[WEIGHTS]
    except _ZIP_ERRORS as failure:
        raise error("SNN101", f"is a damaged archive ({failure})", source=source) from None


def _span(file: BinaryIO, entry: zipfile.ZipInfo, source: str) -> tuple[int, int]:
    """Return start and length of an entry's bytes, which must lie in the file as they are."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise error("SNN102", "its entries must not be compressed", source=source)
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise error("SNN102", "is a damaged archive: no entry where one is listed", source=source)
    method, *_, name_length, extra_length = struct.unpack("<8xH16xHH", header)
    if method != zipfile.ZIP_STORED or file.read(name_length) != entry.filename.encode():
        raise error("SNN102", "is a damaged archive: two accounts of an entry", source=source)
    if entry.file_size == 0:
        raise error("SNN102", "is a damaged archive: an entry is empty", source=source)
    return entry.header_offset + 30 + name_length + extra_length, entry.file_size


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise error("SNN102", "the text is not UTF-8", source=source) from None
