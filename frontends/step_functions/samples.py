"""Removing the batch axis from a traced step.

Every stream that depends on the batch keeps track of where that axis is; an equation that would
mix samples is refused, and so is a constant that differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from snnir.errors import Diagnostic, SnnirError
from snnir.frontends.step_functions.traced import (
    Array,
    Equation,
    Leaf,
    Operand,
    Shape,
    Traced,
    Variable,
)

_HINT = "a step function may treat samples only one by one"


class _Mixes(Exception):
    """An equation has no counterpart for one sample."""


def per_sample(traced: Traced) -> Traced:
    """Return a step traced with a leading batch axis on every input as a step of one sample.

    State leaves without that axis are the same for all samples.

    Raises:
        SnnirError: SNN801 if the inputs do not have the same leading extent, or SNN803 for what
            mixes samples or differs between them.
    """
    extents = {v.shape[0] if v.shape else 0 for v in traced.inputs}
    if len(extents) != 1 or min(extents) < 2:
        listed = ", ".join(str(list(v.shape)) for v in traced.inputs)
        message = f"batched=True needs inputs with the same leading axis of 2 or more, got {listed}"
        raise SnnirError(Diagnostic("SNN801", message))
    return _Samples(traced, extents.pop()).run()


def _without(shape: Shape, axis: int | None) -> Shape:
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


def _shifted(axes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(a - (a > axis) for a in axes)


class _Samples:
    """One removal."""

    def __init__(self, traced: Traced, batch: int) -> None:
        self.traced, self.batch = traced, batch
        self.shapes = {name: shape for name, (shape, _) in traced.types().items()}
        self.axis: dict[str, int | None] = {v.name: 0 for v in traced.inputs}
        for leaf in traced.states:
            self.axis[leaf.name] = 0 if leaf.shape[:1] == (batch,) else None
        self.constants: dict[str, Array] = dict(traced.constants)
        self.labels: dict[str, str] = dict(traced.labels)
        self.problems: list[Diagnostic] = []

    def run(self) -> Traced:
        equations = [self._equation(equation) for equation in self.traced.equations]
        states = tuple(self._leaf(leaf) for leaf in self.traced.states)
        outputs = tuple((n, self._result(f"output {n}", v, 0)) for n, v in self.traced.outputs)
        if self.problems:
            raise SnnirError(self.problems[:20])
        inputs = tuple(Variable(v.name, v.shape[1:], v.dtype) for v in self.traced.inputs)
        return replace(
            self.traced,
            inputs=inputs,
            states=states,
            constants=self.constants,
            labels=self.labels,
            equations=tuple(equations),
            outputs=outputs,
        )

    def _problem(self, message: str) -> None:
        self.problems.append(Diagnostic("SNN803", message, hint=_HINT))

    def _leaf(self, leaf: Leaf) -> Leaf:
        axis = self.axis[leaf.name]
        initial = leaf.initial
        if axis is not None:
            if not (initial == initial[:1]).all():
                self._problem(
                    f"state {leaf.path or leaf.name} starts with another value per sample"
                )
            initial = initial[0]
        return replace(
            leaf, initial=initial, new=self._result(f"state {leaf.name}", leaf.new, axis)
        )

    def _result(self, what: str, value: Operand, wanted: int | None) -> Operand:
        """Return a result as the operand of one sample; the batch must be where it is wanted."""
        if not isinstance(value, str):
            return value
        if value in self.constants:
            return self._constant(value, self.shapes[value], wanted)
        if self.axis.get(value) != wanted:
            self._problem(f"{what} has no leading batch axis after the step")
        return value

    def _constant(self, name: str, shape: Shape, axis: int | None) -> str:
        """Return the name of a constant without the batch axis of a result of that shape."""
        array = self.traced.constants[name]
        place = None if axis is None else axis - (len(shape) - array.ndim)
        if place is None or place < 0:
            return name
        first = np.take(array, [0], axis=place)
        if not (array == first).all():
            raise _Mixes(f"uses a constant {list(array.shape)} that differs between samples")
        found = f"{name}_s{place}"
        self.constants[found] = first.reshape(_without(array.shape, place))
        self.labels[found] = self.labels.get(name, "")
        return found

    def _equation(self, equation: Equation) -> Equation:
        known = [n for n in equation.names if n in self.axis]
        try:
            if all(self.axis[name] is None for name in known):
                return self._shared(equation)
            return self._per_sample(equation)
        except _Mixes as fault:
            self._problem(f"{equation.where}: `{equation.what}` {fault}")
            self.axis[equation.result] = 0
            return equation

    def _shared(self, equation: Equation) -> Equation:
        """An equation of what is the same for all samples; a repetition may add the batch axis."""
        shape = equation.shape
        if equation.op != "broadcast" or shape[:1] != (self.batch,):
            self.axis[equation.result] = None
            return equation
        axes = equation.attributes["axes"]
        given = self.shapes[equation.names[0]]
        if 0 in axes and given[axes.index(0)] != 1:
            self.axis[equation.result] = None
            return equation
        self.axis[equation.result] = 0
        extents = [n for n, axis in zip(given, axes, strict=True) if axis]
        kept = tuple(axis - 1 for axis in axes if axis)
        if len(kept) < len(axes):
            raise _Mixes("repeats what is the same for all samples along two axes")
        op = "broadcast" if tuple(extents) != shape[1:] else "reshape"
        return replace(equation, op=op, shape=shape[1:], attributes={"axes": kept})

    def _per_sample(self, equation: Equation) -> Equation:
        if equation.is_elementwise or equation.op == "concat":
            axes = {self.axis[name] for name in equation.names if name in self.axis}
            if len(axes) > 1:
                raise _Mixes("combines streams with the batch on different axes")
            axis = axes.pop()
            attributes = dict(equation.attributes)
            if equation.op == "concat":
                attributes["axis"] = _kept(attributes["axis"], axis)
        else:
            given = self.axis[equation.names[0]]
            assert given is not None
            axis, attributes = _RULES[equation.op](self, equation, given)
        assert axis is not None
        self.axis[equation.result] = axis
        operands = tuple(
            self._constant(operand, equation.shape, axis)
            if isinstance(operand, str) and operand in self.traced.constants
            else operand
            for operand in equation.operands
        )
        shape = _without(equation.shape, axis)
        return replace(equation, operands=operands, shape=shape, attributes=attributes)


Found = tuple[int, Mapping[str, Any]]


def _kept(axis: int, batch: int | None) -> int:
    """Return an axis that is worked on, without the batch axis before it."""
    if axis == batch:
        raise _Mixes("mixes samples")
    return axis - (batch is not None and axis > batch)


def _fixed_tail(tail: int) -> Any:
    """Return the rule of ops that work on the last axes and keep the others."""

    def apply(samples: _Samples, equation: Equation, batch: int) -> Found:
        rank = len(samples.shapes[equation.names[0]])
        if batch >= rank - tail:
            raise _Mixes("mixes samples")
        return batch, equation.attributes

    return apply


def _reduce(samples: _Samples, equation: Equation, batch: int) -> Found:
    axes = equation.attributes["axes"]
    if batch in axes:
        raise _Mixes("mixes samples")
    return batch - sum(a < batch for a in axes), {"axes": _shifted(axes, batch)}


def _reshape(samples: _Samples, equation: Equation, batch: int) -> Found:
    old, new = samples.shapes[equation.names[0]], equation.shape
    before = prod(old[:batch])
    for axis, extent in enumerate(new):
        if extent == samples.batch and prod(new[:axis]) == before:
            return axis, {}
    raise _Mixes(f"merges the batch axis with another ({list(old)} to {list(new)})")


def _permute(samples: _Samples, equation: Equation, batch: int) -> Found:
    axes = equation.attributes["axes"]
    place = axes.index(batch)
    return place, {"axes": _shifted((*axes[:place], *axes[place + 1 :]), batch)}


def _along(samples: _Samples, equation: Equation, batch: int) -> Found:
    attributes = dict(equation.attributes)
    attributes["axis"] = _kept(attributes["axis"], batch)
    return batch, attributes


def _pad(samples: _Samples, equation: Equation, batch: int) -> Found:
    widths = equation.attributes["widths"]
    if any(widths[batch]):
        raise _Mixes("adds samples")
    return batch, {"widths": (*widths[:batch], *widths[batch + 1 :])}


def _broadcast(samples: _Samples, equation: Equation, batch: int) -> Found:
    axes = equation.attributes["axes"]
    place = axes[batch]
    rest = (*axes[:batch], *axes[batch + 1 :])
    return place, {"axes": _shifted(rest, place)}


_RULES = {
    "linear": _fixed_tail(1),
    "conv1d": _fixed_tail(2),
    "conv2d": _fixed_tail(3),
    "sum_pool2d": _fixed_tail(2),
    "avg_pool2d": _fixed_tail(2),
    "max_pool2d": _fixed_tail(2),
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _along,
    "take": _along,
    "pad": _pad,
    "broadcast": _broadcast,
}
