"""What the page says of every node when it is opened, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
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
from snnir.tensors import Tensor

#: Longer texts are cut; more entries of one table are counted only.
_LONG, _ENTRIES = 300, 60
#: Tensors with at most so many elements are shown in full.
_FEW = 8
#: Above this many elements, NumPy finds the extremes faster than Python.
_SMALL = 64
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
        equations: Texts of models and step programs, by the key the nodes refer to them by.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._signals = signals_or_nothing(graph)
        self._tensors: dict[int, dict[str, str]] = {}
        self._programs: dict[int, str] = {}
        self.equations: dict[str, str] = {}

    def of(self, node: Node, label: str) -> dict[str, Any]:
        """Return the facts of a node; what is empty is left out.

        Args:
            node: The node.
            label: Its name within its scope.
        """
        op = node.op
        types = self._types(node)
        facts = {
            "name": shown(node.name, _LONG),
            "label": shown(label),
            "op": op.name,
            "kind": _kind(op),
            "family": _family(op),
            "brief": _brief(op, types),
            "types": [str(signal) for signal in types],
            "params": self._params(op),
            "attributes": _attributes(op),
            "rules": _rules(op),
            "equations": self._equations(op),
            "metadata": _metadata(node),
        }
        return {key: value for key, value in facts.items() if value}

    def signal(self, value: Value) -> str:
        """Return the type of a value, or nothing if it is unknown."""
        return str(self._signals.get(value, ""))

    def _types(self, node: Node) -> list[Any]:
        count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
        found = (self._signals.get(Value(node.name, index)) for index in range(count))
        return [signal for signal in found if signal is not None]

    def _params(self, op: Op) -> list[dict[str, str]]:
        named = list(op.tensors().items())
        found = [{"name": shown(key), **self._tensor(value)} for key, value in named[:_ENTRIES]]
        return found + _further(len(named))

    def _tensor(self, value: Tensor) -> dict[str, str]:
        known = self._tensors.get(id(value))
        if known is None:
            known = self._tensors[id(value)] = tensor_facts(value)
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
        if known is None:
            text = "\n".join(map(_line, program_equations(program)))
            stem, number = f"{shown(program.name)}, each step", 1
            known = stem
            while self.equations.get(known, text) != text:
                number += 1
                known = f"{stem} ({number})"
            self.equations[known] = text
            self._programs[id(program)] = known
        return known


def tensor_facts(value: Tensor) -> dict[str, str]:
    """Return shape, type and statistics of a tensor: its values if they are few, or the range."""
    facts = {"shape": "×".join(map(str, value.shape)) or "scalar", "type": value.dtype}
    if not value.is_resolved or not value.size:
        return facts
    data = value.numpy()
    if value.size > _SMALL:
        low, high = data.min(), data.max()
        facts["zeros"] = f"{1 - np.count_nonzero(data) / value.size:.3g}"
    else:
        items = data.reshape(-1).tolist()
        low, high = min(items), max(items)
        if value.has_nan:  # comparing says nothing
            low = high = float("nan")
    if low == high:
        facts["value"] = _number(low)
    elif value.size <= _FEW:
        facts["value"] = ", ".join(map(_number, items))
    else:
        facts["low"], facts["high"] = _number(low), _number(high)
    return facts


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return number_text(value)
    return f"{float(value):.5g}"


def _line(text: str) -> str:
    return shown(text, _LONG)


def _further(count: int) -> list[dict[str, str]]:
    return [{"name": f"... and {count - _ENTRIES} more"}] if count > _ENTRIES else []


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


def _brief(op: Op, types: list[Any]) -> str:
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
    said = (Tensor, Stepping, LifStep, Dynamics, Mapping, Signal)
    pairs = ((item, getattr(op, item.name)) for item in fields(op))
    return _texts(
        (item.name, value)
        for item, value in pairs
        if not (isinstance(value, said) or (not value and value == item.default))
        and not (item.name == "model" and isinstance(op, (Neuron, Step)))
    )


def _metadata(node: Node) -> dict[str, str]:
    found = _texts(list(node.metadata.items())[:_ENTRIES])
    return found | {item["name"]: "" for item in _further(len(node.metadata))}


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
