"""From attributes to the fields of ops, checked against their annotations."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar, Union

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.errors import shown
from snnir.ir.attributes import AttributeMismatch, checked
from snnir.ir.op import Op
from snnir.mlir.tree import Symbol
from snnir.semantics import Stepping
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor

T = TypeVar("T")


class WrongAttribute(Exception):
    """An attribute is missing, unknown or not of its type."""


def wanted(given: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Return an attribute of exactly this type.

    Raises:
        WrongAttribute: If it is missing or has another type.
    """
    value = given.get(name)
    if type(value) is not kind:
        raise WrongAttribute(f"needs attribute '{name}', a {_WORDS.get(kind, kind.__name__)}")
    return value


_WORDS: dict[Any, str] = {str: "text", int: "whole number", float: "float", tuple: "list"}


@cache
def kinds_of(cls: Any, name: str) -> tuple[Any, ...]:
    """Return what a field may hold: the members of its annotation, without their arguments."""
    hint = typing.get_type_hints(cls)[name]
    union = typing.get_origin(hint) in (Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    return tuple(typing.get_origin(option) or option for option in options)


def op_of(
    cls: type[Op],
    given: Mapping[str, Any],
    programs: Mapping[str, Dynamics],
    tensors: Mapping[str, Tensor],
) -> Op:
    """Return the op that attributes stand for.

    Args:
        cls: The op's class.
        given: Attributes by name.
        programs: Step programs by symbol.
        tensors: Weights by digest, for those that are named only.

    Raises:
        WrongAttribute: If they do not fit the fields of the class.
        SnnirError: If the op refuses a value.
    """
    known = {item.name: item for item in fields(cls)}
    parts = [f"has no attribute '{shown(name)}'" for name in given if name not in known][:3]
    parts += [
        f"needs attribute '{name}'"
        for name, item in known.items()
        if name not in given and item.default is item.default_factory is MISSING
    ]
    if parts:
        raise WrongAttribute(", ".join(parts))
    values = {}
    for name, value in given.items():
        kinds = kinds_of(cls, name)  # type: ignore[arg-type]  # classes are hashable
        field = _field(kinds, name, _with_data(value, tensors), programs)
        try:
            values[name] = checked(cls, name, field)
        except AttributeMismatch as failure:
            raise WrongAttribute(str(failure)) from None
    return cls(**values)


def _field(kinds: tuple[Any, ...], name: str, value: Any, programs: Mapping[str, Dynamics]) -> Any:
    """Return a value as the field's kinds ask for it."""
    if isinstance(value, Symbol):
        if value not in programs:
            raise WrongAttribute(f"there is no program @{shown(value)}")
        return programs[value]
    if isinstance(value, tuple) and FrozenDict in kinds:
        return _mapping(name, value)
    if isinstance(value, dict):
        for record in (LifStep, Stepping):
            if record in kinds:
                return _record(record, name, value)
        if set(value) == {"kind"} and value["kind"] in [kind.value for kind in Kind]:
            return Kind(value["kind"])
    return value


def _mapping(name: str, items: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in items:
        if not isinstance(pair, tuple) or len(pair) != 2 or type(pair[0]) is not str:
            raise WrongAttribute(f"attribute '{name}' must be pairs of a name and a value")
        if pair[0] in found:
            raise WrongAttribute(f"attribute '{name}' has '{shown(pair[0])}' twice")
        found[pair[0]] = pair[1]
    return found


def _record(cls: Any, name: str, given: dict[str, Any]) -> Any:
    """Build a `LifStep` or a `Stepping`, whose own errors are left as they are."""
    defaults = {item.name: item.default for item in fields(cls)}
    for key, value in given.items():
        if key not in defaults:
            raise WrongAttribute(f"'{name}' has no '{shown(key)}'")
        if type(value) is not type(defaults[key]):
            raise WrongAttribute(f"'{name}': '{key}' cannot be {shown(repr(value), 40)}")
    return cls(**given)


def _with_data(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put weights that are at hand in the place of those that are named only."""
    if isinstance(value, tuple):
        return tuple(_with_data(item, tensors) for item in value)
    if not isinstance(value, Tensor) or value.is_resolved:
        return value
    known = tensors.get(value.digest)
    if known is None:
        return value
    if (known.shape, known.dtype) != (value.shape, value.dtype):
        raise WrongAttribute(f"weight #{value.digest} is at hand as {known!r}")
    return known
