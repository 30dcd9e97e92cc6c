"""Neurons: continuous models before `discretize`, step programs after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from snnir.dynamics.fixed_point import WHOLE_UNIT
from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import Model, find_model
from snnir.dynamics.program import Dynamics
from snnir.ir.op import Op, Operands, OpError, Results, Whole, analog, broadcast, register_op
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor


class _NeuronOp(Op):
    """What continuous and discrete neurons share."""

    params: FrozenDict[Tensor]

    @property
    def is_stateless(self) -> bool:
        """Neurons remember."""
        return False

    def common_shape(self, operand: Signal | None) -> tuple[int, ...] | None:
        """Return the population's shape: the operand's, which the parameters must fit."""
        if operand is None:
            shape = broadcast(*(parameter.shape for parameter in self.params.values()))
            return shape if max(shape, default=1) > 1 else None
        if operand.kind is not Kind.ANALOG:
            raise OpError(
                "SNN203",
                f"takes an analog current, got {operand.kind}",
                "make the step explicit with the op `current`",
            )
        for name, parameter in self.params.items():
            if parameter.shape in ((), operand.shape):
                continue
            if broadcast(operand.shape, parameter.shape) != operand.shape:
                raise OpError(
                    "SNN202",
                    f"parameter {name} {list(parameter.shape)} does not fit its input "
                    f"{list(operand.shape)}",
                )
        return operand.shape

    def check_names(self, wanted: Iterable[str], allowed: Iterable[str]) -> None:
        """Raise `OpError` unless exactly the parameters the model needs are there."""
        allowed = set(allowed)
        missing = [name for name in wanted if name not in self.params]
        unknown = [name for name in self.params if name not in allowed]
        if missing or unknown:
            raise OpError(
                "SNN201",
                "; ".join(
                    part
                    for part in (
                        f"misses parameter {', '.join(missing)}" if missing else "",
                        f"has no parameter {', '.join(unknown)}" if unknown else "",
                    )
                    if part
                ),
            )


@register_op
@dataclass(frozen=True)
class Neuron(_NeuronOp):
    """A population of a continuous model, not yet stepped.

    Attributes:
        model: Key of `snnir.dynamics.models.MODELS`.
        params: The model's parameters, each broadcastable to the input's shape.
        stepping: How `discretize` will step it, or None if nobody has said.
    """

    name: ClassVar[str] = "neuron"
    model: str
    params: FrozenDict[Tensor] = field(default_factory=FrozenDict)
    stepping: Stepping | None = None

    @property
    def definition(self) -> Model:
        """The model's equations."""
        model = find_model(self.model)
        if model is None:
            hint = "`snnir list neurons` has all; --plugin adds those of your own"
            raise OpError("SNN106", f"no neuron model is called '{self.model}'", hint)
        return model

    def infer(self, operands: Operands) -> Results:
        """Spikes of the input's shape, or analog for models that do not spike."""
        model = self.definition
        self.check_names((n for n in model.params if n not in model.defaults), model.params)
        for name in model.time_constants:
            value = self.params[name]
            if value.is_resolved and not np.all(value.numpy() > 0):
                worst = value.numpy().min()
                raise OpError("SNN105", f"time constant {name} is {worst}, must be positive")
        shape = self.common_shape(operands[0])
        if shape is None:
            return (None,)
        return (Signal(Kind.SPIKES if model.spikes else Kind.ANALOG, shape),)


@register_op
@dataclass(frozen=True)
class Step(_NeuronOp):
    """A population stepped by a program.

    Attributes:
        dynamics: A member of the LIF family, or any step program.
        params: The program's parameters, each broadcastable to the input's shape.
        model: Name of the continuous model it came from, if any.
        unit: Of a program of integers: how much one of its signals (parameters of unit `unit`)
            is, broadcastable to the input's shape. Information: nothing is multiplied by it.
        bits: Of a program of integers: those of its signals, sign included; 0 if unknown.
    """

    name: ClassVar[str] = "step"
    dynamics: LifStep | Dynamics
    params: FrozenDict[Tensor] = field(default_factory=FrozenDict)
    model: str = ""
    unit: Tensor | None = None
    bits: int = 0

    @property
    def program(self) -> Dynamics:
        """The step program."""
        return self.dynamics.program if isinstance(self.dynamics, LifStep) else self.dynamics

    def whole(self) -> dict[str, Whole]:
        """Thresholds and the like, in a program of integers that float32 can hold."""
        if self.unit is None or "unit" in self.params or not 0 < self.bits <= 24:
            return {}
        most = 2 ** (self.bits - 1) - 1
        signals = [name for name, unit in self.program.params if unit == WHOLE_UNIT]
        return dict.fromkeys(signals, Whole("unit", -most - 1, most))

    @property
    def operand_count(self) -> int:
        """One operand per input of the program."""
        return len(self.program.inputs)

    def infer(self, operands: Operands) -> Results:
        """One stream per output of the program."""
        program = self.program
        names = [name for name, _ in program.params]
        self.check_names(names, names)
        shapes = {self.common_shape(operand) for operand in operands if operand is not None}
        if len(shapes) > 1:
            listed = " and ".join(str(list(shape or ())) for shape in shapes)
            raise OpError("SNN202", f"its inputs have shapes {listed}")
        shape = shapes.pop() if shapes else self.common_shape(None)
        if shape is None:
            return (None,) * len(program.outputs)
        kinds = [kind for _, kind in program.outputs]
        return tuple(
            analog(shape) if kind is Kind.ANALOG else Signal(kind, shape) for kind in kinds
        )
