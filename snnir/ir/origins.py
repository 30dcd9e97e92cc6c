"""Where each item of a graph's discrete semantics is from: given, assumed, or changed on the way.

Items are the attributes of stepping (`integrator`, `reset`, `fire`, …), `number_format` and
`program` of a neuron, a `repair` of any node, and of the whole graph `dt`, `record_offset` and
what else a reader decided (`recurrent_delay`, `weights`, …).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from snnir.tensors import FrozenDict

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Origin:
    """Where one item is from.

    Attributes:
        value: What holds.
        state: `given` (the file, the live model or the user says so), `assumed` (nobody did: a
            default was taken), `changed` (a repair, a choice of the user or a pass replaced what
            was given or assumed), `unknown` (not recorded).
        by: Who said, assumed or changed it, in a few words; empty if that is unknown.
        before: What held before a change, if anything did.
    """

    GIVEN: ClassVar[str] = "given"
    ASSUMED: ClassVar[str] = "assumed"
    CHANGED: ClassVar[str] = "changed"
    UNKNOWN: ClassVar[str] = "unknown"

    value: Scalar
    state: str = UNKNOWN
    by: str = ""
    before: Scalar | None = None

    def changed(self, value: Scalar, by: str) -> Origin:
        """Return the origin of what this item became."""
        return replace(self, value=value, state=self.CHANGED, by=by, before=self.value)

    def plain(self) -> tuple[Scalar, ...]:
        """Return state, value, by and, if there is one, before."""
        found = (self.state, self.value, self.by)
        return found if self.before is None else (*found, self.before)

    @classmethod
    def from_plain(cls, found: Any) -> Origin:
        """Return the inverse of `plain`.

        Raises:
            ValueError: If it is none.
        """
        sizes = (3, 4)
        if not isinstance(found, tuple) or len(found) not in sizes:
            raise ValueError("an origin has a state, a value, who said so, and what was before")
        state, value, by, before = (*found, None)[:4]
        states = (cls.GIVEN, cls.ASSUMED, cls.CHANGED, cls.UNKNOWN)
        if state not in states or type(by) is not str:
            raise ValueError(f"the state of an origin is one of {', '.join(states)}")
        if type(value) not in _SCALARS or type(before) not in (*_SCALARS, type(None)):
            raise ValueError("the value of an origin is a text or a number")
        return cls(value, state, by, before)


_SCALARS = (str, int, float, bool)
Items = Mapping[str, Origin]
_NONE: FrozenDict[Any] = FrozenDict()


@dataclass(frozen=True)
class Origins:
    """The origins of all items of a graph that are known.

    Attributes:
        graph: Of the whole graph.
        nodes: Of single nodes, by name; nodes that agree share one mapping.
    """

    graph: Items = field(default=_NONE)
    nodes: Mapping[str, Items] = field(default=_NONE)

    def __bool__(self) -> bool:
        return bool(self.graph or self.nodes)

    def groups(self) -> list[tuple[list[str], Items]]:
        """Return the nodes that have the same items, with these, in order of their first node."""
        found: dict[str, tuple[list[str], Items]] = {}
        keys: dict[int, str] = {}
        for name, items in self.nodes.items():
            if id(items) not in keys:
                keys[id(items)] = repr([(key, each.plain()) for key, each in items.items()])
            found.setdefault(keys[id(items)], ([], items))[0].append(name)
        return list(found.values())

    def plain(self) -> dict[str, Any]:
        """Return nested mappings, tuples, texts and numbers; empty if nothing is known."""
        groups = tuple(
            {"nodes": tuple(names), "items": _plain(items)} for names, items in self.groups()
        )
        known = {"graph": _plain(self.graph), "groups": groups}
        return {key: value for key, value in known.items() if value}

    @classmethod
    def from_plain(cls, found: Any) -> Origins:
        """Return the inverse of `plain`.

        Raises:
            ValueError: If it is none.
        """
        if not isinstance(found, Mapping) or not set(found) <= {"graph", "groups"}:
            raise ValueError("origins have 'graph' and 'groups'")
        groups = found.get("groups", ())
        if not isinstance(groups, tuple):
            raise ValueError("the groups of origins are a list")
        nodes: dict[str, Items] = {}
        for group in groups:
            if not isinstance(group, Mapping) or set(group) != {"nodes", "items"}:
                raise ValueError("a group of origins has 'nodes' and 'items'")
            names, items = group["nodes"], _from_plain(group["items"])
            if not isinstance(names, tuple) or any(type(name) is not str for name in names):
                raise ValueError("the nodes of a group of origins are names")
            nodes.update(dict.fromkeys(names, items))
        return cls(_from_plain(found.get("graph", {})), FrozenDict(nodes))


def _plain(items: Items) -> dict[str, tuple[Scalar, ...]]:
    return {name: origin.plain() for name, origin in items.items()}


def _from_plain(found: Any) -> Items:
    if not isinstance(found, Mapping):
        raise ValueError("items of origins are a mapping")
    return FrozenDict({name: Origin.from_plain(origin) for name, origin in found.items()})
