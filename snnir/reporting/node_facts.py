"""What the page says of every node when it is opened, as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import find_model
from snnir.dynamics.program import Dynamics
from snnir.errors import shown
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.op import Op
from snnir.ir.printer import number_text, signals_or_nothing
from snnir.reporting.equations import program_equations
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

#: Longer texts are cut; more entries of one table are counted only.
_LONG, _ENTRIES = 300, 60
#: Tensors with at most so many elements are shown in full.
_FEW = 8
#: Above this many elements, NumPy finds the extremes faster than Python.
_SMALL = 64
#: Bars of the picture of a tensor's values, and values that are looked at for it.
_BARS, _LOOKED_AT = 26, 16_384
#: What a node's attributes may be that is shown elsewhere.
_SAID = (Tensor, Stepping, LifStep, Dynamics, Mapping, Signal)
#: Colour of an op in the drawing, by its name; see `_family`.
_FAMILIES = {
    "input": "port", "linear": "synapse", "sparse_linear": "synapse", "conv1d": "synapse",
    "conv2d": "synapse", "scale": "synapse", "bias": "synapse", "batch_norm": "synapse",
    "plastic": "learning", "neuron": "neuron", "step": "neuron", "winner": "neuron",
    "delay": "time",
}  # fmt: skip


class NodeFacts:
    """Collects what is said of the nodes of one graph; what many of them share is said once.

    Attributes:
        alike: What is said of all nodes of a sort; each node refers to one of these by `is`.
        tensors: What is said of parameters; entries of `alike` refer to these.
        equations: Texts of models and step programs, by the key that `alike` refers to them by.
    """

    def __init__(self, graph: Graph) -> None:
        self._signals = signals_or_nothing(graph)
        self._sorts: dict[Any, int] = {}
        self._tensors: dict[Any, int] = {}
        self._programs: dict[int, tuple[Dynamics, str]] = {}
        self.alike: list[dict[str, Any]] = []
        self.tensors: list[dict[str, str]] = []
        self.equations: dict[str, str] = {}

    def of(self, node: Node, label: str) -> dict[str, Any]:
        """Return the facts of a node; what is empty, or as the name says, is left out.

        Args:
            node: The node.
            label: Its name within its scope.
        """
        facts: dict[str, Any] = {"name": shown(node.name, _LONG), "is": self._sort(node)}
        if label != node.name:
            facts["label"] = shown(label)
        if node.metadata:
            facts["metadata"] = _metadata(node)
        return facts

    def signal(self, value: Value) -> str:
        """Return the type of a value, or nothing if it is unknown."""
        return str(self._signals.get(value, ""))

    def _sort(self, node: Node) -> int:
        """Return the entry of `alike` that tells of a node."""
        op = node.op
        types = self._types(node)
        key: Any = (type(op), *((s.kind, s.shape, s.dtype) for s in types), *self._content(op))
        try:
            known = self._sorts.get(key)
        except TypeError:  # an op of somebody else's holds what cannot be compared
            key = id(op)
            known = self._sorts.get(key)
        if known is None:
            known = self._sorts[key] = len(self.alike)
            self.alike.append(self._told(op, types))
        return known

    def _content(self, op: Op) -> Iterator[Any]:
        """Yield what tells an op from others of its class."""
        for name, _ in _fields(type(op)):  # type: ignore[arg-type]  # classes are hashable
            value = getattr(op, name)
            if isinstance(value, Tensor):
                yield self._tensor(value)
            elif isinstance(value, FrozenDict):
                yield tuple(
                    (key, self._tensor(item) if isinstance(item, Tensor) else item)
                    for key, item in value.items()
                )
            elif isinstance(value, Dynamics):
                yield id(value)  # the graph keeps it, so nothing else can have this number
            else:
                yield value

    def _told(self, op: Op, types: list[Signal]) -> dict[str, Any]:
        facts = {
            "op": op.name,
            "kind": _kind(op),
            "family": _family(op),
            "brief": _brief(op, types),
            "types": [str(signal) for signal in types],
            "params": [
                [shown(key), self._tensor(value)]
                for key, value in itertools.islice(op.tensors().items(), _ENTRIES)
            ],
            "attributes": _attributes(op),
            "rules": _rules(op),
            "equations": self._equations(op),
        }
        return {key: value for key, value in facts.items() if value}

    def _types(self, node: Node) -> list[Signal]:
        count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
        found = (self._signals.get(Value(node.name, index)) for index in range(count))
        return [signal for signal in found if signal is not None]

    def _tensor(self, value: Tensor) -> int:
        """Return the entry of `tensors` that tells of a tensor."""
        known = self._tensors.get(id(value))
        if known is None:
            key: Any = id(value)
            if value.is_resolved and value.size <= _SMALL:
                key = (value.dtype, value.shape, value.numpy().tobytes())
            known = self._tensors.get(key)
            if known is None:
                known = self._tensors[key] = len(self.tensors)
                self.tensors.append(tensor_facts(value))
            self._tensors[id(value)] = known
        return known

    def _equations(self, op: Op) -> list[str]:
        keys = []
        if isinstance(op, Neuron):
            model = find_model(op.model)
            if model is not None:
                key = f"{shown(op.model)}, continuous"
                self.equations.setdefault(key, "\n".join(map(_line, model.equations())))
                keys.append(key)
        program = op.program if isinstance(op, Step) else getattr(op, "rule", None)
        if isinstance(program, Dynamics):
            keys.append(self._program(program))
        return keys

    def _program(self, program: Dynamics) -> str:
        known = self._programs.get(id(program))
        if known is not None:
            return known[1]
        text = "\n".join(map(_line, program_equations(program)))
        stem, number = f"{shown(program.name)}, each step", 1
        key = stem
        while self.equations.get(key, text) != text:
            number += 1
            key = f"{stem} ({number})"
        self.equations[key] = text
        self._programs[id(program)] = (program, key)
        return key


def tensor_facts(value: Tensor) -> dict[str, str]:
    """Return shape, type and statistics of a tensor: its values if they are few, or the range."""
    facts = {"shape": "×".join(map(str, value.shape)) or "scalar", "type": value.dtype}
    if not value.is_resolved or not value.size:
        return facts
    data = value.numpy()
    if value.size > _SMALL:
        low, high = data.min(), data.max()
    else:
        items = data.reshape(-1).tolist()
        low, high = min(items), max(items)
    if value.has_nan:
        facts["value"] = "nan among them"
    elif low == high:
        facts["value"] = _number(low)
    elif value.size <= _FEW:
        facts["value"] = ", ".join(map(_number, items))
    else:
        facts |= {"low": _number(low), "high": _number(high)}
        if value.size > _SMALL and np.isfinite(low) and np.isfinite(high):
            facts |= _spread(data, float(low), float(high))
    return facts


def _spread(data: Any, low: float, high: float) -> dict[str, str]:
    """Return how values are spread, a base-36 digit per bar, and how many are zero.

    Of large tensors, every n-th value is looked at.
    """
    # `flat` copies no more than what it picks, whatever the memory layout.
    some = data.flat[:: -(-data.size // _LOOKED_AT)].astype(np.float64)
    counts, _ = np.histogram(some, _BARS, (low, high))
    heights = np.ceil(counts * (35 / counts.max())).astype(int)
    facts = {"shares": "".join(np.base_repr(height, 36) for height in heights)}
    zeros = 1 - np.count_nonzero(some) / some.size
    return facts | ({"zeros": f"{zeros:.0%}"} if zeros >= 0.005 else {})


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return number_text(value)
    return f"{float(value):.5g}"


def _line(text: str) -> str:
    return shown(text, _LONG)


def _kind(op: Op) -> str:
    """Return what a node is called in the drawing: its op, or its neuron model."""
    if isinstance(op, Neuron):
        return shown(op.model)
    if isinstance(op, Step):
        return shown(op.model or op.program.name)
    return op.name


def _family(op: Op) -> str:
    known = _FAMILIES.get(op.name)
    if known is None:
        known = "structure" if op.is_stateless else "other"
    return known


def _brief(op: Op, types: list[Signal]) -> str:
    """Return the second line of a node's box."""
    shapes = ["×".join(map(str, signal.shape)) or "scalar" for signal in types[:1]]
    return " · ".join([_kind(op), *shapes])


def _rules(op: Op) -> dict[str, str]:
    """Return how a neuron is stepped: what differs from the defaults."""
    if isinstance(op, Neuron):
        stated: Mapping[str, Any] = {} if op.stepping is None else op.stepping.attributes()
        summary = "not said yet" if op.stepping is None else op.stepping.describe()
        return {"in short": summary, **_texts(stated.items())}
    if isinstance(op, Step) and isinstance(op.dynamics, LifStep):
        return _texts(op.dynamics.attributes().items())
    return {}


def _attributes(op: Op) -> dict[str, str]:
    """Return the attributes that are neither tensors nor said elsewhere."""
    found = {}
    for name, default in _fields(type(op)):  # type: ignore[arg-type]  # classes are hashable
        value = getattr(op, name)
        is_kind = name == "model" and isinstance(op, (Neuron, Step))
        if not (isinstance(value, _SAID) or is_kind or (not value and value == default)):
            found[name] = shown(_text(value), _LONG)
    return found


@cache
def _fields(cls: type[Op]) -> tuple[tuple[str, Any], ...]:
    """Return the names of an op's fields, with their defaults."""
    return tuple((item.name, item.default) for item in fields(cls))


def _metadata(node: Node) -> dict[str, str]:
    found = _texts(itertools.islice(node.metadata.items(), _ENTRIES))
    if len(node.metadata) > _ENTRIES:
        found["..."] = f"and {len(node.metadata) - _ENTRIES} more"
    return found


def _texts(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {shown(key): shown(_text(value), _LONG) for key, value in pairs}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Kind):
        return value.value
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value[:_ENTRIES]))}]"
    return str(value)
