"""What is read of BindsNET's objects: classes by name, tensors as arrays; nothing is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.tensors import Tensor

Array = npt.NDArray[Any]


class Unsupported(Exception):
    """A layer or connection that cannot be read; the caller adds its name.

    Attributes:
        code: Of the diagnostic.
        hint: What would help.
    """

    def __init__(self, message: str, hint: str | None = None, code: str = "SNN802") -> None:
        super().__init__(message)
        self.hint, self.code = hint, code


def class_of(item: Any, module: str) -> str:
    """Return the name of an object's class if it is one of a module of BindsNET, else ""."""
    cls = type(item)
    return cls.__name__ if cls.__module__ == f"bindsnet.{module}" else ""


def array_of(value: Any) -> Array:
    """Return a number or a tensor, dense or sparse, as an array.

    Raises:
        Unsupported: SNN807 if it is not on the CPU.
    """
    if hasattr(value, "detach"):
        if value.device.type != "cpu":
            where = f"its tensors are on {value.device}"
            raise Unsupported(where, "move the network: network.to('cpu')", "SNN807")
        value = value.detach()
        value = (value.to_dense() if value.is_sparse else value).numpy()
    return np.asarray(value)


def float32_of(value: Any, name: str) -> Array:
    """Return a parameter of layers as BindsNET computes with it: in float32.

    Raises:
        Unsupported: SNN807 for a tensor of float64, which makes torch compute in float64, or for
            what is not a number.
    """
    array = array_of(value)
    if array.dtype.kind not in "fiub":
        raise Unsupported(f"{name} is {array.dtype}, must be numbers", code="SNN807")
    if array.ndim and array.dtype == np.float64:
        hint = "give it as torch.float32"
        raise Unsupported(f"{name} is a tensor of float64", hint, "SNN807")
    found = array.astype(np.float32)
    if np.isnan(found).any():
        raise Unsupported(f"{name} is not a number", code="SNN807")
    return found


def without_batch(array: Array, rank: int) -> Array:
    """Return an array without leading axes of one element beyond those of the layer."""
    while array.ndim > rank and array.shape[0] == 1:
        array = array[0]
    return array


def weights_of(value: Any, name: str = "w") -> Array:
    """Return weights, which must be float32.

    Raises:
        Unsupported: SNN807 for other types, NaN or infinity.
    """
    array = array_of(value)
    if array.dtype != np.float32:
        hint = "give weights as torch.float32"
        raise Unsupported(f"{name} is {array.dtype}, must be float32", hint, "SNN807")
    if not np.isfinite(array).all():
        raise Unsupported(f"{name} contains NaN or infinity", code="SNN807")
    return array


def tensor_of(array: Array) -> Tensor:
    """Return a copy of an array as a tensor: BindsNET changes its own in place."""
    return Tensor(np.array(array, order="C"))


def sums_exactly(weights: Array) -> bool:
    """Whether sums of weights [post, pre] over any of the sources are exact, in every order.

    They are where all weights are multiples of one power of two, and few and small enough.
    """
    values = np.abs(weights[weights != 0].astype(np.float64))
    if not values.size:
        return True
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**24).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(np.float64)) + exponent - 24
    unit = 2.0 ** lowest.min()
    return bool(np.abs(weights.astype(np.float64)).sum(axis=1).max() <= unit * 2.0**24)
