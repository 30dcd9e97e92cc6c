"""Checking untyped values, as a file has them, against the annotations of an op's fields."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Union

from snnir.ir.op import Op
from snnir.semantics import Stepping
from snnir.tensors import FrozenDict


class AttributeMismatch(Exception):
    """A value is not of the type its field has."""


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def checked(cls: type[Op], name: str, value: Any) -> Any:
    """Return the value in the type of the field.

    Raises:
        AttributeMismatch: If it cannot have that type.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # classes are hashable
    converted, fits = _fit(hints[name], value)
    if not fits:
        raise AttributeMismatch(f"attribute '{name}' cannot be {_short(value)}")
    return converted


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _fit(kind: Any, value: Any) -> tuple[Any, bool]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        for option in arguments:
            converted, fits = _fit(option, value)
            if fits:
                return converted, True
        return value, False
    if origin is tuple:
        return _fit_tuple(arguments, value)
    if origin is FrozenDict:
        good = isinstance(value, dict) and all(_fit(arguments[0], v)[1] for v in value.values())
        return (FrozenDict(value), True) if good else (value, False)
    if kind is Stepping and isinstance(value, dict):
        try:
            return Stepping(**value), True
        except TypeError:
            return value, False
    if kind is float and type(value) is int:
        return float(value), True
    return value, type(value) is kind or (
        not isinstance(value, (bool, str)) and isinstance(value, kind)
    )


def _fit_tuple(arguments: tuple[Any, ...], value: Any) -> tuple[Any, bool]:
    if not isinstance(value, tuple):
        return value, False
    kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
    if len(kinds) != len(value):
        return value, False
    items = [_fit(kind, item) for kind, item in zip(kinds, value, strict=True)]
    return tuple(item for item, _ in items), all(fits for _, fits in items)
