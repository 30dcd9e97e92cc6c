"""The chip's own camera as the source of a model's input."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from snnir.errors import error
from snnir.targets.speck import chips
from snnir.targets.speck.core import Pair, Sensor, Shape
from snnir.targets.speck.neurons import NotFit

POLARITIES = ("", "both", "merge", "on", "off")
MIRRORS = ("", "x", "y", "xy")


@dataclass(frozen=True)
class View:
    """How the model looks at the sensor.

    Attributes:
        origin: Pixel of the sensor where the model's picture begins, (y, x).
        mirror: Axes that are turned round: ``, `x`, `y` or `xy`.
        swap: Whether x and y change places, after all else.
        polarity: `both` (two channels: off, on), `merge`, `on` or `off` (one channel), or `` for
            what the model's number of channels says.
    """

    origin: Pair = (0, 0)
    mirror: str = ""
    swap: bool = False
    polarity: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("mirror", MIRRORS), ("polarity", POLARITIES)):
            value = getattr(self, name)
            if value not in allowed:
                what = f"target 'speck': {name} is '{value}'"
                raise error("SNN503", what, hint=f"use one of {', '.join(allowed[1:])}")


def origin_of(text: str) -> Pair:
    """Read `X,Y`.

    Raises:
        SnnirError: SNN503 if it is no pixel of the sensor.
    """
    parts = text.split(",")
    if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
        x, y = map(int, parts)
        if max(x, y) < chips.SENSOR:
            return y, x
    raise error("SNN503", f"target 'speck': origin is '{text}'", hint="write X,Y, each 0 to 127")


def sensor_for(view: View, shape: Shape, poolings: Collection[int]) -> Sensor:
    """Return the sensor's block for an input.

    Args:
        view: How the model looks at the sensor.
        shape: Maps of the input, before it is pooled.
        poolings: Windows with which layers read it.

    Raises:
        NotFit: If the block cannot be so.
    """
    if len(poolings) != 1:
        listed = " and ".join(f"{p}x{p}" for p in sorted(poolings))
        raise NotFit(f"is read pooled by {listed}; the sensor pools for all alike")
    (pooling,) = poolings
    if pooling not in chips.SENSOR_POOLING:
        raise NotFit(f"is pooled over {pooling}x{pooling}; the sensor pools over 1, 2 or 4")
    wanted = view.polarity or ("both" if shape.channels == 2 else "merge")
    channels = 2 if wanted == "both" else 1
    if shape.channels != channels:
        what = f"has {shape.channels} channels; the sensor gives {channels} (polarity={wanted})"
        raise NotFit(what, "2 channels are off and on, 1 is either")
    size = shape.height // pooling, shape.width // pooling
    size = size[::-1] if view.swap else size
    for axis, start, extent in zip("yx", view.origin, size, strict=True):
        if start % pooling:
            raise NotFit(f"begins at pixel {start} ({axis}), within a window of {pooling}")
        if start + extent * pooling > chips.SENSOR:
            end = start + extent * pooling
            raise NotFit(f"reaches pixel {end} ({axis}); the sensor has {chips.SENSOR}")
    return Sensor(
        (), (pooling, pooling), (view.origin[0] // pooling, view.origin[1] // pooling), size,
        ("y" in view.mirror, "x" in view.mirror), view.swap, channels == 1,
        wanted != "off", wanted != "on", True,
    )  # fmt: skip
