"""The safetensors format, streamed out of arrays and mapped back in without copies.

Format: 8 bytes little-endian header length, a JSON header of dtype, shape and byte range per
name, then the data (https://github.com/huggingface/safetensors). The `safetensors` package reads
what is written here (tested), but can neither stream into an archive nor map out of one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from snnir.errors import error
from snnir.streams import DTYPES
from snnir.tensors import Tensor

_NAMES = {
    "f64": "F64", "f32": "F32", "f16": "F16", "i64": "I64", "i32": "I32", "i16": "I16",
    "i8": "I8", "u64": "U64", "u32": "U32", "u16": "U16", "u8": "U8", "bool": "BOOL",
}  # fmt: skip
_SHORT = {name: short for short, name in _NAMES.items()}
_MAX_HEADER = 100_000_000


def write_tensors(tensors: Mapping[str, Tensor], file: IO[bytes]) -> None:
    """Write tensors by name; each array's memory is written as it is."""
    header: dict[str, Any] = {}
    offset = 0
    for name, value in tensors.items():
        end = offset + value.nbytes
        header[name] = {
            "dtype": _NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # the data starts aligned
    file.write(struct.pack("<Q", len(text)))
    file.write(text)
    for value in tensors.values():
        data = np.ascontiguousarray(value.numpy())
        if data.size:
            file.write(data.reshape(-1).view(np.uint8).data)


def map_tensors(data: np.memmap[Any, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors in a byte map, as views of it.

    Raises:
        SnnirError: SNN102 if the header lies about what the data holds.
    """
    if data.size < 8:
        raise error("SNN102", "the weights are cut off", source=source)
    length = int(struct.unpack("<Q", data[:8].tobytes())[0])
    if length > min(_MAX_HEADER, data.size - 8):
        raise error("SNN102", f"the weights' header claims {length} bytes", source=source)
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
        items = [(str(k), v) for k, v in header.items() if k != "__metadata__"]
    except (ValueError, AttributeError, RecursionError):
        raise error("SNN102", "the weights' header is not JSON", source=source) from None
    payload = data[8 + length :]
    spans = [_span(name, item, payload.size, source) for name, item in items]
    position = 0
    for begin, end in sorted((span[2], span[3]) for span in spans):
        if begin != position:
            raise error("SNN102", "the weights overlap or leave gaps", source=source)
        position = end
    return {
        name: Tensor(payload[begin:end].view(DTYPES[dtype]).reshape(shape))
        for (name, _), (dtype, shape, begin, end) in zip(items, spans, strict=True)
    }


def _span(name: str, item: Any, size: int, source: str) -> tuple[str, tuple[int, ...], int, int]:
    try:
        dtype, shape = _SHORT[item["dtype"]], tuple(item["shape"])
        begin, end = item["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise error("SNN102", f"weight '{name[:40]}' is described wrongly", source=source)
    expected = np.dtype(DTYPES[dtype]).itemsize
    for extent in shape:
        expected *= extent
    if end - begin != expected or end > size:
        message = (
            f"weight '{name[:40]}' needs {expected} bytes, the file has {min(end, size) - begin}"
        )
        raise error("SNN102", message, source=source)
    return dtype, shape, begin, end
