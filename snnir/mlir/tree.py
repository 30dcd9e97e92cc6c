"""What the text form, MLIR's bindings and graphs have in common: operations with attributes.

A graph is one `builtin.module`, because the region of a module is a graph region: a value may be
used above the operation that defines it, as cycles need. In it stand, in any order,

- one `snn.graph` with what concerns the whole graph,
- one `snn.<op>` per node; a step is `snn.lif` if it is one of the LIF family, else `snn.step`; an
  op that may have several operands has their number in its name, see `counted`,
- one `snn.output` per output,
- one module per step program, named by a symbol, with an operation per line of the program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from snnir.ir.cursor import Place
from snnir.ir.neuron import Step
from snnir.ir.op import OPS, Op
from snnir.streams import Signal

VERSION = 1
MODULE = "builtin.module"
GRAPH = "snn.graph"
OUTPUT = "snn.output"
LIF = "snn.lif"
PROGRAM = "snn.program"
PROGRAM_INPUT = "snn.program_input"
PROGRAM_PARAM = "snn.program_param"
PROGRAM_STATE = "snn.program_state"
PROGRAM_NEXT = "snn.program_next"
PROGRAM_EMIT = "snn.program_emit"
CONSTANT = "snn.constant"
#: An operation of a step program is this and the word for it, such as `snn.scalar_mul`.
SCALAR = "snn.scalar_"
#: Attributes that every node has.
NODE, METADATA = "node", "metadata"

#: Words that no op of the IR may have as its name.
TAKEN = frozenset(
    name.removeprefix("snn.")
    for name in (
        GRAPH, OUTPUT, LIF, PROGRAM, PROGRAM_INPUT, PROGRAM_PARAM, PROGRAM_STATE, PROGRAM_NEXT,
        PROGRAM_EMIT, CONSTANT,
    )
)  # fmt: skip

#: MLIR's name of an element type; integers are signed unless MLIR has a type that says otherwise.
ELEMENTS = {
    "f64": "f64", "f32": "f32", "f16": "f16", "i64": "i64", "i32": "i32", "i16": "i16",
    "i8": "i8", "u64": "ui64", "u32": "ui32", "u16": "ui16", "u8": "ui8", "bool": "i1",
}  # fmt: skip
DTYPE_OF = {mlir: short for short, mlir in ELEMENTS.items()}

_COUNTS = re.compile(r"(_[0-9]{1,5}){1,2}\Z")

#: Type of a value: a stream, or the name of a scalar type in a step program.
ValueType = Signal | str
#: A value: the name of what defines it, and which of its results.
Ref = tuple[str, int]


class Symbol(str):
    """A reference to a step program."""


@dataclass
class Operation:
    """One operation.

    Attributes:
        name: Such as `snn.linear`.
        operands: What it reads.
        attributes: By name. None is `unit`; int, float, bool, str, tuple, dict, `Tensor`, `Signal`
            and `Symbol` are what they are.
        result: Name of its results, if it has any.
        types: Type of each result.
        operand_types: Types of the operands as a text states them; empty if nobody did.
        body: Operations of a module.
        place: Where it stands.
    """

    name: str
    operands: tuple[Ref, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    result: str = ""
    types: tuple[ValueType, ...] = ()
    operand_types: tuple[ValueType, ...] = ()
    body: list[Operation] = field(default_factory=list)
    place: Place = field(default_factory=Place)


def has_counts(cls: type[Op]) -> bool:
    """Return whether the op's operations have numbers of operands or results in their names."""
    return cls.arity is None or issubclass(cls, Step)


def words_of(cls: type[Op]) -> tuple[str, ...]:
    """Return the words of an op's operations; a step of the LIF family has one of its own."""
    return ("lif", cls.name) if issubclass(cls, Step) else (cls.name,)


def counted(cls: type[Op], word: str, operands: int, results: int = 1) -> str:
    """Return the name of the operation that an op with this many operands and results is.

    IRDL wants all values of a variadic group to have one type, which the operands of `concat` and
    the results of a step need not have. So there is an operation for each number: `snn.add` adds
    two streams and `snn.add_3` three; `snn.step` has one operand and one result, and `snn.step_1_2`
    has two results.
    """
    if issubclass(cls, Step):
        usual, suffix = (1, 1), f"_{operands}_{results}"
    else:
        usual, suffix = (2 if cls.arity is None else operands, 1), f"_{operands}"
    return f"snn.{word}" if (operands, results) == usual else f"snn.{word}{suffix}"


def word_of(name: str) -> str:
    """Return the op's word in an operation's name, without numbers of operands; "" if none."""
    word = name.removeprefix("snn.")
    base = _COUNTS.sub("", word)
    cls = OPS.get("step" if base == "lif" else base)
    found = base if cls is not None and has_counts(cls) and word not in OPS else word
    return found if name.startswith("snn.") else ""


class Names:
    """Names that MLIR takes without quotes, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def fresh(self, name: str, stem: str) -> str:
        """Return a new name like the given one; `stem` is put before what no name begins with."""
        cleaned = re.sub(r"[^A-Za-z0-9_.]", "_", name[:60])
        if not re.match(r"[A-Za-z_]", cleaned):
            cleaned = f"{stem}{cleaned}"
        found, number = cleaned, self._counts.get(cleaned, 1)
        while found in self._taken:
            number += 1
            found = f"{cleaned}_{number}"
        self._counts[cleaned] = number
        self._taken.add(found)
        return found


def type_text(kind: ValueType) -> str:
    """Return `!snn.spikes<tensor<3xf32>>`, or a scalar type as it is."""
    if isinstance(kind, str):
        return kind
    return f"!snn.{kind.kind}<{tensor_type(kind.shape, kind.dtype)}>"


def tensor_type(shape: tuple[int, ...], dtype: str) -> str:
    """Return `tensor<2x3xf32>`."""
    return f"tensor<{'x'.join([*map(str, shape), ELEMENTS[dtype]])}>"
