"""From the ATen operations of an exported program to the equations of a traced step."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.errors import Diagnostic
from snnir.frontends.step_functions.export_call import own_name
from snnir.frontends.step_functions.export_lines import module_of, stem_of, where_of
from snnir.frontends.step_functions.export_values import (
    MOST_FINDINGS,
    Const,
    Refused,
    Stream,
    Value,
    check_width,
    dtype_of,
)
from snnir.frontends.step_functions.traced import ELEMENTWISE, Array, Equation, Operand, Shape

#: A rule lowers one operation: it is given the lowering, the result's example, and the arguments.
Rule = Callable[..., Value]
RULES: dict[str, Rule] = {}
#: Operations that draw random numbers.
RANDOM = (
    "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "bernoulli", "normal",
    "multinomial", "poisson", "dropout", "native_dropout", "randperm", "exponential", "uniform",
)  # fmt: skip
#: What operations in training mode are called.
_TRAINING = ("_native_batch_norm_legit", "_native_batch_norm_legit_functional", "native_batch_norm")
#: Moves or renames elements; the result of one on a parameter is still that parameter.
_SAME_LABEL = {
    "permute", "view", "reshape", "_unsafe_view", "t", "transpose", "unsqueeze", "squeeze", "clone",
    "expand", "alias", "detach", "contiguous", "_to_copy", "clamp", "lift_fresh_copy", "neg",
}  # fmt: skip
#: What rules raise for arguments that they do not expect.
_UNUSUAL = (
    TypeError, ValueError, LookupError, AttributeError, AssertionError, RuntimeError,
    NotImplementedError,
)  # fmt: skip
_BOOLEAN = ("and", "or", "not")
_COMPARE = ("gt", "ge", "lt", "le", "eq")


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: define how ATen operations are lowered, by name without overload."""

    def define(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return define


class Lowering:
    """The traced step so far.

    Attributes:
        equations, constants, labels: Of the traced step.
        findings: What was refused.
        notes: What is not rounded as torch rounds it.
    """

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.constants: dict[str, Array] = {}
        self.labels: dict[str, str] = {}
        self.findings: list[Diagnostic] = []
        self.notes: dict[str, None] = {}
        self.where = ""
        self.what = ""
        self._stem = ""
        self._names: set[str] = set()
        self._known: dict[tuple[Any, ...], str] = {}
        self._casts: dict[str, Stream] = {}
        self._broadcasts: dict[tuple[str, Shape], str] = {}

    # --- Names and equations ---------------------------------------------------------------------

    def name(self, stem: str) -> str:
        """Return a free identifier like a text."""
        stem = re.sub(r"\W", "_", stem).strip("_") or "value"
        stem = f"v{stem}" if stem[0].isdigit() else stem
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        return name

    def emit(
        self, op: str, operands: Sequence[Operand], shape: Shape, dtype: str = "float",
        **attributes: Any,
    ) -> Stream:  # fmt: skip
        """Add an equation; return its result."""
        name = self.name(self._stem or op)
        self.equations.append(
            Equation(op, tuple(operands), name, shape, dtype, attributes, self.where, self.what)
        )
        return Stream(name, shape, dtype)

    def constant(self, tensor: torch.Tensor, label: str = "") -> str:
        """Return the name of a constant; equal ones of one label are one."""
        array = _array(tensor)
        key = (label, array.shape, str(array.dtype), array.tobytes())
        if key not in self._known:
            name = self.name(label or "constant")
            self._known[key] = name
            self.constants[name] = array
            if label:
                self.labels[name] = label
        return self._known[key]

    # --- Elementwise -----------------------------------------------------------------------------

    def op(self, op: str, *args: Value) -> Stream:
        """Apply an elementwise operation of the vocabulary; types are converted as torch does."""
        wanted = ["bool"] * len(args) if op in _BOOLEAN else ["float"] * len(args)
        if op == "select":
            wanted[0] = "bool"
        args = tuple(self.typed(arg, kind) for arg, kind in zip(args, wanted, strict=True))
        shape = broadcast_shape(args)
        operands = [self._operand(arg, shape) for arg in args]
        return self.emit(op, operands, shape, "bool" if op in (*_BOOLEAN, *_COMPARE) else "float")

    def _operand(self, value: Value, shape: Shape) -> Operand:
        if isinstance(value, Stream):
            return self.broadcast(value, shape).name
        if isinstance(value, Const):
            return self._fixed(value)
        return float(value)  # type: ignore[arg-type]

    def _fixed(self, value: Const) -> Operand:
        """Return a number for a constant that is one and has no name of the user's."""
        tensor = value.tensor
        if not value.label and tensor.dtype != torch.bool and tensor.numel():
            first = tensor.reshape(-1)[0]
            if bool((tensor == first).all()):
                return float(first.to(torch.float32))
        return self.constant(tensor, value.label)

    def broadcast(self, stream: Stream, shape: Shape) -> Stream:
        """Return a stream with another shape, repeated as NumPy would."""
        if stream.shape == shape:
            return stream
        key = (stream.name, shape)
        if key not in self._broadcasts:
            axes = tuple(range(len(shape) - len(stream.shape), len(shape)))
            made = self.emit("broadcast", [stream.name], shape, stream.dtype, axes=axes)
            self._broadcasts[key] = made.name
        return Stream(self._broadcasts[key], shape, stream.dtype)

    def typed(self, value: Value, kind: str) -> Value:
        """Return a value as `float` or `bool`; whole numbers count as float."""
        if isinstance(value, Const):
            wrong = (value.tensor.dtype == torch.bool) != (kind == "bool")
            if not wrong:
                return value
            return Const(value.tensor.to(torch.bool if kind == "bool" else torch.float32))
        if not isinstance(value, Stream):
            return Const(torch.tensor(bool(value))) if kind == "bool" else value
        if kind == "bool" and value.dtype != "bool":
            if value.name in self._casts:
                return self._casts[value.name]
            return self.op("not", self.op("eq", value, 0.0))
        if kind == "float" and value.dtype == "bool":
            number = self.emit("cast", [value.name], value.shape)
            self._casts[number.name] = value
            return number
        return value

    def fused(self, a: Value, b: Value, c: Value) -> Value:
        """Return a * b + c, rounded once where the vocabulary can."""
        if "fma" in ELEMENTWISE:
            return self.op("fma", a, b, c)
        self.notes[f"{self.where}: torch rounds a product and its sum once, the graph twice"] = None
        return self.op("add", self.op("mul", a, b), c)

    # --- Programs --------------------------------------------------------------------------------

    def run(self, nodes: Sequence[Any], values: dict[Any, Value]) -> None:
        """Lower the nodes of a program in order; refused ones, and what reads them, have no value.

        Args:
            nodes: Nodes of `torch.fx`.
            values: What is known of each; results are added.
        """
        for node in nodes:
            if node.op != "call_function" or len(self.findings) >= MOST_FINDINGS:
                continue
            if any(source not in values for source in node.all_input_nodes):
                continue
            self.where, self.what = where_of(node), _what(node)
            self._stem = stem_of(node)
            try:
                values[node] = self._lowered(node, values)
            except Refused as refusal:
                message = f"{self.where}: {self.what} {refusal.reason}"
                path = own_name(module_of(node))
                self.findings.append(
                    Diagnostic(refusal.code, message, path or None, hint=refusal.hint)
                )

    def _lowered(self, node: Any, values: Mapping[Any, Value]) -> Value:
        try:
            return self._lower(node, values)
        except _UNUSUAL as fault:
            text = (str(fault).splitlines() or [type(fault).__name__])[0]
            raise Refused(f"is used in a form that is not known ({text[:80]})") from None

    def _lower(self, node: Any, values: Mapping[Any, Value]) -> Value:
        if any(values[source] is None for source in node.all_input_nodes):
            raise Refused("reads a place, or another result that no stream carries")

        def known(value: Any) -> Any:
            return values[value] if isinstance(value, torch.fx.Node) else value

        args = torch.fx.node.map_aggregate(node.args, known)
        kwargs = torch.fx.node.map_aggregate(node.kwargs, known)
        if node.target is operator.getitem:
            return args[0][args[1]]  # type: ignore[no-any-return]
        name = name_of(node)
        if name in RANDOM:
            hint = "call .eval() on the module, or make the noise an input of the step"
            raise Refused("draws random numbers", hint, "SNN806")
        example = node.meta.get("val")
        check_types(example)
        if name in _TRAINING:
            raise Refused("is in training mode", "call .eval() on the module", "SNN804")
        streams = [s for s in node.all_input_nodes if _has_stream(values[s])]
        if not streams or name.endswith("_like") or name.startswith("new_"):
            return self._fold(node, name, args, kwargs, example, bool(streams))
        if name in ("item", "_local_scalar_dense"):
            hint = "use torch.where, which computes both, and tensors instead of .item()"
            raise Refused("makes a Python number of data", hint, "SNN804")
        if name not in RULES:
            raise Refused("has no counterpart in a graph", "see docs/torch.md for what has one")
        if name not in _MOVES and not all(_is_truth(values[s]) for s in streams):
            check_width(example)
        kwargs = {key: v for key, v in kwargs.items() if key not in _IGNORED}
        return RULES[name](self, example, *args, **kwargs)

    def _fold(
        self, node: Any, name: str, args: Any, kwargs: Any, example: Any, shaped: bool
    ) -> Value:
        """Compute an operation on constants by torch itself."""
        if name.startswith("empty") or name.startswith("new_empty"):
            return Const(torch.zeros(tuple(example.shape), dtype=example.dtype))
        if shaped:
            # Only the shape of the stream is read.
            args = (torch.empty(tuple(args[0].shape)), *args[1:])
            kwargs = {"dtype": example.dtype, **kwargs}
        label = self._label(name, args, node)
        bare = torch.fx.node.map_aggregate(
            (args, kwargs), lambda v: v.tensor if isinstance(v, Const) else v
        )
        with torch.no_grad():
            result = node.target(*bare[0], **bare[1])
        if isinstance(result, (tuple, list)):
            return tuple(Const(r) if isinstance(r, torch.Tensor) else r for r in result)
        return Const(result, label) if isinstance(result, torch.Tensor) else result

    def _label(self, name: str, args: Sequence[Any], node: Any) -> str:
        labels = [a.label for a in args if isinstance(a, Const) and a.label]
        if len(labels) == 1 and (name in _SAME_LABEL or not labels[0]):
            return str(labels[0])
        return stem_of(node) if labels else ""

    # --- Shapes ----------------------------------------------------------------------------------

    def reshape(self, stream: Stream, shape: Shape) -> Stream:
        """Return a stream with another shape, C order."""
        if shape == stream.shape:
            return stream
        return self.emit("reshape", [stream.name], shape, stream.dtype)

    def permute(self, stream: Stream, axes: Sequence[int]) -> Stream:
        """Return a stream with its axes reordered."""
        axes = [axis % len(stream.shape) for axis in axes]
        if axes == sorted(axes):
            return stream
        return self.keep(stream, "permute", [stream.shape[axis] for axis in axes], axes=tuple(axes))

    def keep(self, stream: Stream, op: str, shape: Sequence[int], **attributes: Any) -> Stream:
        """Apply a structural operation that keeps the type."""
        return self.emit(op, [stream.name], tuple(shape), stream.dtype, **attributes)


#: Operations that only move elements, of any type.
_MOVES = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze"),
        *("slice", "select", "expand", "clone", "alias", "flip", "cat", "stack", "split", "detach"),
    )
)
#: Arguments that say where or how a tensor lies, not what it is.
_IGNORED = ("layout", "device", "pin_memory", "memory_format", "non_blocking", "out_dtype")


def broadcast_shape(args: Sequence[Value]) -> Shape:
    """Return the program's shape of the elementwise result of values."""
    shapes = []
    for arg in args:
        if isinstance(arg, Stream):
            shapes.append(arg.shape)
        elif isinstance(arg, Const):
            shapes.append(tuple(arg.tensor.shape))
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


def check_types(example: Any) -> None:
    """Raise `Refused` for results of types that graphs do not compute with."""
    for item in example if isinstance(example, (tuple, list)) else [example]:
        if isinstance(item, torch.Tensor):
            dtype_of(item)
            if any(not isinstance(extent, int) for extent in item.shape):
                raise Refused(
                    f"has a result of shape {list(item.shape)}, which is not fixed",
                    "export the step for fixed shapes",
                    "SNN804",
                )


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    if array.dtype.kind == "f":
        return np.array(array, np.float32)
    return np.array(array, bool if array.dtype.kind == "b" else np.int32)


def _is_truth(value: Value) -> bool:
    return isinstance(value, Stream) and value.dtype == "bool"


def _has_stream(value: Value) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_stream(item) for item in value)
    return isinstance(value, Stream)


# --- What a node says ----------------------------------------------------------------------------


def name_of(node: Any) -> str:
    """Return the name of a node's operation without namespace and overload."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target.overloadpacket.__name__)
    return str(getattr(target, "__name__", target))


def _what(node: Any) -> str:
    """Return the operation with the shapes it reads."""
    shapes = []
    for source in node.all_input_nodes:
        example = source.meta.get("val")
        if isinstance(example, torch.Tensor):
            kind = {"bool": "b8", "float32": "f32", "int64": "i64", "int32": "i32"}
            dtype = str(example.dtype).removeprefix("torch.")
            listed = ",".join(str(extent) for extent in example.shape)
            shapes.append(f"{kind.get(dtype, dtype)}[{listed}]")
    return " ".join([str(node.target), *shapes])
