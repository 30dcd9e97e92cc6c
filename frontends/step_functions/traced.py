"""A traced step: what one call of a step function computes, apart from any framework.

A tracer (of a jaxpr, of an exported torch program) lowers its framework's operations to the small
vocabulary below; `snnir.frontends.step_functions.build.build` makes a graph of the result.
Everything is per sample: there is no batch and no time axis. What depends on neither input nor
state is computed by the tracer, with the framework's own result, and is a constant.

**Elementwise equations** have the name of one of `snnir.dynamics.scalar.SCALAR_OPS` that is
defined on floating point (`add sub mul div pow min max neg abs floor trunc round exp log tanh sqrt
gt ge lt le eq and or not cast select`, and `fma` where there is one) and mean the same: each rounds
once, to float32. `cast` takes bool and gives float; `select` takes (bool, yes, no). Operands are
names of streams of exactly the result's shape, names of constants whose shape broadcasts to it
under NumPy's rules, or Python numbers. A stream of another shape is broadcast by an equation of
its own.

**Structural equations** have one stream operand (`concat` has several) and attributes:

- `linear`: y[..., o] = sum_i weight[o, i] x[..., i]. `weight`: name of a constant [out, in];
  `bias`: name of a constant [out] that is added, or absent.
- `conv1d`, `conv2d`: cross-correlation of x [channels, *space] (axes before the channels must be
  of extent 1), zero padding. `weight`: name of a constant [out, in / groups, *kernel]; `bias` as
  above; `stride`, `dilation`: a number per spatial axis; `padding`: (before, after) per spatial
  axis; `groups`.
- `sum_pool2d`, `avg_pool2d`, `max_pool2d`: over the last two axes of x [..., height, width].
  `kernel`, `stride`: (vertical, horizontal); `padding`: (before, after) per axis; the padding
  takes part in sums and means and never wins a maximum.
- `reduce_sum`, `reduce_max`: over `axes`, which disappear.
- `reshape`: to the result's shape, in C order.
- `permute`: y.shape[i] = x.shape[axes[i]].
- `slice`: x[..., start:stop, ...] along `axis`.
- `take`: y = x[..., indices, ...] along `axis`, `indices` a tuple of whole numbers.
- `concat`: along `axis`; operands may be constants too.
- `pad`: zeros around; `widths`: (before, after) per axis.
- `broadcast`: axis i of x is axis `axes[i]` of the result, which is repeated where x has extent 1
  or no axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.scalar import SCALAR_OPS

Array = npt.NDArray[Any]
#: A name (of an input, a state's old value, a constant or an equation's result) or a number.
Operand = str | float
Shape = tuple[int, ...]

#: Element types of streams. Whole numbers are computed with as float32: exact below 2**24.
DTYPES = ("float", "int", "bool")
#: Structural operations; all others are elementwise.
STRUCTURAL = frozenset(
    (
        *("linear", "conv1d", "conv2d", "sum_pool2d", "avg_pool2d", "max_pool2d"),
        *("reduce_sum", "reduce_max", "reshape", "permute", "slice", "take", "concat", "pad"),
        "broadcast",
    )
)
#: Elementwise operations.
ELEMENTWISE = frozenset(name for name, op in SCALAR_OPS.items() if not op.whole)


@dataclass(frozen=True)
class Variable:
    """A stream that enters the step.

    Attributes:
        name: Its name; an identifier, unique among all names of the step.
        shape: Shape of one sample.
        dtype: One of `DTYPES`.
    """

    name: str
    shape: Shape
    dtype: str = "float"


@dataclass(frozen=True, eq=False)
class Leaf:
    """One array of the state.

    Attributes:
        name: Name by which equations read the value before the step: an identifier from the path
            in the user's state, such as `hidden_v` for `state["hidden"]["v"]`.
        initial: Value before the first step, one sample's; its dtype is float32, int32 or bool.
        new: The value after the step: a name, or a number that fills the shape.
        path: The path as the user writes it, for messages.
        scope: Path of the module that computes it, for the name of its population.
    """

    name: str
    initial: Array
    new: Operand
    path: str = ""
    scope: str = ""

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return self.initial.shape

    @property
    def dtype(self) -> str:
        """One of `DTYPES`."""
        return {"b": "bool", "f": "float"}.get(self.initial.dtype.kind, "int")


@dataclass(frozen=True)
class Equation:
    """`result = op(*operands)`.

    Attributes:
        op: A key of the vocabulary above.
        operands: What it reads.
        result: Name of the only result; an identifier, unique among all names of the step.
        shape: Shape of the result, of one sample.
        dtype: One of `DTYPES`.
        attributes: By name, as above.
        where: Source line and function for messages, such as `model.py:12 (step)`.
        what: The framework's operation for messages, such as `dot_general f32[3] f32[3,4]`.
    """

    op: str
    operands: tuple[Operand, ...]
    result: str
    shape: Shape
    dtype: str = "float"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    what: str = ""

    @property
    def is_elementwise(self) -> bool:
        """Whether it may become part of a step program."""
        return self.op not in STRUCTURAL

    @property
    def names(self) -> tuple[str, ...]:
        """The operands that are names."""
        return tuple(operand for operand in self.operands if isinstance(operand, str))


@dataclass(frozen=True, eq=False)
class Traced:
    """One step of a step function.

    Attributes:
        name: Name of the function.
        inputs: What it is given at each step.
        states: What it keeps, in the order of the user's state.
        constants: Arrays by name: float32, int32 or bool.
        equations: In an order in which every name is defined before it is read.
        outputs: (name, operand) of each result, in the order of the user's output.
        labels: Names for people by name of constant, such as `fc1.weight`.
        source: What the step was traced from, for the graph's provenance.
        notes: Assumptions made on the way, one sentence each.
    """

    name: str
    inputs: tuple[Variable, ...]
    states: tuple[Leaf, ...]
    constants: Mapping[str, Array]
    equations: tuple[Equation, ...]
    outputs: tuple[tuple[str, Operand], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    def types(self) -> dict[str, tuple[Shape, str]]:
        """Return (shape, dtype) by name.

        Raises:
            ValueError: If a name is defined twice or read before it is defined, or an operation
                is not of the vocabulary: a fault of the tracer.
        """
        found: dict[str, tuple[Shape, str]] = {}

        def define(name: str, shape: Shape, dtype: str) -> None:
            if name in found or not name.isidentifier():
                raise ValueError(f"'{name}' is defined twice or no identifier")
            found[name] = (shape, dtype)

        for variable in self.inputs:
            define(variable.name, variable.shape, variable.dtype)
        for leaf in self.states:
            define(leaf.name, leaf.shape, leaf.dtype)
        for name, array in self.constants.items():
            kind = np.asarray(array).dtype.kind
            define(name, np.shape(array), {"b": "bool", "f": "float"}.get(kind, "int"))
        for equation in self.equations:
            unknown = [name for name in equation.names if name not in found]
            if unknown or (equation.op not in STRUCTURAL and equation.op not in ELEMENTWISE):
                raise ValueError(f"{equation.op} reads {unknown} or is not in the vocabulary")
            define(equation.result, equation.shape, equation.dtype)
        return found
