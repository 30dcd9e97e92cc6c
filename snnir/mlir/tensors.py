"""Tensors as attributes: element by element, as one hexadecimal string, or as a resource."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from snnir.mlir.numbers import element_text, string_text
from snnir.mlir.tree import tensor_type
from snnir.streams import DTYPES
from snnir.tensors import Array, Tensor

#: Tensors of at most this many elements are printed one by one, larger ones as a string.
LISTED = 8
#: More elements than this are never made from one that stands for all.
MAX_SPLAT = 1 << 26
_ALIGN = 64
#: MLIR adds a number to a key that its context has seen before.
_DIGEST = re.compile(r"#([0-9a-f]{16})(?:_[0-9]{1,9})?\Z")


def dense_text(value: Tensor) -> str:
    """Return `dense<…> : tensor<…>`.

    Raises:
        SnnirError: SNN205 if the tensor is unresolved.
    """
    data = value.numpy()
    return f"dense<{_elements(data)}> : {tensor_type(value.shape, value.dtype)}"


def _elements(data: Array) -> str:
    if not data.size:
        return ""
    if data.size <= MAX_SPLAT and _same_bits(data):
        return element_text(data.reshape(-1)[0])
    # Versions of MLIR differ in how they pack truth values into a string.
    if data.size <= LISTED or data.dtype == bool:
        return _list(data)
    return f'"0x{_bytes(data).hex()}"'


def _same_bits(data: Array) -> bool:
    """Whether all elements are the same, -0.0 and NaN told apart."""
    flat = data.reshape(-1)
    if data.size > 1 and flat[:1].tobytes() != flat[1:2].tobytes():
        return False
    rows = np.ascontiguousarray(flat).view(np.uint8).reshape(data.size, -1)
    return bool((rows == rows[0]).all())


def _list(data: Array) -> str:
    items: Iterable[str]
    items = map(element_text, data) if data.ndim == 1 else map(_list, data)
    return f"[{', '.join(items)}]"


def _bytes(data: Array) -> bytes:
    return np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<"), copy=False).tobytes()


def resource_text(value: Tensor, key: str) -> str:
    """Return `dense_resource<"key"> : tensor<…>`."""
    return f"dense_resource<{string_text(key)}> : {tensor_type(value.shape, value.dtype)}"


def resource_key(value: Tensor, name: str) -> str:
    """Return the key of a tensor: a name for people and its digest."""
    return f"{name}#{value.digest}"


def digest_of(key: str) -> str | None:
    """Return the digest a key ends in."""
    found = _DIGEST.search(key)
    return found[1] if found else None


def blob_text(value: Tensor) -> str:
    """Return a tensor's bytes as the resource section has them: alignment, then the data."""
    data = value.numpy()
    packed = _bytes(data)
    return f'"0x{struct.pack("<I", _ALIGN).hex()}{packed.hex()}"'


def from_bytes(data: bytes, shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return a tensor of these bytes; one element stands for all.

    Raises:
        ValueError: If the number of bytes does not fit.
    """
    kind = np.dtype(DTYPES[dtype]).newbyteorder("<")
    count = prod(shape)
    if dtype == "bool":
        return Tensor(_bits(data, count).reshape(shape))
    if len(data) == kind.itemsize and count != 1:
        return splat(np.frombuffer(data, kind)[0], shape, dtype)
    if len(data) != count * kind.itemsize:
        raise ValueError(f"has {len(data)} bytes where {count * kind.itemsize} are needed")
    return Tensor(np.frombuffer(data, kind).reshape(shape))


def _bits(data: bytes, count: int) -> Array:
    """Return truth values, a byte or a bit each."""
    if len(data) == count:
        return np.frombuffer(data, np.uint8).astype(bool)
    if len(data) != (count + 7) // 8:
        raise ValueError(f"has {len(data)} bytes where {count} bits are needed")
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count].astype(bool)


def splat(value: Any, shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return a tensor of equal elements.

    Raises:
        ValueError: If there are too many.
    """
    if prod(shape) > MAX_SPLAT:
        raise ValueError(f"stands for {prod(shape)} elements, at most {MAX_SPLAT} are made")
    return Tensor(np.full(shape, value, DTYPES[dtype]))
