"""What each op is in NIR: type, constructor arguments, and what the record adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.dynamics.record import dynamics_record
from snnir.ir.graph import Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add, Current, Flatten, Input
from snnir.ir.synapses import Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.targets.nir_lift import NOMINAL_DT, lift
from snnir.tensors import Tensor

if TYPE_CHECKING:
    from snnir.targets.nir_file import Writer

Attributes = dict[str, Any]


@dataclass
class Entry:
    """One NIR node to be: type, constructor arguments, record, user metadata."""

    type: str
    fields: Attributes
    record: Attributes = field(default_factory=dict)
    params: Mapping[str, Tensor] = field(default_factory=dict)


def full(value: Tensor, shape: tuple[int, ...]) -> Any:
    """Return a parameter in the population's full shape, as NIR demands (at least one axis)."""
    return np.ascontiguousarray(np.broadcast_to(value.numpy(), shape or (1,)))


def _shapes(params: Mapping[str, Tensor], shape: tuple[int, ...]) -> Attributes:
    """Return the record of parameters that are broadcast."""
    odd = {name: list(value.shape) for name, value in params.items() if value.shape != shape}
    return {"shapes": odd} if odd else {}


def _input(writer: Writer, node: Node) -> Entry:
    assert isinstance(node.op, Input)
    signal = node.op.signal
    return Entry("Input", {"shape": signal.shape}, {"kind": str(signal.kind)})


def _linear(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, Linear)
    if op.bias is None:
        return Entry("Linear", {"weight": without_zero(op)})
    bias = full(op.bias, (op.weight.shape[0],))
    return Entry("Affine", {"weight": without_zero(op), "bias": bias})


def _sparse(writer: Writer, node: Node) -> Entry:
    assert isinstance(node.op, SparseLinear)
    full_form = Linear(Tensor(node.op.dense()), node.op.bias)
    return _linear(writer, replace(node, op=full_form))


def _convolution(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, (Conv1d, Conv2d))
    space = writer.signal_shape(node)[1:]
    out = op.weight.shape[0]
    bias = np.zeros(out, np.float32) if op.bias is None else full(op.bias, (out,))
    fields: Attributes = {"weight": without_zero(op), "groups": op.groups, "bias": bias}
    if isinstance(op, Conv1d):
        fields |= {"input_shape": space[0], "stride": op.stride[0], "dilation": op.dilation[0]}
    else:
        fields |= {"input_shape": space, "stride": op.stride, "dilation": op.dilation}
    padding = _padding(writer, node, op)
    if padding is not None:
        single = isinstance(op, Conv1d) and not isinstance(padding, str)
        fields["padding"] = padding[0] if single else padding
    record = {"no_bias": True} if op.bias is None else {}
    return Entry("Conv1d" if isinstance(op, Conv1d) else "Conv2d", fields, record)


def _padding(writer: Writer, node: Node, op: Conv1d | Conv2d) -> Any:
    if all(before == after for before, after in op.padding):
        return tuple(before for before, _ in op.padding)
    totals = [d * (k - 1) for k, d in zip(op.weight.shape[2:], op.dilation, strict=True)]
    same = tuple((total // 2, total - total // 2) for total in totals)
    if op.padding == same and set(op.stride) == {1}:
        return "same"
    writer.fail(node, f"NIR has no padding {op.padding}, which differs before and after")
    return None


def _pool(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, (SumPool2d, AvgPool2d))
    if any(before != after for before, after in op.padding):
        writer.fail(node, f"NIR has no padding {op.padding}, which differs before and after")
    fields = {
        "kernel_size": np.array(op.kernel),
        "stride": np.array(op.stride),
        "padding": np.array([before for before, _ in op.padding]),
    }
    return Entry(type(op).__name__, fields)


def _flatten(writer: Writer, node: Node) -> Entry:
    assert isinstance(node.op, Flatten)
    shape = np.array(writer.signal_shape(node))
    fields = {"input_type": {"input": shape}, "start_dim": node.op.start, "end_dim": node.op.end}
    return Entry("Flatten", fields)


def _scale(writer: Writer, node: Node) -> Entry:
    assert isinstance(node.op, Scale)
    shape = writer.graph.signal(node.name).shape
    params = {"scale": node.op.scale}
    return Entry("Scale", {"scale": full(node.op.scale, shape)}, _shapes(params, shape))


def _sum(writer: Writer, node: Node) -> Entry:
    """A sum that several nodes read: a scale by 1 gives it a place of its own."""
    shape = writer.graph.signal(node.name).shape
    return Entry("Scale", {"scale": np.ones(shape or (1,), np.float32)}, {"op": node.op.name})


def _delay(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, Delay)
    dt = NOMINAL_DT if writer.graph.dt is None else writer.graph.dt
    shape = writer.graph.signal(node.name).shape
    steps = op.steps if isinstance(op.steps, Tensor) else Tensor(np.int64(op.steps))
    if op.seconds is not None:  # NIR says how long delays are, the record how many steps
        record = {**_shapes({"seconds": op.seconds}, shape), "steps": steps.numpy().tolist()}
        return Entry("Delay", {"delay": full(op.seconds, shape)}, record)
    return Entry(
        "Delay", {"delay": full(steps, shape) * np.float64(dt)}, _shapes({"steps": steps}, shape)
    )


_TYPES = {
    "i": "I", "li": "LI", "if": "IF", "lif": "LIF", "cubali": "CubaLI", "cubalif": "CubaLIF",
    "threshold": "Threshold",
}  # fmt: skip


def _neuron(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, Neuron)
    if op.model not in _TYPES:
        writer.fail(node, f"NIR has no neuron like '{op.model}'", "save as .snnir")
        return Entry("LIF", {})
    shape = writer.graph.signal(node.name).shape
    params = {name: op.params[name] for name in op.definition.params if name in op.params}
    for name, value in op.definition.defaults.items():
        params.setdefault(name, Tensor(np.float32(value)))
    record: Attributes = _shapes(params, shape)
    if op.stepping is not None:
        record["stepping"] = op.stepping.attributes()
    fields = {name: full(value, shape) for name, value in params.items()}
    return Entry(_TYPES[op.model], fields, record)


def _step(writer: Writer, node: Node) -> Entry:
    op = node.op
    assert isinstance(op, Step)
    shape = writer.graph.signal(node.name).shape
    model, values = lift(op, writer.graph.dt)
    dtype = np.float64
    fields = {k: full(Tensor(np.asarray(v, dtype)), shape) for k, v in values.items()}
    record: Attributes = {
        "step": _step_record(op.dynamics),
        "model": op.model,
        "shapes": {name: list(value.shape) for name, value in op.params.items()},
    }
    return Entry(_TYPES[model], fields, record, op.params)


def _step_record(dynamics: LifStep | Dynamics) -> Attributes:
    """Return the attributes of a member of the LIF family, or a program as it is."""
    return dynamics.attributes() if isinstance(dynamics, LifStep) else dynamics_record(dynamics)


MAKERS: dict[type, Callable[[Writer, Node], Entry]] = {
    Input: _input,
    Linear: _linear,
    SparseLinear: _sparse,
    Conv1d: _convolution,
    Conv2d: _convolution,
    SumPool2d: _pool,
    AvgPool2d: _pool,
    Flatten: _flatten,
    Scale: _scale,
    Add: _sum,
    Current: _sum,
    Delay: _delay,
    Neuron: _neuron,
    Step: _step,
}
