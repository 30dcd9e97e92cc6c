"""Numbers and strings as MLIR writes them, without loss."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np

_PLAIN = frozenset(range(0x20, 0x7F)) - {ord('"'), ord("\\")}
_ESCAPE = re.compile(rb'\\([0-9A-Fa-f]{2}|[nt"\\])')
_SHORT = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\"}
_HAS_POINT = re.compile(r"-?\d+\.")


def string_text(text: str) -> str:
    """Return a string literal; bytes that are not printable ASCII are escaped."""
    data = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(chr(b) if b in _PLAIN else f"\\{b:02X}" for b in data) + '"'


def string_value(literal: str) -> str:
    """Return what a string literal stands for.

    Raises:
        ValueError: If its bytes are not text.
    """
    data = literal[1:-1].encode("utf-8", "surrogatepass")
    if b"\\" in data:
        data = _ESCAPE.sub(_unescape, data)
    return data.decode("utf-8", "surrogatepass")


def _unescape(match: re.Match[bytes]) -> bytes:
    return _SHORT.get(match[1]) or bytes([int(match[1], 16)])


def float_text(value: float) -> str:
    """Return the shortest text that reads back as the same float64."""
    if not math.isfinite(value):
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    text = repr(float(value))
    if not _HAS_POINT.match(text):  # MLIR wants a point, also before an exponent
        mantissa, mark, exponent = text.partition("e")
        text = f"{mantissa}.0{mark}{exponent}"
    return text


def float_value(text: str, bits: int = 64) -> float:
    """Return a float that is written in decimals, or as the hexadecimal form of its bits.

    Raises:
        ValueError: If the bits are too many.
    """
    if not text.startswith("0x"):
        return float(text)
    data = int(text, 16).to_bytes(bits // 8, "little") if len(text) <= 18 else b""
    if not data:
        raise ValueError(text)
    return float(np.frombuffer(data, f"<f{bits // 8}")[0])


def element_text(value: Any) -> str:
    """Return an element of a tensor, exactly."""
    if isinstance(value, np.bool_):
        return "true" if value else "false"
    if isinstance(value, np.integer):
        return str(int(value))
    if not np.isfinite(value):
        bits = value.dtype.itemsize * 8
        return f"0x{int.from_bytes(value.tobytes(), 'little'):0{bits // 4}X}"
    text = str(value)
    # A reader rounds to float64 first; the shortest text of a narrower type may not survive that.
    exact = float_text(float(text))
    return exact if type(value)(float(text)) == value else float_text(float(value))
