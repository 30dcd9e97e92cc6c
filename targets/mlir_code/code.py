"""Writing functions of MLIR: tensors, scalars, and `linalg.generic` around scalar code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.mlir.numbers import element_text

#: How an axis of a loop is used.
PARALLEL, REDUCTION = "parallel", "reduction"

#: Name of the argument that says how many of the steps of a call count.
COUNT = "%count"
_FLOATS = {"f32": np.float32, "f64": np.float64}
_WHOLE = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
#: NumPy's type of an element.
DTYPES: dict[str, Any] = {**_FLOATS, **_WHOLE}


@dataclass(frozen=True)
class Scalar:
    """A value of scalar code: its name and its type, such as `f32`."""

    name: str
    element: str


@dataclass(frozen=True)
class Array:
    """A tensor.

    Attributes:
        name: Of the value that holds it.
        dims: Its extents.
        element: Type of its elements.
    """

    name: str
    dims: tuple[int, ...]
    element: str

    @property
    def type(self) -> str:
        """Its type, such as `tensor<2x3xf32>`."""
        return tensor_type(self.dims, self.element)


#: A tensor and the place of its element in a loop, one expression of `d0`, `d1` ... per axis.
Use = tuple[Array, Sequence[str]]


def tensor_type(dims: Sequence[int], element: str) -> str:
    """Return the type of a tensor."""
    return f"tensor<{'x'.join([*map(str, dims), element])}>"


def element_of(dtype: Any) -> str:
    """Return MLIR's type for elements of a NumPy type."""
    kind = np.dtype(dtype)
    return f"{'f' if kind.kind == 'f' else 'i'}{kind.itemsize * 8}"


def is_real(element: str) -> bool:
    """Whether elements are floating-point numbers."""
    return element.startswith("f")


def axes(count: int, first: int = 0) -> tuple[str, ...]:
    """Return the names of so many axes of a loop."""
    return tuple(f"d{first + k}" for k in range(count))


class Code:
    """The body of one function, written line by line.

    Args:
        zeros: Names of whole numbers that are 0, which the compiler cannot know, by type; none
            where products and sums may be rounded together.
    """

    def __init__(self, zeros: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.zeros = zeros or {}
        self._head: list[str] = []
        self._known: dict[str, str] = {}
        self._depth, self._count = 1, 0

    def body(self) -> list[str]:
        """Return every line, constants first."""
        return [*self._head, *self.lines]

    # --- Lines -----------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Add a line."""
        self.lines.append("  " * self._depth + text)

    def fresh(self) -> str:
        """Return a new name."""
        self._count += 1
        return f"%{self._count}"

    def op(self, text: str) -> str:
        """Add an operation with one result and return its name."""
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    @contextmanager
    def region(self, head: str, tail: str = "}") -> Iterator[None]:
        """Write what follows between two lines, indented."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1
        self.line(tail)

    def constant(self, text: str, element: str) -> str:
        """Return a constant, which stands at the head of the function once."""
        known = f"arith.constant {text}" + ("" if element == "i1" else f" : {element}")
        if known not in self._known:
            self._known[known] = self.fresh()
            self._head.append(f"  {self._known[known]} = {known}")
        return self._known[known]

    def index(self, value: int) -> str:
        """Return a constant index."""
        return self.constant(str(value), "index")

    def number(self, value: Any, element: str) -> Scalar:
        """Return a constant number."""
        text = element_text(DTYPES[element](value))
        return Scalar(self.constant(text, element), element)

    # --- Scalars ---------------------------------------------------------------------------------

    def scalar(self, text: str, element: str) -> Scalar:
        """Add a scalar operation."""
        return Scalar(self.op(f"{text} : {element}"), element)

    def cast(self, value: Scalar, element: str) -> Scalar:
        """Return a number as another type."""
        if value.element == element:
            return value
        word = _conversion(value.element, element)
        return Scalar(self.op(f"{word} {value.name} : {value.element} to {element}"), element)

    def product(self, a: Scalar, b: Scalar) -> Scalar:
        """Return a * b, rounded; a compiler cannot merge it with the sum that reads it."""
        word = "arith.mulf" if is_real(a.element) else "arith.muli"
        return self.guard(self.scalar(f"{word} {a.name}, {b.name}", a.element))

    def sum(self, a: Scalar, b: Scalar) -> Scalar:
        """Return a + b."""
        word = "arith.addf" if is_real(a.element) else "arith.addi"
        return self.scalar(f"{word} {a.name}, {b.name}", a.element)

    def guard(self, value: Scalar) -> Scalar:
        """Return a number as it is, a real one by way of its bits and a zero of run time.

        IREE rounds a product and the sum that reads it once where the processor can; neither a
        flag nor an attribute of the operations stops it.
        """
        bits = f"i{value.element[1:]}"
        zero = self.zeros.get(bits)
        if zero is None or not is_real(value.element):
            return value
        as_bits = self.op(f"arith.bitcast {value.name} : {value.element} to {bits}")
        same = self.op(f"arith.xori {as_bits}, {zero} : {bits}")
        return Scalar(self.op(f"arith.bitcast {same} : {bits} to {value.element}"), value.element)

    # --- Tensors ---------------------------------------------------------------------------------

    def empty(self, dims: Sequence[int], element: str) -> Array:
        """Return a tensor whose elements are not set."""
        return self.array("tensor.empty() :", dims, element)

    def array(self, text: str, dims: Sequence[int], element: str) -> Array:
        """Add an operation that gives a tensor; its type is put behind the text."""
        name = self.op(f"{text} {tensor_type(dims, element)}")
        return Array(name, tuple(dims), element)

    def filled(self, dims: Sequence[int], value: Scalar) -> Array:
        """Return a tensor of one number."""
        room = self.empty(dims, value.element)
        given = f"ins({value.name} : {value.element}) outs({room.name} : {room.type})"
        return self.array(f"linalg.fill {given} ->", dims, value.element)

    def loop(
        self,
        kinds: Sequence[str],
        reads: Sequence[Use],
        writes: Sequence[Use],
        body: Callable[[list[Scalar]], Sequence[Scalar]],
    ) -> list[Array]:
        """Add a `linalg.generic`.

        Args:
            kinds: How each axis is used.
            reads: What it reads.
            writes: What it starts from and gives.
            body: From an element of each of these to the new elements.
        """
        uses = [*reads, *writes]
        over = ", ".join(axes(len(kinds)))
        maps = ", ".join(f"affine_map<({over}) -> ({', '.join(at)})>" for _, at in uses)
        listed = ", ".join(f'"{kind}"' for kind in kinds)
        given = [Scalar(self.fresh(), array.element) for array, _ in uses]
        ins = f"ins({_typed([array for array, _ in reads])}) " if reads else ""
        results = [array for array, _ in writes]
        name, count = self.fresh(), len(results)
        head = f"{name}{f':{count}' if count > 1 else ''} = linalg.generic"
        traits = f"{{indexing_maps = [{maps}], iterator_types = [{listed}]}}"
        arguments = ", ".join(f"{each.name}: {each.element}" for each in given)
        types = ", ".join(array.type for array in results)
        tail = f"}} -> {types if count == 1 else f'({types})'}"
        with self.region(f"{head} {traits} {ins}outs({_typed(results)}) {{", tail):
            self.lines.append("  " * (self._depth - 1) + f"^bb0({arguments}):")
            made = body(given)
            self.line(f"linalg.yield {_listed(made)}")
        names = [name] if count == 1 else [f"{name}#{k}" for k in range(count)]
        return [Array(n, a.dims, a.element) for n, a in zip(names, results, strict=True)]

    def each(
        self,
        reads: Sequence[Use],
        dims: Sequence[int],
        element: str,
        body: Callable[[list[Scalar]], Scalar],
    ) -> Array:
        """Add a loop that gives every element of a tensor on its own."""
        room = self.empty(dims, element)
        (made,) = self.loop(
            [PARALLEL] * len(dims), reads, [(room, axes(len(dims)))], lambda xs: [body(xs[:-1])]
        )
        return made

    def converted(self, x: Array, element: str) -> Array:
        """Return a tensor with elements of another type."""
        if x.element == element:
            return x
        reads = [(x, axes(len(x.dims)))]
        return self.each(reads, x.dims, element, lambda xs: self.cast(xs[0], element))

    def reshaped(self, x: Array, dims: Sequence[int], groups: Sequence[int]) -> Array:
        """Return a tensor with some axes split: `groups` says into how many each is."""
        if all(n == 1 for n in groups):
            return x
        sizes = ", ".join(map(str, dims))
        text = f"tensor.expand_shape {x.name} {_groups(groups)} output_shape [{sizes}] : {x.type}"
        return self.array(f"{text} into", dims, x.element)

    def merged(self, x: Array, dims: Sequence[int], groups: Sequence[int]) -> Array:
        """Return a tensor with some axes merged: `groups` says how many each is made of."""
        if all(n == 1 for n in groups):
            return x
        text = f"tensor.collapse_shape {x.name} {_groups(groups)} : {x.type}"
        return self.array(f"{text} into", dims, x.element)

    def part(self, x: Array, first: Sequence[int | str], dims: Sequence[int]) -> Array:
        """Return a block of a tensor that begins at some place."""
        text = f"tensor.extract_slice {x.name}{_block(first, dims)} : {x.type} to"
        return self.array(text, dims, x.element)

    def item(self, x: Array, index: int | str) -> Array:
        """Return x[index], with one axis less."""
        first, sizes = (index, *(0 for _ in x.dims[1:])), (1, *x.dims[1:])
        text = f"tensor.extract_slice {x.name}{_block(first, sizes)} : {x.type} to"
        return self.array(text, x.dims[1:], x.element)

    def placed(self, x: Array, into: Array, index: str) -> Array:
        """Return a tensor with into[index:] begun by x; x may lack the first axis."""
        sizes = x.dims if len(x.dims) == len(into.dims) else (1, *x.dims)
        block = _block((index, *(0 for _ in sizes[1:])), sizes)
        text = f"tensor.insert_slice {x.name} into {into.name}{block} : {x.type}"
        return self.array(f"{text} into", into.dims, into.element)

    def repeated(
        self, start: Sequence[Array], end: str, step: int,
        body: Callable[[str, list[Array]], Sequence[Array]],
    ) -> list[Array]:  # fmt: skip
        """Add an `scf.for` from 0.

        Args:
            start: The tensors that are carried, before the first turn.
            end: Name of the index at which it ends.
            step: By how much the index grows.
            body: From the index and what is carried into a turn to what is carried out.
        """
        inner = [Array(self.fresh(), array.dims, array.element) for array in start]
        at, name, count = self.fresh(), self.fresh(), len(start)
        pairs = ", ".join(f"{i.name} = {s.name}" for i, s in zip(inner, start, strict=True))
        types = ", ".join(array.type for array in start)
        results = f"{name}{f':{count}' if count > 1 else ''}"
        head = f"{results} = scf.for {at} = {self.index(0)} to {end} step {self.index(step)}"
        with self.region(f"{head} iter_args({pairs}) -> ({types}) {{"):
            self.line(f"scf.yield {_listed(body(at, inner))}")
        names = [name] if count == 1 else [f"{name}#{k}" for k in range(count)]
        return [Array(n, a.dims, a.element) for n, a in zip(names, start, strict=True)]

    def joined(self, parts: Sequence[Array], axis: int) -> Array:
        """Return tensors one behind the other."""
        extent = sum(part.dims[axis] for part in parts)
        dims = (*parts[0].dims[:axis], extent, *parts[0].dims[axis + 1 :])
        names = ", ".join(part.name for part in parts)
        types = ", ".join(part.type for part in parts)
        text = f"tensor.concat dim({axis}) {names} : ({types}) ->"
        return self.array(text, dims, parts[0].element)

    def stacked(self, parts: Sequence[Array]) -> Array:
        """Return tensors as those of a new first axis."""
        groups = (2, *(1 for _ in parts[0].dims[1:]))
        split = [self.reshaped(part, (1, *part.dims), groups) for part in parts]
        return split[0] if len(split) == 1 else self.joined(split, 0)


def _typed(arrays: Sequence[Array]) -> str:
    return f"{', '.join(a.name for a in arrays)} : {', '.join(a.type for a in arrays)}"


def _listed(values: Sequence[Scalar | Array]) -> str:
    types = (v.element if isinstance(v, Scalar) else v.type for v in values)
    return f"{', '.join(v.name for v in values)} : {', '.join(types)}"


def _groups(groups: Sequence[int]) -> str:
    first, listed = 0, []
    for count in groups:
        listed.append(f"[{', '.join(map(str, range(first, first + count)))}]")
        first += count
    return f"[{', '.join(listed)}]"


def _block(first: Sequence[int | str], sizes: Sequence[int]) -> str:
    ones = ", ".join("1" for _ in sizes)
    return f"[{', '.join(map(str, first))}] [{', '.join(map(str, sizes))}] [{ones}]"


def _conversion(given: str, wanted: str) -> str:
    """Return the operation between two types; truth values count as 0 and 1."""
    if given == "i1":
        return "arith.uitofp" if is_real(wanted) else "arith.extui"
    if is_real(given) and is_real(wanted):
        return "arith.extf" if int(wanted[1:]) > int(given[1:]) else "arith.truncf"
    if is_real(given):
        return "arith.fptosi"
    if is_real(wanted):
        return "arith.sitofp"
    return "arith.extsi" if int(wanted[1:]) > int(given[1:]) else "arith.trunci"
