"""The tensors of a network: arguments of its functions, or constants where they are uniform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.c_values import narrowed
from snnir.targets.mlir_code.code import Array, Code, Scalar, Use, element_of

#: From the elements that were read to the value of a parameter.
Read = Callable[[list[Scalar]], Scalar]


@dataclass
class Weights:
    """The arguments that carry tensors, shared by all functions of a module.

    Attributes:
        arrays: By name, in the order of the arguments.
    """

    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def hold(self, name: str, array: npt.NDArray[Any]) -> Held:
        """Return a tensor that may become an argument."""
        return Held(self, name, array)

    def argument(self, name: str, array: npt.NDArray[Any]) -> Array:
        """Return the argument of a tensor."""
        known = self.arrays.setdefault(name, np.ascontiguousarray(array))
        number = list(self.arrays).index(name)
        return Array(f"%w{number}", known.shape, element_of(known.dtype))

    def types(self) -> list[tuple[str, str]]:
        """Return name and type of every argument."""
        found = [self.argument(name, array) for name, array in self.arrays.items()]
        return [(array.name, array.type) for array in found]


@dataclass(frozen=True)
class Held:
    """A tensor of the network.

    Attributes:
        weights: Where it becomes an argument.
        name: As the graph calls it.
        array: Its elements.
    """

    weights: Weights
    name: str
    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents."""
        return self.array.shape

    def reshaped(self, *shape: int) -> Held:
        """Return it with another shape."""
        return Held(self.weights, self.name, self.array.reshape(shape))

    def per_channel(self, after: int) -> Held:
        """Return one number per channel with so many axes of extent 1 behind them."""
        return self.reshaped(-1, *(1 for _ in range(after)))

    def argument(self) -> Array:
        """Return it as an argument; see `stored`."""
        return self.weights.argument(self.name, stored(self.array))

    def spread(
        self, code: Code, dims: Sequence[int], element: str, first: int = 1
    ) -> tuple[list[Use], Read]:
        """Return what a loop over rows and features has to read, and how to get the value.

        Args:
            code: Where conversions go.
            dims: The features it broadcasts to.
            element: The type wanted.
            first: Axis of the loop that is the first feature.
        """
        if is_uniform(self.array):
            number = code.number(self.array.flat[0], element)
            return [], lambda _: number
        shape = (1,) * (len(dims) - self.array.ndim) + self.shape
        places = [place for place, extent in enumerate(shape) if extent != 1]
        held = self.weights.argument(
            self.name, stored(self.array.reshape([shape[p] for p in places]))
        )
        at = [f"d{first + place}" for place in places]
        return [(held, at)], lambda given: code.cast(given[0], element)


def is_uniform(array: npt.NDArray[Any]) -> bool:
    """Whether all elements of a tensor are one number, which is a constant then."""
    # Bits, so that zeros of both signs differ and NaNs do not.
    bits = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")
    return bits.size > 0 and bool((bits == bits[0]).all())


def stored(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tensor as functions take it: whole numbers in few bytes, float16 as float32."""
    found: npt.NDArray[Any] = narrowed(array.astype("f4") if array.dtype == "f2" else array)
    return found
