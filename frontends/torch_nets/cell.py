"""What a framework's neuron layer is in ops of the graph, and the maker of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnir.dynamics.lif import LifStep
from snnir.dynamics.program import Dynamics
from snnir.errors import error
from snnir.frontends.torch_nets.build import Builder, as_tensor
from snnir.frontends.torch_nets.events import Constant, Maker
from snnir.ir.graph import Value
from snnir.ir.neuron import Step
from snnir.ir.op import Op
from snnir.ir.structure import Add
from snnir.ir.synapses import Bias, Scale
from snnir.ir.timing import Delay
from snnir.ir.winner import Winner
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor, tensor


@dataclass(frozen=True)
class Cell:
    """A population with what belongs to its layer.

    Attributes:
        step: The step program.
        params: Its parameters.
        drive: Ops on the input before the neuron.
        feedback: Ops on the neuron's own output that come back a step later; None without.
        feedback_adds: The feedback is added to the input before the neuron, instead of being the
            second input of the program.
        delay_last: The feedback is computed when the spike is, and waits; otherwise the spike
            waits and the feedback is computed when it is needed. They differ in the first step if
            the feedback has a bias.
        graded: Factor on the spikes, if there is one.
        winner: Only the neuron with the largest membrane above its threshold may spike.
        dt: Step length in seconds, where the framework has one.
    """

    step: LifStep | Dynamics
    params: Mapping[str, Any]
    drive: Sequence[Op] = ()
    feedback: Sequence[Op] | None = None
    feedback_adds: bool = False
    delay_last: bool = False
    graded: Any = None
    winner: bool = False
    dt: float | None = None

    @property
    def program(self) -> Dynamics:
        """The step program in scalar operations."""
        return self.step.program if isinstance(self.step, LifStep) else self.step

    def exposing(self, names: Sequence[str]) -> LifStep | Dynamics:
        """Return the step with states as further outputs, in the order given."""
        if isinstance(self.step, LifStep) and list(names) == ["v"] and self.step.membrane != "none":
            return replace(self.step, exposes_v=True)
        if not names:
            return self.step
        program = self.program
        updates = dict(program.updates)
        extra = tuple((str(updates[name]), Kind.ANALOG) for name in names)
        return replace(program, outputs=(*program.outputs, *extra))

    def op(self, exposed: Sequence[str] = ()) -> Step:
        """Return the neuron's op."""
        step = self.exposing(exposed)
        program = step.program if isinstance(step, LifStep) else step
        params = {
            name: Tensor(np.asarray(self.params[name], np.float32)) for name, _ in program.params
        }
        return Step(step, FrozenDict(params))


def cell_maker(cell: Cell, exposed: Sequence[str]) -> Maker:
    """Return the maker of a neuron layer's nodes; `exposed` are the states others read."""

    def make(builder: Builder, name: str, values: Sequence[Value | Constant]) -> dict[str, Value]:
        if not any(isinstance(v, Value) for v in values):
            message = "its input does not come from the model's input"
            raise error("SNN803", message, node=name)
        own = builder.editor.fresh(name)
        stream, *others = (_value(builder, own, v, values) for v in values)
        for op in cell.drive:
            stream = builder.add(f"{own}.input", op, [stream])
        reads_v = ["v"] if cell.winner and "v" not in exposed else []
        names = [*exposed, *reads_v]
        op = cell.op(names)
        final = _final_name(builder, cell, own)
        inputs = [stream, *others]
        if cell.feedback is not None:
            kind = Kind.ANALOG if cell.graded is not None else op.program.outputs[0][1]
            back = _feedback(builder, cell, own, Value(final), kind)
            inputs = [_sum(builder, own, stream, back)] if cell.feedback_adds else [stream, back]
        spikes = builder.add(own, op, inputs)
        results = {state: Value(spikes.node, 1 + at) for at, state in enumerate(names)}
        if cell.winner:
            shift = Bias(Tensor(-np.asarray(cell.params["threshold"], np.float32)))
            above = builder.add(f"{own}.above", shift, [results["v"]])
            spikes = builder.add(f"{own}.winner", Winner(), [above])
        if cell.graded is not None:
            scale = Scale(Tensor(np.asarray(cell.graded, np.float32)))
            spikes = builder.add(f"{own}.graded", scale, [spikes])
        return {"out": spikes, **results}

    return make


def _value(builder: Builder, own: str, value: Value | Constant, values: Sequence[Any]) -> Value:
    """Return an input as a stream; a constant one is added to a stream of zeros."""
    if isinstance(value, Value):
        return value
    stream = next(v for v in values if isinstance(v, Value))
    zeros = builder.add(f"{own}.zeros", Scale(tensor(0.0)), [stream])
    rank = value.tensor.ndim - 1
    return builder.add(f"{own}.constant", Bias(as_tensor(value, rank)), [zeros])


def _final_name(builder: Builder, cell: Cell, own: str) -> str:
    """Return the name of the node whose value leaves the layer."""
    if cell.graded is not None:
        return builder.editor.fresh(f"{own}.graded")
    return builder.editor.fresh(f"{own}.winner") if cell.winner else own


def _feedback(builder: Builder, cell: Cell, own: str, spikes: Value, kind: Kind) -> Value:
    builder.kinds[spikes] = kind
    stream = spikes
    if not cell.delay_last:
        stream = builder.add(f"{own}.delay", Delay(1), [stream])
    for op in cell.feedback or ():
        stream = builder.add(f"{own}.recurrent", op, [stream])
    return builder.add(f"{own}.delay", Delay(1), [stream]) if cell.delay_last else stream


def _sum(builder: Builder, own: str, stream: Value, back: Value) -> Value:
    return builder.add(f"{own}.sum", Add(), [stream, back])
