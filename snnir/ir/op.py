"""What every op is: frozen attributes, type inference, and a NumPy kernel as its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from snnir.errors import error
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor

Operands = Sequence[Signal | None]
Results = tuple[Signal | None, ...]


class OpError(Exception):
    """An op does not accept its operands; inference adds the node and raises a diagnostic."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


@dataclass(frozen=True)
class KernelCall:
    """How a stateless op is computed: a function of `snnir.kernels` and its arguments.

    Attributes:
        function: Name of the function.
        tensors: Constant arrays by keyword.
        options: Literal arguments by keyword.
        sums: Whether the kernel takes `acc`, the dtype in which it accumulates.
    """

    function: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    sums: bool = False


@dataclass(frozen=True)
class Whole:
    """What a tensor of whole numbers stands for: (value - zero) * unit.

    Attributes:
        unit: Attribute with the size of one.
        low, high: What its bits can hold.
        zero: Attribute with what stands for 0, or "" for 0.
    """

    unit: str
    low: int
    high: int
    zero: str = ""


@dataclass(frozen=True)
class Op:
    """Base of all ops. A concrete op is a frozen dataclass registered with `@register_op`.

    Class attributes:
        name: The word in the text form.
        arity: Number of operands, or None for one or more.
    """

    name: ClassVar[str]
    arity: ClassVar[int | None] = 1

    def infer(self, operands: Operands) -> Results:
        """Return the type of every result; unknown operands (None) may give unknown results.

        Raises:
            OpError: If the known operands do not fit.
        """
        raise NotImplementedError

    def call(self, operands: Sequence[Signal]) -> KernelCall:
        """Return the kernel of a stateless op for operands of these types."""
        raise NotImplementedError

    @property
    def operand_count(self) -> int | None:
        """Number of operands of this op, or None for one or more."""
        return self.arity

    def late_operands(self, count: int) -> range:
        """Return which of its operands are taken in only when a step ends.

        They may come from what reads its result.
        """
        return range(0)

    @property
    def is_stateless(self) -> bool:
        """Whether a step depends on nothing but that step's operands."""
        return True

    def whole(self) -> dict[str, Whole]:
        """Return the tensors that are whole numbers of a known unit, by attribute."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor among the attributes, by a dotted path."""
        found: dict[str, Tensor] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                found[item.name] = value
            elif isinstance(value, FrozenDict):
                found.update({k: v for k, v in value.items() if isinstance(v, Tensor)})
        return found


#: All ops by name; plug-ins add theirs with `register_op`.
OPS: dict[str, type[Op]] = {}
OpClass = TypeVar("OpClass", bound=type[Op])


def register_op(cls: OpClass) -> OpClass:
    """Class decorator: make an op known to the text form and the verifier.

    Raises:
        SnnirError: SNN402 if the name is taken by another class.
    """
    known = OPS.get(cls.name)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise error("SNN402", f"two ops are called '{cls.name}'")
    OPS[cls.name] = cls
    return cls


def want_rank(operand: Signal, rank: int, what: str) -> None:
    """Raise `OpError` unless the operand has the given number of axes."""
    if len(operand.shape) != rank:
        raise OpError("SNN202", f"expects {what}, got shape {list(operand.shape)}")


def analog(shape: tuple[int, ...]) -> Signal:
    """Return the type of a real-valued stream."""
    return Signal(Kind.ANALOG, shape)


def product_of(operand: Signal, parameter: Tensor, shape: tuple[int, ...]) -> Signal:
    """Return the type of what is made of a stream and a tensor by sums of products.

    Integers times spikes, counts or integers are integers; all else is real.
    """
    whole = operand.kind is not Kind.ANALOG or operand.dtype.startswith("i")
    dtype = "i32" if whole and parameter.dtype.startswith("i") else "f32"
    return Signal(Kind.ANALOG, shape, dtype)


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape under NumPy's rules without touching data.

    Raises:
        OpError: SNN202 if the shapes do not broadcast.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, start=rank - len(shape)):
            if extent not in (1, result[axis]):
                if result[axis] != 1:
                    listed = ", ".join(str(list(s)) for s in shapes)
                    raise OpError("SNN202", f"shapes {listed} do not broadcast")
                result[axis] = extent
    return tuple(result)
