"""Constant arrays: weights and parameters, immutable and shared, never copied by accident."""

from __future__ import annotations

import hashlib
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from math import prod
from typing import Any, TypeVar, Union

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.streams import DTYPES, SHORT_DTYPES, shape_text

Array = npt.NDArray[Any]
TensorLike = Union["Tensor", npt.ArrayLike]
V = TypeVar("V")


_SHORT = {np.dtype(name): short for name, short in SHORT_DTYPES.items()}


class Tensor:
    """An immutable array that is compared by content and carried by reference.

    A tensor may be *unresolved*: known by digest, dtype and shape (as the text form has it) while
    its data is elsewhere. Arrays are wrapped, not copied: the caller must not write to them after.

    Args:
        array: Any array of a dtype in `DTYPES` (big-endian data is converted).

    Raises:
        SnnirError: SNN105 if the dtype is not numeric.
    """

    __slots__ = ("_array", "_digest", "_has_nan", "dtype", "shape")

    dtype: str
    shape: tuple[int, ...]

    def __init__(self, array: npt.ArrayLike) -> None:
        data = np.asarray(array)
        if not data.dtype.isnative:
            data = data.astype(data.dtype.newbyteorder("="))
        short = _SHORT.get(data.dtype)
        if short is None:
            raise error("SNN105", f"arrays of type {data.dtype} are not supported")
        view = data.view()
        view.flags.writeable = False
        self._array: Array | None = view
        self._digest: str | None = None
        self._has_nan: bool | None = None
        self.dtype = short
        self.shape = data.shape

    @classmethod
    def unresolved(cls, digest: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        """Return a tensor that is only known by its digest."""
        tensor = cls.__new__(cls)
        tensor._array, tensor._digest, tensor._has_nan = None, digest, False
        tensor.dtype, tensor.shape = dtype, shape
        return tensor

    @property
    def is_resolved(self) -> bool:
        """Whether the data is at hand."""
        return self._array is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return self.size * np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of type, shape and little-endian data."""
        if self._digest is None:
            data = np.ascontiguousarray(self.numpy())
            sha = hashlib.sha256(shape_text(self.shape, self.dtype).encode())
            if data.size:
                sha.update(data.reshape(-1).view(np.uint8).data)
            self._digest = sha.hexdigest()[:16]
        return self._digest

    def numpy(self) -> Array:
        """Return the read-only array.

        Raises:
            SnnirError: SNN205 if the tensor is unresolved.
        """
        if self._array is None:
            raise error(
                "SNN205",
                f"the data of weight #{self._digest} is not in the text form",
                hint="load the .snnir or .nir file instead",
            )
        return self._array

    def item(self) -> float:
        """Return the only element as a Python number."""
        return float(self.numpy().item())

    @property
    def has_nan(self) -> bool:
        """Whether any element is NaN (unknown data counts as none); computed once."""
        if self._has_nan is None:
            data = self.numpy()
            # min propagates NaN without a temporary the size of the weights.
            self._has_nan = bool(data.dtype.kind == "f" and data.size and np.isnan(data.min()))
        return self._has_nan

    def is_uniform(self) -> bool:
        """Whether all elements are equal (an empty tensor is not)."""
        data = self.numpy()
        return bool(data.size and (data == data.reshape(-1)[0]).all())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Tensor):
            return NotImplemented
        same_type = self.shape == other.shape and self.dtype == other.dtype
        return same_type and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.digest))

    def __repr__(self) -> str:
        return f"Tensor({shape_text(self.shape, self.dtype)}, #{self.digest})"


def tensor(value: TensorLike) -> Tensor:
    """Wrap a value as a tensor; Python floats become 0-d float32."""
    if isinstance(value, Tensor):
        return value
    if type(value) in (bool, int, float):
        return Tensor(np.array(value, np.float32))
    return Tensor(value)


class FrozenDict(Mapping[str, V]):
    """An immutable, ordered mapping with value equality."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, V] | None = None) -> None:
        self._data = dict(data or {})

    def __getitem__(self, key: str) -> V:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    # The methods a mapping inherits are many times slower than those of the dict itself.

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._data.keys()

    def values(self) -> ValuesView[V]:
        """Return the values."""
        return self._data.values()

    def items(self) -> ItemsView[str, V]:
        """Return the pairs."""
        return self._data.items()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._data == dict(other)

    def __hash__(self) -> int:
        return hash(tuple(self._data))

    def __repr__(self) -> str:
        return repr(self._data)
