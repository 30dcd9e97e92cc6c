"""The definition of the `snn` dialect in IRDL, made from the registered ops.

MLIR loads it with `--irdl-file` and then knows the dialect: which operations there are, how many
operands and results they have, and of what type those and the attributes must be. IRDL has no
attributes that may be missing, so every attribute is always there and `unit` stands for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import product

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.ir.op import OPS, Op
from snnir.mlir import tree
from snnir.mlir.attributes import kinds_of
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

Choice = tuple[str, ...]

#: Operations are defined for up to this many operands of ops that may have several, and this many
#: operands and results of steps; for more, if a graph has them.
MOST_OPERANDS, MOST_PORTS = 8, 3

MOST_UNUSUAL = 1000
_PORTS = re.compile(
    rb"([a-z][a-z0-9]*(?:_[a-z0-9]*[a-z])*)_([0-9]{1,4})(?:_([0-9]{1,3}))?(?![a-z0-9])"
)

_STRING: Choice = ("#builtin.string",)
_INTEGER: Choice = ("#builtin.integer",)
_FLOAT: Choice = ("#builtin.float",)
_ARRAY: Choice = ("#builtin.array",)
_DICTIONARY: Choice = ("#builtin.dictionary",)
_TENSOR: Choice = ("#builtin.dense_typed_elements", "#builtin.dense_resource_elements")
_STREAM: Choice = tuple(f"@snn::@{kind.value}" for kind in Kind)
_NUMBER: Choice = ("f32", "f64", "i32", "i64")
_TRUTH: Choice = ("i1",)

#: What a field of this type may be in MLIR.
_FIELDS: dict[type, Choice] = {
    str: _STRING, bool: _INTEGER, int: _INTEGER, float: (*_FLOAT, *_INTEGER), tuple: _ARRAY,
    FrozenDict: _ARRAY, Tensor: _TENSOR, Signal: _STREAM, Kind: _DICTIONARY, Stepping: _DICTIONARY,
    LifStep: _DICTIONARY, Dynamics: ("#builtin.symbol_ref",), type(None): ("#builtin.unit",),
}  # fmt: skip


@dataclass
class Definition:
    """One operation: each operand, result and attribute has the constraints it may meet."""

    name: str
    operands: dict[str, Choice] = field(default_factory=dict)
    attributes: dict[str, Choice] = field(default_factory=dict)
    results: dict[str, Choice] = field(default_factory=dict)


#: Numbers of operands and results of an op.
Ports = tuple[type[Op], int, int]


def dialect_text(graph: Graph | None = None, ports: Iterable[Ports] = ()) -> str:
    """Return the dialect's definition, with the ops of plug-ins that are loaded.

    Args:
        graph: A graph that shall be covered even if its ops have unusually many operands.
        ports: Unusual numbers of operands and results that shall be covered.
    """
    lines = ["irdl.dialect @snn {"]
    for kind in Kind:
        lines += [
            f"  irdl.type @{kind.value} {{",
            '    %tensor = irdl.base "!builtin.tensor"',
            "    irdl.parameters(tensor: %tensor)",
            "  }",
        ]
    for definition in definitions(graph, ports):
        lines += [f"  {line}" for line in _lines(definition)]
    return "\n".join([*lines, "}"]) + "\n"


def definitions(graph: Graph | None = None, ports: Iterable[Ports] = ()) -> list[Definition]:
    """Return all operations of the dialect; arguments as those of `dialect_text`."""
    counts = _counts(graph)
    for cls, operands, results in ports:
        counts[cls].add((operands, results))
    ops = [cls for name, cls in OPS.items() if name not in tree.TAKEN]
    nodes = [_of_op(cls, *numbers) for cls in ops for numbers in sorted(counts[cls])]
    return [*_graph_level(), *(d for found in nodes for d in found), *_program_level()]


def _counts(graph: Graph | None) -> dict[type[Op], set[tuple[int, int]]]:
    """Return for every op the numbers of operands and results that are defined."""
    found: dict[type[Op], set[tuple[int, int]]] = {}
    for cls in OPS.values():
        if issubclass(cls, Step):
            found[cls] = set(product(range(MOST_PORTS + 1), range(1, MOST_PORTS + 1)))
        elif cls.arity is None:
            found[cls] = {(count, 1) for count in range(1, MOST_OPERANDS + 1)}
        else:
            found[cls] = {(cls.arity, 1)}
    for node in graph.nodes.values() if graph is not None else ():
        results = len(node.op.program.outputs) if isinstance(node.op, Step) else 1
        found[type(node.op)].add((len(node.operands), results))
    return found


def ports_in(data: bytes) -> list[Ports]:
    """Return unusual numbers of operands and results of operations that text or bytecode names."""
    known = _counts(None)
    found: set[Ports] = set()
    for match in _PORTS.finditer(data):
        word, operands, results = (part.decode() if part else "1" for part in match.groups())
        cls = OPS.get("step" if word == "lif" else word)
        if cls is not None and tree.has_counts(cls):
            numbers = int(operands), int(results)
            if numbers not in known[cls]:
                found.add((cls, *numbers))
        if len(found) > MOST_UNUSUAL:
            raise error("SNN107", "it has ops with absurdly many different numbers of operands")
    return sorted(found, key=lambda item: (item[0].name, item[1], item[2]))


def _graph_level() -> Iterator[Definition]:
    texts = dict.fromkeys(("name", "source", "digest"), _STRING)
    whole = dict.fromkeys(("version", "record_offset"), _INTEGER)
    given = {**texts, **whole, "dt": (*_FLOAT, "#builtin.unit"), "notes": _ARRAY}
    yield Definition("graph", attributes=given)
    yield Definition("output", {"value": _STREAM}, {"name": _STRING})


def _of_op(cls: type[Op], operands: int, results: int) -> Iterator[Definition]:
    """Return the operation of an op; a step has one for the LIF family and one for the rest."""
    given = {tree.NODE: _STRING}
    for item in fields(cls):
        kinds = kinds_of(cls, item.name)  # type: ignore[arg-type]  # classes are hashable
        choices = [_FIELDS.get(kind, ("any",)) for kind in kinds]
        given[item.name] = tuple(dict.fromkeys(name for names in choices for name in names))
    given[tree.METADATA] = _ARRAY
    for word in tree.words_of(cls):
        own = given
        if issubclass(cls, Step):
            own = given | {"dynamics": _FIELDS[LifStep if word == "lif" else Dynamics]}
        name = tree.counted(cls, word, operands, results).removeprefix("snn.")
        reads = {f"input{index}": _STREAM for index in range(operands)}
        gives = {f"output{index}": _STREAM for index in range(results)}
        yield Definition(name, reads, own, gives)


def _program_level() -> Iterator[Definition]:
    name = {"name": _STRING}
    number = {"value": _NUMBER}
    yield Definition("program", attributes={**name, "dtype": _STRING})
    yield Definition("program_input", {}, name, number)
    yield Definition("program_param", {}, {**name, "unit": _STRING}, number)
    kept = {"initial": (*_FLOAT, *_STRING), "lasting": _INTEGER}
    yield Definition("program_state", {}, {**name, **kept}, number)
    yield Definition("program_next", number, {"state": _STRING})
    yield Definition("program_emit", number, {"kind": _STRING})
    yield Definition("constant", {}, {"value": _FLOAT}, number)
    for op in SCALAR_OPS.values():
        takes = [_TRUTH if op.takes == "bool" else _NUMBER] * op.arity
        if op.name == "select":
            takes[0] = _TRUTH
        gives = _TRUTH if op.gives == "bool" else _NUMBER
        operands = {f"input{index}": choice for index, choice in enumerate(takes)}
        yield Definition(f"scalar_{op.name}", operands, name, {"result": gives})


def _lines(definition: Definition) -> Iterator[str]:
    """Print a definition; every place has variables of its own, as equal ones must be equal."""
    writer = _Constraints()
    groups = [definition.operands, definition.attributes, definition.results]
    operands, attributes, results = (
        [(name, writer.of(choice)) for name, choice in group.items()] for group in groups
    )
    yield f"irdl.operation @{definition.name} {{"
    yield from writer.lines
    if operands:
        yield f"  irdl.operands({_joined(operands)})"
    if attributes:
        inner = ", ".join(f'"{name}" = {variable}' for name, variable in attributes)
        yield f"  irdl.attributes {{{inner}}}"
    if results:
        yield f"  irdl.results({_joined(results)})"
    yield "}"


def _joined(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {variable}" for name, variable in items)


class _Constraints:
    """The constraint variables of one operation."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def new(self, text: str) -> str:
        name = f"%{len(self.lines)}"
        self.lines.append(f"  {name} = irdl.{text}")
        return name

    def one(self, choice: str) -> str:
        if choice == "any":
            return self.new("any")
        if choice.startswith("@"):
            return self.new(f"base {choice}")
        if choice.startswith("#"):
            return self.new(f'base "{choice}"')
        return self.new(f"is {choice}")

    def of(self, choice: Choice) -> str:
        names = [self.one(item) for item in choice]
        return names[0] if len(names) == 1 else self.new(f"any_of({', '.join(names)})")
