"""Reading a folder's weights without the package they are written with; copied into folders."""

from __future__ import annotations

import json
import pathlib
import struct
from typing import Any

import numpy as np

_WORDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read_weights(path: pathlib.Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file, without that package."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, facts in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = (8 + length + at for at in facts["data_offsets"])
            flat = np.frombuffer(data[first:last], _WORDS[facts["dtype"]])
            found[name] = flat.reshape(facts["shape"])
    return found
