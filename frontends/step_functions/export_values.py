"""What the lowering of an exported torch program knows of each value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.frontends.step_functions.traced import Shape

#: Whole numbers that wrap around within what float32 holds.
_NARROW = (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32)
#: What is refused of one program at most, before the rest is left out.
MOST_FINDINGS = 20


class Refused(Exception):
    """An operation that has no place in a graph.

    Attributes:
        code: Of the diagnostic.
        reason: What is wrong, without the place.
        hint: What the user can do.
    """

    def __init__(self, reason: str, hint: str | None = None, code: str = "SNN803") -> None:
        super().__init__(reason)
        self.code, self.reason, self.hint = code, reason, hint


@dataclass(frozen=True)
class Stream:
    """A value that depends on the input or on the state.

    Attributes:
        name: Its name in the traced step.
        shape: Its shape in the exported program.
        dtype: `float`, `int` or `bool`.
    """

    name: str
    shape: Shape
    dtype: str = "float"

    def read_as(self, dtype: str) -> Stream:
        """Return the same value as another type."""
        return replace(self, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Const:
    """A value that is the same in every step, computed by torch.

    Attributes:
        tensor: The value.
        label: Name of the parameter or buffer it is, or came from by moving its elements.
    """

    tensor: torch.Tensor
    label: str = ""


#: A value of the program. Tuples are what operations with several results give.
Value = Stream | Const | float | int | bool | None | tuple[Any, ...] | list[Any]


def dtype_of(tensor: Any) -> str:
    """Return the type of a stream for a tensor's.

    Raises:
        Refused: For types that are not computed with in float32.
    """
    if tensor.dtype == torch.bool:
        return "bool"
    if tensor.dtype == torch.float32:
        return "float"
    if not tensor.dtype.is_floating_point and not tensor.dtype.is_complex:
        return "int"
    kind = str(tensor.dtype).removeprefix("torch.")
    raise Refused(f"computes in {kind}, graphs compute in float32", "use float32", "SNN807")


def check_width(example: Any) -> None:
    """Raise `Refused` for whole numbers that wrap around within what float32 holds."""
    if isinstance(example, torch.Tensor) and example.dtype in _NARROW:
        kind = str(example.dtype).removeprefix("torch.")
        raise Refused(f"computes in {kind}, which wraps around", "use int32 or int64", "SNN807")
