"""The text form: graphs as readable, loss-free text (weights by name and digest)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal, shape_text
from snnir.tensors import Tensor

VERSION = 1
#: Tensors of at most one axis and this many elements are printed in place.
INLINE = 8

_WORD = re.compile(r"[A-Za-z_0-9][A-Za-z0-9_.\-]*")
_IDENTIFIER = re.compile(r"(?!(?:inf|nan)\Z)[A-Za-z_][A-Za-z0-9_]*")


def print_graph(graph: Graph) -> str:
    """Return the text form; `snnir.ir.parser.parse_graph` is its inverse.

    A graph whose types cannot be inferred is printed without them.
    """
    return Printer(graph).text()


def is_inline(value: Tensor) -> bool:
    """Whether a tensor's elements stand in the text itself."""
    return value.is_resolved and len(value.shape) <= 1 and value.size <= INLINE


def quoted(text: str) -> str:
    """Return a JSON string: ASCII, with every odd character escaped."""
    return json.dumps(text)


def name_text(name: str) -> str:
    """Return a name as it follows `%` or `@`."""
    return name if _WORD.fullmatch(name) else quoted(name)


def identifier(name: str) -> str:
    """Return a name of a step program, where a bare `inf` or `nan` would be a number."""
    return name if _IDENTIFIER.fullmatch(name) else quoted(name)


def number_text(value: Any) -> str:
    """Return the shortest text that reads back as the same number of the same type."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    if isinstance(value, np.floating):
        text = str(value)
        if type(value)(float(text)) != value:  # reading rounds twice: to float64, then to this
            text = repr(float(value))
    return text


class Printer:
    """Prints one graph; step programs are named as they come up.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.programs: dict[str, Dynamics] = {}
        self._program_names: dict[int, str] = {}
        self._program_texts: dict[tuple[str, ...], str] = {}
        self._program_counts: dict[str, int] = {}
        self.signals = signals_or_nothing(graph)

    def text(self) -> str:
        """Return the whole text form."""
        body = [f"  {self.node(node)}" for node in self.graph.nodes.values()]
        parts = [
            f"snnir {VERSION}",
            f"graph @{name_text(self.graph.name)}({self.header()}) {{",
            *body,
            f"  {self.results()}",
            "}",
            *self.provenance(),
            *(line for name, p in self.programs.items() for line in program_lines(p, name)),
        ]
        return "\n".join(parts) + "\n"

    def results(self) -> str:
        """Return the line that names the outputs."""
        outputs = {name: _Ref(value) for name, value in self.graph.outputs.items()}
        return f"return {self.mapping(outputs)}"

    def header(self) -> str:
        """Return what holds for the whole graph."""
        items = []
        if self.graph.dt is not None:
            items.append(f"dt = {number_text(float(self.graph.dt))}")
        if self.graph.record_offset:
            items.append(f"record_offset = {self.graph.record_offset}")
        return ", ".join(items)

    def provenance(self) -> list[str]:
        """Return the line on where the graph is from, if anything is known."""
        origin = self.graph.provenance
        known: dict[str, Any] = {
            "source": origin.source,
            "digest": origin.digest,
            "notes": origin.notes,
            "origins": origin.origins.plain(),
        }
        items = {key: value for key, value in known.items() if value}
        return [f"provenance {self.mapping(items)}"] if items else []

    def node(self, node: Node) -> str:
        """Return the line of one node."""
        operands = ", ".join(reference(value) for value in node.operands)
        text = f"%{name_text(node.name)} = {node.op.name}({operands})"
        attributes = {
            item.name: _Named(getattr(node.op, item.name), f"{node.name}.{item.name}")
            for item in fields(node.op)
            if not _is_default(node.op, item)
        }
        if attributes:
            text += " " + self.mapping(attributes)
        if node.metadata:
            text += f" meta {self.mapping(node.metadata)}"
        types = self.types(node)
        return f"{text} : {types}" if types else text

    def types(self, node: Node) -> str:
        """Return the types of a node's results, nothing if they are not known."""
        count = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
        found = [self.signals.get(Value(node.name, index)) for index in range(count)]
        return ", ".join(str(signal) for signal in found) if None not in found else ""

    def mapping(self, items: Mapping[str, Any]) -> str:
        """Return `{key = value, …}`."""
        inner = ", ".join(f"{name_text(key)} = {self.value(v)}" for key, v in items.items())
        return f"{{{inner}}}"

    def tensor(self, value: Tensor, name: str) -> str:
        """Return a tensor, in place or by name and digest."""
        return tensor_text(value, name)

    def value(self, value: Any, name: str = "") -> str:  # noqa: PLR0911, PLR0912  (one per type)
        """Return an attribute's value; weights inside it go by `name`."""
        if isinstance(value, _Named):
            return self.value(value.value, value.name)
        if isinstance(value, _Ref):
            return reference(value.value)
        if value is None:
            return "none"
        if isinstance(value, (bool, int, float, np.generic)):
            return number_text(value)
        if isinstance(value, Kind):
            return value.value
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, Tensor):
            return self.tensor(value, name)
        if isinstance(value, Signal):
            return str(value)
        if isinstance(value, tuple):
            return f"[{', '.join(self.value(item, name) for item in value)}]"
        if isinstance(value, LifStep):
            return f"lif{self.mapping(value.attributes())}"
        if isinstance(value, Stepping):
            return self.mapping(value.attributes())
        if isinstance(value, Dynamics):
            return f"@{name_text(self.program(value))}"
        if isinstance(value, Mapping):
            stem = name.rpartition(".")[0]
            named = {key: _Named(item, f"{stem}.{key}") for key, item in value.items()}
            return self.mapping(named)
        raise TypeError(f"{type(value).__name__} has no text form")

    def program(self, program: Dynamics) -> str:
        """Return the name a program goes by in this text.

        Programs are told apart by their text: equality takes 0.0 for -0.0, and NaN for nothing.
        """
        known = self._program_names.get(id(program))
        if known is not None:
            return known
        content = tuple(program_lines(program, ""))
        name = self._program_texts.get(content)
        if name is None:
            name = self._free_name(program.name)
            self._program_texts[content] = name
            self.programs[name] = program
        self._program_names[id(program)] = name
        return name

    def _free_name(self, stem: str) -> str:
        name, number = stem, self._program_counts.get(stem, 1)
        while name in self.programs:
            number += 1
            name = f"{stem}-{number}"
        self._program_counts[stem] = number
        return name


def signals_or_nothing(graph: Graph) -> Mapping[Value, Signal]:
    """Return the type of every value, or nothing for a graph whose types cannot be inferred."""
    try:
        return graph.signals
    except Exception:  # an unverified graph may break the assumptions of any op
        return {}


class _Named:
    """An attribute with the name its weights go by."""

    def __init__(self, value: Any, name: str) -> None:
        self.value, self.name = value, name


class _Ref:
    """A reference to a value of the graph."""

    def __init__(self, value: Value) -> None:
        self.value = value


def reference(value: Value) -> str:
    """Return `%name`, or `%name:1` for a further result."""
    suffix = f":{value.result}" if value.result else ""
    return f"%{name_text(value.node)}{suffix}"


def _is_default(op: Any, item: Any) -> bool:
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    value = getattr(op, item.name)
    if default is MISSING or type(default) is not type(value):
        return False
    # The second test tells 0.0 from -0.0, and (1,) from (1.0,).
    return bool(default == value) and repr(default) == repr(value)


def tensor_text(value: Tensor, name: str) -> str:
    """Return `f32 0.5`, `f64[1.0, 2.0]`, or `@"fc.weight"#digest:2x3xf32`."""
    if not is_inline(value):
        return f"@{name_text(name)}#{value.digest}:{shape_text(value.shape, value.dtype)}"
    data = value.numpy()
    if data.ndim == 0:
        return f"{value.dtype} {number_text(data[()])}"
    return f"{value.dtype}[{', '.join(number_text(item) for item in data)}]"


def program_lines(program: Dynamics, name: str) -> Iterable[str]:
    """Print a step program as a block."""

    def operand(value: Any) -> str:
        return identifier(value) if isinstance(value, str) else number_text(float(value))

    yield f"dynamics @{name_text(name)} {quoted(program.name)} {program.dtype} {{"
    if program.inputs:
        yield f"  inputs {', '.join(map(identifier, program.inputs))}"
    for param, unit in program.params:
        yield f"  param {identifier(param)} {quoted(unit)}"
    for state in program.states:
        word = "lasting" if state.lasting else "state"
        yield f"  {word} {identifier(state.name)} = {operand(state.initial)}"
    for let in program.body:
        yield f"  {identifier(let.target)} = {let.op} {', '.join(map(operand, let.args))}"
    for state_name, value in program.updates:
        yield f"  next {identifier(state_name)} = {operand(value)}"
    for output, kind in program.outputs:
        yield f"  emit {identifier(output)} : {kind}"
    yield "}"
