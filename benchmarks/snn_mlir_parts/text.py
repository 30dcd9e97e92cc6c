"""What MLIR text of the package snn-mlir says, stepped in NumPy.

That text is of a dialect of its own, which no MLIR but the package's own build knows. Here its
operations are computed as its definition of them says (`include/SNN/SNNOps.td` in its repository),
sums in the order of its loops: `benchmarks/snn_mlir.py` compares spikes with these, and with those
of the package's own `run` where the package's toolchain is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

TYPES = {"f32": np.float32, "i8": np.int8, "i32": np.int32}
NAME = r"[%@][\w.$-]+"
MEMREF = r"memref<([\dx]+)x(f32|i8|i32)>"
GLOBAL = re.compile(rf"memref\.global .*?({NAME}) : {MEMREF} = dense<(.*)>$")
ARGUMENT = re.compile(rf"({NAME}) : {MEMREF}")
MADE = re.compile(rf"({NAME}) = memref\.alloca\(\) : {MEMREF}")
TAKEN = re.compile(rf"({NAME}) = memref\.get_global ({NAME}) :")
FLAT = re.compile(rf"({NAME}) = memref\.collapse_shape ({NAME}) ")
COPY = re.compile(rf"memref\.copy ({NAME}), ({NAME}) :")
OPERATION = re.compile(r"(snn|linalg)\.(\w+) (.*)")
GROUP = re.compile(r"(ins|state|out|outs|bias)\(([^)]*)\)")
ATTRIBUTE = re.compile(r"(\w+) = (?:array<i64: ([^>]*)>|([-+.\de]+) : [fi]64)")

#: What else a module has: no more than this is passed over without a word.
IGNORED = re.compile(
    r"module|//|func\.func|\)|\}|return|\^bb0|%sum\d+ = arith\.add|linalg\.yield|$"
)


class NotUnderstoodError(Exception):
    """A line of the text that has no meaning here."""


@dataclass(frozen=True)
class Operation:
    """One operation on buffers.

    Attributes:
        name: Without the dialect; `merge` is the sum of several buffers.
        operands: Names of the buffers of each group (`ins`, `state`, `out`, `bias`), `%` included.
        attributes: Numbers, and tuples for arrays.
    """

    name: str
    operands: dict[str, list[str]]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """A module: constants, arguments of its function in order, buffers, and operations.

    Attributes:
        constants: Weights and biases by the name of their global.
        arguments: Names of the input, the state and the output with zeros of their type.
        buffers: Further buffers with zeros of their type.
        operations: In order.
    """

    constants: dict[str, Array]
    arguments: dict[str, Array]
    buffers: dict[str, Array]
    operations: list[Operation]

    def run(self, x: Array, record: str | None = None) -> Array:
        """Step from a state of zeros, as the package's C does.

        Args:
            x: Input [T, *features], any type; it is cast to that of the input.
            record: Buffer to return; its last one is the output.

        Returns:
            Values [T, *features] of the recorded buffer, in its type.
        """
        values = {
            name: buffer.copy() for name, buffer in (self.arguments | self.buffers).items()
        } | self.constants
        found = []
        for row in x:
            values["%input"] = row.astype(values["%input"].dtype).reshape(values["%input"].shape)
            for operation in self.operations:
                step(operation, values)
            found.append(values[record or "%output"].copy())
        return np.stack(found)


# --- Reading --------------------------------------------------------------------------------------


def read(text: str) -> Program:
    """Read a module.

    Raises:
        NotUnderstoodError: If a line is of no known form.
    """
    program = Program({}, {}, {}, [])
    for line in text.splitlines():
        read_line(line.strip(), program)
    return program


def read_line(line: str, program: Program) -> None:
    """Add what a line says to a program."""
    if found := GLOBAL.search(line):
        name, shape, kind, values = found.groups()
        program.constants[name] = constant(values, shape, kind)
    elif found := MADE.match(line):
        program.buffers[found[1]] = zeros(found[2], found[3])
    elif found := TAKEN.match(line):
        program.operations.append(Operation("take", {"ins": [found[2]], "out": [found[1]]}, {}))
    elif found := FLAT.match(line):
        program.operations.append(Operation("flatten", {"ins": [found[2]], "out": [found[1]]}, {}))
    elif found := COPY.match(line):
        program.operations.append(Operation("copy", {"ins": [found[1]], "out": [found[2]]}, {}))
    elif line.startswith("%") and (found := ARGUMENT.match(line)):
        program.arguments[found[1]] = zeros(found[2], found[3])
    elif IGNORED.match(line):
        return
    elif found := OPERATION.match(line):
        program.operations.append(operation(found[1], found[2], found[3]))
    else:
        raise NotUnderstoodError(line[:80])


def zeros(shape: str, kind: str) -> Array:
    """Return zeros of a memref type."""
    return np.zeros(tuple(int(d) for d in shape.split("x")), TYPES[kind])


def constant(values: str, shape: str, kind: str) -> Array:
    """Return the array of a `dense` attribute, of one number or of nested lists."""
    like = zeros(shape, kind)
    return np.broadcast_to(np.array(json.loads(values), like.dtype), like.shape)


def operation(dialect: str, name: str, rest: str) -> Operation:
    """Read operands and attributes of an operation.

    Raises:
        NotUnderstoodError: If nothing is known of the operation.
    """
    if dialect == "linalg":
        name = "merge"  # the only one of linalg that is emitted
    if name not in STEPS:
        raise NotUnderstoodError(f"{dialect}.{name}")
    groups = {
        "out" if group == "outs" else group: re.findall(NAME, text)
        for group, text in GROUP.findall(rest)
    }
    attributes: dict[str, Any] = {}
    for key, many, one in ATTRIBUTE.findall(rest):
        attributes[key] = tuple(int(v) for v in many.split(",")) if many else float(one)
    return Operation(name, groups, attributes)


# --- Stepping -------------------------------------------------------------------------------------


def step(op: Operation, values: dict[str, Array]) -> None:
    """Compute an operation on the buffers."""
    STEPS[op.name](op, values)


def take(op: Operation, values: dict[str, Array]) -> None:
    values[op.operands["out"][0]] = values[op.operands["ins"][0]]


def copy(op: Operation, values: dict[str, Array]) -> None:
    values[op.operands["out"][0]] = values[op.operands["ins"][0]].copy()


def flatten(op: Operation, values: dict[str, Array]) -> None:
    values[op.operands["out"][0]] = values[op.operands["ins"][0]].reshape(-1)


def merge(op: Operation, values: dict[str, Array]) -> None:
    first, *others = (values[name] for name in op.operands["ins"])
    for other in others:
        first = first + other
    values[op.operands["out"][0]] = first


def linear(op: Operation, values: dict[str, Array]) -> None:
    x, weight = (values[name] for name in op.operands["ins"])
    like = values[op.operands["out"][0]]
    terms = weight.astype(like.dtype) * x.astype(like.dtype)
    total = np.add.accumulate(terms, axis=1, dtype=like.dtype)[:, -1]  # one after the other
    values[op.operands["out"][0]] = total + bias(op, values, 0)


def conv2d(op: Operation, values: dict[str, Array]) -> None:
    x, weight = (values[name] for name in op.operands["ins"])
    like = values[op.operands["out"][0]]
    total = np.zeros_like(like)
    seen = windows(op, x, weight.shape[2:], like.shape[1:])
    for channel in range(weight.shape[1]):
        for (row, column), window in seen:
            factor = weight[:, channel, row, column, None, None].astype(like.dtype)
            total = total + factor * window[channel].astype(like.dtype)
    values[op.operands["out"][0]] = total + bias(op, values, 2)


def sumpool2d(op: Operation, values: dict[str, Array]) -> None:
    x = values[op.operands["ins"][0]]
    like = values[op.operands["out"][0]]
    total = np.zeros_like(like)
    for _, window in windows(op, x, op.attributes["kernel"], like.shape[1:]):
        total = total + window
    values[op.operands["out"][0]] = total


def windows(
    op: Operation, x: Array, kernel: tuple[int, ...], size: tuple[int, ...]
) -> list[tuple[tuple[int, int], Array]]:
    """Return of each place of a kernel what it sees [C, H', W']."""
    stride, padding = op.attributes["stride"], op.attributes["padding"]
    x = np.pad(x, ((0, 0), *((p, p) for p in padding)))
    found = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            rows = slice(row, row + stride[0] * (size[0] - 1) + 1, stride[0])
            columns = slice(column, column + stride[1] * (size[1] - 1) + 1, stride[1])
            found.append(((row, column), x[:, rows, columns]))
    return found


def bias(op: Operation, values: dict[str, Array], axes: int) -> Array | int:
    """Return the bias with so many axes more, or 0."""
    if "bias" not in op.operands:
        return 0
    found = values[op.operands["bias"][0]]
    return found.reshape(found.shape + (1,) * axes)


def rescale(op: Operation, values: dict[str, Array]) -> None:
    shift = int(op.attributes["d_scale"] - op.attributes["w_scale"])
    x = values[op.operands["ins"][0]].astype(np.int32)
    values[op.operands["out"][0]] = x << shift if shift >= 0 else x >> -shift


def lif(op: Operation, values: dict[str, Array]) -> None:
    voltage = op.operands["state"][0]
    v = decayed(op, "decay", values[voltage]) + values[op.operands["ins"][0]]
    fire(op, values, voltage, v)


def cubalif(op: Operation, values: dict[str, Array]) -> None:
    current, voltage = op.operands["state"]
    i = decayed(op, "cur_decay", values[current]) + values[op.operands["ins"][0]]
    values[current] = i
    fire(op, values, voltage, decayed(op, "vol_decay", values[voltage]) + i)


def decayed(op: Operation, name: str, state: Array) -> Array:
    """Return the state times its decay; in integers a product of 64 bits, shifted."""
    if state.dtype == np.float32:
        return np.asarray(np.float32(op.attributes[f"{name}_float"]) * state)
    product = int(op.attributes[f"{name}_int"]) * state.astype(np.int64)
    return np.asarray(product >> int(op.attributes["d_scale"])).astype(np.int32)


def fire(op: Operation, values: dict[str, Array], voltage: str, v: Array) -> None:
    """Compare with the threshold, reset, and write spikes; strictly above fires."""
    kind = "float" if v.dtype == np.float32 else "int"
    fired = v > v.dtype.type(op.attributes[f"threshold_{kind}"])
    reset = v.dtype.type(op.attributes.get(f"v_reset_{kind}", 0))
    values[voltage] = np.where(fired, reset, v)
    out = op.operands["out"][0]
    values[out] = fired.astype(values[out].dtype)


STEPS: dict[str, Callable[[Operation, dict[str, Array]], None]] = {
    "take": take, "copy": copy, "flatten": flatten, "merge": merge, "linear": linear,
    "conv2d": conv2d, "sumpool2d": sumpool2d, "rescale": rescale, "lif": lif, "cubalif": cubalif,
}  # fmt: skip
