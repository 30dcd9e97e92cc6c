"""A rule with its parameters, and what is done to weights whatever the rule is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np

from snnir.dynamics import Dynamics, State, batch_sum, maximum, minimum, select
from snnir.dynamics.program import Operand
from snnir.dynamics.trace import Builder, Number, Symbol
from snnir.errors import error
from snnir.ir import Node, Plastic, Value
from snnir.tensors import FrozenDict, Tensor, TensorLike

#: What an input of the rules of this library has one value of, by the name of the input.
READS: Mapping[str, str] = {
    "pre": "pre",
    "x_pre": "pre",
    "p_plus": "pre",
    "u_pre": "pre",
    "post": "post",
    "x_post": "post",
    "p_minus": "post",
    "probability": "post",
    "u_post": "post",
    "reward": "all",
    "tick": "all",
}

#: The parameter that the weights start at.
WEIGHT = "weight"


@dataclass(frozen=True)
class Rule:
    """A rule of plastic synapses with its parameters.

    Attributes:
        program: One step of a synapse; its first lasting state is the weight, and starts at a
            parameter.
        params: Every other parameter, each broadcastable to [post, pre].
        reads: For every input of the program `pre`, `post` or `all`; see `snnir.ir.Plastic`.
    """

    program: Dynamics
    params: FrozenDict[Tensor] = field(default_factory=FrozenDict)
    reads: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, program: Dynamics, params: Mapping[str, TensorLike], reads: Sequence[str] | None = None
    ) -> Rule:
        """Return a rule of one's own.

        Args:
            program: Traced by `snnir.dynamics.dynamics`.
            params: Its parameters, but for the one that the weights start at.
            reads: For every input `pre`, `post` or `all`; without it they are called as in `READS`.

        Raises:
            SnnirError: SNN201 if `reads` is missing for an input of another name; SNN105 if a
                parameter is not a number.
        """
        if reads is None:
            unknown = [name for name in program.inputs if name not in READS]
            if unknown:
                listed = ", ".join(unknown)
                raise error("SNN201", f"`reads` must say what {program.name} reads of {listed}")
            reads = [READS[name] for name in program.inputs]
        values = {name: as_float32(value, name) for name, value in params.items()}
        return cls(program, FrozenDict(values), tuple(reads))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the rule reads, in the order of the operands."""
        return self.program.inputs

    def op(
        self, weights: TensorLike, total: TensorLike | None = None, sums: str = "order"
    ) -> Plastic:
        """Return synapses that learn by this rule.

        Args:
            weights: Where they start, [post, pre].
            total: What the sizes of the weights of a neuron add up to when a run ends, if they
                are normalised: one number or [post].
            sums: The order of that sum, see `snnir.ir.Plastic`.
        """
        starts = (str(state.initial) for state in self.program.states if state.lasting)
        params = FrozenDict({next(starts, WEIGHT): as_float32(weights), **self.params})
        return Plastic(
            self.program, params, self.reads, None if total is None else as_float32(total), sums
        )

    def node(
        self,
        name: str,
        weights: TensorLike,
        x: Value,
        inputs: Mapping[str, Value],
        total: TensorLike | None = None,
        sums: str = "order",
    ) -> Node:
        """Return a node of a graph with synapses that learn by this rule.

        Args:
            name: Name of the node.
            weights: Where they start, [post, pre].
            x: What goes through the synapses, [pre].
            inputs: What the rule reads, by the names in `inputs`; more may be given.
            total: As in `op`.
            sums: As in `op`.

        Raises:
            SnnirError: SNN201 if an input is missing.
        """
        missing = [wanted for wanted in self.inputs if wanted not in inputs]
        if missing:
            listed = ", ".join(missing)
            raise error("SNN201", f"rule {self.program.name} needs {listed}", node=name)
        op = self.op(weights, total, sums)
        return Node(name, op, (x, *(inputs[wanted] for wanted in self.inputs)))


@dataclass(frozen=True)
class Limits:
    """What is done to the weights at the end of every step, in the order of the attributes.

    Values are one number, or an array broadcastable to [post, pre].

    Attributes:
        lower: No weight is below it.
        upper: No weight is above it.
        decay: The part of a weight that is lost in a step, one number, before the bounds:
            w = w * (1 - decay).
        mask: Not 0 where there is no synapse: the weight is 0 there.
        sign: Dale's rule. A weight below 0 becomes 0 where this is above 0, and one above 0 where
            this is below 0.

    BindsNET 0.3.4 means the same by its `Dales_rule`, but what it computes makes every weight 0,
    which is a mask of ones.
    """

    lower: TensorLike | None = None
    upper: TensorLike | None = None
    decay: float = 0.0
    mask: TensorLike | None = None
    sign: TensorLike | None = None

    def apply(self, writer: Writer, w: Symbol) -> Symbol:
        """Write it down after a rule; see `Writer`."""
        if self.decay:
            w = w * writer.param("left", 1.0 - self.decay)
        if self.lower is not None:
            w = maximum(w, writer.param("wmin", self.lower))
        if self.upper is not None:
            w = minimum(w, writer.param("wmax", self.upper))
        if self.mask is not None:
            w = select(abs(writer.param("mask", self.mask)) > 0.0, 0.0, w)
        if self.sign is not None:
            sign = writer.param("sign", self.sign)
            w = select((sign > 0.0) & (w < 0.0), 0.0, w)
            w = select((sign < 0.0) & (w > 0.0), 0.0, w)
        return w


class Writer:
    """Writes a rule down: asks for inputs, parameters and states, records what is done to them.

    Everything asked for twice is the same.
    """

    def __init__(self, name: str, reduction: str = "sum") -> None:
        if reduction not in ("sum", "mean"):
            raise error("SNN105", f"reduction '{reduction}' must be sum or mean")
        self.name = name
        self.reduction = reduction
        self.builder = Builder()
        self._symbols: dict[str, Symbol] = {}
        self._inputs: list[str] = []
        self._params: dict[str, Tensor] = {}
        self._states: dict[str, Operand] = {}
        self._updates: dict[str, Number] = {}
        self._count: Symbol | None = None
        self._symbol(WEIGHT)
        self.w = self._symbol("w")

    def _symbol(self, name: str) -> Symbol:
        if name not in self._symbols:
            self._symbols[name] = self.builder.symbol(name)
        return self._symbols[name]

    def input(self, name: str) -> Symbol:
        """Return an input, one of `READS`."""
        if name not in self._inputs:
            self._inputs.append(name)
        return self._symbol(name)

    def param(self, name: str, value: TensorLike) -> Symbol:
        """Return a parameter of this value, in float32.

        Raises:
            SnnirError: SNN105 if it is not a number.
        """
        self._params[name] = as_float32(value, name)
        return self._symbol(name)

    def state(self, name: str) -> Symbol:
        """Return a state of every synapse and sample as the previous step left it; 0 at first."""
        self._states[name] = 0.0
        return self._symbol(name)

    def update(self, name: str, value: Number) -> None:
        """Give a state its new value."""
        self._updates[name] = value

    def over_samples(self, change: Symbol) -> Symbol:
        """Return the sum or mean of a change over the samples of a batch."""
        total = batch_sum(change)
        if self.reduction == "sum":
            return total
        if self._count is None:
            self._count = batch_sum(self._symbols[self._inputs[0]] * 0.0 + 1.0)
        return total / self._count

    def rule(self, w: Symbol, limits: Limits) -> Rule:
        """Return the rule by which the weights become `w`, within limits."""
        ends = {**self._updates, "w": limits.apply(self, w)}
        program = Dynamics(
            name=self.name,
            inputs=tuple(self._inputs),
            params=((WEIGHT, "1"), *((name, "1") for name in self._params)),
            states=(
                *(State(name, initial) for name, initial in self._states.items()),
                State("w", WEIGHT, lasting=True),
            ),
            body=tuple(self.builder.body),
            updates=tuple((name, _operand(value)) for name, value in ends.items()),
            outputs=(),
        )
        program.types()
        reads = tuple(READS[name] for name in self._inputs)
        return Rule(program, FrozenDict(self._params), reads)


def _operand(value: Number) -> Operand:
    return value.name if isinstance(value, Symbol) else float(value)


def as_float32(value: TensorLike, name: str = WEIGHT) -> Tensor:
    """Return a value as a float32 tensor.

    Raises:
        SnnirError: SNN105 if it is not made of numbers.
    """
    if isinstance(value, Tensor):
        value = value.numpy()
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise error("SNN105", f"{name} of a rule must be numbers") from None
    if np.isnan(array).any():
        raise error("SNN105", f"{name} of a rule must be numbers, got NaN")
    return Tensor(array)


def is_on(rate: TensorLike | None, name: str = "rate") -> TypeGuard[TensorLike]:
    """Whether a rate is given and not 0 everywhere."""
    return rate is not None and bool(as_float32(rate, name).numpy().any())
