"""Adding nodes to the graph that is being recovered, with the kinds of their streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.errors import error
from snnir.frontends.torch_nets.events import Constant, Maker
from snnir.frontends.torch_nets.pointwise import pointwise_op
from snnir.ir.graph import Editor, Graph, Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.pooling import MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Input, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import Bias, Scale
from snnir.ir.timing import Delay
from snnir.streams import Kind, Signal
from snnir.tensors import Tensor, tensor

_KEEPS = (Reshape, Flatten, Permute, Slice, Pad, MaxPool2d, Delay, Concat)


class Builder:
    """Collects nodes; operands may name nodes that come later.

    Attributes:
        editor: The nodes so far.
        kinds: What each value carries; what is not known yet counts as analog.
    """

    def __init__(self) -> None:
        self.editor = Editor(Graph({}, {}))
        self.kinds: dict[Value, Kind] = {}
        self._currents: dict[Value, Value] = {}

    def input(self, name: str, signal: Signal) -> Value:
        """Add the model's input."""
        value = self.editor.add(name, Input(signal))
        self.kinds[value] = signal.kind
        return value

    def kind(self, value: Value) -> Kind:
        """Return what a value carries."""
        return self.kinds.get(value, Kind.ANALOG)

    def add(self, name: str, op: Op, operands: Sequence[Value]) -> Value:
        """Add a node under its name, or a numbered one if that is taken."""
        if isinstance(op, Step) or self._mixed(op, operands):
            operands = [self.current(value) for value in operands]
        value = self.editor.add(self.editor.fresh(name), op, operands)
        for index, kind in enumerate(self._kinds_of(op, operands)):
            self.kinds[Value(value.node, index)] = kind
        return value

    def _mixed(self, op: Op, operands: Sequence[Value]) -> bool:
        kinds = {self.kind(value) for value in operands}
        return (isinstance(op, Concat) and len(kinds) > 1) or (
            isinstance(op, Add) and len(kinds) > 1 and Kind.ANALOG in kinds
        )

    def _kinds_of(self, op: Op, operands: Sequence[Value]) -> list[Kind]:
        if isinstance(op, Step):
            return [kind for _, kind in op.program.outputs]
        first = self.kind(operands[0])
        if isinstance(op, _KEEPS):
            return [first]
        if isinstance(op, (SumPool2d, Add)) and first is not Kind.ANALOG:
            return [Kind.COUNTS if isinstance(op, SumPool2d) or len(operands) > 1 else first]
        return [Kind.ANALOG]

    def current(self, value: Value) -> Value:
        """Return a value as an analog current."""
        if self.kind(value) is Kind.ANALOG:
            return value
        if value not in self._currents:
            name = self.editor.fresh(f"{value.node}.current")
            self._currents[value] = self.editor.add(name, Current(), [value])
        return self._currents[value]


def identity(builder: Builder, name: str, values: Sequence[Any]) -> dict[str, Value]:
    """Return the first operand as the result."""
    return {"out": values[0]}


def chain(operations: Sequence[Op]) -> Maker:
    """Return a maker of ops in a row; the first that computes something has the name."""

    def make(builder: Builder, name: str, values: Sequence[Value | Constant]) -> dict[str, Value]:
        main = next((o for o in operations if not isinstance(o, Reshape)), None)
        streams = [v for v in values if isinstance(v, Value)]
        if len(streams) < len(values):
            raise error(
                "SNN803", "joins a constant with values of the model", node=name,
                hint="make the constant an input of the model",
            )  # fmt: skip
        for operation in operations:
            own = name if operation is main or main is None else f"{name}.{operation.name}"
            streams = [builder.add(own, operation, streams)]
        return {"out": streams[0]}

    return make


def pointwise(op: str, pattern: Sequence[Any], rank: int) -> Maker:
    """Return a maker of an elementwise operation.

    Args:
        op: What is done.
        pattern: For every operand `tensor`, a number, or None.
        rank: Axes of a sample of the result.
    """

    def make(builder: Builder, name: str, values: Sequence[Value | Constant]) -> dict[str, Value]:
        rest = iter(values)
        given: list[Any] = [next(rest) if item == "tensor" else item for item in pattern]
        return {"out": _pointwise(builder, name, op, given, rank)}

    return make


def _pointwise(builder: Builder, name: str, op: str, given: list[Any], rank: int) -> Value:
    streams = [item for item in given if isinstance(item, Value)]
    others = [item for item in given if not isinstance(item, Value)]
    if op == "add" and not others:
        return builder.add(name, Add(), streams)
    if op in ("add", "mul") and len(others) == 1:
        number = as_tensor(others[0], rank)
        return builder.add(name, Bias(number) if op == "add" else Scale(number), streams)
    if op == "sub" and isinstance(given[0], Value) and len(others) == 1:
        return builder.add(name, Bias(Tensor(-as_tensor(others[0], rank).numpy())), streams)
    params = [as_tensor(item, rank) for item in others if isinstance(item, Constant)]
    operands = [
        "input" if isinstance(item, Value) else "param" if isinstance(item, Constant) else item
        for item in given
    ]
    return builder.add(name, pointwise_op(op, operands, params), streams)


def as_tensor(value: Constant | float, rank: int) -> Tensor:
    """Return a constant operand without its time and batch axes."""
    if not isinstance(value, Constant):
        return tensor(float(value))
    data = value.tensor.detach().cpu().numpy().astype(np.float32)
    while data.ndim > rank:
        if data.shape[0] > 1 and not (data == data[:1]).all():
            raise error(
                "SNN803", f"a constant of shape {list(value.tensor.shape)} differs between the "
                "samples of a batch, or between steps",
                hint="make it an input of the model, or the same for all",
            )  # fmt: skip
        data = data[0]
    return Tensor(data.copy())
