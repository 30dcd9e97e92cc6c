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
    lines = np.zeros((height, 1 + channels * width), np.uint8)  # every line begins with its filter: none
    lines[:, 1:] = np.asarray(pixels, np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def signed_colours(values: npt.NDArray[Any], most: float) -> npt.NDArray[np.uint8]:
    """Return white for 0, red for positive and blue for negative values, [..., 3].

    Args:
        values: Any shape.
        most: Size at which the colour is full.
    """
    strength = np.clip(np.abs(values) / most, 0.0, 1.0)
    # What is not 0 is seen to be there.
    fade = np.where(values != 0, 0.75 - 0.75 * strength, 1.0)[..., None] * 255
    full = np.where((values > 0)[..., None], [200, 30, 30], [30, 60, 200])
    colours = np.where((values == 0)[..., None], 255, full + (255 - full) * fade / 255)
    return colours.astype(np.uint8)
