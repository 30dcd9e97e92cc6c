"""A reader for the classic HDF5 layout, in which `nir` writes its files.

h5py takes about 40 microseconds for each dataset it opens, and a graph of 10,000 nodes has 45,000
of a few bytes. This module maps the file and reads the structures of the HDF5 File Format
Specification (version 3: superblock 0, symbol-table groups, version 1 object headers, contiguous
or single-chunk deflated data) directly. Whatever is not of that form raises `NotClassic`, and the
caller reads with h5py instead; nothing here has to be complete, only right and safe.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_MAX_ENTRIES = 1_000_000
_MAX_DATA = 1 << 26  # larger data is left to the library

_MESSAGE = struct.Struct("<HHB3x")
_TREE = struct.Struct("<4sBBH8x8x")
_NODE = struct.Struct("<4sBxH")
_ENTRY = struct.Struct("<QQI4x16x")
_TWO = struct.Struct("<QQ")
_CHUNK = struct.Struct("<II")
_VLEN = struct.Struct("<IQI")
_HEAP_OBJECT = struct.Struct("<HH4xQ")
_LENGTH = struct.Struct("<Q")

#: Datatype messages that are read: class and version, bit field, size, properties.
_FLOATS = {
    struct.pack("<B3BIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127): np.float32,
    struct.pack("<B3BIHHBBBBI", 0x11, 0x20, 63, 0, 8, 0, 64, 52, 11, 0, 52, 1023): np.float64,
}
_INTEGERS = {
    struct.pack("<B3BIHH", 0x10, 8 if signed else 0, 0, 0, size, 0, 8 * size): np.dtype(
        f"<{'i' if signed else 'u'}{size}"
    ).type
    for signed in (True, False)
    for size in (1, 2, 4, 8)
}
_NUMBERS: dict[bytes, Any] = {**_FLOATS, **_INTEGERS}
_TEXT = "text"


class NotClassic(Exception):
    """The file, or a part of it, is not of the form this module reads."""


#: What damaged or unexpected bytes make the functions below raise.
FAILURES = (NotClassic, struct.error, IndexError, ValueError, OverflowError, zlib.error, OSError)


class Group(NamedTuple):
    """Addresses of a group's name index and of the names."""

    tree: int
    heap: int


class ClassicFile:
    """A mapped file.

    Raises:
        NotClassic: If the file does not begin with a classic superblock.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.data = memoryview(self._map)
        head = bytes(self.data[:16])
        if head[:8] != _SIGNATURE or head[8] != 0 or head[13:15] != b"\x08\x08":
            self.close()
            raise NotClassic
        base, end = struct.unpack_from("<Q8xQ", self.data, 24)
        if base != 0 or end > len(self.data):
            self.close()
            raise NotClassic
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def close(self) -> None:
        """Unmap the file."""
        self.data.release()
        self._map.close()

    def root(self) -> Group:
        """Return the root group."""
        return self.group(_LENGTH.unpack_from(self.data, 64)[0])

    def messages(self, address: int) -> dict[int, tuple[int, int]]:
        """Return (start, size) of each kind of message in an object header; later ones win."""
        data = self.data
        if data[address] != 1:
            raise NotClassic
        count, size = struct.unpack_from("<H4xI", data, address + 2)
        found: dict[int, tuple[int, int]] = {}
        blocks = [(address + 16, size)]
        while blocks and count > 0:
            at, left = blocks.pop()
            while left >= 8 and count > 0:
                kind, length, flags = _MESSAGE.unpack_from(data, at)
                if flags & 2 or kind == 6 or length > left - 8:  # shared, or a new-style link
                    raise NotClassic
                if kind == 16:
                    blocks.append(_TWO.unpack_from(data, at + 8))
                else:
                    found[kind] = (at + 8, length)
                at += 8 + length
                left -= 8 + length
                count -= 1
        return found

    def is_group(self, address: int) -> bool:
        """Whether the object at an address is a group."""
        return 17 in self.messages(address)

    def group(self, address: int) -> Group:
        """Return the group at an address."""
        found = self.messages(address)
        if 17 not in found:
            raise NotClassic
        tree, heap = _TWO.unpack_from(self.data, found[17][0])
        if bytes(self.data[heap : heap + 4]) != b"HEAP":
            raise NotClassic
        return Group(tree, heap)

    def entries(self, group: Group) -> dict[bytes, int]:
        """Return the object address of every name in a group; only hard links may be there."""
        data = self.data
        size, _, names = struct.unpack_from("<QQQ", data, group.heap + 8)
        raw = bytes(data[names : names + size])
        found: dict[bytes, int] = {}
        pending, seen = [group.tree], 0
        while pending:
            at = pending.pop()
            signature, kind, level, used = _TREE.unpack_from(data, at)
            seen += used
            if signature != b"TREE" or kind != 0 or seen > _MAX_ENTRIES:
                raise NotClassic
            children = [_LENGTH.unpack_from(data, at + 32 + 16 * i)[0] for i in range(used)]
            if level:
                pending.extend(reversed(children))
                continue
            for child in children:
                self._symbols(child, raw, found)
        return found

    def _symbols(self, at: int, names: bytes, found: dict[bytes, int]) -> None:
        signature, version, count = _NODE.unpack_from(self.data, at)
        if signature != b"SNOD" or version != 1:
            raise NotClassic
        for index in range(count):
            offset, address, kind = _ENTRY.unpack_from(self.data, at + 8 + 40 * index)
            if kind > 1 or address == _UNDEFINED:  # a soft link is for the library to name
                raise NotClassic
            found[names[offset : names.index(b"\0", offset)]] = address

    def dataset(self, address: int) -> npt.NDArray[Any] | bytes:
        """Return a numeric array, a text as bytes, or an array of texts as bytes.

        Raises:
            NotClassic: For other types, filters, or more than one chunk.
        """
        found = self.messages(address)
        shape = self._shape(*found[1])
        start, length = found[3]
        kind = self._type(bytes(self.data[start : start + length]))
        item = 16 if kind is _TEXT else np.dtype(kind).itemsize
        size = item
        for extent in shape:
            size *= extent
        if size > _MAX_DATA:
            raise NotClassic
        raw = self._raw(found, shape, size)
        if kind is _TEXT:
            return self._texts(raw, shape)
        return np.frombuffer(raw, kind).reshape(shape)

    @staticmethod
    def _type(message: bytes) -> Any:
        number = _NUMBERS.get(message[:20]) or _NUMBERS.get(message[:12])
        if number is not None:
            return number
        # Class 9 version 1, a string of variable length.
        if message[:1] == b"\x19" and message[1] & 15 == 1 and message[4:8] == b"\x10\0\0\0":
            return _TEXT
        raise NotClassic

    def _shape(self, at: int, length: int) -> tuple[int, ...]:
        version, rank = self.data[at], self.data[at + 1]
        if version == 1:
            first = at + 8
        elif version == 2 and self.data[at + 3] in (0, 1):
            first = at + 4
        else:
            raise NotClassic
        return struct.unpack_from(f"<{rank}Q", self.data, first)

    def _raw(self, found: dict[int, tuple[int, int]], shape: tuple[int, ...], size: int) -> bytes:
        at, _ = found[8]
        data = self.data
        if data[at] != 3:
            raise NotClassic
        layout = data[at + 1]
        if layout == 0:  # compact
            stored, start = struct.unpack_from("<H", data, at + 2)[0], at + 4
        elif layout == 1:  # contiguous
            start, stored = _TWO.unpack_from(data, at + 2)
        else:
            return self._chunk(at + 2, found.get(11), shape, size)
        raw = bytes(data[start : start + size])
        if stored < size or len(raw) != size:
            raise NotClassic
        return raw

    def _chunk(
        self, at: int, filters: tuple[int, int] | None, shape: tuple[int, ...], size: int
    ) -> bytes:
        data = self.data
        rank = data[at]
        tree = _LENGTH.unpack_from(data, at + 1)[0]
        extents = struct.unpack_from(f"<{rank}I", data, at + 9)
        if extents[:-1] != shape or filters is None or tree == _UNDEFINED:
            raise NotClassic
        version, count = data[filters[0]], data[filters[0] + 1]
        if version != 1 or count != 1 or data[filters[0] + 8] != 1 or data[filters[0] + 9] != 0:
            raise NotClassic  # not deflate alone
        signature, kind, level, used = _TREE.unpack_from(data, tree)
        if signature != b"TREE" or kind != 1 or level != 0 or used != 1:
            raise NotClassic
        stored, mask = _CHUNK.unpack_from(data, tree + 24)
        start = _LENGTH.unpack_from(data, tree + 32 + 8 * rank)[0]
        if mask:
            raise NotClassic
        inflate = zlib.decompressobj()
        raw = inflate.decompress(data[start : start + stored], size + 1)
        if len(raw) != size:
            raise NotClassic
        return raw

    def _texts(self, raw: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any] | bytes:
        texts = [self._text(*parts) for parts in _VLEN.iter_unpack(raw)]
        if shape == ():
            return texts[0]
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(shape)

    def _text(self, length: int, address: int, index: int) -> bytes:
        if length == 0:
            return b""
        objects = self._heaps.get(address)
        if objects is None:
            objects = self._heaps[address] = self._collection(address)
        start, size = objects[index]
        if length > size:
            raise NotClassic
        return bytes(self.data[start : start + length])

    def _collection(self, at: int) -> dict[int, tuple[int, int]]:
        """Return (start, size) of every object in a global heap collection."""
        data = self.data
        if bytes(data[at : at + 4]) != b"GCOL":
            raise NotClassic
        end = at + _LENGTH.unpack_from(data, at + 8)[0]
        found: dict[int, tuple[int, int]] = {}
        at += 16
        while at + 16 <= end:
            index, _, size = _HEAP_OBJECT.unpack_from(data, at)
            if index == 0:
                break
            found[index] = (at + 16, size)
            at += 16 + (size + 7) // 8 * 8
        return found
