"""Types of the streams that flow between ops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from snnir.errors import error

#: Element types a stream or a tensor may have, as printed, with NumPy's name.
DTYPES: dict[str, str] = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u64": "uint64",
    "u32": "uint32",
    "u16": "uint16",
    "u8": "uint8",
    "bool": "bool",
}
SHORT_DTYPES: dict[str, str] = {numpy: short for short, numpy in DTYPES.items()}


class Kind(str, Enum):
    """What a stream carries.

    A stream of a narrower kind may feed an op that accepts a wider one only where the op says so;
    the op `current` makes the step from spikes or counts to a current explicit.
    """

    SPIKES = "spikes"
    """0 or 1 at each step."""
    COUNTS = "counts"
    """Non-negative integers: several spikes in a step, or graded events."""
    ANALOG = "analog"
    """Real numbers sampled every step."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Signal:
    """Type of one stream; time and batch are implicit.

    Attributes:
        kind: What the stream carries.
        shape: Per-step, per-sample shape, channels first; `()` is a scalar.
        dtype: Key of `DTYPES`.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str = "f32"

    @property
    def size(self) -> int:
        """Number of elements per step and sample."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def reshaped(self, shape: tuple[int, ...]) -> Signal:
        """Return the same kind of stream with another shape."""
        return Signal(self.kind, shape, self.dtype)

    def __str__(self) -> str:
        return f"{self.kind}<{shape_text(self.shape, self.dtype)}>"


def shape_text(shape: tuple[int, ...], dtype: str) -> str:
    """Print `2x34xf32`."""
    return "x".join([*map(str, shape), dtype])


_SHAPE = re.compile(r"((?:[0-9]{1,18}x)*)([a-z]+[0-9]*)")
_SIGNAL = re.compile(r"(spikes|counts|analog)<([^<>]*)>")


def parse_shape(text: str) -> tuple[tuple[int, ...], str]:
    """Read `2x34xf32`; the inverse of `shape_text`.

    Raises:
        SnnirError: SNN102 if the text is not of that form.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or match[2] not in DTYPES:
        raise error("SNN102", f"'{text}' is not a shape such as 2x34xf32")
    return tuple(int(extent) for extent in match[1].split("x") if extent), match[2]


def parse_signal(text: str) -> Signal:
    """Read `spikes<2x34xf32>`; the inverse of `str(signal)`.

    Raises:
        SnnirError: SNN102 if the text is not of that form.
    """
    match = _SIGNAL.fullmatch(text)
    if match is None:
        raise error("SNN102", f"'{text}' is not a type such as spikes<12xf32>")
    shape, dtype = parse_shape(match[2])
    return Signal(Kind(match[1]), shape, dtype)
