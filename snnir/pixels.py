"""Arrays of colours as PNG files, for reports; needs nothing but NumPy."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[Any]) -> bytes:
    """Return a picture as the bytes of a PNG file (W3C Portable Network Graphics, 3rd edition).

    Args:
        pixels: [height, width, 3], red, green and blue from 0 to 255, or [height, width, 4] with
            opacity.
    """
    height, width, channels = pixels.shape
    kind = {3: 2, 4: 6}[channels]
    lines = np.zeros(
        (height, 1 + channels * width), np.uint8
    )  # every line begins with its filter: none
    lines[:, 1:] = np.asarray(pixels, np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum
