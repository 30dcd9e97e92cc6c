"""HDF5 files through h5py, with its low-level calls: the complete, slower way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py  # noqa: TID253  (this module is only imported to read a file)
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5f, h5g, h5l, h5o, h5s, h5t  # noqa: TID253

from snnir.errors import shown

_FREE_BYTES = 1 << 20
_MAX_RATIO = 1200  # deflate cannot do better than about 1030
_NATIVE = {
    (h5t.FLOAT, 4): (np.float32, h5t.NATIVE_FLOAT),
    (h5t.FLOAT, 8): (np.float64, h5t.NATIVE_DOUBLE),
}

#: What h5py raises for files that are damaged or not HDF5.
FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError)

#: A name in an open group.
Link = tuple[Any, bytes]


class FileFault(Exception):
    """Something in the file that NIR files do not have; carries a diagnostic code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LibraryFile:
    """An open file.

    Raises:
        OSError: If it is not HDF5.
    """

    def __init__(self, path: Path) -> None:
        self._file = h5f.open(str(path).encode(), h5f.ACC_RDONLY)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def root(self) -> Any:
        """Return the root group."""
        return h5g.open(self._file, b"/")

    def entries(self, group: Any) -> dict[bytes, Link]:
        """Return the links of a group; only hard links may be there.

        Raises:
            FileFault: SNN107 for a soft or external link.
        """
        seen: list[tuple[bytes, int]] = []

        def visit(name: bytes, info: Any) -> None:
            # An exception must not pass through the library that calls this.
            seen.append((name, info.type))

        group.links.iterate(visit, info=True)
        for name, link in seen:
            if link != h5l.TYPE_HARD:
                kind = "an external" if link == h5l.TYPE_EXTERNAL else "a soft"
                raise FileFault("SNN107", f"'{_label(name)}' is {kind} link; NIR files have none")
        return {name: (group, name) for name, _ in seen}

    def is_group(self, link: Link) -> bool:
        """Whether a link leads to a group."""
        return bool(h5o.get_info(*link).type == h5o.TYPE_GROUP)

    def group(self, link: Link) -> Any:
        """Open a group.

        Raises:
            FileFault: SNN102 if it is not one.
        """
        try:
            return h5g.open(*link)
        except (KeyError, ValueError, OSError):
            raise FileFault("SNN102", f"'{_label(link[1])}' must be a group") from None

    def dataset(self, link: Link) -> npt.NDArray[Any] | bytes:
        """Read a dataset; a single text comes as bytes.

        Raises:
            FileFault: SNN102 if it is not one, SNN107 if it claims more than the file can hold.
        """
        try:
            data = h5d.open(*link)
        except (KeyError, ValueError, OSError):
            raise FileFault("SNN102", f"'{_label(link[1])}' must be a dataset") from None
        kind, shape = data.get_type(), data.shape
        if shape is None:
            raise FileFault("SNN102", f"dataset '{_label(link[1])}' is empty")
        _guard(data, shape, kind.get_size(), link[1])
        known = _NATIVE.get((kind.get_class(), kind.get_size()))
        if known is not None:
            array = np.empty(shape, known[0])
            data.read(h5s.ALL, h5s.ALL, array, known[1])
            return array
        return _other(data, kind, shape)


def _label(name: bytes) -> str:
    return shown(name.decode("utf-8", "replace"))


def _guard(data: Any, shape: tuple[int, ...], item: int, name: bytes) -> None:
    """Refuse data that claims to be far larger than what the file stores."""
    declared = item
    for extent in shape:
        declared *= extent
    if declared <= _FREE_BYTES:
        return
    stored = data.get_storage_size()
    if declared > _MAX_RATIO * max(stored, 1):
        raise FileFault(
            "SNN107",
            f"'{_label(name)}' declares shape {list(shape)}, {declared:,} bytes, but the file "
            f"stores {stored:,}",
        )


def _other(data: Any, kind: Any, shape: tuple[int, ...]) -> npt.NDArray[Any] | bytes:
    dtype = kind.dtype
    if dtype.kind == "O" and h5py.check_string_dtype(dtype) is None:
        raise FileFault("SNN102", "holds an HDF5 type that NIR does not use")
    array = np.empty(shape, dtype)
    data.read(h5s.ALL, h5s.ALL, array)
    if shape != () or array.dtype.kind not in "OS":
        return array
    value = array.item()
    return value if isinstance(value, bytes) else str(value or "").encode("utf-8", "replace")
